//! Keeps our memory, which holds secrets, out of core dumps and from other processes of the user.
//!
//! Linux lets no process without privileges attach to one that is not dumpable, nor read its memory; a new program that
//! it executes is dumpable again. The limit of core dumps is for the other systems, and children inherit it: git's
//! transport, which gets a token, keeps it; the command of `git bbtoken exec` gets back what the user had set.

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

    /// Starts a command of the user's with the limit that the user had set.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn spawn_with_own_limit(command: &mut Command) -> io::Result<Child> {
        let Some(own) = OWN_LIMIT.get() else {
            return command.spawn();
        };
        // The limit is below the hard one: it can be raised again.
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

/// Windows writes dumps only where its user has asked for them.
#[cfg(not(unix))]
pub(crate) fn forbid() {}

/// Starts a command of the user's.
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
