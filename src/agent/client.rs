//! A command's side: finds the agent, borrows a connection, and speaks HTTP over it.

use std::{
    cell::RefCell,
    io::{self, Read as _},
    process::{Child, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    runtime::Runtime,
    time::timeout,
};

use super::{Ask, Lane, Place, Status, wire::Lent};
use crate::{
    http::{HttpClient, Messages, OpenConnection, Request, Response, TransportError, Unanswered},
    program, trace,
};

/// How long the agent's first word may take.
const FIRST_WORD_LIMIT: Duration = Duration::from_millis(25);
/// How long it may take to connect to the server.
const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// The longest answer.
const MAX_WORD_BYTES: usize = 1024;

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
    let runtime = runtime().map_err(|error| Refused::No(error.to_string()))?;
    let (_, words) = runtime.block_on(talk(place, ask, Duration::from_secs(2)))?;
    serde_json::from_str(&words).map_err(|error| Refused::No(error.to_string()))
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Sends short requests over a borrowed connection, and all others over its own.
pub(crate) struct ByAgent {
    borrowed: RefCell<Option<Borrowed>>,
    own: Box<dyn HttpClient>,
}

/// A borrowed connection.
struct Borrowed {
    connection: OpenConnection,
    is_returned: Arc<AtomicBool>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let is_idle = self.connection.is_idle();
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
        let runtime = Rc::clone(&messages.runtime);
        let socket = runtime.block_on(borrow(place, lane))?;
        let is_returned = Arc::new(AtomicBool::new(false));
        let lent = Lent::new(socket, Arc::clone(&is_returned));
        let connection = OpenConnection::new(messages, lent);
        let connection = connection.map_err(|error| Refused::No(error.to_string()))?;
        Ok(ByAgent {
            borrowed: RefCell::new(Some(Borrowed {
                connection,
                is_returned,
            })),
            own,
        })
    }
}

impl HttpClient for ByAgent {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let copy = match &*self.borrowed.borrow() {
            Some(_) => request.short_copy(),
            None => None,
        };
        let Some(copy) = copy else {
            return self.own.send(request);
        };
        let answer = match &*self.borrowed.borrow() {
            Some(borrowed) => borrowed.connection.send(copy),
            None => Err(Unanswered::Unsent),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(unanswered) => {
                // The next requests need no second loss.
                self.borrowed.take();
                match unanswered {
                    Unanswered::Unsent => self.own.send(request),
                    Unanswered::Lost(error) => Err(error),
                }
            }
        }
    }
}

async fn borrow(place: &Place, lane: Lane) -> Result<UnixStream, Refused> {
    let (mut socket, mut word) = talk(place, &Ask::Connection(lane), FIRST_WORD_LIMIT).await?;
    if word == "dialing" {
        (socket, word) = hear(socket, DIAL_LIMIT).await?;
    }
    match word.as_str() {
        "ready" => Ok(socket),
        _ => {
            let why = word.strip_prefix("none: ").unwrap_or(&word);
            Err(Refused::No(why.to_owned()))
        }
    }
}

/// Starts an agent if none is running, and waits for nothing. It connects in this lane for the next command.
pub(crate) fn start(place: &Place, lane: &Lane) {
    if place.lock().is_none() {
        return;
    }
    let started = || -> anyhow::Result<Child> {
        let program = program::sibling("git-bbtoken")?;
        let mut command = program::Child::Agent.command(program)?;
        let child = command
            .args(["agent", "run", "--lane", &serde_json::to_string(lane)?])
            .arg(place.directory())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(child)
    };
    let started = started().is_ok();
    trace::event("agent", || {
        vec![("started", if started { "yes" } else { "no" }.into())]
    });
}

/// An agent that did not answer in time.
#[derive(Debug)]
pub(crate) struct Silent(Option<std::os::unix::net::UnixStream>);

impl Silent {
    /// Tells whether it has still not answered. On a busy machine, it was only slow.
    pub(crate) fn is_hung(&self) -> bool {
        match self.0.as_ref() {
            Some(mut socket) => {
                matches!(socket.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            None => true,
        }
    }
}

async fn talk(place: &Place, ask: &Ask, limit: Duration) -> Result<(UnixStream, String), Refused> {
    let connect = UnixStream::connect(place.socket());
    let mut socket = connect.await.map_err(|error| match error.kind() {
        // Its queue is full.
        io::ErrorKind::WouldBlock => Refused::Silent(Silent(None)),
        _ => Refused::Absent,
    })?;
    let own = rustix::process::geteuid().as_raw();
    if !socket.peer_cred().is_ok_and(|peer| peer.uid() == own) {
        return Err(Refused::No("it belongs to another user".to_owned()));
    }
    let mut line = serde_json::to_vec(ask).map_err(|error| Refused::No(error.to_string()))?;
    line.push(b'\n');
    socket.write_all(&line).await.map_err(|_| Refused::Absent)?;
    hear(socket, limit).await
}

/// Reads a line. The agent sends no more before the command's next bytes.
async fn hear(mut socket: UnixStream, limit: Duration) -> Result<(UnixStream, String), Refused> {
    let mut line = Vec::new();
    let read = async {
        while line.last() != Some(&b'\n') && line.len() < MAX_WORD_BYTES {
            if socket.read_buf(&mut line).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    match timeout(limit, read).await {
        Err(_) => Err(Refused::Silent(Silent(socket.into_std().ok()))),
        Ok(Err(_)) => Err(Refused::Absent),
        Ok(Ok(())) if line.is_empty() => Err(Refused::Absent),
        Ok(Ok(())) => {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            Ok((socket, line))
        }
    }
}
