//! The scripts of docs/fleet for other stores, with the real etcd and PostgreSQL.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    machines::{all_succeed, on_machines},
    node::until,
    port::Port,
};
use crate::{
    needs::needs,
    support::{Run, World, gits, put_program},
};

const ETCD: &str = "/usr/bin/etcd";
/// Where Debian has the server of PostgreSQL, by its version.
const POSTGRESQL: &str = "/usr/lib/postgresql";
/// The user nobody: PostgreSQL does not start as root.
const NOBODY: u32 = 65_534;

/// A server; dropping it kills it.
struct Server {
    child: Child,
    /// What its clients need.
    variables: Vec<(&'static str, String)>,
    script: &'static str,
    _ports: Vec<Port>,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn prepared(&self, run: Run) -> Run {
        let with = |run: Run, (name, value): &(&'static str, String)| run.env(name, value);
        self.variables.iter().fold(run, with)
    }

    fn script(&self) -> PathBuf {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet");
        place.join(self.script)
    }

    /// Runs the script.
    fn ask(&self, world: &World, words: &[&str], input: &str) -> (Option<i32>, String) {
        let run = world.run(&self.script(), words.iter().copied());
        let done = self.prepared(run).input(input).done();
        (done.code, done.stdout)
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn etcd() -> Server {
    let (directory, ports) = (directory(), vec![Port::keep(), Port::keep()]);
    let [client, peer] = [0, 1].map(|at: usize| format!("http://127.0.0.1:{}", ports[at].number));
    let mut command = Command::new(ETCD);
    command.arg("--data-dir").arg(directory.path().join("data"));
    command.args([
        "--listen-client-urls",
        &client,
        "--advertise-client-urls",
        &client,
    ]);
    command.args([
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
    ]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    Server {
        child: started(&mut command),
        variables: vec![("ETCDCTL_ENDPOINTS", client), ("ETCDCTL_API", "3".into())],
        script: "etcd.sh",
        _ports: ports,
        _directory: directory,
    }
}

fn started(command: &mut Command) -> Child {
    let silent = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    silent.spawn().expect("the server starts")
}

fn postgresql() -> Server {
    let (directory, ports) = (directory(), vec![Port::keep()]);
    let versions = fs::read_dir(POSTGRESQL).expect("it is installed").flatten();
    let version = versions
        .map(|entry| entry.path())
        .max()
        .expect("there is one");
    let program = |name: &str| {
        let mut command = Command::new(version.join("bin").join(name));
        command.env_clear().current_dir(directory.path());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY);
        }
        command
    };
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), None).expect("root may give a directory away");
    }
    let data = directory.path().join("data");
    let mut made = program("initdb");
    made.args([
        "--auth",
        "trust",
        "--username",
        "postgres",
        "--no-sync",
        "-D",
    ]);
    assert!(
        made.arg(&data)
            .output()
            .expect("it starts")
            .status
            .success()
    );
    let port = ports[0].number.to_string();
    let mut command = program("postgres");
    command.args(["-F", "-h", "127.0.0.1", "-p", &port, "-k"]);
    command.arg(directory.path()).arg("-D").arg(&data);
    let variables = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", "postgres"),
    ];
    Server {
        child: started(&mut command),
        variables: variables
            .map(|(name, value)| (name, value.to_owned()))
            .into(),
        script: "postgresql.sh",
        _ports: ports,
        _directory: directory,
    }
}

/// Creates the table, as the head of the script says.
fn create_table(world: &World, server: &Server) {
    let script = fs::read_to_string(server.script()).expect("it is there");
    let lines = script.lines().filter_map(|line| line.strip_prefix("#   "));
    let sql: String = lines.collect();
    until("the table is there", || {
        let run = world.run("/usr/bin/psql".as_ref(), ["-c", &sql]);
        (server.prepared(run).done().code == Some(0)).then_some(())
    });
}

/// Checks that one of many writers wins, and that machines share one token.
fn is_a_store(world: &World, server: &Server) {
    assert_eq!(
        server.ask(world, &["read"], "").0,
        Some(2),
        "there is no record"
    );
    let record = r#"{"a":"b'c\\n\"$record"}"#;
    let (code, version) = server.ask(world, &["replace", "0"], record);
    assert_eq!(code, Some(0));
    let expected = format!("{}\n{record}", version.trim());
    assert_eq!(server.ask(world, &["read"], "").1.trim_end(), expected);
    assert_eq!(
        server.ask(world, &["replace", "0"], record).0,
        Some(3),
        "it is overtaken"
    );
    let racing = |number, _: &Path| {
        let run = world.run(&server.script(), ["replace", version.trim()]);
        server.prepared(run).input(&format!("{{\"by\":{number}}}"))
    };
    let codes = on_machines(world, 0..20, 20, racing)
        .into_iter()
        .map(|job| job.done.code);
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [&[Some(0)][..], &[Some(3); 19][..]].concat());
    let newest = server.ask(world, &["read"], "").1;
    let newest = newest.lines().next().expect("there is a version");
    let empty = server.ask(world, &["replace", newest], "");
    assert_eq!(empty.0, Some(0), "a removed record is empty");
    shares_a_login(world, server);
}

fn shares_a_login(world: &World, server: &Server) {
    let shared = |run: Run| {
        let run = run.without_client().env("BBTOKEN_STORE", "command");
        server.prepared(run).env(
            "BBTOKEN_STORE_COMMAND",
            server.script().display().to_string(),
        )
    };
    let key = &world.consumer.key;
    let login = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        key,
        "--with-secret",
        "--no-setup",
        "--no-check",
    ];
    shared(world.bbtoken(login))
        .input(&world.consumer.secret)
        .done()
        .expect(0);
    let token = |_, _: &Path| shared(world.bbtoken(["token"]));
    all_succeed(&on_machines(world, 100..110, 5, token));
    assert_eq!(
        world.bitbucket.token_requests().len(),
        1,
        "ten machines, one request"
    );
    shared(world.bbtoken(["logout", "--shared"])).ok();
    shared(world.bbtoken(["token"])).fails(4);
}

#[test]
fn etcd_is_a_store() {
    needs!(ETCD, "etcdctl");
    let (world, server) = (World::new(gits().remove(0)), etcd());
    until("etcd answers", || {
        (server.ask(&world, &["read"], "").0 == Some(2)).then_some(())
    });
    is_a_store(&world, &server);
}

#[test]
fn postgresql_is_a_store() {
    needs!(POSTGRESQL, "psql");
    let (world, server) = (World::new(gits().remove(0)), postgresql());
    create_table(&world, &server);
    is_a_store(&world, &server);
}

#[test]
fn a_script_that_cannot_reach_its_store_fails_with_1() {
    needs!("etcdctl", "psql");
    let world = World::new(gits().remove(0));
    for (script, variables) in [
        (
            "etcd.sh",
            [
                ("ETCDCTL_ENDPOINTS", "http://127.0.0.1:9"),
                ("ETCDCTL_DIAL_TIMEOUT", "1s"),
            ],
        ),
        ("postgresql.sh", [("PGHOST", "127.0.0.1"), ("PGPORT", "9")]),
    ] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/fleet")
            .join(script);
        for words in [&["read"][..], &["replace", "1"]] {
            let run = world.run(&script, words.iter().copied());
            let run = variables
                .iter()
                .fold(run, |run, (name, value)| run.env(name, value));
            let done = run.input("{}").done();
            assert_eq!(done.code, Some(1), "{words:?}: {}", done.stderr);
        }
    }
}

/// The words of kubectl for a Secret that has changed.
const CONFLICT: &str = "Error from server (Conflict): Operation cannot be fulfilled on secrets \"bbtoken-ci\": the object has been modified";

#[test]
fn the_script_for_kubectl_takes_only_a_conflict_for_one() {
    let world = World::new(gits().remove(0));
    let directory = world.path("stand-in");
    fs::create_dir(&directory).expect("the world can be written");
    let seen = directory.join("seen");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet/kubectl.sh");
    let path = [directory.clone().into_os_string(), world.search_path()].join(":".as_ref());
    for (words, does, code, said) in [
        (
            "read",
            "printf '7\\neyJhIjoxfQ=='".to_owned(),
            0,
            "7\n{\"a\":1}",
        ),
        ("read", "printf '7\\n'".to_owned(), 0, "7\n"),
        ("read", "exit 1".to_owned(), 1, ""),
        ("replace", "printf 8".to_owned(), 0, "8\n"),
        (
            "replace",
            "echo 'Warning: old' >&2; printf 8".to_owned(),
            0,
            "8\n",
        ),
        ("replace", format!("echo '{CONFLICT}' >&2; exit 1"), 3, ""),
        (
            "replace",
            "echo 'Error from server (NotFound)' >&2; exit 1".to_owned(),
            1,
            "",
        ),
    ] {
        let text = format!("#!/bin/sh\ncat >'{}'\n{does}\n", seen.display());
        put_program(directory.join("kubectl"), text);
        let words = [words, "7"];
        let run = world.run(&script, &words[..if words[0] == "read" { 1 } else { 2 }]);
        let done = run.env("PATH", &path).input("{\"a\":1}").done();
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(code), said),
            "{does}"
        );
    }
    let sent = fs::read_to_string(seen).expect("it was sent");
    for part in ["\"resourceVersion\":\"7\"", "\"record\":\"eyJhIjoxfQ==\""] {
        assert!(sent.contains(part), "{part} is missing in: {sent}");
    }
}
