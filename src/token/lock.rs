//! One process at a time gets the token of a key; the others wait and take its result.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::files;
use crate::{
    clock::Clock,
    failure::{Failure, Kind},
};

/// How long to wait between two looks at a lock, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// After this long the person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// The right to get a token; the system takes it back when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not read")] File);

/// Waits for the right to get the token of a key.
///
/// # Errors
///
/// [`Kind::StoreUnusable`] when the directory or the lock file cannot be made, or the lock is held for too long; the
/// message names the process that holds it.
pub(super) fn acquire(
    directory: &Path,
    key: &str,
    limit: Duration,
    clock: &dyn Clock,
    notify: &dyn Fn(&str),
) -> anyhow::Result<Lock> {
    let path = directory.join(format!("{key}.lock"));
    let unusable = || {
        Failure::new(
            Kind::StoreUnusable,
            format!("cannot lock '{}'", path.display()),
        )
    };
    files::make_private_directory(directory).with_context(unusable)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let mut file = files::private(&mut options)
        .open(&path)
        .with_context(unusable)?;
    let begun = Instant::now();
    let (mut pause, mut told) = (FIRST_LOOK, false);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() >= limit => {
                let holder = holder(&path, clock);
                return Err(
                    anyhow::anyhow!("{holder} has held it for too long").context(unusable())
                );
            }
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(unusable),
        }
        if !told && begun.elapsed() >= TELL_AFTER {
            told = true;
            notify(&format!(
                "waiting for {}, which is getting a token",
                holder(&path, clock)
            ));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LAST_LOOK);
    }
    sign(&mut file, clock);
    Ok(Lock(file))
}

/// Leaves a note of who holds the lock since when. It serves messages only, so that a failure does not matter.
fn sign(file: &mut File, clock: &dyn Clock) {
    let note = format!("{} {}\n", std::process::id(), clock.now_unix_s());
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()));
}

fn holder(path: &PathBuf, clock: &dyn Clock) -> String {
    let note = fs::read_to_string(path).unwrap_or_default();
    let mut numbers = note.split_whitespace().map(|word| word.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(process), Some(since)) => {
            let age_s = clock.now_unix_s().saturating_sub(since);
            format!("process {process}, which has had it for {age_s} s")
        }
        _ => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_lock_that_is_held_names_its_holder_and_is_free_when_that_ends() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let acquire = || acquire(directory.path(), "k", Duration::ZERO, &SystemClock, &|_| {});
        let held = acquire().expect("nobody holds it");
        let message = format!("{:#}", acquire().expect_err("it is held"));
        assert!(
            message.contains("k.lock") && message.contains(&std::process::id().to_string()),
            "{message}"
        );
        drop(held);
        assert!(acquire().is_ok());
    }
}
