//! Talks to the user or a script: questions, messages and answers.

use std::io::{BufRead, Read as _, Write, stdout};

use anyhow::Context as _;
use serde_json::Value;
use terminal_size::terminal_size_of;
use zeroize::Zeroizing;

#[cfg(unix)]
use super::signals;
use super::{arguments::Color, style::Style};
use crate::{
    failure::{Failure, Kind, is_closed_pipe, one_line, printable_json, usage},
    pasted::{self, Flaw},
    secret::{Secret, mask},
    wrapping::wrapped,
};

/// The version of all JSON. It increases when the meaning of a field changes.
pub(super) const VERSION: u32 = 1;
/// More than any secret or address.
const MAX_INPUT_BYTES: u64 = 1024 * 1024;

/// Input and output. Answers that a script may read go to `output`, prose and questions to `say`.
pub(crate) struct Console<'a> {
    /// Standard input.
    pub(crate) input: &'a mut dyn BufRead,
    /// Standard output.
    pub(crate) output: &'a mut dyn Write,
    /// Says something to a person.
    pub(crate) say: &'a dyn Fn(&str),
    /// Whether a user can answer: stdin and the output for prose are terminals.
    pub(crate) is_interactive: bool,
    /// Whether standard output is a terminal.
    pub(crate) is_output_a_terminal: bool,
    /// How marks are shown there.
    pub(crate) style: Style,
}

impl Console<'_> {
    /// Says a line.
    pub(super) fn tell(&self, line: &str) {
        (self.say)(&format!("{}\n", shown(line)));
    }

    /// Asks for a line of text; an empty answer is the default.
    pub(super) fn ask(&mut self, question: &str, default: &str) -> anyhow::Result<String> {
        let shown = match default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        (self.say)(&one_line(&format!("{question}{shown}: ")));
        let line = self.line()?;
        let answer = line.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
    }

    /// Asks for one of several choices, by its number or its name.
    pub(super) fn choose(
        &mut self,
        question: &str,
        choices: &[(&str, &str)],
    ) -> anyhow::Result<usize> {
        self.tell(question);
        for (number, (_, text)) in choices.iter().enumerate() {
            self.tell(&format!("  {}  {text}", number + 1));
        }
        loop {
            let answer = self.ask("Number", "1")?;
            let chosen = choices.iter().enumerate().position(|(number, (name, _))| {
                answer == (number + 1).to_string() || answer == *name
            });
            match chosen {
                Some(chosen) => return Ok(chosen),
                None => self.tell(&format!(
                    "Answer with a number from 1 to {}.",
                    choices.len()
                )),
            }
        }
    }

    /// Asks a yes/no question. Any answer but yes is a no.
    pub(super) fn confirm(&mut self, question: &str) -> anyhow::Result<bool> {
        let answer = self.ask(&format!("{question} [y/N]"), "")?;
        Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks whether to continue. An empty answer is a yes.
    pub(super) fn agree(&mut self, question: &str) -> anyhow::Result<bool> {
        let answer = self.ask(&format!("{question} [Y/n]"), "")?;
        Ok(matches!(
            answer.to_ascii_lowercase().as_str(),
            "" | "y" | "yes"
        ))
    }

    /// Asks the user for a secret without showing it. If stdin is not a terminal, reads one line, because further lines
    /// answer further questions.
    pub(super) fn secret(&mut self, what: &str) -> anyhow::Result<Secret> {
        while self.is_interactive {
            let typed = self.hidden(what)?;
            match word(typed.expose().as_bytes(), what) {
                Ok(secret) => return Ok(secret),
                Err(flaw) => self.tell(&format!("{flaw:#}.")),
            }
        }
        if stdin_is_silent() {
            self.tell(&format!("Reading the {what} from standard input …"));
        }
        let mut line = Zeroizing::new(Vec::new());
        (&mut *self.input)
            .take(MAX_INPUT_BYTES)
            .read_until(b'\n', &mut line)
            .with_context(|| format!("cannot read the {what} from stdin"))?;
        word(&line, what)
    }

    /// Reads a line from a terminal without showing it. Turns the echo off before it shows the question.
    #[cfg(unix)]
    fn hidden(&mut self, what: &str) -> anyhow::Result<Secret> {
        let silence = Silence::fall().with_context(|| format!("cannot hide the {what}"))?;
        (self.say)(&format!("{what} (not shown): "));
        let typed = read_hidden(self.input);
        drop(silence);
        (self.say)("\n");
        typed
    }

    /// Reads a line from a console without showing it.
    #[cfg(windows)]
    fn hidden(&mut self, what: &str) -> anyhow::Result<Secret> {
        (self.say)(&format!("{what} (not shown): "));
        match rpassword::read_password() {
            Ok(typed) => Ok(Secret::new(typed)),
            Err(error) if LEFT.contains(&error.kind()) => Err(unanswered()),
            Err(error) => Err(error).with_context(|| format!("cannot read the {what}")),
        }
    }

    /// Reads a line. The end of the input is an error, because it is no answer.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let mut input = (&mut *self.input).take(MAX_INPUT_BYTES);
        match input.read_line(&mut line)? {
            0 => {
                // The cursor is still in the line of the question.
                if self.is_interactive {
                    (self.say)("\n");
                }
                Err(unanswered())
            }
            _ => Ok(line),
        }
    }

    /// Writes a line that a script may read. Escapes line ends and control characters of outside text.
    pub(super) fn answer(&mut self, line: &str) -> anyhow::Result<()> {
        self.answer_text(&format!("{}\n", shown(line)))
    }

    /// Writes the lines of a text, wrapped for a terminal.
    pub(super) fn answer_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.print(&wrapped(text, terminal_size_of(stdout())))
    }

    /// Follows the option `--color`.
    pub(super) fn color(&mut self, color: &Color) {
        let is_terminal = self.is_output_a_terminal;
        self.style = Style::of(color.choice, is_terminal, &|name| std::env::var_os(name));
    }

    /// Writes such a line with a colored mark.
    pub(super) fn answer_marked(&mut self, line: &str) -> anyhow::Result<()> {
        let line = wrapped(&shown(line), terminal_size_of(stdout()));
        let (mark, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
        let mark = self.style.colored(mark);
        self.print(&format!("{mark}{rest}\n"))
    }

    /// Writes JSON with masked secrets.
    pub(super) fn answer_json(&mut self, value: Value) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&masked(value))?;
        self.print(&format!("{}\n", printable_json(&text)))
    }

    /// Writes a text unchanged: this program's own, or one for another program.
    pub(super) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.output.write_all(text.as_bytes());
        match written.and_then(|()| self.output.flush()) {
            // A broken pipe ends the command without a message.
            Err(error) if !is_closed_pipe(&error) => {
                Err(error).context("cannot write to standard output")
            }
            written => Ok(written?),
        }
    }
}

/// Shows a line, with control characters escaped and secrets masked.
fn shown(line: &str) -> String {
    one_line(&mask(line))
}

/// Masks secrets in every text of a JSON value.
fn masked(json: Value) -> Value {
    match json {
        Value::String(text) => Value::String(mask(&text)),
        Value::Array(all) => all.into_iter().map(masked).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, masked(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn word(text: &[u8], what: &str) -> anyhow::Result<Secret> {
    pasted::word(text).map_err(|flaw| match flaw {
        Flaw::Empty => usage(&format!("the {what} is empty; give it on stdin")),
        flaw => usage(&format!("the {what} {flaw}")),
    })
}

/// Tells whether stdin gives nothing for a moment. The user may then not know that the command waits for input.
#[cfg(unix)]
fn stdin_is_silent() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = std::io::stdin();
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    let moment = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    poll(&mut waiting, Some(&moment)) == Ok(0)
}

#[cfg(not(unix))]
fn stdin_is_silent() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdin())
}

fn unanswered() -> anyhow::Error {
    Failure::new(Kind::Unanswered, "no answer was given; nothing was changed").into()
}

/// The console's errors for Ctrl-C and Ctrl-D.
#[cfg(windows)]
const LEFT: [std::io::ErrorKind; 2] = [
    std::io::ErrorKind::Interrupted,
    std::io::ErrorKind::UnexpectedEof,
];

/// Reads a line from a terminal without echo, key by key. The terminal's own lines end at 4,096 characters, and tokens
/// may be longer.
///
/// The crate rpassword is not used, because it treats the end of the input as the end of a line, ignores Ctrl-Z, and
/// does not restore the echo after SIGTERM and SIGHUP.
#[cfg(unix)]
fn read_hidden(input: &mut dyn BufRead) -> anyhow::Result<Secret> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 21;
    const CTRL_Z: u8 = 26;
    const CTRL_BACKSLASH: u8 = 28;
    const BACKSPACE: [u8; 2] = [8, 127];
    let mut typed = Zeroizing::new(Vec::new());
    loop {
        let mut key = [0];
        let length = input.read(&mut key)?;
        match key[0] {
            _ if length == 0 => return Err(unanswered()),
            CTRL_C | CTRL_D | CTRL_Z | CTRL_BACKSLASH => return Err(unanswered()),
            b'\r' | b'\n' => break,
            CTRL_U => typed.clear(),
            key if BACKSPACE.contains(&key) => {
                // Remove a whole UTF-8 character, up to its first byte.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key if typed.len() as u64 <= MAX_INPUT_BYTES => typed.push(key),
            _ => {}
        }
    }
    Ok(Secret::new(String::from_utf8_lossy(&typed).into_owned()))
}

/// A terminal without echo that gives every key at once. Dropping it restores the terminal.
#[cfg(unix)]
#[derive(Clone)]
struct Silence {
    before: rustix::termios::Termios,
    silent: rustix::termios::Termios,
}

#[cfg(unix)]
impl Silence {
    fn fall() -> std::io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        let silence = Silence { before, silent };
        let at_end = silence.clone();
        signals::before_end(move || at_end.end())?;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silence.silent)?;
        Ok(silence)
    }

    /// Does nothing if another program, such as the user's shell, has changed the terminal since.
    fn end(&self) {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let now = tcgetattr(std::io::stdin());
        if now.is_ok_and(|now| now.local_modes == self.silent.local_modes) {
            // If the terminal is closed, the error does not matter.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        }
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_what_is_hidden() {
        let read = |keys: &str| read_hidden(&mut keys.as_bytes());
        assert_eq!(read("abx\u{7f}c\r").expect("it is a line").expose(), "abc");
        assert_eq!(
            read("wrong\u{15}right\n").expect("it is a line").expose(),
            "right"
        );
        assert_eq!(
            read(&format!("{}\n", "t".repeat(5000)))
                .expect("it is a line")
                .expose()
                .len(),
            5000
        );
        assert_eq!(
            read("x\u{e9}\u{7f}y\n").expect("it is a line").expose(),
            "xy",
            "a character goes as a whole"
        );
        for keys in ["abc\u{3}", "\u{4}", "\u{1a}", "\u{1c}", "abc"] {
            assert!(read(keys).is_err(), "{keys:?} is no answer");
        }
    }
}
