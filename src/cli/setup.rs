//! `git bbtoken setup` and `unsetup`: git's configuration, changed in the open and taken back exactly.

use std::time::Duration;

use super::{Console, arguments, usage};
use crate::{
    app,
    failure::quote,
    git::Target,
    lfs::Wiring,
    program,
    setup::{self, Options, Plan, Undo},
};

pub(super) fn run(options: &arguments::Setup, console: &mut Console<'_>) -> anyhow::Result<()> {
    let target = target(options.system);
    let _alone = options.consent.yes.then(|| setup::lock(&target));
    let wanted = Options {
        everywhere: options.everywhere,
        plain: options.plain,
        target: target.clone(),
    };
    let plan = Plan::read(&wanted, &|line| console.tell(line))?;
    let large_files = large_files(options);
    if plan.is_empty() && large_files.is_empty() {
        return console.answer("Git is set up already; nothing to change.");
    }
    show(&plan, &large_files, options, console)?;
    let question = format!("Write this to {}?", target.place());
    if !may_write(&options.consent, console, &question)? {
        return Ok(());
    }
    plan.apply()?;
    // With what is set up now, the rest is the user's own setting already.
    self::large_files(options)
        .iter()
        .try_for_each(|wiring| wiring.write(Duration::ZERO))?;
    for site in plan.unanswered()? {
        (console.warn)(&format!(
            "another credential helper still comes after ours for {site}: in {}, move the section of our helper to the end",
            target.place()
        ));
    }
    console.answer(match options.system {
        true => "Git is set up for all users; 'git bbtoken unsetup --system' undoes this.",
        false => "Git is set up; 'git bbtoken unsetup' undoes this.",
    })
}

/// Finds what git-lfs needs in the repository here.
fn large_files(options: &arguments::Setup) -> Vec<Wiring> {
    match options.system {
        true => Vec::new(),
        false => app::lfs_here(),
    }
}

fn show(
    plan: &Plan,
    large_files: &[Wiring],
    options: &arguments::Setup,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    for line in plan.lines() {
        console.answer(&line)?;
    }
    for (key, address) in large_files.iter().flat_map(Wiring::addresses) {
        console.answer(&format!("+ {} = {}", quote(&key), quote(address)))?;
        console.answer(
            "      git-lfs finds the files of this repository; set in this repository only",
        )?;
    }
    for line in plan.not_covered().iter().filter(|_| options.everywhere) {
        console.answer(line)?;
    }
    match options.system {
        true => warn_of_a_private_program(console),
        false => Ok(()),
    }
}

/// Warns if other users cannot reach the program that every git will start.
fn warn_of_a_private_program(console: &Console<'_>) -> anyhow::Result<()> {
    let program = app::helper_program()?;
    if !program::is_for_everybody(&program) {
        (console.warn)(&format!(
            "other users cannot run '{}': install it where all users can, such as /usr/local/bin, then run this again",
            quote(&program.to_string_lossy())
        ));
    }
    Ok(())
}

fn target(is_system: bool) -> Target {
    match is_system {
        true => Target::System,
        false => Target::Global,
    }
}

/// Offers the usual setup after a login.
pub(super) fn offer(console: &mut Console<'_>) -> anyhow::Result<()> {
    let usual = Options {
        everywhere: false,
        plain: false,
        target: Target::Global,
    };
    let plan = Plan::read(&usual, &|_| {})?;
    if plan.is_empty() {
        return Ok(());
    }
    loop {
        let question =
            "Set up git for submodules, https addresses and git-lfs? (d shows the changes) [Y/n/d]";
        // The login is already saved, so an end of input means no.
        let answer = console.ask(question, "").unwrap_or_else(|_| "n".to_owned());
        match answer.to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => break,
            "d" => plan.lines().iter().for_each(|line| console.tell(line)),
            _ => {
                console.tell("Nothing was written. To do it later: git bbtoken setup");
                return Ok(());
            }
        }
    }
    plan.apply()?;
    console.tell("Git is set up; 'git bbtoken unsetup' undoes this.");
    Ok(())
}

pub(super) fn undo(options: &arguments::Unsetup, console: &mut Console<'_>) -> anyhow::Result<()> {
    let target = target(options.system);
    let _alone = options.consent.yes.then(|| setup::lock(&target));
    let Some(undo) = Undo::read(target.clone())? else {
        return console.answer("Setup has added nothing; nothing to undo.");
    };
    for line in undo.lines() {
        console.answer(&line)?;
    }
    let question = format!("Remove this from {}?", target.place());
    if !may_write(&options.consent, console, &question)? {
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
