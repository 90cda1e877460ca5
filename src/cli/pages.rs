//! Help and manual pages, made from the one definition of the command line.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _, error::ErrorKind};

use super::{Console, arguments, reference, usage};
use crate::secret::mask_name;

/// The name that files and functions are called by; git finds `git-bbtoken` for `git bbtoken`.
pub(super) const NAME: &str = "git-bbtoken";

pub(super) fn help(words: &[String], console: &mut Console<'_>) -> anyhow::Result<()> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let topic = || match words[..] {
        [word] => reference::topic(word),
        _ => None,
    };
    let text = of_command(&words, None)
        .or_else(topic)
        .ok_or_else(|| unknown(&words.join(" ")))?;
    console.print(&format!("{}\n", text.trim_end()))
}

/// Gives what `--help` behind a subcommand shows, for a width or the terminal's; `None` if there is no such subcommand.
pub(super) fn of_command(words: &[&str], width: Option<usize>) -> Option<String> {
    let line = [NAME].iter().chain(words).chain(&["--help"]).copied();
    let mut definition = arguments::Cli::command();
    if let Some(width) = width {
        definition = definition.term_width(width);
    }
    let error = definition.try_get_matches_from(line).err()?;
    (error.kind() == ErrorKind::DisplayHelp).then(|| error.render().to_string())
}

/// Breaks the lines of a text, as of a subcommand's help, at a width or the terminal's; each keeps its indentation.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> String {
    let mut page = Command::new(NAME)
        .about(text.to_owned())
        .help_template("{about}")
        .max_term_width(arguments::MAX_WIDTH);
    if let Some(width) = width {
        page = page.term_width(width);
    }
    page.render_help().to_string()
}

fn unknown(topic: &str) -> anyhow::Error {
    usage(&format!(
        "there is no help for '{}'; give a subcommand ('git bbtoken help' lists them) or one of: {}",
        mask_name(topic),
        reference::TOPICS.join(", ")
    ))
}

pub(super) fn manual(directory: Option<&Path>, console: &mut Console<'_>) -> anyhow::Result<()> {
    let definition = arguments::definition();
    let Some(directory) = directory else {
        return console.print(&page(&definition)?);
    };
    let cannot = || format!("cannot write manual pages to '{}'", directory.display());
    fs::create_dir_all(directory).with_context(cannot)?;
    write_pages(&definition, directory).with_context(cannot)
}

/// Writes the page of a command, then those of its subcommands.
fn write_pages(command: &Command, directory: &Path) -> anyhow::Result<()> {
    fs::write(
        directory.join(format!("{}.1", title(command))),
        page(command)?,
    )?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_pages(subcommand, directory))
}

/// Makes the page of one command. The day it was built is left out, so that two builds give the same bytes.
fn page(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let head = format!(
        ".TH \"{}\" \"1\" \"\" \"git-remote-bbtoken {}\" \"Git Manual\"",
        title(command).to_uppercase(),
        env!("CARGO_PKG_VERSION")
    );
    let lines = String::from_utf8(page)?;
    let lines = lines.lines().map(|line| match line.starts_with(".TH ") {
        true => head.as_str(),
        false => line.trim_end(),
    });
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

fn title(command: &Command) -> String {
    command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned()
}
