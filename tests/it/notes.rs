//! The notes of the tests that did not run. The target `summary` shows them at the end of `cargo test`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The directory with the notes of every run.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-run")
}

/// The notes of one run: cargo is the parent of all its test programs.
pub(crate) fn file(parent: u32) -> PathBuf {
    directory().join(parent.to_string())
}

/// Sums up a run. A note is a line: the test, a tab, what is missing.
pub(crate) fn summary(notes: &Path) -> Option<String> {
    let notes = fs::read_to_string(notes).ok()?;
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (test, what) in notes.lines().filter_map(|line| line.split_once('\t')) {
        missing.entry(test).or_default().insert(what);
    }
    let mut text = match missing.len() {
        0 => return None,
        1 => "1 test did not run, because something is missing:\n".to_owned(),
        count => format!("{count} tests did not run, because something is missing:\n"),
    };
    for (test, missing) in missing {
        let missing: Vec<_> = missing.into_iter().collect();
        text.push_str(&format!("    {test}: {}\n", missing.join(", ")));
    }
    text.push_str("scripts/test installs what is missing, and runs every test.\n");
    Some(text)
}
