//! Handles signals. While `exec` runs a command, signals go to the command, and `exec` cleans up after it. Before a
//! signal ends this process itself, a cleanup runs.

use std::{
    process::Child,
    sync::{Mutex, PoisonError},
};

use crate::limits;

/// The cleanup before a signal ends this process.
static BEFORE_END: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());

/// Sets a cleanup that runs before Ctrl-C or another signal ends this process. It must be harmless if there is nothing
/// to clean up.
pub(super) fn before_end(act: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let mut acts = BEFORE_END.lock().unwrap_or_else(PoisonError::into_inner);
    if acts.is_empty() {
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        limits::start("signals", move || {
            for signal in signals.forever() {
                act_before_end();
                // End by the same signal, so that the shell sees it.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })?;
    }
    acts.push(Box::new(act));
    Ok(())
}

fn act_before_end() {
    let acts = BEFORE_END.lock().unwrap_or_else(PoisonError::into_inner);
    acts.iter().for_each(|act| act());
}

/// Ends this process soon after the one that started it has ended.
pub(super) fn end_with_parent() -> std::io::Result<()> {
    use std::os::unix::process::parent_id;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    let parent = parent_id();
    limits::start("parent", move || {
        while parent_id() == parent {
            std::thread::sleep(PAUSE);
        }
        act_before_end();
        std::process::exit(1);
    })
    .map(drop)
}

/// Keeps the signals that end a program from ending this one.
pub(super) struct Signals(signal_hook::iterator::Signals);

impl Signals {
    pub(super) fn hold() -> anyhow::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
        Ok(Signals(signal_hook::iterator::Signals::new([
            SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
        ])?))
    }

    /// Passes signals to the command from now on. A terminal's signals also reach it directly, which does no harm.
    pub(super) fn pass_to(mut self, child: &Child) -> std::io::Result<()> {
        let child = rustix::process::Pid::from_child(child);
        limits::start("signals", move || {
            for signal in self.0.forever() {
                if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
                    // It may have ended already.
                    let _ = rustix::process::kill_process(child, signal);
                }
            }
        })
        .map(drop)
    }
}
