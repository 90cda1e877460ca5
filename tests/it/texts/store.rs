//! Errors of a shared store: of its settings, of a server that answers something else, and of a command.

use super::{Transcript, is_expected, shown, world};
use crate::hostile::Server;

/// The record of a job.
const STORE: [(&str, &str); 2] = [
    ("BBTOKEN_STORE", "vault"),
    ("BBTOKEN_STORE_PATH", "secret/bbtoken/ci"),
];
const TOKEN: (&str, &str) = ("VAULT_TOKEN", "hvs.canary");

/// Runs `git bbtoken token`, which fails, in this environment.
fn note(said: &mut Transcript<'_>, about: &str, environment: &[(&str, &str)]) {
    said.text.push_str(&format!("# {about}\n"));
    let mut run = said.world.bbtoken(["token"]).without_client();
    let mut line = String::new();
    for (name, value) in environment {
        run = run.env(name, value);
        line.push_str(&shown(&format!("{name}={value}"), &[]));
        line.push(' ');
    }
    let done = run.done();
    assert!(done.stderr.contains("error: "), "{about}: {done:?}");
    assert!(!done.stderr.contains("canary"), "{about}: {done:?}");
    said.note(
        &super::normal(said.world, &format!("{line}git bbtoken token")),
        &done,
    );
}

#[test]
fn of_settings() {
    let world = world();
    let mut said = Transcript::new(&world);
    let with = |more: &[(&'static str, &'static str)]| [&STORE[..], more].concat();
    let url = ("BBTOKEN_STORE_URL", "https://vault.example:8200");
    for (about, more) in [
        ("no server", vec![]),
        (
            "a server without https",
            vec![("VAULT_ADDR", "http://vault.example")],
        ),
        (
            "a server with a query",
            vec![("VAULT_ADDR", "https://vault.example/?a=b")],
        ),
        (
            "a path without an engine",
            vec![url, ("BBTOKEN_STORE_PATH", "ci")],
        ),
        (
            "a path that leads elsewhere",
            vec![url, ("BBTOKEN_STORE_PATH", "secret/../sys")],
        ),
        (
            "a relative file",
            vec![url, ("BBTOKEN_STORE_JWT_FILE", "jwt")],
        ),
        (
            "a JWT instead of its variable",
            vec![
                url,
                (
                    "BBTOKEN_STORE_JWT_VARIABLE",
                    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJjaSJ9.canary",
                ),
            ],
        ),
        ("no login", vec![url]),
        (
            "a role without a JWT",
            vec![url, ("BBTOKEN_STORE_ROLE", "ci")],
        ),
        (
            "a directory instead of a file",
            vec![
                url,
                ("BBTOKEN_STORE_ROLE", "ci"),
                ("BBTOKEN_STORE_JWT_FILE", "/"),
            ],
        ),
        ("two words", vec![url, ("BAO_TOKEN", "hvs canary")]),
        (
            "a relative file with the secret of a role",
            vec![url, ("VAULT_ROLE_ID", "id"), ("VAULT_SECRET_ID_FILE", "id")],
        ),
        (
            "no check of certificates",
            vec![url, ("VAULT_SKIP_VERIFY", "true")],
        ),
        (
            "no check of certificates in git",
            vec![url, ("GIT_SSL_NO_VERIFY", "true")],
        ),
    ] {
        note(&mut said, about, &with(&more));
    }
    let exposed = world.home().join(".vault-token");
    std::fs::write(&exposed, "hvs.canary").expect("it is the world's");
    note(&mut said, "a token that others can read", &with(&[url]));
    std::fs::remove_file(&exposed).expect("it is there");
    let command = |text| {
        [
            ("BBTOKEN_STORE", "command"),
            ("BBTOKEN_STORE_COMMAND", text),
        ]
    };
    note(
        &mut said,
        "a command that does not exist",
        &command("/none"),
    );
    note(
        &mut said,
        "a command that prints no version",
        &command("echo a b"),
    );
    note(
        &mut said,
        "a command that prints without end",
        &command("yes"),
    );
    note(
        &mut said,
        "a command that prints invalid UTF-8",
        &command("!printf '1\\n\\377'; :"),
    );
    note(
        &mut said,
        "a command without a record",
        &command("!exit 2; :"),
    );
    let stored_token = [
        ("BBTOKEN_STORE", "vault"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "bbtoken.ci.grant"),
        ("GIT_CONFIG_VALUE_0", "token"),
    ];
    note(&mut said, "a token in a store for logins", &stored_token);
    is_expected(
        &expect_test::expect_file!["../expected/errors-shared-settings.txt"],
        &said.text,
    );
}

#[test]
fn of_answers() {
    let world = world();
    let mut said = Transcript::new(&world);
    let denied = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\n\r\n");
    for (about, status, body) in [
        ("a page", "200 OK", "<html>sign on</html>"),
        ("nothing", "200 OK", ""),
        ("another JSON", "200 OK", "{}"),
        ("KV version 1", "200 OK", r#"{"data":{"record":"canary"}}"#),
        ("a redirect", "302 Found", ""),
        ("a denial", "403 Forbidden", denied),
        (
            "no engine",
            "404 Not Found",
            r#"{"errors":["no handler for route"]}"#,
        ),
        ("no record", "404 Not Found", r#"{"errors":[]}"#),
        (
            "a record of another version",
            "200 OK",
            r#"{"data":{"data":{"version":7,"x":"canary"},"metadata":{"version":1}}}"#,
        ),
        (
            "control characters",
            "400 Bad Request",
            r#"{"errors":["\u001b[31mred\u202e\n","x"]}"#,
        ),
    ] {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: {length}\r\n",
            elsewhere.port()
        );
        let server = Server::answering(format!("{head}\r\n{body}"));
        let url = format!("http://127.0.0.1:{}", server.port());
        let environment = [&STORE[..], &[TOKEN, ("VAULT_ADDR", &url)]].concat();
        note(&mut said, about, &environment);
    }
    assert!(elsewhere.asked().is_empty(), "no redirect is followed");
    assert!(
        world.bitbucket.requests().is_empty(),
        "Bitbucket is not asked"
    );
    is_expected(
        &expect_test::expect_file!["../expected/errors-shared.txt"],
        &said.text,
    );
}

#[test]
fn a_login_to_a_store_goes_nowhere_else() {
    let world = world();
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\n\r\n");
    for status in [301, 302, 308] {
        let server = Server::answering(format!(
            "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{}/v1/auth/jwt/login\r\nContent-Length: 0\r\n\r\n",
            elsewhere.port()
        ));
        let run = world.bbtoken(["token"]).without_client();
        let run = STORE
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        let run = run
            .env("VAULT_ADDR", format!("http://127.0.0.1:{}", server.port()))
            .env("BBTOKEN_STORE_ROLE", "ci")
            .env("VAULT_ID_TOKEN", "canary");
        let done = run.fails(7);
        done.says(&[&format!(
            "answered {status}, a redirect, which is not followed"
        )]);
        assert_eq!(server.asked().len(), 1, "the login is not repeated");
    }
    assert!(elsewhere.asked().is_empty());
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn a_huge_answer_of_a_store_is_an_error() {
    let world = world();
    let record = format!(r#"{{"data":{{"data":{{"x":"{}"}}}}}}"#, "x".repeat(3 << 20));
    let server = Server::answering(format!("HTTP/1.1 200 OK\r\n\r\n{record}"));
    let run = world.bbtoken(["token"]).without_client();
    let run = STORE
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let url = format!("http://127.0.0.1:{}", server.port());
    let done = run.env(TOKEN.0, TOKEN.1).env("VAULT_ADDR", url).fails(7);
    done.says(&["cannot read the shared login 'secret/bbtoken/ci' of"]);
    assert!(done.stderr.len() < 2_000, "{}", done.stderr.len());
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn status_asks_no_store() {
    let world = world();
    let server = Server::answering("HTTP/1.1 200 OK\r\n\r\n");
    let url = format!("http://127.0.0.1:{}", server.port());
    for words in [
        &["status"][..],
        &["status", "--verbose"],
        &["status", "--json"],
    ] {
        let run = world.bbtoken(words.iter().copied()).without_client();
        let run = STORE
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        let shown = run.env(TOKEN.0, TOKEN.1).env("VAULT_ADDR", &url).ok();
        assert!(shown.contains("secret/bbtoken/ci"), "{words:?}: {shown}");
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}
