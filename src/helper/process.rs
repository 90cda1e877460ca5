//! The process that git starts.

use std::{ffi::OsString, fs::File, process::ExitCode};

use super::{Plan, login, replace_process, serve::serve};
use crate::{
    dumps,
    failure::{Failure, Kind},
    report, trace,
    transport::{Broken, Git, Stage},
};

/// Runs the remote helper: git starts it as `git-remote-bbtoken <remote> <address>` (gitremote-helpers(7)).
pub(crate) fn main() -> ExitCode {
    dumps::forbid();
    trace::start(
        "git-remote-bbtoken",
        &|name| std::env::var_os(name),
        &report::warn,
    );
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let code = match words.as_deref() {
        Some(["--version" | "-V"]) => report::answer(&format!(
            "git-remote-bbtoken {}\n",
            env!("CARGO_PKG_VERSION")
        )),
        // If the remote is an address, older versions of git give only one argument.
        Some([address]) => run(address, address),
        Some([remote, address]) => run(remote, address),
        _ => failed(
            &Failure::new(
                Kind::Usage,
                "git starts this program; to use it, run 'git clone bbtoken::workspace/repository'",
            )
            .into(),
        ),
    };
    trace::end(code);
    // Exit at once, because threads that still read or wait would delay git.
    std::process::exit(i32::from(code));
}

fn run(remote: &str, address: &str) -> u8 {
    let mut plan = Plan::make(remote, address);
    if let Ok(ready) = &plan
        && ready.is_handed_over()
    {
        match ready.hand_over() {
            Ok(helper) => {
                return replace_process(helper).unwrap_or_else(|error| failed(&error));
            }
            // Git gets this error when it asks for a connection, like every other error.
            Err(error) => plan = Err(error),
        }
    }
    let mut git = match pipe() {
        Ok((input, output)) => Git::new(input, output),
        Err(error) => return failed(&error.into()),
    };
    let again = |error: &anyhow::Error| login::offer(error, remote, address);
    match serve(plan, &again, &mut git) {
        Ok(code) => code,
        Err(broken) => tell(&broken, &mut git),
    }
}

/// Takes standard input and output as files, without the standard library's buffers.
#[cfg(unix)]
fn pipe() -> std::io::Result<(File, File)> {
    use std::os::fd::AsFd as _;
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let output = std::io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

#[cfg(windows)]
fn pipe() -> std::io::Result<(File, File)> {
    use std::os::windows::io::AsHandle as _;
    let input = std::io::stdin().as_handle().try_clone_to_owned()?;
    let output = std::io::stdout().as_handle().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

/// Reports the failure to git or to the user, depending on what git has seen.
fn tell(broken: &Broken, git: &mut Git) -> u8 {
    match broken.stage {
        Stage::Connecting => return failed(&broken.error),
        Stage::BeforeAnswer => {
            let told = git.write_error(&report::text_for_git(&broken.error));
            if told.is_err() {
                report::show(&broken.error);
            }
        }
        Stage::InAnswer => report::show(&broken.error),
        Stage::BeforeReport { by_side_band } => {
            report::show(&broken.error);
            // If the pipe breaks, git has ended already.
            let _ = git.write_empty_report(by_side_band);
        }
        Stage::Told => {}
    }
    1
}

fn failed(error: &anyhow::Error) -> u8 {
    report::show(error);
    report::HELPER_FAILED
}
