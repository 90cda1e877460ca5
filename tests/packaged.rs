//! Both programs, as a packager builds them: with an OAuth client compiled in. The tests run copies of this under the
//! names of the two.

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let id = Some("packaged-key");
    let secret = Some("packaged-secret");
    let name = env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_stem().and_then(|name| name.to_str()) {
        Some("git-remote-bbtoken") => bbtoken::git_remote_bbtoken(id, secret),
        _ => bbtoken::git_bbtoken(id, secret),
    }
}
