//! Prompts on a real terminal and without one. The user can stop at every question: nothing changes, and the terminal
//! has its old settings. The output is plain text in lines, for dumb and narrow terminals and for screen readers.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::Stdio,
};

use crate::{
    help::{COMMANDS, TOPICS},
    needs::needs,
    person::{configure_login, log_in},
    support::{World, gits},
};

/// The questions behind a login, which is saved then: `conversation` leaves them.
const AFTER_LOGIN: usize = 3;

/// What a person types to leave a question, and what it is called.
const WAYS_OUT: [(&str, &str); 2] = [("\u{3}", "Ctrl-C"), ("\u{4}", "Ctrl-D")];

fn world() -> World {
    World::new(gits().remove(0))
}

/// A terminal of some width and kind.
#[derive(Clone, Copy)]
pub(crate) struct Terminal<'t> {
    pub(crate) columns: u16,
    pub(crate) environment: &'t [(&'t str, &'t str)],
}

/// No message is wrapped here.
const WIDE: u16 = 400;

pub(crate) const DUMB: Terminal<'static> = Terminal {
    columns: WIDE,
    environment: &[("TERM", "dumb")],
};

impl Terminal<'_> {
    /// Plays a person: waits for each question, types the answer; gives all that was shown, and the exit code.
    ///
    /// Whether the terminal shows again what is typed stands in a last line.
    pub(crate) fn run(
        &self,
        world: &World,
        line: &str,
        exchange: &[(&str, &str)],
    ) -> (String, Option<i32>) {
        let line = format!(
            "trap : INT; stty rows 24 cols {}; {line}; code=$?; stty -a | grep -qw -e '-echo' -e '-icanon' && echo SILENT; exit $code",
            self.columns
        );
        let mut run = world
            .run(Path::new("/usr/bin/script"), ["-qec", &line, "/dev/null"])
            .without_client();
        for (name, value) in self.environment {
            run = run.env(name, value);
        }
        let mut command = run.into_command();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("it is a pipe");
        let mut output = child.stdout.take().expect("it is a pipe");
        let (mut shown, mut seen) = (String::new(), 0);
        for (question, answer) in exchange {
            while !shown[seen..].contains(question) {
                let mut bytes = [0; 1024];
                let length = output.read(&mut bytes).expect("it can be read");
                assert!(length > 0, "'{question}' is asked: {shown}");
                shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            seen = shown.len();
            input.write_all(answer.as_bytes()).expect("it is read");
        }
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).expect("it ends");
        shown.push_str(&String::from_utf8_lossy(&rest));
        (
            shown.replace("\r\n", "\n"),
            child.wait().expect("it ends").code(),
        )
    }
}

/// A question, and the answers to those before it.
struct Prompt<'p> {
    line: String,
    before: Vec<(&'p str, &'p str)>,
    question: &'p str,
}

/// Every question that is asked anywhere.
fn prompts(world: &World) -> Vec<Prompt<'_>> {
    let new = [
        ("Name of the profile [default]: ", "ci\n"),
        ("Number [1]: ", "3\n"),
        ("Key of the OAuth consumer: ", "key\n"),
        ("client secret (not shown): ", ""),
    ];
    let prompt = |line: &str, before: &[(&'static str, &'static str)], question| Prompt {
        line: line.to_owned(),
        before: before.to_vec(),
        question,
    };
    let mut prompts: Vec<_> = (0..new.len())
        .map(|index| prompt("git bbtoken login", &new[..index], new[index].0))
        .collect();
    prompts.push(prompt(
        "git bbtoken login bot --with-token",
        &[],
        "token (not shown): ",
    ));
    prompts.push(prompt(
        "git bbtoken login bot --with-token",
        &[("token (not shown): ", "ATATTuntried\n")],
        "E-mail address of your Atlassian account: ",
    ));
    let paste = format!(
        "BBTOKEN_CLIENT_SECRET={} git bbtoken login me --no-setup --no-browser",
        world.consumer.secret
    );
    prompts.push(prompt(
        &paste,
        &[],
        "Paste the whole address of that page here, or only the code in it, and press Enter:\r\n",
    ));
    prompts.push(prompt(
        "unset BBTOKEN_BASE_URL BBTOKEN_KIND; git bbtoken login dc --data-center https://git.example --browser --client-id key",
        &[],
        "Redirect URL of the application link: ",
    ));
    let browser = format!(
        "BROWSER=\"curl -s -L -o /dev/null --cacert '{}'\" GIT_TERMINAL_PROMPT=1 {}",
        world.bitbucket.ca_file().display(),
        paste.replace("--no-browser", "--browser --account ann")
    );
    prompts.push(prompt(&browser, &[], "Keep this login? [y/N]: "));
    prompts.push(prompt(
        "git bbtoken login bot --with-token",
        &[
            ("token (not shown): ", "ATATTuntried\n"),
            ("E-mail address of your Atlassian account: ", "\n"),
        ],
        "Save it without a check? [y/N]: ",
    ));
    prompts.push(prompt(
        "git bbtoken login ended --for-git=acme/app",
        &[],
        "Log in again? [Y/n]: ",
    ));
    prompts.push(prompt(
        "git bbtoken login new --for-git=acme/app",
        &[],
        "Log in as it now? [Y/n]: ",
    ));
    prompts.push(prompt(
        "git bbtoken login revoked --for-git=acme/app",
        &[],
        "Log in again? [Y/n]: ",
    ));
    prompts.push(prompt(
        "git bbtoken login refused --for-git=acme/app",
        &[],
        "Log in again? [y/N]: ",
    ));
    prompts.push(prompt(
        "git bbtoken setup --plain",
        &[],
        "Write this to your git configuration? [y/N]: ",
    ));
    prompts.push(prompt(
        "unset GIT_CONFIG_NOSYSTEM; GIT_CONFIG_SYSTEM=$HOME/system git bbtoken setup --system",
        &[],
        "Write this to the system's git configuration? [y/N]: ",
    ));
    prompts.push(prompt(
        "GIT_CONFIG_SYSTEM=$HOME/.gitconfig git bbtoken unsetup --system",
        &[],
        "Remove this from the system's git configuration? [y/N]: ",
    ));
    prompts.push(prompt(
        "git bbtoken unsetup",
        &[],
        "Remove this from your git configuration? [y/N]: ",
    ));
    prompts.push(prompt(
        "cd tree && git bbtoken remote convert",
        &[],
        "Write these changes? [y/N]: ",
    ));
    prompts.push(prompt(
        "git bbtoken remote convert --below .",
        &[],
        "Write these changes? [y/N]: ",
    ));
    prompts
}

/// Prepares what the questions need: a person's profile, something to take back, a repository to convert.
fn prepared() -> World {
    let world = world();
    world
        .bitbucket
        .set_consent(bitbucket_local::Consent::Granted);
    // Several profiles, so that login chooses none before it asks for a name.
    for profile in ["me", "ended"] {
        configure_login(&world, profile, &world.consumer);
    }
    log_in(&world, "ended").expect(0);
    for (profile, account) in [("revoked", "ann@example.com"), ("refused", "ann")] {
        let login = [
            "login",
            profile,
            "--with-token",
            "--no-check",
            "--account",
            account,
        ];
        world.bbtoken(login).input("ATATTrefused").ok();
    }
    world.bbtoken(["setup", "--yes"]).ok();
    world.git(["init", "-q", "tree"]).ok();
    let url = world.bitbucket.repository_url("acme", "app");
    world
        .git(["remote", "add", "origin", &url])
        .within(world.path("tree"))
        .ok();
    world
}

/// Everything that a command could have written, but the file that processes take turns by, which stays.
fn written(world: &World) -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else if entry.path().extension().is_none_or(|end| end != "lock") {
                let text = fs::read(entry.path()).expect("it can be read");
                found.push((
                    entry.path().display().to_string(),
                    String::from_utf8_lossy(&text).into_owned(),
                ));
            }
        }
    }
    let mut found = Vec::new();
    walk(&world.home(), &mut found);
    found.push((
        "tree".to_owned(),
        fs::read_to_string(world.path("tree/.git/config")).expect("it is there"),
    ));
    found.sort();
    found
}

#[test]
fn every_question_can_be_left_and_nothing_is_changed() {
    needs!("curl", "script");
    let world = prepared();
    let before = written(&world);
    for prompt in prompts(&world) {
        for (keys, name) in WAYS_OUT {
            let mut exchange = prompt.before.clone();
            exchange.push((prompt.question, keys));
            let (shown, code) = DUMB.run(&world, &prompt.line, &exchange);
            let at = format!("{name} at '{}': {shown}", prompt.question);
            assert!(
                code.is_some_and(|code| code != 0),
                "it is no success: {code:?}, {at}"
            );
            assert!(
                !shown.contains("SILENT"),
                "the terminal has its old settings: {at}"
            );
            assert_eq!(written(&world), before, "nothing is changed: {at}");
        }
    }
}

#[test]
fn no_question_is_left_out_here() {
    let mut asked = 0;
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("it is text");
            let asks = ["agree", "ask", "choose", "confirm", "secret", "line"];
            asked += asks
                .iter()
                .map(|ask| source.matches(&format!("console.{ask}(")).count())
                .sum::<usize>();
        }
    }
    // Asked in two places: for a secret. Asked by six commands: for a yes.
    let questions = prompts(&prepared()).len();
    assert_eq!(
        asked + 5,
        questions + AFTER_LOGIN,
        "a new question is tried here, too"
    );
}

#[test]
fn a_yes_is_taken_at_a_terminal_and_anything_else_is_a_no() {
    needs!("script");
    let world = world();
    let before = world.gitconfig();
    for answer in ["\n", "n\n", "maybe\n"] {
        let question = ("Write this to your git configuration? [y/N]: ", answer);
        let (shown, code) = DUMB.run(&world, "git bbtoken setup", &[question]);
        assert_eq!(code, Some(0));
        assert!(shown.ends_with("Nothing was written.\n"), "{shown}");
        assert_eq!(world.gitconfig(), before);
    }
    let question = ("Write this to your git configuration? [y/N]: ", "Yes\n");
    let (shown, _) = DUMB.run(&world, "git bbtoken setup", &[question]);
    assert!(
        shown.ends_with("'git bbtoken unsetup' undoes this.\n"),
        "{shown}"
    );
    let question = ("Remove this from your git configuration? [y/N]: ", "y\n");
    DUMB.run(&world, "git bbtoken unsetup", &[question]);
    assert_eq!(world.gitconfig(), before);
}

#[test]
fn a_choice_is_made_by_number_or_name_and_repeated_after_a_wrong_answer() {
    needs!("script");
    let world = world();
    let exchange = [
        ("Number [1]: ", "9\n"),
        (
            "Answer with a number from 1 to 3.\r\nNumber [1]: ",
            "token\n",
        ),
        ("token (not shown): ", "\u{3}"),
    ];
    let (shown, code) = DUMB.run(&world, "git bbtoken login", &exchange);
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("error: no answer was given; nothing was changed"),
        "{shown}"
    );
}

#[test]
fn a_client_without_an_id_is_none() {
    needs!("script");
    let world = world();
    let before = world.gitconfig();
    let exchange = [
        ("Key of the OAuth consumer: ", "\n"),
        (
            "the client's id is empty; nothing was changed.\r\nKey of the OAuth consumer: ",
            "\u{3}",
        ),
    ];
    let (shown, code) = DUMB.run(&world, "git bbtoken login ci --browser", &exchange);
    assert_ne!(code, Some(0), "{shown}");
    assert_eq!(world.gitconfig(), before);
}

#[test]
fn a_token_is_shown_on_a_terminal_only_with_force() {
    needs!("script");
    let world = world();
    let client = format!(
        "BBTOKEN_CLIENT_ID={} BBTOKEN_CLIENT_SECRET={}",
        world.consumer.key, world.consumer.secret
    );
    let (shown, code) = DUMB.run(&world, &format!("{client} git bbtoken token"), &[]);
    assert_eq!(code, Some(2));
    assert_eq!(
        shown,
        "error: the token is not printed on a terminal, where others could read it; redirect it to a file or command, or give --force\n"
    );
    assert_eq!(
        world.bitbucket.token_requests().len(),
        0,
        "none was asked for"
    );
    let (shown, code) = DUMB.run(&world, &format!("{client} git bbtoken token --force"), &[]);
    assert_eq!(code, Some(0));
    let (piped, _) = DUMB.run(&world, &format!("{client} git bbtoken token | cat"), &[]);
    assert_eq!(piped, shown, "a pipe gets it");
}

/// Commands that show something of each kind: help, a list, a question, an error.
const SHOWN: [(&str, &[(&str, &str)]); 6] = [
    ("git bbtoken help login", &[]),
    ("git bbtoken status", &[]),
    ("git bbtoken setup", &[("[y/N]: ", "n\n")]),
    ("git bbtoken lgoin", &[]),
    ("git bbtoken token --force", &[]),
    (
        "git bbtoken login ci",
        &[
            ("Number [1]: ", "2\n"),
            ("Key of the OAuth consumer: ", "\u{3}"),
        ],
    ),
];

#[test]
fn every_output_is_plain_text_on_every_terminal() {
    needs!("script");
    let world = world();
    let kinds: [&[(&str, &str)]; 4] = [
        &[
            ("TERM", "xterm-256color"),
            ("COLORTERM", "truecolor"),
            ("CLICOLOR_FORCE", "1"),
        ],
        &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
        &[("TERM", "dumb")],
        &[],
    ];
    for (line, exchange) in SHOWN {
        let mut shown = kinds.iter().map(|environment| {
            let terminal = Terminal {
                columns: 80,
                environment,
            };
            terminal.run(&world, line, exchange).0
        });
        let first = shown.next().expect("there is a first one");
        let odd = first.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "lines of text alone can be read aloud: {first}");
        assert!(first.lines().count() > 0);
        for other in shown {
            assert_eq!(other, first, "every terminal shows the same");
        }
    }
}

#[test]
fn help_fits_a_narrow_terminal() {
    needs!("script");
    let world = world();
    let narrow = Terminal {
        columns: 40,
        environment: &[("TERM", "dumb")],
    };
    for command in COMMANDS {
        let (shown, code) = narrow.run(&world, &format!("git bbtoken {command} -h"), &[]);
        assert_eq!(code, Some(0));
        let wide: Vec<_> = shown
            .lines()
            .filter(|line| line.chars().count() > 40 && !line.starts_with("Usage:"))
            .filter(|line| line.trim().contains("  ") || line.split_whitespace().count() > 2)
            .collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}");
    }
}

#[test]
fn topics_fit_a_narrow_terminal() {
    needs!("script");
    let world = world();
    let narrow = Terminal {
        columns: 40,
        environment: &[("TERM", "dumb")],
    };
    for topic in TOPICS {
        let (shown, code) = narrow.run(&world, &format!("git bbtoken help {topic}"), &[]);
        assert_eq!(code, Some(0));
        // One word may be longer than the line is wide.
        let wide: Vec<_> = shown
            .lines()
            .filter(|line| line.chars().count() > 40 && line.split_whitespace().count() > 1)
            .collect();
        assert!(wide.is_empty(), "{topic}: {wide:#?}");
        let whole = world.bbtoken(["help", topic]).ok();
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&shown), words(&whole), "{topic} loses nothing");
    }
}

/// Commands that show something of each kind on stdout or stderr.
const PROSE: [&str; 6] = [
    "git bbtoken status",
    "git bbtoken status --verbose",
    "git bbtoken setup --dry-run",
    "git bbtoken doctor acme/app",
    "git bbtoken whoami",
    "git ls-remote bbtoken::acme/app",
];

/// Tells whether a line may be wider than the terminal: after its label, it has one word or a command.
fn is_whole(line: &str) -> bool {
    let text = line.trim();
    let text = ["-> ", "+ ", "- ", "hint: "]
        .iter()
        .find_map(|label| text.strip_prefix(label))
        .unwrap_or(text);
    let commands = ["git ", "'git ", "sudo "];
    !text.contains(' ') || commands.iter().any(|command| text.starts_with(command))
}

#[test]
fn messages_wrap_at_words_on_a_narrow_terminal() {
    needs!("script");
    let world = world();
    let environment = &[("TERM", "dumb"), ("GIT_TERMINAL_PROMPT", "0")];
    let shown = |columns, line: &str| {
        let terminal = Terminal {
            columns,
            environment,
        };
        terminal.run(&world, line, &[]).0
    };
    for line in PROSE {
        let whole = shown(WIDE, line);
        assert!(
            whole.lines().any(|line| line.chars().count() > 40),
            "{whole}"
        );
        for columns in [40, 60] {
            let narrow = shown(columns, line);
            let wide: Vec<_> = narrow
                .lines()
                .filter(|line| line.chars().count() > columns.into() && !is_whole(line))
                .collect();
            assert!(wide.is_empty(), "{line} at {columns}: {wide:#?}");
            let words = narrow.split_whitespace();
            assert!(
                words.eq(whole.split_whitespace()),
                "{line} loses nothing: {narrow}"
            );
            let commands = whole.lines().filter(|line| line.contains("-> git "));
            for command in commands {
                assert!(
                    narrow.contains(command),
                    "'{command}' can be pasted: {narrow}"
                );
            }
        }
    }
    let error = shown(60, "git bbtoken whoami");
    assert!(
        error.contains("\nhint: run 'git bbtoken login' (for a Data Center, add\n      --data-center <url>); or set"),
        "{error}"
    );
}

#[test]
fn only_a_terminal_gets_wrapped_lines_and_never_json() {
    needs!("script");
    let world = world();
    let shown = |columns, kind, line: &str| {
        let terminal = Terminal {
            columns,
            environment: &[("TERM", kind)],
        };
        terminal.run(&world, line, &[]).0
    };
    for line in [
        "git bbtoken doctor acme/app | cat",
        "git bbtoken doctor acme/app --json",
        "git bbtoken whoami 2>&1 | cat",
        "git bbtoken status --json",
    ] {
        assert_eq!(shown(40, "dumb", line), shown(WIDE, "dumb", line), "{line}");
    }
    let doctor = "git bbtoken doctor acme/app";
    let colored = shown(40, "xterm", doctor);
    let plain = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"]
        .iter()
        .fold(colored.clone(), |text, code| text.replace(code, ""));
    assert_ne!(colored, plain);
    assert_eq!(plain, shown(40, "dumb", doctor), "colors have no width");
}

#[test]
fn without_a_terminal_a_question_is_an_error_that_names_the_flag() {
    let world = prepared();
    let before = written(&world);
    let tree = world.path("tree");
    let cases: [(&[&str], &str); 8] = [
        (
            &["login", "ci"],
            "--browser, --client-credentials or --with-token",
        ),
        (&["login", "ci", "--client-credentials"], "--client-id"),
        (
            &["login", "ci", "--client-credentials", "--client-id", "x"],
            "--with-secret",
        ),
        (&["login", "bot", "--with-token"], "give it on stdin"),
        (&["setup", "--plain"], "--yes"),
        (&["unsetup"], "--yes"),
        (&["remote", "convert"], "--yes"),
        (&["remote", "convert", "--below", "."], "--yes"),
    ];
    for (arguments, flag) in cases {
        for input in ["", "\n"] {
            let run = world.bbtoken(arguments.iter().copied()).without_client();
            let done = run.input(input).within(&tree).fails(2);
            done.says(&[flag]);
            assert_eq!(written(&world), before);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_signal_goes_to_the_command_and_its_netrc_file_is_removed() {
    let world = world();
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("USR1", 138)] {
        let netrc = world.path("netrc");
        let mut run = world
            .bbtoken(["exec", "--netrc"])
            .arg(&netrc)
            .into_command();
        // The command says that it is there, then waits for the signal.
        let mut child = run
            .args([
                "--",
                "sh",
                "-c",
                "test -s \"$0\" && echo ready; exec sleep 600",
            ])
            .arg(&netrc)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut ready = [0; 6];
        let mut output = child.stdout.take().expect("it is a pipe");
        output.read_exact(&mut ready).expect("the file is there");
        let pid = child.id().to_string();
        world
            .run(Path::new("/usr/bin/kill"), ["-s", signal, &pid])
            .ok();
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "as a shell tells it: {signal}");
        assert!(!netrc.exists(), "{signal} leaves no token behind");
    }
}

#[test]
fn a_signal_at_a_hidden_prompt_leaves_the_terminal_as_it_was() {
    needs!("script");
    let world = world();
    let line = "(until stty -a </dev/tty | grep -qw -e '-icanon'; do sleep 0.01; done; kill -TERM $(cat pid)) & \
        sh -c 'echo $$ >pid; exec git-bbtoken login bot --with-token'";
    let (shown, code) = DUMB.run(&world, line, &[]);
    assert_eq!(code, Some(143), "{shown}");
    assert!(
        shown.contains("token (not shown): ") && !shown.contains("SILENT"),
        "{shown}"
    );
}

#[test]
fn the_login_of_an_unexpected_account_is_saved_only_after_a_yes() {
    needs!("curl", "script");
    let world = world();
    world
        .bitbucket
        .set_consent(bitbucket_local::Consent::Granted);
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let browser = format!(
        "curl -s -L -o /dev/null --cacert '{}'",
        world.bitbucket.ca_file().display()
    );
    let file = secret.display().to_string();
    let environment = [
        ("TERM", "dumb"),
        ("GIT_TERMINAL_PROMPT", "1"),
        ("BROWSER", browser.as_str()),
        ("BBTOKEN_CLIENT_SECRET_FILE", file.as_str()),
    ];
    let terminal = Terminal {
        columns: WIDE,
        environment: &environment,
    };
    let login = |account: &str| {
        let key = &world.consumer.key;
        format!("git bbtoken login me --no-setup --browser --client-id {key} {account}")
    };
    let owner = || {
        let run = world.bbtoken(["status", "--json"]).without_client();
        let shown = run.env("BBTOKEN_CLIENT_SECRET_FILE", &secret).ok();
        let value: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
        value["profiles"][0]["owner"]["name"]
            .as_str()
            .map(str::to_owned)
    };
    let question = "profile 'me' is for account 'ann', but its login belongs to Local User (local). Keep this login? [y/N]: ";
    let (shown, code) = terminal.run(&world, &login("--account ann"), &[(question, "n\n")]);
    assert_eq!(code, Some(4), "{shown}");
    assert!(
        shown.contains(
            "error: the login of profile 'me' failed: the browser is logged in to Bitbucket as another account; change the account there first\n"
        ),
        "{shown}"
    );
    assert_eq!(owner(), None, "nothing is stored");
    let (shown, code) = terminal.run(&world, &login("--account ann"), &[(question, "y\n")]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        !shown.contains("warning: "),
        "the question is enough: {shown}"
    );
    assert_eq!(owner().as_deref(), Some("Local User (local)"));
    // Without a name of its own, the login that is replaced says whose it is to be.
    let other = login("--account me");
    let (shown, code) = terminal.run(&world, &other, &[]);
    assert_eq!(code, Some(0), "the same account needs no question: {shown}");
    let answer = bitbucket_local::Action::Answer {
        status: 200,
        headers: Vec::new(),
        body: r#"{"display_name":"Eve","username":"eve"}"#.into(),
        early: false,
    };
    world.bitbucket.script(bitbucket_local::Rule {
        kind: Some(bitbucket_local::Kind::Api),
        ..bitbucket_local::Rule::new(answer)
    });
    let question = "profile 'me' was logged in as Local User (local), but the new login belongs to Eve (eve). Keep this login? [y/N]: ";
    let (shown, code) = terminal.run(&world, &other, &[(question, "\n")]);
    assert_eq!(code, Some(4), "{shown}");
    assert_eq!(
        owner().as_deref(),
        Some("Local User (local)"),
        "the old login stays"
    );
}

#[test]
fn the_login_of_another_account_is_shared_only_after_a_yes() {
    needs!("curl", "script");
    let world = world();
    world
        .bitbucket
        .set_consent(bitbucket_local::Consent::Granted);
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let browser = format!(
        "curl -s -L -o /dev/null --cacert '{}'",
        world.bitbucket.ca_file().display()
    );
    let store = crate::texts::shared::store_of(&world);
    let environment = [
        ("TERM", "dumb"),
        ("GIT_TERMINAL_PROMPT", "1"),
        ("BROWSER", browser.as_str()),
        ("BBTOKEN_STORE", "command"),
        ("BBTOKEN_STORE_COMMAND", store.as_str()),
    ];
    let terminal = Terminal {
        columns: WIDE,
        environment: &environment,
    };
    let line = format!(
        "git bbtoken login ci --no-setup --default --browser --client-id {} --with-secret",
        world.consumer.key
    );
    let typed = format!("{}\n", world.consumer.secret);
    let typed = ("client secret (not shown): ", typed.as_str());
    let (shown, code) = terminal.run(&world, &line, &[typed]);
    assert_eq!(code, Some(0), "{shown}");
    let eve = r#"{"display_name":"Eve","username":"eve"}"#;
    let question = "profile 'ci' was logged in as Local User (local), but the new login belongs to Eve (eve). Keep this login? [y/N]: ";
    for (answer, expected) in [("\n", 4), ("y\n", 0)] {
        let rule = bitbucket_local::Rule::answer(200).kind(bitbucket_local::Kind::Api);
        world.bitbucket.script(rule.body(eve));
        let (shown, code) = terminal.run(&world, &line, &[typed, (question, answer)]);
        assert_eq!(code, Some(expected), "{shown}");
    }
}

#[test]
fn an_unchecked_token_is_saved_only_after_a_yes() {
    needs!("script");
    let world = world();
    let token = world.bitbucket.issue_api_token();
    let line = "git bbtoken login bot --with-token --no-setup";
    let typed = format!("{token}\n");
    let run = |answer: &'static str| {
        let exchange = [
            ("token (not shown): ", typed.as_str()),
            ("E-mail address of your Atlassian account: ", "\n"),
            ("Save it without a check? [y/N]: ", answer),
        ];
        DUMB.run(&world, line, &exchange)
    };
    let before = world.gitconfig();
    let (shown, code) = run("n\n");
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("The helper could not check the token: for an API token, Bitbucket needs"),
        "{shown}"
    );
    assert_eq!(world.gitconfig(), before);
    let (shown, code) = run("y\n");
    assert_eq!(code, Some(0), "{shown}");
    let printed = world.bbtoken(["token"]).without_client().ok();
    assert_eq!(printed.trim_end(), token);
}
