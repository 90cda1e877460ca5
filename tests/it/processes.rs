//! The processes of one world: lists them, and waits for their end without polling.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{
        Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, kill_process_group, pidfd_getfd,
        pidfd_open,
    },
};

use crate::support::{World, helper};

/// How long a process may take to end; only one that hangs takes as long.
const END_LIMIT: Duration = Duration::from_secs(200);

/// A process that was started with a world's HOME.
pub(crate) struct Process {
    pid: Pid,
    /// Its program.
    pub(crate) program: PathBuf,
    /// Its arguments and its environment, each ended by a NUL.
    pub(crate) shown: String,
    ended: OwnedFd,
}

impl Process {
    /// Looks at a process in `/proc`, which `is_wanted` chooses by its arguments and its environment.
    fn look(directory: &fs::DirEntry, is_wanted: impl Fn(&str, &str) -> bool) -> Option<Process> {
        let number = directory.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| {
            let bytes = fs::read(directory.path().join(name)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (arguments, environment) = (read("cmdline")?, read("environ")?);
        if !is_wanted(&arguments, &environment) {
            return None;
        }
        let pid = Pid::from_raw(number)?;
        Some(Process {
            ended: pidfd_open(pid, PidfdFlags::empty()).ok()?,
            program: fs::read_link(directory.path().join("exe")).ok()?,
            shown: format!("{arguments}\0{environment}"),
            pid,
        })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        kill_process(self.pid, signal)
    }

    /// Waits for its end; false if it hangs.
    pub(crate) fn ends(&self) -> bool {
        let limit = Timespec::try_from(END_LIMIT).expect("because it is some seconds");
        let mut look = [PollFd::new(&self.ended, PollFlags::IN)];
        let ended = retry_on_intr(|| poll(&mut look, Some(&limit)));
        ended.expect("because the descriptor is good") > 0
    }

    /// Tells whether it is the helper under test.
    pub(crate) fn is_helper(&self) -> bool {
        self.program == helper()
    }

    /// The most memory it has had so far, in bytes (proc(5), `VmHWM`); `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        self.bytes_of("VmHWM:")
    }

    /// The memory it has now, in bytes (proc(5), `VmRSS`); `None` once it has ended.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.bytes_of("VmRSS:")
    }

    fn bytes_of(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }

    /// Copies each of its descriptors; only root may do that.
    pub(crate) fn copied_handles(&self) -> Vec<OwnedFd> {
        let numbers = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter();
        let names = numbers.flatten().flatten().map(|entry| entry.file_name());
        names
            .filter_map(|name| {
                let number = name.to_str()?.parse().ok()?;
                pidfd_getfd(&self.ended, number, PidfdGetfdFlags::empty()).ok()
            })
            .collect()
    }

    /// How many descriptors it has open; none once it has ended.
    pub(crate) fn handles(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }
}

/// Finds every process of a world that runs now; the server and what it starts have another HOME.
pub(crate) fn of(world: &World) -> Vec<Process> {
    at(&world.home())
}

/// Finds every process that runs now with such a home.
pub(crate) fn at(home: &Path) -> Vec<Process> {
    let marker = format!("HOME={}", home.display());
    all(|_, environment| environment.split('\0').any(|variable| variable == marker))
}

/// Finds every process that runs now with arguments that begin like these, and a path below a directory.
pub(crate) fn with_arguments(arguments: &[&str], directory: &Path) -> Vec<Process> {
    let words = format!("\0{}", arguments.join("\0"));
    let directory = format!("\0{}", directory.join("").display());
    all(|shown, _| shown.contains(&words) && shown.contains(&directory))
}

fn all(is_wanted: impl Fn(&str, &str) -> bool) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("this system shows its processes");
    entries
        .flatten()
        .filter_map(|entry| Process::look(&entry, &is_wanted))
        .collect()
}

/// Sends a signal to a process group, as a terminal does for Ctrl-C.
pub(crate) fn signal_group(leader: u32, signal: Signal) {
    let pid = i32::try_from(leader)
        .ok()
        .and_then(Pid::from_raw)
        .expect("because it is a process's number");
    kill_process_group(pid, signal).expect("the group is ours");
}

/// Expects that each of some processes ends.
#[track_caller]
pub(crate) fn all_end(processes: &[Process]) {
    for process in processes {
        assert!(process.ends(), "'{}' goes on", process.program.display());
    }
}
