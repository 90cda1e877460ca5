//! A lent connection: frames over the agent's socket, in both directions.
//!
//! A frame is its length (four bytes, big-endian) and its bytes. From the command, an empty frame returns the
//! connection: the command has read the whole response, and the server expects another request. From the agent, an
//! empty frame says that the server's connection has ended; the kind and the text of the error follow. A socket that
//! ends without it means that the agent has ended.

use std::{
    io::{self, Write as _},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncBufRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::http::LenderEnded;

/// The longest frame.
pub(super) const MAX_FRAME_BYTES: usize = 64 * 1024;
/// The length of the length.
pub(super) const LENGTH_BYTES: usize = 4;

/// The errors that a command tells apart, by their number on the wire. The first one stands for all others.
const KINDS: [io::ErrorKind; 5] = [
    io::ErrorKind::Other,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::TimedOut,
    io::ErrorKind::BrokenPipe,
];
/// The number for a connection that the server has closed in order.
const CLOSED: u8 = u8::MAX;

/// The command's end.
pub(super) struct Lent {
    socket: BufReader<UnixStream>,
    /// The bytes of the current frame that are still to come.
    rest: usize,
    /// The beginning of the next frame's length.
    length: Vec<u8>,
    /// A frame that is not fully sent.
    unsent: Zeroizing<Vec<u8>>,
    /// Whether the connection goes back to the agent when this is dropped.
    is_returned: Arc<AtomicBool>,
}

impl Lent {
    pub(super) fn new(socket: BufReader<UnixStream>, is_returned: Arc<AtomicBool>) -> Self {
        Lent {
            socket,
            rest: 0,
            length: Vec::with_capacity(LENGTH_BYTES),
            unsent: Zeroizing::default(),
            is_returned,
        }
    }

    /// Reads until the current frame has bytes. False at the end of the connection.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.rest == 0 {
            let read = ready!(poll_bytes(&mut self.socket, context))?;
            if self.length.len() == LENGTH_BYTES {
                if read[0] == CLOSED {
                    return Poll::Ready(Ok(false));
                }
                // The kind and the text come in one write, which a socket of this machine does not divide.
                let kind = KINDS.get(usize::from(read[0])).unwrap_or(&KINDS[0]);
                let text = String::from_utf8_lossy(&read[1..]).into_owned();
                return Poll::Ready(Err(io::Error::new(*kind, text)));
            }
            let taken = read.len().min(LENGTH_BYTES - self.length.len());
            self.length.extend_from_slice(&read[..taken]);
            Pin::new(&mut self.socket).consume(taken);
            if let Ok(length) = <[u8; LENGTH_BYTES]>::try_from(self.length.as_slice())
                && let length @ 1.. = u32::from_be_bytes(length) as usize
            {
                self.length.clear();
                self.rest = length;
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.unsent.is_empty() {
            let socket = Pin::new(self.socket.get_mut());
            // The agent reads no more after the end of the server's connection. What it has sent before says why.
            let Ok(sent) = ready!(socket.poll_write(context, &self.unsent)) else {
                self.unsent.zeroize();
                break;
            };
            let left = self.unsent.len() - sent;
            self.unsent.copy_within(sent.., 0);
            self.unsent[left..].zeroize();
            self.unsent.truncate(left);
        }
        Poll::Ready(())
    }
}

impl hyper::rt::Read for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_frame(context))? {
            let this = &mut *self;
            let read = ready!(poll_bytes(&mut this.socket, context))?;
            let taken = read.len().min(this.rest).min(buffer.remaining());
            buffer.put_slice(&read[..taken]);
            Pin::new(&mut this.socket).consume(taken);
            this.rest -= taken;
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(context));
        let bytes = &bytes[..bytes.len().min(MAX_FRAME_BYTES)];
        if !bytes.is_empty() {
            self.unsent.extend_from_slice(&length_of(bytes));
            self.unsent.extend_from_slice(bytes);
        }
        // The frame counts as sent. What the socket does not take now, it takes before the next frame.
        let _ = self.poll_unsent(context);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unsent(context).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_returned.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let is_between_frames = self.rest == 0 && self.length.is_empty();
        let is_all_read = is_between_frames && self.socket.buffer().is_empty();
        if self.is_returned.load(Ordering::Relaxed) && self.unsent.is_empty() && is_all_read {
            // An agent that has ended needs nothing back.
            let _ = self.socket.get_mut().try_write(&length_of(&[]));
        }
    }
}

/// Waits for bytes of the agent, at least one. The socket fails or ends only if the agent has ended.
fn poll_bytes<'a>(
    socket: &'a mut BufReader<UnixStream>,
    context: &mut Context<'_>,
) -> Poll<io::Result<&'a [u8]>> {
    let read = ready!(Pin::new(socket).poll_fill_buf(context)).unwrap_or_default();
    Poll::Ready(match read.is_empty() {
        true => Err(io::Error::other(LenderEnded)),
        false => Ok(read),
    })
}

fn length_of(bytes: &[u8]) -> [u8; LENGTH_BYTES] {
    // A frame is never longer than its limit.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads a command's next frame into `frame`. False if the command returned the connection.
pub(super) async fn receive(
    socket: &mut (impl tokio::io::AsyncRead + Unpin),
    frame: &mut Zeroizing<Vec<u8>>,
) -> io::Result<bool> {
    let length = socket.read_u32().await? as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    frame.zeroize();
    frame.resize(length, 0);
    socket.read_exact(frame).await?;
    Ok(length > 0)
}

/// Sends a frame to a command. `frame` has room for the length in front.
pub(super) async fn send(
    socket: &mut (impl tokio::io::AsyncWrite + Unpin),
    frame: &mut [u8],
) -> io::Result<()> {
    let length = length_of(&frame[LENGTH_BYTES..]);
    frame[..LENGTH_BYTES].copy_from_slice(&length);
    socket.write_all(frame).await
}

/// Gives a buffer for [`send`].
pub(super) fn room() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; LENGTH_BYTES + MAX_FRAME_BYTES])
}

/// Tells a command that the server's connection has ended, and by which error.
pub(super) async fn send_end(
    socket: &mut (impl tokio::io::AsyncWrite + Unpin),
    error: Option<io::Error>,
) -> io::Result<()> {
    let mut frame = length_of(&[]).to_vec();
    match error {
        None => frame.push(CLOSED),
        Some(error) => {
            let kind = KINDS.iter().position(|kind| *kind == error.kind());
            frame.push(u8::try_from(kind.unwrap_or(0)).unwrap_or(0));
            write!(frame, "{error}")?;
        }
    }
    socket.write_all(&frame).await
}
