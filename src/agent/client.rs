//! A command's side: finds the agent, borrows a connection, and speaks HTTP over it.

use std::{
    cell::RefCell,
    io::{self, Read as _},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::{
    Ask, Lane, Place, Status, inode, is_of_this_user, read_line,
    wire::{Lent, MAX_FRAME_BYTES},
};
use crate::{
    http::{
        HttpClient, Messages, OpenConnection, Phase, Request, Response, TransportError, runtime,
    },
    program, trace,
};

/// How long the agent's first word may take.
const FIRST_WORD_LIMIT: Duration = Duration::from_millis(25);
/// How long it may take to connect to the server.
const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// The longest answer.
const MAX_WORD_BYTES: u64 = 1024;

/// The agent. What follows a word stays in the buffer.
type Socket = BufReader<UnixStream>;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No agent is running.
    Absent,
    /// It has not answered yet.
    Silent(Silent),
    /// It lends none.
    No(String),
}

/// Asks the agent for its state, and ends it if `ask` says so.
///
/// # Errors
///
/// Why there is no answer.
pub(crate) fn ask(place: &Place, ask: &Ask) -> Result<Status, Refused> {
    let runtime = runtime().map_err(refused)?;
    let (_, words) = runtime.block_on(talk(place, ask, Duration::from_secs(2)))?;
    serde_json::from_str(&words).map_err(refused)
}

fn refused(why: impl ToString) -> Refused {
    Refused::No(why.to_string())
}

/// Sends requests over a borrowed connection, and over connections of this process if that has ended.
pub(crate) struct ByAgent {
    /// The host and port that the connection leads to.
    server: (String, u16),
    borrowed: RefCell<Option<OpenConnection>>,
    /// Whether the connection goes back to the agent when it is dropped.
    is_returned: Arc<AtomicBool>,
    own: Box<dyn HttpClient>,
}

impl Drop for ByAgent {
    fn drop(&mut self) {
        let borrowed = self.borrowed.get_mut().as_ref();
        let is_idle = borrowed.is_some_and(OpenConnection::is_idle);
        self.is_returned.store(is_idle, Ordering::Relaxed);
    }
}

impl ByAgent {
    /// Borrows a connection in a lane. `own` sends what does not go over it.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn borrow(
        place: &Place,
        lane: Lane,
        messages: Messages,
        own: Box<dyn HttpClient>,
    ) -> Result<Self, Refused> {
        let server = (lane.host.clone(), lane.port);
        let socket = messages.runtime.block_on(borrow(place, lane))?;
        let is_returned = Arc::new(AtomicBool::new(false));
        let lent = Lent::new(socket, Arc::clone(&is_returned));
        let connection = OpenConnection::new(messages, lent).map_err(refused)?;
        Ok(ByAgent {
            server,
            borrowed: RefCell::new(Some(connection)),
            is_returned,
            own,
        })
    }
}

impl HttpClient for ByAgent {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let server = (request.url.host_str(), request.url.port_or_known_default());
        let is_elsewhere = server != (Some(&self.server.0), Some(self.server.1));
        // The library has a limit for a whole exchange, and a second way for forms.
        if is_elsewhere || request.time_limit.is_some() {
            return self.own.send(request);
        }
        let is_open = |borrowed: &mut OpenConnection| !borrowed.is_closed();
        let Some(borrowed) = self.borrowed.take().take_if(is_open) else {
            return self.own.send(request);
        };
        let copy = request.copy();
        match borrowed.send(request) {
            Ok(response) => {
                // After an error, the next requests need no second loss.
                self.borrowed.replace(Some(borrowed));
                Ok(response)
            }
            Err(mut error) if error.phase == Phase::Connect => match copy {
                Some(copy) => self.own.send(copy),
                None => {
                    // The caller repeats a request with a stream, if it may.
                    error.phase = Phase::Request;
                    Err(error)
                }
            },
            lost => lost,
        }
    }
}

async fn borrow(place: &Place, lane: Lane) -> Result<Socket, Refused> {
    let (mut socket, mut word) = talk(place, &Ask::Connection(lane), FIRST_WORD_LIMIT).await?;
    if word == "dialing" {
        let next = read_word(&mut socket, DIAL_LIMIT).await?;
        word = next.ok_or_else(|| refused("it is still connecting"))?;
    }
    match word.as_str() {
        "ready" => Ok(socket),
        word => Err(refused(word.strip_prefix("none: ").unwrap_or(word))),
    }
}

/// Starts an agent if none is running, and waits for nothing. It connects in this lane for the next command.
pub(crate) fn start(place: &Place, lane: &Lane) {
    if place.lock().is_none() {
        return;
    }
    let started = || -> anyhow::Result<Child> {
        use std::os::unix::process::CommandExt as _;
        let program = program::sibling("git-bbtoken")?;
        let mut command = program::Child::Agent.command(program)?;
        command
            .args(["agent", "run"])
            .arg(place.directory())
            .arg(serde_json::to_string(lane)?)
            .current_dir("/")
            // A terminal that closes now ends its foreground processes.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Into::into)
    };
    let started = if started().is_ok() { "yes" } else { "no" };
    trace::event("agent", || vec![("started", started.into())]);
}

/// An agent that did not answer in time.
#[derive(Debug)]
pub(crate) struct Silent {
    socket: Option<std::os::unix::net::UnixStream>,
    inode: Option<u64>,
}

impl Silent {
    /// Makes room for another agent if this one has still not answered. On a busy machine, it was only slow.
    pub(crate) fn is_replaced(&self, place: &Place) -> bool {
        let is_hung = self.socket.as_ref().is_none_or(|mut socket| {
            matches!(socket.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        // Another command may have replaced it.
        let is_there = is_hung && inode(&place.socket()) == self.inode;
        if is_there {
            place.clear();
        }
        is_there
    }
}

async fn talk(place: &Place, ask: &Ask, limit: Duration) -> Result<(Socket, String), Refused> {
    let inode = inode(&place.socket());
    let silent = |socket| Refused::Silent(Silent { socket, inode });
    let connect = UnixStream::connect(place.socket());
    let socket = connect.await.map_err(|error| match error.kind() {
        // Its queue is full.
        io::ErrorKind::WouldBlock => silent(None),
        _ => Refused::Absent,
    })?;
    if !is_of_this_user(&socket) {
        return Err(refused("it belongs to another user"));
    }
    let mut line = serde_json::to_vec(ask).map_err(refused)?;
    line.push(b'\n');
    let mut socket = BufReader::with_capacity(MAX_FRAME_BYTES, socket);
    socket.write_all(&line).await.map_err(|_| Refused::Absent)?;
    match read_word(&mut socket, limit).await? {
        Some(word) => Ok((socket, word)),
        None => Err(silent(socket.into_inner().into_std().ok())),
    }
}

/// Waits for the agent's next word. `None` if it does not come in time.
async fn read_word(socket: &mut Socket, limit: Duration) -> Result<Option<String>, Refused> {
    let word = timeout(limit, read_line(socket, MAX_WORD_BYTES)).await;
    word.ok().transpose().map_err(|_| Refused::Absent)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, mem, sync::mpsc, thread};

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::{
        http::{LowSpeed, ResponseBody as _, Settings},
        url::Url,
    };

    /// How long a response may stop. Only a test that fails takes as long.
    const PATIENCE: Duration = Duration::from_secs(100);

    /// The connection of a process, whose server is never there.
    struct Own;

    impl HttpClient for Own {
        fn send(&self, request: Request) -> Result<Response, TransportError> {
            let host = request.url.host_str().unwrap_or("").to_owned();
            Err(TransportError::new(Phase::Connect, host, "own"))
        }
    }

    /// Borrows a connection to `https://lent`, and gives the agent's end of it. The beginning of a response may take as
    /// long as `ahead`.
    fn borrowed(ahead: Duration) -> (ByAgent, std::os::unix::net::UnixStream) {
        let (socket, agent) = std::os::unix::net::UnixStream::pair().expect("the system gives it");
        socket.set_nonblocking(true).expect("it is a socket");
        let settings = Settings {
            low_speed: Some(LowSpeed {
                bytes_per_s: 1,
                span: PATIENCE,
            }),
            ..Settings::default()
        };
        let messages = Messages::new(&settings, "test").expect("they need nothing");
        let socket = messages
            .runtime
            .block_on(async { UnixStream::from_std(socket) });
        let is_returned = Arc::default();
        let socket = BufReader::new(socket.expect("it is a socket"));
        let lent = Lent::new(socket, Arc::clone(&is_returned));
        let mut connection = OpenConnection::new(messages, lent).expect("it is HTTP/1.1");
        connection.ahead_limit = ahead;
        let by_agent = ByAgent {
            server: ("lent".to_owned(), 443),
            borrowed: RefCell::new(Some(connection)),
            is_returned,
            own: Box::new(Own),
        };
        (by_agent, agent)
    }

    #[test]
    fn a_request_to_another_server_does_not_go_over_the_lent_connection() {
        let (by_agent, mut agent) = borrowed(PATIENCE);
        for url in [
            "https://mirror/",
            "https://lent:444/",
            "http://lent/",
            "https://lent.example/",
        ] {
            let url = Url::parse(url).expect("the case is a URL");
            let sent = by_agent.send(Request::get(url.clone()));
            let error = sent.err().expect("no server is there");
            assert_eq!(error.reason(), "own", "{url}");
        }
        drop(by_agent);
        let mut carried = Vec::new();
        agent
            .read_to_end(&mut carried)
            .expect("the command's end is closed");
        // An empty frame returns the connection.
        assert_eq!(carried, [0; 4], "the agent carries nothing");
    }

    fn hears_request(agent: &mut std::os::unix::net::UnixStream) {
        let request = agent.read(&mut [0; 4096]).expect("the command sends it");
        assert!(request > 0, "the command sends it");
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("it is short");
        [&length.to_be_bytes(), bytes].concat()
    }

    #[test]
    fn the_beginning_of_a_compressed_response_does_not_wait_for_its_end() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(b"first").expect("memory takes it");
        gzip.flush().expect("memory takes it");
        let first = mem::take(gzip.get_mut());
        gzip.write_all(b"second").expect("memory takes it");
        let second = gzip.finish().expect("memory takes it");
        let length = first.len() + second.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
        );

        let (by_agent, mut agent) = borrowed(Duration::from_millis(1));
        let (go_on, goes_on) = mpsc::channel();
        let answers = thread::spawn(move || {
            hears_request(&mut agent);
            let beginning = [frame(head.as_bytes()), frame(&first)].concat();
            agent.write_all(&beginning).expect("the command reads");
            goes_on.recv().expect("the test goes on");
            agent.write_all(&frame(&second)).expect("the command reads");
        });
        let url = Url::parse("https://lent/").expect("it is a URL");
        let mut response = by_agent.send(Request::get(url)).expect("its head is there");
        let mut next = || response.next_chunk().expect("it is whole");
        assert_eq!(next().as_deref(), Some(&b"first"[..]));
        go_on.send(()).expect("the agent waits");
        assert_eq!(next().as_deref(), Some(&b"second"[..]));
        assert_eq!(next(), None);
        answers.join().expect("it answers");
    }

    #[test]
    fn an_agent_that_ends_during_the_beginning_of_a_response_gave_none() {
        let (by_agent, mut agent) = borrowed(PATIENCE);
        let answers = thread::spawn(move || {
            hears_request(&mut agent);
            let half = frame(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            agent.write_all(&half).expect("the command reads");
        });
        let url = Url::parse("https://lent/").expect("it is a URL");
        let sent = by_agent.send(Request::get(url.clone()));
        let error = sent.err().expect("the agent has ended");
        assert_eq!(error.phase, Phase::Request, "the caller may repeat it");
        let again = by_agent.send(Request::get(url));
        assert_eq!(
            again.err().map(|error| error.reason()).as_deref(),
            Some("own")
        );
        answers.join().expect("it answers");
    }

    #[test]
    fn a_command_waits_for_an_agent_as_long_as_the_documents_say() {
        let limits = include_str!("../../docs/limits.md").split_whitespace();
        let limits = limits.collect::<Vec<_>>().join(" ");
        let costs = [
            (FIRST_WORD_LIMIT, 25, "costs 25 milliseconds."),
            (
                DIAL_LIMIT,
                2000,
                "a command waits at most two seconds for it",
            ),
        ];
        for (limit, milliseconds, text) in costs {
            assert_eq!(limit.as_millis(), milliseconds);
            assert!(limits.contains(text), "{text}");
        }
    }
}
