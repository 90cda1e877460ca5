//! `git bbtoken`: the management command.

use std::process::ExitCode;

fn main() -> ExitCode {
    bbtoken::git_bbtoken()
}
