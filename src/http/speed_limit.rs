//! How slow an exchange may be: git's `http.lowSpeedLimit` over `http.lowSpeedTime`, and a last resort without them.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

/// Without a setting a connection on which nothing moves for this long is dead: servers that are at work send
/// keep-alive packets every 5 seconds (git-config(1), `uploadpack.keepAlive`, `receive.keepAlive`).
const DEAD_AFTER: Duration = Duration::from_secs(600);

/// The slowest an exchange may be, and for how long (git-config(1), `http.lowSpeedLimit`, `http.lowSpeedTime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowSpeed {
    /// Bytes a second, either way.
    pub bytes_per_s: u64,
    /// How long it may be slower than that.
    pub span: Duration,
}

/// The pace of one exchange. Only the time in which the network is waited for counts.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: Limit,
    moved_bytes: AtomicU64,
    /// An upload waits for what it is to send: that is not the network's fault.
    is_local: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    /// None: a single byte is enough.
    bytes_per_s: Option<u64>,
    span: Duration,
}

/// What was seen since the last look.
#[derive(Debug, Default)]
struct Seen {
    waited: Duration,
    at_bytes: u64,
    /// For how long it has been too slow.
    slow: Duration,
}

/// Too little moved for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow(String);

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TooSlow {}

impl Limit {
    /// How often to look: curl looks every second, too; a short time is not looked past.
    fn look(self) -> Duration {
        (self.span / 10).max(Duration::from_secs(1)).min(self.span)
    }

    fn broken(self) -> TooSlow {
        let span = self.span.as_secs();
        TooSlow(match self.bytes_per_s {
            Some(limit) => format!(
                "less than {limit} bytes a second for {span} seconds (http.lowSpeedLimit, http.lowSpeedTime)"
            ),
            None => format!("not a byte came or went for {span} seconds"),
        })
    }
}

impl Pace {
    pub(super) fn new(low_speed: Option<LowSpeed>) -> Self {
        let limit = match low_speed {
            Some(low) => Limit {
                bytes_per_s: Some(low.bytes_per_s),
                span: low.span,
            },
            None => Limit {
                bytes_per_s: None,
                span: DEAD_AFTER,
            },
        };
        Pace(Arc::new(Inner {
            limit,
            moved_bytes: AtomicU64::new(0),
            is_local: AtomicBool::new(false),
            seen: Mutex::default(),
        }))
    }

    /// Notes bytes that came or went.
    pub(super) fn moved(&self, bytes: usize) {
        self.0
            .moved_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes whether the next bytes have to come from this machine.
    pub(super) fn waits_here(&self, is_local: bool) {
        self.0.is_local.store(is_local, Ordering::Relaxed);
    }

    /// Waits for the network, unless it becomes too slow.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut work = std::pin::pin!(work);
        loop {
            let began = Instant::now();
            let done = timeout(self.0.limit.look(), work.as_mut()).await;
            self.waited(began.elapsed())?;
            if let Ok(done) = done {
                return Ok(done);
            }
        }
    }

    /// Adds time in which the network was waited for, and judges once it is enough for an average.
    fn waited(&self, span: Duration) -> Result<(), TooSlow> {
        let limit = self.0.limit;
        let bytes = self.0.moved_bytes.load(Ordering::Relaxed);
        let mut seen = self.seen();
        seen.waited += span;
        if seen.waited < limit.look() {
            return Ok(());
        }
        let moved = bytes - seen.at_bytes;
        let least = limit
            .bytes_per_s
            .map_or(1.0, |limit| limit as f64 * seen.waited.as_secs_f64());
        let is_slow = (moved as f64) < least && !self.0.is_local.load(Ordering::Relaxed);
        seen.slow = if is_slow {
            seen.slow + seen.waited
        } else {
            Duration::ZERO
        };
        seen.waited = Duration::ZERO;
        seen.at_bytes = bytes;
        if seen.slow >= limit.span {
            return Err(limit.broken());
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Numbers are never half written.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(bytes_per_s: u64, span_s: u64) -> Pace {
        Pace::new(Some(LowSpeed {
            bytes_per_s,
            span: Duration::from_secs(span_s),
        }))
    }

    /// Lets seconds pass with so many bytes in each; gives the second in which it was too slow.
    fn run(pace: &Pace, bytes: &[usize]) -> Option<usize> {
        bytes.iter().position(|bytes| {
            pace.moved(*bytes);
            pace.waited(Duration::from_secs(1)).is_err()
        })
    }

    #[test]
    fn what_stays_below_the_limit_for_the_whole_time_is_too_slow() {
        assert_eq!(run(&pace(100, 3), &[99, 99, 99, 99]), Some(2));
        assert_eq!(run(&pace(100, 3), &[100; 20]), None);
        assert_eq!(
            run(&pace(100, 3), &[0, 0, 500, 0, 0, 500, 0, 0, 0]),
            Some(8)
        );
    }

    #[test]
    fn without_a_limit_a_byte_now_and_then_is_enough_and_none_is_death() {
        let alive: Vec<usize> = (0..7200)
            .map(|second| usize::from(second % 50 == 0))
            .collect();
        assert_eq!(run(&Pace::new(None), &alive), None);
        assert_eq!(run(&Pace::new(None), &[0; 7200]), Some(599));
    }

    #[test]
    fn an_upload_that_waits_for_its_source_is_not_slow() {
        let pace = pace(100, 3);
        pace.waits_here(true);
        assert_eq!(run(&pace, &[0; 100]), None);
        pace.waits_here(false);
        assert_eq!(run(&pace, &[0; 100]), Some(2));
    }

    #[test]
    fn many_short_waits_count_as_one() {
        let pace = pace(100, 1);
        let judged = (0..10).find(|_| pace.waited(Duration::from_millis(250)).is_err());
        assert_eq!(judged, Some(3));
    }
}
