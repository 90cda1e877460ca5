//! Runs a command of the user's settings, with a shell only if it starts with `!`, as in git's own settings.

use std::{
    io::{self, Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Kind},
    limits,
    profile::Setting,
    program,
    secret::{Secret, program_of},
};

/// The longest output that is read. The limit ends a command that prints without end.
pub(super) const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;
/// The pause between two checks of a command that has closed its output.
const LOOK: Duration = Duration::from_millis(2);

/// A command of the user's settings to run.
pub(super) struct UserCommand<'c> {
    /// The setting with the command.
    pub(super) setting: &'c Setting,
    /// Further arguments. They are plain words.
    pub(super) arguments: &'c [&'c str],
    /// The text for its stdin. Without one, its stdin is empty.
    pub(super) input: Option<&'c Secret>,
    /// The time limit.
    pub(super) limit: Duration,
}

/// A command that has ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Zeroizing<Vec<u8>>,
}

/// Makes the error for a command. `why` follows its name.
pub(super) fn refuse(setting: &Setting, why: &str) -> Failure {
    let message = format!("the command of {} {why}", setting.origin);
    Failure::new(Kind::Misconfigured, message)
}

/// Runs a command; `None` if it does not end in time. It is killed then.
///
/// # Errors
///
/// [`Kind::Misconfigured`] if it cannot be started or its output cannot be read.
pub(super) fn run(command: &UserCommand<'_>) -> anyhow::Result<Option<Ended>> {
    let setting = command.setting;
    let prepared = match setting.value.strip_prefix('!') {
        Some(script) => shell(script, command.arguments),
        None => plain(&setting.value, command.arguments).map_err(|why| refuse(setting, why))?,
    };
    // The user sees its stderr. It must not read git's pipe.
    let input = match command.input {
        Some(_) => Stdio::piped(),
        None => Stdio::null(),
    };
    let started = prepared
        .and_then(|mut command| command.stdin(input).stdout(Stdio::piped()).spawn())
        .map_err(limits::of_start);
    let mut child = started.with_context(|| {
        let why = format!("cannot be started: {}", program_of(&setting.value));
        refuse(setting, &why)
    })?;
    let ended = finish(&mut child, command);
    if !matches!(ended, Ok(Some(_))) {
        child.kill()?;
        child.wait()?;
    }
    ended
}

/// Exchanges the texts with a command and waits for its end.
fn finish(child: &mut Child, command: &UserCommand<'_>) -> anyhow::Result<Option<Ended>> {
    let output = child
        .stdout
        .take()
        .expect("because its output was asked for as a pipe");
    let (sender, receiver) = mpsc::channel();
    let unreadable = || refuse(command.setting, "cannot be read");
    limits::start("output", move || {
        let mut text = Zeroizing::new(Vec::new());
        let read = output.take(MAX_OUTPUT_BYTES).read_to_end(&mut text);
        let _ = sender.send(read.map(|_| text));
    })
    .with_context(unreadable)?;
    if let (Some(input), Some(mut stdin)) = (command.input.cloned(), child.stdin.take()) {
        // It may end without reading its input.
        limits::start("input", move || stdin.write_all(input.expose().as_bytes()))
            .with_context(unreadable)?;
    }
    let deadline = Instant::now() + command.limit;
    let Ok(text) = receiver.recv_timeout(command.limit) else {
        return Ok(None);
    };
    let Some(status) = wait(child, deadline) else {
        return Ok(None);
    };
    let output =
        text.with_context(|| refuse(command.setting, "sent output that could not be read"))?;
    Ok(Some(Ended { status, output }))
}

/// Waits for a command that has closed its output. It should end soon after that.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        thread::sleep(left.min(LOOK));
    }
}

/// Prepares a command line without a shell. The error describes the invalid words.
fn plain(line: &str, more: &[&str]) -> Result<io::Result<Command>, &'static str> {
    let words = program::words(line).map_err(|_| "has an unclosed quote")?;
    let (name, arguments) = words.split_first().ok_or("is empty")?;
    let prepared = program::Child::SecretCommand.command(name);
    Ok(prepared.map(|mut command| {
        command.args(arguments).args(more);
        command
    }))
}

/// Prepares a script. It gets further arguments as git's aliases do (git-config(1), "alias.*").
#[cfg(not(windows))]
fn shell(script: &str, more: &[&str]) -> io::Result<Command> {
    let mut command = program::Child::SecretCommand.command("sh")?;
    match more {
        [] => command.arg("-c").arg(script),
        more => command
            .arg("-c")
            .arg(format!("{script} \"$@\""))
            .arg("sh")
            .args(more),
    };
    Ok(command)
}

/// The shell of Windows takes the text as it is between two quotes (cmd /?).
#[cfg(windows)]
fn shell(script: &str, more: &[&str]) -> io::Result<Command> {
    use std::os::windows::process::CommandExt as _;
    let mut command = program::Child::SecretCommand.command("cmd")?;
    let line = [&[script], more].concat().join(" ");
    command.raw_arg(format!("/D /S /C \"{line}\""));
    Ok(command)
}
