//! Retries requests to a token endpoint that is busy or does not answer, by the same policy as for the git server.

use std::time::Duration;

use super::tokens::Tokens;
use crate::{
    http::{Phase, Retries, Trouble},
    oauth,
};

/// The effect of sending a request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// No effect.
    Safe,
    /// An authorization code is valid once. A second use may revoke the tokens of the first (RFC 6749 section 4.1.2).
    Spends,
    /// A refresh token is also valid once, but may be repeated for a few minutes if the response was lost.
    SpendsWithGrace,
}

impl Tokens<'_> {
    /// Sends a token request, and retries temporary failures. `patience` is the limit for all pauses together.
    pub(super) fn with_retries(
        &self,
        patience: Duration,
        repeat: Repeat,
        mut ask: impl FnMut() -> Result<oauth::TokenAnswer, oauth::Error>,
    ) -> Result<oauth::TokenAnswer, oauth::Error> {
        let mut retries = Retries::within(patience);
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => match self.retry_after(&mut retries, repeat, &error) {
                    Some(span) => self.clock.wait(span),
                    None => return Err(error),
                },
            }
        }
    }

    /// Gives the pause before the next attempt, and tells the user of the first one. `None` if there is no attempt.
    pub(super) fn retry_after(
        &self,
        retries: &mut Retries,
        repeat: Repeat,
        error: &oauth::Error,
    ) -> Option<Duration> {
        let pause = retries.pause(&self.trouble(error, repeat)?)?;
        pause.line.iter().for_each(|line| (self.warn)(line));
        Some(pause.span)
    }

    /// Classifies a failure; `None` if a retry would not help or is not allowed.
    fn trouble(&self, error: &oauth::Error, repeat: Repeat) -> Option<Trouble> {
        match error {
            oauth::Error::Transport(error) => {
                let may_repeat = repeat != Repeat::Spends || error.phase == Phase::Connect;
                let is_garbled = repeat == Repeat::SpendsWithGrace && error.phase == Phase::NotHttp;
                Trouble::of_connection(error)
                    .filter(|_| may_repeat)
                    .or_else(|| is_garbled.then(|| Trouble::Lost(error.to_string())))
            }
            oauth::Error::Busy {
                status,
                retry_after_s,
                ..
            } => {
                // A gateway sends these when it lost a response. A gateway that is only busy names a pause.
                let is_merely_busy = *status == 429 || *status == 503 && retry_after_s.is_some();
                (repeat != Repeat::Spends || is_merely_busy).then(|| Trouble::Busy {
                    host: self.token_host().to_owned(),
                    status: *status,
                    retry_after: retry_after_s.map(Duration::from_secs),
                })
            }
            oauth::Error::Failed(_)
            | oauth::Error::Unusable {
                status: 200..=299 | 500..,
                ..
            } => (repeat == Repeat::SpendsWithGrace).then(|| Trouble::Lost(error.to_string())),
            oauth::Error::Refused(_)
            | oauth::Error::OtherType(_)
            | oauth::Error::Unusable { .. } => None,
        }
    }
}
