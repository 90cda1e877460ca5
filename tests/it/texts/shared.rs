//! A login that machines share through a command: what the subcommands say, and the errors of such a store.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use bitbucket_local::{Kind, Rule};
use serde_json::{Value, json};

use super::{Transcript, is_expected, world};
use crate::{
    person,
    support::{Run, World, put_program},
};

/// A store in a directory, with an answer of its own for each fault that a file `fault` names.
const STORE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
exec 9>lock
flock 9
version=$(cat version 2>/dev/null || echo 0)
case "$(cat fault 2>/dev/null) $1" in
"unreadable read" | "readonly replace") echo "the disk is full" >&2; exit 1 ;;
"nothing "*) exit 0 ;;
"overtaken replace") exit 3 ;;
"lies replace") cat >/dev/null; echo "$2"; exit 0 ;;
"small replace") cat >new; [ "$(wc -c <new)" -lt 12000 ] || exit 0; mv new record; echo $((version + 1)) | tee version ;;
*read) [ -s record ] || exit 2; echo "$version"; cat record ;;
*replace) [ "$2" = "$version" ] || exit 3; cat >record; echo $((version + 1)) | tee version ;;
esac
"#;

/// Makes the store, and gives its command.
pub(crate) fn store_of(world: &World) -> String {
    let store = world.path("store");
    if !store.exists() {
        fs::create_dir(&store).expect("the name is free");
        put_program(store.join("store"), STORE);
    }
    store.join("store").display().to_string()
}

/// Gives what every machine sets.
pub(crate) fn with_store(world: &World, run: Run) -> Run {
    let run = run.env("BBTOKEN_STORE", "command");
    run.env("BBTOKEN_STORE_COMMAND", store_of(world))
}

fn fault(world: &World, name: &str) {
    fs::write(world.path("store/fault"), name).expect("the store is there");
}

fn record(world: &World) -> Value {
    let text = fs::read_to_string(world.path("store/record")).expect("there is a record");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Changes the record as another machine would.
fn change(world: &World, change: impl FnOnce(&mut Value)) {
    let mut record = record(world);
    change(&mut record);
    fs::write(world.path("store/record"), record.to_string()).expect("the store is there");
    let version = fs::read_to_string(world.path("store/version")).expect("there is a version");
    let version = version.trim().parse::<u64>().expect("it is a number");
    fs::write(world.path("store/version"), (version + 1).to_string()).expect("it is ours");
}

/// Logs the client in, for all machines.
fn log_in(said: &mut Transcript<'_>) {
    let world = said.world;
    let key = world.consumer.key.clone();
    let login = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &key,
        "--with-secret",
        "--no-setup",
    ];
    let done = said.bbtoken(&login, |run| {
        with_store(world, run).input(&world.consumer.secret)
    });
    done.expect(0);
}

#[test]
fn shared() {
    let world = world();
    let mut said = Transcript::new(&world);
    log_in(&mut said);
    let shared = |run| with_store(&world, run);
    for words in [
        &["status"][..],
        &["status", "ci", "--verbose"],
        &["renew", "ci"],
        &["whoami", "--profile", "ci"],
        &["logout", "ci"],
        &["logout", "--all"],
        &["token", "--profile", "ci"],
        &["logout", "ci", "--shared"],
        &["token", "--profile", "ci"],
    ] {
        said.bbtoken(words, shared);
    }
    is_expected(
        &expect_test::expect_file!["../expected/shared.txt"],
        &compared(&said),
    );
}

/// Puts names in the place of this machine's name and of the seconds since something.
fn compared(said: &Transcript<'_>) -> String {
    let host = uname();
    let lines = said.text.lines().map(|line| {
        let line = line.replace(&format!("'{host}'"), "'HOST'");
        let words: Vec<_> = line.split(' ').collect();
        let is_time = |at: usize| {
            words.get(at + 1) == Some(&"s")
                && words.get(at + 2).is_some_and(|it| it.starts_with("ago"))
        };
        let named = words.iter().enumerate();
        let named = named.map(|(at, word)| if is_time(at) { "0" } else { word });
        named.collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect()
}

fn uname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux tells its name");
    name.trim().to_owned()
}

/// Runs a command and notes what it is about.
fn about(said: &mut Transcript<'_>, what: &str, words: &[&str]) {
    said.text.push_str(&format!("# {what}\n"));
    let world = said.world;
    let before = said.text.len();
    said.bbtoken(words, |run| with_store(world, run).input("secret"));
    if words == DOCTOR {
        let lines = said.text.split_off(before);
        let lines = lines
            .lines()
            .filter(|line| line.starts_with('$') || line.contains(" store: "));
        said.text += &(lines.collect::<Vec<_>>().join("\n") + "\n\n");
    }
}

const DOCTOR: &[&str] = &["doctor"];

const TOKEN: &[&str] = &["token", "--profile", "ci"];
const LOGIN: &[&str] = &[
    "login",
    "ci",
    "--client-credentials",
    "--client-id",
    "another",
    "--with-secret",
    "--no-check",
];

#[test]
fn records_that_cannot_be_used() {
    let world = world();
    let mut said = Transcript::new(&world);
    log_in(&mut said);
    said.text.clear();
    let good = record(&world);
    let with = |name: &str, value: Value| {
        change(&world, |record| {
            *record = good.clone();
            record["access"] = Value::Null;
            record[name] = value;
        });
    };
    fault(&world, "nothing");
    about(&mut said, "a store that prints no version", TOKEN);
    fault(&world, "lies");
    with("failed", Value::Null);
    about(&mut said, "a store that does not write", TOKEN);
    fault(&world, "");
    with("for", json!("another"));
    about(&mut said, "the record of another client", TOKEN);
    about(&mut said, "the same", LOGIN);
    change(&world, |record| *record = good.clone());
    about(&mut said, "a login of another client", LOGIN);
    with("for", json!("another"));
    about(
        &mut said,
        "the removal of a record that is not ours",
        &["logout", "ci", "--shared"],
    );
    with("version", json!(2));
    about(&mut said, "a record of another version", TOKEN);
    about(&mut said, "the same", LOGIN);
    with("client_secret", Value::Null);
    about(&mut said, "a copy for jobs without a valid token", TOKEN);
    is_expected(
        &expect_test::expect_file!["../expected/shared-records.txt"],
        &compared(&said),
    );
}

#[test]
fn what_other_machines_left() {
    let world = world();
    let mut said = Transcript::new(&world);
    log_in(&mut said);
    said.text.clear();
    change(&world, |record| record["access"] = Value::Null);
    let failed = json!({ "at_unix_s": now_unix_s(), "host": "runner-1\u{1b}", "why": "it was busy\n", "cause": "server", "pause_s": 0 });
    change(&world, |record| record["failed"] = failed);
    about(&mut said, "a failure a moment ago", TOKEN);
    about(&mut said, "the same", DOCTOR);
    let claim = json!({ "nonce": "n", "host": "runner-2", "at_unix_s": now_unix_s() - 90, "number": 1, "has_given_up": true });
    change(&world, |record| record["claim"] = claim);
    about(&mut said, "a renewal that was interrupted", DOCTOR);
    change(&world, |record| {
        record["refresh_token"] = json!("refused");
        record["access"] = Value::Null;
        record["claim"] = Value::Null;
        record["failed"] = Value::Null;
    });
    about(&mut said, "a login that was revoked", TOKEN);
    let requests = world.bitbucket.token_requests().len();
    about(&mut said, "the same, without a request", TOKEN);
    assert_eq!(world.bitbucket.token_requests().len(), requests);
    about(&mut said, "the same", DOCTOR);
    about(&mut said, "the same", &["renew", "ci"]);
    is_expected(
        &expect_test::expect_file!["../expected/shared-others.txt"],
        &compared(&said),
    );
}

#[test]
fn refusals_of_a_shared_login() {
    let world = world();
    let mut said = Transcript::new(&world);
    log_in(&mut said);
    said.text.clear();
    let good = record(&world);
    let refused = |status: u16, error: &str, why: &str| {
        let body = json!({ "error": error, "error_description": why });
        let rule = Rule::answer(status).kind(Kind::Token);
        world.bitbucket.clear_script();
        world.bitbucket.script(rule.body(body.to_string()));
    };
    let public = "Cannot use client_credentials with a consumer marked as \"public\".";
    for (about, token, status, error, why) in [
        (
            "a login that has ended",
            "r",
            400,
            "invalid_grant",
            "Invalid refresh_token",
        ),
        (
            "a login whose client has a new secret",
            "r",
            401,
            "invalid_client",
            "Client authentication failed",
        ),
        (
            "the same, as Bitbucket says it",
            "r",
            400,
            "unauthorized_client",
            "Invalid OAuth client credentials",
        ),
        (
            "a login whose client may not refresh",
            "r",
            400,
            "unauthorized_client",
            "Not for this client",
        ),
        (
            "a login whose client is not there",
            "r",
            400,
            "access_denied",
            "No",
        ),
        (
            "a client that has a new secret",
            "",
            400,
            "unauthorized_client",
            "Invalid OAuth client credentials",
        ),
        (
            "a client without this grant",
            "",
            400,
            "unauthorized_client",
            "Not for this client",
        ),
        (
            "a client that is not private",
            "",
            400,
            "invalid_grant",
            public,
        ),
        (
            "a proxy that removes a header",
            "",
            400,
            "invalid_client",
            "Client must be authenticated",
        ),
    ] {
        change(&world, |record| {
            *record = good.clone();
            record["access"] = Value::Null;
            record["refresh_token"] = Some(token).filter(|it| !it.is_empty()).into();
        });
        refused(status, error, why);
        about_refusal(&mut said, about);
    }
    said.text.push_str("# the same on another machine\n");
    said.bbtoken(TOKEN, |run| with_store(&world, run));
    // In the administrator's hands.
    change(&world, |record| *record = good.clone());
    refused(400, "invalid_grant", "The specified code is not valid.");
    log_in_by_browser(&mut said, "a code that is not accepted");
    refused(
        400,
        "unauthorized_client",
        "Invalid OAuth client credentials",
    );
    log_in_by_browser(&mut said, "a wrong secret");
    let mut record = record(&world);
    let fields = record.as_object_mut().expect("it is a record");
    fields.remove("reserved").expect("it proved the room");
    assert_eq!(record, good, "nothing else was written");
    is_expected(
        &expect_test::expect_file!["../expected/shared-refusals.txt"],
        &compared(&said),
    );
}

#[test]
fn a_login_of_another_account_replaces_a_shared_one_only_on_purpose() {
    let world = world();
    let mut said = Transcript::new(&world);
    let login = |said: &mut Transcript<'_>, about: &str, more: &[&str]| {
        said.text.push_str(&format!("# {about}\n"));
        let key = &world.consumer.key;
        let words = [
            "login",
            "ci",
            "--browser",
            "--client-id",
            key,
            "--with-secret",
            "--no-setup",
        ];
        let words = [&words[..], more].concat();
        let run = world.bbtoken(words.iter().copied()).without_client();
        let run = with_store(&world, run).input(&world.consumer.secret);
        let done = person::log_in_by(&world, run);
        let line = super::normal(&world, &super::shown("git bbtoken", &words));
        said.note(&line, &done);
    };
    let eve = || {
        let body = json!({ "display_name": "Eve", "username": "eve" });
        let rule = Rule::answer(200).kind(Kind::Api);
        world.bitbucket.script(rule.body(body.to_string()));
    };
    login(&mut said, "the first login", &[]);
    about(&mut said, "the same", DOCTOR);
    let good = record(&world);
    assert_eq!(good["owner"], "Local User (local)");
    login(&mut said, "the same account", &[]);
    let good = record(&world);
    eve();
    login(&mut said, "another account", &[]);
    assert_eq!(
        record(&world)["refresh_token"],
        good["refresh_token"],
        "the login stays"
    );
    eve();
    login(
        &mut said,
        "another account, on purpose",
        &["--account", "eve"],
    );
    assert_eq!(record(&world)["owner"], "Eve (eve)");
    world.bitbucket.script(Rule::answer(500).kind(Kind::Api));
    login(&mut said, "an account that Bitbucket does not name", &[]);
    assert_eq!(record(&world)["owner"], Value::Null);
    is_expected(
        &expect_test::expect_file!["../expected/shared-accounts.txt"],
        &compared(&said),
    );
}

/// Runs a job, which has no profile and no client.
fn about_refusal(said: &mut Transcript<'_>, about: &str) {
    said.text.push_str(&format!("# {about}\n"));
    let world = said.world;
    said.bbtoken(&["token"], |run| {
        with_store(world, run).env("GIT_CONFIG_GLOBAL", "/dev/null")
    });
}

fn log_in_by_browser(said: &mut Transcript<'_>, about: &str) {
    said.text.push_str(&format!("# {about}\n"));
    let world = said.world;
    let key = &world.consumer.key;
    let words = [
        "login",
        "ci",
        "--browser",
        "--client-id",
        key,
        "--with-secret",
    ];
    let run = with_store(world, world.bbtoken(words).without_client());
    let done = person::log_in_by(world, run.input(&world.consumer.secret));
    let line = super::normal(world, &super::shown("git bbtoken", &words));
    said.note(&line, &done);
}

#[test]
fn a_login_over_a_small_record_needs_room_for_a_large_one() {
    let world = world();
    let mut said = Transcript::new(&world);
    log_in(&mut said);
    let good = record(&world);
    assert!(good.to_string().len() < 12_000, "it is small");
    fault(&world, "small");
    world.bitbucket.clear_requests();
    let key = &world.consumer.key;
    let words = [
        "login",
        "ci",
        "--browser",
        "--client-id",
        key,
        "--with-secret",
    ];
    let run = with_store(&world, world.bbtoken(words).without_client());
    let done = person::log_in_by(&world, run.input(&world.consumer.secret));
    done.expect(7).says(&["cannot write the shared login"]);
    assert_eq!(world.bitbucket.requests().len(), 0, "no page was opened");
    assert_eq!(record(&world), good, "nothing was written");
    fault(&world, "");
    // A login that ends after this check leaves a record that machines use.
    world.bitbucket.script(Rule::answer(400).kind(Kind::Token));
    let run = with_store(&world, world.bbtoken(words).without_client());
    let done = person::log_in_by(&world, run.input(&world.consumer.secret));
    assert_ne!(done.code, Some(0), "{done:?}");
    said.bbtoken(TOKEN, |run| with_store(&world, run)).expect(0);
}

#[test]
fn renew_fails_if_the_token_was_not_renewed() {
    let world = world();
    log_in(&mut Transcript::new(&world));
    let failed = json!({ "at_unix_s": now_unix_s(), "host": "runner-1", "why": "busy", "cause": "server", "pause_s": 0 });
    change(&world, |record| {
        record["access"]["expires_at_unix_s"] = json!(now_unix_s() + 3_000);
        record["failed"] = failed;
    });
    let run = with_store(&world, world.bbtoken(["renew", "ci"]).without_client());
    run.fails(6)
        .says(&["cannot renew the token of profile 'ci': 'runner-1' could not get one: busy"]);
    let run = with_store(&world, world.bbtoken(["token"]).without_client());
    run.ok();
}

/// Gives the first line of a command that waits until the record is this one.
fn said_until(world: &World, good: Value) -> String {
    let run = with_store(world, world.bbtoken(["token"]).without_client());
    let mut command = run.into_command();
    let mut waiting = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    let stderr = waiting.stderr.take().expect("it is a pipe");
    BufReader::new(stderr)
        .read_line(&mut said)
        .expect("it is text");
    change(world, |record| *record = good);
    assert!(waiting.wait().expect("it ends").success());
    said
}

#[test]
fn a_command_says_for_what_it_waits() {
    let world = world();
    log_in(&mut Transcript::new(&world));
    let good = record(&world);
    let claim = json!({ "nonce": "n", "host": "runner-2", "at_unix_s": now_unix_s(), "number": 1, "has_given_up": false });
    change(&world, |record| {
        record["claim"] = claim;
        record["access"] = Value::Null;
    });
    assert_eq!(
        said_until(&world, good.clone()),
        "warning: waiting for 'runner-2', which gets a token\n"
    );
    let failed = json!({ "at_unix_s": now_unix_s(), "host": "runner-1", "why": "it was busy", "cause": "server", "pause_s": 50 });
    change(&world, |record| {
        record["failed"] = failed;
        record["access"] = Value::Null;
    });
    let said = said_until(&world, good);
    let left: String = said.chars().filter(char::is_ascii_digit).collect();
    assert!((1..=50).contains(&left.parse().unwrap_or(0)), "{said}");
    assert_eq!(
        said.replace(&left, "50"),
        "warning: waiting 50 s before the next token request: it was busy\n"
    );
}

fn now_unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is right").as_secs()
}

#[test]
fn renew_is_for_shared_logins() {
    let run = world().bbtoken(["renew"]).fails(2);
    run.says(&[
        "has no shared login: only a profile with the store 'vault' or 'command' needs 'renew'",
    ]);
}
