//! The real OpenBao, on one node or on three: initialized, unsealed, and with the mounts of [`super::mounts`].

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    jwt::Issuer,
    node::{Certificate, Node, Storage, until},
    wire::Request,
};
use crate::wire::trusting;

/// One server or a cluster; dropping it ends all of its processes.
pub(crate) struct Bao {
    /// The nodes, in the order in which they joined.
    pub(crate) nodes: Vec<Node>,
    /// The token that may do everything.
    pub(crate) root: String,
    /// The CI service whose jobs may log in.
    pub(crate) issuer: Issuer,
    key: String,
    /// Last, so that the directory outlives what uses it.
    directory: TempDir,
}

impl Bao {
    /// Starts one node with plain HTTP that keeps all in memory. This takes half a second.
    pub(crate) fn one() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let node = Node::start(directory.path().join("node-0"), &Storage::Memory, None);
        Bao::begin(directory, vec![node])
    }

    /// Starts three nodes with TLS by an authority of their own, which share their data by Raft.
    pub(crate) fn three() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificate = certificate(directory.path());
        let start = |number| {
            let place = directory.path().join(format!("node-{number}"));
            Node::start(place, &Storage::Raft, Some(&certificate))
        };
        let nodes = thread::scope(|scope| {
            let started = [0, 1, 2].map(|number| scope.spawn(move || start(number)));
            started.map(|node| node.join().expect("it starts"))
        });
        Bao::begin(directory, nodes.into())
    }

    fn begin(directory: TempDir, nodes: Vec<Node>) -> Self {
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let begun = nodes[0].request("POST", "sys/init").body(shares).ok();
        let bao = Bao {
            nodes,
            root: begun.text("/root_token"),
            issuer: Issuer::new(),
            key: begun.text("/keys/0"),
            directory,
        };
        bao.unseal(0);
        bao.nodes[0].waits_for(200);
        if bao.nodes.len() > 1 {
            bao.join();
        }
        bao.mount();
        bao
    }

    /// Lets the other nodes join the first, and waits until each of them has a vote.
    fn join(&self) {
        let authority = fs::read_to_string(self.ca_file()).expect("it was written");
        let leader = json!({"leader_api_addr": self.address(0), "leader_ca_cert": authority});
        for number in 1..self.nodes.len() {
            let join = self.nodes[number].request("POST", "sys/storage/raft/join");
            join.body(leader.clone()).ok();
            self.unseal(number);
        }
        let soon = json!({"server_stabilization_time": "10ms"});
        let path = "sys/storage/raft/autopilot/configuration";
        self.admin("POST", path).body(soon).ok();
        until("each node has a vote", || {
            let answer = self.admin("GET", "sys/storage/raft/configuration").ok();
            let voters = answer.body.matches("\"voter\":true").count();
            (voters == self.nodes.len()).then_some(())
        });
        for node in &self.nodes[1..] {
            node.waits_for(429);
        }
    }

    /// The address of a node, as people configure it.
    pub(crate) fn address(&self, node: usize) -> String {
        self.nodes[node].endpoint.url()
    }

    /// The certificate of the cluster's authority, as PEM.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Prepares a request to the first node, by root.
    pub(crate) fn admin(&self, method: &'static str, path: &str) -> Request {
        self.nodes[0].request(method, path).token(&self.root)
    }

    /// The requests so far of all but root, in the order of each node, as `read secret/data/bbtoken/ci`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let audits = self.nodes.iter().map(Node::audit).collect::<String>();
        let asked = audits.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let request = &line["request"];
            let is_root = line["auth"]["display_name"] == "root";
            let words = [&request["operation"], &request["path"]];
            let [operation, path] = words.map(|word| word.as_str().unwrap_or_default());
            // OpenBao tries its own file first.
            let is_request = line["type"] == "request" && path != "sys/audit/test";
            (is_request && !is_root).then(|| format!("{operation} {path}"))
        });
        asked.collect()
    }

    /// Waits for a leader, and gives its number.
    pub(crate) fn leader(&self) -> usize {
        until("a node leads", || {
            let leads = |node: &Node| node.health() == Some(200);
            self.nodes.iter().position(leads)
        })
    }

    /// Takes the leadership from the leader, which stays a standby.
    pub(crate) fn step_down(&self) {
        let leader = &self.nodes[self.leader()];
        let request = leader.request("POST", "sys/step-down");
        request.token(&self.root).ok();
    }

    /// Seals a node.
    pub(crate) fn seal(&self, node: usize) {
        let request = self.nodes[node].request("POST", "sys/seal");
        request.token(&self.root).ok();
    }

    /// Unseals a node, which may still be about to join.
    pub(crate) fn unseal(&self, node: usize) {
        until("the node is unsealed", || {
            let request = self.nodes[node].request("POST", "sys/unseal");
            let answer = request.body(json!({"key": self.key})).done();
            answer.body.contains("\"sealed\":false").then_some(())
        });
    }

    /// Starts a node again that was killed, and unseals it.
    pub(crate) fn restart(&self, node: usize) {
        self.nodes[node].restart();
        self.unseal(node);
    }
}

fn certificate(directory: &Path) -> Certificate {
    let (authority, server) = bitbucket_local::certificate().expect("it is made");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).expect("it is new");
        path
    };
    let authority = write("authority.pem", authority);
    Certificate {
        server: write("server.pem", server),
        trusts: trusting(&authority),
    }
}
