//! A record in a KV version 2 engine of Vault or OpenBao (their HTTP API, "KV secrets engine - version 2").
//!
//! A standby of OpenBao answers reads from a copy that may be behind, and compares versions with that copy. So a record
//! older than one seen is not believed, and a refused write only means that the record must be read again. After an own
//! write, the requests carry the index of that write, so that a standby forwards them to the active node.

mod credential;
mod inspect;
mod requests;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};

use super::interface::{Inspection, Seen, SharedRecord, Trouble, Version};
use crate::secret::Secret;
use inspect::{why, words};
use requests::{READ, WRITE};
use wire::TIME_LIMIT;

pub(crate) use requests::{VaultRecord, VaultSession};

const REMOVE: &str = "cannot remove the shared login";
/// The versions to keep: the newest one, and one before it.
const KEPT: u64 = 2;
/// The versions that an engine keeps by default.
const KEPT_BY_DEFAULT: u64 = 10;

impl SharedRecord for VaultRecord<'_> {
    fn read(&self) -> Result<Seen, Trouble> {
        let answer = self.ask(READ, &Secret::new(""))?;
        let (version, record) = self.content(&answer)?;
        if version < self.newest.get() {
            return Err(Trouble::Overtaken);
        }
        self.newest.set(version);
        Ok(Seen {
            version: Version(version.to_string()),
            record,
            store_time_unix_s: answer.store_time_unix_s,
        })
    }

    fn replace(&self, seen: &Version, record: &Secret) -> Result<Version, Trouble> {
        let (cas, record) = (&seen.0, record.expose());
        let body = format!(r#"{{"options":{{"cas":{cas}}},"data":{record}}}"#);
        let answer = self.ask(WRITE, &Secret::new(body))?;
        let version = answer.part("/data/version").and_then(Value::as_u64);
        match (answer.status, version) {
            (200, Some(version)) if version > self.newest.get() => {
                self.newest.set(version);
                self.note(answer.index);
                Ok(Version(version.to_string()))
            }
            (204, _) => Err(self.without_versions(WRITE)),
            (400, _) if answer.words().contains("check-and-set") => Err(Trouble::Overtaken),
            _ => Err(self.wire.refusal(WRITE, &answer)),
        }
    }

    fn limit_time(&self, limit: Duration) {
        self.wire.limit.set(limit.min(TIME_LIMIT));
    }

    fn name(&self) -> String {
        self.wire.vault.name_of(self.wire.record)
    }

    fn inspect(&self) -> anyhow::Result<Inspection> {
        let mut found = Inspection::default();
        self.inspect_rights(&mut found).map_err(why)?;
        self.inspect_engine().map_err(why)?;
        self.inspect_metadata(&mut found).map_err(why)?;
        self.inspect_node(&mut found).map_err(why)?;
        Ok(found)
    }

    fn limit_versions(&self, warn: &dyn Fn(&str)) {
        let body = Secret::new(json!({ "max_versions": KEPT }).to_string());
        let is_set = self.send(WRITE, &self.wire.path_of("metadata"), &body);
        if !is_set.is_ok_and(|answer| matches!(answer.status, 200 | 204)) {
            warn(&format!(
                "the store keeps earlier versions of the login; run 'vault kv metadata put -max-versions={KEPT} {}'",
                self.wire.record
            ));
        }
    }

    fn may_destroy(&self) -> Result<(), Trouble> {
        let path = self.wire.path_of("destroy").join("/");
        let answer = self.capabilities(&path)?;
        // A server that does not list the right may still grant it.
        let Some(rights) = answer.part("/data").and_then(|data| data.get(&path)) else {
            return Ok(());
        };
        if words(Some(rights))
            .iter()
            .any(|right| ["update", "root"].contains(right))
        {
            return Ok(());
        }
        let rule = format!("the policy lacks: path \"{path}\" {{ capabilities = [\"update\"] }}");
        Err(Trouble::Unusable(self.wire.failure(REMOVE, &rule)))
    }

    fn destroy(&self, Version(newest): &Version) -> Result<(), Trouble> {
        let newest: u64 = newest.parse().unwrap_or(0);
        let kept = self.send(WRITE, &self.wire.path_of("metadata"), &Secret::new(""))?;
        let kept = kept.part("/data/versions").and_then(Value::as_object);
        let oldest = kept.and_then(|kept| kept.keys().filter_map(|it| it.parse().ok()).min());
        // A policy may not let this machine read the list.
        let oldest = oldest
            .unwrap_or(newest.saturating_sub(KEPT_BY_DEFAULT))
            .max(1);
        let versions: Vec<_> = (oldest..=newest).collect();
        let body = Secret::new(json!({ "versions": versions }).to_string());
        let answer = self.send(WRITE, &self.wire.path_of("destroy"), &body)?;
        match answer.status {
            200 | 204 => Ok(()),
            _ => Err(self.wire.refusal(REMOVE, &answer)),
        }
    }
}
