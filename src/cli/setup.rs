//! `git bbtoken setup` and `unsetup`: show each change of git's configuration, write it, and undo it exactly.

use std::time::Duration;

use super::{Console, agent, arguments};
use crate::{
    app,
    failure::{quote, usage},
    git::Target,
    lfs::Wiring,
    program, report,
    setup::{self, Options, Plan, Undo},
};

pub(super) fn run(options: &arguments::Setup, console: &mut Console<'_>) -> anyhow::Result<()> {
    let target = target(options.system);
    let _alone = options.consent.yes.then(|| setup::lock(&target));
    let wanted = Options {
        everywhere: options.everywhere,
        plain: options.plain,
        agent: !options.no_agent && target != Target::System,
        target,
    };
    let work = Work::read(wanted, &|line| console.tell(line))?;
    if work.is_empty() {
        return console.answer("Git is set up already; nothing to change.");
    }
    show(&work, console)?;
    let question = format!("Write this to {}?", work.options.target.place());
    if !may_write(&options.consent, console, &question)? {
        return Ok(());
    }
    work.apply()?;
    console.answer(match options.system {
        true => "Git is set up for all users; 'git bbtoken unsetup --system' undoes this.",
        false => "Git is set up; 'git bbtoken unsetup' undoes this.",
    })
}

/// The changes of setup: in a file of git's configuration, and for git-lfs in this directory's repository.
struct Work {
    options: Options,
    plan: Plan,
    lfs: Vec<Wiring>,
}

impl Work {
    fn read(options: Options, tell: &dyn Fn(&str)) -> anyhow::Result<Self> {
        Ok(Work {
            plan: Plan::read(&options, tell)?,
            lfs: missing_lfs(&options.target),
            options,
        })
    }

    fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.lfs.is_empty()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.plan.lines();
        for (key, address) in self.lfs.iter().flat_map(Wiring::addresses) {
            lines.push(format!("+ {} = {}", quote(&key), quote(address)));
            lines.push(
                "      git-lfs finds the files of this repository; set in this repository only"
                    .to_owned(),
            );
        }
        lines
    }

    fn apply(&self) -> anyhow::Result<()> {
        let target = &self.options.target;
        self.plan.apply()?;
        // The plan may already have written these settings for every repository.
        missing_lfs(target)
            .iter()
            .try_for_each(|wiring| wiring.write(Duration::ZERO))?;
        for site in self.plan.unanswered()? {
            report::warn(&format!(
                "git asks another credential helper for {site} after the helper: in {}, move the section with 'git-bbtoken' to the end",
                target.place()
            ));
        }
        Ok(())
    }
}

/// Finds the settings that git-lfs needs in this directory's repository.
fn missing_lfs(target: &Target) -> Vec<Wiring> {
    match target {
        Target::System => Vec::new(),
        _ => app::lfs_here(),
    }
}

fn show(work: &Work, console: &mut Console<'_>) -> anyhow::Result<()> {
    let options = &work.options;
    for line in work.lines() {
        console.answer(&line)?;
    }
    for line in work
        .plan
        .not_covered()
        .iter()
        .filter(|_| options.everywhere)
    {
        console.answer(line)?;
    }
    match options.target {
        Target::System => warn_of_a_private_program(),
        _ => Ok(()),
    }
}

/// Warns if other users cannot reach the program that every git will start.
fn warn_of_a_private_program() -> anyhow::Result<()> {
    let program = app::helper_program()?;
    if !program::is_for_everybody(&program) {
        report::warn(&format!(
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
        agent: true,
        target: Target::Global,
    };
    let work = Work::read(usual, &|_| {})?;
    // The next fetch writes the settings for git-lfs, and the agent only saves time. They alone need no question.
    let (is_agent, has_others) = work.plan.agent();
    if !has_others {
        return Ok(());
    }
    let agent = match is_agent {
        true => ", and keep connections open between commands",
        false => "",
    };
    let question = format!(
        "Set up git for submodules, https addresses and git-lfs{agent}? (d shows the changes) [Y/n/d]"
    );
    loop {
        // The login is already saved, so an end of input means no.
        let answer = console.ask(&question, "");
        let answer = answer.unwrap_or_else(|_| "n".to_owned());
        match answer.to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => break,
            "d" => work.lines().iter().for_each(|line| console.tell(line)),
            _ => {
                console.tell("Nothing was written. To do it later: git bbtoken setup");
                return Ok(());
            }
        }
    }
    work.apply()?;
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
    if undo.is_of_agent() {
        agent::end(console);
    }
    console.answer("Git's configuration is as it was before setup.")
}

/// Asks for the user's consent to write the changes that were shown. A script gives it with `--yes`.
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
