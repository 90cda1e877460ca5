//! `git bbtoken use`: chooses the profile that git uses here, for a workspace, or everywhere.

use super::{Console, arguments};
use crate::{
    app::App,
    failure::{quote, usage},
    git::{Change, Repository, Target, apply_all, taken_back},
    profile::{self, Environment},
    report,
    secret::mask,
    setup,
};

/// The addresses that get a profile.
pub(super) enum Place {
    Workspace(String),
    /// The repository in this directory.
    Here,
    /// Every address for which nothing else selects a profile.
    Global,
}

pub(super) fn run(options: &arguments::Use, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    let is_at_bitbucket = || app.remote_here().is_some() && Repository::here().is_ok();
    let place = match &options.workspace {
        Some(workspace) => Place::Workspace(workspace.clone()),
        None if options.here => Place::Here,
        None if !options.global && is_at_bitbucket() => Place::Here,
        None => Place::Global,
    };
    set(&app, &options.profile, &place, console)
}

/// Lets git use a profile. Says what was written, and warns if git still uses another profile.
///
/// # Errors
///
/// If the profile is unknown or cannot be used. Then nothing changes.
pub(super) fn set(
    app: &App,
    profile: &str,
    place: &Place,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    // A setting must not name a profile that only variables define.
    let mut raw = app.raw.clone();
    raw.environment = Environment::default();
    profile::named(&raw, profile, "the command line")?;
    let choice = match place {
        Place::Workspace(workspace) => Choice::of_workspace(app, profile, workspace)?,
        Place::Here => Choice::here(app, profile)?,
        Place::Global => Choice::of_key(&Target::Global, "bbtoken.profile", profile)?,
    };
    apply_all(&choice.changes)?;
    let used = used(place).map_err(|error| taken_back(&choice.changes, error))?;
    choice.tell(profile, &used, console)
}

/// Names the profiles that git now uses, each with the reason.
fn used(place: &Place) -> anyhow::Result<Vec<(String, String)>> {
    let of_user = App::read_of_user;
    Ok(match place {
        Place::Workspace(workspace) => {
            let found = of_user()?.explain(&format!("{workspace}/repository"))?;
            vec![(found.profile, found.why)]
        }
        Place::Here => vec![App::read()?.explain_here()?],
        Place::Global => {
            let mut used = vec![of_user()?.explain_here()?];
            used.extend(App::read()?.explain_here());
            used.dedup();
            used
        }
    })
}

/// The settings that select a profile.
struct Choice {
    key: String,
    value: String,
    changes: Vec<(Target, Change)>,
    /// The file, for a message.
    file: &'static str,
    /// The addresses, for a message.
    covers: String,
}

impl Choice {
    /// Writes a setting that replaces others.
    fn instead(target: &Target, mut others: Vec<(String, String)>, key: &str, value: &str) -> Self {
        others.sort();
        others.dedup();
        let is_it = |(name, its): &(String, String)| its == value && setup::same_key(name, key);
        let add = (!others.iter().any(is_it)).then(|| Change::Add {
            key: key.to_owned(),
            value: value.to_owned(),
        });
        let others = others.into_iter().filter(|other| !is_it(other));
        let removed = others.map(|(key, value)| Change::Remove { key, value });
        let changes = removed.chain(add);
        Choice {
            key: key.to_owned(),
            value: value.to_owned(),
            changes: changes.map(|change| (target.clone(), change)).collect(),
            file: "your git configuration",
            covers: "if nothing else selects a profile".to_owned(),
        }
    }

    fn of_key(target: &Target, key: &str, value: &str) -> anyhow::Result<Self> {
        let mut there = target.matching(r"^(bbtoken|remote)\.")?;
        there.retain(|(name, _)| setup::same_key(name, key));
        Ok(Choice::instead(target, there, key, value))
    }

    fn here(app: &App, profile: &str) -> anyhow::Result<Self> {
        let target = Target::Local(Repository::here()?);
        let (key, covers) = match app.remote_here() {
            Some(remote) => (
                format!("remote.{remote}.bbtokenProfile"),
                format!("for remote '{remote}'"),
            ),
            None => (
                "bbtoken.profile".to_owned(),
                "in this repository".to_owned(),
            ),
        };
        Ok(Choice {
            file: "this repository's configuration",
            covers,
            ..Choice::of_key(&target, &key, profile)?
        })
    }

    /// Takes the workspace from every other profile, because git refuses a workspace that two profiles claim.
    fn of_workspace(app: &App, profile: &str, workspace: &str) -> anyhow::Result<Self> {
        let (_, address) = app
            .target(None, &format!("{workspace}/repository"))
            .map_err(|_| {
                usage(&format!(
                    "'{}' is not the name of a workspace; give the first part of 'workspace/repository'",
                    quote(&mask(workspace))
                ))
            })?;
        let workspace = address.workspace;
        let mut claims = Target::Global.matching(r"^bbtoken\..*\.workspace$")?;
        claims.retain(|(_, value)| value.eq_ignore_ascii_case(&workspace));
        let key = format!("bbtoken.{profile}.workspace");
        Ok(Choice {
            covers: format!("for workspace '{workspace}'"),
            ..Choice::instead(&Target::Global, claims, &key, &workspace)
        })
    }

    fn tell(
        &self,
        profile: &str,
        used: &[(String, String)],
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let Choice {
            key, value, file, ..
        } = self;
        for (_, change) in &self.changes {
            if let Change::Remove { key: other, value } = change
                && !setup::same_key(other, key)
            {
                console.answer(&format!("Removed {other} = {value}."))?;
            }
        }
        let mut others = used.iter().filter(|(name, _)| name != profile).peekable();
        let effect = match others.peek() {
            None => format!(": git uses profile '{profile}' {}", self.covers),
            Some(_) => String::new(),
        };
        console.answer(&format!("Wrote {key} = {value} to {file}{effect}."))?;
        for (name, why) in others {
            let fix = match why.as_str() {
                "the address names it" => {
                    "; to change the address: git remote set-url <remote> bbtoken::<workspace>/<repository>"
                }
                _ => "",
            };
            report::warn(&format!(
                "git still uses profile '{name}' because {why}{fix}"
            ));
        }
        Ok(())
    }
}
