//! Reads a response body as a stream of bytes.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};

use super::{
    interface::{Response, ResponseBody},
    transport_error::TransportError,
};

/// Reads a body as a stream of bytes.
pub(crate) struct BodyReader<B = Response> {
    body: B,
    current: Bytes,
}

impl<B: ResponseBody> BodyReader<B> {
    /// Starts at the first byte.
    pub(crate) fn new(body: B) -> Self {
        BodyReader {
            body,
            current: Bytes::new(),
        }
    }

    /// Discards the rest, so that the pool can reuse the connection. A body longer than `max_bytes` closes it.
    pub(crate) fn drain(mut self, max_bytes: usize) {
        let mut room = max_bytes;
        while let Ok(Some(chunk)) = self.next_chunk() {
            let Some(left) = room.checked_sub(chunk.len()) else {
                return;
            };
            room = left;
        }
    }

    /// Gives the next chunk; `None` at the end. Bytes that were read ahead come first.
    ///
    /// # Errors
    ///
    /// See [`ResponseBody::next_chunk`].
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if !self.current.is_empty() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        loop {
            match self.body.next_chunk()? {
                Some(chunk) if chunk.is_empty() => {}
                chunk => return Ok(chunk),
            }
        }
    }
}

/// A body whose beginning was read ahead.
impl<B: ResponseBody> ResponseBody for BodyReader<B> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        BodyReader::next_chunk(self)
    }
}

impl<B: ResponseBody> Read for BodyReader<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<B: ResponseBody> BufRead for BodyReader<B> {
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
