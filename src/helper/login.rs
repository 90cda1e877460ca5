//! Lets the person who runs git log in, where git waits for a login.

use std::{fs::File, io::IsTerminal as _};

use crate::{
    app::App,
    failure::{Kind, kind},
    git_config::process_variable,
    program::{self, Child},
    report,
};

/// The terminal of this process, whatever git has made of its standard streams.
const TERMINAL: &str = if cfg!(windows) { "CONIN$" } else { "/dev/tty" };

/// Runs `git bbtoken login` on the terminal if only a login is missing. True if there is a new login.
///
/// It asks only where a person sees the question and git's settings allow it. In CI it never asks.
pub(super) fn offer(error: &anyhow::Error, remote: &str, address: &str) -> bool {
    let profile = match kind(error) {
        Some(Kind::NotConfigured) => None,
        Some(Kind::LoginNeeded { profile }) => Some(profile),
        _ => return false,
    };
    let Some((terminal, repository)) = question(remote, address) else {
        return false;
    };
    let done = log_in(terminal, profile.map(String::as_str), &repository);
    done.unwrap_or_else(|error| {
        report::warn(&format!("cannot start 'git bbtoken login': {error:#}"));
        false
    })
}

/// Gives the terminal, if a question there reaches a person, and the repository that git waits for.
fn question(remote: &str, address: &str) -> Option<(File, String)> {
    let is_ci = process_variable("CI").is_some_and(|value| value != "false");
    if is_ci || !report::is_shown_on_a_terminal() {
        return None;
    }
    let app = App::read_of_helper().ok()?;
    if app.no_questions().is_some() {
        return None;
    }
    let terminal = File::options().read(true).write(true).open(TERMINAL).ok()?;
    let name = Some(remote).filter(|name| !name.contains(':'));
    let (_, repository) = app.target(name, address).ok()?;
    terminal
        .is_terminal()
        .then(|| (terminal, repository.to_string()))
}

fn log_in(terminal: File, profile: Option<&str>, repository: &str) -> anyhow::Result<bool> {
    let mut command = Child::Login.command(program::sibling("git-bbtoken")?)?;
    command.args(["login", &format!("--for-git={repository}"), "--"]);
    command.args(profile);
    // Standard output is git's pipe.
    let status = command
        .stdin(terminal)
        .stdout(report::to_person())
        .status()?;
    Ok(status.success())
}
