//! What lets git use the helper everywhere: the settings that are wanted, those that are there, and the changes.
//!
//! What was added is noted in `bbtoken.addedBySetup`, in the same file, so that it goes wherever the file goes.

mod answering;
pub(crate) mod chain;
mod keys;
mod rules;
mod undo;
mod user_file;

use crate::{
    app::{self, App},
    git::{Change, Target, apply_all},
    git_config::{Entry, Scope},
    http::Url,
};
use anyhow::Context as _;
use rules::Request;

pub(crate) use chain::Chain;
pub(crate) use keys::same_key;
pub(crate) use rules::NEEDS_GIT;
pub(crate) use undo::Undo;
pub(crate) use user_file::lock;

/// Where it is noted.
const NOTE: &str = "bbtoken.addedBySetup";
/// What the note says of the file itself, where there was none.
const WHOLE_FILE: &str = "this file";

/// A change, and why it is made.
type Reasoned = (Change, &'static str);

/// What git reads of the user's configuration, and what the user's own file holds of it.
struct There<'e> {
    /// The machine's and the user's settings, with included files, as they are outside of repositories.
    entries: Vec<&'e Entry>,
    /// The lines of the file that is written to.
    own: Vec<(String, String)>,
}

impl There<'_> {
    fn own_has(&self, key: &str, value: &str) -> bool {
        let mut own = self.own.iter();
        own.any(|(name, its)| same_key(name, key) && its == value)
    }

    /// First comes the note: unsetup knows of everything that is ever added.
    fn add(&self, key: String, value: String, why: &'static str) -> Vec<Reasoned> {
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
}

/// What is to be changed.
pub(crate) struct Plan {
    sites: Vec<Url>,
    changes: Vec<Reasoned>,
}

impl Plan {
    /// Compares what is wanted with what is there, and tells what the user has set differently.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be read.
    pub(crate) fn read(options: &Options, tell: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let own = Target::Global.matching(".")?;
        let app = App::read_of_user()?;
        let there = There {
            entries: of_user(&app),
            own,
        };
        let ask = app::credential_helper().context("cannot find git-bbtoken itself")?;
        let sites = sites(&app);
        let mut changes = missing(vec![rules::submodules()], &there, tell);
        for site in &sites {
            changes.extend(answering::answering(site, &ask, &there));
            changes.extend(missing(rules::asked_well(site), &there, tell));
        }
        changes.extend(missing(rules::rewritten(&app, options), &there, tell));
        Ok(Plan { sites, changes })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Shows each change with its reason. The notes are ours only.
    pub(crate) fn lines(&self) -> Vec<String> {
        let changes = self.changes.iter();
        let shown = changes.filter(|(change, _)| change.key() != NOTE);
        let lines = |(change, why): &Reasoned| {
            let mut lines = change.lines();
            lines.push(format!("      {why}"));
            lines
        };
        shown.flat_map(lines).collect()
    }

    /// Makes the changes.
    ///
    /// # Errors
    ///
    /// When git refuses one; then none is made.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        let is_new = user_file::path().is_some_and(|file| !file.exists());
        let of_file = is_new.then(|| noted(WHOLE_FILE.to_owned()));
        let changes = self.changes.iter().map(|(change, _)| change.clone());
        let changes = of_file.into_iter().chain(changes);
        let changes: Vec<_> = changes.map(|change| (Target::Global, change)).collect();
        apply_all(&changes)
    }

    /// Names the sites for which another helper answers, too, though the changes are made.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be read.
    pub(crate) fn unanswered(&self) -> anyhow::Result<Vec<String>> {
        let app = App::read_of_user()?;
        let entries = of_user(&app);
        let sites = self.sites.iter();
        let unanswered = sites.filter(|site| !answering::is_answering(&entries, site));
        Ok(unanswered.map(app::site).collect())
    }
}

/// Gives the settings that hold in every repository of the user.
pub(crate) fn of_user(app: &App) -> Vec<&Entry> {
    let of_user = |entry: &&Entry| matches!(entry.scope, Scope::System | Scope::Global);
    app.settings().filter(of_user).collect()
}

/// Finds what of the wishes is not there yet, each change with its reason, and tells what the user has set differently.
fn missing(wishes: Vec<Request>, there: &There<'_>, tell: &dyn Fn(&str)) -> Vec<Reasoned> {
    let mut changes = Vec::new();
    for Request {
        key,
        value,
        why,
        is_single,
    } in wishes
    {
        let of_key = |entry: &&&Entry| same_key(&entry.name(), &key);
        let is_value = |entry: &Entry| entry.value.as_deref() == Some(value.as_str());
        let entries: Vec<_> = there.entries.iter().filter(of_key).collect();
        let is_there = match is_single {
            true => entries.last().is_some_and(|entry| is_value(entry)),
            false => entries.iter().any(|entry| is_value(entry)),
        };
        if is_there {
            continue;
        }
        let of_person = entries.iter().rfind(|entry| entry.scope == Scope::Global);
        if let Some(own) = of_person.filter(|_| is_single) {
            tell(&format!(
                "not changed: {key} = {} (setup would set {value}: {why})",
                own.value.as_deref().unwrap_or_default()
            ));
            continue;
        }
        changes.extend(there.add(key, value, why));
    }
    changes
}

/// Gives each host that a profile is for.
pub(crate) fn sites(app: &App) -> Vec<Url> {
    let mut sites: Vec<_> = app.bases.iter().map(app::site).collect();
    sites.sort();
    sites.dedup();
    let parse = |site: &String| Url::parse(site).ok();
    sites.iter().filter_map(parse).collect()
}

fn noted(value: String) -> Change {
    Change::Add {
        key: NOTE.to_owned(),
        value,
    }
}
