//! The settings that are present, the notes of setup among them, and the user's choices.

use super::keys::same_key;
use crate::{
    git::{Change, Target, apply_all},
    git_config::{Entry, Scope},
};

/// The setting in which setup notes each setting that it adds.
pub(super) const NOTE: &str = "bbtoken.addedBySetup";
/// The setting that turns the agent on.
pub(super) const AGENT: &str = "bbtoken.agent";
/// The note that setup made the file itself.
pub(super) const WHOLE_FILE: &str = "this file";

/// Why a setting of an earlier setup is removed.
pub(super) const REPLACED: &str = "an earlier setup wrote this; the lines below replace it";

/// A change, and why it is made.
pub(super) type Reasoned = (Change, &'static str);

/// The configuration before the changes.
pub(super) struct Present<'e> {
    /// The settings that git reads outside of repositories, with those of included files.
    pub(super) entries: Vec<&'e Entry>,
    /// The settings in the file that setup writes to.
    pub(super) own: Vec<(String, String)>,
    /// The scope of that file.
    pub(super) scope: Scope,
}

/// Tells whether a setting is among others.
pub(super) fn has(lines: &[(String, String)], key: &str, value: &str) -> bool {
    let mut lines = lines.iter();
    lines.any(|(name, its)| same_key(name, key) && its == value)
}

impl Present<'_> {
    /// Tells whether the file has a setting.
    pub(super) fn own_has(&self, key: &str, value: &str) -> bool {
        has(&self.own, key, value)
    }

    /// Adds a setting to the file. Its note comes first, so that unsetup knows each setting that setup has ever added.
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

/// What the user wants of setup.
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

/// Makes the change that adds a note.
pub(super) fn noted(value: String) -> Change {
    Change::Add {
        key: NOTE.to_owned(),
        value,
    }
}

/// Makes all changes to a file, or none.
pub(super) fn make(changes: impl Iterator<Item = Change>, target: &Target) -> anyhow::Result<()> {
    let changes: Vec<_> = changes.map(|change| (target.clone(), change)).collect();
    apply_all(&changes)
}
