//! Rules for refused tokens, for machines that end or sleep, and for the model itself.

use std::{collections::HashMap, time::Duration};

use super::{
    super::server::{GRACE_S, LIFETIME_S, Outcome},
    SECOND,
    endpoint::Again,
    expect_calm,
    faults::{Fault, Plan, When},
    jobs::{Command, Report},
    login,
    store::StoreClock,
    two,
    world::{Start, World},
};

/// Runs a dozen commands at once whose token the git server refuses.
fn run_refused(world: &World, is_misled: bool) -> Vec<Report> {
    let commands: Vec<_> = (0..12)
        .map(|job| Command {
            is_misled,
            ..Command::after(Duration::from_millis(37) * job)
        })
        .collect();
    world.run(&commands)
}

#[test]
fn a_refused_token_is_replaced_once_for_all_machines() {
    for is_misled in [false, true] {
        let world = World::new(&login(LIFETIME_S - 400), Plan::Script(Vec::new()));
        for round in 1..=3 {
            if !is_misled {
                world.state().endpoint.access.clear();
            }
            for report in run_refused(&world, is_misled) {
                assert!(matches!(report.outcome, Outcome::Worked), "{report:?}");
            }
            assert_eq!(
                world.state().endpoint.requests,
                round,
                "misled: {is_misled}"
            );
            // The new token is young, so no command replaces it.
            run_refused(&world, true);
            world.state().now += Duration::from_secs(250);
            run_refused(&world, true);
            let mut state = world.state();
            assert_eq!(state.endpoint.requests, round, "misled: {is_misled}");
            assert_eq!(state.violations, Vec::<String>::new());
            state.now += Duration::from_secs(100);
        }
    }
}

#[test]
fn a_machine_that_ends_holds_up_the_others_for_one_claim_at_most() {
    let mut tried = 0;
    for at in 0..4 {
        for fault in [
            Fault::Kill(When::Before),
            Fault::Kill(When::After),
            Fault::Pause(When::Before, 200),
            Fault::Pause(When::After, 200),
        ] {
            for (left_s, limit) in [(0, 63 * SECOND), (300, SECOND)] {
                let case = two(left_s, SECOND, vec![(0, fault, at)]);
                let world = World::new(&case.start, Plan::Script(case.script.clone()));
                let reports = world.run(&case.commands);
                let second = &reports[1];
                assert!(
                    matches!(second.outcome, Outcome::Worked),
                    "{case:?} {second:?}"
                );
                assert!(second.took <= limit, "{case:?} {second:?}");
                assert!(left_s == 0 || second.waits == 0, "{case:?} {second:?}");
                let requests = world.state().endpoint.requests;
                assert!(requests <= 2, "{case:?}: {requests} requests");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 32);
}

#[test]
fn a_machine_that_slept_sends_nothing_that_others_have_renewed() {
    let mut tried = 0;
    // A lid is closed after the answer of a busy server, or during the pause before the next attempt.
    for (trouble, sleep, at) in [
        (Fault::Busy, When::After, 2),
        (Fault::Busy, When::Before, 3),
        (Fault::Busy, When::After, 3),
        (Fault::LostAfter, When::After, 2),
        (Fault::LostAfter, When::Before, 3),
        (Fault::LostBefore, When::After, 3),
    ] {
        let script = vec![(0, trouble, 0), (0, Fault::Sleep(sleep, 8 * 3_600), at)];
        let mut case = two(0, 90 * SECOND, script);
        case.commands
            .extend([2, 4, 6].map(|hours| Command::after(3_600 * SECOND * hours)));
        let world = World::new(&case.start, Plan::Script(case.script.clone()));
        for report in world.run(&case.commands) {
            assert!(
                matches!(report.outcome, Outcome::Worked),
                "{case:?} {report:?}"
            );
        }
        expect_calm(&world, SECOND).unwrap_or_else(|problem| panic!("{problem}\nin {case:?}"));
        tried += 1;
    }
    assert_eq!(tried, 6);
}

#[test]
fn a_machine_without_a_connection_does_not_keep_the_others_from_renewing() {
    for (left_s, failures) in [(0, 1), (300, 0)] {
        let case = two(left_s, SECOND, vec![(0, Fault::Unreachable, 0)]);
        let world = World::new(&case.start, Plan::Script(case.script));
        let reports = world.run(&case.commands);
        let failed = |report: &&Report| matches!(report.outcome, Outcome::Failed(_));
        assert_eq!(
            reports[..1].iter().filter(failed).count(),
            failures,
            "{reports:?}"
        );
        assert!(matches!(reports[1].outcome, Outcome::Worked), "{reports:?}");
    }
}

/// Runs two commands, of which the first one meets faults. Gives its error, and what both told their users.
fn said(left_s: u64, script: &[(usize, Fault, u32)]) -> (u32, String) {
    let case = two(left_s, SECOND, script.to_vec());
    let world = World::new(&case.start, Plan::Script(case.script));
    let reports = world.run(&case.commands);
    let mut lines = std::mem::take(&mut world.state().notices);
    lines.extend(reports.iter().filter_map(|report| match &report.outcome {
        Outcome::Failed(why) => Some(why.clone()),
        _ => None,
    }));
    (world.state().endpoint.requests, lines.join("\n"))
}

#[test]
fn messages_say_what_the_store_did() {
    let (read_only, down) = (Fault::ReadOnly(100), Fault::StoreDown(100));
    let cases = [
        // Nothing is sent if its outcome could not be kept.
        (
            0,
            vec![(0, read_only, 1)],
            0,
            "can be read but not written, so nothing was requested from Bitbucket",
        ),
        (300, vec![(0, read_only, 1)], 0, ""),
        (
            0,
            vec![(0, Fault::Kill(When::After), 1)],
            1,
            "waiting for '",
        ),
        (
            0,
            vec![(0, down, 2)],
            1,
            "could not be shared; run 'git bbtoken renew' within 8 minutes",
        ),
        (
            0,
            vec![(0, down, 0)],
            0,
            "waiting for the shared login: the store does not answer",
        ),
    ];
    for (left_s, script, requests, message) in cases {
        let (sent, said) = said(left_s, &script);
        assert_eq!(sent, requests, "{script:?}: {said}");
        assert!(
            said.contains(message) && (said.is_empty() == message.is_empty()),
            "{script:?}: {said}"
        );
    }
}

#[test]
fn a_command_gives_up_if_its_claim_is_refused_again_and_again() {
    let refusals = vec![(0, Fault::Overtaken, 0); 2_000];
    let world = World::new(&login(0), Plan::Script(refusals));
    let report = world.run_one(Duration::ZERO);
    let why = "other machines have claimed the renewal for too long";
    assert!(
        matches!(&report.outcome, Outcome::Failed(it) if it.contains(why)),
        "{report:?}"
    );
    assert!(report.took < 200 * SECOND, "{report:?}");
}

#[test]
fn the_model_finds_a_fleet_that_forgets_or_repeats() {
    let form = |token: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        HashMap::from(fields)
    };
    let world = World::new(&login(0), Plan::Script(Vec::new()));
    world.add(&Command::after(SECOND));
    let mut state = world.state();
    state.grant(0, &form("refresh-0"));
    assert!(
        state.violations[0].contains("sent by job 0 beside"),
        "{:?}",
        state.violations
    );
    assert!(!state.is_lost(), "within the grace it works");
    state.grant(0, &form("refresh-0"));
    let found = state
        .violations
        .iter()
        .any(|it| it.contains("again by job 0 for no reason"));
    assert!(found, "{:?}", state.violations);
    state.now += Duration::from_secs(GRACE_S);
    assert!(state.is_lost(), "after it the login is dead");
    state.grant(0, &form("refresh-0"));
    let ended = state.endpoint.ended.clone().unwrap_or_default();
    assert!(ended.contains("used too late"), "{ended}");
}

#[test]
fn the_model_finds_a_store_without_compare_and_set() {
    let start = Start {
        clock: StoreClock::Off(0),
        again: Again::Another,
        ..login(0)
    };
    let world = World::new(&start, Plan::Script(Vec::new()));
    world.state().store.is_blind = true;
    world.run(&[
        Command::after(Duration::ZERO),
        Command::after(Duration::from_millis(1)),
    ]);
    let violations = world.state().violations.clone();
    assert!(
        violations.iter().any(|it| it.contains("for no reason")),
        "{violations:?}"
    );
}
