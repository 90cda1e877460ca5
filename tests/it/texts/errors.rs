//! Errors of `git bbtoken` and of settings, each with its cause.

use bitbucket_local::{Consumer, Kind, Rule};

use super::{Transcript, is_expected, normal, shown, world};
use crate::{
    person::{person, state},
    support::{Done, Run, World, helper},
};

/// What is wrong, the command that meets it, and the user's configuration, environment and input.
#[derive(Clone, Copy, Default)]
struct Case<'c> {
    about: &'c str,
    command: &'c [&'c str],
    config: &'c str,
    environment: &'c [(&'c str, &'c str)],
    input: &'c str,
}

/// A client in the environment.
const CLIENT: [(&str, &str); 2] = [
    ("BBTOKEN_CLIENT_ID", "KEY"),
    ("BBTOKEN_CLIENT_SECRET", "SECRET"),
];
const TOKEN: &[&str] = &["token"];

impl Case<'_> {
    /// Runs it with a configuration of its own, and notes what was said.
    fn run(&self, said: &mut Transcript<'_>) -> Done {
        let world = said.world;
        let fill = |text: &str| {
            text.replace("KEY", &world.consumer.key)
                .replace("SECRET", &world.consumer.secret)
        };
        let config = world.path("gitconfig");
        std::fs::write(&config, fill(self.config)).expect("the world can be written");
        let mut run = world
            .bbtoken(self.command.iter().map(|argument| fill(argument)))
            .without_client()
            .env("GIT_CONFIG_GLOBAL", &config);
        let mut line = String::new();
        for (name, value) in self.environment {
            run = run.env(name, fill(value));
            line.push_str(&shown(&format!("{name}={value}"), &[]));
            line.push(' ');
        }
        if !self.input.is_empty() {
            run = run.input(&fill(self.input));
        }
        line.push_str(&shown("git bbtoken", self.command));
        let done = run.done();
        said.text.push_str(&format!("# {}\n", self.about));
        for line in self.config.lines() {
            let line = normal(world, line.trim());
            said.text.push_str(&format!("#   {line}\n"));
        }
        said.note(&normal(world, &line), &done);
        done
    }
}

/// Runs cases that fail, each with an error of one line, causes and at most one hint.
fn note_all(said: &mut Transcript<'_>, cases: &[Case<'_>]) {
    for case in cases {
        let done = case.run(said);
        assert!(
            !matches!(done.code, None | Some(0)) && done.stderr.contains("error: "),
            "it is an error: {}: {done:?}",
            case.about
        );
        assert!(
            !done.stderr.contains(&said.world.consumer.secret),
            "no error shows a secret"
        );
    }
}

fn case<'c>(
    about: &'c str,
    command: &'c [&'c str],
    config: &'c str,
    environment: &'c [(&'c str, &'c str)],
) -> Case<'c> {
    Case {
        about,
        command,
        config,
        environment,
        input: "",
    }
}

#[test]
fn of_command_lines() {
    let world = world();
    let mut said = Transcript::new(&world);
    let client: &[&str] = &[
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        "KEY",
        "--with-secret",
    ];
    let with = |about, command, input| Case {
        about,
        command,
        input,
        ..Case::default()
    };
    let cases = [
        with("a mistyped subcommand", &["lgoin"], ""),
        with("a mistyped flag", &["status", "--jsno"], ""),
        with("a flag by half its name", &["login", "--token"], ""),
        with("a mistyped topic", &["help", "envirment"], ""),
        with(
            "two flags that exclude each other",
            &["setup", "--plain", "--everywhere"],
            "",
        ),
        with("a flag without its value", &["token", "--profile"], ""),
        with("an invalid port", &["login", "--port", "high"], ""),
        with("no shell", &["completions"], ""),
        with("an unknown shell", &["completions", "csh"], ""),
        with("no command to run", &["exec", "--profile", "ci"], ""),
        with("no help for that", &["help", "nothing"], ""),
        with("no terminal: the login method", &["login", "ci"], ""),
        with(
            "no terminal: the client id",
            &["login", "ci", "--client-credentials"],
            "",
        ),
        with(
            "no terminal: the client secret",
            &["login", "ci", "--client-credentials", "--client-id", "KEY"],
            "",
        ),
        with(
            "no terminal: the token",
            &["login", "ci", "--with-token"],
            "",
        ),
        with("an empty secret", client, "\n"),
        with("a secret of two words", client, "two words\n"),
        with("an invalid name", &["login", "wo rk", "--with-token"], "x"),
        Case {
            config: "[bbtoken]\n\tstore = memory\n",
            ..with(
                "a store that saves nothing",
                &["login", "ci", "--with-token"],
                "x",
            )
        },
        Case {
            environment: &[("BBTOKEN_STORE", "memory")],
            ..with(
                "a variable for a store that saves nothing",
                &["login", "ci", "--with-token", "--store", "file"],
                "x",
            )
        },
        with(
            "an unknown store",
            &["login", "ci", "--with-token", "--store", "cupboard"],
            "x",
        ),
        with("no terminal: setup", &["setup"], ""),
        with("no terminal: remote convert", &["remote", "convert"], ""),
        with(
            "a directory without --below",
            &["remote", "convert", "src"],
            "",
        ),
        with(
            "manual pages in a directory that cannot be written",
            &["man", "--directory", "/proc/none"],
            "",
        ),
    ];
    note_all(&mut said, &cases);
    let key = format!("[bbtoken \"ci\"]\n\tclientId = {}\n", world.consumer.key);
    let more = [
        Case {
            about: "a bot's token is missing",
            command: &["login", "bot"],
            config: "[bbtoken \"bot\"]\n\tgrant = token\n\tclientId = x\n",
            ..Case::default()
        },
        Case {
            about: "the client secret is missing",
            command: &["login", "ci"],
            config: &key,
            ..Case::default()
        },
    ];
    note_all(&mut said, &more);
    is_expected(
        &expect_test::expect_file!["../expected/errors-usage.txt"],
        &said.text,
    );
}

#[test]
fn of_settings() {
    let world = world();
    let mut said = Transcript::new(&world);
    let no_client: &[(&str, &str)] = &[];
    std::fs::write(world.path("remotes"), "[remote \"x\"]\n\turl = y\n")
        .expect("the world can be written");
    let cases = [
        case("nothing is configured", TOKEN, "", no_client),
        case(
            "an unknown profile",
            &["token", "--profile", "wrok"],
            "[bbtoken \"work\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "an unknown profile, and no other one",
            &["token", "--profile", "work"],
            "",
            no_client,
        ),
        case(
            "an unknown profile in the environment",
            TOKEN,
            "",
            &[("BBTOKEN_PROFILE", "work")],
        ),
        case(
            "two profiles and no choice",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n[bbtoken \"b\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "two profiles for one workspace",
            &["status", "--explain", "ws/repo"],
            "[bbtoken \"a\"]\n\tclientId = KEY\n\tworkspace = ws\n[bbtoken \"b\"]\n\tclientId = KEY\n\tworkspace = ws\n",
            no_client,
        ),
        case(
            "an invalid profile name",
            TOKEN,
            "[bbtoken \"a b\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "a profile without a client",
            TOKEN,
            "[bbtoken \"a\"]\n\tgrant = client-credentials\n",
            no_client,
        ),
        case(
            "an unknown grant",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\tgrant = password\n",
            no_client,
        ),
        case(
            "an unknown transport",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\ttransport = pigeon\n",
            no_client,
        ),
        case(
            "an unknown word for the agent",
            TOKEN,
            "[bbtoken]\n\tagent = pigeon\n[bbtoken \"a\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "a login with the store 'memory'",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\tgrant = authorization-code\n\tstore = memory\n",
            no_client,
        ),
        case(
            "an unknown profile in an address",
            &["status", "--explain", "nobody@ws/repo"],
            "[bbtoken \"a\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "a token URL without https",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\ttokenUrl = http://bitbucket.example\n",
            no_client,
        ),
        case(
            "an invalid token URL",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\ttokenUrl = bitbucket\n",
            no_client,
        ),
        case(
            "a token URL with a user",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\ttokenUrl = https://ann@bitbucket.example\n",
            no_client,
        ),
        case(
            "a token URL with a fragment",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n\ttokenUrl = \"https://bitbucket.example/?a#b\"\n",
            no_client,
        ),
        case(
            "a base URL with a query",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n",
            &[("BBTOKEN_BASE_URL", "https://bitbucket.example/?a")],
        ),
        case(
            "a file that git cannot read",
            TOKEN,
            "[bbtoken\n",
            no_client,
        ),
        case(
            "a file that includes itself",
            TOKEN,
            "[include]\n\tpath = gitconfig\n",
            no_client,
        ),
        case(
            "an include without a path",
            TOKEN,
            "[include]\n\tpath\n",
            no_client,
        ),
        case(
            "a relative include without a directory",
            TOKEN,
            "",
            &[
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", "include.path"),
                ("GIT_CONFIG_VALUE_0", "beside"),
            ],
        ),
        case(
            "an include that may not name a remote",
            TOKEN,
            "[includeIf \"hasconfig:remote.*.url:https://**\"]\n\tpath = remotes\n[remote \"origin\"]\n\turl = https://example.org/x\n",
            no_client,
        ),
        case(
            "a missing certificate file",
            TOKEN,
            "",
            &[CLIENT[0], CLIENT[1], ("GIT_SSL_CAINFO", "/none")],
        ),
        case(
            "an invalid header",
            TOKEN,
            "[http]\n\textraHeader = nothing\n",
            &CLIENT,
        ),
        case(
            "a variable that is empty",
            TOKEN,
            "",
            &[("BBTOKEN_CLIENT_ID", "")],
        ),
        case(
            "a secret twice",
            TOKEN,
            "",
            &[
                ("BBTOKEN_CLIENT_SECRET", "SECRET"),
                ("BBTOKEN_CLIENT_SECRET_FILE", "file"),
            ],
        ),
        case(
            "a relative home",
            TOKEN,
            "",
            &[CLIENT[0], CLIENT[1], ("BBTOKEN_HOME", "here")],
        ),
        case(
            "a malformed GIT_CONFIG_COUNT",
            TOKEN,
            "",
            &[("GIT_CONFIG_COUNT", "1")],
        ),
        case("a client without its secret", TOKEN, "", &[CLIENT[0]]),
        case("a client without its id", TOKEN, "", &[CLIENT[1]]),
        case(
            "a client without its secret, in a profile",
            TOKEN,
            "[bbtoken \"a\"]\n\tclientId = KEY\n",
            no_client,
        ),
        case(
            "a missing secret file",
            TOKEN,
            "",
            &[CLIENT[0], ("BBTOKEN_CLIENT_SECRET_FILE", "/none")],
        ),
        case(
            "a missing command",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = no-such-command\n",
            no_client,
        ),
        case(
            "a command with an open quote",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = \"print 'x\"\n",
            no_client,
        ),
        case(
            "a command that is empty",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = \" \"\n",
            no_client,
        ),
        case(
            "a command that fails",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = \"!echo vault is locked >&2; exit 4\"\n",
            no_client,
        ),
        case(
            "a command that prints nothing",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = true\n",
            no_client,
        ),
        case(
            "a command that prints two lines",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = \"!printf 'a\\\\nb'\"\n",
            no_client,
        ),
        case(
            "a command that prints invalid UTF-8",
            TOKEN,
            "[bbtoken \"a\"]\n\taccessTokenCommand = \"!printf '\\\\377'\"\n",
            no_client,
        ),
    ];
    note_all(&mut said, &cases);
    is_expected(
        &expect_test::expect_file!["../expected/errors-settings.txt"],
        &said.text,
    );
}

#[test]
fn of_secrets_of_the_wrong_kind() {
    let world = world();
    let mut said = Transcript::new(&world);
    let token = |about, value| (about, vec![("BBTOKEN_ACCESS_TOKEN", value)]);
    let client = |about, id, secret| {
        (
            about,
            vec![("BBTOKEN_CLIENT_ID", id), ("BBTOKEN_CLIENT_SECRET", secret)],
        )
    };
    let cases = [
        token("an app password", "ATBBxyz"),
        token("an OAuth 1 token", "oauth_token=x"),
        token("a header", "Bearer abc"),
        token("a key and a secret in one", "ann:abc"),
        token("two words", "abc def"),
        client("an app password as the client secret", "key", "ATBBxyz"),
        client("a token as the client secret", "key", "ATCTTxyz"),
        client("both in one", "key:secret", "secret"),
        client("the same value for both", "key", "key"),
        (
            "the client secret as a token, too",
            vec![CLIENT[0], CLIENT[1], ("BBTOKEN_ACCESS_TOKEN", "SECRET")],
        ),
    ];
    for (about, environment) in &cases {
        note_all(&mut said, &[case(about, TOKEN, "", environment)]);
    }
    assert_eq!(world.bitbucket.requests().len(), 0, "none of it is sent");
    is_expected(
        &expect_test::expect_file!["../expected/errors-secrets.txt"],
        &said.text,
    );
}

/// Lets the token endpoint answer once, and asks for a token.
fn answered(said: &mut Transcript<'_>, about: &str, rule: Rule) {
    let world: &World = said.world;
    world.bitbucket.script(rule.kind(Kind::Token).forever());
    // No two of them share what is remembered about the endpoint.
    let home = world
        .path(&format!("home of {about}"))
        .display()
        .to_string();
    let environment = [CLIENT[0], CLIENT[1], ("BBTOKEN_HOME", home.as_str())];
    note_all(said, &[case(about, TOKEN, "", &environment)]);
    world.bitbucket.clear_script();
}

#[test]
fn of_the_token_endpoint() {
    let world = world();
    let mut said = Transcript::new(&world);
    let wrong = [CLIENT[0], ("BBTOKEN_CLIENT_SECRET", "wrong")];
    let swapped = [
        ("BBTOKEN_CLIENT_ID", "SECRET"),
        ("BBTOKEN_CLIENT_SECRET", "KEY"),
    ];
    let cases = [
        case("a wrong secret", TOKEN, "", &wrong),
        case("an id and a secret that are swapped", TOKEN, "", &swapped),
    ];
    note_all(&mut said, &cases);
    let public = Consumer::new_public();
    world.bitbucket.add_consumer(public.clone());
    let environment = [
        ("BBTOKEN_CLIENT_ID", public.key.as_str()),
        ("BBTOKEN_CLIENT_SECRET", public.secret.as_str()),
    ];
    let done = case("a client that is not private", TOKEN, "", &environment).run(&mut said);
    said.text = said
        .text
        .replace(&public.key, "KEY")
        .replace(&public.secret, "SECRET");
    assert_eq!(done.code, Some(4));
    let json = |text: &str| {
        Rule::answer(400)
            .header("content-type", "application/json")
            .body(text)
    };
    answered(
        &mut said,
        "no callback URL",
        json(
            r#"{"error":"invalid_request","error_description":"No callback uri defined for the OAuth client."}"#,
        ),
    );
    answered(
        &mut said,
        "a different callback URL",
        json(r#"{"error":"invalid_request","error_description":"redirect_uri does not match"}"#),
    );
    answered(
        &mut said,
        "another grant",
        json(r#"{"error":"unsupported_grant_type","error_description":"Unsupported grant type"}"#),
    );
    answered(
        &mut said,
        "a lost header",
        json(r#"{"error":"invalid_client","error_description":"Client must be authenticated"}"#),
    );
    answered(
        &mut said,
        "a grant that is not for this client",
        json(r#"{"error":"unauthorized_client","error_description":"Not for this client"}"#),
    );
    answered(
        &mut said,
        "another scope",
        json(r#"{"error":"invalid_scope"}"#),
    );
    answered(
        &mut said,
        "another refusal",
        json(r#"{"error":"access_denied","error_description":"No"}"#),
    );
    answered(
        &mut said,
        "a gateway's refusal",
        json(r#"{"status":400,"error":"Bad Request"}"#),
    );
    answered(&mut said, "a server in trouble", Rule::answer(500));
    answered(
        &mut said,
        "a portal",
        Rule::answer(200)
            .header("content-type", "text/html")
            .body("<html>"),
    );
    answered(
        &mut said,
        "an answer without a token",
        Rule::answer(200)
            .header("content-type", "application/json")
            .body("{}"),
    );
    answered(
        &mut said,
        "a redirect",
        Rule::answer(302).header("location", "https://example.org/"),
    );
    answered(
        &mut said,
        "a proxy that wants a password",
        Rule::answer(407),
    );
    is_expected(
        &expect_test::expect_file!["../expected/errors-endpoint.txt"],
        &said.text,
    );
}

#[test]
fn of_logins_and_stores() {
    let world = world();
    let mut said = Transcript::new(&world);
    let person = "[bbtoken \"me\"]\n\tclientId = KEY\n\tgrant = authorization-code\n";
    let secret = [("BBTOKEN_CLIENT_SECRET", "SECRET")];
    let home = world.path("occupied");
    std::fs::write(&home, "a file").expect("the world can be written");
    let occupied = [
        CLIENT[0],
        CLIENT[1],
        ("BBTOKEN_HOME", home.to_str().unwrap_or("")),
    ];
    let nowhere = [secret[0], ("BBTOKEN_HOME", "/proc/none")];
    let by_ssh = [secret[0], ("SSH_TTY", "/dev/pts/1")];
    let in_keyring = [CLIENT[0], CLIENT[1], ("BBTOKEN_STORE", "keyring")];
    let cases = [
        case("not logged in", TOKEN, person, &secret),
        case("not logged in, and no client secret", TOKEN, person, &[]),
        case(
            "no token is stored",
            TOKEN,
            "[bbtoken \"bot\"]\n\tgrant = token\n",
            &[],
        ),
        case(
            "a browser login without input",
            &["login", "me", "--no-browser"],
            person,
            &secret,
        ),
        case(
            "a browser login without a display and a terminal",
            &["login", "me", "--browser"],
            person,
            &by_ssh,
        ),
        case(
            "a port that is taken",
            &["login", "me", "--browser", "--port", "PORT"],
            person,
            &secret,
        ),
        case(
            "a store that cannot be written",
            &["login", "me", "--no-browser"],
            person,
            &nowhere,
        ),
        case("a home that is a file", &["logout"], "", &occupied),
        case(
            "no keychain",
            &[
                "login",
                "ci",
                "--client-credentials",
                "--client-id",
                "KEY",
                "--with-secret",
            ],
            "",
            &in_keyring,
        ),
    ];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for mut case in cases {
        let command: Vec<_> = case
            .command
            .iter()
            .map(|word| if *word == "PORT" { port.as_str() } else { word })
            .collect();
        case.command = &command;
        case.input = if command.contains(&"--with-secret") {
            "SECRET"
        } else {
            ""
        };
        let done = case.run(&mut said);
        assert!(
            done.stderr.contains("error: ") || case.command == ["logout"],
            "{done:?}"
        );
    }
    said.text = said.text.replace(&port, "PORT");
    is_expected(
        &expect_test::expect_file!["../expected/errors-stored.txt"],
        &said.text,
    );
}

#[test]
fn of_addresses_and_repositories() {
    let world = world();
    let mut said = Transcript::new(&world);
    let local = world.path("tree");
    world.git(["init", "-q", "tree"]).ok();
    world
        .git(["config", "bbtoken.baseUrl", "https://evil.example"])
        .within(&local)
        .ok();
    let locked = world.path("locked");
    std::fs::write(&locked, "").expect("the world can be written");
    std::fs::write(world.path("locked.lock"), "").expect("the world can be written");
    said.bbtoken(&["status", "--explain", "ws"], |run| run);
    said.bbtoken(
        &["status", "--explain", "https://evil.example/ws/repo"],
        |run| run,
    );
    said.bbtoken(&["status"], |run| run.within(&local));
    said.bbtoken(&["remote", "convert", "--yes"], |run| run);
    said.bbtoken(&["setup", "--yes"], |run| {
        run.env("GIT_CONFIG_GLOBAL", &locked)
    });
    std::fs::write(world.path("broken"), "[bbtoken\n").expect("the world can be written");
    let broken = world.path("broken");
    said.bbtoken(&["unsetup", "--yes"], |run| {
        run.env("GIT_CONFIG_GLOBAL", &broken)
    });
    said.bbtoken(&["setup", "--yes"], |run| run.env("PATH", "/none"));
    let client = |run: Run| {
        run.env("BBTOKEN_CLIENT_ID", &world.consumer.key)
            .env("BBTOKEN_CLIENT_SECRET", &world.consumer.secret)
    };
    said.bbtoken(&["exec", "--", "/no/such/program"], client);
    said.bbtoken(&["exec", "--netrc", "locked", "--", "true"], client);
    let key = world.consumer.key.clone();
    let login = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &key,
        "--with-secret",
        "--try",
        "ws/none",
    ];
    said.bbtoken(&login, |run| run.input(&world.consumer.secret));
    // Git does not find the helper.
    world.repository("ws", "seen");
    let login = login.map(|word| if word == "ws/none" { "ws/seen" } else { word });
    said.bbtoken(&login, |run| {
        run.input(&world.consumer.secret)
            .env("PATH", "/usr/bin:/bin")
    });
    use std::os::unix::ffi::OsStrExt as _;
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    said.bbtoken(&["token"], |run| run.env("BBTOKEN_CLIENT_ID", no_text));
    for (key, value) in [
        ("bbtoken.reader.clientId", key.as_str()),
        ("bbtoken.reader.pushProfile", "writer"),
        ("bbtoken.writer.clientId", key.as_str()),
        ("bbtoken.writer.baseUrl", "https://other.example"),
    ] {
        world.git(["config", "--global", key, value]).ok();
    }
    let push = world
        .run(&helper(), ["origin", "bbtoken::reader@ws/repo"])
        .without("BBTOKEN_BASE_URL")
        .input("connect git-receive-pack\n")
        .done();
    said.note(
        "git-remote-bbtoken origin bbtoken::reader@ws/repo < 'connect git-receive-pack'",
        &push,
    );
    world
        .git(["config", "--unset", "bbtoken.baseUrl"])
        .within(&local)
        .ok();
    world
        .git(["config", "remote.origin.bbtokenProfile", "writer"])
        .within(&local)
        .ok();
    let fetch = world
        .run(&helper(), ["origin", "bbtoken::ws/repo"])
        .within(&local)
        .env("GIT_DIR", ".git")
        .input("connect git-upload-pack\n")
        .done();
    said.note(
        "git-remote-bbtoken origin bbtoken::ws/repo < 'connect git-upload-pack'",
        &fetch,
    );
    let alone = world.run(&helper(), [""; 0]).done();
    said.note("git-remote-bbtoken", &alone);
    let odd = world
        .run(&helper(), ["origin", "bbtoken::ws/repo"])
        .input("nonsense\n")
        .done();
    said.note("git-remote-bbtoken origin bbtoken::ws/repo", &odd);
    is_expected(
        &expect_test::expect_file!["../expected/errors-places.txt"],
        &said.text,
    );
}

#[test]
fn of_secrets_that_others_have_touched() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = world();
    person(&world);
    let mut said = Transcript::new(&world);
    let login = std::fs::read_dir(state(&world))
        .expect("it was made")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_none() || !path.to_string_lossy().contains("lock"))
        .expect("a login is kept");
    std::fs::remove_dir_all(world.cache()).expect("a token is cached");
    let good = std::fs::read(&login).expect("it can be read");
    let secret = |run: Run| run.env("BBTOKEN_CLIENT_SECRET", &world.consumer.secret);
    std::fs::write(&login, "damaged").expect("it can be written");
    said.bbtoken(&["token"], secret);
    said.bbtoken(&["logout"], secret);
    std::fs::write(&login, good).expect("it can be written");
    std::fs::set_permissions(&login, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    said.bbtoken(&["token"], secret);
    said.text = said.text.replace(
        &login
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        "FILE",
    );
    is_expected(
        &expect_test::expect_file!["../expected/errors-touched.txt"],
        &said.text,
    );
}
