//! The first command of a new user: `git clone` on a terminal, with an empty home and nothing configured. It logs in,
//! and goes on. The transcripts show every question.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{Consent, Consumer};

use crate::{
    conversation::converse,
    needs::needs,
    support::{World, cargo, copy_program, gits, helper, on_every_git},
    terminals::DUMB,
};

/// What a user's terminal has, and tests have not.
pub(crate) const ASKS: &str = "export GIT_TERMINAL_PROMPT=1; ";
const ADDRESS: &str = "E-mail address of your Atlassian account: ";
pub(crate) const CLONE: &str = "git clone -q bbtoken::acme/app tree";

pub(crate) fn world() -> World {
    let world = World::new(gits().remove(0));
    world.repository("acme", "app");
    world.bitbucket.set_consent(Consent::Granted);
    world
}

/// Runs a line on a terminal, where git may ask.
fn on_terminal(world: &World, line: &str, exchange: &[(&str, &str)]) -> (String, Option<i32>) {
    converse(world, &format!("{ASKS}{line}"), exchange)
}

pub(crate) fn is_cloned(world: &World) -> bool {
    world.path("tree/file").exists()
}

/// Makes `BROWSER` a browser whose user grants access at once.
fn browser(world: &World) -> String {
    let ca = world.bitbucket.ca_file();
    format!(
        "export BROWSER=\"curl -s -L -o /dev/null --cacert '{}'\"; ",
        ca.display()
    )
}

#[test]
fn a_first_clone_asks_two_questions_for_an_api_token() {
    needs!("script");
    let world = world();
    let token = format!("{}\n", world.bitbucket.issue_api_token());
    let (shown, code) = on_terminal(
        &world,
        CLONE,
        &[("Number [1]: ", "\n"), ("token (not shown): ", &token)],
    );
    assert_eq!(code, Some(0), "{shown}");
    assert!(is_cloned(&world), "the clone goes on: {shown}");
    assert_eq!(
        shown,
        "Git needs a login for localhost. After the login, git continues.\n\
         How do you want to log in?\n\
         \x20 1  API token: your own, from your Atlassian account; needs no administrator\n\
         \x20 2  Browser: as yourself, with the key and secret of an OAuth consumer\n\
         \x20 3  Key and secret: as the OAuth consumer itself, for CI and servers\n\
         Number [1]: \n\
         \n\
         Create an API token:\n\
         \x20 1. Open https://id.atlassian.com/manage-profile/security/api-tokens\n\
         \x20 2. Create API token with scopes, app Bitbucket.\n\
         \x20 3. Tick read:repository:bitbucket and read:user:bitbucket.\n\
         \x20    To push, tick write:repository:bitbucket, too.\n\
         \n\
         token (not shown): \n\
         Profile 'default' is logged in.\n\
         \x20 saved in a file that only you can read\n"
    );
    world
        .git(["-C", "tree", "fetch", "-q"])
        .without_client()
        .ok();
}

#[test]
fn a_first_clone_asks_three_questions_for_a_key_and_a_secret() {
    needs!("script");
    let world = world();
    let (key, secret) = (&world.consumer.key, &world.consumer.secret);
    let (key, secret) = (format!("{key}\n"), format!("{secret}\n"));
    let (shown, code) = on_terminal(
        &world,
        CLONE,
        &[
            ("Number [1]: ", "3\n"),
            ("Key of the OAuth consumer: ", &key),
            ("client secret (not shown): ", &secret),
        ],
    );
    assert_eq!(code, Some(0), "{shown}");
    assert!(is_cloned(&world), "{shown}");
    let base = world.bitbucket.base_url();
    let expected = format!(
        "Git needs a login for localhost. After the login, git continues.\n\
         How do you want to log in?\n\
         \x20 1  API token: your own, from your Atlassian account; needs no administrator\n\
         \x20 2  Browser: as yourself, with the key and secret of an OAuth consumer\n\
         \x20 3  Key and secret: as the OAuth consumer itself, for CI and servers\n\
         Number [1]: 3\n\
         \n\
         Ask an administrator of the workspace for the key and secret of an OAuth consumer, or create one:\n\
         \x20 1. Open {base}/acme/workspace/settings/api\n\
         \x20 2. OAuth consumers, Add consumer:\n\
         \x20    Name     any\n\
         \x20    Callback http://127.0.0.1/callback\n\
         \x20    tick     This is a private consumer\n\
         \x20    tick     Repositories: Read    (Write, too, to push)\n\
         \x20 3. Save, open the consumer in the list: it shows a key and a secret.\n\
         \n\
         Key of the OAuth consumer: {key}\
         client secret (not shown): \n\
         Profile 'default' is logged in.\n\
         \x20 access token: scopes account, repository, repository:write, expires in <time>\n\
         \x20 saved in a file that only you can read\n"
    );
    assert_eq!(without_time(&shown), expected);
}

/// Leaves out how long a token is still valid.
pub(crate) fn without_time(shown: &str) -> String {
    match shown.split_once(", expires in ") {
        Some((before, after)) => {
            let (_, rest) = after.split_once('\n').expect("the line ends");
            format!("{before}, expires in <time>\n{rest}")
        }
        None => shown.to_owned(),
    }
}

#[test]
fn a_first_clone_asks_nothing_where_the_administrator_has_set_a_client() {
    needs!("script", "curl");
    let world = world();
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let system = format!(
        "[bbtoken]\n\tclientId = {}\n\tgrant = authorization-code\n\tclientSecretCommand = cat '{}'\n",
        world.consumer.key,
        secret.display()
    );
    fs::write(world.path("system"), system).expect("the world can be written");
    let line = format!(
        "unset GIT_CONFIG_NOSYSTEM; export GIT_CONFIG_SYSTEM='{}'; {}{CLONE}; git bbtoken status",
        world.path("system").display(),
        browser(&world)
    );
    let (shown, code) = on_terminal(&world, &line, &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(is_cloned(&world), "{shown}");
    let source = format!(
        "; client: bbtoken.clientId in {}",
        world.path("system").display()
    );
    assert!(shown.contains(&source), "status names the source: {shown}");
}

/// Puts both programs of a packager into a directory; they hold the client of the returned consumer.
pub(crate) fn packaged(world: &World) -> (PathBuf, Consumer) {
    let made = cargo()
        .args([
            "build",
            "-q",
            "--locked",
            "--offline",
            "--example",
            "packaged",
        ])
        .status();
    assert!(
        made.is_ok_and(|made| made.success()),
        "the example is built"
    );
    let built = helper().with_file_name("examples").join("packaged");
    let directory = world.path("packaged");
    fs::create_dir(&directory).expect("the world can be written");
    for name in ["git-bbtoken", "git-remote-bbtoken"] {
        copy_program(&built, &directory.join(name));
    }
    let consumer = Consumer {
        key: "packaged-key".to_owned(),
        secret: "packaged-secret".to_owned(),
        ..Consumer::new_public()
    };
    world.bitbucket.add_consumer(consumer.clone());
    (directory, consumer)
}

#[test]
fn a_first_clone_asks_nothing_where_a_client_is_built_in() {
    needs!("script", "curl");
    on_every_git(|world| {
        world.repository("acme", "app");
        world.bitbucket.set_consent(Consent::Granted);
        let (directory, _) = packaged(world);
        let line = format!(
            "export PATH='{}':\"$PATH\"; {}{CLONE}; git bbtoken status",
            directory.display(),
            browser(world)
        );
        let (shown, code) = on_terminal(world, &line, &[]);
        assert_eq!(code, Some(0), "{shown}");
        assert!(is_cloned(world), "{shown}");
        assert!(
            shown.contains("; client: built into this program"),
            "status names the source: {shown}"
        );
    });
}

#[test]
fn a_client_of_the_users_comes_before_a_built_in_one() {
    let world = world();
    let (directory, _) = packaged(&world);
    let run = |arguments: &[&str]| {
        world
            .run(&directory.join("git-bbtoken"), arguments)
            .without_client()
    };
    let secret = world.consumer.secret.clone();
    let login = [
        "login",
        "ci",
        "--client-credentials",
        "--with-secret",
        "--client-id",
    ];
    run(&[&login[..], &[&world.consumer.key]].concat())
        .input(&secret)
        .ok();
    let explained = run(&["status", "--explain", "acme/app"]).ok();
    assert!(
        explained.contains("uses profile 'ci' because it is the only profile"),
        "{explained}"
    );
}

#[test]
fn a_login_that_has_ended_is_renewed_within_the_command() {
    needs!("script", "curl");
    let world = world();
    let secret = format!("{}\n", world.consumer.secret);
    let key = format!("{}\n", world.consumer.key);
    let answers = [
        ("Number [1]: ", "2\n"),
        ("Key of the OAuth consumer: ", key.as_str()),
        ("client secret (not shown): ", &secret),
    ];
    let clone = format!("{}{CLONE}", browser(&world));
    let (shown, code) = on_terminal(&world, &clone, &answers);
    assert_eq!(code, Some(0), "{shown}");
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.revoke_refresh_tokens();
    let fetch = format!("{}git -C tree fetch -q", browser(&world));
    let question = "Log in again? [Y/n]: ";
    let (shown, code) = on_terminal(&world, &fetch, &[(question, "n\n")]);
    assert_eq!(code, Some(128), "{shown}");
    assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
    assert!(
        shown.contains("hint: run 'git bbtoken login default'"),
        "{shown}"
    );
    let (shown, code) = on_terminal(&world, &fetch, &[(question, "\n")]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.starts_with("The login of profile 'default' has ended; it was last refreshed "),
        "{shown}"
    );
}

#[test]
fn a_question_is_repeated_after_a_wrong_answer() {
    needs!("script");
    let world = world();
    let token = format!("{}\n", world.bitbucket.issue_api_token());
    let again = "Try again, or press Ctrl-C to stop.\r\ntoken (not shown): ";
    let (shown, code) = on_terminal(
        &world,
        CLONE,
        &[
            ("Number [1]: ", "9\n"),
            ("Number [1]: ", "1\n"),
            ("token (not shown): ", "\n"),
            ("token (not shown): ", "ATATTwrong\n"),
            (ADDRESS, "ann at example.com\n"),
            (ADDRESS, "ann@example.com\n"),
            (again, "wrong\n"),
            (again, &token),
        ],
    );
    assert_eq!(code, Some(0), "{shown}");
    assert!(is_cloned(&world), "{shown}");
    assert!(shown.contains("the token is empty"), "{shown}");
    assert!(
        !shown.contains("--try"),
        "a prompt takes no option: {shown}"
    );
    for text in [
        "That is not an e-mail address.",
        "the token or the e-mail address is wrong",
        "the token is wrong or revoked, or it cannot read this repository",
    ] {
        assert!(shown.contains(text), "'{text}': {shown}");
    }
}

#[test]
fn git_asks_nothing_if_no_user_can_see_the_question() {
    needs!("script", "setsid");
    let world = world();
    for (case, line) in [
        ("CI", "CI=true git clone -q bbtoken::acme/app tree"),
        (
            "GIT_TERMINAL_PROMPT",
            "GIT_TERMINAL_PROMPT=0 git clone -q bbtoken::acme/app tree",
        ),
        (
            "credential.interactive",
            "git -c credential.interactive=false clone -q bbtoken::acme/app tree",
        ),
        (
            "stderr",
            "git clone -q bbtoken::acme/app tree 2>said; code=$?; cat said; exit $code",
        ),
        (
            "no terminal",
            "setsid -w git clone -q bbtoken::acme/app tree 2>&1",
        ),
        (
            "background",
            "set -m; git clone -q bbtoken::acme/app tree & wait $!",
        ),
    ] {
        let (shown, code) = on_terminal(&world, line, &[]);
        assert_eq!(code, Some(128), "{case}: {shown}");
        assert!(
            shown.starts_with(
                "error: no OAuth client and no token is configured\nhint: run 'git bbtoken login'"
            ),
            "{case}: {shown}"
        );
    }
    assert!(!Path::new(&world.path("tree")).exists());
}

#[test]
fn a_name_with_a_typing_error_costs_no_login() {
    needs!("script", "curl");
    let line = "git clone -q bbtoken::acme/nope tree";
    let token = |world: &World| format!("{}\n", world.bitbucket.issue_api_token());
    let first = world();
    let by_token = token(&first);
    let by_token: &[(&str, &str)] = &[
        ("Number [1]: ", "1\n"),
        ("token (not shown): ", &by_token),
        (ADDRESS, "ann@example.com\n"),
    ];
    let second = world();
    let (key, secret) = (&second.consumer.key, &second.consumer.secret);
    let (key, secret) = (format!("{key}\n"), format!("{secret}\n"));
    let by_client: &[(&str, &str)] = &[
        ("Number [1]: ", "3\n"),
        ("Key of the OAuth consumer: ", &key),
        ("client secret (not shown): ", &secret),
    ];
    for (world, exchange) in [(&first, by_token), (&second, by_client)] {
        let (shown, code) = on_terminal(world, line, exchange);
        assert_eq!(code, Some(128), "the repository is not there: {shown}");
        assert!(shown.contains("Profile 'default' is logged in."), "{shown}");
        assert!(
            shown.contains("error: cannot read repository 'acme/nope'"),
            "{shown}"
        );
        let (shown, code) = on_terminal(world, CLONE, &[]);
        assert_eq!(code, Some(0), "the login is saved: {shown}");
    }
}

#[test]
fn a_login_follows_its_options_where_a_client_is_known_already() {
    let world = world();
    let (directory, _) = packaged(&world);
    let run = |arguments: &[&str]| {
        let run = world.run(&directory.join("git-bbtoken"), arguments);
        run.without_client()
    };
    // A token is stored, though the default profile has a client.
    let token = world.bitbucket.issue_resource_token();
    run(&["login", "--with-token"]).input(&token).ok();
    assert_eq!(run(&["token"]).ok().trim_end(), token);
    run(&["logout", "default"]).ok();
    // The secret of a built-in client is public, so that client alone gets no token.
    let done = run(&["login", "ci", "--client-credentials"]).fails(2);
    done.says(&["error: the client id is missing; give --client-id"]);
    // A store that is chosen holds the login, and logout finds it there.
    let login = run(&["login", "--store", "kernel-keyring", "--no-browser"]).fails(2);
    assert!(!world.gitconfig().contains("kernel-keyring"), "{login:?}");
}

#[test]
fn a_login_with_the_client_of_an_administrator_is_where_its_store_says() {
    needs!("script", "curl");
    let world = world();
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let set = |name: &str, value: &str| world.git(["config", "--global", name, value]).ok();
    set("bbtoken.clientId", &world.consumer.key);
    set("bbtoken.grant", "authorization-code");
    set(
        "bbtoken.clientSecretCommand",
        &format!("cat '{}'", secret.display()),
    );
    let login = "git bbtoken login --store kernel-keyring --browser --no-setup";
    let (shown, code) = on_terminal(&world, &format!("{}{login}", browser(&world)), &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("saved in the kernel's keyring"), "{shown}");
    // The cached access token would hide that the login is not there.
    fs::remove_dir_all(world.cache()).expect("it is there");
    world
        .git(["clone", "-q", "bbtoken::acme/app", "tree"])
        .without_client()
        .ok();
    let out = world.bbtoken(["logout", "default"]).without_client().ok();
    assert!(out.contains("login"), "logout finds it: {out}");
}

#[test]
fn two_commands_on_one_terminal_ask_for_one_login() {
    needs!("script");
    let world = world();
    world.repository("acme", "lib");
    let token = world.bitbucket.issue_api_token();
    let typed = format!("{token}\n");
    let line = format!(
        "{ASKS}({CLONE} & first=$!; \
         until stty -a </dev/tty | grep -qw -e '-icanon'; do sleep 0.01; done; \
         git clone -q bbtoken::acme/lib lib && wait $first)"
    );
    let answers = [
        ("Number [1]: ", "1\n"),
        ("Another git command asks for a login.", typed.as_str()),
    ];
    let (shown, code) = DUMB.run(&world, &line, &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        is_cloned(&world) && world.path("lib/file").exists(),
        "{shown}"
    );
    assert_eq!(shown.matches("Number [1]: ").count(), 1, "{shown}");
    assert!(
        !shown.contains(&token) && !shown.contains("SILENT"),
        "the terminal hides the token and is as it was: {shown}"
    );
}

#[test]
fn a_login_ends_with_the_git_that_waits_for_it() {
    needs!("script", "ps");
    let world = world();
    // The loop has an end, so that the test has one.
    let line = format!(
        "{ASKS}{CLONE} & git=$!; \
         until stty -a </dev/tty | grep -qw -e '-icanon'; do sleep 0.01; done; \
         kill -TERM $git; wait $git; left=2000; \
         while ps -t \"$(tty)\" -o args= | grep -q '[g]it-bbtoken login' && [ $left -gt 0 ]; \
         do left=$((left-1)); sleep 0.01; done; \
         echo ready; IFS= read -r words </dev/tty; echo \"the shell reads $words\""
    );
    let answers = [("Number [1]: ", "1\n"), ("ready\r\n", "my words\n")];
    let (shown, _) = DUMB.run(&world, &line, &answers);
    assert!(
        shown.contains("the shell reads my words") && !shown.contains("SILENT"),
        "the login neither reads what the user types to the shell nor hides it: {shown}"
    );
}

#[test]
fn a_login_within_git_reads_the_configuration_that_git_reads() {
    needs!("script");
    let base = |world: &World| world.bitbucket.base_url().to_string();
    for case in ["-c", "GIT_CONFIG_COUNT", "includeIf", "outer repository"] {
        let world = world();
        let right = base(&world);
        let wrong = "https://other.invalid";
        let token = format!("{}\n", world.bitbucket.issue_api_token());
        let of_user = |key: &str, value: &str| {
            world.git(["config", "--global", key, value]).ok();
        };
        let mut line = CLONE.to_owned();
        match case {
            "-c" => {
                of_user("bbtoken.baseUrl", wrong);
                line = format!("git -c bbtoken.baseUrl={right} clone -q bbtoken::acme/app tree");
            }
            "GIT_CONFIG_COUNT" => {
                of_user("bbtoken.baseUrl", wrong);
                line = format!(
                    "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=bbtoken.baseUrl GIT_CONFIG_VALUE_0={right} \
                     GIT_CONFIG=unused {CLONE}"
                );
            }
            "includeIf" => {
                of_user("bbtoken.baseUrl", wrong);
                let included = format!("[bbtoken]\n\tbaseUrl = {right}\n");
                fs::write(world.path("included"), included).expect("the world can be written");
                let condition = format!("includeIf.gitdir:{}/.path", world.path("tree").display());
                of_user(&condition, &world.path("included").display().to_string());
            }
            _ => {
                of_user("bbtoken.baseUrl", &right);
                world.git(["init", "-q", "."]).ok();
                world.git(["config", "bbtoken.baseUrl", wrong]).ok();
            }
        }
        let line = format!("unset BBTOKEN_BASE_URL; {line}");
        let answers = [("Number [1]: ", "1\n"), ("token (not shown): ", &token)];
        let (shown, code) = on_terminal(&world, &line, &answers);
        assert_eq!(code, Some(0), "{case}: {shown}");
        assert!(
            is_cloned(&world) && shown.starts_with("Git needs a login for localhost."),
            "{case}: {shown}"
        );
    }
}

#[test]
fn a_user_who_stops_at_a_question_of_git_sees_one_error() {
    needs!("script");
    let world = world();
    let ways: [&[(&str, &str)]; 3] = [
        &[("Number [1]: ", "\u{4}")],
        &[("Number [1]: ", "1\n"), ("token (not shown): ", "\u{3}")],
        &[("Number [1]: ", "1\n"), ("token (not shown): ", "\u{4}")],
    ];
    for answers in ways {
        let (shown, code) = on_terminal(&world, CLONE, answers);
        assert_eq!(code, Some(128), "{shown}");
        assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
        assert!(
            shown.contains(
                "\nerror: no OAuth client and no token is configured\nhint: run 'git bbtoken login'"
            ),
            "the error of git begins a line: {shown}"
        );
    }
}

#[test]
fn a_login_that_fails_shows_the_only_error() {
    needs!("script");
    let world = world();
    let (key, secret) = (&world.consumer.key, &world.consumer.secret);
    let (key, secret) = (format!("{key}\n"), format!("{secret}\n"));
    let line = format!("BBTOKEN_BASE_URL=https://127.0.0.1:1 {CLONE}");
    let answers = [
        ("Number [1]: ", "3\n"),
        ("Key of the OAuth consumer: ", key.as_str()),
        ("client secret (not shown): ", &secret),
    ];
    let (shown, code) = on_terminal(&world, &line, &answers);
    assert_eq!(code, Some(128), "{shown}");
    assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
    assert!(
        shown.contains("error: cannot get a token for profile 'default'")
            && shown.ends_with("hint: check the network, the proxy settings and the status of '127.0.0.1', then try again\n"),
        "{shown}"
    );
}

#[test]
fn git_asks_where_ci_is_empty_or_false() {
    needs!("script");
    let world = world();
    for value in ["", "false"] {
        let line = format!("CI={value} {CLONE}");
        on_terminal(&world, &line, &[("Number [1]: ", "\u{4}")]);
    }
}

#[test]
fn a_stored_token_that_bitbucket_refuses_is_replaced_within_the_command() {
    needs!("script");
    let world = world();
    let token = || format!("{}\n", world.bitbucket.issue_api_token());
    let secret = "token (not shown): ";
    let answers = [("Number [1]: ", "1\n"), (secret, &token())];
    let (shown, code) = on_terminal(&world, CLONE, &answers);
    assert_eq!(code, Some(0), "{shown}");
    let fetch = "git -C tree fetch -q";
    let question = "Log in again? [y/N]: ";
    // The second time, git begins with what it remembers of the repository.
    for _ in 0..2 {
        world.bitbucket.revoke_access_tokens();
        let (shown, code) = on_terminal(&world, fetch, &[(question, "n\n")]);
        assert_eq!(code, Some(128), "{shown}");
        assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
        assert!(shown.contains("run 'git bbtoken login default'"), "{shown}");
        let (shown, code) = on_terminal(&world, &format!("GIT_TERMINAL_PROMPT=0 {fetch}"), &[]);
        assert_eq!(code, Some(128), "{shown}");
        assert!(shown.contains("run 'git bbtoken login default'"), "{shown}");
        let answers = [(question, "y\n"), (secret, &token())];
        let (shown, code) = on_terminal(&world, fetch, &answers);
        assert_eq!(code, Some(0), "the fetch goes on: {shown}");
        assert!(
            shown.contains("\nBitbucket refuses the token of profile 'default'"),
            "{shown}"
        );
    }
    let (shown, code) = on_terminal(&world, fetch, &[]);
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn a_wrong_name_asks_for_no_login_where_bitbucket_accepts_the_token() {
    needs!("script");
    let world = world();
    let token = world.bitbucket.issue_api_token();
    let login = ["login", "--with-token", "--account", "ann@example.com"];
    world.bbtoken(login).without_client().input(&token).ok();
    let wrong = "git ls-remote bbtoken::acme/nope";
    let (shown, code) = on_terminal(&world, wrong, &[]);
    assert_eq!(code, Some(128), "{shown}");
    assert!(!shown.contains("Log in again?"), "{shown}");
    world.bitbucket.revoke_access_tokens();
    let (shown, _) = on_terminal(&world, wrong, &[("Log in again? [Y/n]: ", "n\n")]);
    assert!(
        shown.contains("\nBitbucket no longer accepts the token of profile 'default'."),
        "{shown}"
    );
}

#[test]
fn an_unknown_profile_in_an_address_becomes_a_login() {
    needs!("script");
    let world = world();
    let token = format!("{}\n", world.bitbucket.issue_api_token());
    let clone = "git clone -q bbtoken::work@acme/app tree";
    let question = "Profile 'work' does not exist. Log in as it now? [Y/n]: ";
    let hint = "run 'git bbtoken login work'";
    for (line, answers) in [
        (clone, &[(question, "n\n")][..]),
        (&format!("GIT_TERMINAL_PROMPT=0 {clone}"), &[]),
    ] {
        let (shown, code) = on_terminal(&world, line, answers);
        assert_eq!(code, Some(128), "{shown}");
        assert!(
            shown.contains("error: the address names profile 'work', which does not exist")
                && shown.contains(hint),
            "{shown}"
        );
    }
    let answers = [
        (question, "\n"),
        ("Number [1]: ", "1\n"),
        ("token (not shown): ", token.as_str()),
    ];
    let (shown, code) = on_terminal(&world, clone, &answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(is_cloned(&world), "{shown}");
    assert!(shown.contains("Profile 'work' is logged in."), "{shown}");
    // Where other profiles exist, the user may have meant one of them.
    let other = "git ls-remote bbtoken::wrok@acme/app";
    let question =
        "Profile 'wrok' does not exist; the profiles are: work. Log in as it now? [Y/n]: ";
    let (shown, code) = on_terminal(&world, other, &[(question, "n\n")]);
    assert_eq!(code, Some(128), "{shown}");
    assert!(shown.contains("run 'git bbtoken login wrok'"), "{shown}");
    // Bitbucket's pages put the user's name into an https address.
    let host = world.bitbucket.base_url().replace("https://", "");
    let pasted = format!("git ls-remote bbtoken::https://ann@{host}/acme/app.git");
    let (shown, code) = on_terminal(&world, &pasted, &[]);
    assert_eq!(code, Some(0), "the user in it is no profile: {shown}");
}
