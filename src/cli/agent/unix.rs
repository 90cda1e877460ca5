//! The subcommand, and the agent's process.

use std::{ffi::OsString, sync::Arc};

use crate::{
    agent::{self, Ask, Refused, Status},
    app,
    cli::{Console, VERSION, arguments},
    program,
};

pub(crate) fn run(options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    match options {
        arguments::Agent::Status { json } => tell(&Ask::Status, *json, console),
        arguments::Agent::Stop => tell(&Ask::Stop, false, console),
    }
}

fn tell(ask: &Ask, is_json: bool, console: &mut Console<'_>) -> anyhow::Result<()> {
    let answer = ask_agent(ask);
    if is_json {
        let found = serde_json::json!({ "version": VERSION, "agent": answer.ok() });
        return console.print(&format!("{found}\n"));
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

fn ask_agent(ask: &Ask) -> Result<Status, Refused> {
    let place = app::agent_used_place().ok_or(Refused::Absent)?;
    let answer = agent::ask(&place, ask);
    // The next command then starts another agent. This one ends when it finds that its socket is gone.
    let is_there = !matches!(answer, Ok(_) | Err(Refused::Absent));
    if is_there && matches!(ask, Ask::Stop) {
        place.clear();
    }
    answer
}

/// Ends the agent, if there is one.
pub(crate) fn end(console: &Console<'_>) {
    if ask_agent(&Ask::Stop).is_ok() {
        console.tell("Ended the agent, which kept connections open.");
    }
}

/// Becomes the agent if `arguments` say so: `agent run <directory> <lane>`. The parser of the command line, which they
/// pass by, would double the agent's memory.
pub(crate) fn become_agent(arguments: &[OsString]) -> Option<anyhow::Result<()>> {
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
fn leave_all_behind(directory: &str, lane: &str) -> anyhow::Result<()> {
    close_fds::set_fds_cloexec(3, &[]);
    let program = program::sibling("git-bbtoken")?;
    let mut alone = program::Child::Agent.command(program)?;
    alone
        .args(["agent", "run-alone", directory, lane])
        .spawn()?;
    Ok(())
}

fn be_agent(directory: &str, lane: &str) -> anyhow::Result<()> {
    // It fails only for the leader of a process group: the process that started this one.
    let _ = rustix::process::setsid();
    let hung_up = signal_hook::consts::SIGHUP;
    signal_hook::flag::register(hung_up, Arc::default())?;
    let places = [directory.into()];
    let place = agent::find(&places)?;
    Ok(agent::run(&place, serde_json::from_str(lane)?)?)
}
