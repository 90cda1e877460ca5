//! Answers in gzip: asked for where refs are the answer, and a server may send others all the same (RFC 9110 section
//! 12.5.3).

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::{BodyReader, Phase, ResponseBody, TransportError};

/// However much a few bytes may become, so many are made at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Gives a body as it was before it was compressed, if its head says that it is.
pub(super) fn unpacked(
    headers: &HeaderMap,
    host: &str,
    body: impl ResponseBody + 'static,
) -> Box<dyn ResponseBody> {
    let coding = headers.get(CONTENT_ENCODING);
    let coding = coding.map_or(b"".as_slice(), |coding| coding.as_bytes());
    if !coding.eq_ignore_ascii_case(b"gzip") && !coding.eq_ignore_ascii_case(b"x-gzip") {
        return Box::new(body);
    }
    Box::new(Gzip {
        decoder: MultiGzDecoder::new(BodyReader::new(body)),
        host: host.to_owned(),
    })
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

    /// Gives pieces, and then breaks if it is to.
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

    /// Reads to the end; gives the bytes, and the phase of what broke.
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
    fn what_was_packed_comes_out_however_it_is_cut() {
        let text = b"0006a\n".repeat(500);
        for step in [1, 3, 1000] {
            assert_eq!(
                read(body(&packed(&text), step, false)),
                (text.clone(), None)
            );
        }
    }

    #[test]
    fn what_ends_too_early_or_is_none_has_broken_off() {
        let whole = packed(b"0000");
        assert_eq!(read(body(&whole[..15], 4, false)).1, Some(Phase::Answer));
        assert_eq!(
            read(body(b"no gzip at all", 4, false)).1,
            Some(Phase::Answer)
        );
        assert_eq!(read(body(&whole[..15], 4, true)).1, Some(Phase::TimeLimit));
    }

    #[test]
    fn a_few_bytes_that_become_many_do_so_piece_by_piece() {
        let mut bomb = body(&packed(&vec![0; 64 << 20]), 1 << 20, false);
        let mut bytes = 0;
        while let Some(piece) = bomb.next_chunk().expect("it is whole") {
            assert!(piece.len() <= PIECE_BYTES);
            bytes += piece.len();
        }
        assert_eq!(bytes, 64 << 20);
    }
}
