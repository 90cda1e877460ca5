//! A model of a store with compare-and-set: several nodes, of which some are behind.

use std::{cell::Cell, time::Duration};

use anyhow::anyhow;
use serde_json::Value;

use super::{
    faults::{Effect, Fault},
    machine::Job,
    world::{EPOCH_S, State},
};
use crate::{
    secret::Secret,
    token::{Seen, SharedRecord, Trouble, Version},
};

/// How long a node may be behind.
const LAG: Duration = Duration::from_secs(1);

/// The clock of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreClock {
    /// It is wrong by so many seconds.
    Off(i64),
    /// Each answer is from another node, and each node is wrong by another time, at most so many seconds.
    Nodes(u32),
    /// The store tells no time.
    None,
}

/// A version of the record, and what the checks need of it.
pub(super) struct Written {
    pub(super) at: Duration,
    text: String,
    pub(super) refresh_token: Option<String>,
    pub(super) access_token: Option<String>,
    /// The nonce and time in the claim.
    pub(super) claim: Option<(String, u64)>,
    /// When this claim was written.
    pub(super) claimed_at: Duration,
}

/// A write whose answer was lost, and which is done later.
struct Late {
    due: Duration,
    seen: usize,
    text: String,
}

pub(super) struct Store {
    /// The last one is the newest.
    pub(super) versions: Vec<Written>,
    late: Vec<Late>,
    pub(super) clock: StoreClock,
    pub(super) down_until: Duration,
    pub(super) read_only_until: Duration,
    /// Whether it replaces whatever is there, as version 1 of Vault's engine does.
    pub(super) is_blind: bool,
}

impl Store {
    pub(super) fn new(clock: StoreClock, text: String) -> Self {
        let mut store = Store {
            versions: Vec::new(),
            late: Vec::new(),
            clock,
            down_until: Duration::ZERO,
            read_only_until: Duration::ZERO,
            is_blind: false,
        };
        store.put(Duration::ZERO, text);
        store
    }

    pub(super) fn newest(&self) -> &Written {
        self.versions.last().expect("there is a first version")
    }

    fn put(&mut self, at: Duration, text: String) {
        let record: Value = serde_json::from_str(&text).expect("a record is JSON");
        let of = |value: &Value| value.as_str().map(str::to_owned);
        let claim = of(&record["claim"]["nonce"]).map(|nonce| {
            let at = record["claim"]["at_unix_s"].as_u64();
            (nonce, at.expect("a claim has a time"))
        });
        let before = self.versions.last().filter(|before| before.claim == claim);
        self.versions.push(Written {
            at,
            refresh_token: of(&record["refresh_token"]),
            access_token: of(&record["access"]["token"]),
            claimed_at: before.map_or(at, |before| before.claimed_at),
            claim,
            text,
        });
    }

    /// Does a write whose version is the newest one. Gives the new version.
    fn replace(&mut self, at: Duration, seen: usize, text: String) -> Option<usize> {
        if seen + 1 != self.versions.len() && !self.is_blind {
            return None;
        }
        self.put(at, text);
        Some(self.versions.len() - 1)
    }

    /// Does the late writes that are due.
    pub(super) fn advance(&mut self, now: Duration) {
        while let Some(at) = self.late.iter().position(|late| late.due <= now) {
            let Late { due, seen, text } = self.late.remove(at);
            self.replace(due, seen, text);
        }
    }
}

fn lost() -> Trouble {
    Trouble::Lost {
        why: anyhow!("the store does not answer"),
        retry_after: None,
    }
}

impl State {
    fn store_time(&mut self) -> Option<u64> {
        let true_unix_s = EPOCH_S + self.now.as_secs();
        match self.store.clock {
            StoreClock::Off(seconds) => Some(true_unix_s.saturating_add_signed(seconds)),
            StoreClock::Nodes(most) => {
                let off = self.chance.below(2 * most as usize + 1);
                Some(true_unix_s + u64::try_from(off).expect("it is small") - u64::from(most))
            }
            StoreClock::None => None,
        }
    }

    /// Gives the version that a node sees which is behind.
    fn version_behind(&mut self) -> usize {
        let parts = u32::try_from(self.chance.below(1_000)).expect("it is small");
        let seen_at = self.now.saturating_sub(LAG * parts / 1_000);
        let versions = &self.store.versions;
        let known = versions.iter().rposition(|written| written.at <= seen_at);
        known.unwrap_or(0)
    }

    fn read(&mut self, newest_seen: usize, fault: Option<Fault>) -> Result<(usize, Seen), Trouble> {
        if self.now < self.store.down_until || fault == Some(Fault::Unread) {
            return Err(lost());
        }
        let store_time_unix_s = self.store_time();
        let number = match fault {
            Some(Fault::Behind) => self.version_behind(),
            _ => self.store.versions.len() - 1,
        };
        if number < newest_seen {
            return Err(Trouble::Overtaken);
        }
        let record = &self.store.versions[number].text;
        let seen = Seen {
            version: Version(number.to_string()),
            record: (fault != Some(Fault::Absent)).then(|| Secret::new(record)),
            store_time_unix_s,
        };
        Ok((number, seen))
    }

    fn write(&mut self, seen: usize, text: &str, fault: Option<Fault>) -> Result<usize, Trouble> {
        let now = self.now;
        if now < self.store.down_until || fault == Some(Fault::Unwritten) {
            return Err(lost());
        }
        if now < self.store.read_only_until {
            return Err(Trouble::Unusable(anyhow!("the store is read-only")));
        }
        match fault {
            Some(Fault::Overtaken) => Err(Trouble::Overtaken),
            Some(Fault::BusyStore(seconds)) => Err(Trouble::Lost {
                why: anyhow!("the store is busy"),
                retry_after: Some(Duration::from_secs(seconds)),
            }),
            Some(Fault::Denied) => Err(Trouble::Unusable(anyhow!("permission denied"))),
            Some(Fault::WrittenLater(seconds)) => {
                self.store.late.push(Late {
                    due: now + Duration::from_secs(seconds),
                    seen,
                    text: text.to_owned(),
                });
                Err(lost())
            }
            _ => {
                let written = self.store.replace(now, seen, text.to_owned());
                match written.filter(|_| fault != Some(Fault::Written)) {
                    Some(number) => Ok(number),
                    None if fault == Some(Fault::Written) => Err(lost()),
                    None => Err(Trouble::Overtaken),
                }
            }
        }
    }
}

/// The store as one command sees it.
pub(super) struct View<'j> {
    pub(super) job: &'j Job<'j>,
    newest_seen: Cell<usize>,
}

impl<'j> View<'j> {
    pub(super) fn new(job: &'j Job<'j>) -> Self {
        View {
            job,
            newest_seen: Cell::new(0),
        }
    }
}

impl SharedRecord for View<'_> {
    fn read(&self) -> Result<Seen, Trouble> {
        let newest = self.newest_seen.get();
        self.job.world.state().jobs[self.job.number].reads += 1;
        let read = self
            .job
            .effect(Effect::Read, |state, fault| state.read(newest, fault));
        let (number, seen) = read?;
        self.newest_seen.set(number);
        Ok(seen)
    }

    fn replace(&self, seen: &Version, record: &Secret) -> Result<Version, Trouble> {
        let seen: usize = seen.0.parse().expect("it is one of this store's versions");
        let text = record.expose();
        let number = self.job.number;
        let written = self.job.effect(Effect::Write, |state, fault| {
            state.note_claim(number, text);
            state.write(seen, text, fault)
        })?;
        self.newest_seen.set(written);
        Ok(Version(written.to_string()))
    }

    fn limit_time(&self, _limit: Duration) {}

    fn name(&self) -> String {
        "the model".into()
    }
}
