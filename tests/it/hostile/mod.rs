//! A hostile server: it cannot redirect a token, write a file, run a command, control the terminal or use up the
//! memory.

mod talk;

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use crate::{
    inspect::{files, limited, strace},
    needs::needs,
    processes,
    support::{Done, Run, World, on_every_git},
};

/// What is sent without end, here so much of it.
const ENDLESS_BYTES: usize = 48 << 20;
/// What a helper may need for it; or it hangs up early.
const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// As much as may lie in the buffers of a connection when a helper hangs up.
const BUFFERED_BYTES: usize = 16 << 20;
const TOKEN: &str = "canary-token";
const ADVERTISEMENT: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n";

/// A server on loopback, without TLS, that sends the prepared bytes for any request.
pub(crate) struct Server {
    address: SocketAddr,
    /// The heads of the requests.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(serve: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        Server::hearing(move |_, stream| serve(stream))
    }

    /// Looks at the head of a request before it answers.
    fn hearing(serve: impl Fn(&str, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let server = Server {
            address: listener.local_addr().expect("it has one"),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&server.asked);
        // It ends with the tests' process: nothing waits for it.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = vec![0; 16 << 10];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let mut all = asked.lock().expect("no thread panics with it");
                all.push(head.clone());
                drop(all);
                serve(&head, &mut stream);
                // Unread bytes would take the answer back (RFC 9293 section 3.6.1).
                let _ = stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
            }
        });
        server
    }

    /// Answers the same, and hangs up.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Server::start(move |stream| drop(stream.write_all(&answer)))
    }

    /// The port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panics with it").clone()
    }
}

/// Prepares `git ls-remote` at a server, with a token in the place of a client.
fn list(world: &World, server: &Server) -> Run {
    run(world, server, &["ls-remote", "bbtoken::ws/repo"])
}

/// Prepares git with a token in the place of a client.
fn run(world: &World, server: &Server, arguments: &[&str]) -> Run {
    limited(world, arguments)
        .without_client()
        .without_memory()
        .env("BBTOKEN_BASE_URL", format!("http://{}", server.address))
        .env("BBTOKEN_ACCESS_TOKEN", TOKEN)
}

/// Tells what a terminal obeys, or by which it shows the rest of a line otherwise.
fn is_harmful(character: char) -> bool {
    character.is_control() && character != '\n'
        || "\u{61c}\u{202e}\u{2028}\u{2066}".contains(character)
}

#[track_caller]
fn expect_harmless(done: &Done) {
    assert!(!done.stderr.contains(is_harmful), "{:?}", done.stderr);
    assert!(done.stderr.len() < 4_000, "{}", done.stderr);
    assert!(!done.stderr.contains(TOKEN), "{}", done.stderr);
}

#[test]
fn what_never_ends_costs_no_memory() {
    let advertised = format!("{ADVERTISEMENT}\r\n");
    let packet = "0fff".to_owned() + &"a".repeat(0xfff - 4);
    let cases: [(&str, String, &str); 9] = [
        ("a header", "HTTP/1.1 200 OK\r\nX: ".into(), "aaaaaaaa"),
        ("headers", "HTTP/1.1 200 OK\r\n".into(), "X: a\r\n"),
        (
            "1xx answers",
            String::new(),
            "HTTP/1.1 103 Early Hints\r\nX: a\r\n\r\n",
        ),
        ("a status line", "HTTP/1.1 200 ".into(), "aaaaaaaa"),
        (
            "capabilities",
            format!("{advertised}000eversion 2\n"),
            &packet,
        ),
        (
            "the part before them",
            format!("{advertised}001e# service=git-upload-pack\n"),
            &packet,
        ),
        (
            "a body after its end",
            format!("{advertised}000eversion 2\n0000"),
            &packet,
        ),
        (
            "a reason",
            "HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\n".into(),
            &packet,
        ),
        (
            "a page",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>".into(),
            &packet,
        ),
    ];
    on_every_git(|world| {
        for (what, start, again) in &cases {
            endless(world, what, start, again, list);
        }
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"access_token\":\"";
        endless(
            world,
            "a token answer",
            answer,
            "aaaaaaaa",
            |world, server| {
                list(world, server)
                    .without("BBTOKEN_ACCESS_TOKEN")
                    .env("BBTOKEN_CLIENT_ID", "client")
                    .env("BBTOKEN_CLIENT_SECRET", "secret")
            },
        );
    });
}

/// Lets a server send something again and again, and looks at the helper before the connection ends.
fn endless(
    world: &World,
    what: &str,
    start: &str,
    again: &str,
    list: impl Fn(&World, &Server) -> Run,
) {
    let (flood, peaks) = flood(world, start, again);
    let server = Server::start(flood);
    let done = list(world, &server).fails(128);
    expect_harmless(&done);
    let asked = server.asked().len();
    assert!(asked > 0, "{what} was sent");
    peaks
        .iter()
        .take(asked)
        .for_each(|seen| seen.expect_bounded(what));
}

/// How much was sent without end, and the most memory a helper had by then, if it was still there.
struct Seen {
    sent: usize,
    peak: Option<u64>,
}

impl Seen {
    #[track_caller]
    fn expect_bounded(&self, what: &str) {
        let Seen { sent, peak } = *self;
        assert!(
            sent < BUFFERED_BYTES || peak.is_some_and(|peak| peak < MAX_MEMORY_BYTES),
            "{what} without end: {sent} bytes, {peak:?} of memory"
        );
    }
}

/// Sends something again and again, and looks at the helper before the connection ends.
fn flood(
    world: &World,
    start: &str,
    again: &str,
) -> (impl Fn(&mut TcpStream) + Send + use<>, mpsc::Receiver<Seen>) {
    let (sender, peaks) = mpsc::channel();
    let (start, again) = (
        start.as_bytes().to_vec(),
        again.repeat((64 << 10) / again.len()),
    );
    let home = world.home();
    let flood = move |stream: &mut TcpStream| {
        let mut sent = start.len();
        let mut goes_on = stream.write_all(&start).is_ok();
        while goes_on && sent < ENDLESS_BYTES {
            goes_on = stream.write_all(again.as_bytes()).is_ok();
            sent += again.len();
        }
        let peak = peak(&home);
        // The test may have failed.
        let _ = sender.send(Seen { sent, peak });
    };
    (flood, peaks)
}

/// The most memory that a helper with such a home has had so far.
fn peak(home: &Path) -> Option<u64> {
    let processes = processes::at(home);
    let helpers = processes.iter().filter(|process| process.is_helper());
    helpers.filter_map(|helper| helper.peak_memory()).max()
}

#[test]
fn no_answer_controls_the_terminal() {
    const ESCAPE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{202e}";
    let error = format!("ERR {ESCAPE}");
    let pkt = format!("{:04x}{error}", error.len() + 4);
    let cases = [
        format!("{ADVERTISEMENT}\r\n{pkt}0000"),
        format!("{ADVERTISEMENT}\r\n000eversion 2\n{pkt}"),
        format!("HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\n{ESCAPE}"),
        format!("HTTP/1.1 404 No\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{ESCAPE}"),
        format!("HTTP/1.1 500 {ESCAPE}\r\n\r\n"),
        "HTTP/1.1 403 \u{9b}31m\u{202e}\r\n\r\n".to_owned(),
        format!("HTTP/1.1 301 Moved\r\nLocation: http://{ESCAPE}/\r\n\r\n"),
        "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\u{9b}31m\u{202e}\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/{ESCAPE}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/\u{9b}31m\u{202e}\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>{ESCAPE}</title>"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>&#27;[2J&#x9b;31m</title>"
            .to_owned(),
        format!("HTTP/1.1 429 No\r\nRetry-After: {ESCAPE}\r\n\r\n"),
    ];
    on_every_git(|world| {
        for answer in &cases {
            let server = Server::answering(answer.as_str());
            let done = list(world, &server).fails(128);
            expect_harmless(&done);
            assert!(done.stderr.contains("error: "), "{}", done.stderr);
            assert!(!server.asked().is_empty());
        }
    });
}

#[test]
fn no_response_redirects_the_token_starts_a_program_or_writes_a_file() {
    needs!("strace");
    on_every_git(|world| {
        let elsewhere = Server::answering("HTTP/1.1 200 OK\r\n\r\n");
        let (host, port) = (elsewhere.address.to_string(), elsewhere.address.port());
        let locations = [
            format!("http://{host}/ws/repo.git/info/refs"),
            format!("//{host}/ws/repo.git/info/refs"),
            format!("\\\\{host}/ws/repo.git/info/refs"),
            format!("/\\{host}/ws/repo.git/info/refs"),
            format!("http:\\\\{host}\\ws/repo.git/info/refs"),
            format!("http://HERE@{host}/ws/repo.git/info/refs"),
            format!("http://HERE%2f@{host}/ws/repo.git/info/refs"),
            format!("http://localhost:{port}/ws/repo.git/info/refs"),
            format!("http://2130706433:{port}/ws/repo.git/info/refs"),
            format!("http://[::ffff:127.0.0.1]:{port}/ws/repo.git/info/refs"),
            format!("ftp://{host}/ws/repo.git/info/refs"),
            "file:///etc/passwd/info/refs".to_owned(),
            "ext::sh -c id/info/refs".to_owned(),
            "bbtoken::ws/other/info/refs".to_owned(),
        ];
        let beside = format!(
            "Refresh: 0; url=http://{host}/\r\nAlt-Svc: http/1.1=\"{host}\"; ma=9999\r\nLink: <http://{host}/>; rel=preload\r\n\
             Content-Location: http://{host}/\r\nWWW-Authenticate: Basic realm=\"http://{host}/\"\r\n\
             Set-Cookie: a=b; path=/\r\nContent-Disposition: attachment; filename=\"../../.bashrc\"\r\nConnection: close\r\n"
        );
        let redirect =
            |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n{beside}\r\n");
        let mut answers: Vec<_> = locations
            .iter()
            .map(|location| redirect(location))
            .collect();
        answers.extend([200, 401, 404, 503].map(|status| format!("HTTP/1.1 {status} X\r\nContent-Type: text/html\r\n{beside}\r\n<script src=http://{host}/>")));
        let before = files(&world.home());
        for answer in &answers {
            let server = Server::start({
                let answer = answer.clone();
                move |stream| {
                    let here = stream.local_addr().expect("it is connected").to_string();
                    let _ = stream.write_all(answer.replace("HERE", &here).as_bytes());
                }
            });
            let done = list(world, &server).fails(128);
            expect_harmless(&done);
            assert!(
                server
                    .asked()
                    .iter()
                    .all(|head| head.starts_with("GET /ws/repo.git/info/refs"))
            );
            assert_eq!(elsewhere.asked(), Vec::<String>::new(), "{answer}");
        }
        assert_eq!(files(&world.home()), before, "no file is made");
        let server = Server::answering(answers.last().expect("there are some").as_str());
        let traced = strace(world, "execve", ["ls-remote", "bbtoken::ws/repo"], |run| {
            run.without_client()
                .env("BBTOKEN_BASE_URL", format!("http://{}", server.address))
                .env("BBTOKEN_ACCESS_TOKEN", TOKEN)
        });
        let started = traced.calls.lines().filter(|line| line.contains("= 0"));
        let ours = |line: &&str| line.contains("git\"") || line.contains("git-remote-bbtoken\"");
        assert_eq!(
            started
                .clone()
                .filter(|line| !ours(line))
                .collect::<Vec<_>>(),
            Vec::<&str>::new()
        );
        assert!(started.count() >= 2, "git and its helper: {}", traced.calls);
    });
}
