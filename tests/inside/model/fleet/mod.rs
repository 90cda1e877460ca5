//! One login that many machines share, against a model of store, server, network and clocks.
//!
//! Each machine is a thread that runs the real [`Tokens`](crate::token::Tokens). Only one of them runs at a time.
//! Whatever leaves the machine takes virtual time, and that decides who is next. So a seed repeats a walk.

mod busy;
mod caches;
mod endpoint;
mod faults;
mod jobs;
mod machine;
mod rules;
mod store;
mod walks;
mod world;

use std::time::Duration;

use super::{
    seed,
    server::{LIFETIME_S, Outcome},
};
use endpoint::Again;
use faults::{FAULTS, Fault, Plan};
use jobs::{Command, Report};
use store::StoreClock;
use world::{Start, World};

const SECOND: Duration = Duration::from_secs(1);

/// A login whose token is good for so long.
fn login(left_s: u64) -> Start {
    Start {
        clock: StoreClock::Off(0),
        again: Again::Another,
        is_login: true,
        left_s,
        seed: 0,
    }
}

/// Commands, faults, and what they leave.
#[derive(Clone, Debug)]
struct Case {
    start: Start,
    commands: Vec<Command>,
    script: Vec<(usize, Fault, u32)>,
}

impl Case {
    /// Runs the commands, then one a minute later, and one after the token has ended. Says what is wrong.
    fn problem(&self, is_loud: bool) -> Option<String> {
        let world = World::new(&self.start, Plan::Script(self.script.clone()));
        world.state().log = is_loud.then(Vec::new);
        let reports = world.run(&self.commands);
        let problem = judge(&world, &reports).err();
        let log = world.state().log.take().unwrap_or_default();
        problem.map(|problem| match is_loud {
            true => format!("{problem}\n{}", log.join("\n")),
            false => self.problem(true).unwrap_or(problem),
        })
    }
}

/// Judges commands, then one without faults a minute later, and one after the token has ended.
fn judge(world: &World, reports: &[Report]) -> Result<(), String> {
    world.state().plan = Plan::Script(Vec::new());
    expect_reports(reports)?;
    expect_calm(world, 65 * SECOND)?;
    if world.is_unfinished() {
        return Err("the next command did not repeat the exchange".into());
    }
    expect_calm(world, Duration::from_secs(LIFETIME_S))
}

/// Expects that a command without faults works, and that nothing went wrong.
fn expect_calm(world: &World, starts_in: Duration) -> Result<(), String> {
    let report = world.run_one(starts_in);
    let state = world.state();
    if let Some(violation) = state.violations.first() {
        return Err(violation.clone());
    }
    if state.is_lost() {
        return Err(format!(
            "the login is lost: {:?}, {report:?}",
            state.endpoint.ended
        ));
    }
    match report.outcome {
        Outcome::Worked if report.requests <= 1 => Ok(()),
        _ => Err(format!("a command without faults: {report:?}")),
    }
}

/// Whether a message says that the login is lost.
fn says_log_in(why: &str) -> bool {
    ["has ended", "is not logged in"]
        .iter()
        .any(|it| why.contains(it))
}

/// Expects that commands work whose faults are no reason to fail.
fn expect_reports(reports: &[Report]) -> Result<(), String> {
    let has = |report: &Report, is_meant: fn(Fault) -> bool| {
        report.faults.iter().any(|fault| is_meant(*fault))
    };
    let faults = reports.iter().flat_map(|report| &report.faults);
    let is_down = faults.map(|fault| fault.hides_the_record_s()).sum::<u64>() >= 15;
    let is_hard = reports
        .iter()
        .any(|report| has(report, Fault::may_fail_others));
    for (number, report) in reports.iter().enumerate() {
        let problem = match &report.outcome {
            Outcome::Worked => None,
            Outcome::Killed => (!has(report, |it| matches!(it, Fault::Kill(_)))).then_some("ended"),
            Outcome::Failed(why) if says_log_in(why) => Some("gave up"),
            Outcome::Failed(_)
                if report.had_good_token && !is_down && !has(report, Fault::misleads) =>
            {
                Some("had a good token and failed")
            }
            Outcome::Failed(_) if has(report, Fault::may_fail_commands) => None,
            Outcome::Failed(_) => (!is_hard && !is_down).then_some("failed"),
        };
        if let Some(problem) = problem {
            return Err(format!("job {number} {problem}: {report:?}"));
        }
    }
    Ok(())
}

#[test]
fn without_faults_there_is_one_request_per_renewal() {
    for clock in [-120, 0, 120].map(StoreClock::Off) {
        for again in [Again::Another, Again::Same, Again::Never] {
            for is_login in [true, false] {
                let start = Start {
                    clock,
                    again,
                    is_login,
                    seed: 7,
                    ..login(300)
                };
                let world = World::new(&start, Plan::Script(Vec::new()));
                for round in 1..=5 {
                    let commands: Vec<_> = (0..12)
                        .map(|job| Command {
                            off_s: (job - 6) * 3_600,
                            ..Command::after(Duration::from_millis(
                                37 * u64::try_from(job).expect("it is small"),
                            ))
                        })
                        .collect();
                    let reports = world.run(&commands);
                    for report in &reports {
                        assert!(
                            matches!(report.outcome, Outcome::Worked),
                            "{start:?} {report:?}"
                        );
                        let is_at_once = report.waits == 0 || !report.had_good_token;
                        assert!(is_at_once, "{start:?}, round {round}: {report:?}");
                    }
                    let mut state = world.state();
                    assert_eq!(state.endpoint.requests, round, "{start:?}: {reports:?}");
                    assert_eq!(state.violations, Vec::<String>::new());
                    // Before and after the end of the token.
                    state.now += Duration::from_secs(LIFETIME_S - 400 + 800 * u64::from(round % 2));
                }
            }
        }
    }
}

/// Gives every fault at every effect of a job that renews a token.
fn points() -> Vec<(Fault, u32)> {
    let places = |fault: Fault| (0..fault.places()).map(move |at| (fault, at));
    FAULTS.into_iter().flat_map(places).collect()
}

/// How long after the first job the second one starts.
const STARTS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(150),
    Duration::from_secs(5),
    Duration::from_secs(63),
];

/// Two machines whose token is good for so long when the second one starts.
fn two(left_s: u64, starts_in: Duration, script: Vec<(usize, Fault, u32)>) -> Case {
    Case {
        start: login(left_s + starts_in.as_secs()),
        commands: vec![Command::after(Duration::ZERO), Command::after(starts_in)],
        script,
    }
}

fn expect_no_problem(case: &Case) {
    if let Some(problem) = case.problem(false) {
        panic!("{problem}\nin {case:#?}");
    }
}

/// Stores, servers and the clocks of both machines, as far as they change what a command does.
fn surroundings() -> Vec<(Start, [i64; 2])> {
    let plain = || login(0);
    let of = |clock: StoreClock| Start { clock, ..plain() };
    vec![
        (plain(), [0, 0]),
        (plain(), [7_200, -40_000]),
        (of(StoreClock::Off(120)), [0, 0]),
        (of(StoreClock::Off(-120)), [3_600, 0]),
        (of(StoreClock::Nodes(2)), [0, 0]),
        (of(StoreClock::None), [0, 0]),
        (of(StoreClock::None), [7_200, 0]),
        (of(StoreClock::None), [-3_600, 3_600]),
        (
            Start {
                again: Again::Same,
                ..plain()
            },
            [0, 0],
        ),
        (
            Start {
                again: Again::Never,
                ..plain()
            },
            [0, 0],
        ),
        (
            Start {
                is_login: false,
                ..plain()
            },
            [0, 0],
        ),
    ]
}

#[test]
fn one_fault_costs_no_login() {
    let mut cases = 0;
    for (surrounding, clocks) in surroundings() {
        for (fault, at) in points() {
            for (left_s, starts_in) in [0, 300]
                .into_iter()
                .flat_map(|it| STARTS.map(|at| (it, at)))
            {
                let mut case = two(left_s, starts_in, vec![(0, fault, at)]);
                case.start = Start {
                    left_s: case.start.left_s,
                    ..surrounding.clone()
                };
                case.commands[0].off_s = clocks[0];
                case.commands[1].off_s = clocks[1];
                expect_no_problem(&case);
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 11 * 107 * 8);
}

#[test]
fn two_faults_of_one_or_two_machines_cost_no_login() {
    let mut cases = 0;
    let points = points();
    for (number, first) in points.iter().enumerate() {
        for (other, second) in points.iter().enumerate() {
            // Another seed tries the pair another way.
            let way = number * 5 + other * 3 + usize::try_from(seed()).expect("it is small");
            let (whose, starts_in) = (way % 2, STARTS[way / 2 % 4]);
            let left_s = [0, 300][way / 8 % 2];
            let script = vec![(0, first.0, first.1), (whose, second.0, second.1)];
            expect_no_problem(&two(left_s, starts_in, script));
            cases += 1;
        }
    }
    assert_eq!(cases, 107 * 107);
}
