//! `git bbtoken agent`: shows and ends the keep-alive agent, and runs it.

use std::ffi::OsString;

use super::{Console, arguments};

#[cfg(unix)]
pub(super) fn run(options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    use crate::agent::Ask;
    match options {
        arguments::Agent::Status { json } => tell(&Ask::Status, *json, console),
        arguments::Agent::Stop => tell(&Ask::Stop, false, console),
    }
}

#[cfg(unix)]
fn tell(ask: &crate::agent::Ask, is_json: bool, console: &mut Console<'_>) -> anyhow::Result<()> {
    use crate::agent::{Ask, Refused};
    let answer = ask_agent(ask);
    if is_json {
        let found = serde_json::json!({ "version": super::VERSION, "agent": answer.ok() });
        return console.answer(&found.to_string());
    }
    let line = match (answer, ask) {
        (Err(Refused::Absent), _) => "no agent is running".to_owned(),
        (Err(_), Ask::Stop) => {
            "the agent does not answer; commands no longer use it, and it ends when it can"
                .to_owned()
        }
        (Err(_), _) => {
            "the agent does not answer; to start another one: git bbtoken agent stop".to_owned()
        }
        (Ok(status), Ask::Stop) => format!("the agent has ended (process {})", status.pid),
        (Ok(status), _) => format!(
            "process {}, running for {} s: {} open connections, {} in use; {} connections made, {} used again",
            status.pid, status.running_s, status.kept, status.lent, status.dialed, status.reused
        ),
    };
    console.answer(&line)
}

#[cfg(unix)]
fn ask_agent(ask: &crate::agent::Ask) -> Result<crate::agent::Status, crate::agent::Refused> {
    use crate::agent::{self, Ask, Refused};
    let place = crate::app::agent_used_place().ok_or(Refused::Absent)?;
    let answer = agent::ask(&place, ask);
    // The next command then starts another agent. This one ends when it finds that its socket is gone.
    let is_there = !matches!(answer, Ok(_) | Err(Refused::Absent));
    if is_there && matches!(ask, Ask::Stop) {
        place.clear();
    }
    answer
}

/// Ends the agent, if there is one.
#[cfg(unix)]
pub(super) fn end(console: &Console<'_>) {
    if ask_agent(&crate::agent::Ask::Stop).is_ok() {
        console.tell("Ended the agent, which kept connections open.");
    }
}

#[cfg(not(unix))]
pub(super) fn end(_console: &Console<'_>) {}

/// Becomes the agent if `arguments` say so: `agent run <directory> <lane>`. The parser of the command line, which they
/// pass by, would double the agent's memory.
#[cfg(unix)]
pub(super) fn become_agent(arguments: &[OsString]) -> Option<anyhow::Result<()>> {
    let words: Vec<_> = arguments.iter().map(|it| it.to_str()).collect();
    let [_, Some("agent"), Some(step), Some(directory), Some(lane)] = words[..] else {
        return None;
    };
    match step {
        "run" => Some(leave_all_behind(directory, lane)),
        "run-alone" => Some(be_agent(directory, lane)),
        _ => None,
    }
}

/// Leaves the open files of the starting process behind. A command that waits for their end, such as a pipe's reader or
/// flock(1), must not wait for the agent.
#[cfg(unix)]
fn leave_all_behind(directory: &str, lane: &str) -> anyhow::Result<()> {
    close_fds::set_fds_cloexec(3, &[]);
    let program = crate::program::sibling("git-bbtoken")?;
    let mut alone = crate::program::Child::Agent.command(program)?;
    alone
        .args(["agent", "run-alone", directory, lane])
        .spawn()?;
    Ok(())
}

#[cfg(unix)]
fn be_agent(directory: &str, lane: &str) -> anyhow::Result<()> {
    // It fails only for the leader of a process group: the process that started this one.
    let _ = rustix::process::setsid();
    let hung_up = signal_hook::consts::SIGHUP;
    signal_hook::flag::register(hung_up, std::sync::Arc::default())?;
    let places = [directory.into()];
    let place = crate::agent::find(&places)?;
    Ok(crate::agent::run(&place, serde_json::from_str(lane)?)?)
}

#[cfg(not(unix))]
pub(super) fn become_agent(_arguments: &[OsString]) -> Option<anyhow::Result<()>> {
    None
}

#[cfg(not(unix))]
pub(super) fn run(_options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    console.answer("there is no agent on this system; the setting bbtoken.agent has no effect")
}
