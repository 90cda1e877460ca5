//! The needs of tests beyond cargo and git. A test without one of them does not run, and leaves a note for the summary.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    os::unix::process::parent_id,
    path::Path,
    process::Command,
    sync::{LazyLock, Mutex},
};

use crate::{
    inspect::files,
    notes,
    support::{Git, World, gits},
};

/// Names the programs and files with their Debian packages, and installs them.
const SCRIPT: &str = include_str!("../../scripts/test");
/// With this variable, a test that lacks something fails; `scripts/test` sets it.
const ALL: &str = "BBTOKEN_TEST_ALL";
/// What counts as missing, with colons between; `all` stands for everything.
const MISSING: &str = "BBTOKEN_TEST_MISSING";
/// The right to act as other users and to mount file systems.
pub(crate) const ROOT: &str = "root";

/// Ends a test that lacks a program, a file or a right.
///
/// A program goes by its name, another file by its path. What `scripts/programs` installs is `programs/…`.
macro_rules! needs {
    ($($what:expr),+ $(,)?) => {
        $(let is_here = $crate::needs::is_here($what);
        $crate::needs::needs!(is_here => $what);)+
    };
    ($is_here:expr => $what:expr) => {
        if !$is_here {
            return $crate::needs::lacks!($what);
        }
    };
}

/// Leaves a note that the test around it does not run.
macro_rules! lacks {
    ($what:expr) => {
        $crate::needs::note($crate::needs::test_of(&|| ()), $what)
    };
}
pub(crate) use {lacks, needs};

/// The test that holds a closure.
pub(crate) fn test_of<T>(_: &T) -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.split("::{{closure}}").next().unwrap_or(name);
    name.strip_prefix("it::").unwrap_or(name)
}

/// Tells whether a program, a file or a right is here.
pub(crate) fn is_here(what: &str) -> bool {
    let counts_as_missing = env::var(MISSING)
        .is_ok_and(|names| names.split(':').any(|name| name == what || name == "all"));
    !counts_as_missing && exists(what)
}

fn exists(what: &str) -> bool {
    if let Some(name) = what.strip_prefix("programs/") {
        return crate::programs::place().join(name).exists();
    }
    if what == ROOT {
        return rustix::process::geteuid().is_root();
    }
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    // As in a world's PATH.
    let is_in = |place: &Path| place.join(what).is_file();
    let is_with = |git: &Git| git.program.parent().is_some_and(is_in);
    ["/usr/bin", "/bin"].map(Path::new).into_iter().any(is_in) || gits().iter().any(is_with)
}

/// How to get what is missing.
fn remedy(what: &str) -> String {
    if what.starts_with("programs/") {
        return "run scripts/programs".to_owned();
    }
    if what == ROOT {
        return "run the tests as root, in a directory that every user can enter".to_owned();
    }
    let package = SCRIPT
        .split_whitespace()
        .find_map(|pair| pair.strip_prefix(what)?.strip_prefix(':'));
    let package = package.unwrap_or_else(|| panic!("scripts/test installs '{what}'"));
    format!("Debian package {package}")
}

/// Leaves a note that a test does not run; fails where every test has to run.
pub(crate) fn note(test: &str, what: &str) {
    static NOTES: LazyLock<Mutex<File>> = LazyLock::new(|| {
        let made = fs::create_dir_all(notes::directory());
        let made = made.and_then(|()| File::create(notes::file(parent_id())));
        Mutex::new(made.expect("cargo's directory for tests can be written"))
    });
    let missing = format!("{what} ({})", remedy(what));
    // No script can give the right; the summary names these tests.
    assert!(
        what == ROOT || env::var_os(ALL).is_none(),
        "this test needs {missing}, as {ALL} is set"
    );
    let mut notes = NOTES.lock().expect("no thread panics while it holds it");
    writeln!(notes, "{test}\t{missing}").expect("cargo's directory for tests can be written");
}

/// Is run by the next test.
#[test]
fn a_test_that_needs_strace() {
    needs!("strace");
    let world = World::new(gits().remove(0));
    world.run(Path::new("strace"), ["-V"]).ok();
}

#[test]
fn a_test_that_lacks_a_program_is_noted_or_fails() {
    const TEST: &str = "needs::a_test_that_needs_strace";
    let this = env::current_exe().expect("it runs");
    let run = |missing: &str, all: Option<&str>| {
        let mut command = Command::new(&this);
        command.args(["--exact", TEST]).env(MISSING, missing);
        match all {
            Some(all) => command.env(ALL, all),
            None => command.env_remove(ALL),
        };
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let notes = notes::file(std::process::id());
        let summary = notes::summary(&notes);
        let _ = fs::remove_file(notes);
        (output.status.success(), said, summary)
    };
    for missing in ["strace", "git-lfs:strace", "all"] {
        let (passes, said, summary) = run(missing, None);
        assert!(passes, "a test without its program does not fail: {said}");
        let expected = format!(
            "1 test did not run, because something is missing:\n    {TEST}: strace (Debian package strace)\n\
             scripts/test installs what is missing, and runs every test.\n"
        );
        assert_eq!(summary.as_deref(), Some(expected.as_str()), "{missing}");
        let (passes, said, summary) = run(missing, Some("1"));
        assert!(
            !passes && summary.is_none(),
            "every test has to run: {said}"
        );
        let expected = "this test needs strace (Debian package strace)";
        assert!(said.contains(expected), "the failure names it: {said}");
    }
    needs!("strace");
    for all in [None, Some("1")] {
        let (passes, said, summary) = run("git-lfs", all);
        assert!(passes && summary.is_none(), "the program is here: {said}");
    }
}

#[test]
fn every_need_of_a_test_has_a_remedy() {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"));
    let mut needs = 0;
    for (path, text) in sources {
        let text = String::from_utf8_lossy(&text).into_owned();
        let called = text.split("\n    needs!(").skip(1);
        let arguments = called.filter_map(|rest| rest.split(");").next());
        for what in arguments.flat_map(|arguments| arguments.split('"').skip(1).step_by(2)) {
            let remedy = remedy(what);
            assert!(!remedy.is_empty(), "{what} in {}", path.display());
            needs += 1;
        }
    }
    assert!(
        needs > 100,
        "the search finds the needs of the tests: {needs}"
    );
}

/// The entries of a list in the script.
fn entries(list: &str) -> Vec<&'static str> {
    let lines = SCRIPT.lines().map(str::trim_start);
    let lines = lines.skip_while(|line| *line != list);
    let lines = lines.skip(1).take_while(|line| *line != ")");
    let code = lines.filter(|line| !line.starts_with('#'));
    code.flat_map(str::split_whitespace).collect()
}

#[test]
fn every_entry_of_the_scripts_lists_is_part_of_a_tests_name() {
    let this = env::current_exe().expect("it runs");
    let output = Command::new(this).arg("--list").output();
    let tests = String::from_utf8(output.expect("it starts").stdout).expect("names are text");
    let lists = [
        "slow=(",
        "counting=(",
        "[ \"$1\" != stopped ] || counting+=(",
        "cloud_only=(",
    ];
    for list in lists {
        let entries = entries(list);
        assert!(!entries.is_empty(), "the list is found: {list}");
        for entry in entries {
            let is_part = |line: &str| line.contains(entry) && line.ends_with(": test");
            assert!(
                tests.lines().any(is_part),
                "no test is called '{entry}': {list}"
            );
        }
    }
}
