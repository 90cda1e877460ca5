//! A token endpoint or a store that asks for a pause: no machine of the fleet comes back earlier.

use std::time::Duration;

use super::{
    super::server::Outcome,
    SECOND,
    faults::{Fault, Plan},
    jobs::{Command, Report},
    login,
    world::World,
};

/// Runs commands that start after so many seconds; the first one meets faults.
fn run(left_s: u64, script: &[(usize, Fault, u32)], starts_s: &[u64]) -> (World, Vec<Report>) {
    let world = World::new(&login(left_s), Plan::Script(script.to_vec()));
    let commands = starts_s
        .iter()
        .map(|start| Command::after(SECOND * u32::try_from(*start).expect("it is small")));
    let reports = world.run(&commands.collect::<Vec<_>>());
    (world, reports)
}

fn works(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Worked)
}

#[test]
fn a_machine_keeps_its_claim_while_it_waits_for_a_busy_server() {
    let busy = [(0, Fault::SlowlyBusyFor(50), 0)];
    let (world, reports) = run(0, &busy, &[0, 1, 40, 62, 70]);
    assert!(reports.iter().all(works), "{reports:?}");
    assert_eq!(world.state().endpoint.hurried, 0, "{reports:?}");
    assert_eq!(world.state().endpoint.requests, 1, "{reports:?}");
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept_by_all_machines() {
    // No machine has a valid token.
    let busy = [(0, Fault::BusyFor(100), 0)];
    let (world, reports) = run(0, &busy, &[0, 5, 20, 50, 95, 110]);
    let worked: Vec<_> = reports.iter().map(works).collect();
    assert_eq!(
        worked,
        [false, false, false, true, true, true],
        "{reports:?}"
    );
    assert!(reports[1].took < SECOND, "it is too long: {:?}", reports[1]);
    assert_eq!(world.state().endpoint.hurried, 0, "{reports:?}");
    assert_eq!(world.state().endpoint.requests, 1, "{reports:?}");
    // All have one, and would renew it ahead.
    let (world, reports) = run(400, &busy, &[0, 5, 20, 50, 95, 110]);
    assert!(
        reports.iter().all(|it| works(it) && it.waits == 0),
        "{reports:?}"
    );
    assert_eq!(world.state().endpoint.hurried, 0, "{reports:?}");
    assert_eq!(world.state().endpoint.requests, 1, "{reports:?}");
}

#[test]
fn a_server_cannot_stop_a_fleet_for_long() {
    let busy = [(0, Fault::BusyFor(86_400), 0)];
    let (_, reports) = run(0, &busy, &[0, 230, 301]);
    let worked: Vec<_> = reports.iter().map(works).collect();
    assert_eq!(worked, [false, false, true], "{reports:?}");
}

#[test]
fn a_token_that_may_be_used_is_sent_again_after_a_minute() {
    let away = [(0, Fault::AwayFor(3_000), 0)];
    let (world, reports) = run(0, &away, &[0, 20, 700]);
    let worked: Vec<_> = reports.iter().map(works).collect();
    assert_eq!(worked, [false, true, true], "{reports:?}");
    assert!(reports[1].took > SECOND * 35, "{reports:?}");
    assert_eq!(world.state().endpoint.requests, 2, "{reports:?}");
}

#[test]
fn a_store_that_is_busy_gets_no_write_before_its_time() {
    let busy = [(0, Fault::BusyStore(5), 0)];
    let (_, reports) = run(0, &busy, &[0]);
    let report = &reports[0];
    assert!(works(report) && report.took >= SECOND * 5, "{report:?}");
    // The claim is renewed after a slow answer, and the store is busy then.
    let busy = [(0, Fault::SlowlyBusyFor(5), 0), (0, Fault::BusyStore(5), 1)];
    let (_, reports) = run(0, &busy, &[0]);
    let report = &reports[0];
    assert!(works(report) && report.took >= SECOND * 35, "{report:?}");
}

#[test]
fn a_write_without_an_answer_is_forgotten_after_the_next_answer() {
    let refusals = vec![(0, Fault::Overtaken, 1); 200];
    let script = [
        vec![(0, Fault::Unwritten, 0)],
        refusals,
        vec![(0, Fault::Unwritten, 201)],
    ];
    let (_, reports) = run(0, &script.concat(), &[0]);
    let report = &reports[0];
    assert!(
        works(report) && report.took >= Duration::from_secs(20),
        "{report:?}"
    );
}
