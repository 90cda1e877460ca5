//! Machines in networks of their own that lose the way to the store or to Bitbucket in the middle of a renewal.

use std::process::{Child, Stdio};

use bitbucket_local::{Action, Kind, Rule};
use serde_json::json;

use super::{
    administrator::{as_job, job, log_in},
    bao::Bao,
};
use crate::{
    agent::faults::{Network, is_in_own_network},
    needs::{ROOT, needs, test_of},
    person,
    support::{World, gits},
};

/// A machine in another network than the servers, that has begun to renew the token.
struct Machine {
    network: Network,
    job: Child,
}

impl Machine {
    /// Starts a job whose token request the server holds back.
    fn begin(world: &World, bao: &Bao) -> Self {
        let network = Network::new();
        // Rules of the test come before the route to this machine's servers.
        network.sh("ip rule add pref 5 lookup local; ip rule del pref 0");
        world.bitbucket.clear_requests();
        world
            .bitbucket
            .script(Rule::new(Action::Hold).kind(Kind::Token));
        let run = as_job(
            bao,
            world,
            network.run(world, &person::git_bbtoken()).arg("token"),
        );
        let mut command = run.env("HOME", world.path("far")).into_command();
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let job = command.spawn().expect("it starts");
        let sent = world.bitbucket.wait_for(|requests| !requests.is_empty());
        sent.expect("the refresh token is sent");
        Machine { network, job }
    }

    fn cut(&self, port: u16) {
        self.network.sh(&format!(
            "ip rule add pref 1 ipproto tcp dport {port} unreachable"
        ));
    }

    fn restore(&self, port: u16) {
        self.network.sh(&format!(
            "ip rule del pref 1 ipproto tcp dport {port} unreachable"
        ));
    }

    /// Gives the token of the job, and what it said.
    fn end(self) -> (String, String) {
        let ended = self.job.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = text(&ended.stderr);
        assert!(ended.status.success(), "{said}");
        (text(&ended.stdout), said)
    }
}

fn port_of(url: &str) -> u16 {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    port.expect("it ends with a port")
}

/// A login in a store, whose token has ended.
fn renewal_is_due() -> (World, Bao) {
    let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
    log_in(&bao, &world, &bao.root).expect(0);
    bao.change(|record| record["access"]["expires_at_unix_s"] = json!(0));
    (world, bao)
}

/// Lets a minute of the claim's life go by.
fn minute_passes(bao: &Bao) {
    bao.change(|record| {
        let at = record["claim"]["at_unix_s"]
            .as_u64()
            .expect("there is a claim");
        record["claim"]["at_unix_s"] = json!(at - 61);
    });
}

#[test]
fn a_machine_that_loses_the_store_after_the_exchange_costs_one_more_request_and_no_login() {
    needs!(ROOT, "ip", "unshare", "nsenter", "programs/openbao");
    if !is_in_own_network(test_of(&|| ())) {
        return;
    }
    let (world, bao) = renewal_is_due();
    let far = Machine::begin(&world, &bao);
    let store = port_of(&bao.address(0));
    far.cut(store);
    world.bitbucket.release();
    minute_passes(&bao);
    let near = job(&bao, &world, &["token"]).ok();
    assert_eq!(
        world.bitbucket.token_requests().len(),
        2,
        "in the grace period"
    );
    far.restore(store);
    let (token, said) = far.end();
    assert_eq!(
        token,
        near.trim(),
        "it uses the token that is shared, and drops its own"
    );
    assert_eq!(said, "", "nothing is lost");
    assert_eq!(job(&bao, &world, &["token"]).ok(), near);
    bao.change(|record| record["access"]["expires_at_unix_s"] = json!(0));
    job(&bao, &world, &["token"]).ok();
    person::nothing_was_used_too_late(&world);
}

#[test]
fn a_machine_that_loses_bitbucket_during_the_exchange_costs_one_more_request_and_no_login() {
    needs!(ROOT, "ip", "unshare", "nsenter", "programs/openbao");
    if !is_in_own_network(test_of(&|| ())) {
        return;
    }
    let (world, bao) = renewal_is_due();
    bao.change(|record| {
        // A token in its last minutes is used if it cannot be renewed.
        let got = record["access"]["got_at_unix_s"]
            .as_u64()
            .expect("there is a token");
        record["access"]["expires_at_unix_s"] = json!(got + 500);
    });
    let far = Machine::begin(&world, &bao);
    far.cut(port_of(world.bitbucket.base_url()));
    let old = bao.content()["access"]["token"].clone();
    // The answer never arrives, and the machine's next tries find no way.
    minute_passes(&bao);
    world.bitbucket.release();
    let near = job(&bao, &world, &["token"]).ok();
    let (token, _) = far.end();
    assert!(
        [&old, &json!(near.trim())].contains(&&json!(token)),
        "it has a valid token"
    );
    assert_ne!(json!(near.trim()), old, "the login still works");
    bao.change(|record| record["access"]["expires_at_unix_s"] = json!(0));
    job(&bao, &world, &["token"]).ok();
    person::nothing_was_used_too_late(&world);
}
