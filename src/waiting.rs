//! Says what a command waits for. Silent until [`announce`], because git expects its helpers to be silent.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How the user sees a wait.
pub(crate) struct Display {
    /// The time before the user sees it.
    pub(crate) delay: Duration,
    /// Shows the reason for the wait, in its first step (0) and in later ones.
    pub(crate) show: fn(&str, usize),
    /// Removes what `show` has shown.
    pub(crate) clear: fn(),
}

/// The time between two steps.
const STEP: Duration = Duration::from_millis(100);

static DISPLAY: OnceLock<Display> = OnceLock::new();
static IS_WAITING: AtomicBool = AtomicBool::new(false);
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// Shows waits from now on.
pub(crate) fn announce(display: Display) {
    // The first one stays.
    let _ = DISPLAY.set(display);
}

/// Gives the time before the user sees a wait; `None` if waits are silent.
pub(crate) fn delay() -> Option<Duration> {
    DISPLAY.get().map(|display| display.delay)
}

/// A wait, until it is dropped.
pub(crate) struct Wait {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a wait. A wait within another one is silent.
pub(crate) fn on(what: &str) -> Option<Wait> {
    let display = DISPLAY.get()?;
    if IS_WAITING.swap(true, Ordering::Relaxed) {
        return None;
    }
    let (end, ended) = mpsc::channel();
    let what = what.to_owned();
    let thread = thread::Builder::new().spawn(move || show(display, &what, &ended));
    Some(Wait {
        end: Some(end),
        // Without a thread, the wait is silent.
        thread: thread.ok(),
    })
}

fn show(display: &Display, what: &str, ended: &Receiver<()>) {
    let mut pause = display.delay;
    for step in 0.. {
        if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        if !IS_HELD.load(Ordering::Relaxed) {
            (display.show)(what, step);
        }
        pause = STEP;
    }
    (display.clear)();
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to give.
            let _ = thread.join();
        }
        IS_WAITING.store(false, Ordering::Relaxed);
    }
}

/// Shows no wait until it is dropped, because another program may ask the user.
pub(crate) struct Hold;

/// Hides waits until the result is dropped.
pub(crate) fn hold() -> Hold {
    IS_HELD.store(true, Ordering::Relaxed);
    if let Some(display) = DISPLAY.get() {
        (display.clear)();
    }
    Hold
}

impl Drop for Hold {
    fn drop(&mut self) {
        IS_HELD.store(false, Ordering::Relaxed);
    }
}
