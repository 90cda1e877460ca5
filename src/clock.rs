//! The clock as a parameter, so that tests of expiry need not wait. Describes time spans in words.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time of day in UTC.
pub(crate) trait Clock {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn now_unix_s(&self) -> u64;

    /// Lets a span of time go by.
    fn wait(&self, span: Duration);

    /// Lets a random span of time between two go by, so that many machines do not return at the same moment.
    fn wait_between(&self, least: Duration, most: Duration) {
        // The standard library's only source of chance: its hash keys.
        let chance = RandomState::new().hash_one(0) >> 32;
        let part = chance as f64 / f64::from(u32::MAX);
        self.wait(least + most.saturating_sub(least).mul_f64(part));
    }

    /// The time since some moment in the past. It never goes back, unlike the time of day.
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.now_unix_s())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_s(&self) -> u64 {
        // A clock before 1970 counts as 1970. Every cached token then looks valid, and the server's refusal corrects
        // that.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }

    fn wait(&self, span: Duration) {
        thread::sleep(span);
    }

    fn monotonic(&self) -> Duration {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        BEGUN.get_or_init(Instant::now).elapsed()
    }
}

/// Describes a time span: `1 h 59 min`, `3 days`, `20 s`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 if seconds % 3_600 < 60 => format!("{} h", seconds / 3_600),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400..172_800 => "1 day".to_owned(),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Says when something ends.
pub(crate) fn expiry(expires_at_unix_s: u64, now_unix_s: u64) -> String {
    match expires_at_unix_s.checked_sub(now_unix_s) {
        Some(left) if left > 0 => format!("expires in {}", span(left)),
        _ => format!("expired {} ago", span(now_unix_s - expires_at_unix_s)),
    }
}

/// Says how long ago something was.
pub(crate) fn ago(at_unix_s: u64, now_unix_s: u64) -> String {
    format!("{} ago", span(now_unix_s.saturating_sub(at_unix_s)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_two_units_at_most() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "1 h 59 min"),
            (7_200, "2 h"),
            (86_400, "1 day"),
            (259_200, "3 days"),
        ];
        for (seconds, words) in cases {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(expiry(100, 100), "expired 0 s ago");
        assert_eq!(expiry(160, 100), "expires in 1 min");
    }
}
