//! The settings that let git use the helper everywhere: the wanted ones, the present ones, and the changes.
//!
//! What was added is noted in `bbtoken.addedBySetup`, in the same file, so that it goes wherever the file goes.

mod answering;
pub(crate) mod chain;
mod file;
mod keys;
mod present;
mod rules;
mod undo;

use crate::{
    app::{self, App},
    failure::{Failure, Kind},
    git::Target,
    git_config::{Entry, Scope, is_true_text, process_variable},
    url::Url,
};
use anyhow::Context as _;
use present::{AGENT, NOTE, Present, Reasoned, WHOLE_FILE, make, noted};
use rules::Request;

pub(crate) use chain::Chain;
pub(crate) use file::lock;
pub(crate) use keys::same_key;
pub(crate) use present::Options;
pub(crate) use rules::NEEDS_GIT;
pub(crate) use undo::Undo;

/// What is to be changed.
pub(crate) struct Plan {
    target: Target,
    sites: Vec<Url>,
    changes: Vec<Reasoned>,
}

impl Plan {
    /// Compares the wanted settings with the present ones, and tells what the user has set differently.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be read.
    pub(crate) fn read(options: &Options, tell: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let own = options.target.matching(".")?;
        let app = outside(&options.target)?;
        let present = Present {
            entries: of_user(&app),
            own,
            scope: match options.target {
                Target::System => Scope::System,
                _ => Scope::Global,
            },
        };
        let ask = app::credential_helper().context("cannot find git-bbtoken itself")?;
        let sites = sites(&app);
        let mut changes = missing([rules::submodules()], &present, tell);
        for site in &sites {
            changes.extend(answering::answering(site, &ask, &present));
            changes.extend(missing(rules::asked_well(site), &present, tell));
        }
        let rewritten = rules::rewritten(&app, &present, options);
        changes.extend(rules::replaced(&rewritten, &present));
        changes.extend(missing(rewritten, &present, tell));
        changes.extend(missing(rules::agent(&present, options), &present, tell));
        let target = options.target.clone();
        Ok(Plan {
            target,
            sites,
            changes,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Tells whether it turns the agent on, and whether it does anything else.
    pub(crate) fn agent(&self) -> (bool, bool) {
        let changes = self.changes.iter().map(|(change, _)| change);
        let mut others = changes.filter(|change| change.key() != NOTE);
        let is_on = others.clone().any(|change| change.key() == AGENT);
        (is_on, others.any(|change| change.key() != AGENT))
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
        let is_new = file::path(&self.target).is_some_and(|file| !file.exists());
        let of_file = is_new.then(|| noted(WHOLE_FILE.to_owned()));
        let changes = self.changes.iter().map(|(change, _)| change.clone());
        make(of_file.into_iter().chain(changes), &self.target)?;
        match is_new && self.target == Target::System {
            true => file::open_to_all(),
            false => Ok(()),
        }
    }

    /// Says which addresses the rules for all addresses do not reach.
    pub(crate) fn not_covered(&self) -> Vec<String> {
        let with_user = |site: &Url| app::site(site).replacen("://", "://you@", 1);
        let sites: Vec<_> = self.sites.iter().map(with_user).collect();
        vec![
            format!(
                "Not covered: addresses with a user name or a password, such as {}/…",
                sites.join("/…, ")
            ),
            "      git's rules compare the beginning of an address; to change these addresses: git bbtoken remote convert --below <directory>".to_owned(),
        ]
    }

    /// Names the sites for which another helper answers, too, though the changes are made.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be read.
    pub(crate) fn unanswered(&self) -> anyhow::Result<Vec<String>> {
        let app = outside(&self.target)?;
        let entries = of_user(&app);
        let sites = self.sites.iter();
        let unanswered = sites.filter(|site| !answering::is_answering(&entries, site));
        Ok(unanswered.map(app::site).collect())
    }
}

/// Reads what holds outside of repositories: for the user, or for all users of the machine.
fn outside(target: &Target) -> anyhow::Result<App> {
    if *target != Target::System {
        return App::read_of_user();
    }
    if process_variable("GIT_CONFIG_NOSYSTEM").is_some_and(|value| is_true_text(&value)) {
        let message =
            "git ignores its system configuration, because GIT_CONFIG_NOSYSTEM is set; unset it";
        return Err(Failure::new(Kind::Misconfigured, message).into());
    }
    App::read_of_system()
}

/// Gives the settings that hold in every repository of the user.
pub(crate) fn of_user(app: &App) -> Vec<&Entry> {
    let of_user = |entry: &&Entry| matches!(entry.scope, Scope::System | Scope::Global);
    app.settings().filter(of_user).collect()
}

/// Finds the missing settings of the requests, each change with its reason, and tells what the user has set differently.
fn missing(
    requests: impl IntoIterator<Item = Request>,
    present: &Present<'_>,
    tell: &dyn Fn(&str),
) -> Vec<Reasoned> {
    let mut changes = Vec::new();
    for request in requests {
        let (key, value, why) = (request.key, request.value, request.why);
        let of_key = |entry: &&&Entry| same_key(&entry.name(), &key);
        let is_value = |entry: &Entry| entry.value.as_deref() == Some(value.as_str());
        let entries: Vec<_> = present.entries.iter().filter(of_key).collect();
        let is_present = match request.is_single {
            true => entries.last().is_some_and(|entry| is_value(entry)),
            false => entries.iter().any(|entry| is_value(entry)),
        };
        if is_present {
            continue;
        }
        let of_person = entries.iter().rfind(|entry| entry.scope == present.scope);
        if let Some(own) = of_person.filter(|_| request.is_single) {
            tell(&format!(
                "not changed: {key} = {} (setup would set {value}: {why})",
                own.value.as_deref().unwrap_or_default()
            ));
            continue;
        }
        changes.extend(present.add(key, value, why));
    }
    changes
}

/// Gives each host that a profile is for.
pub(crate) fn sites(app: &App) -> Vec<Url> {
    let places = app.used_places();
    let urls = places
        .iter()
        .flat_map(|place| std::iter::once(&place.base).chain(&place.mirror));
    let mut sites: Vec<_> = urls.map(app::site).collect();
    sites.sort();
    sites.dedup();
    let parse = |site: &String| Url::parse(site).ok();
    sites.iter().filter_map(parse).collect()
}
