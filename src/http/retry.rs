//! The retry policy for the git server and the token endpoint: when to send a request again, and after which pause.
//!
//! The caller decides which requests may be sent twice. The transport repeats reads until git has a byte of the
//! response. It repeats a push only if there was no connection or the server answered 429. Status 503 is not enough for
//! a push: a gateway also sends it when it lost the response of the server behind it.
use std::{collections::hash_map::RandomState, fmt, hash::BuildHasher as _, time::Duration};

use super::{
    interface::Response,
    transport_error::{Phase, TransportError},
};

/// Retries per command after a lost connection, or after a busy server named a pause.
const TIMES: u32 = 3;
/// Retries per command if a busy server names no pause. The pauses add up to half a minute.
const TIMES_BUSY: u32 = 5;
/// The limit for all pauses of one command together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The first pause after a failed or broken connection. Each further pause is twice as long.
const LOST_PAUSE: Duration = Duration::from_millis(250);
/// The first pause if a busy server names none.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The longest time over which clients return after a short pause that the server asked all of them for.
const SPREAD: Duration = Duration::from_secs(4);

/// A failure that a retry may solve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection failed or broke.
    Lost(String),
    /// The server or its gateway is busy.
    Busy {
        /// The server's host.
        host: String,
        /// The status code.
        status: u16,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
}

impl Trouble {
    /// Classifies a failed exchange; `None` if a retry would fail the same way.
    pub(crate) fn of_connection(error: &TransportError) -> Option<Self> {
        let may_pass = match error.phase {
            Phase::Connect => error.is_of_the_network(),
            Phase::Request | Phase::Answer => true,
            Phase::Tls | Phase::NotHttp | Phase::TimeLimit => false,
        };
        may_pass.then(|| Trouble::Lost(error.to_string()))
    }

    /// Finds the broken connection in an error chain.
    pub(crate) fn inside(error: &anyhow::Error) -> Option<Self> {
        TransportError::inside(error).and_then(Trouble::of_connection)
    }

    /// Sorts a status; `None` when it is the server's last word.
    pub(crate) fn of_status(response: &Response, host: &str) -> Option<Self> {
        matches!(response.status, 429 | 502..=504).then(|| Trouble::Busy {
            host: host.to_owned(),
            status: response.status,
            retry_after: response.retry_after(),
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lost(how) => f.write_str(how),
            Trouble::Busy {
                host, status: 429, ..
            } => write!(f, "'{host}' received too many requests (status 429)"),
            Trouble::Busy { host, status, .. } => {
                write!(f, "'{host}' is not available (status {status})")
            }
        }
    }
}

/// The remaining retries of one command.
#[derive(Debug)]
pub(crate) struct Retries {
    done: u32,
    patience: Duration,
}

/// A pause before the next attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// The length of the pause.
    pub(crate) span: Duration,
    /// The message for the user. Only the first pause of a command has one.
    pub(crate) line: Option<String>,
}

impl Retries {
    /// Allows retries while all pauses together fit into `patience`.
    pub(crate) fn within(patience: Duration) -> Self {
        Retries { done: 0, patience }
    }

    /// Gives the pause before the next retry; `None` if there are no retries left.
    pub(crate) fn pause(&mut self, trouble: &Trouble) -> Option<Pause> {
        let times = match trouble {
            Trouble::Busy {
                retry_after: None, ..
            } => TIMES_BUSY,
            _ => TIMES,
        };
        if self.done >= times || self.patience.is_zero() {
            return None;
        }
        let doubled = |first: Duration| {
            let pause = first * 2_u32.pow(self.done);
            pause / 2 + some_of(pause / 2)
        };
        let span = match trouble {
            Trouble::Lost(_) => doubled(LOST_PAUSE),
            Trouble::Busy {
                retry_after: None, ..
            } => doubled(BUSY_PAUSE),
            Trouble::Busy {
                retry_after: Some(asked),
                ..
            } => *asked + some_of(spread(*asked, self.done, self.patience)?),
        };
        self.patience = self.patience.checked_sub(span)?;
        self.done += 1;
        let line = (self.done == 1)
            .then(|| format!("{trouble}; trying again in {:.1} s", span.as_secs_f64()));
        Some(Pause { span, line })
    }
}

/// Gives the time after a pause over which clients return, so that they do not all return at the same moment: half the
/// pause at first, then more. `None` if the pause alone exceeds the patience.
fn spread(asked: Duration, done: u32, patience: Duration) -> Option<Duration> {
    let growing = asked.min(SPREAD * 2) / 2 * 2_u32.pow(done);
    let wanted = (asked / 8).max(growing.min(SPREAD));
    patience.checked_sub(asked).map(|left| wanted.min(left))
}

/// Gives a random part of a span.
fn some_of(span: Duration) -> Duration {
    // The standard library's only source of chance: its hash keys.
    let chance = RandomState::new().hash_one(0) >> 32;
    span.mul_f64(chance as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn busy(retry_after_s: Option<u64>) -> Trouble {
        Trouble::Busy {
            host: "h".into(),
            status: 503,
            retry_after: retry_after_s.map(Duration::from_secs),
        }
    }

    fn span(retries: &mut Retries, trouble: &Trouble) -> Option<Duration> {
        retries.pause(trouble).map(|pause| pause.span)
    }

    #[test]
    fn pauses_double_within_bounds_and_are_counted() {
        let lost = Trouble::Lost(String::new());
        for (trouble, first_ms, times) in [(lost, 250, 3), (busy(None), 1000, 5)] {
            let mut retries = Retries::within(PATIENCE);
            for attempt in 0..times {
                let pause = span(&mut retries, &trouble).expect("it is one of those allowed");
                let most = Duration::from_millis(first_ms << attempt);
                assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
            }
            assert_eq!(span(&mut retries, &trouble), None, "{times} are enough");
        }
    }

    #[test]
    fn a_person_gets_one_line_for_all_attempts() {
        let mut retries = Retries::within(PATIENCE);
        let pause = retries.pause(&busy(Some(8))).expect("it is short enough");
        let line = pause.line.expect("the first is announced");
        assert!(
            line.starts_with("'h' is not available (status 503); trying again in "),
            "{line}"
        );
        let pause = retries.pause(&busy(None)).expect("it is short enough");
        assert_eq!(pause.line, None);
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_asks_and_no_shorter_within_the_patience() {
        let mut retries = Retries::within(PATIENCE);
        let pause = span(&mut retries, &busy(Some(40))).expect("it is short enough");
        assert!(pause >= Duration::from_secs(40) && pause <= Duration::from_secs(45));
        assert_eq!(
            span(&mut retries, &busy(Some(40))),
            None,
            "together it is too long"
        );
        for too_long in [61, 3600, u64::MAX] {
            let mut retries = Retries::within(PATIENCE);
            assert_eq!(span(&mut retries, &busy(Some(too_long))), None);
        }
        let mut retries = Retries::within(PATIENCE);
        assert_eq!(span(&mut retries, &busy(Some(0))), Some(Duration::ZERO));
        let mut impatient = Retries::within(Duration::ZERO);
        assert_eq!(span(&mut impatient, &busy(Some(0))), None);
    }

    #[test]
    fn jobs_that_were_asked_for_the_same_pause_return_over_a_time_in_proportion() {
        let of = |asked_s, done| {
            let spread = spread(Duration::from_secs(asked_s), done, PATIENCE);
            spread.map(|spread| spread.as_secs_f64())
        };
        for (asked_s, expected_s) in [(0, 0.0), (1, 0.5), (4, 2.0), (10, 4.0), (40, 5.0)] {
            assert_eq!(of(asked_s, 0), Some(expected_s), "after {asked_s} s");
        }
        assert_eq!([of(1, 1), of(1, 2)], [Some(1.0), Some(2.0)], "later more");
        assert_eq!(of(58, 0), Some(2.0), "a pause that fits is never too long");
        assert_eq!([of(60, 0), of(61, 0)], [Some(0.0), None]);
        let trouble = busy(Some(10));
        let seconds: std::collections::BTreeSet<_> = (0..200)
            .filter_map(|_| span(&mut Retries::within(PATIENCE), &trouble))
            .map(|span| span.as_secs())
            .collect();
        assert!(seconds.len() >= 4, "200 jobs in one second: {seconds:?}");
        assert!(seconds.iter().all(|second| (10..=14).contains(second)));
    }

    #[test]
    fn pauses_are_random() {
        let pauses: std::collections::BTreeSet<_> = (0..20)
            .map(|_| some_of(Duration::from_secs(1000)))
            .collect();
        assert!(pauses.len() > 15, "{pauses:?}");
    }

    #[test]
    fn a_permanent_failure_is_not_retried() {
        for phase in [Phase::Connect, Phase::Tls, Phase::NotHttp, Phase::TimeLimit] {
            let error =
                TransportError::new(phase, "h", "the helper sends a credential only over https");
            assert_eq!(Trouble::of_connection(&error), None, "{phase:?}");
        }
        let lost = TransportError::new(Phase::Answer, "h", "cut");
        assert!(Trouble::of_connection(&lost).is_some());
        let wrapped = anyhow::Error::new(io::Error::other(lost)).context("outer");
        assert!(Trouble::inside(&wrapped).is_some());
        assert_eq!(Trouble::inside(&anyhow::anyhow!("no")), None);
    }
}
