//! Decompresses gzip responses. The client asks for gzip when it requests refs, but a server may compress any response
//! (RFC 9110 section 12.5.3), and use another coding.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};

use super::{
    body::BodyReader,
    interface::ResponseBody,
    transport_error::{Phase, TransportError},
};
use crate::failure::quote;

/// The most bytes that one step decompresses, so that a small response cannot fill the memory.
const PIECE_BYTES: usize = 64 * 1024;

/// The codings that curl may support and this client does not.
const FOREIGN: [&str; 3] = ["deflate", "br", "zstd"];

/// Decompresses a body if its headers say that it is gzip. A body in another coding fails when it is read, because its
/// status may be enough.
pub(super) fn unpacked(
    headers: &HeaderMap,
    host: &str,
    body: impl ResponseBody + 'static,
) -> Box<dyn ResponseBody> {
    let host = host.to_owned();
    let codings = codings(headers);
    match codings.as_slice() {
        [only] if matches!(only.as_str(), "gzip" | "x-gzip") => Box::new(Gzip {
            decoder: MultiGzDecoder::new(BodyReader::new(body)),
            host,
        }),
        all if all.iter().any(|it| FOREIGN.contains(&it.as_str())) => Box::new(Foreign {
            coding: all.join(", "),
            host,
        }),
        _ => Box::new(body),
    }
}

/// Lists the codings of a body, in lower case. The library decodes `chunked` (RFC 9112 section 6.1).
fn codings(headers: &HeaderMap) -> Vec<String> {
    [CONTENT_ENCODING, TRANSFER_ENCODING]
        .iter()
        .flat_map(|name| headers.get_all(name))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|coding| String::from_utf8_lossy(coding).trim().to_ascii_lowercase())
        .filter(|coding| !matches!(coding.as_str(), "" | "chunked" | "identity"))
        .collect()
}

/// A body that this client cannot decode.
struct Foreign {
    coding: String,
    host: String,
}

impl ResponseBody for Foreign {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let why = format!("its encoding is '{}'", quote(&self.coding));
        Err(TransportError::new(Phase::NotHttp, &self.host, why))
    }
}

struct Gzip<B> {
    decoder: MultiGzDecoder<BodyReader<B>>,
    host: String,
}

impl<B: ResponseBody> ResponseBody for Gzip<B> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let mut piece = vec![0; PIECE_BYTES];
        match self.decoder.read(&mut piece) {
            Ok(0) => Ok(None),
            Ok(length) => {
                piece.truncate(length);
                Ok(Some(piece.into()))
            }
            Err(error) => Err(error.downcast().unwrap_or_else(|error: io::Error| {
                TransportError::new(Phase::Answer, &self.host, error)
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Gives these pieces, then fails if the flag is set.
    struct Pieces(Vec<Bytes>, bool);

    impl ResponseBody for Pieces {
        fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            match self.0.pop() {
                None if self.1 => Err(TransportError::new(Phase::TimeLimit, "h", "slow")),
                piece => Ok(piece),
            }
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text).expect("memory takes it");
        gzip.finish().expect("memory takes it")
    }

    fn body(bytes: &[u8], step: usize, breaks: bool) -> Box<dyn ResponseBody> {
        let pieces = bytes.chunks(step).rev().map(Bytes::copy_from_slice);
        let headers =
            HeaderMap::from_iter([(CONTENT_ENCODING, "GZip".parse().expect("it is one"))]);
        unpacked(&headers, "h", Pieces(pieces.collect(), breaks))
    }

    /// Reads to the end, and gives the bytes and the phase of an error.
    fn read(mut body: Box<dyn ResponseBody>) -> (Vec<u8>, Option<Phase>) {
        let mut whole = Vec::new();
        loop {
            match body.next_chunk() {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) => return (whole, None),
                Err(error) => return (whole, Some(error.phase)),
            }
        }
    }

    #[test]
    fn a_compressed_body_is_restored_for_every_chunk_size() {
        let text = b"0006a\n".repeat(500);
        for step in [1, 3, 1000] {
            assert_eq!(
                read(body(&packed(&text), step, false)),
                (text.clone(), None)
            );
        }
    }

    #[test]
    fn a_truncated_or_invalid_gzip_body_is_an_error() {
        let whole = packed(b"0000");
        assert_eq!(read(body(&whole[..15], 4, false)).1, Some(Phase::Answer));
        assert_eq!(
            read(body(b"no gzip at all", 4, false)).1,
            Some(Phase::Answer)
        );
        assert_eq!(read(body(&whole[..15], 4, true)).1, Some(Phase::TimeLimit));
    }

    #[test]
    fn a_compression_bomb_is_decompressed_in_small_pieces() {
        let mut bomb = body(&packed(&vec![0; 64 << 20]), 1 << 20, false);
        let mut bytes = 0;
        while let Some(piece) = bomb.next_chunk().expect("it is whole") {
            assert!(piece.len() <= PIECE_BYTES);
            bytes += piece.len();
        }
        assert_eq!(bytes, 64 << 20);
    }
}
