//! One process at a time gets the token of a key; the others wait and take its result.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    files,
};

/// How long to wait between two looks at a lock, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// After this long the person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// For how long those who waited take over the failure of the one they waited for.
const SHARED_FAILURE_S: u64 = 10;
/// What the note of a holder ends with who could not reach the server.
const UNREACHABLE: &str = "unreachable";

/// The right to get a token; the system takes it back when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct Lock(File);

/// How a lock was got.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is this process's turn.
    Ours(Lock),
    /// The process that was waited for could not reach the server a moment ago: to try it again would let many
    /// processes wait for a dead network one after the other.
    Unreachable,
}

impl Lock {
    /// Lets those who wait know that the server cannot be reached.
    pub(super) fn tell_unreachable(&mut self, clock: &dyn Clock) {
        write_note(&mut self.0, clock, UNREACHABLE);
    }
}

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
) -> anyhow::Result<Turn> {
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
    let (mut pause, mut waited, mut told) = (FIRST_LOOK, false, false);
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
        waited = true;
        thread::sleep(pause);
        pause = (pause * 2).min(LAST_LOOK);
    }
    if waited && has_failed(&path, clock) {
        return Ok(Turn::Unreachable);
    }
    write_note(&mut file, clock, "");
    Ok(Turn::Ours(Lock(file)))
}

/// Leaves a note of who holds the lock since when. Nothing depends on it, so that a failure does not matter.
fn write_note(file: &mut File, clock: &dyn Clock, outcome: &str) {
    let note = format!("{} {} {outcome}\n", std::process::id(), clock.now_unix_s());
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()));
}

fn has_failed(path: &Path, clock: &dyn Clock) -> bool {
    let note = fs::read_to_string(path).unwrap_or_default();
    let words: Vec<_> = note.split_whitespace().collect();
    let [_, at_unix_s, UNREACHABLE] = words.as_slice() else {
        return false;
    };
    at_unix_s
        .parse::<u64>()
        .is_ok_and(|at| clock.now_unix_s().abs_diff(at) <= SHARED_FAILURE_S)
}

fn holder(path: &Path, clock: &dyn Clock) -> String {
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
