//! `git bbtoken setup` and `unsetup`: git's configuration, changed in the open and taken back exactly.

use std::time::Duration;

use super::{Console, arguments, usage};
use crate::{
    app,
    failure::quote,
    setup::{self, Options, Plan, Undo},
};

pub(super) fn run(options: &arguments::Setup, console: &mut Console<'_>) -> anyhow::Result<()> {
    let _alone = options.consent.yes.then(setup::lock);
    let wanted = Options {
        everywhere: options.everywhere,
        plain: options.plain,
    };
    let plan = Plan::read(&wanted, &|line| console.tell(line))?;
    let large_files = app::lfs_here();
    if plan.is_empty() && large_files.is_empty() {
        return console.answer("Git is set up already; nothing to change.");
    }
    for line in plan.lines() {
        console.answer(&line)?;
    }
    for (key, address) in large_files.iter().flat_map(|wiring| wiring.addresses()) {
        console.answer(&format!("+ {} = {}", quote(&key), quote(address)))?;
        console.answer(
            "      git-lfs finds the files of this repository; set in this repository only",
        )?;
    }
    let question = "Write this to your git configuration?";
    if !may_write(&options.consent, console, question)? {
        return Ok(());
    }
    plan.apply()?;
    // With what is set up now, the rest is the user's own setting already.
    app::lfs_here()
        .iter()
        .try_for_each(|wiring| wiring.write(Duration::ZERO))?;
    for site in plan.unanswered()? {
        (console.warn)(&format!(
            "another credential helper still comes after ours for {site}: in your git configuration, move the section of our helper to the end"
        ));
    }
    console.answer("Git is set up; 'git bbtoken unsetup' undoes this.")
}

pub(super) fn undo(options: &arguments::Consent, console: &mut Console<'_>) -> anyhow::Result<()> {
    let _alone = options.yes.then(setup::lock);
    let Some(undo) = Undo::read()? else {
        return console.answer("Setup has added nothing; nothing to undo.");
    };
    for line in undo.lines() {
        console.answer(&line)?;
    }
    if !may_write(options, console, "Remove this from your git configuration?")? {
        return Ok(());
    }
    undo.apply()?;
    console.answer("Git's configuration is as it was before setup.")
}

/// Asks whether what was shown may be written; a script has to say so itself.
pub(super) fn may_write(
    options: &arguments::Consent,
    console: &mut Console<'_>,
    question: &str,
) -> anyhow::Result<bool> {
    if options.dry_run {
        console.tell("Nothing was written.");
        return Ok(false);
    }
    if options.yes {
        return Ok(true);
    }
    if !console.is_interactive {
        return Err(usage(
            "cannot ask for confirmation without a terminal; nothing was changed; give --yes to write this",
        ));
    }
    let agreed = console.confirm(question)?;
    if !agreed {
        console.tell("Nothing was written.");
    }
    Ok(agreed)
}
