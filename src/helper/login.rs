//! Lets the user log in while git waits.

use std::{cell::Cell, fs::File, io::IsTerminal as _};

use super::Plan;
use crate::{
    app::{self, App},
    failure::{Failure, Kind, kind},
    limits,
    parent_watch::Watch,
    program::{self, Child},
    report,
};

/// The terminal of this process. Git may have redirected the standard streams.
const TERMINAL: &str = if cfg!(windows) { "CONIN$" } else { "/dev/tty" };

/// Runs `git bbtoken login` on the terminal if only a login is missing. Gives the plan after a login.
///
/// It asks only where a person sees the question and git's settings allow it. In CI it never asks. One helper of a user
/// asks at a time; the next one looks first whether that login is enough.
pub(super) fn offer(
    error: &anyhow::Error,
    remote: &str,
    address: &str,
) -> Option<anyhow::Result<Plan>> {
    let profile = missing(error)?;
    let (terminal, repository) = question(remote, address)?;
    let watch = Watch::default();
    let _armed = watch.arm();
    let has_waited = Cell::new(false);
    let _lock = app::lock_logins(&|| {
        has_waited.set(true);
        report::say("Another git command asks for a login. This one waits for it.\n");
    })?;
    let plan = Plan::make(remote, address);
    // Only the server knows whether another helper has replaced a token.
    let is_refused = matches!(kind(error), Some(Kind::AccessRefused { .. }));
    let is_lost = is_refused && !has_waited.get();
    let still = match &plan {
        Ok(plan) => profile
            .filter(|profile| is_lost || !plan.is_logged_in(profile))
            .map(Some),
        Err(error) => missing(error),
    };
    let Some(profile) = still else {
        return Some(plan);
    };
    match reaches_person(&terminal).then(|| log_in(terminal, profile, &repository))? {
        Ok(Some(0)) => Some(Plan::make(remote, address)),
        // The user has stopped the login.
        Ok(None | Some(1)) => None,
        // The login has shown why it failed.
        Ok(Some(_)) => Some(Err(Failure::new(Kind::NoMessage, "the login failed").into())),
        Err(error) => {
            report::warn(&format!("cannot start 'git bbtoken login': {error:#}"));
            None
        }
    }
}

/// Tells whether only a login is missing, and which profile needs it, if that is known.
fn missing(error: &anyhow::Error) -> Option<Option<&str>> {
    match kind(error)? {
        Kind::NotConfigured => Some(None),
        Kind::LoginNeeded { profile } => Some(Some(profile)),
        Kind::UnknownProfile { name, .. } => name.as_deref().map(Some),
        Kind::AccessRefused { renewal, .. } => renewal.as_ref()?.stored.as_deref().map(Some),
        _ => None,
    }
}

/// Gives the terminal, if the user can see and answer a question there, and the repository that git waits for.
fn question(remote: &str, address: &str) -> Option<(File, String)> {
    if limits::is_ci() || !report::is_shown_on_a_terminal() {
        return None;
    }
    let app = App::read_of_helper().ok()?;
    if app.no_questions.is_some() {
        return None;
    }
    let terminal = File::options().read(true).write(true).open(TERMINAL).ok()?;
    let name = Some(remote).filter(|name| !name.contains(':'));
    let (_, repository) = app.target(name, address).ok()?;
    reaches_person(&terminal).then(|| (terminal, repository.to_string()))
}

/// Tells whether the helper may read from the terminal. The system stops a background command that does.
#[cfg(unix)]
fn reaches_person(terminal: &File) -> bool {
    let foreground = rustix::termios::tcgetpgrp(terminal);
    terminal.is_terminal() && foreground == Ok(rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn reaches_person(terminal: &File) -> bool {
    terminal.is_terminal()
}

/// Gives the exit code of the login; `None` if a signal ended it.
fn log_in(terminal: File, profile: Option<&str>, repository: &str) -> anyhow::Result<Option<i32>> {
    let mut command = Child::Login.command(program::sibling("git-bbtoken")?)?;
    command.args(["login", &format!("--for-git={repository}"), "--"]);
    command.args(profile);
    // Standard output is git's pipe.
    let status = command
        .stdin(terminal)
        .stdout(report::to_person())
        .status()?;
    Ok(status.code())
}
