//! `git bbtoken remote convert`: a repository's remotes and submodules to `bbtoken::` addresses, or back.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Console, arguments, setup::may_write};
use crate::{
    app::App,
    git::{Change, Repository, Target, apply_all},
};

/// What may hold an address. The remotes of branches and the default to push to do, where they are no names.
const ADDRESSES: &str = r"^(remote\..*\.(url|pushurl)|remote\.pushdefault|branch\..*\.(remote|pushremote)|submodule\..*\.url)$";

pub(super) fn convert(
    back: bool,
    options: &arguments::Consent,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let app = App::read()?;
    let mut walk = Walk {
        converted: &|url| app.converted(url, back),
        changes: Vec::new(),
        seen: BTreeSet::new(),
        left: Vec::new(),
    };
    walk.visit(&Repository::here()?)?;
    let Walk { changes, left, .. } = walk;
    for path in left {
        (console.warn)(&format!(
            "submodule '{}' is not changed: its git directory or work tree is outside this repository",
            path.display()
        ));
    }
    if changes.is_empty() {
        return console.answer("No address needs to change.");
    }
    show(&changes, console)?;
    if !may_write(options, console, "Write these changes?")? {
        return Ok(());
    }
    apply_all(&changes)?;
    console.answer("The addresses were changed.")?;
    let mut targets = changes.iter().map(|(target, _)| target);
    if targets.any(|target| matches!(target, Target::File(_))) {
        console.tell("Commit '.gitmodules' so that others get the same addresses.");
    }
    Ok(())
}

fn show(changes: &[(Target, Change)], console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut last = None;
    for (target, change) in changes {
        if last != Some(target) {
            console.answer(&name(target))?;
            last = Some(target);
        }
        for line in change.lines() {
            console.answer(&format!("  {line}"))?;
        }
    }
    Ok(())
}

/// Goes through a repository and its submodules. A submodule that leads out of the repository is left alone.
struct Walk<'w> {
    converted: &'w dyn Fn(&str) -> Option<String>,
    changes: Vec<(Target, Change)>,
    /// The git directories that were visited.
    seen: BTreeSet<PathBuf>,
    /// The submodules that were left alone.
    left: Vec<PathBuf>,
}

impl Walk<'_> {
    fn visit(&mut self, repository: &Repository) -> anyhow::Result<()> {
        if !self.seen.insert(repository.git_dir.clone()) {
            return Ok(());
        }
        let modules = repository.top.join(".gitmodules");
        let mut targets = vec![(Target::Local(repository.top.clone()), ADDRESSES)];
        if modules
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
        {
            targets.push((Target::File(modules), r"^submodule\..*\.url$"));
        }
        for (target, pattern) in targets {
            for (key, from) in target.matching(pattern)? {
                if let Some(to) = (self.converted)(&from).filter(|to| *to != from) {
                    let change = Change::Replace { key, from, to };
                    self.changes.push((target.clone(), change));
                }
            }
        }
        for path in repository.gitlinks()? {
            let is_checked_out = repository.top.join(&path).join(".git");
            match submodule(repository, &path) {
                Some(submodule) => self.visit(&submodule)?,
                None if is_checked_out.symlink_metadata().is_ok() => self.left.push(path),
                None => {}
            }
        }
        Ok(())
    }
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

fn name(target: &Target) -> String {
    match target {
        Target::Global => "your git configuration".to_owned(),
        Target::Local(repository) => format!("configuration of '{}'", repository.display()),
        Target::File(file) => format!("'{}'", file.display()),
    }
}
