//! The gits of this machine, and programs that tests write.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

/// A git on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    /// The program.
    pub(crate) program: PathBuf,
    /// Major and minor version.
    pub(crate) version: (u32, u32),
}

/// Finds every git: those on PATH, in the usual places, and in the list `BBTOKEN_TEST_GITS`; one of each version.
///
/// With `BBTOKEN_TEST_NEWEST_GIT`, only the newest.
pub(crate) fn gits() -> Vec<Git> {
    static FOUND: LazyLock<Vec<Git>> = LazyLock::new(find_gits);
    FOUND.clone()
}

fn find_gits() -> Vec<Git> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = std::env::var_os("BBTOKEN_TEST_GITS").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let programs = std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join("git"));
    let mut seen = BTreeSet::new();
    let mut gits: Vec<_> = std::env::split_paths(&extra)
        .chain(programs)
        .filter_map(|program| {
            let version = version_of(&program)?;
            seen.insert(version).then_some(Git { program, version })
        })
        .collect();
    assert!(!gits.is_empty(), "the tests need git");
    if std::env::var_os("BBTOKEN_TEST_NEWEST_GIT").is_some() {
        gits.sort_by_key(|git| std::cmp::Reverse(git.version));
        gits.truncate(1);
    }
    gits
}

fn version_of(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text
        .strip_prefix("git version ")?
        .split('.')
        .map(|part| part.trim().parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Writes a program.
///
/// Another process writes it: a test that starts a program at the same moment passes on the open file, and Linux then
/// refuses to execute it ("Text file busy").
pub(crate) fn put_program(path: impl AsRef<Path>, text: impl AsRef<str>) {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path.as_ref())
        .stdin(Stdio::piped())
        .spawn()
        .expect("install starts");
    let mut input = install.stdin.take().expect("it is piped");
    input
        .write_all(text.as_ref().as_bytes())
        .expect("install reads");
    drop(input);
    assert!(install.wait().is_ok_and(|done| done.success()));
}
