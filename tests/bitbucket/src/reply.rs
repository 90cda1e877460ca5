//! Bodies: counted on the way in, counted and ended where a rule says on the way out.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Collected};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backend::{Output, PIECE_BYTES};
use crate::connection::Connection;
use crate::journal::Ticket;

/// The pause after each byte that comes alone.
pub(crate) const DRIP_PAUSE: Duration = Duration::from_secs(1);

/// A request body whose bytes are counted.
pub(crate) struct Upload {
    incoming: Incoming,
    received: Arc<AtomicU64>,
}

impl Upload {
    pub(crate) fn new(incoming: Incoming, received: Arc<AtomicU64>) -> Self {
        Self { incoming, received }
    }

    /// The next piece; `None` at the end. An error means that the client gave up.
    pub(crate) async fn piece(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = match self.incoming.frame().await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            if let Ok(piece) = frame.into_data() {
                self.received
                    .fetch_add(piece.len() as u64, Ordering::SeqCst);
                return Some(Ok(piece));
            }
        }
    }

    /// Reads and forgets at most about this many bytes; tells whether that was the whole body.
    pub(crate) async fn discard(&mut self, at_most_bytes: u64) -> bool {
        let mut left = at_most_bytes;
        while let Some(piece) = self.piece().await {
            let Ok(piece) = piece else { return false };
            let length = piece.len() as u64;
            if length > left {
                return false;
            }
            left -= length;
        }
        true
    }

    /// The whole body, if it is no longer than this.
    pub(crate) async fn collect(&mut self, at_most_bytes: usize) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await {
            whole.extend_from_slice(&piece.ok()?);
            if whole.len() > at_most_bytes {
                return None;
            }
        }
        Some(whole)
    }
}

/// The body of an answer before rules have changed it.
pub(crate) enum Payload {
    /// All there is.
    Whole(Option<Bytes>),
    /// What a running `git http-backend` prints.
    Git(Output),
    /// The rest of a file.
    File(io::Take<File>),
}

impl Payload {
    /// Reads the whole answer.
    pub(crate) async fn collect(self) -> Bytes {
        // A git that failed said so on stderr.
        BodyExt::collect(self)
            .await
            .map_or(Bytes::new(), Collected::to_bytes)
    }

    /// Reads the answer to its end: what was asked is done then.
    pub(crate) async fn discard(mut self) {
        while let Some(Ok(_frame)) = self.frame().await {}
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Payload::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Payload::Git(output) => output.poll_piece(cx).map_ok(Frame::data),
            // The file was just looked at or written, so that reading it does not wait.
            Payload::File(file) => Poll::Ready(piece_of(file).map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Payload::Git(_) => false,
            Payload::File(file) => file.limit() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Payload::Git(_) => SizeHint::default(),
            Payload::File(file) => SizeHint::with_exact(file.limit()),
        }
    }
}

fn piece_of(file: &mut io::Take<File>) -> Option<io::Result<Bytes>> {
    let mut piece = vec![0; PIECE_BYTES];
    match file.read(&mut piece) {
        Ok(0) => None,
        Ok(length) => {
            piece.truncate(length);
            Some(Ok(piece.into()))
        }
        Err(error) => Some(Err(error)),
    }
}

/// Where the body of an answer ends and what becomes of its connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body is sent whole and the connection lives.
    Usual,
    /// The body ends properly after so many more bytes.
    Truncate(u64),
    /// The connection ends after so many more bytes.
    Cut(u64),
    /// After so many more bytes the rest waits for a release.
    Stall(u64),
    /// Each byte is followed by a pause.
    Drip,
    /// The body is sent whole and the connection is closed after it.
    CloseIdle,
    /// After so many more bytes this comes again and again.
    Endless(u64, Bytes),
}

/// The body of an answer as it goes out.
pub(crate) struct Reply {
    payload: Payload,
    ending: Ending,
    connection: Arc<Connection>,
    /// `None` for requests that are not recorded.
    ticket: Option<Ticket>,
    /// What a pause holds back of the piece that was sent last.
    rest: Bytes,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What ends a stall; `None` for requests that are not recorded.
    releases: Option<watch::Receiver<u64>>,
}

impl Reply {
    pub(crate) fn new(
        payload: Payload,
        ending: Ending,
        connection: Arc<Connection>,
        ticket: Option<Ticket>,
        releases: Option<watch::Receiver<u64>>,
    ) -> Self {
        Self {
            payload,
            ending,
            connection,
            ticket,
            rest: Bytes::new(),
            pause: None,
            releases,
        }
    }

    /// Gives the next byte, after the pause that follows the last one.
    fn drip(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.payload).poll_frame(cx)) {
                None => {
                    self.complete();
                    return Poll::Ready(None);
                }
                Some(frame) => self.rest = frame?.into_data().unwrap_or_default(),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(1));
        self.pause = Some(Box::pin(sleep(DRIP_PAUSE)));
        let piece = self.pass(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Waits for a release.
    fn stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(mut releases) = self.releases.take() {
            // The sender lives as long as the site.
            self.pause = Some(Box::pin(async move { drop(releases.changed().await) }));
            if let Some(ticket) = &self.ticket {
                ticket.stalled();
            }
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Shortens a piece to what the ending leaves of it, and counts it.
    fn pass(&mut self, mut piece: Bytes) -> Bytes {
        if let Ending::Truncate(left)
        | Ending::Cut(left)
        | Ending::Stall(left)
        | Ending::Endless(left, _) = &mut self.ending
        {
            let kept = piece
                .len()
                .min(usize::try_from(*left).unwrap_or(usize::MAX));
            let rest = piece.split_off(kept);
            *left -= kept as u64;
            if let Ending::Stall(_) = self.ending {
                self.rest = rest;
            }
        }
        if let Some(ticket) = &mut self.ticket {
            ticket.sent(&piece);
        }
        piece
    }

    /// Records the end as soon as the last piece is handed over, which is before the client can see it.
    fn complete(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.complete();
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.ending {
            Ending::Drip => return self.drip(cx),
            Ending::Truncate(0) => {
                self.complete();
                return Poll::Ready(None);
            }
            Ending::Cut(0) => {
                // The server flushes when a body has nothing yet; the flush then closes the connection.
                self.connection.cut_when_flushed();
                self.ticket = None;
                return Poll::Pending;
            }
            Ending::Stall(0) => {
                ready!(self.stall(cx));
                self.ending = Ending::Usual;
            }
            Ending::Endless(0, ref text) => {
                let again = text.repeat(1 + PIECE_BYTES / text.len());
                return Poll::Ready(Some(Ok(Frame::data(again.into()))));
            }
            _ => {}
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let rest = self.pass(rest);
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let piece = match ready!(Pin::new(&mut self.payload).poll_frame(cx)) {
            None => {
                if let Ending::Endless(left, _) = &mut self.ending {
                    *left = 0;
                    return self.poll_frame(cx);
                }
                self.complete();
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        let piece = self.pass(piece);
        if self.is_end_stream() {
            self.complete();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self.ending {
            Ending::Truncate(0) => true,
            Ending::Cut(_) | Ending::Stall(_) | Ending::Drip | Ending::Endless(..) => false,
            _ => self.rest.is_empty() && self.payload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Truncate(_) | Ending::Endless(..) => SizeHint::default(),
            _ => self.payload.size_hint(),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.complete();
        }
        if self.ending == Ending::CloseIdle {
            self.connection.close_when_flushed();
        }
    }
}
