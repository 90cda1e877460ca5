//! `git bbtoken man`: man pages, made from the definition of the command line and the tables of the reference.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{
    Console, arguments, examples,
    help_text::NAME,
    manpath,
    names::{Name, name, variables},
    reference::{ENVIRONMENT_INTRODUCTION, EXIT_CODES, FILES, FILES_INTRODUCTION},
};
use crate::failure::{quote_for_shell, usage};

/// The name of the helper's page. The definition of the command line does not contain the helper, because git runs it.
const HELPER: &str = "git-remote-bbtoken";

const ABOUT_HELPER: &str = "fetch from Bitbucket and push to it with tokens that are always valid";

const DESCRIPTION: &str = "Git starts this program for each address that begins with 'bbtoken::'. You never run it \
yourself. The program chooses a profile for the address, gets a token for it, and talks to Bitbucket over HTTPS. \
git-bbtoken(1) manages profiles and logins.";

const ADDRESSES: [Name; 5] = [
    name(
        "bbtoken::workspace/repository",
        "the repository; 'git bbtoken help profiles' says which profile git uses",
    ),
    name(
        "bbtoken::profile@workspace/repository",
        "the same with a profile that you name",
    ),
    name(
        "bbtoken://workspace/repository",
        "the same for programs that know only addresses with '://'",
    ),
    name(
        "bbtoken::https://bitbucket.org/workspace/repository",
        "an address of Bitbucket as you copied it: for a clone over https or ssh, or of a page in the browser",
    ),
    name(
        "bbtoken::git@bitbucket.org:workspace/repository.git",
        "the same with the address for ssh; the program connects over HTTPS all the same",
    ),
];

const PROTOCOL: [&str; 3] = [
    "Git and this program talk through pipes, as gitremote-helpers(7) describes. Git sends 'capabilities' first, and \
     the program lists 'connect' among its own.",
    "For a fetch, git sends 'connect git-upload-pack'; for a push, 'connect git-receive-pack'. From then on, git \
     speaks its own protocol through the pipe, and the program sends each request over HTTPS with a token.",
    "If a setting is supported by git's https only, the program starts git-remote-https, which asks \
     git-bbtoken-credential(1) for the token.",
];

pub(super) fn run(options: &arguments::Man, console: &mut Console<'_>) -> anyhow::Result<()> {
    match &options.directory {
        _ if options.install => install(console),
        Some(directory) => write(directory),
        None => console.print(&of_command(&arguments::definition())?),
    }
}

/// Writes every page to the first directory that `man` searches, else to the user's own.
fn install(console: &Console<'_>) -> anyhow::Result<()> {
    let candidates = manpath::candidates();
    for directory in &candidates {
        if manpath::is_searched(directory) && write(&directory.join("man1")).is_ok() {
            console.tell(&installed(directory));
            console.tell("Now 'git bbtoken --help' and 'man git-remote-bbtoken' work.");
            return Ok(());
        }
    }
    let Some(directory) = candidates.first() else {
        return Err(usage(
            "there is no home directory for the manual pages; give --directory",
        ));
    };
    write(&directory.join("man1"))?;
    let word = quote_for_shell(&format!("{}:", directory.display()));
    console.tell(&installed(directory));
    console.tell(
        "If 'git bbtoken --help' does not find them, add this line to the file that your shell reads at its start:",
    );
    console.tell(&format!("  export MANPATH={word}\"$MANPATH\""));
    Ok(())
}

fn installed(directory: &Path) -> String {
    format!(
        "Wrote the manual pages to '{}'.",
        directory.join("man1").display()
    )
}

/// Writes every page.
fn write(directory: &Path) -> anyhow::Result<()> {
    let written = fs::create_dir_all(directory).map_err(anyhow::Error::from);
    let written = written.and_then(|()| write_all(directory));
    written.with_context(|| format!("cannot write manual pages to '{}'", directory.display()))
}

fn write_all(directory: &Path) -> anyhow::Result<()> {
    write_commands(&arguments::definition(), directory)?;
    fs::write(directory.join(format!("{HELPER}.1")), of_helper()?)?;
    Ok(())
}

/// Writes the page of a command, then those of its subcommands.
fn write_commands(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let file = directory.join(format!("{}.1", title(command)));
    fs::write(file, of_command(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_commands(subcommand, directory))
}

fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn of_command(command: &Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone());
    let mut start = Vec::new();
    man.render_name_section(&mut start)?;
    man.render_synopsis_section(&mut start)?;
    man.render_description_section(&mut start)?;
    man.render_options_section(&mut start)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut start)?;
    }
    page(title(command), start)
}

fn of_helper() -> anyhow::Result<String> {
    let mut start = Roff::new();
    start.control("SH", ["NAME"]);
    start.text([roman(format!("{HELPER} - {ABOUT_HELPER}"))]);
    start.control("SH", ["SYNOPSIS"]);
    start.text([bold("git clone bbtoken::"), roman("workspace/repository")]);
    start.control("SH", ["DESCRIPTION"]);
    start.text([roman(DESCRIPTION)]);
    section(&mut start, "ADDRESSES", "", &ADDRESSES);
    start.control("SH", ["WHAT GIT DOES"]);
    for (number, text) in PROTOCOL.iter().enumerate() {
        if number > 0 {
            start.control("PP", []);
        }
        start.text([roman(*text)]);
    }
    let mut bytes = Vec::new();
    start.to_writer(&mut bytes)?;
    page(HELPER, bytes)
}

/// Adds the common sections to the first sections of a page.
///
/// The page has no build date, so that two builds give the same bytes.
fn page(title: &str, mut text: Vec<u8>) -> anyhow::Result<String> {
    end(title, &mut text)?;
    let text = String::from_utf8(text)?;
    let head = format!(
        ".TH \"{}\" \"1\" \"\" \"git-remote-bbtoken {}\" \"Git Manual\"",
        title.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    );
    // Each section contains a copy of this definition. Keep only one.
    let (definition, rest) = text.split_at(text.find(".SH").unwrap_or(0));
    let rest = rest.replace(definition, "");
    let lines = rest.lines().map(str::trim_end);
    let lines = definition.lines().chain([head.as_str()]).chain(lines);
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

/// Writes the last sections of a page.
fn end(title: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let mut end = Roff::new();
    let codes = EXIT_CODES.iter().filter(|code| has_code(title, code.name));
    section(&mut end, "EXAMPLES", "", &examples::of(title));
    section(
        &mut end,
        "ENVIRONMENT",
        ENVIRONMENT_INTRODUCTION,
        &variables(),
    );
    section(&mut end, "FILES", FILES_INTRODUCTION, &FILES);
    section(&mut end, "EXIT STATUS", "", codes);
    end.control("SH", ["SEE ALSO"]);
    let pages = [NAME, HELPER].into_iter().filter(|page| *page != title);
    let pages = pages.map(|page| format!("{page}(1), "));
    end.text([roman(format!(
        "{}gitremote-helpers(7), gitcredentials(7)",
        pages.collect::<String>()
    ))]);
    end.control("PP", []);
    end.text([roman(format!(
        "'git bbtoken help <topic>' explains: {}.",
        arguments::TOPICS.join(", ")
    ))]);
    end.to_writer(page)
}

fn section<'n>(
    page: &mut Roff,
    title: &str,
    introduction: &str,
    names: impl IntoIterator<Item = &'n Name>,
) {
    page.control("SH", [title]);
    if !introduction.is_empty() {
        page.text([roman(introduction)]);
    }
    for Name { name, meaning } in names {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*meaning)]);
    }
}

/// Tells whether a program or subcommand can end with an exit code.
fn has_code(title: &str, code: &str) -> bool {
    match code {
        "0" => true,
        "126" | "127" => [NAME, "git-bbtoken-exec"].contains(&title),
        "128" => title == HELPER,
        _ => title != HELPER,
    }
}
