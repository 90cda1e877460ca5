//! The stores of logins: a real Secret Service, and the kernel's keyring. Runs with one version of git, because the
//! version does not matter.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    inspect::{files, names},
    needs::needs,
    person::{
        as_person, configure, configure_login, git_bbtoken, log_in_by, nothing_was_used_too_late,
        refreshes, state,
    },
    support::{Run, World, gits, put_program},
};

/// A world with a profile whose login is kept in a store.
fn world(store: &str) -> World {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    configure_login(&world, "work", &world.consumer);
    configure(&world, "work", &[("store", store)]);
    world
}

/// Runs a program in the test's session.
type Within<'s> = &'s dyn Fn(&Path, &[&str]) -> Run;

/// Logs in, refreshes and logs out by real commands that are run in a session; nothing of the login is in a file.
fn serves_a_login(world: &World, within: Within<'_>) {
    let git = world.git.program.clone();
    let list = || within(&git, &["ls-remote", "bbtoken::ws/repo"]).done();
    list().expect(128).says(&[
        "error: cannot read repository 'ws/repo'\ncaused by: profile 'work' is not logged in\n",
    ]);
    log_in_by(world, within(&git_bbtoken(), &["login", "work"])).expect(0);
    world.bitbucket.clear_requests();
    for refresh in 1..=4 {
        world.bitbucket.advance_clock(Duration::from_secs(7_300));
        for _ in 0..2 {
            assert_eq!(without_noise(&list().expect(0).stderr), "");
        }
        assert_eq!(
            refreshes(world),
            refresh,
            "its refresh token of 2,500 characters came back"
        );
    }
    nothing_was_used_too_late(world);
    let kept = names(&state(world))
        .into_iter()
        .filter(|name| !name.ends_with(".lock"));
    assert_eq!(
        kept.collect::<Vec<_>>(),
        Vec::<String>::new(),
        "no file holds the login"
    );
    let out = within(&git_bbtoken(), &["logout"]).ok();
    assert_eq!(
        out,
        "Removed from profile 'work': login, cached access token.\n"
    );
    list().expect(128).says(&[
        "error: cannot read repository 'ws/repo'\ncaused by: profile 'work' is not logged in\n",
    ]);
    assert!(nothing_fell_back_to_a_file(world));
}

fn nothing_fell_back_to_a_file(world: &World) -> bool {
    files(&state(world))
        .values()
        .all(|content| content.len() < 100)
}

/// A message bus of its own with a Secret Service on it that a password has unlocked, for one world.
struct Desktop {
    script: PathBuf,
}

impl Desktop {
    /// `keychain` is the script's line that starts a keychain, or none.
    fn new(world: &World, keychain: &str) -> Self {
        let script = world.path("desktop");
        let bus = world.path("bus.conf");
        fs::write(&bus, BUS).expect("the world can be written");
        // The bus ends with the script, and the keychain with the bus.
        let text = format!(
            "#!/bin/sh\nexec dbus-run-session --config-file='{}' -- sh -c '{keychain}exec \"$@\"' sh \"$@\"\n",
            bus.display()
        );
        put_program(&script, text);
        Desktop { script }
    }

    fn run(&self, world: &World, program: &Path, arguments: &[&str]) -> Run {
        let program = [program.to_str().expect("it is text")];
        let run = world.run(&self.script, program.iter().chain(arguments));
        as_person(run).env("XDG_RUNTIME_DIR", world.path("home"))
    }
}

/// A bus that starts no keychain by itself (dbus-daemon(1)): on a busy machine it would start one before ours has its
/// name, and that one would outlive the bus.
const BUS: &str = r#"<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#;

/// Starts gnome-keyring with its own keyring file in the world's home, unlocked by a password on its input.
const KEYCHAIN: &str = "printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; \
     until dbus-send --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
     string:org.freedesktop.secrets | grep -q true; do sleep 0.05; done; ";

/// What others say before our own words: a bus that may not raise its own limit of open files.
fn without_noise(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| !line.starts_with("dbus-daemon["));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_secret_service_keeps_a_login() {
    needs!("gnome-keyring-daemon", "dbus-run-session");
    let world = &world("keyring");
    let desktop = Desktop::new(world, KEYCHAIN);
    serves_a_login(world, &|program, arguments| {
        desktop.run(world, program, arguments)
    });
}

#[test]
fn a_locked_or_missing_keychain_is_an_error_without_a_fallback() {
    needs!("gnome-keyring-daemon", "dbus-run-session");
    let world = &world("keyring");
    let unlocked = Desktop::new(world, KEYCHAIN);
    log_in_by(
        world,
        unlocked.run(world, &git_bbtoken(), &["login", "work"]),
    )
    .expect(0);
    world.bitbucket.advance_clock(Duration::from_secs(7_300));
    world.bitbucket.clear_requests();
    let git = world.git.program.clone();
    // No user is there to type the password.
    let locked = KEYCHAIN
        .replace("printf password | ", "")
        .replace("--unlock", "--start");
    for (keychain, what) in [(locked.as_str(), "locked"), ("", "absent")] {
        let desktop = Desktop::new(world, keychain);
        let done = desktop
            .run(world, &git, &["ls-remote", "bbtoken::ws/repo"])
            .done()
            .expect(128);
        let stderr = without_noise(&done.stderr);
        assert!(
            stderr.contains("error: cannot ") && stderr.contains("keychain"),
            "{what}: {stderr}"
        );
        assert!(stderr.contains("hint: "), "{what}: {stderr}");
        let login = desktop
            .run(world, &git_bbtoken(), &["login", "work", "--port", "0"])
            .done()
            .expect(7);
        assert_eq!(
            login.stdout, "",
            "{what}: no page is named before it is sure that a login can be kept"
        );
    }
    // Without any bus at all.
    let list = as_person(world.git(["ls-remote", "bbtoken::ws/repo"]))
        .done()
        .expect(128);
    list.says(&["keychain"]);
    assert!(
        world.bitbucket.token_requests().is_empty(),
        "no refresh token is used"
    );
    assert!(nothing_fell_back_to_a_file(world));
    let desktop = Desktop::new(world, KEYCHAIN);
    desktop
        .run(world, &git, &["ls-remote", "bbtoken::ws/repo"])
        .ok();
}

#[test]
fn the_kernel_s_keyring_keeps_a_login() {
    needs!("keyctl");
    let world = &world("kernel-keyring");
    serves_a_login(world, &|program, arguments| {
        as_person(world.run(program, arguments))
    });

    // Another session of the same user: what one refreshes the other one sees.
    let git = world.git.program.to_str().expect("it is text").to_owned();
    let here = || as_person(world.git(["ls-remote", "bbtoken::ws/repo"])).ok();
    // (keyctl(1), "session": a program in a new one)
    let elsewhere = || {
        let arguments = ["session", "-", &git, "ls-remote", "bbtoken::ws/repo"];
        as_person(world.run(Path::new("keyctl"), arguments)).ok()
    };
    log_in_by(
        world,
        as_person(world.run(&git_bbtoken(), ["login", "work"])),
    )
    .expect(0);
    for _ in 0..3 {
        for list in [&elsewhere as &dyn Fn() -> String, &here] {
            // Longer than the grace: a token that was used by the other one is dead.
            world.bitbucket.advance_clock(Duration::from_secs(7_300));
            list();
        }
    }
    nothing_was_used_too_late(world);
    as_person(world.run(&git_bbtoken(), ["logout"])).ok();
}

#[test]
fn a_login_chooses_an_unlocked_keychain_and_otherwise_a_file() {
    needs!("gnome-keyring-daemon", "dbus-run-session");
    let world = &World::new(gits().remove(0));
    let token = world.bitbucket.issue_resource_token();
    let locked = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1; ";
    let log_in = |profile: &str, keychain: &str| {
        let login = ["login", profile, "--with-token"];
        let desktop = Desktop::new(world, keychain);
        desktop
            .run(world, &git_bbtoken(), &login)
            .input(&token)
            .done()
            .expect(0)
    };
    for keychain in [locked, "", KEYCHAIN] {
        log_in("bot", keychain).says(&["saved in a file that only you can read"]);
        assert_eq!(
            world.gitconfig().matches("store = file").count(),
            1,
            "the choice is written: {}",
            world.gitconfig()
        );
    }
    as_person(world.run(&git_bbtoken(), ["logout", "bot"])).ok();
    log_in("bot", KEYCHAIN).says(&["saved in a file that only you can read"]);
    let desktop = Desktop::new(world, KEYCHAIN);
    let found = desktop.run(world, &git_bbtoken(), &["token"]).ok();
    assert_eq!(found.trim_end(), token, "the login is found");
    as_person(world.run(&git_bbtoken(), ["logout", "bot"])).ok();
    log_in("work", KEYCHAIN).says(&["saved in the system's keychain"]);
    assert!(
        world.gitconfig().contains("store = keyring"),
        "the choice is written"
    );
    assert!(nothing_fell_back_to_a_file(world));
    // A store that the user or an administrator has chosen needs no note.
    world
        .git(["config", "--global", "bbtoken.store", "file"])
        .ok();
    log_in("ci", KEYCHAIN).says(&["saved in a file that only you can read"]);
    let of_ci = ["config", "--global", "--get", "bbtoken.ci.store"];
    world.git(of_ci).fails(1);
}

#[test]
fn logout_of_all_empties_the_keychain_of_our_entries() {
    needs!("gnome-keyring-daemon", "dbus-run-session");
    let world = &World::new(gits().remove(0));
    let desktop = Desktop::new(world, KEYCHAIN);
    let run = |arguments: &[&str]| desktop.run(world, &git_bbtoken(), arguments);
    let key = world.consumer.key.as_str();
    let login = ["login", "ci", "--client-credentials", "--store", "keyring"];
    let login = run(&[&login[..], &["--client-id", key, "--with-secret"]].concat());
    login.input(&world.consumer.secret).done().expect(0);
    configure(world, "ci", &[("clientId", "another")]);
    let gone = "Removed from the store 'keyring': logins, secrets and tokens that no profile uses any more.\n";
    let done = run(&["logout", "--all"]).done().expect(0);
    assert!(done.stdout.ends_with(gone), "{done:?}");
    let again = run(&["logout", "--all"]).done().expect(0);
    assert!(!again.stdout.contains(gone), "{again:?}");
    configure(world, "ci", &[("clientId", key)]);
    let token = run(&["token"]).without("BBTOKEN_CLIENT_SECRET");
    token.fails(3).says(&["has no secret"]);
}

#[test]
fn a_locked_keychain_is_not_unlocked_where_questions_are_forbidden() {
    needs!("gnome-keyring-daemon", "dbus-run-session");
    let world = &world("keyring");
    let unlocked = Desktop::new(world, KEYCHAIN);
    let login = ["login", "work"];
    log_in_by(world, unlocked.run(world, &git_bbtoken(), &login)).expect(0);
    let git = world.git.program.clone();
    let list = ["ls-remote", "bbtoken::ws/repo"];
    unlocked.run(world, &git, &list).done().expect(0);
    world.bitbucket.advance_clock(Duration::from_secs(7_300));
    let locked = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1; ";
    let desktop = Desktop::new(world, locked);
    let never = ["config", "--global", "credential.interactive", "never"];
    for (setting, is_variable) in [
        ("GIT_TERMINAL_PROMPT", true),
        ("credential.interactive in ", false),
    ] {
        let mut run = desktop.run(world, &git, &list);
        if !is_variable {
            world.git(never).ok();
            run = run.without("GIT_TERMINAL_PROMPT");
        }
        let done = run.done().expect(128);
        let stderr = without_noise(&done.stderr);
        assert!(
            stderr.contains("cannot use the keychain")
                && stderr.contains(&format!("caused by: it is locked, and {setting}"))
                && stderr.contains(" forbids asking for its password")
                && stderr.contains("hint: fix or unlock the store and try again"),
            "{stderr}"
        );
    }
}
