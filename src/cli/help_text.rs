//! Renders help for the width of the terminal.

use clap::{Command, CommandFactory as _, error::ErrorKind};

use super::arguments;

/// The name of the program file. Git finds `git-bbtoken` for `git bbtoken`.
pub(super) const NAME: &str = "git-bbtoken";

/// Gives the `--help` text of a subcommand, for this width or the terminal's; `None` if there is no such subcommand.
pub(super) fn of_command(words: &[&str], width: Option<usize>) -> Option<String> {
    let line = [NAME].iter().chain(words).chain(&["--help"]).copied();
    let mut definition = arguments::Cli::command();
    if let Some(width) = width {
        definition = definition.term_width(width);
    }
    let error = definition.try_get_matches_from(line).err()?;
    (error.kind() == ErrorKind::DisplayHelp).then(|| error.render().to_string())
}

/// Wraps the lines of a text at this width or the terminal's. Each line keeps its indentation.
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
