//! Reads a secret from the profile's source: a variable, a file or the output of a command.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::command::{self, MAX_OUTPUT_BYTES, UserCommand};
use crate::{
    failure::{Failure, Kind},
    pasted::{self, Flaw},
    profile::{Setting, Source},
    secret::Secret,
};

/// The time limit for a command. The user may have to unlock a password store meanwhile.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

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
        .take(MAX_OUTPUT_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a command that prints a secret.
fn run(setting: &Setting, limit: Duration) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let command = UserCommand {
        setting,
        arguments: &[],
        input: None,
        limit,
    };
    let refuse = |why: String| command::refuse(setting, &why);
    let Some(ended) = command::run(&command)? else {
        let limit_s = limit.as_secs();
        return Err(refuse(format!("did not finish within {limit_s} seconds")).into());
    };
    match ended.status.success() {
        true => Ok(ended.output),
        false => Err(refuse(format!("failed ({}); see its output above", ended.status)).into()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn command(text: &str) -> anyhow::Result<Secret> {
        read(&Source::Command(Setting {
            value: text.into(),
            origin: "bbtoken.work.clientSecretCommand".into(),
        }))
    }

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
