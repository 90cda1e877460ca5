//! The phases before the first request: a port that refuses connections, or has broken TLS.

use std::{
    io::{self, Read as _, Result as IoResult, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tokio::net::TcpSocket;

use super::{
    place::{Outcome, Place},
    show,
};
use crate::{
    inspect::low_speed,
    support::{Run, gits},
};

/// The pause after each byte of [`Port::SlowLoris`].
const DRIP_PAUSE: Duration = Duration::from_millis(100);

/// What a port does instead of TLS.
#[derive(Clone, Copy, Debug)]
enum Port {
    /// No process listens.
    Refuse,
    /// The system does not answer: as many are waiting as may.
    Unanswered,
    Cut,
    Reset,
    Stall,
    /// The handshake of the server, byte by byte.
    SlowLoris,
    Garbage,
    /// A record that is longer than any may be (RFC 8446 section 5.1).
    WrongLength,
    /// A record of a type that there is not.
    WrongType,
    /// A message of the handshake that is longer than any.
    Oversized,
    /// Messages without an end.
    Endless,
}

const NO_CONNECTION: &str = "cannot connect to 'localhost'";
const NO_TLS: &str = "cannot make a secure connection to 'localhost'";
const SLOW: &str = "'localhost' did not answer in time";

/// Each with what is said of it. Of the other faults there are none: there is no type, no body and no head yet, and the
/// bytes of a connection that is not made are the system's.
const PORTS: [(Port, &str); 11] = [
    (Port::Refuse, NO_CONNECTION),
    (Port::Unanswered, SLOW),
    (Port::Cut, "'localhost'"),
    (Port::Reset, "'localhost'"),
    (Port::Stall, SLOW),
    (Port::SlowLoris, SLOW),
    (Port::Garbage, NO_TLS),
    (Port::WrongLength, NO_TLS),
    (Port::WrongType, NO_TLS),
    (Port::Oversized, NO_TLS),
    (Port::Endless, NO_TLS),
];

/// A port of that kind, which lives as long as this.
struct Faulty {
    base: String,
    /// Those who wait at a port that does not answer.
    _waiting: Vec<TcpStream>,
    _full: Option<tokio::net::TcpListener>,
}

impl Faulty {
    fn open(port: Port, server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let number = listener.local_addr().expect("it is bound").port();
        let mut faulty = Faulty {
            base: format!("https://localhost:{number}"),
            _waiting: Vec::new(),
            _full: None,
        };
        match port {
            Port::Refuse => {}
            Port::Unanswered => {
                let (full, waiting) = full().expect("a port is free");
                let number = full.local_addr().expect("it is bound").port();
                faulty.base = format!("https://localhost:{number}");
                faulty._full = Some(full);
                faulty._waiting.push(waiting);
            }
            _ => {
                let server = server.replace("https://localhost", "127.0.0.1");
                thread::spawn(move || serve(port, &listener, &server));
            }
        }
        faulty
    }
}

/// A port with room for one, who is there.
fn full() -> IoResult<(tokio::net::TcpListener, TcpStream)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let full = socket.listen(0)?;
    let waiting = TcpStream::connect(full.local_addr()?)?;
    Ok((full, waiting))
}

fn serve(port: Port, listener: &TcpListener, server: &str) {
    while let Ok((mut stream, _)) = listener.accept() {
        let server = server.to_owned();
        // One client says nothing, if it is an agent that is stopped.
        thread::spawn(move || answer(port, &mut stream, &server));
    }
}

fn answer(port: Port, stream: &mut TcpStream, server: &str) -> IoResult<()> {
    let mut hello = [0; 16 << 10];
    let length = match port {
        // What is left unread when a connection is closed resets it.
        Port::Reset => return stream.read_exact(&mut hello[..1]),
        _ => stream.read(&mut hello)?,
    };
    match port {
        Port::Cut => stream.shutdown(Shutdown::Both),
        Port::SlowLoris => drip(stream, &hello[..length], server),
        Port::Garbage => stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"),
        Port::WrongLength => stream.write_all(b"\x16\x03\x03\xff\xff"),
        Port::WrongType => stream.write_all(b"\x63\x03\x03\x00\x01x"),
        Port::Oversized => stream.write_all(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff"),
        Port::Endless => loop {
            // Certificates, each as long as a record may be.
            let begin = b"\x16\x03\x03\x40\x00\x0b\x00\x3f\xfc";
            stream.write_all(&[begin.as_slice(), &[0; 0x3ffc]].concat())?;
        },
        Port::Stall => io::copy(stream, &mut io::sink()).map(drop),
        Port::Refuse | Port::Unanswered | Port::Reset => Ok(()),
    }
}

/// Hands on what the server answers, byte by byte, for as long as the client stays.
fn drip(stream: &mut TcpStream, hello: &[u8], server: &str) -> IoResult<()> {
    let mut far = TcpStream::connect(server)?;
    far.write_all(hello)?;
    let mut flight = [0; 16 << 10];
    let length = far.read(&mut flight)?;
    stream.set_read_timeout(Some(DRIP_PAUSE))?;
    for byte in &flight[..length] {
        stream.write_all(&[*byte])?;
        if let Ok(0) = stream.read(&mut [0]) {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn a_failure_before_the_first_request_is_reported_as_a_failed_connection() {
    let place = Place::new(gits().remove(0));
    let repository = place.world.path("repo");
    for (port, said) in PORTS {
        let faulty = Faulty::open(port, place.world.bitbucket.base_url());
        let limited = |run: Run| match said {
            SLOW => run.args(low_speed(1)),
            _ => run,
        };
        // What follows on the same connection finds none either, if that one is not made.
        for (step, arguments) in [
            ("discovery", ["ls-remote", "bbtoken::ws/repo", "main"]),
            ("push", ["push", "bbtoken::ws/repo", "HEAD:refs/heads/x"]),
            ("token", ["ls-remote", "bbtoken::ws/repo", "main"]),
        ] {
            let run = limited(place.git("core.x=y", true, 1)).args(arguments);
            let run = run
                .within(&repository)
                .env("BBTOKEN_BASE_URL", &faulty.base);
            let done = match step {
                "token" => run.done(),
                _ => run
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &place.token)
                    .done(),
            };
            let shown = format!("{step}, {port:?}: {done:?}");
            assert_eq!(done.code, Some(128), "{shown}");
            assert!(done.stderr.contains(said), "{said}: {shown}");
            assert!(!done.stderr.contains("may or may not"), "{shown}");
            place.leaves_nothing(&done, &shown, &repository);
            let outcome = Outcome::of(&done, 0);
            let announced = done.stderr.matches("; trying again in ").count();
            show(&[format!("{step:<10} {port:?} {announced} {}", outcome.cause)]);
            let is_tried_again = matches!(port, Port::Refuse | Port::Cut | Port::Reset);
            assert_eq!(announced, usize::from(is_tried_again), "{shown}");
        }
        let theirs = limited(place.git(&place.world.with_header(&place.token), false, 1));
        let theirs = theirs
            .args(["ls-remote", &format!("{}/ws/repo.git", faulty.base)])
            .done();
        assert_ne!(theirs.code, Some(0), "never worse: {port:?}");
    }
}
