//! The agent's process: accepts commands, lends connections, and ends when no command uses it.

use std::{
    cell::{Cell, RefCell},
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::{LocalSet, spawn_local, yield_now},
    time::{sleep, sleep_until, timeout},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Ask, IDLE_LIMIT, Lane, Place, Status, inode, is_of_this_user,
    kept::{Connection, Connections, is_silent},
    network, stamp, wire,
};
use crate::http::{dial, runtime};

/// The most connections that are in use at a time. Further commands make their own.
const MAX_LENT: usize = 64;
/// The longest question.
const MAX_ASK_BYTES: usize = 8192;
/// How long a question may take to arrive.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// A server that does not confirm bytes for this long is lost. Before its first answer on a connection, a command can
/// still repeat its request.
const UNCONFIRMED_LIMIT: Duration = Duration::from_secs(2);
/// reqwest's default for `tcp_user_timeout`.
const USUAL_LIMIT: Duration = Duration::from_secs(30);

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
        let for_next = Rc::clone(&agent);
        spawn_local(async move { for_next.prepare(lane).await });
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
            let event = {
                let accepted = pin!(listener.accept());
                let changed = pin!(self.changed.notified());
                let moment = pin!(sleep_until(next.into()));
                match select(accepted, select(changed, moment)).await {
                    Either::Left((accepted, _)) => Some(accepted),
                    Either::Right(_) => None,
                }
            };
            match event {
                Some(Ok((socket, _))) => {
                    let agent = Rc::clone(self);
                    spawn_local(async move { agent.answer(socket).await });
                }
                // No handle is free. A command that ends frees some.
                Some(Err(_)) => sleep(SCARCE).await,
                None => {}
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
    async fn prepare(&self, lane: Lane) {
        if self.may_lend(&lane).is_ok()
            && let Ok(connection) = dial(&lane.host, lane.port, lane.roots.clone()).await
        {
            self.status.borrow_mut().dialed += 1;
            let born = Instant::now();
            self.connections.borrow_mut().keep(lane, connection, born);
            self.changed.notify_one();
        }
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

    async fn lend(self: &Rc<Self>, mut socket: UnixStream, lane: Lane) -> io::Result<()> {
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
                let dialed = dial(&lane.host, lane.port, lane.roots.clone()).await;
                let Ok(connection) = dialed else {
                    return socket.write_all(b"none: it cannot connect\n").await;
                };
                self.status.borrow_mut().dialed += 1;
                (connection, Instant::now())
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
        let InUse(agent) = self;
        agent.status.borrow_mut().lent -= 1;
        agent.last_use.set(Instant::now());
        agent.changed.notify_one();
    }
}

async fn read_ask(socket: &mut UnixStream) -> io::Result<Ask> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < MAX_ASK_BYTES {
        if socket.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Copies between a command and a server until the command returns the connection, or either of them ends.
async fn carry(socket: UnixStream, connection: Connection) -> Option<Connection> {
    let limit = Limit::begin(&connection);
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
        let (mut room, begin) = wire::room();
        loop {
            match from_server.read(&mut room[begin..]).await {
                Ok(0) => {
                    let _ = wire::send_end(&mut to_command, None).await;
                    return;
                }
                Ok(read) => {
                    is_handing_over.set(true);
                    limit.end();
                    let sent = wire::send(&mut to_command, &mut room[..begin + read]).await;
                    room[..begin + read].zeroize();
                    if sent.is_err() {
                        return;
                    }
                    is_handing_over.set(false);
                }
                Err(error) => {
                    let _ = wire::send_end(&mut to_command, Some(&error)).await;
                    return;
                }
            }
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

/// The limit for bytes that the server does not confirm.
struct Limit {
    handle: Option<OwnedFd>,
    is_first: Cell<bool>,
}

impl Limit {
    fn begin(connection: &Connection) -> Self {
        let limit = Limit {
            handle: connection.get_ref().0.as_fd().try_clone_to_owned().ok(),
            is_first: Cell::new(true),
        };
        limit.set(UNCONFIRMED_LIMIT);
        limit
    }

    /// After the first answer, the limit is that of the library's connections.
    fn end(&self) {
        if self.is_first.replace(false) {
            self.set(USUAL_LIMIT);
        }
    }

    fn set(&self, limit: Duration) {
        let Some(handle) = &self.handle else {
            return;
        };
        let milliseconds = u32::try_from(limit.as_millis()).unwrap_or_default();
        // Without it, a lost connection is noticed as late as without an agent. Only Linux has it.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(handle, milliseconds);
        #[cfg(not(target_os = "linux"))]
        let _ = (handle, milliseconds);
    }
}
