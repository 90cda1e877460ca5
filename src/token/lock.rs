//! The lock for a token request. One process sends the request; the others wait and use its result.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::disk::of_disk;
use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    files::Directory,
    waiting,
};

/// The first and the longest pause between two checks of a lock.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// The longest time after which the user gets a message about the wait.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// The time for which waiting processes take over the failure of the lock holder.
const SHARED_FAILURE_S: u64 = 10;
/// The time between two looks for a newer token in passing.
const BETWEEN_LOOKS_S: u64 = 60;
/// The end of the note of a holder that could not reach the server.
const UNREACHABLE: &str = "unreachable";
/// The longest note.
const MAX_NOTE_BYTES: u64 = 200;

/// A lock for a token request. The system releases it when the process ends in any way.
#[derive(Debug)]
pub(super) struct Lock(File);

/// The result of waiting for a lock.
#[derive(Debug)]
pub(super) enum LockOutcome {
    /// This process has the lock.
    Ours(Lock),
    /// The previous holder could not reach the server a moment ago. Without this result, many processes would wait for
    /// a dead network one after another.
    Unreachable,
}

impl Lock {
    /// Tells the waiting processes that the server cannot be reached.
    pub(super) fn tell_unreachable(&mut self, clock: &dyn Clock) {
        write_note(&mut self.0, clock, UNREACHABLE);
    }
}

/// Waits for the lock of a key.
///
/// # Errors
///
/// [`Kind::StoreUnusable`] if the directory or the lock file cannot be created, or another process holds the lock for
/// too long. The message names that process.
pub(super) fn acquire(
    directory: &Path,
    key: &str,
    limit: Duration,
    clock: &dyn Clock,
    warn: &dyn Fn(&str),
) -> anyhow::Result<LockOutcome> {
    let path = directory.join(format!("{key}.lock"));
    let message = || format!("cannot lock '{}'", path.display());
    let mut file = Directory::make(directory)
        .and_then(|directory| directory.open_or_create(&format!("{key}.lock")))
        .map_err(|error| of_disk(error, message()))?;
    let begun = Instant::now();
    let tell_after = waiting::delay().map_or(TELL_AFTER, |delay| delay.min(TELL_AFTER));
    let (mut pause, mut waited, mut told) = (FIRST_LOOK, false, false);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if begun.elapsed() >= limit => {
                let holder = holder(&mut file, clock);
                let failure = Failure::new(Kind::StoreUnusable, message());
                return Err(
                    anyhow::anyhow!("{holder} has held the lock for too long").context(failure)
                );
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(of_disk(error, message())),
        }
        if !told && begun.elapsed() >= tell_after {
            told = true;
            warn(&format!(
                "waiting for {}, which is getting a token",
                holder(&mut file, clock)
            ));
        }
        waited = true;
        thread::sleep(pause);
        pause = (pause * 2).min(LAST_LOOK);
    }
    if waited && has_failed(&mut file, clock) {
        return Ok(LockOutcome::Unreachable);
    }
    write_note(&mut file, clock, "");
    Ok(LockOutcome::Ours(Lock(file)))
}

/// Takes the lock of a key to look for a newer token in passing. `None` if another process has it, or had it less than a
/// minute ago, because then there is nothing new to see.
pub(super) fn in_passing(directory: &Path, key: &str, clock: &dyn Clock) -> Option<Lock> {
    let mut file = Directory::make(directory)
        .and_then(|directory| directory.open_or_create(&format!("{key}.lock")))
        .ok()?;
    file.try_lock().ok()?;
    let taken_at = numbers(&mut file)[1];
    if taken_at.is_some_and(|at| clock.now_unix_s().abs_diff(at) < BETWEEN_LOOKS_S) {
        return None;
    }
    write_note(&mut file, clock, "");
    Some(Lock(file))
}

/// Writes the holder and the time into the lock file, for messages and for looks in passing. A failure does not matter.
fn write_note(file: &mut File, clock: &dyn Clock, outcome: &str) {
    let note = format!("{} {} {outcome}\n", std::process::id(), clock.now_unix_s());
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()));
}

/// Reads the note of the holder.
fn read_note(file: &mut File) -> String {
    let mut note = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MAX_NOTE_BYTES).read_to_string(&mut note));
    read.map_or_else(|_| String::new(), |_| note)
}

fn has_failed(file: &mut File, clock: &dyn Clock) -> bool {
    let note = read_note(file);
    let words: Vec<_> = note.split_whitespace().collect();
    let [_, at_unix_s, UNREACHABLE] = words.as_slice() else {
        return false;
    };
    at_unix_s
        .parse::<u64>()
        .is_ok_and(|at| clock.now_unix_s().abs_diff(at) <= SHARED_FAILURE_S)
}

/// Reads the process and the time in the note.
fn numbers(file: &mut File) -> [Option<u64>; 2] {
    let note = read_note(file);
    let mut numbers = note.split_whitespace().map(|word| word.parse().ok());
    [(); 2].map(|()| numbers.next().flatten())
}

fn holder(file: &mut File, clock: &dyn Clock) -> String {
    match numbers(file) {
        [Some(process), Some(since)] => {
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
    fn a_held_lock_names_its_holder_and_is_free_when_the_holder_ends() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let acquire = || acquire(directory.path(), "k", Duration::ZERO, &SystemClock, &|_| {});
        let held = acquire().expect("the lock is free");
        let message = format!("{:#}", acquire().expect_err("it is held"));
        assert!(
            message.contains("k.lock") && message.contains(&std::process::id().to_string()),
            "{message}"
        );
        drop(held);
        assert!(acquire().is_ok());
    }
}
