//! Starts programs: finds them, and decides which environment variables each of them gets.
//!
//! Git runs the helper in a work tree, whose files a stranger may have written. So it finds programs only in the
//! absolute directories of `PATH`, and a child's `PATH` has only these. This is the only module that creates a
//! [`Command`](std::process::Command).

mod child;
mod search;
mod table;

use std::path::Path;

use crate::failure::quote_for_shell;

pub(crate) use child::Child;
pub(crate) use search::{all, is_for_everybody, sibling};
pub(crate) use table::ROWS;

/// Splits a command line as a shell does. On Windows a backslash is part of a path.
///
/// # Errors
///
/// If a quote is not closed.
pub(crate) fn words(line: &str) -> Result<Vec<String>, shell_words::ParseError> {
    match cfg!(windows) {
        true => shell_words::split(&line.replace('\\', "\\\\")),
        false => shell_words::split(line),
    }
}

/// Quotes the path of a program for the shell that starts git's credential helpers. On Windows, it needs `/`.
pub(crate) fn shell_word(program: &Path) -> String {
    let text = program.display().to_string();
    quote_for_shell(&match cfg!(windows) {
        true => text.replace('\\', "/"),
        false => text,
    })
}
