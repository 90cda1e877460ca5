//! The keep-alive agent: a process that keeps connections to servers open between commands, and lends them.
//!
//! A command that borrows a connection saves the round trips of TCP and TLS. It speaks HTTP itself: the agent copies
//! bytes between the command's socket and TLS, and understands none of them. So a response, an error and a cut are the
//! same with and without an agent; only an error of TLS after the handshake has other words. The agent sees no URL,
//! stores no token, writes no file and logs nothing.
//!
//! Rejected: an agent that is an HTTP server. Its libraries keep headers with tokens in memory and do not overwrite
//! them, it makes errors of its own, and the agent and the command both parse each byte.
//!
//! If anything goes wrong with the agent, the command uses a connection of its own. One case is left: an agent that is
//! killed in the middle of a long transfer.

mod client;
mod kept;
mod place;
mod server;
mod wire;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

pub(crate) use client::{ByAgent, Refused, Silent, ask, start};
pub(crate) use place::{Place, find};
pub(crate) use server::run;

/// The agent closes a connection that no command has used for this long. Routers forget silent connections after 4 to 6
/// minutes.
const IDLE_LIMIT: Duration = Duration::from_secs(110);

/// What connections may be shared: those with all of this in common.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(crate) struct Lane {
    /// The server's host name or address.
    pub(crate) host: String,
    /// The server's port.
    pub(crate) port: u16,
    /// Whose requests these are: a digest of the profile.
    pub(crate) identity: String,
    /// The file with the trusted certificates; `None` where the system verifies certificates.
    pub(crate) roots: Option<PathBuf>,
    /// The file's state. A changed file gets new connections.
    pub(crate) stamp: Option<String>,
    /// The network namespace. The agent must be in the same one.
    pub(crate) network: Option<u64>,
}

/// What a program asks the agent for, as one line of JSON.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// A connection.
    Connection(Lane),
    /// The agent's state.
    Status,
    /// Its end.
    Stop,
}

/// The agent's state.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Status {
    /// The process.
    pub(crate) pid: u32,
    /// Its network namespace.
    pub(crate) network: Option<u64>,
    /// How long it has been running.
    pub(crate) running_s: u64,
    /// The open connections that no command uses.
    pub(crate) kept: usize,
    /// The connections in use.
    pub(crate) lent: usize,
    /// The connections that were lent while they were open already.
    pub(crate) reused: u64,
    /// The connections that the agent has made.
    pub(crate) dialed: u64,
}

/// Tells whether the process at the other end of a socket is this user's.
fn is_of_this_user(socket: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    socket.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Reads a line, and at most so many bytes of it. Fails if the other end has closed the socket.
async fn read_line(socket: &mut (impl AsyncBufRead + Unpin), max_bytes: u64) -> io::Result<String> {
    let mut line = Vec::new();
    match socket.take(max_bytes).read_until(b'\n', &mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()),
    }
}

/// Gives the number of a file, which no other file has while this one is there.
fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|file| file.ino())
}

/// Gives the network namespace of this process (namespaces(7)), where there is such a thing.
pub(crate) fn network() -> Option<u64> {
    let namespace = fs::metadata("/proc/self/ns/net").ok()?;
    Some(namespace.ino())
}

/// Gives the state of a file with certificates as this process sees it.
pub(crate) fn stamp(file: &Path) -> Option<String> {
    let file = fs::metadata(file).ok()?;
    let (size, inode) = (file.size(), file.ino());
    let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
    Some(format!("{size} {inode} {seconds}.{nanoseconds}"))
}
