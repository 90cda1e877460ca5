//! Servers without protocol v2: after `fallback`, git's own helper serves `list` and `fetch`.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    process::{Child, Command as Process, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::Git;
use crate::failure::{Failure, Kind};

/// How long git's own helper may take to end after git has gone, and how often that is looked at.
const END_LIMIT: Duration = Duration::from_millis(500);
const END_INTERVAL: Duration = Duration::from_millis(5);

type Output = Arc<Mutex<Box<dyn Write + Send>>>;

/// Answers `fallback` and forwards git's commands to `helper` (`git remote-https`) until git says good-bye.
///
/// Git sends `connect` a second time before it fetches (git: `fetch_refs` in transport-helper.c); that is answered
/// here, since the helper does not know the command. Gives the helper's exit code.
///
/// # Errors
///
/// When the helper cannot be started or a pipe breaks.
pub fn forward(git: &mut Git, mut helper: Process) -> anyhow::Result<i32> {
    let mut child = helper
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
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
        // Git was answered already: this answer is for us.
        writeln!(commands, "{option}")
            .and_then(|()| answers.read_line(&mut String::new()))
            .map_err(helper_ended)?;
    }
    let output: Output = Arc::new(Mutex::new(git.take_output()));
    write(&output, b"fallback\n")?;
    let pump = thread::spawn({
        let output = Arc::clone(&output);
        move || pump(answers, &output)
    });
    while let Some(line) = git.read_line()? {
        if line.starts_with("connect ") {
            write(&output, b"fallback\n")?;
        } else if writeln!(commands, "{line}").is_err() {
            // It has ended and said why on stderr.
            break;
        }
    }
    drop(commands);
    let code = end(&mut child)?;
    // It stops with the helper's end of the pipe.
    let _ = pump.join();
    Ok(code)
}

fn pump(mut answers: impl Read, output: &Output) {
    let mut buffer = [0; 4096];
    loop {
        match answers.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if write(output, &buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

fn write(output: &Output, bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.context(Failure::new(Kind::Hangup, "git closed the pipe"))
}

fn helper_ended(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("git's own https helper ended too early")
}

/// Waits for the helper; one that goes on although git has gone is ended.
fn end(child: &mut Child) -> anyhow::Result<i32> {
    let deadline = Instant::now() + END_LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            break;
        }
        thread::sleep(END_INTERVAL);
    }
    Ok(child.wait()?.code().unwrap_or(1))
}
