//! For servers without protocol v2: after `fallback`, git's own helper serves `list` and `fetch`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use anyhow::Context as _;

use super::git::{FALLBACK, Git};
use crate::{
    failure::{Failure, Kind},
    limits,
};

/// The time that git's own helper has to end after git has ended.
const END_LIMIT: Duration = Duration::from_millis(500);

/// The command that git's own helper does not support.
const CONNECT: &[u8] = b"connect ";

type Output = Arc<Mutex<Box<dyn Write + Send>>>;

/// The side that ended first.
enum Ended {
    Git,
    Helper,
}

/// Answers `fallback` and forwards git's commands to the helper that `prepare` starts (`git remote-https`), until git
/// or the helper ends. Gives the helper's exit code.
///
/// `prepare` runs only when git sends a further command, because some git commands end without a connection. Git sends
/// `connect` again before it fetches (git: `fetch_refs` in transport-helper.c). This function answers it, because the
/// helper does not support the command.
///
/// # Errors
///
/// If the helper is missing or does not start, or if a pipe breaks.
pub(crate) fn forward(
    git: &mut Git,
    prepare: impl FnOnce() -> anyhow::Result<Process>,
) -> anyhow::Result<i32> {
    let Some(first) = first_command(git)? else {
        return Ok(0);
    };
    let mut child = prepare()?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(limits::of_start)
        .context("cannot start git's own https helper")?;
    let mut answers = BufReader::new(
        child
            .stdout
            .take()
            .expect("because its output was asked for as a pipe"),
    );
    let mut commands = child
        .stdin
        .take()
        .expect("because its input was asked for as a pipe");
    for option in git.options() {
        // Git has an answer already, so drop this one.
        writeln!(commands, "{option}")
            .and_then(|()| answers.read_line(&mut String::new()))
            .map_err(helper_ended)?;
    }
    commands.write_all(&first).map_err(helper_ended)?;
    let output: Output = Arc::new(Mutex::new(git.take_output()));
    // Wait for neither thread: after one has ended, the other may still block in a read.
    let (ended, end) = mpsc::channel();
    let answering = limits::start("answers", {
        let (output, ended) = (Arc::clone(&output), ended.clone());
        move || answer(answers, &output, &ended)
    });
    let input = git.take_input();
    let joined = answering.and_then(|_| {
        limits::start("commands", move || {
            command(input, commands, &output, &ended)
        })
    });
    if joined.is_err() {
        stop(&mut child)?;
        child.wait()?;
    }
    joined.context("cannot forward git's commands to its own https helper")?;
    wait(&mut child, &end)
}

/// Answers `connect`, and gives the next command as its raw line; `None` if git ends the session.
fn first_command(git: &mut Git) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        git.write(FALLBACK)?;
        let mut line = Vec::new();
        git.input()
            .read_until(b'\n', &mut line)
            .context("cannot read git's command")?;
        match line.as_slice() {
            b"" | b"\n" => return Ok(None),
            line if line.starts_with(CONNECT) => {}
            _ => return Ok(Some(line)),
        }
    }
}

/// Copies the helper's output to git as it arrives.
fn answer(mut answers: impl Read, output: &Output, ended: &Sender<Ended>) {
    let mut buffer = [0; 4096];
    loop {
        match answers.read(&mut buffer) {
            Ok(length) if length > 0 && write(output, &buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // The receiver is gone if git ended first.
    let _ = ended.send(Ended::Helper);
}

/// Copies git's commands to the helper, and closes the helper's input when git closes its end.
fn command(
    mut input: impl BufRead,
    mut commands: ChildStdin,
    output: &Output,
    ended: &Sender<Ended>,
) {
    let mut line = Vec::new();
    while input
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        let forwarded = if line.starts_with(CONNECT) {
            write(output, FALLBACK).is_ok()
        } else {
            // A helper that has ended has written the reason to stderr.
            commands.write_all(&line).is_ok()
        };
        if !forwarded {
            break;
        }
        line.clear();
    }
    drop(commands);
    let _ = ended.send(Ended::Git);
}

fn write(output: &Output, bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.context(Failure::new(Kind::NoMessage, "git closed the pipe"))
}

fn helper_ended(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("git's own https helper exited too early")
}

/// Waits for the helper, and stops it if it keeps running after git has ended.
fn wait(child: &mut Child, end: &Receiver<Ended>) -> anyhow::Result<i32> {
    if let Ok(Ended::Git) = end.recv()
        && end.recv_timeout(END_LIMIT).is_err()
    {
        stop(child)?;
    }
    Ok(child.wait()?.code().unwrap_or(1))
}

/// Asks the helper to end. Git forwards the signal to its own child process.
#[cfg(unix)]
pub(crate) fn stop(child: &mut Child) -> anyhow::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    Ok(kill_process(Pid::from_child(child), Signal::TERM)?)
}

/// Kills the helper.
#[cfg(not(unix))]
pub(crate) fn stop(child: &mut Child) -> anyhow::Result<()> {
    Ok(child.kill()?)
}
