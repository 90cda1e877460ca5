//! Help, completions and manual pages, made from the one definition of the command line.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::{CommandFactory as _, error::ErrorKind};
use clap_complete::aot;

use super::{Console, cli, reference, usage};
use crate::failure::quote;

/// The name that files and functions are called by; git finds `git-bbtoken` for `git bbtoken`.
const NAME: &str = "git-bbtoken";

/// Lets git's own completion, which calls `_git_<command>`, complete `git bbtoken`, too.
const BASH_FOR_GIT: &str = r#"
_git_bbtoken() {
    local start=${__git_cmd_idx:-1}
    local words=(git-bbtoken "${COMP_WORDS[@]:start+1}") place=$((COMP_CWORD - start))
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$place
    _git__bbtoken git-bbtoken "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
"#;

pub(super) fn help(topic: Option<&str>, console: &mut Console<'_>) -> anyhow::Result<()> {
    let text = match topic {
        None => of_command(&[], None).unwrap_or_default(),
        Some(topic) => of_command(&[topic], None)
            .or_else(|| reference::topic(topic))
            .ok_or_else(|| unknown(topic))?,
    };
    console.answer(text.trim_end())
}

/// Gives what `--help` behind a subcommand shows, for a width or the terminal's; `None` if there is no such subcommand.
pub(super) fn of_command(words: &[&str], width: Option<usize>) -> Option<String> {
    let line = [NAME].iter().chain(words).chain(&["--help"]).copied();
    let mut definition = cli::Cli::command();
    if let Some(width) = width {
        definition = definition.term_width(width);
    }
    let error = definition.try_get_matches_from(line).err()?;
    (error.kind() == ErrorKind::DisplayHelp).then(|| error.render().to_string())
}

fn unknown(topic: &str) -> anyhow::Error {
    usage(&format!(
        "there is no help for '{}'; the topics are {}",
        quote(topic),
        reference::TOPICS.join(", ")
    ))
}

pub(super) fn completions(shell: cli::Shell, console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut definition = cli::Cli::command();
    let mut script = Vec::new();
    let mut generate =
        |shell| aot::generate::<aot::Shell, _>(shell, &mut definition, NAME, &mut script);
    match shell {
        cli::Shell::Bash => generate(aot::Shell::Bash),
        cli::Shell::Zsh => generate(aot::Shell::Zsh),
        cli::Shell::Fish => generate(aot::Shell::Fish),
        cli::Shell::Powershell => generate(aot::Shell::PowerShell),
    }
    if matches!(shell, cli::Shell::Bash) {
        script.extend_from_slice(BASH_FOR_GIT.as_bytes());
    }
    Ok(console.output.write_all(&script)?)
}

pub(super) fn manual(directory: Option<&Path>, console: &mut Console<'_>) -> anyhow::Result<()> {
    let definition = cli::definition();
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(definition).render(&mut page)?;
        return Ok(console.output.write_all(&page)?);
    };
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(definition, directory))
        .with_context(|| format!("cannot write manual pages to '{}'", directory.display()))
}
