//! Time as a parameter, so that expiry can be tested without waiting.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Tells the time of day in UTC.
pub trait Clock {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn now_unix_s(&self) -> u64;

    /// Lets a span of time go by.
    fn wait(&self, span: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_s(&self) -> u64 {
        // A clock set before 1970 counts as 1970: every cached token then looks far from its expiry and the
        // server's refusal corrects it.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }

    fn wait(&self, span: Duration) {
        thread::sleep(span);
    }
}
