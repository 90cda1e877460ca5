//! What the user wants, what is there, and what is noted of it.

use super::keys::same_key;
use crate::{
    git::{Change, Target, apply_all},
    git_config::{Entry, Scope},
};

/// Where it is noted.
pub(super) const NOTE: &str = "bbtoken.addedBySetup";
/// The setting that turns the agent on.
pub(super) const AGENT: &str = "bbtoken.agent";
/// What the note says of the file itself, where there was none.
pub(super) const WHOLE_FILE: &str = "this file";

/// Why a setting of an earlier setup is removed.
pub(super) const REPLACED: &str = "an earlier setup wrote this; the lines below replace it";

/// A change, and why it is made.
pub(super) type Reasoned = (Change, &'static str);

/// What git reads of the user's configuration, and what the user's own file holds of it.
pub(super) struct There<'e> {
    /// The machine's and the user's settings, with included files, as they are outside of repositories.
    pub(super) entries: Vec<&'e Entry>,
    /// The lines of the file that is written to.
    pub(super) own: Vec<(String, String)>,
    /// The scope of that file.
    pub(super) scope: Scope,
}

/// Tells whether lines of a file have a setting.
pub(super) fn has(lines: &[(String, String)], key: &str, value: &str) -> bool {
    let mut lines = lines.iter();
    lines.any(|(name, its)| same_key(name, key) && its == value)
}

impl There<'_> {
    pub(super) fn own_has(&self, key: &str, value: &str) -> bool {
        has(&self.own, key, value)
    }

    /// First comes the note: unsetup knows of everything that is ever added.
    pub(super) fn add(&self, key: String, value: String, why: &'static str) -> Vec<Reasoned> {
        let note = format!("{key}={value}");
        let mut changes = Vec::new();
        if !self.own_has(NOTE, &note) {
            changes.push((noted(note), "unsetup removes exactly this"));
        }
        changes.push((Change::Add { key, value }, why));
        changes
    }
}

/// Which rules for addresses the user wants.
pub(crate) struct Options {
    /// Turn plain addresses into ours.
    pub(crate) everywhere: bool,
    /// Turn our addresses into plain ones.
    pub(crate) plain: bool,
    /// Turn the agent on, on a person's machine.
    pub(crate) agent: bool,
    /// The file to write to: the user's or the machine's.
    pub(crate) target: Target,
}

pub(super) fn noted(value: String) -> Change {
    Change::Add {
        key: NOTE.to_owned(),
        value,
    }
}

/// Makes all changes of a file or none.
pub(super) fn make(changes: impl Iterator<Item = Change>, target: &Target) -> anyhow::Result<()> {
    let changes: Vec<_> = changes.map(|change| (target.clone(), change)).collect();
    apply_all(&changes)
}
