//! Many jobs use one login. Each renewal costs one token request, also if the leader of the store is killed meanwhile.

#![expect(
    clippy::print_stdout,
    reason = "how long jobs take is shown with --nocapture"
)]

use std::{ops::Range, thread};

use bitbucket_local::{Action, Kind, Rule};

use super::{
    bao::Bao,
    jobs::{DUE_S, Fleet},
    machines::{Job, all_get_through, all_succeed, median},
};
use crate::{needs::needs, person};

/// How many jobs there are, unless `BBTOKEN_TEST_JOBS` says otherwise.
const JOBS: usize = 1000;
/// How many of them run at the same time.
const AT_ONCE: usize = 8;
const RENEWALS: usize = 5;

/// Runs the jobs in batches, with a renewal due in each.
///
/// In each second batch, the token has ended before, so that all jobs need the new one.
fn over_five_renewals(fleet: &Fleet, run: impl Fn(Range<usize>) -> Vec<Job>) {
    let wanted = std::env::var("BBTOKEN_TEST_JOBS");
    let jobs = wanted.map_or(JOBS, |count| count.parse().expect("it is a number"));
    let batch = jobs / RENEWALS;
    for number in 0..RENEWALS {
        fleet.ends_in(if number % 2 == 0 { DUE_S } else { 0 });
        let jobs = run(number * batch..(number + 1) * batch);
        let slowest = all_get_through(&jobs);
        println!(
            "{batch} jobs: median {:?}, slowest {slowest:?}",
            median(&jobs)
        );
        assert_eq!(fleet.world.bitbucket.token_requests().len(), number + 1);
        assert_eq!(person::refreshes(&fleet.world), number + 1);
    }
    let uses = fleet.world.bitbucket.refresh_uses();
    assert!(uses.iter().all(|used| used.uses <= 1), "{uses:?}");
}

#[test]
fn a_valid_token_takes_two_requests_to_the_store_and_none_to_the_token_endpoint() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    let before = fleet.bao.asked().len();
    let jobs = fleet.jobs(0..3, 1);
    all_succeed(&jobs);
    let (record, _) = fleet.record();
    let token = record["access"]["token"]
        .as_str()
        .expect("there is a token");
    assert!(jobs.iter().all(|job| job.done.stdout.trim_end() == token));
    fleet.world.repository("ws", "repo");
    let list = fleet.world.git(["ls-remote", "bbtoken::ws/repo"]);
    fleet.of_job(list).done().expect(0).quiet();
    let asked = fleet.bao.asked().split_off(before);
    let each = ["update auth/jwt/login", "read secret/data/bbtoken/ci"];
    assert_eq!(asked, [each; 4].concat());
    assert_eq!(fleet.world.bitbucket.token_requests().len(), 0);
}

#[test]
fn a_thousand_jobs_over_five_renewals_make_five_token_requests() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    over_five_renewals(&fleet, |machines| fleet.jobs(machines, AT_ONCE));
}

/// Runs jobs, and kills the leader of the store while Bitbucket holds the request of the one that renews.
fn with_killed_leader(fleet: &Fleet, machines: Range<usize>) -> Vec<Job> {
    let bitbucket = &fleet.world.bitbucket;
    bitbucket.script(Rule::new(Action::Hold).kind(Kind::Token));
    thread::scope(|scope| {
        let jobs = scope.spawn(|| fleet.jobs(machines, AT_ONCE));
        bitbucket
            .wait_for(|_| bitbucket.rules_left() == 0)
            .expect("a job requests a token");
        let leader = fleet.bao.leader();
        fleet.bao.nodes[leader].kill();
        bitbucket.release();
        fleet.bao.leader();
        fleet.bao.restart(leader);
        jobs.join().expect("it does not panic")
    })
}

#[test]
fn a_leader_that_is_killed_at_each_renewal_costs_no_token_request_and_no_job() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::three());
    over_five_renewals(&fleet, |machines| with_killed_leader(&fleet, machines));
}
