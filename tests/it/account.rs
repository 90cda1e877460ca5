//! The account of a login: Bitbucket names it if the token has the scope. Otherwise, the login says why it is unknown,
//! and does not fail.

use bitbucket_local::{Action, Consumer, Kind, Rule};

use crate::{
    login::{Waiting, consent, visit},
    needs::needs,
    support::{Done, Run, World, gits},
};

fn world() -> World {
    World::new(gits().remove(0))
}

/// Logs the profile `me` in by a browser; gives all that was said.
fn log_in(world: &World, consumer: &Consumer, arguments: &[&str]) -> String {
    let client = ["login", "me", "--browser", "--client-id", &consumer.key];
    let run = world.bbtoken(client).args(arguments).arg("--with-secret");
    let run = run.without_client().input(&consumer.secret);
    let login = Waiting::of(run.into_command());
    visit(&consent(world, &login.page));
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Logs the profile `bot` in with an access token or API token.
fn log_in_with(world: &World, token: &str, arguments: &[&str]) -> Done {
    let run = world.bbtoken(["login", "bot", "--with-token"]);
    let run = run.args(arguments).without_client().input(token);
    run.done().expect(0)
}

fn bbtoken<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    world.bbtoken(arguments).without_client()
}

fn api_requests(world: &World) -> usize {
    let requests = world.bitbucket.requests();
    let of_api = requests.iter().filter(|request| request.kind == Kind::Api);
    of_api.count()
}

#[test]
fn a_login_shows_its_account_and_status_remembers_it() {
    needs!("curl");
    let world = world();
    let said = log_in(&world, &world.consumer, &[]);
    assert!(
        said.contains("Profile 'me' is logged in.\n  account: Local User (local)\n  access token: scopes account, "),
        "{said}"
    );
    assert_eq!(api_requests(&world), 1);
    world.bitbucket.clear_requests();
    let shown = bbtoken(&world, ["status", "--verbose"]).ok();
    assert!(
        shown.contains("  at Bitbucket   Local User (local), as of "),
        "{shown}"
    );
    let shown = bbtoken(&world, ["status", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    let owner = &value["profiles"][0]["owner"];
    assert_eq!(owner["name"], "Local User (local)");
    assert!(owner["told_at"].is_u64());
    assert!(
        world.bitbucket.requests().is_empty(),
        "status makes no request"
    );
    let shown = bbtoken(&world, ["doctor"]).ok();
    assert!(
        shown.contains("ok       account: Local User (local)\n"),
        "{shown}"
    );
    bbtoken(&world, ["logout", "me"]).ok();
    let shown = bbtoken(&world, ["status", "--verbose"]).ok();
    assert!(!shown.contains("Local User"), "{shown}");
    let left = std::fs::read_dir(world.cache()).expect("it was made");
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?} is left of a login");
}

#[test]
fn without_the_account_scope_bitbucket_is_not_asked_and_the_old_name_is_removed() {
    needs!("curl");
    let world = world();
    log_in(&world, &world.consumer, &[]);
    world.bitbucket.clear_requests();
    let reader = Consumer {
        scopes: vec!["repository".to_owned()],
        ..world.consumer.clone()
    };
    world.bitbucket.add_consumer(reader.clone());
    let said = log_in(&world, &reader, &[]);
    let why = "Account unknown: Bitbucket names the account only if 'Account: Read' is ticked at the OAuth consumer.";
    assert!(said.contains(why) && !said.contains("account:"), "{said}");
    assert!(
        said.contains(
            "To push, tick 'Repositories: Write' at the OAuth consumer and log in again."
        ),
        "{said}"
    );
    assert_eq!(api_requests(&world), 0);
    let shown = bbtoken(&world, ["status", "--verbose"]).ok();
    assert!(!shown.contains("Local User"), "{shown}");
}

#[test]
fn an_unexpected_account_is_reported() {
    needs!("curl");
    let world = world();
    let said = log_in(&world, &world.consumer, &["--account", "ann"]);
    let warned = "warning: profile 'me' is for account 'ann', but its login belongs to Local User (local); if this is a mistake";
    assert!(said.contains(warned), "{said}");
    let shown = bbtoken(&world, ["doctor"]).ok();
    assert!(
        shown.contains("note     account: profile 'me' is for account 'ann', but its login belongs to Local User (local)\n"),
        "{shown}"
    );
    for name in ["LOCAL", "local user"] {
        let said = log_in(&world, &world.consumer, &["--account", name]);
        assert!(!said.contains("warning"), "{name}: {said}");
    }
}

#[test]
fn an_access_token_shows_its_account_and_scopes() {
    let world = world();
    let issue = |scopes: &[&str]| world.bitbucket.issue_access_token(scopes);
    let done = log_in_with(&world, &issue(&["account", "repository:write"]), &[]);
    assert!(
        done.stdout.contains("  account: Local User (local)\n"),
        "{}",
        done.stdout
    );
    let done = log_in_with(&world, &issue(&["repository"]), &[]);
    assert!(
        done.stdout
            .contains("  token: scopes repository (cannot push)\n"),
        "{}",
        done.stdout
    );
    done.says(&[
        "Account unknown: the token lacks the scope to read the account.",
        "To push, create a token with write access to repositories",
    ]);
    log_in_with(&world, "ATCTTwrong", &["--no-check"]).quiet();
    let api = world.bitbucket.issue_api_token();
    world.bitbucket.clear_requests();
    let run = bbtoken(&world, ["login", "bot", "--with-token"]).input(&api);
    run.fails(2).says(&[
        "the helper could not check the token: for an API token, Bitbucket needs the account's e-mail address, too; set it: git config --global bbtoken.bot.account <address>; give --try <workspace>/<repository>, or --no-check to save it without a check",
    ]);
    assert_eq!(api_requests(&world), 0);
    let done = log_in_with(&world, &api, &["--account", "joe@example.com"]);
    assert!(
        done.stdout.contains("  account: Local User (local)\n"),
        "{}",
        done.stdout
    );
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
}

#[test]
fn no_token_is_sent_to_a_server_whose_name_was_not_checked() {
    let world = world();
    let token = world.bitbucket.issue_access_token(&["account"]);
    let run = world.bbtoken(["login", "bot", "--with-token"]);
    let run = run.without_client().env("GIT_SSL_NO_VERIFY", "1");
    run.input(&token).fails(2).says(&[
        "the helper could not check the token: GIT_SSL_NO_VERIFY disables certificate checks",
    ]);
    assert_eq!(api_requests(&world), 0);
}

#[test]
fn a_login_does_not_fail_for_want_of_a_name() {
    needs!("curl");
    let world = world();
    let answer = |status, body: &str| Action::Answer {
        status,
        headers: Vec::new(),
        body: body.into(),
        early: false,
    };
    let cases = [
        (
            answer(500, "oops"),
            "Account unknown: Bitbucket answered 500.",
        ),
        (answer(302, ""), "Account unknown: Bitbucket answered 302."),
        (
            answer(200, "<html>"),
            "Account unknown: Bitbucket's response contains no account name.",
        ),
        (
            answer(403, "no"),
            "Account unknown: Bitbucket answered 403.",
        ),
        (
            Action::CloseWithoutAnswer,
            "Account unknown: 'localhost' closed the connection",
        ),
    ];
    for (action, told) in cases {
        world.bitbucket.script(Rule {
            kind: Some(Kind::Api),
            ..Rule::new(action)
        });
        let said = log_in(&world, &world.consumer, &[]);
        assert!(
            said.contains(told) && said.contains("  access token: scopes account, "),
            "{told}: {said}"
        );
    }
    let hostile = r#"{"display_name":"a\u001b[2Jb\nc","username":"x"}"#;
    world.bitbucket.script(Rule {
        kind: Some(Kind::Api),
        ..Rule::new(answer(200, hostile))
    });
    let said = log_in(&world, &world.consumer, &[]);
    assert!(
        said.contains("  account: a\\u{1b}[2Jb\\u{a}c (x)\n"),
        "control characters reach no terminal: {said}"
    );
}

#[test]
fn whoami_asks_bitbucket_whose_token_it_is() {
    needs!("curl");
    let world = world();
    log_in(&world, &world.consumer, &[]);
    let whoami = || bbtoken(&world, ["whoami"]);
    let done = whoami().done().expect(0).quiet();
    assert_eq!(done.stdout, "Local User (local), profile 'me'\n");
    world.bitbucket.revoke_access_tokens();
    let done = whoami().done().expect(0).quiet();
    assert_eq!(
        done.stdout, "Local User (local), profile 'me'\n",
        "a refused token is replaced"
    );
    let client = world.bbtoken(["whoami"]).done().expect(0).quiet();
    assert_eq!(
        client.stdout,
        format!(
            "the OAuth consumer '{}' itself, profile 'environment'\n",
            world.consumer.key
        )
    );
    let unknown = bbtoken(&world, ["whoami", "--profile", "x"]).fails(3);
    unknown.says(&["profile 'x', which does not exist"]);
    let api = |status| Rule {
        kind: Some(Kind::Api),
        ..Rule::new(Action::Answer {
            status,
            headers: Vec::new(),
            body: "oops".into(),
            early: false,
        })
    };
    world.bitbucket.script(api(500));
    whoami()
        .fails(5)
        .says(&["error: the account of profile 'me' is unknown: Bitbucket answered 500\n"]);
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.revoke_refresh_tokens();
    whoami()
        .fails(4)
        .says(&["hint: run 'git bbtoken login me'"]);
}

#[test]
fn whoami_says_why_an_account_is_unknown_and_which_account_was_meant() {
    let world = world();
    let with = |token: &str| bbtoken(&world, ["whoami"]).env("BBTOKEN_ACCESS_TOKEN", token);
    let reader = world.bitbucket.issue_access_token(&["repository"]);
    with(&reader).fails(5).says(&[
        "the account of profile 'environment' is unknown: the token lacks the scope to read the account\n",
    ]);
    with("ATCTTwrong").fails(5).says(&[
        "is unknown: Bitbucket refuses the token: it was revoked, or it cannot read the account\n",
    ]);
    let joe = ["--account", "joe@example.com", "--no-check"];
    log_in_with(&world, &reader, &joe);
    let done = bbtoken(&world, ["whoami", "--profile", "bot"]).done();
    assert_eq!(
        done.stdout, "joe@example.com (as given at the login), profile 'bot'\n",
        "the address from the login replaces an account that the token cannot read"
    );
    done.expect(0).says(&["the token lacks the scope"]);
    let token = world.bitbucket.issue_access_token(&["account"]);
    log_in_with(&world, &token, &["--account", "ann"]);
    let done = bbtoken(&world, ["whoami", "--profile", "bot"]).done();
    assert_eq!(done.stdout, "Local User (local), profile 'bot'\n");
    done.expect(0).says(&[
        "warning: profile 'bot' is for account 'ann', but its login belongs to Local User (local)\n",
    ]);
}

#[test]
fn the_hint_of_whoami_gives_a_stored_api_token_its_address() {
    let world = world();
    log_in_with(&world, &world.bitbucket.issue_api_token(), &["--no-check"]);
    let hint = "git config --global bbtoken.bot.account <address>";
    let done = bbtoken(&world, ["whoami"]).fails(5);
    done.says(&[&format!("e-mail address, too; set it: {hint}\n")]);
    let command = hint.replace("<address>", "joe@example.com");
    let words = command.split(' ').skip(1).collect::<Vec<_>>();
    world.git(words).ok();
    assert_eq!(
        bbtoken(&world, ["whoami"]).ok(),
        "Local User (local), profile 'bot'\n"
    );
}

#[test]
fn two_profiles_keep_their_own_api_tokens_of_one_account() {
    let world = world();
    let tokens = ["reader", "writer"].map(|profile| {
        let token = world.bitbucket.issue_api_token();
        let options = ["--account", "joe@example.com", "--no-check"];
        let run = bbtoken(&world, ["login", profile, "--with-token"]);
        run.args(options).input(&token).done().expect(0);
        (profile, token)
    });
    for (profile, token) in tokens {
        let printed = bbtoken(&world, ["token", "--profile", profile]).ok();
        assert_eq!(printed.trim_end(), token, "each profile has its own token");
    }
}

#[test]
fn logout_of_all_forgets_the_account_of_a_removed_profile() {
    let world = world();
    let token = world.bitbucket.issue_api_token();
    log_in_with(&world, &token, &["--account", "joe@example.com"]);
    let owners = || {
        let files = std::fs::read_dir(world.cache()).expect("the login has made it");
        let names = files.map(|file| file.expect("it is readable").file_name());
        let is_owner = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".owner");
        names.filter(is_owner).count()
    };
    assert_eq!(owners(), 1, "the login saves the account's name");
    world
        .git(["config", "--global", "--remove-section", "bbtoken.bot"])
        .ok();
    bbtoken(&world, ["logout", "--all"]).ok();
    assert_eq!(owners(), 0, "no name of an account stays");
}
