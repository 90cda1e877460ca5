//! Every text for the user, help, success and errors, compared with `tests/it/expected/`.
//!
//! `UPDATE_EXPECT=1 cargo test --test it -- texts` writes the files again. Then read `git diff` as a user would. If
//! `CI` is set, it never writes. Parts that differ between runs have a name in capitals.

#[cfg(unix)]
mod errors;
mod messages;
mod refused;
#[cfg(unix)]
mod relayed;
#[cfg(target_os = "linux")]
pub(crate) mod shared;
#[cfg(unix)]
mod store;
#[cfg(target_os = "linux")]
mod warnings;

use expect_test::ExpectFile;

use crate::{
    help::TOPICS,
    person,
    support::{Done, Run, World, gits, helper},
};

/// Compares a text with the expected one, or replaces that.
#[track_caller]
pub(crate) fn is_expected(expected: &ExpectFile, text: &str) {
    let updates = std::env::var_os("UPDATE_EXPECT").is_some() && std::env::var_os("CI").is_some();
    assert!(!updates, "expected texts are never written by CI");
    expected.assert_eq(text);
}

fn world() -> World {
    World::new(gits().remove(0))
}

/// What was run, and what it said.
struct Transcript<'w> {
    world: &'w World,
    text: String,
}

impl<'w> Transcript<'w> {
    fn new(world: &'w World) -> Self {
        Transcript {
            world,
            text: String::new(),
        }
    }

    /// Notes a command line and what came of it: stdout as it is, stderr behind `!`, and any exit code but 0.
    fn note(&mut self, line: &str, done: &Done) {
        self.text.push_str(&format!("$ {line}\n"));
        for line in normal(self.world, &done.stdout).lines() {
            self.text.push_str(&format!("{line}\n"));
        }
        for line in normal(self.world, &done.stderr).lines() {
            self.text.push_str(&format!("! {line}\n"));
        }
        match done.code {
            Some(0) => {}
            Some(code) => self.text.push_str(&format!("exit code {code}\n")),
            None => self.text.push_str("ended by a signal\n"),
        }
        self.text.push('\n');
    }

    /// Runs `git bbtoken` without a client in the environment.
    fn bbtoken(&mut self, arguments: &[&str], change: impl FnOnce(Run) -> Run) -> Done {
        let run = self.world.bbtoken(arguments.iter().copied());
        let done = change(run.without_client()).done();
        let line = normal(self.world, &shown("git bbtoken", arguments));
        self.note(&line, &done);
        done
    }
}

fn shown(program: &str, arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| match argument {
        argument if argument.is_empty() || argument.contains(' ') => format!("'{argument}'"),
        argument => (*argument).to_owned(),
    });
    std::iter::once(program.to_owned())
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Puts names in the place of what differs from run to run.
fn normal(world: &World, text: &str) -> String {
    let base = world.bitbucket.base_url();
    let host = base.trim_start_matches("https://");
    let programs = helper().with_file_name("");
    let text = text
        .replace(base, "https://BITBUCKET")
        .replace(host, "BITBUCKET")
        .replace(&world.path("").display().to_string(), "/WORLD/")
        .replace(&programs.display().to_string(), "/PROGRAMS/")
        .replace(&world.consumer.key, "KEY")
        .replace(&world.consumer.secret, "SECRET")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
        .replace("1 h 59 min", "2 h");
    let lines = text.lines().map(|line| {
        let line = match line.split_once("127.0.0.1:") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}127.0.0.1:PORT{after}")
            }
            None => line.replace("got 1 s ago", "got 0 s ago"),
        };
        if let Some((before, _)) = line.split_once("\"expires_in_s\": ") {
            return format!("{before}\"expires_in_s\": SECONDS,");
        }
        let words = line.split(' ').map(|word| named(word).unwrap_or(word));
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The name for a word that is a token, a fingerprint or a time.
fn named(word: &str) -> Option<&'static str> {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let digits = bare.len() == 10 && bare.starts_with("17") || bare.starts_with("18");
    match bare {
        _ if word.starts_with("https://BITBUCKET/site/oauth2/authorize?") => Some("PAGE"),
        _ if bare.len() == 8
            && bare.chars().all(|c| c.is_ascii_hexdigit())
            && bare.contains(|c: char| c.is_ascii_digit()) =>
        {
            Some(if word.ends_with(',') {
                "FINGERPRINT,"
            } else {
                "FINGERPRINT"
            })
        }
        _ if digits && bare.len() == 10 && bare.chars().all(|c| c.is_ascii_digit()) => {
            Some(if word.ends_with(',') { "TIME," } else { "TIME" })
        }
        _ if word.starts_with("BBTOKEN_CLIENT_SECRET=") && bare.len() > 60 => {
            Some("BBTOKEN_CLIENT_SECRET=SECRET")
        }
        _ if word.starts_with("password_expiry_utc=") => Some("password_expiry_utc=TIME"),
        _ if word.starts_with("password=") => Some("password=TOKEN"),
        _ if word.starts_with("state[]=") => Some("state[]=bbtoken:given=FINGERPRINT"),
        _ if bare.len() > 60
            && bare
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_=.%".contains(c)) =>
        {
            Some("TOKEN")
        }
        _ => None,
    }
}

/// Every command with help, and every topic.
const HELP: [&[&str]; 22] = [
    &[],
    &["login"],
    &["logout"],
    &["renew"],
    &["use"],
    &["whoami"],
    &["status"],
    &["token"],
    &["exec"],
    &["setup"],
    &["unsetup"],
    &["remote"],
    &["remote", "convert"],
    &["credential"],
    &["doctor"],
    &["completions"],
    &["man"],
    &["agent"],
    &["agent", "status"],
    &["agent", "stop"],
    &["version"],
    &["help"],
];

#[test]
fn help() {
    let world = world();
    let mut said = Transcript::new(&world);
    for words in HELP {
        let words: Vec<_> = std::iter::once("help")
            .chain(words.iter().copied())
            .collect();
        let done = said.bbtoken(&words, |run| run);
        done.expect(0).quiet();
    }
    for topic in TOPICS {
        said.bbtoken(&["help", topic], |run| run).expect(0).quiet();
    }
    said.bbtoken(&["--version"], |run| run).expect(0).quiet();
    let lists = |command: &[&str]| {
        let text = world.bbtoken(command.iter().copied()).ok();
        let commands = text.split("Commands:\n").nth(1).unwrap_or("").to_owned();
        let commands = commands.split("\n\n").next().unwrap_or("").to_owned();
        commands
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .count()
    };
    assert_eq!(
        lists(&["help"]) + lists(&["help", "remote"]) + lists(&["help", "agent"]) + 1,
        HELP.len(),
        "no subcommand is left out"
    );
    is_expected(
        &expect_test::expect_file!["../expected/help.txt"],
        &said.text,
    );
}

/// A login, what it shows, and its end.
#[test]
fn success_of_logins() {
    let world = world();
    world.repository("acme", "app");
    let mut said = Transcript::new(&world);
    let key = world.consumer.key.clone();
    let client = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &key,
        "--with-secret",
        "--workspace",
        "acme",
        "--try",
        "acme/app",
    ];
    said.bbtoken(&client, |run| run.input(&world.consumer.secret));
    let token = world.bitbucket.issue_resource_token();
    said.bbtoken(&["login", "bot", "--with-token"], |run| run.input(&token));
    let by_browser = [
        "login",
        "me",
        "--browser",
        "--client-id",
        &key,
        "--with-secret",
    ];
    let login = || {
        world
            .bbtoken(by_browser)
            .without_client()
            .input(&world.consumer.secret)
    };
    let done = person::log_in_by(&world, login());
    said.note(&normal(&world, &shown("git bbtoken", &by_browser)), &done);
    let again = ["login", "me", "--no-browser"];
    let login = world.bbtoken(again).without_client();
    let done = person::log_in_by_pasting(&world, login).done;
    said.note(&shown("git bbtoken", &again), &done);
    for profile in ["ci", "bot", "me"] {
        let whoami = ["whoami", "--profile", profile];
        said.bbtoken(&whoami, |run| run.without_client());
    }
    for profile in ["ci", "bot", "me", "me"] {
        said.bbtoken(&["logout", profile], |run| run).expect(0);
    }
    let environment = world.bbtoken(["logout"]).done().expect(0);
    said.note(
        "BBTOKEN_CLIENT_ID=KEY BBTOKEN_CLIENT_SECRET=SECRET git bbtoken logout",
        &environment,
    );
    said.bbtoken(&["logout", "--all"], |run| run).expect(0);
    is_expected(
        &expect_test::expect_file!["../expected/logins.txt"],
        &said.text,
    );
}

#[test]
fn success_of_status() {
    let world = world();
    let mut said = Transcript::new(&world);
    let none = said.bbtoken(&["status"], |run| run);
    none.expect(0);
    let arguments = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
    ];
    world
        .bbtoken(arguments)
        .without_client()
        .input(&world.consumer.secret)
        .ok();
    for arguments in [
        &["status"][..],
        &["status", "--verbose"],
        &["status", "ci", "--verbose"],
        &["status", "--json"],
        &["status", "--explain", "acme/app"],
    ] {
        said.bbtoken(arguments, |run| run).expect(0);
    }
    is_expected(
        &expect_test::expect_file!["../expected/status.txt"],
        &said.text,
    );
}

#[test]
fn success_of_the_rest() {
    let world = world();
    let tree = world.clone_of_new("acme", "app");
    let mut said = Transcript::new(&world);
    let key = world.consumer.key.clone();
    world
        .bbtoken([
            "login",
            "ci",
            "--client-credentials",
            "--client-id",
            &key,
            "--with-secret",
        ])
        .without_client()
        .input(&world.consumer.secret)
        .ok();
    said.bbtoken(&["token"], |run| run).expect(0).quiet();
    let exec = [
        "exec",
        "--",
        "sh",
        "-c",
        "test -n \"$BBTOKEN_ACCESS_TOKEN\" && echo ran; exit 3",
    ];
    said.bbtoken(&exec, |run| run).expect(3).quiet();
    let netrc = ["exec", "--netrc", "netrc", "--", "cat", "netrc"];
    said.bbtoken(&netrc, |run| run).expect(0).quiet();
    for arguments in [
        &["setup", "--dry-run"][..],
        &["setup", "--yes"],
        &["setup", "--yes"],
        &["setup", "--everywhere", "--yes"],
        &["unsetup", "--dry-run"],
        &["unsetup", "--yes"],
        &["unsetup", "--yes"],
        &["setup", "--plain", "--dry-run"],
    ] {
        said.bbtoken(arguments, |run| run).expect(0);
    }
    for arguments in [
        &["remote", "convert", "--dry-run"][..],
        &["remote", "convert", "--back", "--dry-run"],
        &["remote", "convert", "--back", "--yes"],
        &["remote", "convert", "--yes"],
    ] {
        said.bbtoken(arguments, |run| run.within(&tree)).expect(0);
    }
    let host = world.bitbucket.base_url().trim_start_matches("https://");
    let request = format!(
        "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost={host}\npath=acme/app\n\n"
    );
    for action in ["get", "store", "capability"] {
        said.bbtoken(&["credential", action], |run| run.input(&request))
            .expect(0)
            .quiet();
    }
    said.bbtoken(&["man", "--directory", "man1"], |run| run)
        .expect(0)
        .quiet();
    is_expected(
        &expect_test::expect_file!["../expected/commands.txt"],
        &said.text,
    );
}
