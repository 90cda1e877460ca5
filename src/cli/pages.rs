//! Help and manual pages, made from the one definition of the command line.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::Command;

use super::{Console, arguments, help_text::of_command, reference, usage};
use crate::secret::mask_name;

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
