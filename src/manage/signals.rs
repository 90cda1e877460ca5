//! Signals while a command runs in our place: they are the command's to answer, and what we made is removed after it.

use std::process::Child;

/// Keeps the signals that end a program from ending this one.
#[cfg(unix)]
pub(super) struct Signals(signal_hook::iterator::Signals);

#[cfg(unix)]
impl Signals {
    pub(super) fn hold() -> anyhow::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        Ok(Signals(signal_hook::iterator::Signals::new([
            SIGHUP, SIGINT, SIGQUIT, SIGTERM,
        ])?))
    }

    /// Passes them to the command from now on. A terminal's own reach it without us; once more does no harm.
    pub(super) fn pass_to(mut self, child: &Child) {
        let Some(child) = i32::try_from(child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        else {
            return;
        };
        std::thread::spawn(move || {
            for signal in self.0.forever() {
                if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
                    // It may have ended already.
                    let _ = rustix::process::kill_process(child, signal);
                }
            }
        });
    }
}

/// Elsewhere the console tells both processes.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn hold() -> anyhow::Result<Self> {
        Ok(Signals)
    }

    pub(super) fn pass_to(self, _child: &Child) {}
}
