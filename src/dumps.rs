//! Keeps the memory of this process, which contains secrets, out of core dumps and away from the user's other
//! processes.
//!
//! On Linux, a process without privileges cannot attach to a process that is not dumpable, or read its memory. A
//! program that such a process executes is dumpable again. Other systems have the limit for core dumps, which children
//! inherit. Git's transport, which gets a token, keeps the limit. The command of `git bbtoken exec` gets the user's own
//! limit.

#[cfg(unix)]
mod unix {
    use std::{
        io,
        process::{Child, Command},
        sync::OnceLock,
    };

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// The user's own limit.
    static OWN_LIMIT: OnceLock<Rlimit> = OnceLock::new();

    /// Forbids core dumps of this process.
    pub(crate) fn forbid() {
        // Without this limit, the system's default applies.
        #[cfg(target_os = "linux")]
        let _ =
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        let own = *OWN_LIMIT.get_or_init(|| getrlimit(Resource::Core));
        let _ = setrlimit(Resource::Core, without(own));
    }

    /// Starts a user's command with the user's own limit.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn spawn_with_own_limit(command: &mut Command) -> io::Result<Child> {
        let Some(own) = OWN_LIMIT.get() else {
            return command.spawn();
        };
        // Only the soft limit was lowered, so it can be raised again.
        let _ = setrlimit(Resource::Core, *own);
        let child = command.spawn();
        let _ = setrlimit(Resource::Core, without(*own));
        child
    }

    fn without(own: Rlimit) -> Rlimit {
        Rlimit {
            current: Some(0),
            maximum: own.maximum,
        }
    }
}

#[cfg(unix)]
pub(crate) use unix::{forbid, spawn_with_own_limit};

/// Windows writes dumps only if the user has configured it.
#[cfg(not(unix))]
pub(crate) fn forbid() {}

/// Starts a user's command.
///
/// # Errors
///
/// When it cannot be started.
#[cfg(not(unix))]
pub(crate) fn spawn_with_own_limit(
    command: &mut std::process::Command,
) -> std::io::Result<std::process::Child> {
    command.spawn()
}
