// Finds the programs for this machine: npm has installed the package that fits, and no other.
const path = require("path");

exports.programs = ["git-bbtoken", "git-remote-bbtoken"];

exports.find = (program) => {
    process.report.excludeNetwork = true;
    const libc = process.report.getReport().header.glibcVersionRuntime ? "" : "-musl";
    const name = `git-remote-bbtoken-${process.platform}-${process.arch}`;
    for (const candidate of [name + libc, `${name}-musl`]) {
        try {
            return path.join(path.dirname(require.resolve(`${candidate}/package.json`)), "bin", program);
        } catch {
            // The next one may be there.
        }
    }
    console.error(`error: there is no git-remote-bbtoken for ${process.platform} ${process.arch}`);
    console.error("hint: install it without --omit=optional, or see docs/install.md for other ways");
    process.exit(1);
};
