//! Pkt-lines (gitprotocol-common(5)): reads git's requests, and finds the boundaries in streaming responses.

use std::io::{self, BufRead, Read};

use gix_packetline::{PacketLineRef, decode::PacketLineOrWantedSize};

/// The longest data of a pkt-line (gitprotocol-common(5)).
const MAX_DATA_BYTES: usize = 65516;

/// The kind of a pkt-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// `0000`, the flush-pkt.
    Flush,
    /// `0001`, the delim-pkt.
    Delim,
    /// `0002`, the response-end.
    ResponseEnd,
    /// Data with this many bytes.
    Data(usize),
}

/// Decodes the length of a pkt-line; `None` if it is invalid.
pub(super) fn decode(prefix: [u8; 4]) -> Option<Packet> {
    if &prefix == b"0004" {
        // Git accepts an empty pkt-line, gix does not.
        return Some(Packet::Data(0));
    }
    match gix_packetline::decode::hex_prefix(&prefix).ok()? {
        PacketLineOrWantedSize::Line(PacketLineRef::Flush) => Some(Packet::Flush),
        PacketLineOrWantedSize::Line(PacketLineRef::Delimiter) => Some(Packet::Delim),
        PacketLineOrWantedSize::Line(_) => Some(Packet::ResponseEnd),
        PacketLineOrWantedSize::Wanted(bytes) => {
            let bytes = usize::from(bytes);
            (bytes <= MAX_DATA_BYTES).then_some(Packet::Data(bytes))
        }
    }
}

/// Reads one pkt-line and appends its raw bytes to `raw`; `None` at the end of the input.
///
/// # Errors
///
/// `InvalidData` for an invalid length, `UnexpectedEof` for a truncated pkt-line.
pub(super) fn read_packet(
    input: &mut dyn BufRead,
    raw: &mut Vec<u8>,
) -> io::Result<Option<Packet>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut prefix = [0; 4];
    input
        .read_exact(&mut prefix)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut("it ends inside the length of a pkt-line"),
            _ => error,
        })?;
    let packet = decode(prefix).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a pkt-line has no valid length")
    })?;
    raw.extend_from_slice(&prefix);
    if let Packet::Data(length) = packet {
        let copied = input.take(length as u64).read_to_end(raw)?;
        if copied < length {
            return Err(cut("it ends inside a pkt-line"));
        }
    }
    Ok(Some(packet))
}

fn cut(where_it_ends: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, where_it_ends)
}

/// Reads pkt-lines up to the next flush-pkt, included, and passes the data of each to `see`; `None` at the end of the
/// input.
///
/// # Errors
///
/// As [`read_packet`], and `UnexpectedEof` if the input ends before the flush-pkt.
pub(super) fn read_section(
    input: &mut dyn BufRead,
    mut see: impl FnMut(&[u8]),
) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::new();
    loop {
        let start = raw.len() + 4;
        match read_packet(input, &mut raw)? {
            None if raw.is_empty() => return Ok(None),
            None => return Err(cut("it ends without a flush-pkt")),
            Some(Packet::Flush) => return Ok(Some(raw)),
            Some(Packet::Data(_)) => see(&raw[start..]),
            Some(Packet::Delim | Packet::ResponseEnd) => {}
        }
    }
}

/// Encodes a text as a pkt-line. A text that is too long is cut.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut end = text.len().min(MAX_DATA_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut packet = format!("{:04x}", end + 4).into_bytes();
    packet.extend_from_slice(&text.as_bytes()[..end]);
    packet
}

/// The end of a stream of pkt-lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The stream is empty.
    Empty,
    /// A flush-pkt, the end of every complete protocol v2 response.
    Flush,
    /// An `ERR ` pkt-line, which git shows itself.
    Error,
    /// A complete pkt-line that is not an end.
    Unfinished,
    /// The stream is cut inside the length of a pkt-line.
    CutLength,
    /// The stream is cut inside the data of a pkt-line.
    CutData,
}

/// Follows the pkt-line boundaries of a response without storing it.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    prefix: Vec<u8>,
    /// The missing bytes of the current pkt-line.
    wanted: usize,
    /// The first bytes of the last data pkt-line.
    head: Vec<u8>,
    last: Option<Packet>,
}

/// The bytes are not pkt-lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Boundaries {
    /// Reads the next bytes of the response, up to its flush-pkt. Gives the number of bytes read.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut left = bytes;
        while !left.is_empty() && self.ending() != Ending::Flush {
            if self.wanted > 0 {
                let (data, rest) = left.split_at(self.wanted.min(left.len()));
                let room = ERROR_PREFIX.len() - self.head.len();
                self.head.extend_from_slice(&data[..room.min(data.len())]);
                self.wanted -= data.len();
                left = rest;
                continue;
            }
            let (prefix, rest) = left.split_at((4 - self.prefix.len()).min(left.len()));
            self.prefix.extend_from_slice(prefix);
            left = rest;
            let Ok(prefix) = <[u8; 4]>::try_from(self.prefix.as_slice()) else {
                break;
            };
            self.prefix.clear();
            let packet = decode(prefix).ok_or(Malformed)?;
            self.last = Some(packet);
            if let Packet::Data(length) = packet {
                self.wanted = length;
                self.head.clear();
            }
        }
        Ok(bytes.len() - left.len())
    }

    /// Tells how the response ended. The caller has passed all bytes.
    pub(super) fn ending(&self) -> Ending {
        if !self.prefix.is_empty() {
            return Ending::CutLength;
        }
        if self.wanted > 0 {
            return Ending::CutData;
        }
        match self.last {
            None => Ending::Empty,
            Some(Packet::Flush) => Ending::Flush,
            Some(Packet::Data(_)) if self.head == ERROR_PREFIX => Ending::Error,
            Some(_) => Ending::Unfinished,
        }
    }
}

/// The start of a server's fatal message (gitprotocol-pack(5), "error-line").
pub(super) const ERROR_PREFIX: &[u8] = b"ERR ";

#[cfg(test)]
mod tests {
    use super::*;
    use gix_packetline::blocking_io::StreamingPeekableIter;

    fn follow_in_steps(bytes: &[u8], step: usize) -> Result<Ending, Malformed> {
        let mut boundaries = Boundaries::default();
        for piece in bytes.chunks(step) {
            boundaries.follow(piece)?;
        }
        Ok(boundaries.ending())
    }

    #[test]
    fn boundaries_are_found_for_every_chunk_size() {
        let cases: [(&[u8], Result<Ending, Malformed>); 11] = [
            (b"", Ok(Ending::Empty)),
            (b"0000", Ok(Ending::Flush)),
            (b"0009abcde00010008wxyz0000", Ok(Ending::Flush)),
            (b"0009abcde", Ok(Ending::Unfinished)),
            (b"00040001", Ok(Ending::Unfinished)),
            (b"000cERR oops0000", Ok(Ending::Flush)),
            (b"000cERR oops", Ok(Ending::Error)),
            (b"0009abc", Ok(Ending::CutData)),
            (b"0009abcde00", Ok(Ending::CutLength)),
            (b"<!DOCTYPE html>", Err(Malformed)),
            (b"0009abcde0003", Err(Malformed)),
        ];
        for (bytes, expected) in &cases {
            for step in 1..=bytes.len().max(1) {
                assert_eq!(
                    &follow_in_steps(bytes, step),
                    expected,
                    "{} in steps of {step}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[test]
    fn bytes_after_the_flush_are_not_part_of_the_response() {
        for step in [1, 3, 40] {
            let (mut boundaries, mut taken) = (Boundaries::default(), 0);
            for piece in b"0006ab00000006cd000000000006".chunks(step) {
                taken += boundaries.follow(piece).expect("they are pkt-lines");
            }
            assert_eq!((taken, boundaries.ending()), (10, Ending::Flush));
        }
        let garbage = Boundaries::default().follow(b"0000<p>");
        assert_eq!(garbage, Ok(4));
    }

    #[test]
    fn the_longest_pkt_line_is_as_long_as_the_protocol_allows() {
        assert_eq!(decode(*b"fff0"), Some(Packet::Data(65516)));
        assert_eq!(decode(*b"fff1"), None);
    }

    #[test]
    fn a_section_ends_with_its_flush_and_the_next_one_follows() {
        let mut input: &[u8] = b"0006ab0001000Axyzxyz0000000500";
        let mut seen = Vec::new();
        let section =
            read_section(&mut input, |data| seen.push(data.to_vec())).expect("it is well formed");
        assert_eq!(section.as_deref(), Some(&b"0006ab0001000Axyzxyz0000"[..]));
        assert_eq!(seen, [b"ab".to_vec(), b"xyzxyz".to_vec()]);
        assert!(
            read_section(&mut input, |_| {}).is_err(),
            "a cut pkt-line is an error"
        );
        assert_eq!(
            read_section(&mut &b""[..], |_| {}).expect("an end is no error"),
            None
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(encode("ERR a"), b"0009ERR a");
        let long = encode(&"é".repeat(70_000));
        assert_eq!(long.len(), 65516 + 4);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    const KEPT: [&[u8]; 10] = [
        b"",
        b"0000",
        b"0009abcde00010008wxyz0000",
        b"001e# service=git-upload-pack\n0000000eversion 2\n000cagent=x\n0000",
        b"000cERR oops",
        b"0004000400040002",
        b"fff0",
        b"fff1",
        b"+0050-01",
        b"0003 00d000D",
    ];

    /// Reads pkt-lines up to a flush-pkt and gives the end as [`Boundaries`] does.
    fn read_to_the_flush(mut input: &[u8]) -> (Vec<u8>, Result<Ending, Malformed>) {
        let whole = input;
        let (mut raw, mut boundaries) = (Vec::new(), Boundaries::default());
        loop {
            match read_packet(&mut input, &mut raw) {
                Ok(Some(Packet::Flush)) | Ok(None) => break,
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return (raw, Err(Malformed));
                }
                Err(error) if error.to_string().contains("length") => {
                    return (raw, Ok(Ending::CutLength));
                }
                Err(_) => return (raw, Ok(Ending::CutData)),
            }
        }
        let all = [raw.as_slice(), input].concat();
        assert_eq!(all, whole, "what was read is what was there");
        boundaries.follow(&raw).expect("every pkt-line was read");
        (raw, Ok(boundaries.ending()))
    }

    #[test]
    fn any_input_is_read_and_followed_alike() {
        crate::inside::fuzz::check(&KEPT, |input| {
            let (raw, ending) = read_to_the_flush(input);
            assert!(input.starts_with(&raw), "nothing is made up");
            for step in [1, 3, 4, 5, 4096] {
                let mut boundaries = Boundaries::default();
                let followed = input
                    .chunks(step)
                    .try_for_each(|piece| boundaries.follow(piece).map(drop));
                assert_eq!(
                    followed.map(|()| boundaries.ending()),
                    ending,
                    "in steps of {step}"
                );
                assert!(boundaries.prefix.len() < 5 && boundaries.head.len() < 5);
            }
        });
    }

    /// Gives the pkt-lines that gix reads, up to the first that it refuses.
    fn as_gix_reads(input: &[u8]) -> Vec<(Packet, Vec<u8>)> {
        let mut lines = StreamingPeekableIter::new(input, &[], false);
        let mut found = Vec::new();
        while let Some(Ok(Ok(line))) = lines.read_line() {
            let data = line.as_slice().unwrap_or_default();
            let packet = match line {
                PacketLineRef::Flush => Packet::Flush,
                PacketLineRef::Delimiter => Packet::Delim,
                PacketLineRef::ResponseEnd => Packet::ResponseEnd,
                PacketLineRef::Data(_) => Packet::Data(data.len()),
            };
            found.push((packet, data.to_vec()));
        }
        found
    }

    #[test]
    fn any_input_is_read_as_gix_reads_it() {
        crate::inside::fuzz::check(&KEPT, |input| {
            let expected = as_gix_reads(input);
            let (mut rest, mut found) = (input, Vec::new());
            let mut raw = Vec::new();
            while let Ok(Some(packet)) = read_packet(&mut rest, &mut raw) {
                found.push((packet, raw.drain(..).skip(4).collect::<Vec<_>>()));
            }
            // gix stops at an empty pkt-line, which git accepts.
            let end = found
                .iter()
                .position(|(packet, _)| *packet == Packet::Data(0))
                .unwrap_or(found.len());
            assert_eq!(&found[..end], expected);
        });
    }

    #[test]
    fn any_encoded_text_is_read_back() {
        crate::inside::fuzz::check_text(&["", "ERR a\n", "é\u{10ffff}"], |text| {
            let packet = encode(text);
            let mut raw = Vec::new();
            let read = read_packet(&mut packet.as_slice(), &mut raw).expect("it is a pkt-line");
            assert_eq!(read, Some(Packet::Data(packet.len() - 4)));
            assert!(text.as_bytes().starts_with(&raw[4..]));
            assert!(raw.len() - 4 == text.len() || raw.len() > MAX_DATA_BYTES);
        });
    }
}
