//! Takes back exactly what `setup` has added.

use super::{
    file,
    keys::same_key,
    present::{AGENT, NOTE, WHOLE_FILE, has, make},
};
use crate::git::{Change, Target};

/// What is to be taken back.
pub(crate) struct Undo {
    target: Target,
    changes: Vec<Change>,
    /// Whether `setup` made the file.
    is_whole_file: bool,
}

impl Undo {
    /// Reads the notes; `None` without one.
    ///
    /// # Errors
    ///
    /// When git cannot read the configuration.
    pub(crate) fn read(target: Target) -> anyhow::Result<Option<Self>> {
        let own = target.matching(".")?;
        let mut notes = Vec::new();
        for (_, note) in own.iter().filter(|(key, _)| same_key(key, NOTE)) {
            if note.contains('=') && !notes.contains(&note) {
                notes.push(note);
            }
        }
        if notes.is_empty() {
            return Ok(None);
        }
        let mut changes = Vec::new();
        for note in notes.iter().rev() {
            let setting = note.split_once('=');
            let setting = setting.filter(|(key, value)| has(&own, key, value));
            changes.extend(setting.map(|(key, value)| removed(key, value)));
            changes.push(removed(NOTE, note));
        }
        let is_whole_file = has(&own, NOTE, WHOLE_FILE);
        changes.extend(is_whole_file.then(|| removed(NOTE, WHOLE_FILE)));
        Ok(Some(Undo {
            target,
            changes,
            is_whole_file,
        }))
    }

    /// Shows each change. The notes are ours only.
    pub(crate) fn lines(&self) -> Vec<String> {
        let changes = self.changes.iter();
        let shown = changes.filter(|change| change.key() != NOTE);
        shown.flat_map(Change::lines).collect()
    }

    /// Tells whether this turns the agent off.
    pub(crate) fn is_of_agent(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| same_key(change.key(), AGENT))
    }

    /// Makes the changes.
    ///
    /// # Errors
    ///
    /// When git refuses one; then none is made.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        make(self.changes.iter().cloned(), &self.target)?;
        if self.is_whole_file {
            file::remove_empty(&self.target);
        }
        Ok(())
    }
}

/// Makes the change that removes a setting.
pub(super) fn removed(key: &str, value: &str) -> Change {
    let (key, value) = (key.to_owned(), value.to_owned());
    Change::Remove { key, value }
}
