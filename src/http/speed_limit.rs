//! Ends exchanges that are too slow: git's `http.lowSpeedLimit` and `http.lowSpeedTime`, and a default without them.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

/// The default: a connection without any traffic for this long is dead. A working server sends keep-alive packets
/// every 5 seconds (git-config(1), `uploadpack.keepAlive`, `receive.keepAlive`).
const DEAD_AFTER: Duration = Duration::from_secs(600);

/// The lowest accepted speed, and the time below it (git-config(1), `http.lowSpeedLimit`, `http.lowSpeedTime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowSpeed {
    /// Bytes per second, in both directions together.
    pub(crate) bytes_per_s: u64,
    /// The time for which an exchange may be slower.
    pub(crate) span: Duration,
}

/// The speed limit of one exchange, and its measured speed. Only the time that the client waits for the network counts.
#[derive(Clone, Debug)]
pub(super) struct SpeedLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: Limit,
    moved_bytes: AtomicU64,
    /// Whether an upload waits for its local source, which is not the network's fault.
    is_local: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    /// With `None`, a single byte is enough.
    bytes_per_s: Option<u64>,
    span: Duration,
}

/// The measurement since the last check.
#[derive(Debug, Default)]
struct Seen {
    waited: Duration,
    at_bytes: u64,
    /// The time for which the exchange has been too slow.
    slow: Duration,
}

impl Limit {
    /// The interval between checks: at least one second, as in curl, and never longer than the span itself.
    fn look(self) -> Duration {
        (self.span / 10).max(Duration::from_secs(1)).min(self.span)
    }

    /// Says that an exchange was too slow for too long.
    fn broken(self) -> String {
        let span = self.span.as_secs();
        match self.bytes_per_s {
            Some(limit) => format!(
                "less than {limit} bytes a second for {span} seconds (http.lowSpeedLimit, http.lowSpeedTime)"
            ),
            None => format!("no data was transferred for {span} seconds"),
        }
    }
}

impl SpeedLimit {
    pub(super) fn new(low_speed: Option<LowSpeed>) -> Self {
        let limit = Limit {
            bytes_per_s: low_speed.map(|low| low.bytes_per_s),
            span: low_speed.map_or(DEAD_AFTER, |low| low.span),
        };
        SpeedLimit(Arc::new(Inner {
            limit,
            moved_bytes: AtomicU64::new(0),
            is_local: AtomicBool::new(false),
            seen: Mutex::default(),
        }))
    }

    /// Counts sent or received bytes.
    pub(super) fn moved(&self, bytes: usize) {
        self.0
            .moved_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sets whether the exchange waits for this machine's own bytes.
    pub(super) fn waits_here(&self, is_local: bool) {
        self.0.is_local.store(is_local, Ordering::Relaxed);
    }

    /// Waits for the network, and gives the reason if it is too slow.
    pub(super) async fn enforce<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
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

    /// Adds waiting time, and checks the speed when there is enough time for an average.
    fn waited(&self, span: Duration) -> Result<(), String> {
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
        let waited = std::mem::take(&mut seen.waited);
        seen.slow = match is_slow {
            true => seen.slow + waited,
            false => Duration::ZERO,
        };
        seen.at_bytes = bytes;
        if seen.slow >= limit.span {
            return Err(limit.broken());
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic cannot leave these numbers half written.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes_per_s: u64, span_s: u64) -> SpeedLimit {
        SpeedLimit::new(Some(LowSpeed {
            bytes_per_s,
            span: Duration::from_secs(span_s),
        }))
    }

    /// Simulates seconds with this many bytes each, and gives the second in which the limit applied.
    fn run(limit: &SpeedLimit, bytes: &[usize]) -> Option<usize> {
        bytes.iter().position(|bytes| {
            limit.moved(*bytes);
            limit.waited(Duration::from_secs(1)).is_err()
        })
    }

    #[test]
    fn an_exchange_below_the_limit_for_the_whole_span_is_too_slow() {
        assert_eq!(run(&limit(100, 3), &[99, 99, 99, 99]), Some(2));
        assert_eq!(run(&limit(100, 3), &[100; 20]), None);
        assert_eq!(
            run(&limit(100, 3), &[0, 0, 500, 0, 0, 500, 0, 0, 0]),
            Some(8)
        );
    }

    #[test]
    fn without_a_limit_an_occasional_byte_keeps_the_connection_alive() {
        let alive: Vec<usize> = (0..7200)
            .map(|second| usize::from(second % 50 == 0))
            .collect();
        assert_eq!(run(&SpeedLimit::new(None), &alive), None);
        assert_eq!(run(&SpeedLimit::new(None), &[0; 7200]), Some(599));
    }

    #[test]
    fn an_upload_that_waits_for_its_source_is_not_slow() {
        let limit = limit(100, 3);
        limit.waits_here(true);
        assert_eq!(run(&limit, &[0; 100]), None);
        limit.waits_here(false);
        assert_eq!(run(&limit, &[0; 100]), Some(2));
    }

    #[test]
    fn many_short_waits_count_as_one() {
        let limit = limit(100, 1);
        let judged = (0..10).find(|_| limit.waited(Duration::from_millis(250)).is_err());
        assert_eq!(judged, Some(3));
    }
}
