//! Keys, secrets and tokens with the changes that editors, shells, Docker and Windows make.

use std::fs;

use crate::support::{World, gits};

fn utf16(text: &str) -> Vec<u8> {
    let marked = format!("\u{feff}{text}\r\n");
    marked.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_secret_is_freed_of_quotes_marks_and_line_ends_wherever_it_stands() {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    let (key, secret) = (&world.consumer.key, &world.consumer.secret);
    let list = || {
        let list = world.git(["ls-remote", "-q", "bbtoken::ws/repo"]);
        list.env("BBTOKEN_STORE", "memory")
    };
    for (key, secret) in [
        (format!("\"{key}\""), format!("\"{secret}\"")),
        (format!(" {key}\r"), format!("'{secret}'\r\n")),
        (format!("'\"{key}\"'"), format!("'\"{secret}\"'")),
        (format!("\u{feff}{key}"), format!("{secret}\u{a0}")),
    ] {
        list()
            .env("BBTOKEN_CLIENT_ID", key)
            .env("BBTOKEN_CLIENT_SECRET", secret)
            .ok();
    }
    let file = world.path("secret");
    for bytes in [
        utf16(secret),
        format!("\u{feff}{secret}\r\n").into_bytes(),
        format!("\"{secret}\"\n").into_bytes(),
    ] {
        fs::write(&file, bytes).expect("it can be written");
        list()
            .without("BBTOKEN_CLIENT_SECRET")
            .env("BBTOKEN_CLIENT_SECRET_FILE", &file)
            .ok();
    }
    // A command may print what PowerShell has written.
    fs::write(&file, utf16(secret)).expect("it can be written");
    let command = format!("cat '{}'", file.display());
    world
        .git(["config", "--global", "bbtoken.clientSecretCommand"])
        .arg(&command)
        .ok();
    list().without("BBTOKEN_CLIENT_SECRET").ok();
    world
        .bbtoken(["login", "ci", "--client-credentials", "--with-secret"])
        .arg(format!("--client-id=\"{key}\""))
        .input(&format!("\u{feff}\"{secret}\"\r\n"))
        .without_client()
        .ok();
    assert!(
        world.gitconfig().contains(&format!("clientId = {key}\n")),
        "the key is written without its quotes"
    );
}

#[test]
fn an_ambiguous_secret_is_named_and_not_sent_or_shown() {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    let file = world.path("secret");
    let cases: [(&[u8], &str); 15] = [
        (b"\"xq7xq", "a quote at one end only"),
        (b"xq7 xq", "contains more than one word"),
        ("xq7\u{a0}xq".as_bytes(), "contains more than one word"),
        ("xq7\u{e1}xq".as_bytes(), "contains a character that keys"),
        (b"xq7\xffxq", "is not text"),
        (b"BBTOKEN_CLIENT_SECRET=xq7xq", "is not the value itself"),
        (b"{\"xq7xq\"}", "is not the value itself"),
        (b"${xq7xq}", "is not the value itself"),
        (b"********", "is not the value itself"),
        (b"$XQ7XQ", "is not the value itself"),
        (b"%XQ7XQ%", "is not the value itself"),
        (b"<xq7xq>", "is not the value itself"),
        (br"xq7xq\n", "ends in a backslash and a letter"),
        (br"xq7xq\r\n", "ends in a backslash and a letter"),
        (br#""xq7xq\n""#, "ends in a backslash and a letter"),
    ];
    for (bytes, why) in cases {
        fs::write(&file, bytes).expect("it can be written");
        for (variable, without) in [
            ("BBTOKEN_CLIENT_SECRET_FILE", "BBTOKEN_CLIENT_SECRET"),
            ("BBTOKEN_ACCESS_TOKEN_FILE", "BBTOKEN_CLIENT_ID"),
        ] {
            let done = world
                .git(["ls-remote", "-q", "bbtoken::ws/repo"])
                .without("BBTOKEN_CLIENT_SECRET")
                .without(without)
                .env(variable, &file)
                .fails(128);
            assert!(done.stderr.contains(why), "{why}: {}", done.stderr);
            assert!(!done.stderr.contains("xq7"), "{}", done.stderr);
        }
    }
    let done = world
        .git(["ls-remote", "-q", "bbtoken::ws/repo"])
        .env("BBTOKEN_CLIENT_ID", r"xq7xq\n")
        .fails(128);
    done.says(&["ends in a backslash and a letter"]);
    let empty = world.git(["ls-remote", "-q", "bbtoken::ws/repo"]);
    empty
        .env("BBTOKEN_CLIENT_ID", " ")
        .fails(128)
        .says(&["its id is empty"]);
    assert!(
        world.bitbucket.requests().is_empty(),
        "nothing is sent with what cannot be right"
    );
}
