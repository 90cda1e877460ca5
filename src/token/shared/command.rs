//! A record that a command reads and replaces (`storeCommand`), in any store that compares and sets.
//!
//! | arguments | stdin | exit code and stdout |
//! | --- | --- | --- |
//! | `read` | | 0: the version on the first line, then the record, or nothing if there is none. 2: as 0 without a record; the default version is `0` |
//! | `replace <version>` | the record | 0: the new version. 3: the version is not the newest one, and nothing was changed |
//!
//! - Any other exit code, and more than 10 seconds, means that the outcome is unknown. The helper reads again then.
//! - A version is a word of 1 to 100 letters, digits and `._:/+=-`, and begins with no `-`. Two records never have the same version.
//! - A record is one line of JSON, and at most 1 MiB long with its version.
//! - The command must give the newest record, not a cached one. It must compare and replace in one step of the store.
//! - It runs in the home directory, without a shell unless it begins with `!`. Its stderr goes to the user.
//!
//! Many programs use 2 and 3 for their own errors, such as `psql` and a shell. So map their failures to 1.

use std::{cell::Cell, time::Duration};

use super::interface::{Seen, SharedRecord, Trouble, Version};
use crate::{
    failure::{Failure, Kind},
    profile::Setting,
    secret::Secret,
    token::command::{self, MAX_OUTPUT_BYTES, UserCommand},
};

/// The time limit for a command.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause after a failed command, whose messages the user sees each time.
const PAUSE: Duration = Duration::from_secs(2);
/// The exit code of `read` if there is no record.
const ABSENT: i32 = 2;
/// The exit code of `replace` if the version is not the newest one.
const OVERTAKEN: i32 = 3;
/// The version of a record that does not exist, if the command names none.
const NO_VERSION: &str = "0";
/// The longest version.
const MAX_VERSION_BYTES: usize = 100;

const READ: &str = "cannot read the shared login";
const WRITE: &str = "cannot write the shared login";

/// A record that a command reads and replaces.
pub(crate) struct CommandRecord<'c> {
    setting: &'c Setting,
    limit: Cell<Duration>,
}

impl<'c> CommandRecord<'c> {
    /// Takes the setting with the command.
    pub(crate) fn new(setting: &'c Setting) -> Self {
        CommandRecord {
            setting,
            limit: Cell::new(LIMIT),
        }
    }

    /// Runs the command. Gives its output with exit code 0, or with the `other` one.
    fn run(
        &self,
        what: &str,
        arguments: &[&str],
        input: Option<&Secret>,
        other: i32,
    ) -> Result<(i32, Secret), Trouble> {
        let command = UserCommand {
            setting: self.setting,
            arguments,
            input,
            limit: self.limit.get(),
        };
        let Some(ended) = command::run(&command).map_err(Trouble::Unusable)? else {
            let why = format!(
                "did not finish within {} seconds",
                self.limit.get().as_secs()
            );
            return Err(self.lost(what, &why));
        };
        if ended.output.len() as u64 >= MAX_OUTPUT_BYTES {
            return Err(self.unusable(what, "printed more than 1 MiB"));
        }
        let code = ended.status.code();
        let Some(code) = code.filter(|code| [0, other].contains(code)) else {
            let why = format!("failed ({}); see its output above", ended.status);
            return Err(self.lost(what, &why));
        };
        let output = std::str::from_utf8(&ended.output).map(Secret::new);
        let output = output.map_err(|_| self.unusable(what, "printed text that is not UTF-8"))?;
        Ok((code, output))
    }

    /// Reads a version from the first line of an output.
    fn version(&self, what: &str, line: &str) -> Result<Version, Trouble> {
        let version = line.trim_end();
        let is_of_version = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/+=-".contains(&byte);
        // It becomes an argument, and must not be an option.
        let is_one = (1..=MAX_VERSION_BYTES).contains(&version.len()) && !version.starts_with('-');
        match is_one && version.bytes().all(is_of_version) {
            true => Ok(Version(version.to_owned())),
            false => Err(self.unusable(what, "printed no version on its first line")),
        }
    }

    fn lost(&self, what: &str, why: &str) -> Trouble {
        Trouble::Lost {
            why: self.failure(what, why),
            retry_after: Some(PAUSE),
        }
    }

    fn unusable(&self, what: &str, why: &str) -> Trouble {
        Trouble::Unusable(self.failure(what, why))
    }

    fn failure(&self, what: &str, why: &str) -> anyhow::Error {
        let message = format!("{what}: the command of {} {why}", self.setting.origin);
        Failure::new(Kind::SharedStoreUnusable, message).into()
    }
}

impl SharedRecord for CommandRecord<'_> {
    fn read(&self) -> Result<Seen, Trouble> {
        let (code, output) = self.run(READ, &["read"], None, ABSENT)?;
        let (first, rest) = output
            .expose()
            .split_once('\n')
            .unwrap_or((output.expose(), ""));
        let first = match code {
            ABSENT if first.trim_end().is_empty() => NO_VERSION,
            _ => first,
        };
        let has_record = code != ABSENT && !rest.trim_end().is_empty();
        Ok(Seen {
            version: self.version(READ, first)?,
            record: has_record.then(|| Secret::new(rest)),
            store_time_unix_s: None,
        })
    }

    fn replace(&self, seen: &Version, record: &Secret) -> Result<Version, Trouble> {
        let arguments = ["replace", &seen.0];
        let (code, output) = self.run(WRITE, &arguments, Some(record), OVERTAKEN)?;
        if code == OVERTAKEN {
            return Err(Trouble::Overtaken);
        }
        let new = self.version(WRITE, output.expose().lines().next().unwrap_or(""))?;
        if new == *seen {
            return Err(self.unusable(WRITE, "printed the old version, so it did not write"));
        }
        Ok(new)
    }

    fn limit_time(&self, limit: Duration) {
        self.limit.set(limit.min(LIMIT));
    }

    fn name(&self) -> String {
        self.setting.origin.clone()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A record in a directory: one file with its version, one with its text.
    const IN_FILES: &str = "!f() { cd \"$place\"; case $1 in \
        read) test -f version || exit 2; cat version record;; \
        replace) test \"$2\" = \"$(cat version 2>/dev/null || echo 0)\" || exit 3; \
        cat >record; echo $(($2 + 1)) | tee version;; \
        *) exit 9;; esac; }; f";

    fn setting(value: &str) -> Setting {
        Setting {
            value: value.into(),
            origin: "bbtoken.ci.storeCommand".into(),
        }
    }

    /// Reads and replaces with a command, and names the results.
    fn both(value: &str) -> [String; 2] {
        let setting = setting(value);
        let record = CommandRecord::new(&setting);
        let shown = |trouble: Trouble| match trouble {
            Trouble::Overtaken => "overtaken".to_owned(),
            Trouble::Lost { why, .. } => format!("lost: {why:#}"),
            Trouble::Unusable(why) => format!("unusable: {why:#}"),
        };
        let read = record.read().map_or_else(shown, |seen| {
            let text = seen.record.as_ref().map_or("none", Secret::expose);
            format!("{} {text}", seen.version.0)
        });
        let replaced = record.replace(&Version("0".into()), &Secret::new("{}"));
        [read, replaced.map_or_else(shown, |version| version.0)]
    }

    #[test]
    fn a_record_is_read_and_replaced_by_version() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path().display().to_string();
        let setting = setting(&IN_FILES.replace("$place", &place));
        let record = CommandRecord::new(&setting);
        let seen = record.read().expect("the command works");
        assert!(seen.record.is_none() && seen.version.0 == "0", "{seen:?}");
        let long = Secret::new(format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)));
        let new = record.replace(&seen.version, &long).expect("it is first");
        let again = record.replace(&seen.version, &Secret::new("{}"));
        assert!(matches!(again, Err(Trouble::Overtaken)), "{again:?}");
        let seen = record.read().expect("the command works");
        assert_eq!((seen.version, seen.record), (new, Some(long)));
    }

    #[test]
    fn a_command_that_takes_too_long_may_have_written() {
        let setting = setting("!sleep 60; :");
        let record = CommandRecord::new(&setting);
        record.limit_time(Duration::from_secs(1));
        let written = record.replace(&Version("0".into()), &Secret::new("{}"));
        let Err(Trouble::Lost { why, retry_after }) = written else {
            panic!("{written:?}");
        };
        let why = format!("{why:#}");
        assert!(why.ends_with("did not finish within 1 seconds"), "{why}");
        assert_eq!(retry_after, Some(PAUSE));
    }

    #[test]
    fn each_end_of_a_command_has_its_meaning() {
        let version = "printed no version on its first line";
        let cases = [
            ("!echo 7; echo {}; :", ["7 {}\n", "7"]),
            ("!printf '7\\r\\n'; :", ["7 none", "7"]),
            ("!exit 2; :", ["0 none", "failed (exit status: 2)"]),
            ("!echo 5; exit 2; :", ["5 none", "failed (exit status: 2)"]),
            ("!exit 3; :", ["failed (exit status: 3)", "overtaken"]),
            ("!exit 1; :", ["failed (exit status: 1)", "failed (exit"]),
            ("!kill -9 $$; :", ["failed (signal: 9", "failed (signal: 9"]),
            ("!:", [version, version]),
            ("!echo 'a b'; :", [version, version]),
            ("!echo '$(x)'; :", [version, version]),
            ("!printf '%s\\n' -7; :", [version, version]),
            ("!echo 0; :", ["0 none", "printed the old version"]),
            ("!printf '7\\n\\377'; :", ["is not UTF-8", "is not UTF-8"]),
            ("!yes; :", ["printed more than 1 MiB", "more than 1 MiB"]),
            (
                "/does/not/exist",
                ["unusable: the command of", "cannot be started"],
            ),
        ];
        for (command, expected) in cases {
            for (found, expected) in both(command).iter().zip(expected) {
                assert!(
                    found.contains(expected),
                    "{command}: {found}, not {expected}"
                );
            }
        }
    }
}
