//! The remote helper.

use std::process::ExitCode;

fn main() -> ExitCode {
    bbtoken::git_remote_bbtoken(
        option_env!("BBTOKEN_BUILTIN_CLIENT_ID"),
        option_env!("BBTOKEN_BUILTIN_CLIENT_SECRET"),
    )
}
