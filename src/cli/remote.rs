//! `git bbtoken remote convert`: changes remotes and submodules to `bbtoken::` addresses, or back, in one repository or in
//! all repositories below a directory.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{Console, arguments, setup::may_write};
use crate::{
    app::{App, Conversion, Move, Written},
    failure::{quote, usage},
    git::{Below, Change, Repository, Target, apply_all},
    lfs, report,
    secret::masked,
};

/// The settings that may contain an address. For a branch's remote and the default push remote, it may replace the name.
const ADDRESSES: &str = r"^(remote\..*\.(url|pushurl)|remote\.pushdefault|branch\..*\.(remote|pushremote)|submodule\..*\.url)$";

type Changes = Vec<(Target, Change)>;

pub(super) fn convert(
    options: &arguments::Convert,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    match &options.below {
        None => here(options, console),
        Some(directory) => below(directory, options, console),
    }
}

fn here(options: &arguments::Convert, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    let mut addresses = Addresses::new(options, &app)?;
    let changes = addresses.of_all(&app, &Repository::here()?)?;
    if addresses.may_write(&[&changes], console)? {
        apply_all(&changes)?;
        console.answer("The addresses were changed.")?;
        say_commit(&[&changes], console);
    }
    Ok(())
}

/// Changes each repository on its own, so that one failure does not stop the others.
fn below(
    directory: &Path,
    options: &arguments::Convert,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    // An error that concerns every repository appears once.
    let mut addresses = Addresses::new(options, &App::read_of_user()?)?;
    let (root, shown) = (directory.canonicalize(), directory.display());
    let root = root.with_context(|| format!("cannot read '{shown}'"))?;
    if !root.is_dir() {
        return Err(usage(&format!("'{shown}' is not a directory")));
    }
    let (plans, mut failed) = addresses.plans(&root);
    let all: Vec<_> = plans.iter().map(|(_, changes)| changes).collect();
    if addresses.may_write(&all, console)? {
        let mut done = Vec::new();
        for (path, changes) in &plans {
            match apply_all(changes) {
                Ok(()) => done.push(changes),
                Err(error) => failed += fail(path, error),
            }
        }
        let (count, all) = (done.len(), plans.len());
        console.answer(&format!("Repositories changed: {count} of {all}."))?;
        say_commit(&done, console);
    }
    if failed > 0 {
        bail!("repositories that are not changed: {failed}; the warnings above say why");
    }
    Ok(())
}

fn fail(path: &Path, error: anyhow::Error) -> usize {
    let (path, why) = (path.display(), error.root_cause());
    report::warn(&format!("'{path}' is not changed: {why}"));
    1
}

/// Finds the addresses that change.
struct Addresses<'o> {
    options: &'o arguments::Convert,
    conversion: Conversion,
    /// The directories of the configurations that were read. Linked work trees share one.
    read: BTreeSet<PathBuf>,
    /// The `.gitmodules` files that keep their addresses.
    kept: Vec<PathBuf>,
    /// Why other addresses stay.
    left: Vec<String>,
}

impl<'o> Addresses<'o> {
    fn new(options: &'o arguments::Convert, app: &App) -> anyhow::Result<Self> {
        let conversion = match options.to {
            Some(product) => Conversion::Moved(Box::new(Move::read(app, product, &options.maps)?)),
            None if options.back => Conversion::Https,
            None => Conversion::Ours,
        };
        Ok(Addresses {
            options,
            conversion,
            read: BTreeSet::new(),
            kept: Vec::new(),
            left: Vec::new(),
        })
    }

    /// Finds what changes in each repository below a directory. Gives also the number of failures.
    fn plans(&mut self, root: &Path) -> (Vec<(PathBuf, Changes)>, usize) {
        let below = Below::find(root);
        let (mut plans, mut failed) = (Vec::new(), 0);
        for (path, error) in below.unread {
            failed += fail(&path, error.into());
        }
        for path in below.repositories {
            match self.of_one_below(&path, root) {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => plans.push((path, changes)),
                Err(error) => failed += fail(&path, error),
            }
        }
        (plans, failed)
    }

    fn of_one_below(&mut self, path: &Path, root: &Path) -> anyhow::Result<Changes> {
        let repository = Repository::below(path)?;
        let common = repository.common_dir();
        let changes = self.of(&App::read_at(&repository.git_dir)?, &repository)?;
        let is_link = common.join("config").symlink_metadata()?.is_symlink();
        if !changes.is_empty() && (!common.starts_with(root) || is_link) {
            bail!(
                "its configuration is outside of '{}': git keeps it in '{}'",
                root.display(),
                common.display()
            );
        }
        Ok(changes)
    }

    /// Finds what changes in a repository and its submodules. Skips a submodule that leads out of the repository.
    fn of_all(&mut self, app: &App, repository: &Repository) -> anyhow::Result<Changes> {
        let mut changes = self.of(app, repository)?;
        let mut paths = repository.gitlinks()?;
        // An unmerged one has several entries.
        paths.dedup();
        for path in paths {
            let is_checked_out = repository.top.join(&path).join(".git");
            if let Some(submodule) = submodule(repository, &path) {
                let app = App::read_at(&submodule.git_dir)?;
                changes.extend(self.of_all(&app, &submodule)?);
            } else if is_checked_out.symlink_metadata().is_ok() {
                report::warn(&format!(
                    "submodule '{}' is not changed: its git directory or work tree is outside this repository",
                    path.display()
                ));
            }
        }
        Ok(changes)
    }

    /// Finds what changes in a repository, without its submodules.
    fn of(&mut self, app: &App, repository: &Repository) -> anyhow::Result<Changes> {
        let mut changes = Vec::new();
        if self.read.insert(repository.common_dir()) {
            let target = Target::Local(repository.clone());
            changes = self.within(app, &target, ADDRESSES)?;
            let removal = match &self.conversion {
                Conversion::Ours => Vec::new(),
                Conversion::Https => removed(&target, |_| true)?,
                Conversion::Moved(_) => removed(&target, |remote| {
                    let mut changes = changes.iter();
                    changes.any(|(_, change)| remote_of(change.key()) == Some(remote))
                })?,
            };
            changes.extend(removal);
        }
        let modules = repository.top.join(".gitmodules");
        if modules
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
        {
            let file = Target::File(modules.clone());
            let committed = self.within(app, &file, r"^submodule\..*\.url$")?;
            match self.options.submodules {
                true => changes.extend(committed),
                false if committed.is_empty() => {}
                false => self.kept.push(modules),
            }
        }
        Ok(changes)
    }

    fn within(&mut self, app: &App, target: &Target, pattern: &str) -> anyhow::Result<Changes> {
        let mut changes = Vec::new();
        let mut kept = Vec::new();
        for (key, from) in target.matching(pattern)? {
            let written = Written {
                url: &from,
                remote: remote_of(&key),
                is_committed: matches!(target, Target::File(_)),
            };
            match app.converted(&written, &self.conversion) {
                Ok(None) => {}
                Ok(Some(to)) if to == from => {}
                Ok(Some(to)) => changes.push((target.clone(), Change::Replace { key, from, to })),
                Err(why) => {
                    let place = target.place();
                    self.left
                        .push(format!("not changed: {} in {place}: {why}", quote(&key)));
                    kept.extend(written.remote.map(str::to_owned));
                }
            }
        }
        // A remote fetches from where it pushes to.
        changes.retain(|(_, change)| {
            remote_of(change.key()).is_none_or(|remote| !kept.iter().any(|it| it == remote))
        });
        Ok(changes)
    }

    /// Shows all changes, then asks once.
    fn may_write(&self, plans: &[&Changes], console: &mut Console<'_>) -> anyhow::Result<bool> {
        for file in &self.kept {
            console.tell(&format!(
                "'{}' keeps its addresses, because a change affects all users of the repository; to change them: --submodules",
                file.display()
            ));
        }
        for line in &self.left {
            console.tell(line);
        }
        if plans.iter().all(|changes| changes.is_empty()) {
            console.answer("No address needs to change.")?;
            return Ok(false);
        }
        show(plans, console)?;
        if !self.options.back {
            note(plans, &App::read_of_user()?, console);
        }
        may_write(&self.options.consent, console, "Write these changes?")
    }
}

/// Gives the name of the remote whose setting this is.
fn remote_of(key: &str) -> Option<&str> {
    Some(key.strip_prefix("remote.")?.rsplit_once('.')?.0)
}

/// Finds the helper's own settings for some remotes of a repository. An undone removal writes them in the opposite order.
fn removed(target: &Target, is_about: impl Fn(&str) -> bool) -> anyhow::Result<Changes> {
    let is_its = |(key, _): &(String, String)| remote_of(key).is_none_or(&is_about);
    let mut for_lfs = target.matching(lfs::PATTERN)?;
    for_lfs.retain(is_its);
    let mut profiles = target.matching(r"^remote\..*\.bbtokenprofile$")?;
    profiles.retain(is_its);
    let settings = lfs::written(&for_lfs).chain(&profiles).rev();
    let removal = |(key, value): &(String, String)| {
        let (key, value) = (key.clone(), value.clone());
        (target.clone(), Change::Remove { key, value })
    };
    Ok(settings.map(removal).collect())
}

/// Says what other users need for the new `.gitmodules`. Git forbids an unknown helper before it looks for one.
fn note(plans: &[&Changes], app: &App, console: &Console<'_>) {
    let starts: BTreeSet<_> = committed(plans).map(|to| app.plain_start(to)).collect();
    if starts.is_empty() {
        return;
    }
    console.tell(
        "Without git-remote-bbtoken, a clone of these submodules fails with \"transport 'bbtoken' not allowed\" or \
         \"'remote-bbtoken' is not a git command\". Your colleagues install it and run 'git bbtoken setup'. Without it, they \
         can run this once:",
    );
    for (start, https) in starts {
        console.tell(&format!(
            "  git config --global url.{https}.insteadOf {start}"
        ));
    }
    console.tell(
        "For https addresses in '.gitmodules': git bbtoken remote convert --back --submodules",
    );
}

/// Lists the new addresses in committed files.
fn committed<'c>(plans: &'c [&Changes]) -> impl Iterator<Item = &'c str> {
    let changes = plans.iter().flat_map(|changes| changes.iter());
    changes.filter_map(|change| match change {
        (Target::File(_), Change::Replace { to, .. }) => Some(to.as_str()),
        _ => None,
    })
}

fn say_commit(plans: &[&Changes], console: &Console<'_>) {
    if committed(plans).next().is_some() {
        console.tell("Commit '.gitmodules' so that others get the same addresses.");
    }
}

fn show(plans: &[&Changes], console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut last = None;
    for (target, change) in plans.iter().flat_map(|changes| changes.iter()) {
        if last != Some(target) {
            console.answer(&target.place())?;
            last = Some(target);
        }
        for line in change.lines() {
            console.answer(&format!("  {line}"))?;
        }
        if let Change::Replace { from, .. } = change
            && masked(from) != quote(from)
        {
            console.answer("    this address contained a password or token: revoke it at Bitbucket, because others may have seen it")?;
        }
    }
    Ok(())
}

/// Finds the submodule at a path of the index; `None` unless its work tree and its git directory both lie where git
/// puts them, with no symbolic link on the way.
fn submodule(parent: &Repository, path: &Path) -> Option<Repository> {
    let is_link = |path: &Path| path.symlink_metadata().ok().map(|found| found.is_symlink());
    let mut place = parent.top.clone();
    for component in path.components() {
        let Component::Normal(name) = component else {
            return None;
        };
        place.push(name);
        if is_link(&place)? {
            return None;
        }
    }
    if is_link(&place.join(".git"))? {
        return None;
    }
    let found = Repository::at(&place).ok()?;
    let of_parent = parent.git_dir.join("modules").canonicalize();
    let is_below = of_parent.is_ok_and(|modules| found.git_dir.starts_with(modules));
    let is_inside = found.git_dir == place.join(".git").canonicalize().ok()?;
    // Git reads and writes the configuration of another repository through these.
    let leads_away =
        found.git_dir.join("commondir").exists() || is_link(&found.git_dir.join("config"))?;
    let is_its = found.top == place.canonicalize().ok()? && (is_below || is_inside);
    (is_its && !leads_away).then_some(found)
}
