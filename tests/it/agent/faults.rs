//! Agents and connections that end unexpectedly. No command fails, and no request is sent twice without need.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, DirBuilder},
    io::{Read as _, Write as _},
    os::unix::{fs::DirBuilderExt as _, net::UnixListener},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use bitbucket_local::{Action, Rule};
use rustix::{net::sockopt, process::Signal};

use super::{Lending, Status, parents::during_a_command, whole::Disturber};
use crate::{
    chance::{Chance, seed},
    inspect::Gate,
    needs::{ROOT, needs, test_of},
    processes::Process,
    support::{Run, World},
};

/// How many fetches there are, unless `BBTOKEN_TEST_KILLS` says otherwise.
const FETCHES: u32 = 40;

#[expect(clippy::print_stdout, reason = "the figures are there to be read")]
#[test]
fn an_agent_that_is_killed_at_random_moments_costs_no_fetch() {
    let wanted = env::var("BBTOKEN_TEST_KILLS").ok();
    let fetches = wanted.map_or(FETCHES, |number| number.parse().expect("it is a number"));
    let world = Lending::new();
    world
        .git(["config", "--global", "maintenance.auto", "false"])
        .ok();
    let tree = world.clone("ws/repo", "tree");
    let bare = world.bitbucket.repository_path("ws", "repo");
    let seeds = world.path("seed-ws-repo");
    world.commits(&seeds, fetches, "next");
    // The server has all commits; one after the other, they become the branch.
    let hidden = ["push", "-q"].map(ToOwned::to_owned);
    world
        .git(hidden)
        .arg(&bare)
        .arg("main:refs/hidden/all")
        .within(&seeds)
        .ok();
    let commits = world
        .git(["rev-list", "--reverse", "-n"])
        .arg(fetches.to_string())
        .arg("main")
        .within(&seeds)
        .ok();
    world.fetch(&tree);
    world.bitbucket.clear_requests();
    world.start();
    let without_disturbance = requests_of_a_fetch(&world, &tree);
    let seed = seed();
    println!("BBTOKEN_TEST_SEED={seed}");
    let chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let disturber = Disturber::signal(world.place().join("agent-1"), chance, Signal::KILL, false);
    world.bitbucket.clear_requests();
    for commit in commits.lines() {
        fs::write(bare.join("refs/heads/main"), format!("{commit}\n")).expect("it is the test's");
        world.fetch(&tree);
        assert_eq!(world.rev(&tree, "origin/main"), commit);
    }
    let kills = disturber.end();
    let requests = world.git_requests();
    let needed = 2 * fetches as usize;
    println!(
        "{fetches} fetches, {kills} kills, {} requests repeated, {} connections",
        requests.len() - needed,
        world.bitbucket.connections()
    );
    assert_eq!(without_disturbance, 1, "the branch is the same");
    assert!(kills > 0, "agents are killed");
    assert!(requests.len() <= needed + kills, "{}", requests.len());
    let is_read = |request: &String| request == "POST git-upload-pack";
    assert!(requests.iter().all(is_read), "{requests:?}");
    assert!(world.bitbucket.token_requests().is_empty());
}

fn requests_of_a_fetch(world: &Lending, tree: &Path) -> usize {
    world.bitbucket.clear_requests();
    world.fetch(tree);
    world.git_requests().len()
}

/// Runs a command whose kept connection is of no use any more; gives its time. It succeeds silently, its requests are as
/// always, and it makes one connection. Until the next command has borrowed one, so many were made.
#[track_caller]
fn costs_one_handshake(world: &Lending, made: u64, list: impl Fn() -> Run) -> Duration {
    let before = world.until(|status| status.lent == 0);
    world.bitbucket.clear_requests();
    let began = Instant::now();
    list().done().expect(0).quiet();
    let time = began.elapsed();
    let requests = world.git_requests();
    assert_eq!(requests, ["POST git-upload-pack"], "no request is repeated");
    assert_eq!(world.bitbucket.connections(), 1, "one handshake");
    let after = world.borrows(list);
    assert_eq!(after.pid, before.pid, "the agent stays");
    assert_eq!(world.bitbucket.connections(), made, "then all is as before");
    time
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_replaced_silently() {
    let world = Lending::new();
    world.start();
    world.bitbucket.script(Rule::new(Action::CloseIdle));
    world.borrows(|| world.list());
    assert_eq!(world.bitbucket.rules_left(), 0, "the server closes it");
    costs_one_handshake(&world, 1, || world.list());
}

#[test]
fn connections_to_a_server_that_restarted_are_replaced_silently() {
    let world = Lending::new();
    let gate = Gate::to(&world);
    let list = || gate.between(&world, world.list());
    list().ok();
    world.until(|status| status.kept > 0 && status.lent == 0);
    world.borrows(list);
    gate.end_connections();
    costs_one_handshake(&world, 1, list);
}

#[test]
fn a_push_after_the_server_has_closed_the_kept_connection_is_sent_once() {
    let world = Lending::new();
    let tree = world.clone("ws/repo", "tree");
    let gate = Gate::to(&world);
    let push = || {
        world.commits(&tree, 1, "next");
        gate.between(&world, world.git(["push", "-q"]).within(&tree))
    };
    gate.between(&world, world.list()).ok();
    world.until(|status| status.kept > 0 && status.lent == 0);
    world.borrows(push);
    for _ in 0..3 {
        world.until(|status| status.kept > 0 && status.lent == 0);
        world.bitbucket.clear_requests();
        gate.end_connections();
        push().done().expect(0).quiet();
        let requests = world.git_requests();
        assert_eq!(requests, ["GET info/refs", "POST git-receive-pack"]);
    }
}

#[test]
fn after_a_suspension_a_kept_connection_is_not_used() {
    needs!("faketime");
    let world = Lending::new();
    // Only the clock that goes on during a suspension jumps.
    let agent = world.start_with_wall_clock("+0");
    world.list().ok();
    world.until(|status| status.kept > 0 && status.lent == 0);
    assert_eq!(world.borrows(|| world.list()).pid, agent.number());
    world.set_clock("+3600");
    costs_one_handshake(&world, 1, || world.list());
}

#[test]
fn two_words_of_the_agent_that_come_together_are_both_read() {
    let world = Lending::new();
    let place = world.place();
    let made = DirBuilder::new().mode(0o700).create(&place);
    made.expect("no agent has run");
    let socket = UnixListener::bind(place.join("agent-1")).expect("the name is free");
    let agent = thread::spawn(move || {
        let (mut command, _) = socket.accept().expect("a command asks");
        // A socket that closes before would fail the question.
        let asked = command.read(&mut [0; 4096]);
        assert!(asked.is_ok_and(|bytes| bytes > 0), "a command asks");
        command
            .write_all(b"dialing\nready\n")
            .expect("the command reads")
    });
    let done = world.list().env("BBTOKEN_TRACE", "1").done().expect(0);
    done.says(&["agent taken"]);
    agent.join().expect("a command asks");
}

/// The address of the server's end of a link, and two of the client's.
const SERVER: &str = "10.9.0.2";
const CLIENTS: [&str; 2] = ["10.9.0.1", "10.9.0.3"];

/// A client's network, without a loopback: its way to 127.0.0.1 leads over a link to this network.
pub(crate) struct Network {
    holder: Child,
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).status();
    assert!(done.is_ok_and(|done| done.success()), "{script}");
}

impl Network {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare");
        let holder = holder.args(["-n", "sleep", "infinity"]).spawn();
        let network = Network {
            holder: holder.expect("it starts"),
        };
        let pid = network.holder.id();
        let here = fs::read_link("/proc/self/ns/net").expect("it is shown");
        while fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|there| there == here) {
            thread::yield_now();
        }
        let up = |device: &str, address: &str| {
            format!(
                "echo 1 > /proc/sys/net/ipv4/conf/{device}/route_localnet
                for which in all {device}; do echo 0 > /proc/sys/net/ipv4/conf/$which/rp_filter; done
                ip addr add {address}/32 dev {device}
                ip link set {device} up"
            )
        };
        let [first, second] = CLIENTS;
        sh(&format!(
            "ip link add far type veth peer name near netns {pid}
            {}
            ip route add {first} dev far
            ip route add {second} dev far",
            up("far", SERVER)
        ));
        network.sh(&format!("{}\n{}", up("near", first), route_from(first)));
        network
    }

    pub(crate) fn sh(&self, script: &str) {
        let enter = format!("nsenter -t {} -n sh -ec", self.holder.id());
        sh(&format!("{enter} '{script}'"));
    }

    /// Prepares a program in this network.
    pub(crate) fn run(&self, world: &World, program: &Path) -> Run {
        let pid = self.holder.id().to_string();
        let run = world.run(Path::new("nsenter"), ["-t", &pid, "-n"]);
        run.arg(program)
    }

    /// Lists refs in this network.
    fn list(&self, world: &Lending) -> Run {
        let run = self.run(world, &world.git.program);
        run.args(["ls-remote", "bbtoken::ws/repo"])
    }
}

fn route_from(address: &str) -> String {
    format!("ip route replace 127.0.0.1/32 via {SERVER} dev near onlink src {address}")
}

/// Runs a test in a network of its own, in which it may change what it likes. False if this is not that network.
pub(crate) fn is_in_own_network(test: &str) -> bool {
    if env::var_os("BBTOKEN_TEST_NETWORK").is_some() {
        return true;
    }
    let this = env::current_exe().expect("this is one");
    let script = "ip link set lo up; exec \"$0\" --exact \"$1\" --nocapture";
    let done = Command::new("unshare")
        .args(["-n", "sh", "-ec", script])
        .arg(this)
        .arg(test)
        .env("BBTOKEN_TEST_NETWORK", "own")
        .output()
        .expect("it starts");
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    false
}

/// A world whose commands are in another network than the server, with an agent that keeps a connection.
fn in_another_network() -> (Lending, Network, Status) {
    let world = Lending::new();
    let network = Network::new();
    network.list(&world).done().expect(0).quiet();
    world.until(|status| status.kept > 0 && status.lent == 0);
    let status = world.borrows(|| network.list(&world));
    (world, network, status)
}

#[test]
fn a_connection_from_an_address_that_is_gone_is_replaced_silently() {
    needs!(ROOT, "ip", "unshare", "nsenter");
    if !is_in_own_network(test_of(&|| ())) {
        return;
    }
    let (world, network, _) = in_another_network();
    let [first, second] = CLIENTS;
    network.sh(&format!(
        "ip addr add {second}/32 dev near
        {}
        ip addr del {first}/32 dev near",
        route_from(second)
    ));
    costs_one_handshake(&world, 1, || network.list(&world));
}

/// Gives the limits for unconfirmed bytes of the agent's connections, in milliseconds (tcp(7), `TCP_USER_TIMEOUT`).
fn limits_ms(agent: &Process) -> BTreeSet<u32> {
    let handles = agent.copied_handles().into_iter();
    let limits = handles.filter_map(|handle| sockopt::tcp_user_timeout(handle).ok());
    limits.collect()
}

#[test]
fn before_the_first_answer_on_a_connection_its_loss_costs_two_seconds() {
    needs!(ROOT);
    let world = Lending::new();
    let agent = world.running(&world.start());
    let mut before = BTreeSet::new();
    during_a_command(&world, || before = limits_ms(&agent));
    assert_eq!(before, BTreeSet::from([2_000]));
    world.until(|status| status.lent == 0);
    let after = limits_ms(&agent);
    assert_eq!(after, BTreeSet::from([30_000]), "as without an agent");
}

/// What a lost connection may cost: two seconds, and what a busy machine takes. The system alone takes minutes.
const LOSS_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_connection_that_a_router_forgot_costs_two_seconds_once() {
    needs!(ROOT, "ip", "unshare", "nsenter");
    if !is_in_own_network(test_of(&|| ())) {
        return;
    }
    let (world, network, status) = in_another_network();
    let port = port_of(status.pid);
    // A packet for which this rule is the first one vanishes.
    sh(&format!(
        "ip rule add pref 5 lookup local
        ip rule del pref 0
        ip rule add pref 1 ipproto tcp sport {port} blackhole"
    ));
    // The agent makes the next one.
    let time = costs_one_handshake(&world, 2, || network.list(&world));
    assert!(time < LOSS_LIMIT, "{time:?}");
}

/// Finds the port of an agent's only connection (proc_net(5)).
fn port_of(agent: u32) -> u16 {
    let table = fs::read_to_string(format!("/proc/{agent}/net/tcp")).expect("it is shown");
    let ports = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        // 1 is TCP_ESTABLISHED.
        let is_open = words[3] == "01";
        let (_, port) = words[1].split_once(':')?;
        is_open.then(|| u16::from_str_radix(port, 16).ok())?
    });
    let ports: Vec<_> = ports.collect();
    assert_eq!(ports.len(), 1, "{table}");
    ports[0]
}
