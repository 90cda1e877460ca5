//! Opens a page in the browser that `BROWSER` names, or in the desktop's.

use std::{
    io,
    process::{Command, Stdio},
};

use crate::{
    limits,
    program::{self, Child},
};

/// The separator of the commands in `BROWSER`. On Windows, paths contain colons.
const SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };

/// Which browser the user wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The desktop's.
    Desktop,
    /// The first of these commands that works, each with its arguments.
    Commands(Vec<Vec<String>>),
    /// No browser.
    Nothing,
}

impl Choice {
    /// Reads the value of `BROWSER`. No shell reads it: quotes and backslashes hold words together, as in a shell.
    pub(super) fn of(variable: Option<&str>) -> Self {
        match variable.map(str::trim) {
            None | Some("") => Choice::Desktop,
            Some("none") => Choice::Nothing,
            Some(list) => {
                let commands = list.split(SEPARATOR).filter_map(|command| {
                    let words = program::words(command).ok()?;
                    (!words.is_empty()).then_some(words)
                });
                Choice::Commands(commands.collect())
            }
        }
    }

    /// Opens a page with the first browser that works; false if none starts.
    pub(super) fn open(&self, page: &str) -> bool {
        let commands: Vec<_> = match self {
            Choice::Desktop => {
                let launchers = open::commands(page).into_iter();
                launchers.map(|made| Child::Browser.adopt(made)).collect()
            }
            Choice::Commands(commands) => commands.iter().map(|words| with(words, page)).collect(),
            Choice::Nothing => Vec::new(),
        };
        let mut commands = commands.into_iter().flatten();
        let mut next = move || commands.find_map(|mut command| detached(&mut command).spawn().ok());
        let Some(mut child) = next() else {
            return false;
        };
        // Without a thread, login tries only the first browser.
        let _ = limits::start("browser", move || {
            while !child.wait().is_ok_and(|status| status.success()) {
                let Some(started) = next() else { break };
                child = started;
            }
        });
        true
    }
}

/// Replaces `%s` by the page; without `%s`, appends it.
fn with(words: &[String], page: &str) -> io::Result<Command> {
    let mut command = Child::Browser.command(&words[0])?;
    let is_placed = words[1..].iter().any(|word| word.contains("%s"));
    command.args(words[1..].iter().map(|word| word.replace("%s", page)));
    if !is_placed {
        command.arg(page);
    }
    Ok(command)
}

/// Keeps the browser away from the terminal and its signals.
fn detached(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browser_is_a_list_of_commands_and_none_means_none() {
        assert_eq!(Choice::of(None), Choice::Desktop);
        assert_eq!(Choice::of(Some("  ")), Choice::Desktop);
        assert_eq!(Choice::of(Some("none")), Choice::Nothing);
        let list = format!("'/opt/my browser' --new %s{SEPARATOR}{SEPARATOR}firefox{SEPARATOR}'");
        let Choice::Commands(commands) = Choice::of(Some(&list)) else {
            panic!("it is a list");
        };
        assert_eq!(
            commands,
            [vec!["/opt/my browser", "--new", "%s"], vec!["firefox"]]
        );
    }

    #[test]
    fn the_page_is_one_argument_with_any_characters() {
        let page = "http://127.0.0.1/a b;$(x)";
        let shown = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let command = with(&words, page).expect("it is there");
            let arguments = command
                .get_args()
                .map(|word| word.to_string_lossy().into_owned());
            arguments.collect::<Vec<_>>()
        };
        assert_eq!(shown(&["sh"]), [page]);
        assert_eq!(
            shown(&["sh", "--url=%s", "-g"]),
            [&format!("--url={page}"), "-g"]
        );
    }
}
