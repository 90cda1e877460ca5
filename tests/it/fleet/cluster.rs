//! Three nodes: what a client sees of standbys, elections and a lost quorum.

use expect_test::expect_file;
use serde_json::{Value, json};

use super::{bao::Bao, mounts::RECORD, node::until, transcript::Transcript, wire::Request};
use crate::{needs::needs, texts::is_expected};

fn record(cas: u64) -> Value {
    json!({"options": {"cas": cas}, "data": {"refresh_token": "R"}})
}

impl Bao {
    fn write(&self, node: usize, cas: u64) -> Request {
        let request = self.nodes[node].request("POST", RECORD);
        request.token(&self.root).body(record(cas))
    }

    fn read(&self, node: usize) -> Request {
        self.nodes[node].request("GET", RECORD).token(&self.root)
    }

    /// The version that a node tells now; none if it fails.
    fn version(&self, node: usize) -> Option<u64> {
        let answer = self.read(node).attempt().ok()?;
        answer.json().pointer("/data/metadata/version")?.as_u64()
    }

    /// Writes the next version through the leader, as soon as there is one that takes it.
    fn writes(&self, cas: u64) {
        until("a leader takes the write", || {
            let answer = self.write(self.leader(), cas).attempt().ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Waits until every node tells a version.
    fn has_everywhere(&self, version: u64) {
        until("each node has the version", || {
            let has = |node| self.version(node) == Some(version);
            (0..self.nodes.len()).all(has).then_some(())
        });
    }
}

#[test]
fn three_nodes_keep_the_record_when_the_leader_is_killed_stopped_or_steps_down() {
    needs!("programs/openbao");
    let bao = Bao::three();
    bao.writes(0);
    bao.has_everywhere(1);
    let killed = bao.leader();
    bao.nodes[killed].kill();
    bao.writes(1);
    assert_ne!(bao.leader(), killed, "another node leads");
    bao.restart(killed);
    bao.has_everywhere(2);
    bao.step_down();
    bao.writes(2);
    bao.has_everywhere(3);
    let stopped = bao.leader();
    bao.nodes[stopped].stop();
    bao.writes(3);
    assert_ne!(bao.leader(), stopped, "another node leads");
    bao.nodes[stopped].go_on();
    bao.has_everywhere(4);
}

/// A leader and a standby of a cluster.
struct Pair<'b> {
    bao: &'b Bao,
    leader: usize,
    standby: usize,
    version: u64,
}

impl Pair<'_> {
    /// Writes the next version through the leader; gives the index that its answer tells.
    fn writes(&mut self) -> String {
        let written = self.bao.write(self.leader, self.version).ok();
        self.version += 1;
        let index = written.header("X-Vault-Index");
        index.expect("it tells how far the leader is").to_owned()
    }

    /// Reads through the standby, right after a write, until it is caught behind the leader.
    fn reads_behind(&mut self, said: &mut Transcript, what: &str) {
        until("a standby is behind", || {
            let index = self.writes();
            let request = self.bao.read(self.standby);
            let request = request.header("X-Vault-Index", &index);
            let asked = request.shown();
            let answer = request.done();
            said.name(index, "INDEX");
            let is_behind = answer.status != 200;
            is_behind.then(|| said.keep(what, &asked, &answer))
        });
    }
}

/// Asks the active node in the place of a standby that is behind.
fn forwarded(request: Request, index: &str) -> Request {
    let request = request.header("X-Vault-Index", index);
    request.header("X-Vault-Inconsistent", "forward-active-node")
}

#[test]
fn a_standby_that_forwards_by_index_is_never_behind() {
    needs!("programs/openbao");
    let bao = Bao::three();
    let leader = bao.leader();
    let mut pair = Pair {
        bao: &bao,
        leader,
        standby: (leader + 1) % 3,
        version: 0,
    };
    for _ in 0..30 {
        let index = pair.writes();
        let read = forwarded(bao.read(pair.standby), &index).ok();
        let version = read.json()["data"]["metadata"]["version"].as_u64();
        assert_eq!(version, Some(pair.version), "it forwards the read");
        let index = read.header("X-Vault-Index").unwrap_or(&index);
        forwarded(bao.write(pair.standby, pair.version), index).ok();
        pair.version += 1;
    }
}

/// Kills two of three nodes.
fn loses_its_quorum(said: &mut Transcript, pair: &Pair<'_>) {
    let &Pair {
        bao,
        leader,
        standby,
        version,
    } = pair;
    for node in [standby, (leader + 2) % 3] {
        bao.nodes[node].kill();
    }
    bao.nodes[leader].waits_for(429);
    until("it serves its own copy", || {
        (bao.version(leader) == Some(version)).then_some(())
    });
    said.name(format!("\"cas\":{}", version), "\"cas\":LAST");
    said.note(
        "health of one of three",
        bao.nodes[leader].request("GET", "sys/health"),
    );
    said.note("it reads its own copy", bao.read(leader));
    said.note("it judges by its own copy", bao.write(leader, 0));
    let write = bao.write(leader, version);
    said.note("and writes nothing", write);
}

#[test]
fn standbys_and_a_lost_quorum() {
    needs!("programs/openbao");
    let bao = Bao::three();
    let mut said = Transcript::default();
    said.name(bao.root.clone(), "ROOT");
    let leader = bao.leader();
    let standby = (leader + 1) % 3;
    let health = |node: usize| bao.nodes[node].request("GET", "sys/health");
    said.note("health of the leader", health(leader));
    said.note("health of a standby", health(standby));
    let mut pair = Pair {
        bao: &bao,
        leader,
        standby,
        version: 0,
    };
    pair.reads_behind(&mut said, "a standby is behind");
    let index = pair.writes();
    said.name(index.clone(), "INDEX");
    said.name(format!("\"version\":{}", pair.version), "\"version\":LAST");
    let read = forwarded(bao.read(standby), &index);
    said.note("it forwards the read", read);
    let garbage = bao.read(standby).header("X-Vault-Index", "garbage");
    said.note("no index", garbage);
    let seal = bao.nodes[standby].request("POST", "sys/seal");
    said.note("a standby is sealed", seal.token(&bao.root));
    said.note("health of a sealed node", health(standby));
    said.note("a sealed node", bao.read(standby));
    bao.unseal(standby);
    bao.has_everywhere(pair.version);
    loses_its_quorum(&mut said, &pair);
    let expected = expect_file!["../expected/openbao-standbys.txt"];
    is_expected(&expected, &said.text);
}
