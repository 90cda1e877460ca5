//! A token endpoint that is busy or does not answer is asked again, by the policy that holds for the git server, too.

use std::time::Duration;

use crate::{
    clock::Clock,
    http::{Phase, Retries, Trouble},
    oauth,
};

/// How an endpoint is asked again.
pub(super) struct Patience<'p> {
    /// All waits together.
    pub(super) span: Duration,
    /// The endpoint's host, to be named.
    pub(super) host: &'p str,
    pub(super) clock: &'p dyn Clock,
    /// Hears what is waited for.
    pub(super) notify: &'p dyn Fn(&str),
}

/// What a request may do at the server if it is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing that matters.
    Safe,
    /// It spends what it holds: an authorization code is good once, and its second use may revoke what the first one got
    /// (RFC 6749 section 4.1.2).
    Spends,
    /// The same, with a grace in which a lost answer can be had again: a refresh token.
    SpendsWithGrace,
}

impl Patience<'_> {
    /// Asks, and again where the next answer may be another one.
    pub(super) fn ask(
        &self,
        repeat: Repeat,
        mut ask: impl FnMut() -> Result<oauth::TokenAnswer, oauth::Error>,
    ) -> Result<oauth::TokenAnswer, oauth::Error> {
        let mut retries = Retries::within(self.span);
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let trouble = self.trouble(&error, repeat);
            let Some(pause) = trouble.and_then(|trouble| retries.pause(&trouble)) else {
                return Err(error);
            };
            pause.line.iter().for_each(|line| (self.notify)(line));
            self.clock.wait(pause.span);
        }
    }

    /// Sorts a failure; `None` when asking again would end the same way, or must not be.
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
                // A gateway answers so when it has lost an answer; one that is merely busy says how long.
                let is_merely_busy = *status == 429 || *status == 503 && retry_after_s.is_some();
                (repeat != Repeat::Spends || is_merely_busy).then(|| Trouble::Busy {
                    host: self.host.to_owned(),
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
