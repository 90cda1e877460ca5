//! Hints work if the user follows them: their commands are valid, and each removes its error.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bitbucket_local::{Action, Consent, Rule};

use crate::{
    needs::needs,
    person::{configure, configure_login, log_in_by, person, state},
    submodules::superproject,
    support::{Run, World, gits},
    terminals::DUMB,
};

/// How a person runs the command of a hint.
#[derive(Clone, Copy)]
enum By {
    Shell,
    /// To read what it says, which names the next command.
    Looking,
    /// A login with a browser.
    Browser,
    /// At a terminal, with these questions and answers.
    Terminal(&'static [(&'static str, &'static str)]),
}

/// An error, and the commands of its hints, after which the command works.
struct Case {
    name: &'static str,
    make: fn(&World),
    command: &'static str,
    /// Which command of the message the person takes, and how.
    steps: &'static [(usize, By)],
}

/// What a command starts with that runs in a clone.
const IN_TREE: &str = "cd tree && ";
const LIST: &str = "git ls-remote -q bbtoken::ws/repo";
const SECRET: (&str, &str) = ("client secret (not shown): ", "SECRET\n");
const TOKEN: (&str, &str) = ("token (not shown): ", "TOKEN\n");
const NEW: [(&str, &str); 3] = [
    ("Number [1]: ", "3\n"),
    ("Key of the OAuth consumer: ", "KEY\n"),
    SECRET,
];
/// A login of a further profile, which then gets only the addresses that name it.
const FURTHER: &[(&str, &str)] = &[NEW[0], NEW[1], NEW[2], ("Number [1]: ", "\n")];
/// What every login at a terminal asks at its end.
const SETUP: (&str, &str) = ("(d shows the changes) [Y/n/d]: ", "n\n");

const CASES: [Case; 18] = [
    Case {
        name: "nothing is configured",
        make: |_| {},
        command: LIST,
        steps: &[(0, By::Terminal(&NEW))],
    },
    Case {
        name: "no profile exists, and a command names one",
        make: |_| {},
        command: "git bbtoken token --profile work",
        steps: &[(0, By::Terminal(&NEW))],
    },
    Case {
        name: "a profile has no login",
        make: |world| configure_login(world, "work", &world.consumer),
        command: LIST,
        steps: &[(0, By::Browser)],
    },
    Case {
        name: "a login has ended",
        make: |world| {
            person(world);
            world.bitbucket.revoke_refresh_tokens();
            world.bitbucket.revoke_access_tokens();
        },
        command: LIST,
        steps: &[(0, By::Browser)],
    },
    Case {
        name: "a client has no secret",
        make: |world| configure(world, "ci", &[("clientId", &world.consumer.key)]),
        command: LIST,
        steps: &[(0, By::Terminal(&[SECRET]))],
    },
    Case {
        name: "a token is not stored",
        make: |world| configure(world, "bot", &[("grant", "token")]),
        command: LIST,
        steps: &[(0, By::Terminal(&[TOKEN]))],
    },
    Case {
        name: "other users may read a login",
        make: |world| {
            logged_in(world);
            allow(&login(world), 0o644);
        },
        command: LIST,
        steps: &[(1, By::Shell)],
    },
    Case {
        name: "other users have read a login",
        make: |world| {
            logged_in(world);
            allow(&login(world), 0o644);
        },
        command: LIST,
        steps: &[(0, By::Shell), (0, By::Browser)],
    },
    Case {
        name: "other users may write to the directory of logins",
        make: |world| {
            logged_in(world);
            allow(&state(world), 0o777);
        },
        command: LIST,
        steps: &[(0, By::Shell)],
    },
    Case {
        name: "a login is a symbolic link",
        make: |world| {
            logged_in(world);
            let (file, moved) = (login(world), world.path("moved"));
            fs::rename(&file, &moved).expect("the home is ours");
            symlink(&moved, &file).expect("the home is ours");
        },
        command: LIST,
        steps: &[(1, By::Shell), (0, By::Browser)],
    },
    Case {
        name: "a login is damaged",
        make: |world| {
            logged_in(world);
            fs::write(login(world), "{").expect("the home is ours");
        },
        command: LIST,
        steps: &[(0, By::Browser)],
    },
    Case {
        name: "a login is damaged beside another profile",
        make: |world| {
            logged_in(world);
            fs::write(login(world), "{").expect("the home is ours");
            configure(world, "other", &[("clientId", "x")]);
        },
        command: "git ls-remote -q bbtoken::work@ws/repo",
        steps: &[(0, By::Browser)],
    },
    Case {
        name: "a saved secret is wrong",
        make: |world| {
            let id = format!("--client-id={}", world.consumer.key);
            let save = [
                "login",
                "ci",
                "--client-credentials",
                "--with-secret",
                "--no-check",
            ];
            world
                .bbtoken(save)
                .arg(id)
                .without_client()
                .input("wrong")
                .ok();
        },
        command: LIST,
        steps: &[(0, By::Terminal(&[SECRET]))],
    },
    Case {
        name: "a saved secret of a login is wrong",
        make: |world| {
            let id = format!("--client-id={}", world.consumer.key);
            let save = ["login", "me", "--browser", "--with-secret"];
            let run = world.bbtoken(save).arg(id).without_client();
            log_in_by(world, run.input(&world.consumer.secret)).expect(0);
            fs::remove_dir_all(world.cache()).expect("a token was cached");
            let mut consumer = world.consumer.clone();
            consumer.secret.push_str("-changed");
            world.bitbucket.add_consumer(consumer);
        },
        command: LIST,
        steps: &[(
            0,
            By::Terminal(&[("client secret (not shown): ", "SECRET-changed\n")]),
        )],
    },
    Case {
        name: "a saved token was revoked",
        make: |world| {
            let token = world.bitbucket.issue_access_token(&["repository"]);
            let save = ["login", "bot", "--with-token", "--workspace="];
            world.bbtoken(save).without_client().input(&token).ok();
            world.bitbucket.revoke_access_tokens();
        },
        command: LIST,
        steps: &[(1, By::Looking), (0, By::Terminal(&[TOKEN]))],
    },
    Case {
        name: "git refuses a submodule",
        make: |world| {
            person(world);
            world.repository("ws", "lib");
            superproject(world, "app", &[("lib", "../lib")]);
            let clone = [
                "clone",
                "-q",
                "--recurse-submodules",
                "bbtoken::ws/app",
                "tree",
            ];
            world.git(clone).without("BBTOKEN_CLIENT_ID").done();
        },
        command: "cd tree && git fetch -q && git submodule update -q && git -C lib rev-parse -q HEAD",
        steps: &[(0, By::Shell)],
    },
    Case {
        name: "no profile is for the site of an address",
        make: |world| {
            let base = world.bitbucket.base_url();
            world
                .git(["config", "--global", "bbtoken.baseUrl", base])
                .ok();
            configure(
                world,
                "far",
                &[
                    ("baseUrl", "https://bitbucket.example.org"),
                    ("clientId", "x"),
                ],
            )
        },
        command: "unset BBTOKEN_BASE_URL; git ls-remote -q bbtoken::BASE/ws/repo",
        steps: &[(0, By::Terminal(FURTHER))],
    },
    Case {
        name: "the answer to a push is lost",
        make: |world| {
            person(world);
            let tree = world.path("tree");
            let clone = ["clone", "-q", "bbtoken::ws/repo", "tree"];
            world.git(clone).without("BBTOKEN_CLIENT_ID").ok();
            world.commit(&tree, "file", "two");
            let lost = Rule::new(Action::AnswerLost)
                .method("POST")
                .path("git-receive-pack");
            world.bitbucket.script(lost);
        },
        command: "cd tree && git push -q",
        steps: &[(0, By::Shell)],
    },
];

/// A login without a cached token.
fn logged_in(world: &World) {
    person(world);
    fs::remove_dir_all(world.cache()).expect("a token was cached");
}

/// The file of the only login.
fn login(world: &World) -> PathBuf {
    let directory = fs::read_dir(state(world)).expect("a login is kept");
    let mut files = directory.map(|file| file.expect("it can be read").path());
    let is_login =
        |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains("\"secret\""));
    files.find(is_login).expect("a login is kept")
}

fn allow(path: &Path, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, mode).expect("the home is ours");
}

/// Finds the commands in a message: those in quotes, and what follows a colon.
fn commands(message: &str) -> Vec<String> {
    const STARTS: [&str; 5] = [
        "'git ",
        ": git config ",
        ": git bbtoken ",
        ": chmod ",
        ": rm ",
    ];
    let in_line = |line: &str| {
        let mut found: Vec<_> = STARTS
            .iter()
            .flat_map(|start| line.match_indices(start))
            .map(|(index, start)| {
                let end = if start.starts_with('\'') { "'" } else { "; " };
                let rest = line[index + 1..].trim_start();
                (index, rest.split(end).next().unwrap_or(rest).to_owned())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, command)| command)
    };
    message.lines().flat_map(in_line).collect()
}

/// Puts what a person knows in the place of placeholders.
fn filled(world: &World, line: &str) -> String {
    line.replace("KEY", &world.consumer.key)
        .replace("SECRET", &world.consumer.secret)
        .replace("BASE/", &format!("{}/", world.bitbucket.base_url()))
        .replace("<workspace>/<repository>", "ws/repo")
        .replace("workspace/repository", "ws/repo")
}

fn shell(world: &World, line: &str) -> Run {
    let run = world.run(Path::new("sh"), ["-c", &filled(world, line)]);
    run.without("BBTOKEN_CLIENT_ID")
}

/// Runs the command of a hint; gives what it says to a person who only looks.
fn follow(world: &World, command: &str, by: By) -> Option<String> {
    match by {
        By::Shell => {
            shell(world, command).done().expect(0);
        }
        By::Looking => return Some(shell(world, command).done().stdout),
        By::Browser => {
            // The shell hands over what is added to its own arguments.
            let line = format!("exec {command} \"$0\" \"$@\"");
            log_in_by(world, shell(world, &line)).expect(0);
        }
        By::Terminal(exchange) => {
            let token = world
                .bitbucket
                .issue_access_token(&["repository", "account"]);
            let answers: Vec<_> = exchange
                .iter()
                .chain(&[SETUP])
                .map(|(question, answer)| {
                    (*question, filled(world, answer).replace("TOKEN", &token))
                })
                .collect();
            let answers: Vec<_> = answers
                .iter()
                .map(|(question, answer)| (*question, answer.as_str()))
                .collect();
            world.bitbucket.set_consent(Consent::Granted);
            let browser = format!(
                "export GIT_TERMINAL_PROMPT=1 BROWSER=\"curl -s -L -o /dev/null --cacert '{}'\"",
                world.bitbucket.ca_file().display()
            );
            let line = format!("{browser}; {}", filled(world, command));
            let (shown, code) = DUMB.run(world, &line, &answers);
            assert_eq!(code, Some(0), "'{command}' works: {shown}");
        }
    }
    None
}

/// Brings an error about and follows its hints.
fn play(case: &Case) {
    let name = case.name;
    let world = World::new(gits().remove(0));
    (case.make)(&world);
    if !world.bitbucket.repository_path("ws", "repo").exists() {
        world.repository("ws", "repo");
    }
    // Who types a secret has none in the environment.
    let is_typed = |(_, by): &(usize, By)| matches!(by, By::Terminal(_));
    let run = || {
        let run = shell(&world, case.command);
        match case.steps.iter().any(is_typed) {
            true => run.without("BBTOKEN_CLIENT_SECRET").done(),
            false => run.done(),
        }
    };
    let mut seen = vec![run().stderr];
    let mut last = None;
    for (which, by) in case.steps {
        let told = &seen[seen.len() - 1];
        let named = told.split_once("profile '").map(|(_, rest)| rest);
        let named = named.and_then(|rest| rest.split('\'').next());
        let Some(hint) = commands(told).into_iter().nth(*which) else {
            panic!("'{name}' names a command: {told}");
        };
        let place = if case.command.starts_with(IN_TREE) {
            IN_TREE
        } else {
            ""
        };
        let hint = hint.replace("<profile>", named.unwrap_or("new"));
        if let Some(said) = follow(&world, &format!("{place}{hint}"), *by) {
            seen.push(said);
            continue;
        }
        let next = run();
        assert!(
            !seen.contains(&next.stderr),
            "'{name}': '{hint}' removes its error: {next:?}"
        );
        seen.push(next.stderr.clone());
        last = Some(next);
    }
    let code = last.as_ref().and_then(|last| last.code);
    assert_eq!(code, Some(0), "'{name}' is gone: {last:?}");
}

#[test]
fn each_hint_removes_its_error_when_a_person_follows_it() {
    needs!("script", "curl");
    for case in &CASES {
        play(case);
    }
}

/// The messages of every expected text, without the command lines that led to them.
fn messages() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/expected");
    let files = fs::read_dir(directory).expect("it is there");
    let read = |file: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(file.expect("it can be read").path()).expect("it is text")
    };
    let texts: String = files.map(read).collect();
    let is_message = |line: &&str| !line.starts_with(['$', '#']) && !line.contains("Usage: ");
    let lines: Vec<_> = texts.lines().filter(is_message).collect();
    lines.join("\n")
}

/// Expects that our command line accepts a command: `--help` is reached only behind arguments that are valid.
fn is_accepted(world: &World, command: &str) {
    let (own, other) = command.split_once(" -- ").unwrap_or((command, ""));
    let words = shell_words::split(own).expect("it is a line for a shell");
    let other = other.split_whitespace();
    let run = world.bbtoken(&words[2..]).arg("--help").arg("--");
    let done = run.args(other).done();
    assert_eq!(done.code, Some(0), "'{command}' is valid: {done:?}");
}

/// Expects that git takes a setting, or removes a section, and that the reference describes its key.
fn is_setting(world: &World, command: &str, reference: &str) {
    let word = command.split(' ').find(|word| word.contains('.'));
    let mut key = word.expect("it names a key").to_owned();
    if command.contains("--remove-section") {
        key.push_str(".store");
        world.git(["config", "--global", &key, "file"]).ok();
    }
    shell(world, command).done().expect(0);
    let last = key.rsplit('.').next().expect("it has a last part");
    let is_known = ["`", "."].map(|start| reference.contains(&format!("{start}{last}`")));
    assert!(is_known.contains(&true), "the reference describes '{key}'");
}

#[test]
fn each_command_in_an_expected_text_is_valid() {
    let world = World::new(gits().remove(0));
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let reference = fs::read_to_string(reference).expect("it is there");
    let commands: BTreeSet<_> = commands(&messages()).into_iter().collect();
    let (mut own, mut settings) = (0, 0);
    for command in &commands {
        let mut filled = filled(&world, command);
        for (placeholder, value) in [
            ("<profile>", "work"),
            ("<subcommand>", "login"),
            ("<command>", "true"),
            ("<address>", "ws/repo"),
            ("<value>", "https://localhost"),
        ] {
            filled = filled.replace(placeholder, value);
        }
        if filled.starts_with("git bbtoken") {
            is_accepted(&world, &filled);
            own += 1;
        } else if filled.starts_with("git config") {
            is_setting(&world, &filled, &reference);
            settings += 1;
        } else if let Some(rest) = filled.strip_prefix("git ") {
            let subcommand = rest.split(' ').next().unwrap_or(rest);
            // Git shows how a subcommand is used with this code.
            world.git([subcommand, "-h"]).fails(129);
        }
    }
    assert!(own >= 12, "our own commands were found: {commands:#?}");
    assert!(settings >= 3, "settings were found: {commands:#?}");
}
