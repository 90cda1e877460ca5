//! Reads a secret from the profile's source: a variable, a file or the output of a command.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
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
    pasted::{self, Flaw},
    profile::{Setting, Source},
    program,
    secret::{Secret, program_of},
};

/// The time limit for a command. The user may have to unlock a password store meanwhile.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two checks of a command that has closed its output.
const LOOK: Duration = Duration::from_millis(2);
/// The longest secret. The limit ends a command that prints without end.
const MAX_SECRET_BYTES: u64 = 1024 * 1024;

/// Reads a secret and removes its line end.
///
/// # Errors
///
/// [`Kind::Misconfigured`] if there is none.
pub(super) fn read(source: &Source) -> anyhow::Result<Secret> {
    let (text, origin) = match source {
        Source::Given { variable, secret } => (
            Zeroizing::new(secret.expose().as_bytes().to_vec()),
            (*variable).to_owned(),
        ),
        Source::File(path) => {
            let bytes = read_file(path).with_context(|| {
                Failure::new(
                    Kind::Misconfigured,
                    format!("cannot read the secret from file '{}'", path.display()),
                )
            })?;
            (bytes, format!("file '{}'", path.display()))
        }
        Source::Command(command) => (run(command, COMMAND_LIMIT)?, command.origin.clone()),
        Source::Stored => {
            return Err(Failure::new(Kind::Misconfigured, "no secret was stored").into());
        }
    };
    let refuse = |why: String| Failure::new(Kind::Misconfigured, why);
    let secret = pasted::text(&text).map_err(|flaw| match flaw {
        Flaw::Empty => refuse(format!("the secret from {origin} is empty")),
        flaw => refuse(format!("the secret from {origin} {flaw}")),
    })?;
    if secret
        .expose()
        .contains(|character: char| character.is_control())
    {
        return Err(refuse(format!("the secret from {origin} is not one line of text")).into());
    }
    Ok(secret)
}

/// Reads a file, up to the size of a secret. The file may be a pipe, as in `<(pass show …)`.
fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path)?
        .take(MAX_SECRET_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a command, with a shell only if it starts with `!`, as in git's own settings.
fn run(setting: &Setting, limit: Duration) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let refuse = |why: String| {
        Failure::new(
            Kind::Misconfigured,
            format!("the command of {} {why}", setting.origin),
        )
    };
    let prepared = match setting.value.strip_prefix('!') {
        Some(script) => shell(script),
        None => plain(&setting.value).map_err(refuse)?,
    };
    // The user sees its stderr. It must not read git's pipe.
    let mut child = prepared
        .and_then(|mut command| command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn())
        .map_err(limits::of_start)
        .with_context(|| refuse(format!("cannot be started: {}", program_of(&setting.value))))?;
    let output = child
        .stdout
        .take()
        .expect("because its output was asked for as a pipe");
    let (sender, receiver) = mpsc::channel();
    let reading = limits::start("secret", move || {
        let mut text = Zeroizing::new(Vec::new());
        let read = output.take(MAX_SECRET_BYTES).read_to_end(&mut text);
        let _ = sender.send(read.map(|_| text));
    });
    if let Err(error) = reading {
        child.kill()?;
        child.wait()?;
        return Err(error).context(refuse("cannot be read".into()));
    }
    let deadline = Instant::now() + limit;
    let text = receiver.recv_timeout(limit);
    let ended = text.is_ok().then(|| wait(&mut child, deadline)).flatten();
    let (Ok(text), Some(status)) = (text, ended) else {
        child.kill()?;
        child.wait()?;
        let limit_s = limit.as_secs();
        return Err(refuse(format!("did not finish within {limit_s} seconds")).into());
    };
    if !status.success() {
        return Err(refuse(format!("failed ({status}); see its output above")).into());
    }
    text.with_context(|| refuse("sent output that could not be read".into()))
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
fn plain(line: &str) -> Result<io::Result<Command>, String> {
    let words = program::words(line).map_err(|_| "has an unclosed quote")?;
    let (name, arguments) = words.split_first().ok_or("is empty")?;
    let prepared = program::Child::SecretCommand.command(name);
    Ok(prepared.map(|mut command| {
        command.args(arguments);
        command
    }))
}

#[cfg(not(windows))]
fn shell(script: &str) -> io::Result<Command> {
    let mut command = program::Child::SecretCommand.command("sh")?;
    command.arg("-c").arg(script);
    Ok(command)
}

/// The shell of Windows takes the text as it is between two quotes (cmd /?).
#[cfg(windows)]
fn shell(script: &str) -> io::Result<Command> {
    use std::os::windows::process::CommandExt as _;
    let mut command = program::Child::SecretCommand.command("cmd")?;
    command.raw_arg(format!("/D /S /C \"{script}\""));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> anyhow::Result<Secret> {
        read(&Source::Command(Setting {
            value: text.into(),
            origin: "bbtoken.work.clientSecretCommand".into(),
        }))
    }

    #[cfg(unix)]
    #[test]
    fn a_command_runs_without_a_shell_unless_asked() {
        assert_eq!(
            command("printf 'a$HOME'").expect("it prints").expose(),
            "a$HOME"
        );
        assert_eq!(
            command("!printf a; printf b").expect("it prints").expose(),
            "ab"
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_error_names_a_command_without_output() {
        for text in [
            "",
            "'",
            "true",
            "false",
            "/does/not/exist",
            "printf 'a\\nb'",
        ] {
            let message = format!("{:#}", command(text).expect_err("it gives none"));
            assert!(
                message.contains("bbtoken.work.clientSecretCommand"),
                "{text}: {message}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_exceeds_its_time_limit_is_killed() {
        for text in [
            "sleep 900",
            "!exec >&-; exec sleep 900",
            "!echo secret; exec sleep 900",
        ] {
            let setting = Setting {
                value: text.into(),
                origin: "bbtoken.work.clientSecretCommand".into(),
            };
            let begun = Instant::now();
            let error = run(&setting, Duration::from_millis(50)).map(drop);
            let message = error.expect_err("it takes too long").to_string();
            assert!(
                message.contains("bbtoken.work.clientSecretCommand did not finish within"),
                "{message}"
            );
            assert!(
                begun.elapsed() < Duration::from_secs(600),
                "it is not waited for"
            );
        }
    }
}
