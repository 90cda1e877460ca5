//! A job that is killed at any step of a renewal costs at most one more token request, and no login.

#![expect(
    clippy::print_stdout,
    reason = "how often a job was killed is shown with --nocapture"
)]

use std::{path::Path, time::Duration};

use super::{
    bao::Bao,
    jobs::{DUE_S, Fleet},
    machines::{all_get_through, all_succeed},
};
use crate::{
    needs::needs,
    person::{git_bbtoken, nothing_was_used_too_late},
    support::Done,
};

/// Longer than the server's grace, shorter than the life of an access token.
const BEYOND_GRACE: Duration = Duration::from_secs(700);
/// More system calls of a kind than a renewal has.
const MOST: usize = 40;

/// Runs a job that is killed when it makes a system call for the nth time (strace(1), "Tampering").
fn killed(fleet: &Fleet, call: &str, number: usize) -> Done {
    let world = &fleet.world;
    let strace = world.run(Path::new("strace"), ["-f", "-qq", "-o", "/dev/null"]);
    let strace = strace
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={number}")])
        .arg(git_bbtoken())
        .arg("token");
    fleet.of_job(strace).done()
}

/// Kills a job at each of its calls; gives how many there were. The token ends in `left_s` seconds each time.
fn at_every_call(fleet: &Fleet, call: &str, left_s: u64) -> usize {
    let bitbucket = &fleet.world.bitbucket;
    for number in 1..MOST {
        fleet.ends_in(left_s);
        bitbucket.clear_requests();
        let done = killed(fleet, call, number);
        if left_s > 0 {
            // No job waits for the claim while the token is valid.
            all_succeed(&fleet.jobs(0..2, 2));
        }
        fleet.claim_ends();
        all_get_through(&fleet.jobs(0..4, 2));
        let (record, _) = fleet.record();
        assert!(record["claim"].is_null(), "{call} {number}: no claim stays");
        let requests = bitbucket.token_requests().len();
        let most = if done.code == Some(0) { 1 } else { 2 };
        assert!(
            (1..=most).contains(&requests),
            "{call} {number}: {requests} token requests"
        );
        bitbucket.advance_clock(BEYOND_GRACE);
        nothing_was_used_too_late(&fleet.world);
        if done.code == Some(0) {
            return number - 1;
        }
        assert_eq!(done.code, None, "{call} {number}: {}", done.stderr);
    }
    panic!("a renewal has fewer calls of {call}");
}

#[test]
fn a_job_that_is_killed_at_any_step_costs_at_most_one_more_request_and_no_login() {
    needs!("programs/openbao", "strace");
    let fleet = Fleet::new(Bao::one());
    for left_s in [DUE_S, 0] {
        for call in ["writev", "recvfrom"] {
            let calls = at_every_call(&fleet, call, left_s);
            println!("killed at {calls} calls of {call}");
            // The login, the record, the claim, the exchange and the outcome.
            assert!(calls >= 5, "{calls} calls of {call}");
        }
    }
}
