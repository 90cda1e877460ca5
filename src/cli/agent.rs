//! `git bbtoken agent`: shows and ends the keep-alive agent, and runs it.

use super::{Console, arguments};

#[cfg(unix)]
pub(super) fn run(options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    use crate::agent::Ask;
    match options {
        arguments::Agent::Status { json } => tell(&Ask::Status, *json, console),
        arguments::Agent::Stop => tell(&Ask::Stop, false, console),
        arguments::Agent::Run {
            directory,
            lane,
            is_clean,
        } => begin(directory, lane.as_deref(), *is_clean),
    }
}

#[cfg(unix)]
fn tell(ask: &crate::agent::Ask, is_json: bool, console: &mut Console<'_>) -> anyhow::Result<()> {
    use crate::agent::{self, Ask};
    let status = crate::app::agent_place()
        .ok()
        .and_then(|place| agent::ask(&place, ask).ok());
    if is_json {
        let found = serde_json::json!({ "version": super::VERSION, "agent": status });
        return console.answer(&found.to_string());
    }
    let line = match (status, ask) {
        (None, _) => "no agent is running".to_owned(),
        (Some(status), Ask::Stop) => format!("the agent has ended (process {})", status.pid),
        (Some(status), _) => format!(
            "process {}, running for {} s: {} open connections, {} in use; {} connections made, {} used again",
            status.pid, status.running_s, status.kept, status.lent, status.dialed, status.reused
        ),
    };
    console.answer(&line)
}

/// Leaves everything of the starting process behind: its session and its open files. A command that waits for their
/// end, such as a pipe's reader or flock(1), must not wait for the agent.
#[cfg(unix)]
fn begin(directory: &std::path::Path, lane: Option<&str>, is_clean: bool) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    if !is_clean {
        // It fails for the leader of a session, which needs no other one.
        let _ = rustix::process::setsid();
        close_fds::set_fds_cloexec(3, &[]);
        let program = crate::program::sibling("git-bbtoken")?;
        let mut again = crate::program::Child::Agent.command(program)?;
        again.args(["agent", "run", "--clean"]).arg(directory);
        lane.map(|lane| again.args(["--lane", lane]));
        return Err(again.exec().into());
    }
    let _is_hung_up =
        signal_hook::flag::register(signal_hook::consts::SIGHUP, std::sync::Arc::default())?;
    let places = [directory.to_owned()];
    let place = crate::agent::find(&places).map_err(anyhow::Error::msg)?;
    let lane = lane.map(serde_json::from_str).transpose()?;
    Ok(crate::agent::run(&place, lane)?)
}

#[cfg(not(unix))]
pub(super) fn run(_options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    console.answer("there is no agent on this system; the setting bbtoken.agent has no effect")
}
