//! Writes the outcome of a token request into the record.

use std::time::Duration;

use super::{
    interface::Trouble,
    lookout::{ABSENT, Held, Known, Lookout, Pauses},
    record::{Access, Claim, Failed, Record},
};
use crate::secret::Secret;

/// The limit for writing a new login.
const PUBLISH_LIMIT: Duration = Duration::from_secs(60);
/// The attempts to write a new login that are made even if the process stood still for longer than the limit.
const LEAST_ATTEMPTS: u32 = 3;

/// The outcome of a token request, for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is a new token.
    Renewed {
        access: Access,
        refresh_token: Option<Secret>,
    },
    /// The request failed.
    Failed {
        failed: Failed,
        /// Whether Bitbucket may have used the refresh token. The next machine then repeats the exchange.
        may_be_used: bool,
    },
    /// Bitbucket refused the refresh token.
    Refused,
}

impl Lookout<'_> {
    /// Writes an outcome on top of any version whose login is the one that was sent. False if the record has another
    /// login or token meanwhile.
    ///
    /// # Errors
    ///
    /// If the store could not be written within the limit.
    pub(super) fn publish(&mut self, held: &Held, outcome: &Outcome) -> anyhow::Result<bool> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let (limit, least) = match outcome {
            Outcome::Renewed { .. } => (PUBLISH_LIMIT, LEAST_ATTEMPTS),
            // It only saves requests of other machines.
            Outcome::Failed { .. } | Outcome::Refused => (ABSENT, 1),
        };
        let sent = &held.known.record;
        let mut newest = held.known.clone();
        let (mut pauses, mut attempts) = (Pauses::default(), 0);
        loop {
            let next = self.with(&newest, outcome);
            let (why, asked) = match self.record.replace(&newest.version, &next.render()) {
                Ok(_) => return Ok(true),
                Err(Trouble::Overtaken) => (self.unsettled(), None),
                Err(Trouble::Lost { why, retry_after }) => (why, retry_after),
                Err(Trouble::Unusable(why)) => (why, None),
            };
            attempts += 1;
            pauses.wait(clock, asked.map(|asked| asked.min(limit)));
            if let Ok(Some(seen)) = self.glance() {
                if matches!(outcome, Outcome::Renewed { access, .. } if seen.record.has(access)) {
                    return Ok(true);
                }
                if !seen.record.is_same_login(sent) {
                    return Ok(false);
                }
                newest = seen;
            }
            if attempts >= least && clock.monotonic() - begun >= limit {
                return Err(why);
            }
        }
    }

    /// Gives a record with an outcome.
    fn with(&self, newest: &Known, outcome: &Outcome) -> Record {
        let mut next = newest.record.clone();
        let is_ours = |claim: &mut Claim| claim.nonce == self.nonce;
        match outcome {
            Outcome::Renewed {
                access,
                refresh_token,
            } => {
                // If the response has no refresh token, the old one stays valid.
                next.refresh_token = refresh_token.clone().or(next.refresh_token);
                next.access = Some(access.clone());
                (next.claim, next.failed, next.dead) = (None, None, None);
            }
            Outcome::Failed {
                failed,
                may_be_used,
            } => {
                if let Some(mut claim) = next.claim.take_if(is_ours)
                    && *may_be_used
                {
                    claim.has_given_up = true;
                    next.claim = Some(claim);
                }
                next.failed = Some(Failed {
                    // The time of this write, by the newest record.
                    at_unix_s: self.now_unix_s(newest),
                    ..failed.clone()
                });
            }
            Outcome::Refused => {
                next.claim.take_if(is_ours);
                next.dead = next.refresh_token.as_ref().map(Secret::fingerprint);
            }
        }
        next
    }
}
