//! A login that an administrator has put into the store, and the jobs that use it.

use std::{ops::Range, path::Path};

use serde_json::{Value, json};

use super::{
    balance::Balancer,
    bao::Bao,
    machines::{Job, on_machines},
    mounts::{RECORD, now_unix_s},
};
use crate::{
    person,
    support::{Run, World, gits},
};

/// A token that lives so long is renewed ahead, and valid until then: commands need 300 s, and renew 600 s before.
pub(crate) const DUE_S: u64 = 500;
/// How long a machine's claim to renew is respected.
const CLAIM_S: u64 = 60;

/// A store, a Bitbucket, and machines with homes of their own.
pub(crate) struct Fleet {
    pub(crate) world: World,
    balancer: Balancer,
    pub(crate) bao: Bao,
}

impl Fleet {
    /// A fleet with this store, whose record holds the login of a user.
    pub(crate) fn new(bao: Bao) -> Self {
        let fleet = Fleet {
            world: World::new(gits().remove(0)),
            balancer: Balancer::before(bao.nodes.iter().map(|node| node.endpoint.port).collect()),
            bao,
        };
        fleet.share();
        fleet
    }

    /// Logs in by a browser, as an administrator does on a laptop.
    fn share(&self) {
        let world = &self.world;
        let key = world.consumer.key.as_str();
        let login = ["login", "ci", "--browser", "--client-id", key];
        let run = self.with_store(world.bbtoken(login));
        let run = run
            .args(["--with-secret", "--no-setup"])
            .env("VAULT_TOKEN", &self.bao.root)
            .input(&world.consumer.secret);
        person::log_in_by(world, run).expect(0);
        world.bitbucket.clear_requests();
    }

    /// The record and its version.
    pub(crate) fn record(&self) -> (Value, u64) {
        let node = &self.bao.nodes[self.bao.leader()];
        let answer = node.request("GET", RECORD).token(&self.bao.root).ok();
        let data = &answer.json()["data"];
        let version = data["metadata"]["version"].as_u64();
        (data["data"].clone(), version.expect("it has a version"))
    }

    /// Changes the record as another machine would.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        let (mut record, version) = self.record();
        change(&mut record);
        let node = &self.bao.nodes[self.bao.leader()];
        let body = json!({"options": {"cas": version}, "data": record});
        let write = node.request("POST", RECORD).token(&self.bao.root);
        write.body(body).ok();
    }

    /// Lets the access token end in so many seconds, as far as the record tells.
    pub(crate) fn ends_in(&self, left_s: u64) {
        self.change(|record| {
            let access = &mut record["access"];
            let life_s = access["lifetime_s"].as_u64().expect("there is a token");
            let end = now_unix_s() + left_s;
            access["expires_at_unix_s"] = end.into();
            access["got_at_unix_s"] = (end - life_s).into();
        });
    }

    /// Lets a claim be older than the machine that made it may take.
    pub(crate) fn claim_ends(&self) {
        self.change(|record| {
            let claim = &mut record["claim"];
            if let Some(at) = claim["at_unix_s"].as_u64() {
                claim["at_unix_s"] = (at - CLAIM_S).into();
            }
        });
    }

    /// The address of the store, for each connection by another node.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.bao.nodes.len() > 1 {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.balancer.port)
    }

    /// Gives a command the place of the record, and no client.
    fn with_store(&self, run: Run) -> Run {
        let run = run
            .without_client()
            .env("BBTOKEN_STORE", "vault")
            .env("BBTOKEN_STORE_PATH", "secret/bbtoken/ci")
            .env("VAULT_ADDR", self.address());
        match self.bao.nodes.len() {
            1 => run,
            _ => run.env("VAULT_CACERT", self.bao.ca_file()),
        }
    }

    /// Makes a command one of a job: it has the token of its CI service.
    pub(crate) fn of_job(&self, run: Run) -> Run {
        self.with_store(run)
            .env("BBTOKEN_STORE_ROLE", "ci")
            .env("VAULT_ID_TOKEN", self.bao.job())
    }

    /// Prepares a job that asks for a token.
    pub(crate) fn token(&self) -> Run {
        self.of_job(self.world.bbtoken(["token"]))
    }

    /// Runs jobs that ask for a token, each on a machine of its own.
    pub(crate) fn jobs(&self, machines: Range<usize>, at_once: usize) -> Vec<Job> {
        let token = |_, _: &Path| self.token();
        on_machines(&self.world, machines, at_once, token)
    }
}
