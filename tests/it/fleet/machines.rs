//! Many machines with homes of their own that run one command each, a few at the same time.

use std::{
    fs,
    ops::Range,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{Done, Run, World, gits};

/// What a command did on one machine.
#[derive(Debug)]
pub(crate) struct Job {
    /// The machine.
    pub(crate) machine: usize,
    /// When it began.
    pub(crate) began: Instant,
    /// How long it took.
    pub(crate) took: Duration,
    /// What became of it.
    pub(crate) done: Done,
}

/// Runs a command on each machine, at most `at_once` at the same time; gives the jobs in the order of their ends.
///
/// `prepare` makes the command for a machine, of which it gets the number and the home. A home stays until the end of
/// the world, so that a second command finds what the first one left.
pub(crate) fn on_machines(
    world: &World,
    machines: Range<usize>,
    at_once: usize,
    prepare: impl Fn(usize, &Path) -> Run + Sync,
) -> Vec<Job> {
    let next = AtomicUsize::new(machines.start);
    let jobs = Mutex::new(Vec::with_capacity(machines.len()));
    let work = || {
        loop {
            let machine = next.fetch_add(1, Ordering::SeqCst);
            if machine >= machines.end {
                return;
            }
            let job = run(world, machine, &prepare);
            let mut jobs = jobs.lock().expect("no thread panics while it holds it");
            jobs.push(job);
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(work);
        }
    });
    jobs.into_inner()
        .expect("no thread panics while it holds it")
}

fn run(world: &World, machine: usize, prepare: impl Fn(usize, &Path) -> Run) -> Job {
    let home = world.path(&format!("machine-{machine}"));
    fs::create_dir_all(&home).expect("the world can be written");
    let command = prepare(machine, &home).env("HOME", &home);
    let began = Instant::now();
    let done = command.done();
    Job {
        machine,
        began,
        took: began.elapsed(),
        done,
    }
}

/// Expects that each job succeeded and said nothing; gives how long the slowest one took.
#[track_caller]
pub(crate) fn all_succeed(jobs: &[Job]) -> Duration {
    for Job { machine, done, .. } in jobs {
        let (code, stderr) = (done.code, done.stderr.as_str());
        assert_eq!((code, stderr), (Some(0), ""), "machine {machine}");
    }
    jobs.iter().map(|job| job.took).max().unwrap_or_default()
}

/// Expects that each job succeeded and said at most that it waited; gives how long the slowest one took.
#[track_caller]
pub(crate) fn all_get_through(jobs: &[Job]) -> Duration {
    for Job { machine, done, .. } in jobs {
        let mut lines = done.stderr.lines();
        let is_patient = lines.all(|line| line.starts_with("warning: waiting for "));
        let is_through = done.code == Some(0) && is_patient;
        assert!(
            is_through,
            "machine {machine}: {:?} {}",
            done.code, done.stderr
        );
    }
    jobs.iter().map(|job| job.took).max().unwrap_or_default()
}

/// How long half of the jobs took at most.
pub(crate) fn median(jobs: &[Job]) -> Duration {
    let mut durations: Vec<_> = jobs.iter().map(|job| job.took).collect();
    durations.sort_unstable();
    durations[durations.len() / 2]
}

#[test]
fn machines_share_no_cache_and_only_some_work_at_once() {
    let world = World::new(gits().remove(0));
    let token = |_, _: &Path| world.bbtoken(["token"]);
    let jobs = on_machines(&world, 0..9, 3, token);
    let slowest = all_succeed(&jobs);
    let mut machines: Vec<_> = jobs.iter().map(|job| job.machine).collect();
    machines.sort_unstable();
    assert_eq!(machines, Vec::from_iter(0..9), "each machine has one job");
    assert_eq!(world.bitbucket.token_requests().len(), 9, "one for each");
    let at_once = |moment: Instant| {
        let runs = |job: &&Job| job.began <= moment && moment < job.began + job.took;
        jobs.iter().filter(runs).count()
    };
    let most = jobs.iter().map(|job| at_once(job.began)).max();
    assert!(most <= Some(3), "{most:?} at once");
    assert!(slowest > Duration::ZERO);
    all_succeed(&on_machines(&world, 0..9, 3, token));
    assert_eq!(
        world.bitbucket.token_requests().len(),
        9,
        "each machine kept its own token"
    );
}
