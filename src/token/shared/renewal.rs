//! Gives the token of a shared record, and renews it when it is due.

use std::time::Duration;

use super::{
    interface::SharedRecord,
    lookout::{ABSENT, Claimed, Known, Lookout, STORE_LIMIT, Standing},
    record::{Access, Cause, Failed},
};
use crate::{
    failure::{Failure, Kind, quote},
    http::PATIENCE,
    secret::Secret,
    token::{
        cache::{Entry, least_life},
        explain::{needs_login, who},
        tokens::Tokens,
    },
};

/// A token is renewed this long before its end. It is longer than a claim's life, so that no machine waits for one
/// that died.
pub(in crate::token) const AHEAD_S: u64 = 600;
/// How long a command waits.
struct Limits {
    /// For a store that does not answer.
    store: Duration,
    /// For other machines.
    wait: Duration,
    /// For a busy token endpoint.
    patience: Duration,
}

/// The limits if the command needs the token.
const USUAL: Limits = Limits {
    store: STORE_LIMIT,
    wait: Duration::from_secs(180),
    patience: PATIENCE,
};
/// The limits if the command has a valid token: the user should not wait for the next one.
const BRIEF: Limits = Limits {
    store: ABSENT,
    wait: ABSENT,
    patience: Duration::from_secs(3),
};
/// A refused token that is younger is not replaced: the address is wrong, or the account has no access. Without this, a
/// thousand jobs with a wrong address would request a thousand tokens.
const YOUNG_S: u64 = 300;
/// The time for which other machines take over a failure, and the longest one if Bitbucket asked for a pause.
const FAILED_S: u64 = 10;
pub(super) const LONGEST_PAUSE_S: u64 = 300;
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
    /// Whether the command has a valid token, and only looks for a newer one.
    pub(in crate::token) is_in_passing: bool,
    /// Whether a failed renewal is an error although the token is still valid.
    pub(in crate::token) is_required: bool,
}

/// A token for a command.
pub(in crate::token) struct Granted {
    pub(in crate::token) entry: Entry,
    /// Whether it was requested just now.
    pub(in crate::token) is_new: bool,
}

/// The outcome of a renewal.
pub(super) enum Attempt {
    Done(Granted),
    /// Another machine was first.
    Overtaken,
    /// The record has to be read again.
    Again,
}

/// What to do with a record.
enum Step {
    Use(Access),
    /// Wait for another machine, or for a busy server; with the message about it.
    Wait(String),
    Claim,
}

impl Renewal<'_> {
    /// Gives a valid token, and renews it if that is due.
    ///
    /// # Errors
    ///
    /// If there is no token: the store cannot be used, the login has ended, or Bitbucket gives none.
    pub(in crate::token) fn run(&self) -> anyhow::Result<Granted> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let limits = self.limits();
        let mut lookout = Lookout::new(self.tokens, self.record, limits.store)?;
        let mut told = false;
        loop {
            let known = lookout.look()?;
            let pause = match self.step(&known, lookout.standing(&known))? {
                Step::Use(access) => return Ok(self.granted(&access, known.now_unix_s, false)),
                Step::Claim => {
                    if let Some(granted) = self.renew(&mut lookout, known)? {
                        return Ok(granted);
                    }
                    SOON
                }
                Step::Wait(message) => {
                    if !told && clock.monotonic() - begun >= TELL_AFTER {
                        told = true;
                        (self.tokens.warn)(&message);
                    }
                    LATER
                }
            };
            if clock.monotonic() - begun >= limits.wait {
                let message = format!(
                    "cannot get a token for {}: other machines have claimed the renewal for too long",
                    who(self.tokens.profile)
                );
                return Err(Failure::new(Kind::SharedStoreUnusable, message).into());
            }
            clock.wait_between(pause.0, pause.1);
        }
    }

    fn limits(&self) -> Limits {
        match self.is_in_passing {
            true => BRIEF,
            false => USUAL,
        }
    }

    /// Decides what to do with a record.
    fn step(&self, known: &Known, standing: Standing) -> anyhow::Result<Step> {
        let record = &known.record;
        let is_recent = |failed: &&Failed| {
            left_s(failed, known) > 0 && matches!(standing, Standing::Unclaimed | Standing::Stale)
        };
        let failed = record.failed.as_ref().filter(is_recent);
        if let Some(access) = self.good(known, 0) {
            let is_enough = self.good(known, self.ahead_s).is_some();
            let is_settled = failed.is_some() || record.is_dead();
            let is_used = match standing {
                Standing::Fresh => true,
                Standing::Unclaimed => is_enough || is_settled,
                Standing::Ours | Standing::Unsure | Standing::Stale => is_settled,
            };
            if is_used {
                return Ok(Step::Use(access));
            }
        }
        if record.is_dead() {
            return Err(self.has_ended());
        }
        // This machine may have a connection to Bitbucket.
        match (
            failed.filter(|it| it.cause != Cause::Connection),
            &record.claim,
            standing,
        ) {
            (Some(failed), ..) => self.after(failed, known),
            (None, Some(claim), Standing::Fresh | Standing::Unsure) => {
                let host = quote(&claim.host);
                let message = format!("waiting for '{host}', which gets a token");
                Ok(Step::Wait(message))
            }
            (None, ..) => Ok(Step::Claim),
        }
    }

    pub(super) fn has_ended(&self) -> anyhow::Error {
        let profile = self.tokens.profile;
        let message = format!(
            "cannot get a token for {}: its shared login has ended",
            who(profile)
        );
        Failure::new(needs_login(profile), message).into()
    }

    /// Gives the record's token if it is valid for the margin, and for `ahead_s` longer than that.
    fn good(&self, known: &Known, ahead_s: u64) -> Option<Access> {
        let access = known.record.access.as_ref()?;
        let now_unix_s = known.now_unix_s;
        let is_refused = Some(&access.token) == self.refused
            && now_unix_s.abs_diff(access.got_at_unix_s) >= YOUNG_S;
        let least_s = match self.tokens.profile.ends_tokens_by_refresh() {
            // A renewal would end the token of a command that is still running, here or on another machine.
            true => 0,
            false => {
                least_life(self.margin, access.lifetime_s).max(ahead_s.min(access.lifetime_s / 2))
            }
        };
        let is_alive = access.expires_at_unix_s > now_unix_s.saturating_add(least_s);
        // A longer life means that the store's clock was wrong then or is wrong now.
        let most = now_unix_s
            .saturating_add(access.lifetime_s)
            .saturating_add(YOUNG_S);
        let is_sane = access.expires_at_unix_s <= most;
        (is_alive && is_sane && !is_refused).then(|| access.clone())
    }

    /// Waits as long as Bitbucket asked another machine to, or repeats the failure of that machine a moment ago.
    fn after(&self, failed: &Failed, known: &Known) -> anyhow::Result<Step> {
        let left_s = left_s(failed, known);
        if failed.pause_s > 0 && left_s <= PATIENCE.as_secs() {
            let why = quote(&failed.why);
            let message = format!("waiting {left_s} s before the next token request: {why}");
            return Ok(Step::Wait(message));
        }
        let message = format!(
            "cannot get a token for {}: '{}' could not get one {} s ago: {}",
            who(self.tokens.profile),
            quote(&failed.host),
            known.now_unix_s.abs_diff(failed.at_unix_s),
            quote(&failed.why)
        );
        let kind = match failed.cause {
            Cause::Client => Kind::ClientRefused {
                remedy: format!(
                    "ask the administrator of the shared login: check {}",
                    self.tokens.profile.endpoints.product.words().client
                ),
            },
            Cause::Connection | Cause::Server => Kind::Busy,
        };
        Err(Failure::new(kind, message).into())
    }

    /// Makes the cache entry of a token. Its end is converted from the store's clock to this machine's.
    pub(super) fn granted(&self, access: &Access, now_unix_s: u64, is_new: bool) -> Granted {
        let life_s = access.expires_at_unix_s.saturating_sub(now_unix_s);
        let here_unix_s = self.tokens.clock.now_unix_s();
        let entry = Entry {
            access_token: access.token.clone(),
            expires_at_unix_s: here_unix_s.saturating_add(life_s.min(access.lifetime_s)),
            lifetime_s: access.lifetime_s,
            scopes: access.scopes.clone(),
        };
        Granted { entry, is_new }
    }

    /// Claims the renewal and requests a token. `None` if the record has to be read again. A valid token is used if
    /// another machine was first, or if the renewal failed; the next command tries again.
    fn renew(&self, lookout: &mut Lookout<'_>, known: Known) -> anyhow::Result<Option<Granted>> {
        let valid = self.good(&known, 0).filter(|_| !self.is_required);
        let valid = valid.map(|access| self.granted(&access, known.now_unix_s, false));
        let limits = match valid {
            Some(_) => BRIEF,
            None => self.limits(),
        };
        match (self.claim_and_exchange(lookout, known, &limits), valid) {
            (Ok(Attempt::Done(granted)), _) => Ok(Some(granted)),
            (Ok(Attempt::Again), _) => Ok(None),
            (Ok(Attempt::Overtaken) | Err(_), Some(granted)) => Ok(Some(granted)),
            (Ok(Attempt::Overtaken), None) => Ok(None),
            (Err(error), None) => Err(error),
        }
    }

    fn claim_and_exchange(
        &self,
        lookout: &mut Lookout<'_>,
        known: Known,
        limits: &Limits,
    ) -> anyhow::Result<Attempt> {
        let client = known.record.client(self.tokens.profile);
        let client = client.ok_or_else(|| self.only_a_copy())?;
        // Before the claim: a machine whose settings are wrong should not hold up the others.
        let http = self.tokens.http.client()?;
        match lookout.claim(known, limits.store)? {
            Claimed::Ours(held) => {
                lookout.use_usual_limits();
                self.exchange(lookout, *held, &client, http, limits.patience)
            }
            Claimed::Overtaken => Ok(Attempt::Overtaken),
            Claimed::Unknown => Ok(Attempt::Again),
        }
    }

    fn only_a_copy(&self) -> anyhow::Error {
        let message = format!(
            "the token of profile '{}' in {} has ended, and this record is only a copy for jobs: check the machine that runs 'git bbtoken renew'",
            self.tokens.profile,
            self.record.name()
        );
        Failure::new(Kind::Refused, message).into()
    }
}

/// Gives the time for which a failure still counts.
fn left_s(failed: &Failed, known: &Known) -> u64 {
    let span_s = failed.pause_s.clamp(FAILED_S, LONGEST_PAUSE_S);
    span_s.saturating_sub(known.now_unix_s.abs_diff(failed.at_unix_s))
}
