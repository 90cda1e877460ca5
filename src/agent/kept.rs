//! The connections that the agent keeps between two commands.

use std::{
    collections::HashMap,
    io,
    net::UdpSocket,
    pin::Pin,
    task::{Context, Waker},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{IDLE_LIMIT, Lane};

/// How many connections of a lane stay for [`IDLE_LIMIT`]. Further ones stay for [`EXTRA_LIMIT`].
const USUAL: usize = 2;
/// How many connections of all lanes stay.
const MAX_KEPT: usize = 64;
/// After commands in parallel, the next ones come at once or not at all.
const EXTRA_LIMIT: Duration = Duration::from_secs(15);
/// A server's name may lead elsewhere by then, and its certificate may have expired.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// The two clocks of a machine that was not suspended differ by less.
const SUSPENDED: Duration = Duration::from_secs(1);

/// A connection to a server.
pub(super) type Connection = TlsStream<TcpStream>;

/// A connection that no command uses.
struct Kept {
    connection: Connection,
    /// When it was made.
    born: Instant,
    since: Instant,
    /// The same moment on the clock that runs on while the machine is suspended.
    since_wall: SystemTime,
    until: Instant,
}

/// All of them.
#[derive(Default)]
pub(super) struct Connections(HashMap<Lane, Vec<Kept>>);

impl Connections {
    /// Keeps a connection, unless it is too old or there are too many.
    pub(super) fn keep(&mut self, lane: Lane, connection: Connection, born: Instant) {
        if born.elapsed() > MAX_AGE || self.count() >= MAX_KEPT {
            return;
        }
        let kept = self.0.entry(lane).or_default();
        let limit = match kept.len() < USUAL {
            true => IDLE_LIMIT,
            false => EXTRA_LIMIT,
        };
        let since = Instant::now();
        kept.push(Kept {
            connection,
            born,
            since,
            since_wall: SystemTime::now(),
            until: since + limit,
        });
    }

    /// Gives the connection that was used last and still works, and the time at which it was made.
    pub(super) fn take(&mut self, lane: &Lane) -> Option<(Connection, Instant)> {
        let kept = self.0.get_mut(lane)?;
        while let Some(mut last) = kept.pop() {
            if last.is_usable() {
                return Some((last.connection, last.born));
            }
        }
        None
    }

    /// Closes what is over, and gives the next moment at which something is.
    pub(super) fn close_old(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.0.retain(|_, kept| {
            kept.retain(|it| it.until > now);
            !kept.is_empty()
        });
        self.0.values().flatten().map(|it| it.until).min()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl Kept {
    fn is_usable(&mut self) -> bool {
        self.until > Instant::now()
            && !self.was_suspended()
            && is_silent(&mut self.connection)
            && is_on_route(self.connection.get_ref().0)
    }

    /// Tells whether the machine was suspended, or its clock was set. After a suspension, servers and routers have
    /// forgotten the connection.
    fn was_suspended(&self) -> bool {
        let awake = self.since.elapsed();
        let passed = self.since_wall.elapsed();
        !passed.is_ok_and(|passed| passed.abs_diff(awake) <= SUSPENDED)
    }
}

/// Tells whether the connection is open, and the server has sent nothing on it.
pub(super) fn is_silent(connection: &mut Connection) -> bool {
    let mut byte = [0];
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(connection)
        .poll_read(&mut context, &mut ReadBuf::new(&mut byte))
        .is_pending()
}

/// Tells whether packets to the server still leave from the connection's own address. After a change of network or VPN
/// they do not, and no answer arrives.
fn is_on_route(connection: &TcpStream) -> bool {
    let route = || -> io::Result<bool> {
        let (own, server) = (connection.local_addr()?, connection.peer_addr()?);
        let any = match server.is_ipv4() {
            true => "0.0.0.0:0",
            false => "[::]:0",
        };
        // This sends nothing (udp(7)).
        let probe = UdpSocket::bind(any)?;
        probe.connect(server)?;
        Ok(probe.local_addr()?.ip() == own.ip())
    };
    route().unwrap_or(false)
}
