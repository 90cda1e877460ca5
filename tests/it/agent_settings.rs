//! The agent's setting: `setup` writes it, `unsetup` and `logout --all` end the agent, `doctor` finds what prevents it.

use std::{
    fs,
    ops::Deref,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::Child,
    thread,
};

use crate::{
    conversation::converse,
    needs::needs,
    support::{Run, World, gits},
};

/// A world whose user has a runtime directory, as in a session.
struct Session(World);

impl Deref for Session {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Session {
    fn new() -> Self {
        let session = Session(World::new(gits().remove(0)));
        put_directory(&session.runtime(), 0o700);
        session
    }

    fn runtime(&self) -> PathBuf {
        self.path("run")
    }

    fn place(&self) -> PathBuf {
        self.runtime().join("git-remote-bbtoken")
    }

    fn manage<const N: usize>(&self, arguments: [&str; N]) -> Run {
        self.in_session(self.bbtoken(arguments))
    }

    /// The agent keeps no connection that several files of certificates verify.
    fn in_session(&self, run: Run) -> Run {
        run.without("GIT_SSL_CAPATH")
            .env("XDG_RUNTIME_DIR", self.runtime())
    }

    fn set(&self, value: &str) {
        let set = ["config", "--global", "bbtoken.agent", value];
        self.git(set).ok();
    }

    fn setting(&self) -> String {
        let get = ["config", "--global", "--get", "bbtoken.agent"];
        self.git(get).done().stdout.trim_end().to_owned()
    }

    fn start(&self) -> Agent {
        // In another network, it connects to nothing.
        let lane = r#"{"host":"localhost","port":1,"identity":"","network":0}"#;
        let run = self.manage(["agent", "run-alone"]).arg(self.place());
        let run = run.arg(lane).into_command().spawn();
        let mut agent = Agent(run.expect("it starts"));
        while self.state() == "no agent is running" {
            let ended = agent.0.try_wait().expect("it is our child");
            assert!(ended.is_none(), "it runs on: {ended:?}");
            thread::yield_now();
        }
        agent
    }

    fn state(&self) -> String {
        self.manage(["agent", "status"]).ok().trim_end().to_owned()
    }

    /// What `doctor` says about the agent: the finding, and its fix.
    fn finding(&self, doctor: Run) -> Vec<String> {
        let shown = doctor.done().stdout;
        let mut lines = shown
            .lines()
            .map(str::trim)
            .skip_while(|line| !line.contains(" agent: "));
        let finding = lines.next().into_iter();
        let fix = lines.next().filter(|line| line.starts_with("-> "));
        finding.chain(fix).map(str::to_owned).collect()
    }
}

/// A running agent.
struct Agent(Child);

impl Agent {
    /// Waits for its end.
    fn ends(mut self) {
        self.0.wait().expect("it is our child");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn put_directory(path: &Path, mode: u32) {
    fs::create_dir(path).expect("the name is free");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn setup_turns_the_agent_on_where_a_person_works() {
    let session = Session::new();
    let line = "+ bbtoken.agent = auto\n";
    let dry = || session.manage(["setup", "--dry-run"]);
    let is_offered = |run: Run| run.ok().contains(line);
    assert!(is_offered(dry()), "in a session");
    for (name, run) in [
        ("without a session", dry().without("XDG_RUNTIME_DIR")),
        ("in CI", dry().env("CI", "true")),
        ("with sudo", dry().env("SUDO_UID", "1000")),
        ("with --no-agent", dry().arg("--no-agent")),
        (
            "for all users",
            dry()
                .arg("--system")
                .without("GIT_CONFIG_NOSYSTEM")
                .env("GIT_CONFIG_SYSTEM", session.path("gitconfig")),
        ),
    ] {
        assert!(!is_offered(run), "{name}");
    }
    for own in ["false", "true"] {
        session.set(own);
        let shown = dry().done().expect(0);
        assert!(
            !format!("{}{}", shown.stdout, shown.stderr).contains("bbtoken.agent"),
            "setup respects the user's own value without a word: {shown:?}"
        );
    }
}

#[test]
fn unsetup_turns_off_what_setup_turned_on_and_ends_the_agent() {
    let session = Session::new();
    let before = session.gitconfig();
    session.manage(["setup", "--yes"]).ok();
    assert_eq!(session.setting(), "auto");
    assert_eq!(
        session.manage(["setup", "--yes"]).ok(),
        "Git is set up already; nothing to change.\n"
    );
    let agent = session.start();
    let done = session.manage(["unsetup", "--yes"]).done().expect(0);
    assert_eq!(
        done.stderr,
        "Ended the agent, which kept connections open.\n"
    );
    assert_eq!(session.gitconfig(), before, "every byte is as it was");
    agent.ends();

    session.manage(["setup", "--yes"]).ok();
    session.set("true");
    let _agent = session.start();
    session
        .manage(["unsetup", "--yes"])
        .done()
        .expect(0)
        .quiet();
    assert_eq!(session.setting(), "true", "the user's own value stays");
    assert_ne!(session.state(), "no agent is running");
}

#[test]
fn a_logout_of_everything_ends_the_agent_and_creates_nothing() {
    let session = Session::new();
    session.manage(["logout", "--all"]).ok();
    assert!(!session.place().exists(), "without an agent, no directory");
    let agent = session.start();
    let done = session.manage(["logout", "--all"]).done().expect(0);
    done.says(&["Ended the agent, which kept connections open."]);
    agent.ends();
    let left = fs::read_dir(session.place()).expect("the agent made it");
    assert_eq!(left.count(), 0);
}

#[test]
fn doctor_tells_what_keeps_commands_from_the_agent() {
    let session = Session::new();
    let doctor = || session.manage(["doctor"]);
    let found = |doctor: Run| session.finding(doctor);
    assert!(found(doctor()).is_empty(), "without the setting");
    session.set("true");
    assert_eq!(
        found(doctor()),
        ["ok       agent: the next command starts it"]
    );
    let unverified = doctor().env("GIT_SSL_NO_VERIFY", "1");
    let text = "ok       agent: not used: it keeps only https connections that one file of certificates verifies, without a proxy or a client certificate";
    assert_eq!(found(unverified), [text]);

    let long = session.path(&"long".repeat(30));
    let shown = found(doctor().env("BBTOKEN_HOME", &long));
    let [text, fix] = &shown[..] else {
        panic!("{shown:?}")
    };
    assert!(text.starts_with("note     agent: commands cannot use the agent: '/"));
    let why = "/run' is not used, because its path is too long";
    assert!(text.ends_with(why), "{text}");
    assert_eq!(
        fix,
        "-> set BBTOKEN_HOME to a directory of yours with a shorter path"
    );

    let home = session.path("open");
    put_directory(&home, 0o700);
    put_directory(&home.join("run"), 0o777);
    let doctor = || session.manage(["doctor"]).env("BBTOKEN_HOME", &home);
    let shown = found(doctor());
    let [text, fix] = &shown[..] else {
        panic!("{shown:?}")
    };
    assert!(text.contains("because other users may change it"), "{text}");
    let fix = fix.trim_start_matches("-> ");
    session.run("sh".as_ref(), ["-ec", fix]).ok();
    assert_eq!(
        found(doctor()),
        ["ok       agent: the next command starts it"],
        "'{fix}' removes the finding"
    );
}

#[test]
fn doctor_finds_an_agent_that_does_not_answer_and_stop_removes_it() {
    let session = Session::new();
    session.set("true");
    put_directory(&session.place(), 0o700);
    let _silent = UnixListener::bind(session.place().join("agent-1")).expect("it is free");
    let doctor = || session.finding(session.manage(["doctor"]));
    assert_eq!(
        doctor(),
        [
            "note     agent: it does not answer; commands make their own connections",
            "-> git bbtoken agent stop"
        ]
    );
    assert_eq!(
        session.state(),
        "the agent does not answer; to start another one: git bbtoken agent stop"
    );
    let stopped = session.manage(["agent", "stop"]).ok();
    assert!(
        stopped.starts_with("the agent does not answer; "),
        "{stopped}"
    );
    assert_eq!(doctor(), ["ok       agent: the next command starts it"]);
}

#[test]
fn doctor_finds_an_agent_in_another_network() {
    needs!("unshare");
    let session = Session::new();
    session.set("true");
    let agent = session.start();
    let doctor = || session.manage(["doctor"]);
    assert_eq!(
        session.finding(doctor()),
        ["ok       agent: it keeps connections open"]
    );
    let program = crate::support::helper().with_file_name("git-bbtoken");
    let apart = session
        .run("unshare".as_ref(), ["-U", "--map-current-user", "-n"])
        .arg(program)
        .arg("doctor");
    let apart = session.in_session(apart);
    let text = "note     agent: it runs in another network namespace, such as a container's; commands here make their own connections";
    assert_eq!(session.finding(apart), [text, "-> git bbtoken agent stop"]);
    session.manage(["agent", "stop"]).ok();
    agent.ends();
    assert_eq!(
        session.finding(doctor()),
        ["ok       agent: the next command starts it"]
    );
}

#[test]
fn the_setup_after_a_login_names_the_agent_and_never_asks_for_it_alone() {
    needs!("script");
    let session = Session::new();
    let login = format!(
        "XDG_RUNTIME_DIR='{}' git bbtoken login first --client-credentials --client-id {}",
        session.runtime().display(),
        session.consumer.key
    );
    let secret = format!("{}\n", session.consumer.secret);
    let secret = ("client secret (not shown): ", secret.as_str());
    let setup = ", and keep connections open between commands? (d shows the changes) [Y/n/d]: ";
    let exchange = [secret, (setup, "d\n"), (setup, "\n")];
    let (shown, code) = converse(&session, &login, &exchange);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("+ bbtoken.agent = auto"), "{shown}");
    assert_eq!(session.setting(), "auto");
    let unset = ["config", "--global", "--unset", "bbtoken.agent"];
    session.git(unset).ok();
    let (shown, code) = converse(&session, &login, &[]);
    assert_eq!(code, Some(0), "nothing is asked: {shown}");
    assert_eq!(session.setting(), "");
}
