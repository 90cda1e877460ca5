//! Machines that keep the token in a file (`cache = file`).

use std::time::Duration;

use super::{
    super::server::{LIFETIME_S, Outcome},
    SECOND, STARTS,
    faults::{Fault, Plan},
    jobs::{Command, Report},
    judge, login, points, surroundings,
    world::{Start, World},
};

/// Commands on a dozen machines that keep the token, at about the same time.
fn commands() -> Vec<Command> {
    let command = |machine: u32| Command {
        off_s: (i64::from(machine) - 6) * 3_600,
        has_cache: true,
        ..Command::after(Duration::from_millis(37) * machine)
    };
    (0..12).map(command).collect()
}

/// Runs them. Each works, and waits for no other one.
fn run(world: &World) -> Vec<Report> {
    let reports = world.run(&commands());
    for report in &reports {
        let is_well = matches!(report.outcome, Outcome::Worked);
        assert!(is_well && report.waits == 0, "{report:?}");
    }
    reports
}

fn reads(reports: &[Report]) -> Vec<u32> {
    reports.iter().map(|report| report.reads).collect()
}

#[test]
fn machines_with_a_cache_renew_ahead_so_that_none_waits_when_the_token_ends() {
    let world = World::new(&login(LIFETIME_S - 100), Plan::Script(Vec::new()));
    assert_eq!(reads(&run(&world)), [1; 12], "none has a token yet");
    for renewal in 1..=3 {
        world.state().now += SECOND * 30;
        assert_eq!(reads(&run(&world)), [0; 12], "the kept token is used");
        // The token lives for 400 s now, then for 60 s.
        world.state().now += Duration::from_secs(LIFETIME_S - 530);
        run(&world);
        assert_eq!(world.state().endpoint.requests, renewal);
        world.state().now += SECOND * 340;
        run(&world);
        assert_eq!(world.state().endpoint.requests, renewal);
        assert_eq!(world.state().violations, Vec::<String>::new());
    }
}

#[test]
fn a_machine_looks_for_a_newer_token_once_a_minute() {
    let world = World::new(&login(LIFETIME_S), Plan::Script(Vec::new()));
    run(&world);
    world.state().now += Duration::from_secs(LIFETIME_S - 500);
    // The first machine renews the token ahead, but it meets a server that does not answer.
    world.state().endpoint.down_until = Duration::MAX;
    run(&world);
    for (later_s, read) in [(40, 0), (10, 0), (15, 1), (40, 0), (25, 1)] {
        world.state().now += SECOND * later_s;
        assert_eq!(reads(&run(&world)), [read; 12], "{later_s} s later");
    }
}

#[test]
fn a_machine_with_a_cache_goes_on_while_the_store_is_down() {
    let world = World::new(&login(LIFETIME_S), Plan::Script(Vec::new()));
    run(&world);
    world.state().now += Duration::from_secs(LIFETIME_S - 500);
    world.state().plan = Plan::Script(vec![(12, Fault::StoreDown(300), 0)]);
    for (wait_s, is_look) in [(0, true), (10, false), (60, true)] {
        world.state().now += SECOND * wait_s;
        let report = world.run(&commands()[..1]).remove(0);
        let is_well = matches!(report.outcome, Outcome::Worked);
        let is_brief = report.took < 4 * SECOND && (report.reads > 0) == is_look;
        assert!(is_well && is_brief, "{wait_s} s later: {report:?}");
    }
}

/// Lets two machines keep the token, and use it when it lives for 300 s, with faults of the first one.
fn problem(
    start: &Start,
    clocks: [i64; 2],
    starts_in: Duration,
    fault: (Fault, u32),
) -> Option<String> {
    let start = Start {
        left_s: 6_300 + starts_in.as_secs(),
        ..start.clone()
    };
    let world = World::new(&start, Plan::Script(Vec::new()));
    let mut commands = [Duration::ZERO, starts_in].map(|at| Command {
        has_cache: true,
        ..Command::after(at)
    });
    for (command, off_s) in commands.iter_mut().zip(clocks) {
        command.off_s = off_s;
    }
    world.run(&commands);
    world.state().now += 6_000 * SECOND - starts_in;
    world.state().plan = Plan::Script(vec![(2, fault.0, fault.1)]);
    let reports = world.run(&commands);
    let mut failed = reports.iter().filter(|report| {
        let is_cut_short = matches!(report.outcome, Outcome::Killed);
        let stands = report.faults.iter().any(|fault| fault.stands());
        !is_cut_short && !stands && !matches!(report.outcome, Outcome::Worked)
    });
    let failed = failed
        .next()
        .map(|report| format!("had a token and failed: {report:?}"));
    failed.or_else(|| judge(&world, &reports).err())
}

#[test]
fn one_fault_of_machines_with_a_cache_costs_no_login_and_no_command() {
    let mut cases = 0;
    for (start, clocks) in surroundings() {
        for fault in points() {
            for starts_in in STARTS {
                if let Some(problem) = problem(&start, clocks, starts_in, fault) {
                    panic!("{problem}\nin {start:?} {clocks:?} {starts_in:?} {fault:?}");
                }
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 11 * 107 * 4);
}
