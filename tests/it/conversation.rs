//! `login` at a terminal: a person is led through it, and may stop at every question.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::Stdio,
};

use crate::{
    needs::needs,
    person,
    support::{World, gits},
};

fn world() -> World {
    World::new(gits().remove(0))
}

/// Plays a person at a terminal: waits for each question, then types the answer; gives all that was shown.
pub(crate) fn converse(
    world: &World,
    line: &str,
    exchange: &[(&str, &str)],
) -> (String, Option<i32>) {
    let questions: Vec<_> = exchange.iter().map(|(question, _)| *question).collect();
    converse_by(world, line, &questions, &|number, _| {
        exchange[number].1.to_owned()
    })
}

/// Plays a person who answers each question, by its number, after reading all that was shown.
pub(crate) fn converse_by(
    world: &World,
    line: &str,
    questions: &[&str],
    answer: &dyn Fn(usize, &str) -> String,
) -> (String, Option<i32>) {
    let mut command = world
        .run(Path::new("/usr/bin/script"), ["-qec", line, "/dev/null"])
        .without_client()
        .env("TERM", "dumb")
        .into_command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("it is a pipe");
    let mut output = child.stdout.take().expect("it is a pipe");
    let mut shown = String::new();
    let mut seen = 0;
    for (number, question) in questions.iter().enumerate() {
        while !shown[seen..].contains(question) {
            let mut bytes = [0; 1024];
            let length = output.read(&mut bytes).expect("it can be read");
            assert!(length > 0, "'{question}' is asked: {shown}");
            shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        seen = shown.len();
        let answer = answer(number, &shown);
        input.write_all(answer.as_bytes()).expect("it is read");
    }
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("it ends");
    shown.push_str(&String::from_utf8_lossy(&rest));
    let code = child.wait().expect("it ends").code();
    (shown.replace('\r', ""), code)
}

#[test]
fn a_person_is_led_through_it() {
    needs!("script");
    let world = world();
    world.repository("acme", "app");
    let secret = format!("{}\n", world.consumer.secret);
    let key = format!("{}\n", world.consumer.key);
    let (shown, code) = converse(
        &world,
        "git bbtoken login --try acme/app --no-setup work",
        &[
            ("Number [1]: ", "3\n"),
            ("Key of the OAuth consumer: ", &key),
            ("client secret (not shown): ", &secret),
        ],
    );
    assert_eq!(code, Some(0), "{shown}");
    for text in [
        "How do you want to log in?",
        "  3  Key and secret: as the OAuth consumer itself, for CI and servers",
        &format!(
            "1. Open {}/acme/workspace/settings/api",
            world.bitbucket.base_url()
        ),
        "Callback http://127.0.0.1/callback",
        "tick     This is a private consumer",
        "Profile 'work' is logged in.",
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    assert!(
        !shown.contains(&world.consumer.secret),
        "the secret is not shown"
    );
    assert!(
        !shown.contains('\u{1b}'),
        "a screen reader and a dumb terminal get plain text"
    );
}

#[test]
fn by_ssh_the_address_is_pasted_and_the_forwarded_port_is_shown() {
    needs!("script");
    let world = world();
    let before = world.gitconfig();
    let secret = format!("{}\n", world.consumer.secret);
    let key = format!("{}\n", world.consumer.key);
    let (shown, code) = converse(
        &world,
        "SSH_TTY=/dev/pts/9 git bbtoken login me --browser",
        &[
            ("Key of the OAuth consumer: ", &key),
            ("client secret (not shown): ", &secret),
            (
                "Paste the whole address of that page here, or only the code in it, and press Enter:\r\n",
                "http://127.0.0.1/callback?error=access_denied\n",
            ),
            (
                "Paste all of it, from http to the end:\r\n",
                "http://127.0.0.1/callback\n",
            ),
            ("Paste all of it, from http to the end:\r\n", "\u{3}"),
        ],
    );
    assert_ne!(code, Some(0), "{shown}");
    for text in [
        "Login does not open a browser here: this is an ssh session.",
        "git bbtoken login me --port 8976",
        "ssh -L 8976:127.0.0.1:8976 <this machine>",
        "tick     Account: Read    (lets Bitbucket name the account)",
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    assert_eq!(world.gitconfig(), before);
    assert!(
        !world.home().join(".local").exists(),
        "Ctrl-C has left nothing, not even a directory"
    );
}

#[test]
fn a_code_alone_is_accepted_on_the_terminal_that_printed_the_page() {
    needs!("script");
    let world = world();
    person::configure_login(&world, "me", &world.consumer);
    let line = format!(
        "BBTOKEN_CLIENT_SECRET={} git bbtoken login me --no-setup --no-browser",
        world.consumer.secret
    );
    let ask =
        "Paste the whole address of that page here, or only the code in it, and press Enter:\r\n";
    let (shown, code) = converse_by(&world, &line, &[ask], &|_, shown| {
        let page = shown.lines().find(|line| line.starts_with("  https://"));
        let callback = person::callback_of(&world, page.expect("it is shown").trim());
        format!(" '{}'\n", person::code_in(&callback))
    });
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Profile 'me' is logged in."), "{shown}");
    // A slip is asked for again, a code that is none of this login's is not.
    let again = "Paste all of it, from http to the end:\r\n";
    let (shown, code) = converse(
        &world,
        &line,
        &[(ask, "yes\n"), (again, "NoSuchCode0123456\n")],
    );
    assert_eq!(code, Some(4), "{shown}");
}

#[test]
fn stopping_at_a_question_changes_nothing() {
    needs!("script");
    let world = world();
    let before = world.gitconfig();
    let key = format!("{}\n", world.consumer.key);
    let whole = [
        ("Number [1]: ", "3\n"),
        ("Key of the OAuth consumer: ", key.as_str()),
        ("client secret (not shown): ", ""),
    ];
    for stop in 0..whole.len() {
        let mut exchange = whole[..=stop].to_vec();
        exchange[stop].1 = "\u{3}";
        let (shown, code) = converse(&world, "git bbtoken login", &exchange);
        assert_ne!(code, Some(0), "{shown}");
        assert_eq!(
            world.gitconfig(),
            before,
            "stopped at '{}'",
            exchange[stop].0
        );
        assert!(!world.home().join(".local").exists() && !world.cache().exists());
    }
}

#[test]
fn after_a_login_the_setup_is_offered_and_the_profile_of_plain_addresses() {
    needs!("script");
    let world = world();
    let secret = format!("{}\n", world.consumer.secret);
    let login = |name: &str| {
        let key = &world.consumer.key;
        format!("git bbtoken login {name} --client-credentials --client-id {key}")
    };
    let secret = ("client secret (not shown): ", secret.as_str());
    let setup = "(d shows the changes) [Y/n/d]: ";
    let without = world.gitconfig();
    let (shown, code) = converse(&world, &login("first"), &[secret, (setup, "\u{4}")]);
    assert_eq!(
        code,
        Some(0),
        "the user is logged in after leaving: {shown}"
    );
    assert!(
        shown.contains("Nothing was written. To do it later: git bbtoken setup"),
        "{shown}"
    );
    let logged_in = world.gitconfig();
    assert!(
        logged_in.starts_with(&without) && !logged_in.contains("helper"),
        "{logged_in}"
    );
    // The same profile has its secret already.
    let exchange = [(setup, "d\n"), (setup, "\n")];
    let (shown, code) = converse(&world, &login("first"), &exchange);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("+ credential."),
        "the changes are shown: {shown}"
    );
    assert!(
        world.gitconfig().contains("git-bbtoken"),
        "{}",
        world.gitconfig()
    );
    // A second profile: git must know when to use it.
    let question = "Use profile 'second' for";
    // The client is the same, and so is its secret.
    let exchange = [
        (question, "workspace\n"),
        ("Name of the workspace: ", "acme\n"),
    ];
    let (shown, code) = converse(&world, &login("second"), &exchange);
    assert_eq!(code, Some(0), "{shown}");
    let explained = |address: &str| {
        let explain = ["status", "--explain", address];
        world.bbtoken(explain).without_client().done().stdout
    };
    assert!(
        explained("acme/app").contains("uses profile 'second'"),
        "{shown}"
    );
    let run = format!("{} --default", login("third"));
    let (shown, code) = converse(&world, &run, &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        explained("ws/app").contains("uses profile 'third'"),
        "{shown}"
    );
    assert!(
        shown.ends_with("Next: git clone bbtoken::<workspace>/<repository>\n"),
        "{shown}"
    );
}

#[test]
fn the_setup_after_a_login_does_and_says_what_setup_does() {
    needs!("script");
    let world = world();
    let base = world.bitbucket.base_url();
    let section = |name: &str| format!("[credential \"{name}\"]\n\tusername = ann\n");
    let text = section(base)
        + &section(&format!("{base}/"))
        + "[credential]\n\thelper = store\n[filter \"lfs\"]\n\tprocess = git-lfs filter-process\n";
    fs::write(world.home().join(".gitconfig"), text).expect("the home is ours");
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let remote = ["remote", "add", "origin", "bbtoken::ws/repo"];
    world.git(remote).within(&tree).ok();
    let secret = format!("{}\n", world.consumer.secret);
    let login = format!(
        "cd tree && git bbtoken login --client-credentials --client-id {}",
        world.consumer.key
    );
    let setup = "(d shows the changes) [Y/n/d]: ";
    let exchange = [
        ("client secret (not shown): ", secret.as_str()),
        (setup, "d\n"),
        (setup, "\n"),
    ];
    let (shown, code) = converse(&world, &login, &exchange);
    assert_eq!(code, Some(0), "{shown}");
    for text in [
        "+ remote.origin.lfsurl = ",
        &format!("warning: git asks another credential helper for {base} after the helper: "),
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    let address = ["config", "remote.origin.lfsurl"];
    let address = world.git(address).within(&tree).ok();
    assert!(address.ends_with("/ws/repo.git/info/lfs\n"), "{address}");
}

#[test]
fn an_id_from_a_variable_is_not_asked_for_after_a_wrong_secret() {
    needs!("script");
    let world = world();
    let key = &world.consumer.key;
    let secret = format!("{}\n", world.consumer.secret);
    let wrong = format!("x{secret}");
    let ask = "client secret (not shown): ";
    let line =
        format!("BBTOKEN_CLIENT_ID={key} git bbtoken login ci --client-credentials --no-setup");
    let answers = [
        (ask, wrong.as_str()),
        (ask, &secret),
        ("Number [1]: ", "\n"),
    ];
    let (shown, code) = converse(&world, &line, &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("Key of the OAuth consumer"), "{shown}");
}

#[test]
fn a_place_that_cannot_hold_a_login_is_refused_before_the_first_question() {
    needs!("script");
    let world = world();
    for (set, why) in [
        (
            "export BBTOKEN_STORE=memory",
            "the store 'memory' saves no login",
        ),
        (
            ": >$HOME/blocked; export BBTOKEN_HOME=$HOME/blocked",
            "cannot reserve space for a secret in",
        ),
        (": >$HOME/.gitconfig.lock", "could not lock config file"),
        (
            "rm $HOME/.gitconfig.lock; unset HOME; export BBTOKEN_HOME=$PWD/home",
            "$HOME not set",
        ),
    ] {
        let line = format!("{set}; git bbtoken login");
        let (shown, code) = converse(&world, &line, &[("error: ", "")]);
        assert_ne!(code, Some(0), "{set}: {shown}");
        assert!(
            shown.starts_with("error: ") && shown.contains(why),
            "{set}: {shown}"
        );
    }
}

#[test]
fn a_login_again_names_the_profile_and_the_page_for_a_token() {
    needs!("script");
    let world = world();
    let token = world.bitbucket.issue_resource_token();
    let login = ["login", "bot", "--with-token"];
    world.bbtoken(login).without_client().input(&token).ok();
    let typed = format!("{token}\n");
    let again = [("token (not shown): ", typed.as_str())];
    let (shown, code) = converse(&world, "git bbtoken login --no-setup", &again);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.starts_with("Profile 'bot' will be logged in again.\n"),
        "{shown}"
    );
    assert!(
        shown.contains("1. Open https://id.atlassian.com/manage-profile/security/api-tokens"),
        "{shown}"
    );
}
