//! The remote helper.

use std::process::ExitCode;

fn main() -> ExitCode {
    bbtoken::git_remote_bbtoken()
}
