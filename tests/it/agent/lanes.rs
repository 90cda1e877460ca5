//! Which commands share connections, which never use the agent, and how many it lends.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    iter,
    ops::RangeInclusive,
    os::unix::{
        fs::MetadataExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Stdio},
    time::{Duration, SystemTime},
};

use bitbucket_local::{Action, Consumer, Kind, Options, Rule, certificate};

use super::{Lending, Status};
use crate::{
    inspect::Gate,
    needs::{ROOT, needs},
    person::configure_client,
    processes::Process,
    support::{Run, helper},
};

/// A kind of command that uses the agent.
type Make<'a> = Box<dyn Fn() -> Run + 'a>;

#[test]
fn commands_of_another_profile_server_or_certificate_file_share_no_connection() {
    let world = Lending::new();
    for profile in ["one", "two"] {
        configure_client(&world, profile, &Consumer::new_private());
    }
    let of_profile = |profile: &'static str| -> Make<'_> {
        let list = || world.list().without_client();
        Box::new(move || list().env("BBTOKEN_PROFILE", profile))
    };
    let gate = Gate::to(&world);
    let by_address = world.bitbucket.base_url().replace("localhost", "127.0.0.1");
    let authority = world.path("authority.pem");
    fs::copy(world.bitbucket.ca_file(), &authority).expect("the name is free");
    let with_file = || -> Make<'_> { Box::new(|| world.list().env("GIT_SSL_CAINFO", &authority)) };
    let change: [(&str, &dyn Fn()); 7] = [
        ("usual", &|| {}),
        ("profile one", &|| {}),
        ("profile two", &|| {}),
        ("address of the host", &|| {}),
        ("another port", &|| {}),
        ("another file", &|| {}),
        ("the file is touched", &|| {
            let file = fs::File::options().append(true).open(&authority);
            let file = file.expect("it is there");
            let before = SystemTime::now() - Duration::from_secs(3600);
            file.set_modified(before).expect("it is the test's");
        }),
    ];
    let kinds: [Make<'_>; 7] = [
        Box::new(|| world.list()),
        of_profile("one"),
        of_profile("two"),
        Box::new(|| world.list().env("BBTOKEN_BASE_URL", &by_address)),
        Box::new(|| gate.between(&world, world.list())),
        with_file(),
        with_file(),
    ];
    world.start();
    let mut seen = BTreeMap::new();
    for ((name, change), make) in change.into_iter().zip(&kinds) {
        change();
        world.bitbucket.clear_requests();
        world.borrows(make);
        for request in world.bitbucket.git_requests() {
            let other = seen.insert(request.connection, name);
            assert!(
                other.is_none_or(|other| other == name),
                "connection {} serves '{name}' and '{other:?}'",
                request.connection
            );
        }
    }
    // Each kind still has a connection of its own.
    for (name, make) in [("usual", 0), ("profile one", 1)] {
        world.bitbucket.clear_requests();
        world.borrows(&kinds[make]);
        for request in world.bitbucket.git_requests() {
            let other = seen.insert(request.connection, name);
            assert!(other.is_none_or(|other| other == name), "{name}: {other:?}");
        }
    }
}

#[test]
fn a_file_with_other_certificates_is_used_at_once() {
    let world = Lending::new();
    let authority = world.path("authority.pem");
    fs::copy(world.bitbucket.ca_file(), &authority).expect("the name is free");
    let list = || world.list().env("GIT_SSL_CAINFO", &authority);
    world.start();
    world.borrows(list);
    let (stranger, _) = certificate().expect("it can be made");
    fs::write(&authority, stranger).expect("it is the test's");
    world.bitbucket.clear_requests();
    list()
        .fails(128)
        .says(&["its certificate is not signed by a trusted CA"]);
    let requests = world.bitbucket.requests();
    assert!(requests.is_empty(), "the old trust is over: {requests:?}");
}

#[test]
fn a_command_in_another_network_uses_no_connection_of_this_one() {
    needs!(ROOT);
    needs!("unshare");
    let world = Lending::new();
    world.start();
    world.borrows(|| world.list());
    world.bitbucket.clear_requests();
    let git = world.git.program.display();
    let line = format!("'{git}' ls-remote bbtoken::ws/repo");
    let elsewhere = world.run(Path::new("unshare"), ["-n", "sh", "-c", &line]);
    elsewhere
        .fails(128)
        .says(&["cannot connect to 'localhost'"]);
    assert!(
        world.bitbucket.requests().is_empty(),
        "no request leaves it"
    );
}

/// Counts the commands that have asked at a socket.
fn asked(socket: &UnixListener) -> usize {
    iter::from_fn(|| socket.accept().ok()).count()
}

/// Listens in the place of an agent.
fn in_place_of_the_agent(world: &Lending) -> UnixListener {
    fs::create_dir(world.place()).expect("no agent has run");
    let socket = UnixListener::bind(world.place().join("agent-1")).expect("the name is free");
    socket.set_nonblocking(true).expect("it is a socket");
    socket
}

#[test]
fn a_command_whose_connection_is_special_does_not_ask_the_agent() {
    let world = Lending::with(Options {
        ipv6: true,
        ..Options::default()
    });
    let socket = in_place_of_the_agent(&world);
    let tree = world.path("tree");
    world.git(["init", "-q"]).arg(&tree).ok();
    let directory = world.path("authorities");
    fs::create_dir(&directory).expect("the name is free");
    fs::copy(world.bitbucket.ca_file(), directory.join("one.pem")).expect("it is new");
    let (_, pair) = certificate().expect("it can be made");
    let own = world.path("own.pem");
    fs::write(&own, pair).expect("the name is free");
    let with = |setting: String| {
        let run = world.git(["-c", &setting, "ls-remote", "bbtoken::ws/repo"]);
        (setting, run)
    };
    let variable = |name: &str, value: &str| (name.to_owned(), world.list().env(name, value));
    let family = |family: &str| {
        let fetch = world.git(["fetch", "-q", family, "bbtoken::ws/repo"]);
        (family.to_owned(), fetch.within(&tree))
    };
    let mirror = {
        let base = format!("bbtoken.baseUrl={}", world.bitbucket.base_url());
        let mirror = "bbtoken.mirrorUrl=https://mirror.localhost:1".to_owned();
        let list = world.git(["-c", &base, "-c", &mirror, "ls-remote", "bbtoken::ws/repo"]);
        (mirror, list.without("BBTOKEN_BASE_URL"))
    };
    let key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let cases = [
        with("http.proxy=http://127.0.0.1:1".to_owned()),
        with(format!("http.sslCert={}", own.display())),
        with("http.sslVerify=false".to_owned()),
        with(format!("http.pinnedPubkey={key}")),
        with("http.sslVersion=tlsv1.3".to_owned()),
        with(format!("http.sslCAPath={}", directory.display())),
        with("bbtoken.agent=false".to_owned()),
        variable("GIT_SSL_NO_VERIFY", "1"),
        variable("https_proxy", "http://127.0.0.1:1"),
        variable("HOSTALIASES", "/dev/null"),
        variable("LOCALDOMAIN", "example.org"),
        variable("RES_OPTIONS", "ndots:1"),
        variable("BBTOKEN_TRANSPORT", "git"),
        mirror,
        family("-4"),
        family("-6"),
    ];
    for (name, run) in cases {
        // Some of them fail, because there is no such proxy, key or mirror.
        let done = run.done();
        let may_fail = ["roxy", "pinned", "mirror"]
            .iter()
            .any(|it| name.contains(it));
        assert!(done.code == Some(0) || may_fail, "{name}: {}", done.stderr);
        let is_of_mirror = done.stderr.contains("mirror.localhost");
        assert_eq!(is_of_mirror, name.contains("mirror"), "{}", done.stderr);
        assert_eq!(asked(&socket), 0, "no command asks with {name}");
        assert!(world.agents().is_empty(), "no agent starts with {name}");
    }
    world.list().ok();
    assert_eq!(asked(&socket), 1, "a usual command asks");
}

#[test]
fn a_command_without_tls_does_not_ask_the_agent() {
    let world = Lending::with(Options {
        tls: false,
        ..Options::default()
    });
    let socket = in_place_of_the_agent(&world);
    world.list().done().expect(0).quiet();
    assert_eq!(asked(&socket), 0, "no command asks");
    assert!(world.agents().is_empty(), "no agent starts");
}

#[test]
fn an_automatic_agent_serves_a_persons_session_only() {
    let world = Lending::new();
    let auto = ["config", "--global", "bbtoken.agent", "auto"];
    world.git(auto).ok();
    let socket = in_place_of_the_agent(&world);
    for name in ["CI", "BUILD_ID", "TF_BUILD", "SUDO_UID"] {
        world.list().env(name, "1").ok();
        assert_eq!(asked(&socket), 0, "no command asks with {name}");
    }
    world.list().without("XDG_RUNTIME_DIR").ok();
    assert_eq!(asked(&socket), 0, "no command asks without a session");
    assert!(world.agents().is_empty(), "no agent starts");
    world.list().ok();
    assert_eq!(asked(&socket), 1, "a person's command asks");
}

#[test]
fn an_automatic_agent_does_not_start_in_a_service_whose_end_would_kill_it() {
    let world = Lending::new();
    let auto = ["config", "--global", "bbtoken.agent", "auto"];
    world.git(auto).ok();
    let socket = in_place_of_the_agent(&world);
    let journal = fs::File::create(world.path("journal")).expect("the name is free");
    let of_journal = journal.metadata().expect("it is there");
    let list_with = |stream: String| {
        let stderr = journal.try_clone().expect("it is open");
        let mut list = world.list().env("JOURNAL_STREAM", stream).into_command();
        let done = list.stdout(Stdio::null()).stderr(stderr).status();
        assert!(done.is_ok_and(|done| done.success()));
    };
    list_with(format!("{}:{}", of_journal.dev(), of_journal.ino()));
    assert_eq!(asked(&socket), 0, "no command asks in a service");
    assert!(world.agents().is_empty(), "no agent starts");
    list_with(format!("{}:1", of_journal.dev()));
    assert_eq!(asked(&socket), 1, "a person's command asks");
}

/// The most connections that the agent keeps.
const MAX_KEPT: usize = 64;

/// Borrows a connection for a profile and returns it, as a command does that sends nothing.
fn borrow_and_return(world: &Lending, profile: usize) {
    let authority = world.bitbucket.ca_file();
    let file = fs::metadata(authority).expect("it is there");
    let network = fs::metadata("/proc/self/ns/net").expect("it is shown");
    let (_, port) = world.origin().rsplit_once(':').expect("it has a port");
    let ask = serde_json::json!({ "connection": {
        "host": "localhost",
        "port": port.parse::<u16>().expect("it is a number"),
        "identity": profile.to_string(),
        "roots": authority,
        "stamp": format!("{} {} {}.{}", file.size(), file.ino(), file.mtime(), file.mtime_nsec()),
        "network": network.ino(),
    }});
    let socket = UnixStream::connect(world.place().join("agent-1"));
    let mut socket = socket.expect("the agent listens");
    socket
        .write_all(format!("{ask}\n").as_bytes())
        .expect("it reads");
    let words = BufReader::new(&socket).lines();
    let mut words = words.map(|word| word.expect("it answers"));
    assert!(words.any(|word| word == "ready"), "it lends one");
    socket.write_all(&[0; 4]).expect("it reads");
}

#[test]
fn of_connections_for_many_profiles_the_agent_keeps_64() {
    let world = Lending::new();
    world.start();
    let borrow_all = |profiles: RangeInclusive<usize>| {
        for profile in profiles {
            borrow_and_return(&world, profile);
        }
        world.until(|status| status.lent == 0)
    };
    let before = borrow_all(0..=MAX_KEPT);
    assert_eq!(before.kept, MAX_KEPT);
    // The first one is that of the command that started it.
    let after = borrow_all(0..=MAX_KEPT - 2);
    assert_eq!(after.dialed, before.dialed, "a kept one is used again");
}

/// The most connections that the agent lends, and the commands at once.
const MAX_LENT: usize = 64;
const COMMANDS: usize = 200;
/// Each lent connection has a socket to the server, one to the command and a copy of the first; the agent has its own
/// socket, its lock and those of its runtime.
const MAX_HANDLES: usize = 3 * MAX_LENT + 40;
/// What an allocator may keep after a burst that it did not have after the one before.
const GROWTH_BYTES: u64 = 4 * 1024 * 1024;

/// What git sends for a list of the refs (gitremote-helpers(7), gitprotocol-v2(5)).
const LIST: &[u8] = b"connect git-upload-pack\n0014command=ls-refs\n000100000000";

/// Starts a command without git: a helper that lists the refs.
fn helper_that_lists(world: &Lending) -> Child {
    let run = world.run(&helper(), ["origin", "bbtoken::ws/repo"]);
    let mut command = run.into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("it is a pipe");
    input.write_all(LIST).expect("it is read");
    child
}

/// Runs many commands at once, of which the server answers none before all have asked. Gives the agent's state then.
fn burst(world: &Lending, agent: &Process) -> Status {
    world.bitbucket.clear_requests();
    world
        .bitbucket
        .script(Rule::new(Action::Hold).kind(Kind::Git).forever());
    let commands: Vec<_> = iter::repeat_with(|| helper_that_lists(world))
        .take(COMMANDS)
        .collect();
    let came = world.bitbucket.wait_for(|seen| seen.len() == COMMANDS);
    came.expect("every command sends its request");
    let during = world.until(|_| true);
    let handles = agent.handles();
    assert!(handles <= MAX_HANDLES, "{handles} open files: {during:?}");
    world.bitbucket.clear_script();
    world.bitbucket.release();
    for command in commands {
        let done = command.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "every command succeeds");
        assert!(shown.contains(" refs/heads/main\n"), "{shown}");
    }
    during
}

#[test]
fn of_200_commands_at_once_the_agent_serves_64_and_then_is_as_before() {
    needs!("faketime");
    let world = Lending::new();
    let agent = world.start_with_clock("+0");
    let mut memory = Vec::new();
    for _ in 0..3 {
        let during = burst(&world, &agent);
        assert_eq!(during.lent, MAX_LENT, "the others connect directly");
        let after = world.until(|status| status.lent == 0);
        assert!(
            after.kept <= MAX_LENT,
            "it keeps what it has lent: {after:?}"
        );
        memory.push(agent.memory());
    }
    assert!(
        memory[2] <= memory[0].map(|first| first + GROWTH_BYTES),
        "memory grows: {memory:?}"
    );
    // 15 s later, only the usual connections are left; a command still gets one.
    world.set_clock("+20");
    let later = world.until(|_| true);
    assert!(later.kept <= 2, "extra connections are closed: {later:?}");
    assert!(agent.handles() <= 40, "and so are their sockets");
    let used = world.borrows(|| world.list());
    assert_eq!(used.pid, later.pid);
}
