//! A token endpoint that is busy: it is waited for as long as it asks, within a bound.

use std::time::Duration;

use crate::{clock::Clock, oauth};

/// How long to wait when it does not say, and at least.
const PAUSE: Duration = Duration::from_secs(2);
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// How a busy endpoint is waited for.
pub(super) struct Patience<'p> {
    /// All waits together.
    pub(super) span: Duration,
    /// The endpoint's, to be named.
    pub(super) host: &'p str,
    pub(super) clock: &'p dyn Clock,
    /// Hears what is waited for.
    pub(super) notify: &'p dyn Fn(&str),
}

impl Patience<'_> {
    /// Asks, and again as often as the endpoint tells to.
    pub(super) fn ask(
        &self,
        mut ask: impl FnMut() -> Result<oauth::TokenAnswer, oauth::Error>,
    ) -> Result<oauth::TokenAnswer, oauth::Error> {
        let mut left = self.span;
        loop {
            let (status, pause, said) = match ask() {
                Err(oauth::Error::Busy {
                    status,
                    retry_after_s,
                    said,
                }) => (
                    status,
                    retry_after_s.map_or(PAUSE, Duration::from_secs),
                    said,
                ),
                outcome => return outcome,
            };
            let pause = pause.max(LEAST_PAUSE);
            let Some(rest) = left.checked_sub(pause) else {
                return Err(oauth::Error::Busy {
                    status,
                    retry_after_s: Some(pause.as_secs()),
                    said,
                });
            };
            left = rest;
            let (host, seconds) = (self.host, pause.as_secs());
            let why = match status {
                429 => "has had too many requests",
                _ => "is not available",
            };
            (self.notify)(&format!(
                "waiting {seconds} s for a token, because '{host}' {why} (status {status})"
            ));
            self.clock.wait(pause);
        }
    }
}
