//! `status`, `token`, `exec`, `logout`: configured and saved data, and tokens for scripts.

use std::{fs, path::Path};

use bitbucket_local::{Kind, Rule};

use crate::{
    needs::needs,
    person::{configure, list, log_in, manage, person, state},
    support::{World, gits},
    terminals::Terminal,
};

fn world() -> World {
    World::new(gits().remove(0))
}

/// Runs a shell line on a terminal of its own, as a person would; gives all that is on it.
fn on_a_terminal(world: &World, line: &str) -> String {
    world
        .run(Path::new("/usr/bin/script"), ["-qec", line, "/dev/null"])
        .done()
        .stdout
        .replace('\r', "")
}

#[test]
fn status_says_where_everything_comes_from() {
    let world = world();
    world
        .git(["config", "--global", "bbtoken.work.clientId", "some-key"])
        .ok();
    world
        .git([
            "config",
            "--global",
            "bbtoken.work.clientSecretCommand",
            "printf hunter2",
        ])
        .ok();
    world
        .git(["config", "--global", "bbtoken.work.workspace", "acme"])
        .ok();
    world
        .git([
            "config",
            "--global",
            "bbtoken.me.grant",
            "authorization-code",
        ])
        .ok();
    world
        .git(["config", "--global", "bbtoken.me.clientId", "my-key"])
        .ok();
    let shown = world
        .bbtoken(["status", "--verbose"])
        .without_client()
        .done()
        .expect(0)
        .quiet()
        .stdout;
    let home = world.home().display().to_string();
    let shown = shown
        .replace(&home, "HOME")
        .replace(world.bitbucket.base_url(), "BASE");
    let expected = "\
Bitbucket is at BASE/

profile 'me'
  grant          authorization-code
  client id      my-key
  store          file
  login          none; run 'git bbtoken login me'
  set            baseUrl = BASE   (BBTOKEN_BASE_URL)
  set            clientId = my-key   (bbtoken.me.clientId in HOME/.gitconfig)
  set            grant = authorization-code   (bbtoken.me.grant in HOME/.gitconfig)

profile 'work'
  grant          client-credentials
  client id      some-key
  store          file
  set            baseUrl = BASE   (BBTOKEN_BASE_URL)
  set            clientId = some-key   (bbtoken.work.clientId in HOME/.gitconfig)
  set            clientSecretCommand = printf …   (bbtoken.work.clientSecretCommand in HOME/.gitconfig)
  set            workspace = acme   (bbtoken.work.workspace in HOME/.gitconfig)
";
    assert_eq!(shown, expected);
    assert_eq!(
        world.bitbucket.requests().len(),
        0,
        "status makes no request"
    );
}

/// Runs `git bbtoken status` as a person does; gives its lines.
fn glance(world: &World) -> Vec<String> {
    let shown = manage(world, ["status"]).done().expect(0).quiet().stdout;
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn status_shows_each_profile_in_one_line_with_its_fix() {
    let world = world();
    let key = world.consumer.key.clone();
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let command = format!("cat '{}'", secret.display());
    for (profile, settings) in [
        ("bare", &[("clientId", key.as_str())][..]),
        ("bot", &[("grant", "token")]),
        (
            "ci",
            &[
                ("clientId", &key),
                ("clientSecretCommand", &command),
                ("workspace", "acme"),
                ("workspace", "other"),
            ],
        ),
        (
            "me",
            &[
                ("clientId", &key),
                ("grant", "authorization-code"),
                ("clientSecretCommand", &command),
                ("account", "ann"),
            ],
        ),
        ("odd", &[("clientId", &key), ("grant", "none")]),
    ] {
        configure(&world, profile, settings);
    }
    let glance = || {
        let run = world.bbtoken(["status"]).without_client();
        let shown = run.done().expect(0).quiet().stdout;
        shown.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = glance();
    let client = format!("client {key}");
    let width = client.len();
    let line = |start: &str, account: &str, workspaces: &str, end: &str| {
        format!("{start}  {account:width$}  {workspaces:14}  {end}")
    };
    let expected = [
        line(
            "-- bare",
            &client,
            "all workspaces",
            "client secret missing: run 'git bbtoken login bare'",
        ),
        line(
            "-- bot ",
            "account unknown",
            "all workspaces",
            "token missing: run 'git bbtoken login bot'",
        ),
        line(
            "ok ci  ",
            &client,
            "acme, other",
            "gets a token when git needs one",
        ),
        line(
            "-- me  ",
            "ann",
            "all workspaces",
            "no login: run 'git bbtoken login me'",
        ),
    ];
    assert_eq!(before[..4], expected);
    assert!(
        before[4].starts_with("-- odd   ") && before[4].contains("  cannot be used: "),
        "{before:?}"
    );
    assert_eq!(before.len(), 5, "one line for each profile");
    let chosen = world.bbtoken(["status"]).without_client();
    let chosen = chosen.env("BBTOKEN_PROFILE", "ci").ok();
    let marked: Vec<_> = chosen
        .lines()
        .filter(|line| line.ends_with("; git uses it here"))
        .collect();
    assert!(
        marked.len() == 1 && marked[0].starts_with("ok ci "),
        "only the profile that git uses is marked: {chosen}"
    );
    assert!(
        world.bitbucket.requests().is_empty(),
        "status makes no request"
    );
    manage(&world, ["token", "--profile", "ci"]).ok();
    let after = glance();
    assert!(
        after[2].starts_with("ok ci ") && after[2].contains("  token expires in "),
        "{after:?}"
    );
}

#[test]
fn a_login_that_bitbucket_refused_is_marked_until_the_next_login() {
    let world = world();
    person(&world);
    let line = glance(&world).join("\n");
    assert!(
        line.starts_with("ok work  Local User (local)  all workspaces  login, refreshed "),
        "{line}"
    );
    world.bitbucket.revoke_refresh_tokens();
    world.bitbucket.revoke_access_tokens();
    list(&world).fails(128).says(&["its login has ended"]);
    world.bitbucket.clear_requests();
    let ended = "-- work  Local User (local)  all workspaces  login has ended: run 'git bbtoken login work'";
    assert_eq!(glance(&world), [ended]);
    let json = manage(&world, ["status", "--json"]).ok();
    assert!(json.contains("\"has_ended\": true"), "{json}");
    let details = manage(&world, ["status", "--verbose"]).ok();
    let told = "                 has ended; run 'git bbtoken login work'\n";
    assert!(details.contains(told), "{details}");
    assert!(
        world.bitbucket.requests().is_empty(),
        "status makes no request"
    );
    log_in(&world, "work").expect(0);
    let line = glance(&world).join("\n");
    assert!(line.starts_with("ok work "), "{line}");
    let notes = fs::read_dir(state(&world)).expect("it is there").flatten();
    let notes: Vec<_> = notes
        .filter(|file| file.path().extension().is_some_and(|end| end == "ended"))
        .collect();
    assert!(notes.is_empty(), "the login removes the note: {notes:?}");
}

#[test]
fn a_server_that_takes_a_refused_login_again_removes_the_mark() {
    let world = world();
    person(&world);
    world.bitbucket.revoke_access_tokens();
    let refusal = Rule::answer(400)
        .kind(Kind::Token)
        .body(r#"{"error":"invalid_grant"}"#);
    world
        .bitbucket
        .script(refusal.header("Content-Type", "application/json"));
    list(&world).fails(128).says(&["its login has ended"]);
    assert!(glance(&world)[0].contains("login has ended"));
    world.bitbucket.clear_script();
    world.bitbucket.set_rotation(false);
    list(&world).ok();
    assert!(glance(&world)[0].starts_with("ok work "));
}

#[test]
fn marks_are_symbols_in_color_only_where_a_terminal_shows_them() {
    needs!("script");
    let world = world();
    let shown = |terminal: &[(&str, &str)], line: &str| {
        let line = format!("BBTOKEN_CLIENT_ID=k BBTOKEN_CLIENT_SECRET=s {line}");
        let environment: Vec<_> = [("TERM", "xterm"), ("LC_ALL", "C.UTF-8")]
            .into_iter()
            .chain(terminal.iter().copied())
            .collect();
        let terminal = Terminal {
            columns: 80,
            environment: &environment,
        };
        let (shown, code) = terminal.run(&world, &line, &[]);
        assert_eq!(code, Some(0), "{shown}");
        shown.split(" environment ").next().unwrap_or("").to_owned()
    };
    let status = "git bbtoken status";
    assert_eq!(shown(&[], status), "\u{1b}[32m\u{2713}\u{1b}[0m");
    assert_eq!(shown(&[("NO_COLOR", "1")], status), "\u{2713}");
    assert_eq!(shown(&[("CLICOLOR", "0")], status), "\u{2713}");
    assert_eq!(shown(&[("LC_ALL", "C")], status), "\u{1b}[32mok\u{1b}[0m");
    assert_eq!(shown(&[("TERM", "dumb")], status), "ok");
    assert_eq!(shown(&[], "git bbtoken status --color never"), "\u{2713}");
    let plain = "git bbtoken status | cat";
    assert_eq!(shown(&[], plain), "ok");
    let whole = |line: &str| {
        let line = format!("BBTOKEN_CLIENT_ID=k BBTOKEN_CLIENT_SECRET=s {line}");
        let environment = &[("TERM", "dumb")];
        let columns = 80;
        let terminal = Terminal {
            columns,
            environment,
        };
        terminal.run(&world, &line, &[]).0
    };
    let advice = "to check: git bbtoken doctor <workspace>/<repository>";
    assert!(
        whole(status).contains(advice),
        "status asks Bitbucket nothing, and says so"
    );
    assert!(!whole(plain).contains(advice), "a pipe needs no advice");
    let piped = "git bbtoken status --color=always | cat";
    assert_eq!(shown(&[], piped), "\u{1b}[32mok\u{1b}[0m");
    assert_eq!(
        shown(&[("CLICOLOR_FORCE", "1")], "git bbtoken status | cat"),
        "\u{1b}[32mok\u{1b}[0m"
    );
    world
        .bbtoken(["status", "--color", "blue"])
        .fails(2)
        .says(&["'blue'"]);
}

#[test]
fn status_as_json_holds_fingerprints_and_no_secret() {
    let world = world();
    let token = world.bbtoken(["token"]).ok();
    let text = world
        .bbtoken(["status", "--json"])
        .done()
        .expect(0)
        .quiet()
        .stdout;
    assert!(!text.contains(token.trim_end()) && !text.contains(&world.consumer.secret));
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(value["version"], 1);
    let profile = &value["profiles"][0];
    assert_eq!(profile["name"], "environment");
    assert_eq!(profile["grant"], "client-credentials");
    assert_eq!(profile["client_id"], world.consumer.key.as_str());
    let cached = &profile["access_token"];
    assert_eq!(cached["fingerprint"].as_str().map(str::len), Some(8));
    assert_eq!(
        cached["scopes"],
        serde_json::json!(["account", "repository", "repository:write"])
    );
    let left_s = cached["expires_in_s"].as_i64().expect("it is a number");
    assert!((7_000..=7_200).contains(&left_s), "{left_s}");
    let documented = world.bbtoken(["help", "json"]).ok();
    let all = [&value, profile, cached]
        .into_iter()
        .filter_map(|value| value.as_object());
    for field in all.flat_map(|object| object.keys()) {
        assert!(
            documented.contains(field.as_str()),
            "'{field}' is documented"
        );
    }
}

#[test]
fn a_closed_stdout_causes_no_message() {
    let world = world();
    let commands: [&[&str]; 10] = [
        &["status"],
        &["status", "--verbose"],
        &["status", "--json"],
        &["help"],
        &["help", "lfs"],
        &["--version"],
        &["token"],
        &["man"],
        &["doctor"],
        &["setup", "--dry-run"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("there are descriptors");
        drop(reader);
        let mut command = world.bbtoken(arguments).into_command();
        let output = command.stdout(writer).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn status_explains_which_profile_an_address_gets() {
    let world = world();
    for (name, workspace) in [("one", "first"), ("two", "second")] {
        world
            .git([
                "config",
                "--global",
                &format!("bbtoken.{name}.clientId"),
                name,
            ])
            .ok();
        world
            .git([
                "config",
                "--global",
                &format!("bbtoken.{name}.workspace"),
                workspace,
            ])
            .ok();
    }
    let explain = |address: &str| {
        world
            .bbtoken(["status", "--explain", address])
            .without_client()
    };
    assert_eq!(
        explain("https://bitbucket.org/second/r").ok(),
        "second/r uses profile 'two' because bbtoken.two.workspace names 'second'\n"
    );
    assert_eq!(
        explain("one@second/r").ok(),
        "second/r uses profile 'one' because the address names it\n"
    );
    explain("third/r")
        .fails(3)
        .says(&["several profiles are configured ('one', 'two') and none is chosen"]);
    explain("what")
        .fails(2)
        .says(&["cannot use address 'what'", "hint: write it as"]);
    let by_variable = explain("second/r").env("BBTOKEN_PROFILE", "one");
    assert_eq!(
        by_variable.ok(),
        "second/r uses profile 'one' because BBTOKEN_PROFILE names it\n"
    );
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    world
        .git(["remote", "add", "origin", "bbtoken::first/r"])
        .within(&tree)
        .ok();
    world
        .git(["config", "remote.origin.bbtokenProfile", "two"])
        .within(&tree)
        .ok();
    let said = explain("origin").within(&tree).ok();
    assert!(
        said.starts_with("first/r uses profile 'two' because remote.origin.bbtokenProfile in "),
        "{said}"
    );
}

#[test]
fn a_token_goes_to_a_script_but_not_to_a_terminal() {
    needs!("script");
    let world = world();
    let token = world.bbtoken(["token"]).done().expect(0).quiet().stdout;
    assert_eq!(token.lines().count(), 1);
    let shown = on_a_terminal(&world, "git bbtoken token; echo code $?");
    assert_eq!(
        shown,
        "error: the token is not printed on a terminal, where others could read it; redirect it to a file or command, or give --force\ncode 2\n"
    );
    assert_eq!(on_a_terminal(&world, "git bbtoken token --force"), token);
    let done = world.bbtoken(["token", "--profile", "none"]).fails(3);
    assert_eq!(
        done.stderr,
        "error: the command line names profile 'none', which does not exist\nhint: no profile is configured; run 'git bbtoken login none'\n"
    );
}

#[test]
fn token_as_json_has_the_user_and_the_expiry() {
    needs!("script");
    let world = world();
    let token = world.bbtoken(["token"]).ok();
    let json = world.bbtoken(["token", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let expires_at = &value["expires_at"];
    let status = world.bbtoken(["status", "--json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
    assert_eq!(
        *expires_at,
        status["profiles"][0]["access_token"]["expires_at"]
    );
    let expected = serde_json::json!({
        "version": 1,
        "profile": "environment",
        "user": "x-token-auth",
        "token": token.trim_end(),
        "expires_at": expires_at,
    });
    assert_eq!(value, expected);
    let shown = on_a_terminal(&world, "git bbtoken token --json; echo code $?");
    assert!(
        shown.starts_with("error: the token is not printed on a terminal")
            && shown.ends_with("\ncode 2\n"),
        "{shown}"
    );
    assert_eq!(
        on_a_terminal(&world, "git bbtoken token --json --force"),
        json
    );
    let given = world.bbtoken(["token", "--json"]).without_client();
    let given = given.env(
        "BBTOKEN_ACCESS_TOKEN",
        world.bitbucket.issue_resource_token(),
    );
    assert!(!given.ok().contains("expires_at"), "its expiry is unknown");
}

#[test]
fn exec_gives_the_token_to_the_command_alone() {
    let world = world();
    let token = world.bbtoken(["token"]).ok();
    let exec = |line: &str| world.bbtoken(["exec", "--", "sh", "-c", line]);
    assert_eq!(exec("echo $BBTOKEN_ACCESS_TOKEN").ok(), token);
    assert_eq!(
        exec("echo [$BBTOKEN_CLIENT_SECRET]").ok(),
        "[]\n",
        "the client's secret stays here"
    );
    exec("exit 7").fails(7);
    fs::write(world.path("token"), &token).expect("it can be written");
    let nested = exec("git bbtoken token")
        .without_client()
        .env("BBTOKEN_ACCESS_TOKEN_FILE", world.path("token"));
    assert_eq!(
        nested.ok(),
        token,
        "git bbtoken inside exec uses the same token"
    );
    exec("kill -TERM $$").fails(128 + 15);
    world
        .bbtoken(["exec", "--", "./not-there"])
        .fails(127)
        .says(&["error: cannot start './not-there'\ncaused by: "]);
    world
        .bbtoken(["exec", "--", "./token"])
        .fails(126)
        .says(&["error: cannot start './token'\ncaused by: "]);
    world
        .bbtoken(["exec"])
        .fails(2)
        .says(&["required arguments were not provided"]);
}

#[cfg(unix)]
#[test]
fn a_netrc_is_private_new_and_removed_afterwards() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = world();
    let token = world.bbtoken(["token"]).ok();
    let netrc = world.path("netrc");
    let exec = |line: &str| {
        world
            .bbtoken(["exec", "--netrc"])
            .arg(&netrc)
            .args(["--", "sh", "-c", line])
    };
    let copy = exec("cp -p netrc copy; echo [$BBTOKEN_ACCESS_TOKEN]").ok();
    assert_eq!(copy, "[]\n", "the token is in the file only");
    let text = fs::read_to_string(world.path("copy")).expect("it was copied");
    assert_eq!(
        text,
        format!(
            "machine localhost login x-token-auth password {} account git-bbtoken-exec\n",
            token.trim_end()
        )
    );
    let mode = fs::metadata(world.path("copy"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!netrc.exists(), "it is removed");
    // A signal that a terminal sends to both ends the command, not us before the file is removed.
    exec("trap '' INT; kill -INT $PPID; kill -TERM $$").fails(128 + 15);
    assert!(!netrc.exists(), "it is removed after a signal, too");
    fs::write(&netrc, "mine").expect("it can be written");
    exec("true")
        .fails(1)
        .says(&["cannot create the new file '"]);
    assert_eq!(fs::read_to_string(&netrc).expect("it is there"), "mine");
}

#[cfg(unix)]
#[test]
fn a_netrc_that_a_killed_command_has_left_is_taken_over_and_no_other() {
    let world = world();
    let netrc = world.path("netrc");
    let exec = |line: &str| {
        world
            .bbtoken(["exec", "--netrc", "netrc", "--", "sh", "-c", line])
            .done()
    };
    let inner = "git-bbtoken exec --netrc netrc -- true";
    // The inner one finds a file that is in use.
    let done = exec(&format!("{inner}; test $? = 1 && test -s netrc"));
    done.expect(0)
        .says(&["cannot create the new file 'netrc'\ncaused by: "]);

    let killed = exec("kill -KILL $PPID");
    assert_eq!(killed.code, None, "a signal ended it");
    let left = fs::read_to_string(&netrc).expect("it is still there");
    exec("test $(wc -l <netrc) = 1 && cp netrc copy")
        .expect(0)
        .quiet();
    let anew = fs::read_to_string(world.path("copy")).expect("it was copied");
    assert_eq!(
        anew, left,
        "with the token that is good now, and nothing else"
    );
    assert!(!netrc.exists(), "it is removed like any other");

    // A user's own entry ends otherwise.
    let own = left.replace(" account git-bbtoken-exec", "");
    assert!(own.len() < left.len());
    fs::write(&netrc, &own).expect("it can be written");
    exec("true").expect(1);
    assert_eq!(fs::read_to_string(&netrc).expect("it is there"), own);
    // A pipe would keep us waiting for ever.
    fs::remove_file(&netrc).expect("it is the test's");
    world.run(Path::new("/usr/bin/mkfifo"), ["netrc"]).ok();
    exec("true").expect(1);
}

#[test]
fn a_signal_is_passed_on_to_the_command() {
    let world = world();
    let line = "trap 'echo told; exit 3' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
    let done = world.bbtoken(["exec", "--", "sh", "-c", line]).fails(3);
    assert_eq!(done.stdout, "told\n");
}

#[test]
fn logout_forgets_and_says_what_it_cannot() {
    let world = world();
    world
        .bbtoken([
            "login",
            "work",
            "--client-credentials",
            "--client-id",
            &world.consumer.key,
            "--with-secret",
        ])
        .without_client()
        .input(&world.consumer.secret)
        .ok();
    let done = world
        .bbtoken(["logout", "work"])
        .without_client()
        .done()
        .expect(0);
    assert_eq!(
        done.stdout,
        "Removed from profile 'work': client secret, cached access token.\n"
    );
    done.says(&[
        "Nothing was revoked at Bitbucket. Access tokens expire within two hours",
        "/workspace/settings/api",
        "--remove-section bbtoken.work",
    ]);
    let again = world.bbtoken(["logout", "work"]).without_client().ok();
    assert_eq!(again, "Nothing was stored for profile 'work'.\n");
    world.bbtoken(["token"]).without_client().fails(3).says(&[
        "the client of profile 'work' has no secret (looked in '",
        "'): run 'git bbtoken login work', or set",
    ]);
}

#[test]
fn status_makes_no_request_and_says_nothing_of_certificates() {
    let world = World::new(gits().remove(0));
    let done = world
        .bbtoken(["status"])
        .env("GIT_SSL_NO_VERIFY", "1")
        .done()
        .expect(0)
        .quiet();
    assert!(done.stdout.contains("environment"), "{}", done.stdout);
    assert!(world.bitbucket.requests().is_empty());
    let warned = world.bbtoken(["token"]).env("GIT_SSL_NO_VERIFY", "1");
    warned
        .done()
        .expect(0)
        .says(&["warning: GIT_SSL_NO_VERIFY disables the certificate check for "]);
}
