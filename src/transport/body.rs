//! The limit for request bodies without chunks, and a check of how a response body starts.

use bytes::Bytes;

use super::pktline;
use crate::http::{Response, ResponseBody, TransportError};

/// The longest pkt-line with its length (gitprotocol-common(5)).
const LARGEST_PACKET_BYTES: usize = 65520;

/// The buffer for a request, in bytes. A request that does not fit is sent in chunks, without a known length
/// (git-config(1), `http.postBuffer`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer(pub(super) usize);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(1024 * 1024)
    }
}

impl Buffer {
    /// Gives the longest request that is sent as a whole. Git leaves room for one more pkt-line (git:
    /// `rpc_read_from_out` in remote-curl.c).
    pub(super) fn room(self) -> usize {
        self.0.saturating_sub(LARGEST_PACKET_BYTES)
    }

    /// Tells whether a request fits.
    pub(super) fn holds(self, request: &[u8]) -> bool {
        request.len() <= self.room()
    }
}

/// Tells whether a response body starts with a pkt-line, and gives back the whole response.
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

/// A body whose first chunk was read ahead.
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
