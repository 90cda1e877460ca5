//! The agent's process: accepts commands, lends connections, and ends when no command uses it.

use std::{
    cell::{Cell, RefCell},
    fs, io, mem,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, split},
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::{LocalSet, spawn_local, yield_now},
    time::{sleep, timeout, timeout_at},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Ask, IDLE_LIMIT, Lane, Place, Status, inode, is_of_this_user,
    kept::{Connection, Connections, is_silent},
    network, read_line, stamp,
    wire::{self, LENGTH_BYTES},
};
use crate::http::{dial, runtime};

/// The most connections that are in use at a time. Further commands make their own.
const MAX_LENT: usize = 64;
/// The longest question.
const MAX_ASK_BYTES: u64 = 8192;
/// How long a question may take to arrive.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// A server that does not confirm bytes for this long is lost. Before its first answer on a connection, a command can
/// still repeat its request.
const UNCONFIRMED_LIMIT_MS: u32 = 2000;
/// reqwest's default for `tcp_user_timeout`.
const USUAL_LIMIT_MS: u32 = 30_000;

/// How long the agent waits for a free handle.
const SCARCE: Duration = Duration::from_millis(100);

struct Agent {
    connections: RefCell<Connections>,
    status: RefCell<Status>,
    started: Instant,
    last_use: Cell<Instant>,
    /// Whether the agent lends nothing any more.
    is_over: Cell<bool>,
    changed: Notify,
    socket: PathBuf,
    inode: u64,
}

/// Runs the agent until no command uses it. Connects in `lane` for the next command. Does nothing if another agent is
/// running.
///
/// # Errors
///
/// If the system refuses the socket or a runtime.
pub(crate) fn run(place: &Place, lane: Lane) -> io::Result<()> {
    let Some(_lock) = place.lock() else {
        return Ok(());
    };
    let socket = place.socket();
    // This process has the lock, so no agent listens there.
    let _ = fs::remove_file(&socket);
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(&socket)?;
        let agent = Rc::new(Agent {
            connections: RefCell::default(),
            status: RefCell::default(),
            started: Instant::now(),
            last_use: Cell::new(Instant::now()),
            is_over: Cell::new(false),
            changed: Notify::new(),
            inode: inode(&socket).unwrap_or_default(),
            socket,
        });
        spawn_local(Rc::clone(&agent).prepare(lane));
        agent.serve(&listener).await;
        if agent.has_its_name() {
            place.clear();
        }
        // Until here, no other socket has this one's number.
        drop(listener);
        agent.wait_for_commands().await;
        Ok(())
    })
}

impl Agent {
    async fn serve(self: &Rc<Self>, listener: &UnixListener) {
        while !self.is_over.get() {
            let next = self.next_moment();
            let accepted = pin!(listener.accept());
            let changed = pin!(self.changed.notified());
            match timeout_at(next.into(), select(accepted, changed)).await {
                Ok(Either::Left((Ok((socket, _)), _))) => {
                    spawn_local(Rc::clone(self).answer(socket));
                }
                // No handle is free. A command that ends frees some.
                Ok(Either::Left((Err(_), _))) => sleep(SCARCE).await,
                Ok(Either::Right(_)) | Err(_) => {}
            }
            let is_idle = self.lent() == 0 && self.last_use.get().elapsed() >= IDLE_LIMIT;
            if is_idle || !self.has_its_name() {
                self.is_over.set(true);
            }
        }
    }

    /// Gives the moment at which a connection is too old, or the agent itself.
    fn next_moment(&self) -> Instant {
        let own = match self.lent() {
            0 => self.last_use.get() + IDLE_LIMIT,
            _ => Instant::now() + IDLE_LIMIT,
        };
        let old = self.connections.borrow_mut().close_old();
        old.map_or(own, |old| old.min(own))
    }

    fn lent(&self) -> usize {
        self.status.borrow().lent
    }

    /// Tells whether the socket's name leads to this process. Another agent, or a logout, takes it away.
    fn has_its_name(&self) -> bool {
        inode(&self.socket) == Some(self.inode)
    }

    /// Lets commands finish that still use a connection.
    async fn wait_for_commands(&self) {
        self.connections.take();
        while self.lent() > 0 {
            self.changed.notified().await;
        }
    }

    async fn answer(self: Rc<Self>, mut socket: UnixStream) {
        if !is_of_this_user(&socket) {
            return;
        }
        let Ok(Ok(ask)) = timeout(ASK_LIMIT, read_ask(&mut socket)).await else {
            return;
        };
        // A command that has gone needs no answer.
        let _ = match ask {
            Ask::Connection(lane) => self.lend(socket, lane).await,
            Ask::Status => self.tell_status(&mut socket).await,
            Ask::Stop => {
                self.is_over.set(true);
                self.changed.notify_one();
                self.tell_status(&mut socket).await
            }
        };
    }

    /// Makes a connection that the next command borrows.
    async fn prepare(self: Rc<Self>, lane: Lane) {
        if self.may_lend(&lane).is_ok()
            && let Some((connection, born)) = self.connect(&lane).await
        {
            self.connections.borrow_mut().keep(lane, connection, born);
            self.changed.notify_one();
        }
    }

    /// Makes a connection, and gives the time at which it was made.
    async fn connect(&self, lane: &Lane) -> Option<(Connection, Instant)> {
        let dialed = dial(&lane.host, lane.port, lane.roots.clone()).await;
        let connection = dialed.ok()?;
        self.status.borrow_mut().dialed += 1;
        Some((connection, Instant::now()))
    }

    async fn tell_status(&self, socket: &mut UnixStream) -> io::Result<()> {
        let status = Status {
            pid: std::process::id(),
            network: network(),
            running_s: self.started.elapsed().as_secs(),
            kept: self.connections.borrow().count(),
            ..*self.status.borrow()
        };
        let status = serde_json::to_string(&status)?;
        socket.write_all(format!("{status}\n").as_bytes()).await
    }

    async fn lend(&self, mut socket: UnixStream, lane: Lane) -> io::Result<()> {
        if let Err(why) = self.may_lend(&lane) {
            return socket.write_all(format!("none: {why}\n").as_bytes()).await;
        }
        let _use = InUse::begin(self);
        // Lets the runtime notice what servers have closed.
        yield_now().await;
        let kept = self.connections.borrow_mut().take(&lane);
        let (connection, born) = match kept {
            Some(kept) => {
                self.status.borrow_mut().reused += 1;
                kept
            }
            None => {
                socket.write_all(b"dialing\n").await?;
                let Some(made) = self.connect(&lane).await else {
                    return socket.write_all(b"none: it cannot connect\n").await;
                };
                made
            }
        };
        // The next command may use what this one did not wait for.
        let returned = match socket.write_all(b"ready\n").await {
            Ok(()) => carry(socket, connection).await,
            Err(_) => Some(connection),
        };
        if let Some(connection) = returned {
            self.connections.borrow_mut().keep(lane, connection, born);
        }
        Ok(())
    }

    fn may_lend(&self, lane: &Lane) -> Result<(), &'static str> {
        match () {
            () if self.lent() >= MAX_LENT => Err("too many commands use it"),
            () if lane.network != network() => Err("it is in another network namespace"),
            () if lane.roots.as_deref().and_then(stamp) != lane.stamp => {
                Err("it sees other certificate files")
            }
            () => Ok(()),
        }
    }
}

/// Counts a connection as lent.
struct InUse<'a>(&'a Agent);

impl<'a> InUse<'a> {
    fn begin(agent: &'a Agent) -> Self {
        agent.status.borrow_mut().lent += 1;
        InUse(agent)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.status.borrow_mut().lent -= 1;
        self.0.last_use.set(Instant::now());
        self.0.changed.notify_one();
    }
}

async fn read_ask(socket: &mut UnixStream) -> io::Result<Ask> {
    // A command sends nothing after its question until it has an answer.
    let line = read_line(&mut BufReader::new(socket), MAX_ASK_BYTES).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Copies between a command and a server until the command returns the connection, or either of them ends.
async fn carry(socket: UnixStream, connection: Connection) -> Option<Connection> {
    // The halves of the connection do not give its socket.
    let tcp = connection.get_ref().0.as_fd().try_clone_to_owned();
    limit_unconfirmed(&tcp, UNCONFIRMED_LIMIT_MS);
    let (is_used, is_handing_over) = (Cell::new(false), Cell::new(false));
    let (mut from_server, mut to_server) = split(connection);
    let (mut from_command, mut to_command) = socket.into_split();
    let up = async {
        let mut frame = Zeroizing::default();
        while wire::receive(&mut from_command, &mut frame).await? {
            is_used.set(true);
            let sent = to_server.write_all(&frame).await;
            frame.zeroize();
            if sent.is_err() || to_server.flush().await.is_err() {
                // The other direction brings the server's last words.
                std::future::pending::<()>().await;
            }
        }
        io::Result::Ok(())
    };
    let down = async {
        let (mut room, mut is_first) = (wire::room(), true);
        loop {
            let read = match from_server.read(&mut room[LENGTH_BYTES..]).await {
                Ok(0) => return wire::send_end(&mut to_command, None).await,
                Ok(read) => read,
                Err(error) => return wire::send_end(&mut to_command, Some(error)).await,
            };
            is_handing_over.set(true);
            // After the first answer, the limit is that of the library's connections.
            if mem::take(&mut is_first) {
                limit_unconfirmed(&tcp, USUAL_LIMIT_MS);
            }
            let frame = &mut room[..LENGTH_BYTES + read];
            let sent = wire::send(&mut to_command, frame).await;
            frame.zeroize();
            sent?;
            is_handing_over.set(false);
        }
    };
    let is_returned = match select(pin!(up), pin!(down)).await {
        // A command that gives up before its first request leaves the connection as it was.
        Either::Left((returned, _)) => returned.is_ok() || !is_used.get(),
        Either::Right(_) => false,
    };
    let mut connection = from_server.unsplit(to_server);
    let is_clean = is_returned && !is_handing_over.get() && is_silent(&mut connection);
    is_clean.then_some(connection)
}

/// Limits how long the server may leave bytes unconfirmed. Without the limit, a lost connection is noticed as late as
/// without an agent. Only Linux has it.
fn limit_unconfirmed(socket: &io::Result<OwnedFd>, limit_ms: u32) {
    #[cfg(target_os = "linux")]
    if let Ok(socket) = socket {
        let _ = rustix::net::sockopt::set_tcp_user_timeout(socket, limit_ms);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, limit_ms);
}
