//! A store that is away, limited or not writable: a job says so, sends nothing to Bitbucket, and loses nothing.

use std::thread;

use bitbucket_local::{Action, Kind, Rule};

use super::{
    bao::Bao,
    jobs::{DUE_S, Fleet},
    machines::{all_get_through, all_succeed},
    mounts::RECORD,
};
use crate::{
    needs::needs,
    person::nothing_was_used_too_late,
    support::{Done, Run},
};

impl Fleet {
    /// Expects so many token requests.
    #[track_caller]
    fn has_requested(&self, tokens: usize) {
        assert_eq!(self.world.bitbucket.token_requests().len(), tokens);
    }

    /// Makes a job one that has a token of OpenBao already.
    fn with_vault_token(&self, token: &str) -> Run {
        let job = self.token().without("VAULT_ID_TOKEN");
        job.env("VAULT_TOKEN", token)
    }

    /// Kills two of three nodes; gives their numbers. The third one stays a standby without a leader.
    fn lose_quorum(&self) -> [usize; 2] {
        let leader = self.bao.leader();
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        for node in others {
            self.bao.nodes[node].kill();
        }
        self.bao.nodes[leader].waits_for(429);
        others
    }
}

/// Expects that the store could not be used, and that the last error says why.
#[track_caller]
fn fails_because(done: &Done, words: &[&str]) {
    assert_eq!(done.code, Some(7), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    done.says(words);
}

#[test]
fn a_sealed_store_ends_a_job_and_costs_no_login() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    fleet.ends_in(0);
    fleet.bao.seal(0);
    let sealed = "the server answered 503: Vault is sealed";
    fails_because(
        &fleet.token().done(),
        &[
            "warning: waiting for",
            "error: cannot log in as role 'ci'",
            sealed,
        ],
    );
    fleet.has_requested(0);
    fleet.bao.unseal(0);
    fleet.token().ok();
    fleet.has_requested(1);
}

#[test]
fn without_a_quorum_a_valid_token_is_used_and_no_refresh_token_is_sent() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::three());
    let vault_token = fleet.bao.log_in("ci");
    fleet.ends_in(DUE_S);
    let killed = fleet.lose_quorum();
    fleet.with_vault_token(&vault_token).ok();
    fleet.has_requested(0);
    // A standby without a leader lets no job log in.
    let no_leader = "the server answered 500: local node not active";
    fails_because(&fleet.token().done(), &["cannot log in as", no_leader]);
    for node in killed {
        fleet.bao.restart(node);
    }
    fleet.ends_in(0);
    fleet.lose_quorum();
    fails_because(
        &fleet.with_vault_token(&vault_token).done(),
        &[
            "can be read but not written, so nothing was requested from Bitbucket",
            no_leader,
        ],
    );
    fleet.has_requested(0);
}

#[test]
fn a_store_that_is_sealed_during_the_exchange_gets_the_new_login_when_it_is_back() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    fleet.ends_in(0);
    let bitbucket = &fleet.world.bitbucket;
    bitbucket.script(Rule::new(Action::Hold).kind(Kind::Token));
    thread::scope(|scope| {
        let renewing = scope.spawn(|| fleet.token().done());
        bitbucket
            .wait_for(|_| bitbucket.rules_left() == 0)
            .expect("the job requests a token");
        fleet.bao.seal(0);
        bitbucket.release();
        bitbucket
            .wait_for(|requests| requests.iter().all(|it| it.status.is_some()))
            .expect("the request is answered");
        fleet.bao.unseal(0);
        let done = renewing.join().expect("it does not panic");
        done.expect(0).quiet();
    });
    all_succeed(&fleet.jobs(0..2, 2));
    fleet.has_requested(1);
    nothing_was_used_too_late(&fleet.world);
}

#[test]
fn a_limit_of_the_store_is_waited_for() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    fleet.bao.limit(RECORD, 5, "1s");
    all_get_through(&fleet.jobs(0..20, 10));
}

#[test]
fn a_store_that_stays_limited_ends_a_job_and_costs_no_login() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    fleet.ends_in(0);
    fleet.bao.limit(RECORD, 1, "600s");
    let limited = "the server answered 429: request path \"secret/data/bbtoken/ci\"";
    fails_because(&fleet.token().done(), &["error: cannot read", limited]);
    fleet.has_requested(0);
}

#[test]
fn a_login_of_an_app_role_is_never_repeated() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    let [role, secret] = fleet.bao.app_role();
    let job = |secret: &str| {
        let job = fleet.token().without("VAULT_ID_TOKEN");
        let job = job.env("VAULT_ROLE_ID", &role);
        job.env("VAULT_SECRET_ID", secret).done()
    };
    let login = "update auth/approle/login";
    let logins = || fleet.bao.asked().iter().filter(|it| *it == login).count();
    job(&secret).expect(0).quiet();
    assert_eq!(logins(), 1);
    // One more than five would lock the role.
    for failures in 1..=5 {
        fails_because(&job("wrong"), &["400: invalid role or secret ID"]);
        assert_eq!(logins(), 1 + failures);
    }
    fails_because(&job(&secret), &["403: permission denied"]);
    assert_eq!(logins(), 7);
    fleet.has_requested(0);
}
