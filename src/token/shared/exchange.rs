//! Requests a token under a claim, and writes the outcome into the shared record.

use std::time::Duration;

use super::{
    lookout::{Held, Lookout},
    outcome::Outcome,
    record::{Access, Cause, Failed, Record},
    renewal::{Attempt, LONGEST_PAUSE_S, Renewal},
};
use crate::{
    http::{HttpClient, PATIENCE, Phase, Retries},
    oauth,
    token::{
        busy::Repeat,
        explain::explain,
        refresh::{ENDED, RefreshFailure, login_needed},
    },
};

impl Renewal<'_> {
    /// Sends the token request until there is a response, and writes the outcome.
    pub(super) fn exchange(
        &self,
        lookout: &mut Lookout<'_>,
        mut held: Held,
        client: &oauth::Client,
        http: &dyn HttpClient,
        patience: Duration,
    ) -> anyhow::Result<Attempt> {
        let clock = self.tokens.clock;
        let record = held.known.record.clone();
        let mut may_be_used = record.claim.as_ref().is_some_and(|claim| claim.number > 1);
        let mut retries = Retries::within(patience);
        loop {
            if held.is_old(clock) && !lookout.hold(&mut held)? {
                return Ok(Attempt::Again);
            }
            let asked_at_unix_s = lookout.now_unix_s(&held.known);
            let answer = match &record.refresh_token {
                Some(token) => client.refresh(http, clock, token),
                None => client.client_credentials(http, clock),
            };
            let error = match answer {
                Ok(answer) => return Ok(self.share(lookout, &held, &answer, asked_at_unix_s)),
                Err(error) => error,
            };
            may_be_used |= RefreshFailure::of(&error) == RefreshFailure::Unknown;
            let tokens = self.tokens;
            match tokens.retry_after(&mut retries, Repeat::SpendsWithGrace, &error) {
                Some(span) if lookout.rest(&mut held, span)? => {}
                Some(_) => return Ok(Attempt::Again),
                None => return self.failed(lookout, &held, may_be_used, error, client),
            }
        }
    }

    /// Writes a new token into the record, and gives it for this command.
    fn share(
        &self,
        lookout: &mut Lookout<'_>,
        held: &Held,
        answer: &oauth::TokenAnswer,
        asked_at_unix_s: u64,
    ) -> Attempt {
        let access = Access::of(answer, asked_at_unix_s, &lookout.host);
        let outcome = Outcome::Renewed {
            access: access.clone(),
            refresh_token: answer.refresh_token.clone(),
        };
        let published = lookout.publish(held, &outcome);
        if let Ok(false) = published {
            // Another machine has repeated the exchange, and its token is the one that all of them use.
            return Attempt::Again;
        }
        self.tokens.copy(&Record {
            access: Some(access.clone()),
            ..held.known.record.clone()
        });
        if let Err(error) = published {
            (self.tokens.warn)(&format!(
                "the renewed token of profile '{}' could not be shared; run 'git bbtoken renew' within 8 minutes, or log in again: {error:#}",
                self.tokens.profile
            ));
        }
        Attempt::Done(self.granted(&access, lookout.now_unix_s(&held.known), true))
    }

    /// Writes a failure into the record, for the other machines, and explains it.
    fn failed(
        &self,
        lookout: &mut Lookout<'_>,
        held: &Held,
        may_be_used: bool,
        error: oauth::Error,
        client: &oauth::Client,
    ) -> anyhow::Result<Attempt> {
        let has_login = held.known.record.refresh_token.is_some();
        if has_login && RefreshFailure::of(&error) == RefreshFailure::Refused {
            return match lookout.publish(held, &Outcome::Refused) {
                // Another machine has replaced the login meanwhile.
                Ok(false) => Ok(Attempt::Again),
                _ => Err(login_needed(self.tokens, ENDED, error)),
            };
        }
        let may_be_used = has_login && may_be_used;
        let failed = Failed {
            at_unix_s: lookout.now_unix_s(&held.known),
            host: lookout.host.clone(),
            why: error.to_string(),
            cause: cause(&error),
            pause_s: pause_s(&error, may_be_used),
        };
        let outcome = Outcome::Failed {
            failed,
            may_be_used,
        };
        // If the write fails, the claim ends by itself.
        if let Ok(false) = lookout.publish(held, &outcome) {
            return Ok(Attempt::Again);
        }
        Err(explain(error, self.tokens.profile, client, has_login))
    }
}

/// Gives the pause that all machines keep. A refresh token that may have been used must be sent again soon.
fn pause_s(error: &oauth::Error, may_be_used: bool) -> u64 {
    let longest_s = match may_be_used {
        true => PATIENCE.as_secs(),
        false => LONGEST_PAUSE_S,
    };
    match error {
        oauth::Error::Busy { retry_after_s, .. } => retry_after_s.unwrap_or(0).min(longest_s),
        _ => 0,
    }
}

fn cause(error: &oauth::Error) -> Cause {
    match error {
        oauth::Error::Refused(_) => Cause::Client,
        oauth::Error::Transport(error) if matches!(error.phase, Phase::Connect | Phase::Tls) => {
            Cause::Connection
        }
        _ => Cause::Server,
    }
}
