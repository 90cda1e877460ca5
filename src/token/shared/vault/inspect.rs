//! What a server lets this machine do with a record, and the care for the record's earlier versions.

use serde_json::{Value, json};

use super::{READ, VaultRecord, WRITE, wire::Answer};
use crate::{
    failure::quote,
    profile::RecordPath,
    secret::Secret,
    token::shared::{Inspection, Trouble, Version},
};

const REMOVE: &str = "cannot remove the shared login";
/// The versions to keep: the newest one, and one before it.
const KEPT: u64 = 2;
/// The versions that an engine keeps by default.
const KEPT_BY_DEFAULT: u64 = 10;
const RIGHTS: [&str; 3] = ["create", "read", "update"];

impl VaultRecord<'_> {
    /// Asks for the version of the engine, the rights, and the settings that would remove the record.
    pub(super) fn inspection(&self) -> anyhow::Result<Inspection> {
        let mut found = Inspection::default();
        self.inspect_rights(&mut found).map_err(why)?;
        self.inspect_engine().map_err(why)?;
        self.inspect_metadata(&mut found).map_err(why)?;
        self.inspect_node(&mut found).map_err(why)?;
        Ok(found)
    }

    fn inspect_rights(&self, found: &mut Inspection) -> Result<(), Trouble> {
        let path = self.wire.path_of("data").join("/");
        let answer = self.capabilities(&path)?;
        if !matches!(answer.status, 200 | 403) {
            return Err(self.wire.refusal(READ, &answer));
        }
        if answer.status == 403 {
            let who = self.who();
            let fact = format!("the rights are unknown, because {who} may not ask for them");
            found.facts.push(fact);
            return Ok(());
        }
        found.facts.push(format!(
            "logged in to '{}' as {}",
            self.wire.vault.url.as_str().trim_end_matches('/'),
            self.who()
        ));
        let rights = answer.part("/data").and_then(|data| data.get(&path));
        let rights: Vec<_> = words(rights);
        let has = |right: &str| rights.contains(&right) || rights.contains(&"root");
        let lacks = || {
            format!(
                "the policy lacks: path \"{path}\" {{ capabilities = [\"create\", \"read\", \"update\"] }}"
            )
        };
        match RIGHTS.iter().all(|right| has(right)) {
            true => found
                .facts
                .push("the record may be read and written".into()),
            false if has("read") => found.read_only = Some(lacks()),
            false => found.problems.push(lacks()),
        }
        Ok(())
    }

    fn inspect_engine(&self) -> Result<(), Trouble> {
        let RecordPath { mount, path } = self.wire.record;
        let parts = ["sys", "internal", "ui", "mounts"].into_iter();
        let parts: Vec<_> = parts
            .chain(mount.split('/'))
            .chain(path.split('/'))
            .collect();
        let answer = self.send(WRITE, &parts, &Secret::new(""))?;
        if answer.status != 200 {
            return Ok(());
        }
        let text = |path| answer.part(path).and_then(Value::as_str);
        match (text("/data/type"), text("/data/options/version")) {
            (Some("kv") | None, Some("2")) => Ok(()),
            (Some("kv") | None, _) => Err(self.without_versions(READ)),
            (Some(other), _) => {
                let kind = quote(other);
                let why = format!("the engine '{mount}' is of the type '{kind}', not KV version 2");
                Err(Trouble::Unusable(self.wire.failure(READ, &why)))
            }
        }
    }

    /// Looks for a time after which the store removes each version, of the record and of its engine. A policy may not
    /// let this machine read them.
    fn inspect_metadata(&self, found: &mut Inspection) -> Result<(), Trouble> {
        let engine = self
            .wire
            .record
            .mount
            .split('/')
            .chain(["config"])
            .collect();
        for path in [self.wire.path_of("metadata"), engine] {
            let answer = self.send(WRITE, &path, &Secret::new(""))?;
            let after = answer
                .part("/data/delete_version_after")
                .and_then(Value::as_str);
            if let Some(after) = after.filter(|after| *after != "0s") {
                found.problems.push(format!(
                    "the store removes the record {} after each write: set delete_version_after=0s at '{}'",
                    quote(after),
                    path.join("/")
                ));
            }
        }
        Ok(())
    }

    /// Tells whether a standby answers (sys/health).
    fn inspect_node(&self, found: &mut Inspection) -> Result<(), Trouble> {
        let answer = self.send(WRITE, &["sys", "health"], &Secret::new(""))?;
        if matches!(answer.status, 429 | 473) {
            found
                .facts
                .push("a standby answers; what it reads may be a moment old".into());
        }
        Ok(())
    }

    /// Lets the engine keep as few versions as possible.
    pub(super) fn keep_few_versions(&self, notify: &dyn Fn(&str)) {
        let body = Secret::new(json!({ "max_versions": KEPT }).to_string());
        let is_set = self.send(WRITE, &self.wire.path_of("metadata"), &body);
        if !is_set.is_ok_and(|answer| matches!(answer.status, 200 | 204)) {
            notify(&format!(
                "the store keeps earlier versions of the login; run 'vault kv metadata put -max-versions={KEPT} {}'",
                self.wire.record
            ));
        }
    }

    /// Checks the right to destroy versions. A server that does not tell it may still allow it.
    pub(super) fn has_right_to_destroy(&self) -> Result<(), Trouble> {
        let path = self.wire.path_of("destroy").join("/");
        let answer = self.capabilities(&path)?;
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

    /// Destroys a version and all earlier ones.
    pub(super) fn destroy_versions(&self, Version(newest): &Version) -> Result<(), Trouble> {
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

    /// Asks for this machine's rights at a path.
    fn capabilities(&self, path: &str) -> Result<Answer, Trouble> {
        let body = Secret::new(json!({ "paths": [path] }).to_string());
        self.send(WRITE, &["sys", "capabilities-self"], &body)
    }
}

fn words(value: Option<&Value>) -> Vec<&str> {
    let words = value.and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).collect()
}

fn why(trouble: Trouble) -> anyhow::Error {
    match trouble {
        Trouble::Unusable(why) | Trouble::Lost { why, .. } => why,
        Trouble::Overtaken => anyhow::anyhow!("this node of the store is behind"),
    }
}
