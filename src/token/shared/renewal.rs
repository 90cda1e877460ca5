//! Gives the token of a shared record, and renews it when it is due.

use std::time::Duration;

use super::{
    SharedRecord,
    lookout::{Held, Known, Lookout, Outcome},
    record::{Access, Claim, Failed, Record},
};
use crate::{
    failure::{Failure, Kind, quote},
    http::{Retries, jitter},
    oauth,
    secret::Secret,
    token::{
        Tokens,
        busy::Repeat,
        cache::{Entry, least_life},
        explain::{explain, who},
        refresh::{RefreshFailure, login_needed},
    },
};

/// A request starts only within this time of the claim, so that it ends while the claim is alive: its limit is 30 s.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// A token is renewed this long before its end. It is longer than a claim's life, so that no machine waits for one
/// that died.
pub(in crate::token) const AHEAD_S: u64 = 600;
/// The limit for waiting for other machines.
const WAIT_LIMIT: Duration = Duration::from_secs(180);
/// A refused token that is younger is not replaced: the address is wrong, or the account has no access. Without this, a
/// thousand jobs with a wrong address would request a thousand tokens.
const YOUNG_S: u64 = 300;
/// The time for which other machines take over a failure.
const FAILED_S: u64 = 10;
/// The time after which the user gets a message about the wait.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// The pauses between two reads: after a refused write, and during another machine's claim.
const SOON: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));
const LATER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// The requirements for a token of a shared record.
pub(in crate::token) struct Renewal<'r> {
    pub(in crate::token) tokens: &'r Tokens<'r>,
    pub(in crate::token) record: &'r dyn SharedRecord,
    /// The minimum remaining lifetime.
    pub(in crate::token) margin: Duration,
    /// The token is renewed if it lives shorter than this, in seconds.
    pub(in crate::token) ahead_s: u64,
    /// The token that the git server refused.
    pub(in crate::token) refused: Option<&'r Secret>,
    /// The time to wait for a busy token endpoint.
    pub(in crate::token) patience: Duration,
}

/// What to do with a record.
enum Step {
    Use(Access),
    Wait(Claim),
    Claim,
}

impl Renewal<'_> {
    /// Gives a valid token, and renews it if that is due.
    ///
    /// # Errors
    ///
    /// If there is no token: the store cannot be used, the login has ended, or Bitbucket gives none.
    pub(in crate::token) fn run(&self) -> anyhow::Result<Entry> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let mut lookout = Lookout::new(self.tokens, self.record);
        let mut told = false;
        loop {
            let known = lookout.look()?;
            let pause = match self.step(&known, &lookout)? {
                Step::Use(access) => return Ok(self.entry(&access, &known)),
                Step::Claim => {
                    if let Some(entry) = self.renew(&mut lookout, known)? {
                        return Ok(entry);
                    }
                    SOON
                }
                Step::Wait(claim) => {
                    if !told && clock.monotonic() - begun >= TELL_AFTER {
                        told = true;
                        let host = quote(&claim.host);
                        (self.tokens.notify)(&format!("waiting for '{host}', which gets a token"));
                    }
                    LATER
                }
            };
            if clock.monotonic() - begun >= WAIT_LIMIT {
                let message = format!(
                    "cannot get a token for {}: other machines have claimed the renewal for too long",
                    who(self.tokens.profile)
                );
                return Err(Failure::new(Kind::Busy, message).into());
            }
            clock.wait(jitter(pause.0, pause.1));
        }
    }

    /// Decides what to do with a record.
    fn step(&self, known: &Known, lookout: &Lookout<'_>) -> anyhow::Result<Step> {
        let Known { record, .. } = known;
        let is_stale = lookout.has_stale_claim(known);
        let good = self.good(known, 0);
        let failed = record.failed.as_ref().filter(|failed| {
            let age_s = known.now_unix_s.abs_diff(failed.at_unix_s);
            age_s < FAILED_S && record.claim.is_none()
        });
        if let Some(access) = good
            && !is_stale
        {
            let is_enough = self.good(known, self.ahead_s).is_some();
            if record.claim.is_some() || failed.is_some() || record.is_dead() || is_enough {
                return Ok(Step::Use(access));
            }
        }
        if record.is_dead() {
            let profile = self.tokens.profile;
            let message = format!(
                "cannot get a token for {}: its shared login has ended",
                who(profile)
            );
            let profile = profile.name.clone();
            return Err(Failure::new(Kind::LoginNeeded { profile }, message).into());
        }
        match (failed, &record.claim) {
            (Some(failed), _) => Err(self.same_failure(failed, known)),
            (None, Some(claim)) if !is_stale => Ok(Step::Wait(claim.clone())),
            (None, _) => Ok(Step::Claim),
        }
    }

    /// Gives the record's token if it is valid for the margin, and for `ahead_s` longer than that.
    fn good(&self, known: &Known, ahead_s: u64) -> Option<Access> {
        let access = known.record.access.as_ref()?;
        let now_unix_s = known.now_unix_s;
        let is_refused = Some(&access.token) == self.refused
            && now_unix_s.abs_diff(access.got_at_unix_s) >= YOUNG_S;
        let least_s =
            least_life(self.margin, access.lifetime_s).max(ahead_s.min(access.lifetime_s / 2));
        let is_alive = access.expires_at_unix_s > now_unix_s.saturating_add(least_s);
        // A longer life means that the store's clock was wrong then or is wrong now.
        let most = now_unix_s
            .saturating_add(access.lifetime_s)
            .saturating_add(YOUNG_S);
        let is_sane = access.expires_at_unix_s <= most;
        (is_alive && is_sane && !is_refused).then(|| access.clone())
    }

    /// Repeats the failure of another machine a moment ago.
    fn same_failure(&self, failed: &Failed, known: &Known) -> anyhow::Error {
        let message = format!(
            "cannot get a token for {}: '{}' could not get one {} s ago: {}",
            who(self.tokens.profile),
            quote(&failed.host),
            known.now_unix_s.abs_diff(failed.at_unix_s),
            quote(&failed.why)
        );
        Failure::new(Kind::Busy, message).into()
    }

    /// Makes the cache entry of a token. Its end is converted to this machine's clock.
    fn entry(&self, access: &Access, known: &Known) -> Entry {
        let life_s = access.expires_at_unix_s.saturating_sub(known.now_unix_s);
        Entry {
            access_token: access.token.clone(),
            expires_at_unix_s: self
                .tokens
                .clock
                .now_unix_s()
                .saturating_add(life_s.min(access.lifetime_s)),
            lifetime_s: access.lifetime_s,
            scopes: access.scopes.clone(),
        }
    }

    /// Claims the renewal and requests a token. `None` if another machine was first.
    fn renew(&self, lookout: &mut Lookout<'_>, known: Known) -> anyhow::Result<Option<Entry>> {
        let Some(client) = known.record.client(self.tokens.profile) else {
            return Err(self.only_a_copy());
        };
        let valid = self.good(&known, 0);
        let entry = valid.as_ref().map(|access| self.entry(access, &known));
        let held = match lookout.claim(known) {
            Ok(Some(held)) => held,
            Ok(None) => return Ok(None),
            Err(error) => return self.despite(entry, error),
        };
        match self.exchange(lookout, held, &client) {
            Ok(done) => Ok(done),
            Err(error) => self.despite(entry, error),
        }
    }

    fn only_a_copy(&self) -> anyhow::Error {
        let message = format!(
            "the token of profile '{}' in {} has ended, and this record has no login: the machine that runs 'git bbtoken renew' has not renewed it",
            self.tokens.profile,
            self.record.name()
        );
        Failure::new(Kind::Refused, message).into()
    }

    /// Uses a valid token although its renewal failed. The next command tries again.
    fn despite(&self, valid: Option<Entry>, error: anyhow::Error) -> anyhow::Result<Option<Entry>> {
        match valid {
            Some(entry) => Ok(Some(entry)),
            None => Err(error),
        }
    }

    /// Sends the token request until there is a response, and writes the outcome. `None` if another machine has taken
    /// over.
    fn exchange(
        &self,
        lookout: &mut Lookout<'_>,
        mut held: Held,
        client: &oauth::Client,
    ) -> anyhow::Result<Option<Entry>> {
        let tokens = self.tokens;
        let http = tokens.http.client()?;
        let record = held.known.record.clone();
        let patience = tokens.patience(self.patience);
        let mut may_be_used = record.claim.as_ref().is_some_and(|claim| claim.number > 1);
        let mut retries = Retries::within(self.patience);
        loop {
            if tokens.clock.monotonic() - held.since >= SEND_WITHIN && !lookout.hold(&mut held)? {
                return Ok(None);
            }
            let asked_at_unix_s = lookout.now_unix_s(&held.known);
            let answer = match &record.refresh_token {
                Some(token) => client.refresh(http, tokens.clock, token),
                None => client.client_credentials(http, tokens.clock),
            };
            let error = match answer {
                Ok(answer) => {
                    let access = Access::of(&answer, asked_at_unix_s, &lookout.host);
                    return Ok(Some(self.share(
                        lookout,
                        &held,
                        access,
                        answer.refresh_token,
                    )));
                }
                Err(error) => error,
            };
            may_be_used |= RefreshFailure::of(&error) == RefreshFailure::Unknown;
            if !patience.pause(&mut retries, Repeat::SpendsWithGrace, &error) {
                return self.failed(lookout, &held, may_be_used, error, client);
            }
        }
    }

    /// Writes a new token into the record, and gives it for this machine.
    fn share(
        &self,
        lookout: &mut Lookout<'_>,
        held: &Held,
        access: Access,
        refresh_token: Option<Secret>,
    ) -> Entry {
        let known = Known {
            now_unix_s: access.got_at_unix_s,
            ..held.known.clone()
        };
        let entry = self.entry(&access, &known);
        let outcome = Outcome::Renewed {
            access,
            refresh_token,
        };
        let published = lookout.publish(held, &outcome);
        if let Outcome::Renewed { access, .. } = outcome {
            self.tokens.copy(&Record {
                access: Some(access),
                ..held.known.record.clone()
            });
        }
        if let Err(error) = published {
            (self.tokens.notify)(&format!(
                "the renewed token of profile '{}' could not be shared; run any git command within 8 minutes, or log in again: {error:#}",
                self.tokens.profile
            ));
        }
        entry
    }

    /// Writes a failure into the record, for the other machines, and explains it.
    fn failed(
        &self,
        lookout: &mut Lookout<'_>,
        held: &Held,
        may_be_used: bool,
        error: oauth::Error,
        client: &oauth::Client,
    ) -> anyhow::Result<Option<Entry>> {
        let has_login = held.known.record.refresh_token.is_some();
        if has_login && RefreshFailure::of(&error) == RefreshFailure::Refused {
            return match lookout.publish(held, &Outcome::Refused) {
                // Another machine has replaced the login meanwhile.
                Ok(false) => Ok(None),
                _ => Err(login_needed(self.tokens, error)),
            };
        }
        // The claim of a refresh token that may have been used stays, so that the next machine repeats the exchange.
        if !has_login || !may_be_used {
            // If this fails, the claim ends by itself.
            let _ = lookout.publish(held, &Outcome::Failed(error.to_string()));
        }
        Err(explain(error, self.tokens.profile, client))
    }
}
