//! What a server lets this machine do with a record.

use serde_json::{Value, json};

use super::{
    requests::{READ, VaultRecord, WRITE},
    wire::Answer,
};
use crate::{
    failure::quote,
    profile::RecordPath,
    secret::Secret,
    token::shared::interface::{Inspection, Trouble},
};

const RIGHTS: [&str; 3] = ["create", "read", "update"];

impl VaultRecord<'_> {
    pub(super) fn inspect_rights(&self, found: &mut Inspection) -> Result<(), Trouble> {
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

    pub(super) fn inspect_engine(&self) -> Result<(), Trouble> {
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
    pub(super) fn inspect_metadata(&self, found: &mut Inspection) -> Result<(), Trouble> {
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
    pub(super) fn inspect_node(&self, found: &mut Inspection) -> Result<(), Trouble> {
        let answer = self.send(WRITE, &["sys", "health"], &Secret::new(""))?;
        if matches!(answer.status, 429 | 473) {
            found
                .facts
                .push("a standby answers; what it reads may be a moment old".into());
        }
        Ok(())
    }

    /// Asks for this machine's rights at a path.
    pub(super) fn capabilities(&self, path: &str) -> Result<Answer, Trouble> {
        let body = Secret::new(json!({ "paths": [path] }).to_string());
        self.send(WRITE, &["sys", "capabilities-self"], &body)
    }
}

pub(super) fn words(value: Option<&Value>) -> Vec<&str> {
    let words = value.and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).collect()
}

pub(super) fn why(trouble: Trouble) -> anyhow::Error {
    match trouble {
        Trouble::Unusable(why) | Trouble::Lost { why, .. } => why,
        Trouble::Overtaken => anyhow::anyhow!("this node of the store is behind"),
    }
}
