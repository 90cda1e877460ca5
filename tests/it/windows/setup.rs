//! The setup for Windows, in a wine of its own. `scripts/windows` makes it, or takes it from a release, and makes that of
//! a version before.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::{Windows, place};
use crate::{inspect::names, support::Run};

const ENTRY: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\git-remote-bbtoken";
const SERVER: &str = "/usr/lib/wine/wineserver64";
const ENVIRONMENT: &str = r"HKCU\Environment";

/// A Windows on which nothing is installed.
pub(super) struct Machine {
    pub(super) windows: Windows,
    prefix: PathBuf,
}

impl Machine {
    pub(super) fn new() -> Self {
        let windows = Windows::new();
        let prefix = windows.0.path("prefix");
        let copy = windows.0.run(Path::new("cp"), ["-a"]);
        copy.arg(place().join("prefix")).arg(&prefix).ok();
        // Wine names the user's directory as the system names the user.
        let users = prefix.join("drive_c/users");
        for user in names(&users).into_iter().filter(|user| user != "Public") {
            let programs = users.join(user).join("AppData/Local/Programs");
            fs::create_dir_all(programs).expect("it is ours");
        }
        // A library of Windows that wine 8 lacks.
        let (of_wine, library) = ("drive_c/windows/system32", "bcryptprimitives.dll");
        let copied = fs::copy(
            super::programs().join(library),
            prefix.join(of_wine).join(library),
        );
        copied.expect("it is ours");
        Machine { windows, prefix }
    }

    /// Starts the server of this wine with a shell's command before; it ends some seconds after the last program.
    pub(super) fn serve_after(&self, command: &str) {
        let line = format!("{command} && exec {SERVER} >/dev/null 2>&1");
        let server = self.windows.0.run(Path::new("sh"), ["-c", &line]);
        server.env("WINEPREFIX", &self.prefix).ok();
    }

    /// Prepares a program that finds others by the user's own PATH only.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        let run = self.windows.wine(program).args(arguments);
        run.env("WINEPREFIX", &self.prefix).without("WINEPATH")
    }

    /// What the registry has under a key, if it has.
    fn value(&self, key: &str, name: &str) -> Option<String> {
        let done = self.run("reg", ["query", key, "/v", name]).done();
        let line = done.stdout.lines().find(|line| line.contains("REG_"))?;
        line.split("    ").last().map(str::to_owned)
    }

    /// The directory in which the setup installs the programs by default.
    fn usual_directory(&self) -> String {
        let users = names(&self.prefix.join("drive_c/users"));
        let user = users.into_iter().find(|user| user != "Public");
        let user = user.expect("wine has a user");
        format!(r"C:\users\{user}\AppData\Local\Programs\git-remote-bbtoken")
    }

    fn unix_path(&self, path: &str) -> PathBuf {
        let of_drive = path.replace('\\', "/").replace("C:", "drive_c");
        self.prefix.join(of_drive)
    }

    fn set_path(&self, path: &str) {
        let add = ["add", ENVIRONMENT, "/v", "Path", "/t", "REG_EXPAND_SZ"];
        self.run("reg", add).args(["/d", path, "/f"]).ok();
    }

    fn path(&self) -> Option<String> {
        self.value(ENVIRONMENT, "Path")
    }

    /// Each file and directory, without temporary ones.
    fn files(&self) -> String {
        let all = ["drive_c", "-path", "*/Temp", "-prune", "-o", "-print"];
        let find = self.windows.0.run(Path::new("find"), all);
        let mut found: Vec<_> = find
            .within(&self.prefix)
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        found.sort();
        found.join("\n")
    }

    /// Runs the uninstaller as Windows would, and waits for the copy of itself that it starts.
    fn remove(&self) {
        let command = self.value(ENTRY, "QuietUninstallString");
        let command = command.expect("Windows can remove the programs");
        let (program, silent) = command.rsplit_once(' ').expect("it has an option");
        self.run(program.trim_matches('"'), [silent]).ok();
        let end = self.windows.0.run(Path::new(SERVER), ["-w"]);
        end.env("WINEPREFIX", &self.prefix).ok();
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn the_setup_installs_and_upgrades_the_programs_and_removes_all_that_it_brought() {
    let machine = Machine::new();
    let version = env!("CARGO_PKG_VERSION");
    let ours = machine.usual_directory();
    let neighbor = format!(r"C:\other programs;{ours}-old;%USERPROFILE%\bin");
    // NSIS reads texts of up to 1,023 characters.
    let [fits, nearly_long, long] =
        [900, 1_000, 3_000].map(|length| format!(r"C:\{}", "x".repeat(length)));
    for (path, has_room) in [
        (None, true),
        (Some(r"C:\other programs"), true),
        (Some(&*neighbor), true),
        (Some(&*fits), true),
        (Some(&*nearly_long), false),
        (Some(&*long), false),
    ] {
        if let Some(path) = path {
            machine.set_path(path);
        }
        let before = machine.files();
        for (setup, expected) in [("setup-before.exe", "0.0.1"), ("setup.exe", version)] {
            machine.run(place().join(setup), ["/S"]).ok();
            let registered = machine.value(ENTRY, "DisplayVersion");
            assert_eq!(registered.as_deref(), Some(expected));
        }
        let directory = machine.value(ENTRY, "InstallLocation");
        assert_eq!(directory.as_ref(), Some(&ours), "where Windows has them");
        for program in ["git-bbtoken", "git-remote-bbtoken"] {
            // Wine's cmd looks into no PATH of about 1,000 characters.
            let is_short = path.is_none_or(|path| path.len() < 500);
            let by_path = is_short.then(|| machine.run("cmd", ["/c", program, "--version"]));
            let itself = machine.run(format!(r"{ours}\{program}.exe"), ["--version"]);
            for shown in by_path.into_iter().chain([itself]) {
                let shown = shown.ok();
                assert!(shown.contains(version), "{program} is replaced: {shown}");
            }
        }
        let expected: Vec<_> = path.into_iter().chain(has_room.then_some(&*ours)).collect();
        let found = machine.path();
        let expected = expected.join(";");
        assert_eq!(found, Some(expected), "the directory is in PATH once");

        let directory = machine.unix_path(&ours);
        let own = directory.join("docs/own.txt");
        fs::write(&own, "").expect("the directory is there");

        machine.remove();
        fs::remove_file(&own).expect("a file that the setup did not bring stays");
        for kept in [directory.join("docs"), directory] {
            fs::remove_dir(kept).expect("nothing else keeps the directory");
        }
        assert_eq!(machine.files(), before, "no file is left");
        assert_eq!(machine.value(ENTRY, "DisplayName"), None);
        let found = machine.path();
        assert_eq!(found.as_deref(), path, "PATH is as before");
    }
}

#[test]
#[ignore = "scripts/test --windows builds the programs, and runs this"]
fn an_upgrade_goes_where_the_version_before_is_or_takes_its_place() {
    let machine = Machine::new();
    let [before, new] = ["setup-before.exe", "setup.exe"].map(|setup| place().join(setup));
    let files = machine.files();
    machine.set_path(r"C:\first");
    machine.run(&before, ["/S", r"/D=C:\chosen"]).ok();
    assert_eq!(machine.path().as_deref(), Some(r"C:\first;C:\chosen"));

    // The user has another order, and one entry twice.
    let ordered = r"C:\chosen;C:\chosen;C:\first";
    machine.set_path(ordered);
    machine.run(&new, ["/S"]).ok();
    let directory = machine.value(ENTRY, "InstallLocation");
    assert_eq!(directory.as_deref(), Some(r"C:\chosen"), "it stays there");
    assert_eq!(machine.path().as_deref(), Some(ordered), "PATH stays");
    let old = machine.unix_path(r"C:\chosen\docs\old.md");
    assert!(
        !old.exists(),
        "what only the version before brought is gone"
    );

    machine.run(&new, ["/S", r"/D=C:\moved"]).ok();
    let chosen = machine.unix_path(r"C:\chosen");
    assert!(!chosen.exists(), "the version before is gone");
    assert_eq!(machine.path().as_deref(), Some(r"C:\first;C:\moved"));

    machine.remove();
    assert_eq!(machine.path().as_deref(), Some(r"C:\first"));
    assert_eq!(machine.files(), files, "no file is left");
}
