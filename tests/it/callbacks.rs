//! Other connections to the port of a login: they cannot end the login, fake it or block the browser. The tests use
//! plain sockets as the browser, against the real program.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    login::{Waiting, consent},
    needs::needs,
    support::{World, gits},
};

/// Many times what the listener waits for at once.
const CROWD: usize = 100;

fn world() -> World {
    World::new(gits().remove(0))
}

/// A callback, taken apart: `127.0.0.1:port`, and the query that Bitbucket sends the browser back with.
struct Back {
    authority: String,
    query: String,
}

impl Back {
    fn of(world: &World, login: &Waiting) -> Self {
        let url = consent(world, &login.page);
        let parts = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once("/callback?"));
        let (authority, query) = parts.expect("it is the callback");
        Back {
            authority: authority.to_owned(),
            query: query.to_owned(),
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.authority).expect("the login waits")
    }

    /// Sends bytes and ends; gives what came back.
    fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        // If the listener closes the connection early, the rest cannot be written.
        let _ = stream.write_all(bytes.as_ref());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What a browser sends.
    fn genuine(&self) -> String {
        format!(
            "GET /callback?{} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\n\r\n",
            self.query, self.authority
        )
    }

    /// The request that each case changes in one thing, with what it begins its answer with.
    fn hostile(&self) -> Vec<(String, &'static str)> {
        let Back { authority, query } = self;
        let (_, state) = query.split_once("state=").expect("it has a state");
        let state = state.split('&').next().unwrap_or("");
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let with_hosts =
            |hosts: &str| format!("GET /callback?{query} HTTP/1.1\r\n{hosts}Accept: */*\r\n\r\n");
        let port = authority.rsplit(':').next().unwrap_or("");
        vec![
            (get("/callback?code=evil&state=guess"), "HTTP/1.1 400"),
            (get("/callback?code=evil"), "HTTP/1.1 400"),
            (get("/callback?error=access_denied"), "HTTP/1.1 400"),
            (
                get("/callback?error=access_denied&state=guess"),
                "HTTP/1.1 400",
            ),
            (
                get(&format!("/callback?{query}&state={state}")),
                "HTTP/1.1 400",
            ),
            (get(&format!("/callback?state={state}")), "HTTP/1.1 400"),
            (get("/callback"), "HTTP/1.1 400"),
            (get(&format!("/callback/?{query}")), "HTTP/1.1 404"),
            (get(&format!("/Callback?{query}")), "HTTP/1.1 404"),
            (get(&format!("/?{query}")), "HTTP/1.1 404"),
            (
                get(&format!("http://{authority}/callback?{query}")),
                "HTTP/1.1 404",
            ),
            (get("/favicon.ico"), "HTTP/1.1 404"),
            (with_hosts(""), "HTTP/1.1 404"),
            (
                with_hosts(&format!("Host: evil.example:{port}\r\n")),
                "HTTP/1.1 404",
            ),
            (with_hosts("Host: 127.0.0.1\r\n"), "HTTP/1.1 404"),
            (
                with_hosts(&format!(
                    "Host: {authority}\r\nHost: evil.example:{port}\r\n"
                )),
                "HTTP/1.1 404",
            ),
            (self.genuine().replacen("GET", "POST", 1), "HTTP/1.1 404"),
            (self.genuine().replacen("GET", "HEAD", 1), "HTTP/1.1 404"),
            (self.genuine().replacen("GET", "get", 1), "HTTP/1.1 404"),
            ("\r\n\r\n".to_owned(), "HTTP/1.1 404"),
            // None of these is a request.
            (String::new(), ""),
            ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(), ""),
            ("SSH-2.0-scan\r\n".to_owned(), ""),
            (self.genuine().trim_end().to_owned(), ""),
            (
                format!(
                    "GET /callback?{query} HTTP/1.1\r\nHost: {authority}\r\nX: {}\r\n\r\n",
                    "x".repeat(100_000)
                ),
                "",
            ),
        ]
    }
}

#[test]
fn nothing_hostile_ends_a_login_or_fakes_one() {
    needs!("curl");
    let world = world();
    world.repository("ws", "repo");
    let mut login = Waiting::start(&world, &[]);
    let back = Back::of(&world, &login);
    let _silent: Vec<_> = (0..CROWD).map(|_| back.connect()).collect();
    let cases = back.hostile();
    assert_eq!(cases.len(), 25, "every case is tried");
    for (request, begins) in cases {
        let answer = back.send(&request);
        assert!(
            answer.starts_with(begins) && (begins.is_empty() == answer.is_empty()),
            "{request:.200} is answered with {answer:.200}"
        );
        assert!(
            !answer.contains("Logged in"),
            "the page does not say that the login is done: {request:.200}"
        );
    }
    for _ in 0..CROWD {
        drop(back.connect());
    }
    let _dripping: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut stream = back.connect();
            stream.write_all(b"G").expect("it is read");
            stream
        })
        .collect();
    let ended = login.child.try_wait().expect("it is ours");
    assert!(ended.is_none(), "it still waits: {ended:?}");
    assert!(
        world.bitbucket.token_requests().is_empty(),
        "no code was taken from any of them"
    );
    let answer = back.send(back.genuine());
    assert!(
        answer.contains("<h1>Logged in</h1>"),
        "the request of the browser counts after all of them: {answer}"
    );
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
    world
        .git(["ls-remote", "-q", "bbtoken::ws/repo"])
        .without_client()
        .done()
        .expect(0)
        .quiet();
}

#[test]
fn the_first_valid_callback_counts_and_a_second_finds_a_closed_port() {
    needs!("curl");
    let world = world();
    let login = Waiting::start(&world, &[]);
    let back = Back::of(&world, &login);
    let mut second = back.connect();
    let evil = back.genuine().replacen("code=", "code=evil", 1);
    let (most, end) = evil.split_at(evil.len() - 2);
    second.write_all(most.as_bytes()).expect("it is read");
    // This machine's own name is no foreign one.
    let host = back.authority.replace("127.0.0.1", "localhost");
    let genuine = back.genuine().replace(&back.authority, &host);
    let answer = back.send(genuine);
    assert!(answer.contains("<h1>Logged in</h1>"), "{answer}");
    // The login may have ended in the meantime.
    let _ = second.write_all(end.as_bytes());
    let mut answer = String::new();
    let _ = second.read_to_string(&mut answer);
    assert!(!answer.contains("Logged in"), "{answer}");
    let (code, said) = login.end();
    assert_eq!(code, Some(0), "{said}");
    let codes = world.bitbucket.token_requests();
    assert_eq!(codes.len(), 1, "one code is exchanged");
    assert!(
        TcpStream::connect(&back.authority).is_err(),
        "the port is closed"
    );
}

#[test]
fn an_answer_of_another_issuer_ends_the_login_and_its_code_is_not_sent() {
    needs!("curl");
    let world = world();
    let before = files(&world.home());
    for (issuer, is_taken) in [
        ("https://evil.example", false),
        (world.bitbucket.base_url(), true),
    ] {
        let login = Waiting::start(&world, &[]);
        let mut back = Back::of(&world, &login);
        back.query.push_str(&format!("&iss={issuer}"));
        let answer = back.send(back.genuine());
        assert_eq!(answer.contains("<h1>Logged in</h1>"), is_taken, "{answer}");
        let (code, said) = login.end();
        let codes = world.bitbucket.token_requests();
        assert_eq!(codes.len(), usize::from(is_taken), "{said}");
        match is_taken {
            true => assert_eq!(code, Some(0), "{said}"),
            false => {
                assert_eq!(code, Some(4), "{said}");
                assert!(
                    said.contains(" failed: the response names issuer 'https://evil.example'"),
                    "{said}"
                );
                assert_eq!(files(&world.home()), before);
            }
        }
    }
}

#[test]
fn a_login_whose_browser_never_comes_ends_and_changes_nothing() {
    let world = world();
    let before = files(&world.home());
    let login = Waiting::start(&world, &["--timeout", "1"]);
    let (code, said) = login.end();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains(
            "error: the login of profile 'me' failed: the browser did not come back within 1 s\n"
        ) && said.contains("hint: run 'git bbtoken login me'"),
        "{said}"
    );
    assert_eq!(files(&world.home()), before);
    let arguments = ["login", "me", "--browser", "--timeout", "0"];
    world
        .bbtoken(arguments)
        .fails(2)
        .says(&["invalid value '0' for '--timeout <seconds>'"]);
}

#[test]
fn stopping_during_a_browser_login_leaves_nothing_behind() {
    let world = world();
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("it can be written");
    let before = files(&world.home());
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        let run = world
            .bbtoken(["login", "me", "--browser", "--client-id"])
            .arg(&world.consumer.key)
            .without_client()
            .env("BBTOKEN_CLIENT_SECRET_FILE", &secret);
        let login = Waiting::of(run.into_command());
        let pid = i32::try_from(login.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("it has a number"), signal).expect("it runs");
        let (code, said) = login.end();
        assert_eq!(code, None, "the signal ended it: {said}");
        assert_eq!(files(&world.home()), before, "{signal:?}");
    }
}

/// All files below a directory, with their lengths.
fn files(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is ours").flatten() {
        match entry.metadata().expect("it is there") {
            data if data.is_dir() => found.extend(files(&entry.path())),
            data => {
                found.insert(entry.path(), data.len());
            }
        }
    }
    found
}
