//! Handles the system's limits of threads and file handles.
//!
//! `std::thread::spawn` and several libraries panic at such a limit. This module returns an error instead, or does the
//! work on the calling thread. Before it calls a library that would panic, it checks the limit.

use std::{
    env, fmt, io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

const HANDLES: &str =
    "raise the limit of open files ('ulimit -n') or close some of them, then try again";
const PROCESSES: &str =
    "end other processes of this user or raise their limit ('ulimit -u'), then try again";
const SPACE: &str = "free space on that disk, then try again";
const MEMORY: &str = "close other programs, then try again";
const DIRECTORY: &str = "change into a directory that exists, then try again";

/// `ENFILE` and `EMFILE`, the same on every Unix.
const NO_HANDLE: [i32; 2] = [23, 24];

/// More threads than the libraries for the keychain start.
const THREADS: usize = 8;

/// A resource that the system has no more of.
#[derive(Debug)]
pub(crate) struct Scarcity {
    message: String,
    remedy: &'static str,
}

impl Scarcity {
    /// Gives the name of the resource, and the fix as one imperative sentence.
    pub(crate) fn new(message: impl Into<String>, remedy: &'static str) -> Self {
        Scarcity {
            message: message.into(),
            remedy,
        }
    }
}

impl fmt::Display for Scarcity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Scarcity {}

/// Gives the remedy if an error comes from a limit of the system.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|link| {
        let of_system = link.downcast_ref::<io::Error>().and_then(of_io);
        let scarcity = link.downcast_ref::<Scarcity>();
        of_system.or_else(|| scarcity.map(|scarcity| scarcity.remedy))
    })
}

/// Gives the remedy if the working directory was removed.
pub(crate) fn remedy_of_place() -> Option<&'static str> {
    env::current_dir().is_err().then_some(DIRECTORY)
}

fn of_io(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(Scarcity { remedy, .. }) = inner {
        return Some(remedy);
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(SPACE),
        io::ErrorKind::OutOfMemory => Some(MEMORY),
        _ => error
            .raw_os_error()
            .filter(|code| cfg!(unix) && NO_HANDLE.contains(code))
            .map(|_| HANDLES),
    }
}

/// Explains why a process or a thread did not start, if a limit is the reason (fork(2), `EAGAIN`).
pub(crate) fn of_start(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let message = format!("this user cannot start another process or thread: {error}");
            io::Error::new(error.kind(), Scarcity::new(message, PROCESSES))
        }
        _ => error,
    }
}

/// Starts a thread.
///
/// # Errors
///
/// If the system cannot start one.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(of_start)
}

/// Moves a value into a function on a new thread.
///
/// # Errors
///
/// The value, if the system cannot start a thread.
pub(crate) fn hand_to_thread<T: Send + 'static>(
    name: &str,
    thing: T,
    work: impl FnOnce(T) + Send + 'static,
) -> Result<(), T> {
    fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
        place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    let place = Arc::new(Mutex::new(Some(thing)));
    let its_place = Arc::clone(&place);
    match start(name, move || take(&its_place).map(work)) {
        Ok(_) => Ok(()),
        Err(_) => take(&place).map_or(Ok(()), Err),
    }
}

/// Runs a function on a new thread, or on this one if the system cannot start one.
pub(crate) fn start_or_run(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(work) = hand_to_thread(name, work, |work| work()) {
        work();
    }
}

/// Checks that a library can start its threads.
///
/// # Errors
///
/// If the system allows fewer.
pub(crate) fn check_threads() -> io::Result<()> {
    let mut started = Vec::new();
    let outcome = (0..THREADS).try_for_each(|_| {
        started.push(start("check", thread::park)?);
        Ok(())
    });
    for thread in started {
        thread.thread().unpark();
        let _ = thread.join();
    }
    outcome
}

/// Checks for enough file handles: for a connection, and for files that are open at the same time.
///
/// Without this check, the error would mislead: glibc reports an unknown host if it cannot open its files.
///
/// # Errors
///
/// If the limit leaves fewer.
#[cfg(unix)]
pub(crate) fn check_handles() -> io::Result<()> {
    use rustix::process::{Resource, getrlimit};
    use std::os::fd::AsFd as _;
    /// Twice as many as a fetch opens.
    const NEEDED: usize = 24;
    /// This many are enough, even with the files that git has left open.
    const PLENTY: u64 = 256;
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_none_or(|limit| limit >= PLENTY) {
        return Ok(());
    }
    let input = io::stdin();
    let copies = (0..NEEDED).map(|_| input.as_fd().try_clone_to_owned());
    copies.collect::<io::Result<Vec<_>>>().map(drop)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn check_handles() -> io::Result<()> {
    Ok(())
}

/// Tells whether this is a CI job, where no user can answer: `CI` is set, and neither empty nor `false`.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_limit_of_the_system_has_its_remedy_at_any_depth() {
        let at_depth = |error: io::Error| {
            let error = Err::<(), _>(error).context("inner").context("outer");
            remedy(&error.expect_err("it was made as an error"))
        };
        assert_eq!(at_depth(io::ErrorKind::StorageFull.into()), Some(SPACE));
        assert_eq!(
            at_depth(of_start(io::ErrorKind::WouldBlock.into())),
            Some(PROCESSES)
        );
        #[cfg(unix)]
        assert_eq!(
            at_depth(rustix::io::Errno::MFILE.into()),
            Some(HANDLES),
            "the process has no handle left"
        );
        assert_eq!(at_depth(io::ErrorKind::WouldBlock.into()), None);
        let scarcity = anyhow::Error::new(Scarcity::new("x", MEMORY)).context("outer");
        assert_eq!(remedy(&scarcity), Some(MEMORY));
    }
}
