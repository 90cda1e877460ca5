//! Makes our helper the only credential helper that answers for a site.

use super::{
    chain::{self, Chain},
    keys::{parts, same_key},
    present::{NOTE, Present, REPLACED, Reasoned},
    undo::removed,
};
use crate::{app, git_config::Entry, url::Url};

/// Tells whether only our helper answers for a site, and its program exists.
pub(super) fn is_answering(entries: &[&Entry], site: &Url) -> bool {
    let chains = Chain::all(entries, site);
    let is_alone =
        matches!(&chains[0].0[..], [only] if chain::missing_program(chain::helper(only)).is_none());
    is_alone && chains.iter().all(Chain::is_closed)
}

/// Makes our helper the only credential helper of a site, also for git-lfs.
///
/// Our entry must come after all others. If an earlier setup wrote it before another helper, this moves it.
pub(super) fn answering(site: &Url, ask: &str, present: &Present<'_>) -> Vec<Reasoned> {
    // Git treats both spellings as the same site, but writes a line into the section with its spelling. The first is the
    // usual one, because cargo and other programs with the crate git2 look only for a section without a slash.
    let spellings = ["", "/"].map(|end| format!("credential.{}{end}.helper", app::site(site)));
    let is_noted = |(key, value): &(&String, &String)| {
        present.own_has(NOTE, &format!("{key}={value}"))
            && spellings.iter().any(|spelling| same_key(spelling, key))
    };
    let lines = present.own.iter().map(|(key, value)| (key, value));
    let mut old: Vec<_> = lines.filter(is_noted).collect();
    old.dedup();
    let is_stale = old
        .iter()
        .any(|(_, value)| !value.is_empty() && *value != ask);
    if is_answering(&present.entries, site) && !is_stale {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let [plain, other] = &spellings;
    let key = match is_too_early(plain, &old, site, present) {
        true => other,
        false => plain,
    };
    for (its, value) in &old {
        if !same_key(its, key) || !["", ask].contains(&value.as_str()) {
            changes.push((removed(NOTE, &format!("{its}={value}")), REPLACED));
        }
        changes.push((removed(its, value), REPLACED));
    }
    let why = "for this site, git asks no other helper, and no other helper stores the tokens";
    changes.extend(present.add(key.clone(), String::new(), why));
    let why = "git's own https and git-lfs get tokens from the helper";
    changes.extend(present.add(key.clone(), ask.to_owned(), why));
    changes
}

/// Tells whether the key's section already exists before another helper of the site. Git would write the line there.
fn is_too_early(key: &str, old: &[(&String, &String)], site: &Url, present: &Present<'_>) -> bool {
    let (section, subsection, _) = parts(key);
    let last =
        |is_it: &dyn Fn(&Entry) -> bool| present.entries.iter().rposition(|entry| is_it(entry));
    let is_old = |entry: &Entry| {
        let mut old = old.iter();
        old.any(|(key, value)| {
            same_key(key, &entry.name()) && entry.value.as_deref() == Some(value.as_str())
        })
    };
    let is_present = |entry: &Entry| {
        entry.section == section
            && entry.subsection.as_deref() == Some(subsection)
            && !is_old(entry)
    };
    let is_other =
        |entry: &Entry| chain::is_helper(entry) && chain::is_about(entry, site) && !is_old(entry);
    last(&is_present).is_some_and(|place| last(&is_other).is_some_and(|other| place < other))
}
