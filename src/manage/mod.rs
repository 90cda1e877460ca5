//! `git bbtoken …`: for people, and for git's credential protocol.

mod credential;
mod login;

use std::io::{Read, Write};

use crate::failure::{Failure, Kind, quote};

const HELP: &str = "\
Manage the tokens of git-remote-bbtoken

usage: git bbtoken login [--no-browser] [<profile>]
       git bbtoken logout [<profile>]
       git bbtoken credential [--profile <name>] (get | store | erase)
       git bbtoken --version
       git bbtoken --help

Repositories are used with git itself: git clone bbtoken::workspace/repository

commands:
  login       authorize a profile whose grant is authorization-code: prints the
              page to open and waits for the browser to come back; with
              --no-browser the address it ends at is pasted here instead
  logout      forget the login on this machine; Bitbucket's own record of it is
              under Personal settings, App authorizations
  credential  answer git's credential protocol for the configured Bitbucket
              (git's own https transport asks it; see gitcredentials(7))

exit codes: 0 done, 1 failed, 2 usage, 3 not configured, 4 login needed,
5 refused by Bitbucket, 6 network, 7 store locked or unreadable
";

/// Runs one subcommand; `arguments` are those behind the program's name.
///
/// # Errors
///
/// Whatever stands in the way; `report` has the exit code for it.
pub fn run(
    arguments: &[String],
    input: &mut dyn Read,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--help" | "-h" | "help"] => Ok(output.write_all(HELP.as_bytes())?),
        ["--version" | "-V" | "version"] => Ok(writeln!(
            output,
            "git-bbtoken {}",
            env!("CARGO_PKG_VERSION")
        )?),
        ["credential", "--profile", name, action] => {
            credential::run(Some(name), action, input, output, warn)
        }
        ["login", "--no-browser"] => login::by_pasting(None, input, output, warn),
        ["login", "--no-browser", name] | ["login", name, "--no-browser"] => {
            login::by_pasting(Some(name), input, output, warn)
        }
        ["login"] => login::by_listening(None, output, warn),
        ["login", name] if !name.starts_with('-') => login::by_listening(Some(name), output, warn),
        ["logout"] => login::out(None, output, warn),
        ["logout", name] if !name.starts_with('-') => login::out(Some(name), output, warn),
        ["credential", action] => credential::run(None, action, input, output, warn),
        [] => Err(usage("no command was given")),
        [first, ..] => Err(usage(&format!("'{}' is not used like this", quote(first)))),
    }
}

fn usage(why: &str) -> anyhow::Error {
    Failure::new(Kind::Usage, format!("{why}; see 'git bbtoken --help'")).into()
}
