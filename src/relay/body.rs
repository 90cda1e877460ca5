//! A request's body, as a whole or in chunks, and an answer's body as bytes to be read.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};

use super::pktline;
use crate::http::{Response, ResponseBody, TransportError};

/// The longest pkt-line with its length (gitprotocol-common(5)).
const LARGEST_PACKET_BYTES: usize = 65520;

/// What a request is kept in before it is sent, in bytes; one that does not fit is sent in chunks of no known length
/// (git-config(1), `http.postBuffer`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer(pub(super) usize);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(1024 * 1024)
    }
}

impl Buffer {
    /// How long a request may be that is sent as a whole: git wants room for one more pkt-line at any time (git:
    /// `rpc_read_from_out` in remote-curl.c).
    pub(super) fn room(self) -> usize {
        self.0.saturating_sub(LARGEST_PACKET_BYTES)
    }

    /// Tells whether a request fits.
    pub(super) fn holds(self, request: &[u8]) -> bool {
        request.len() <= self.room()
    }
}

/// Looks whether an answer's body begins with a pkt-line; the answer is given back whole.
pub(super) fn begins_with_pkt_line(
    mut response: Response,
) -> Result<(bool, Response), TransportError> {
    let first = response.next_chunk()?;
    let prefix = first.as_ref().and_then(|first| first.first_chunk());
    let is_pkt_line = prefix.is_some_and(|prefix| pktline::decode(*prefix).is_some());
    let (status, headers) = (response.status, response.headers.clone());
    let body = Ahead {
        first,
        rest: response,
    };
    Ok((is_pkt_line, Response::new(status, headers, Box::new(body))))
}

/// A body of which the first piece was looked at.
struct Ahead {
    first: Option<Bytes>,
    rest: Response,
}

impl ResponseBody for Ahead {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rest.next_chunk(),
        }
    }
}

/// Reads an answer's body as a stream of bytes.
pub(super) struct BodyReader {
    response: Response,
    current: Bytes,
}

impl BodyReader {
    pub(super) fn new(response: Response) -> Self {
        BodyReader {
            response,
            current: Bytes::new(),
        }
    }

    /// Reads what nobody wants, so that the connection can be used again; a longer answer costs the connection.
    pub(super) fn drain(mut self, max_bytes: usize) {
        let mut room = max_bytes;
        while let Ok(Some(chunk)) = self.next_chunk() {
            let Some(left) = room.checked_sub(chunk.len()) else {
                return;
            };
            room = left;
        }
    }

    /// Gives the next piece, what was read ahead first; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if !self.current.is_empty() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        loop {
            match self.response.next_chunk()? {
                Some(chunk) if chunk.is_empty() => {}
                chunk => return Ok(chunk),
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty()
            && let Some(chunk) = self.next_chunk().map_err(io::Error::other)?
        {
            self.current = chunk;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}
