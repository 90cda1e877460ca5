//! `git bbtoken remote convert`: a repository's remotes and submodules to `bbtoken::` addresses, or back.

use std::path::{Path, PathBuf};

use super::{
    Console, cli,
    git::{Change, Target, apply_all, repository},
    setup::may_write,
};
use crate::wire::Overview;

/// What may hold an address. The remotes of branches and the default to push to do, where they are no names.
const ADDRESSES: &str = r"^(remote\..*\.(url|pushurl)|remote\.pushdefault|branch\..*\.(remote|pushremote)|submodule\..*\.url)$";

pub(super) fn convert(
    back: bool,
    options: &cli::Consent,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let overview = Overview::read()?;
    let mut changes = Vec::new();
    collect(
        &repository()?,
        &|url| overview.converted(url, back),
        &mut changes,
    )?;
    if changes.is_empty() {
        return console.answer("No address is to be changed.");
    }
    let mut last = None;
    for (target, change) in &changes {
        if last != Some(target) {
            console.answer(&name(target))?;
            last = Some(target);
        }
        for line in change.lines() {
            console.answer(&format!("  {line}"))?;
        }
    }
    if !may_write(options, console, "Write this?")? {
        return Ok(());
    }
    apply_all(&changes)?;
    console.answer("The addresses were changed.")?;
    if changes
        .iter()
        .any(|(target, _)| matches!(target, Target::File(_)))
    {
        console.tell("Commit '.gitmodules' to give the others the same addresses.");
    }
    Ok(())
}

/// Goes through a repository and the submodules that are checked out in it.
fn collect(
    repository: &Path,
    converted: &dyn Fn(&str) -> Option<String>,
    changes: &mut Vec<(Target, Change)>,
) -> anyhow::Result<()> {
    let local = Target::Local(repository.to_owned());
    let modules = repository.join(".gitmodules");
    for (target, pattern) in [
        (local, ADDRESSES),
        (Target::File(modules.clone()), r"^submodule\..*\.url$"),
    ] {
        for (key, from) in target.matching(pattern)? {
            if let Some(to) = converted(&from).filter(|to| *to != from) {
                changes.push((target.clone(), Change::Replace { key, from, to }));
            }
        }
    }
    for (_, path) in Target::File(modules).matching(r"^submodule\..*\.path$")? {
        let submodule: PathBuf = repository.join(path);
        if submodule.join(".git").exists() {
            collect(&submodule, converted, changes)?;
        }
    }
    Ok(())
}

fn name(target: &Target) -> String {
    match target {
        Target::Global => "your git configuration".to_owned(),
        Target::Local(repository) => format!("configuration of '{}'", repository.display()),
        Target::File(file) => format!("'{}'", file.display()),
    }
}
