//! `connect git-upload-pack`: protocol v2 over HTTP (gitprotocol-v2(5), gitprotocol-http(5)).

use std::io::{self, BufRead, Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    Broken, Connected, Git, Service, Session, Stage,
    pktline::{self, Boundaries, Ending},
    session::{BodyReader, Repeat},
};
use crate::{
    failure::{Failure, Kind, quote},
    http::{Body, Request},
};

/// The longest v2 capability advertisement that is believed; real ones have some hundred bytes.
const MAX_ADVERTISEMENT_BYTES: u64 = 1024 * 1024;
/// Longer requests are compressed (git: `rpc_service` in remote-curl.c).
const COMPRESS_OVER_BYTES: usize = 1024;

/// Relays the advertisement, then request after request until git has enough.
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<Connected, Broken> {
    let Some(advertisement) = advertisement(session).map_err(Broken::at(Stage::Connecting))? else {
        return Ok(Connected::NotVersion2);
    };
    let greeting = [b"\n", advertisement.as_slice()].concat();
    git.write(&greeting).map_err(Broken::at(Stage::InAnswer))?;
    while let Some(request) = next_request(git).map_err(Broken::at(Stage::InAnswer))? {
        answer(session, git, &request)?;
    }
    Ok(Connected::Finished)
}

/// Gets the v2 capability advertisement; `None` when the server speaks an older version.
fn advertisement(session: &mut Session<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    let response = session.discover(Service::UploadPack, Some("version=2"))?;
    // Git has been answered nothing yet, so that its end means that nobody waits.
    let _armed = session.watch_until_over(&Boundaries::default());
    let mut body = BodyReader::new(response);
    let first = first_packet(&mut body).map_err(|error| session.bad_packet(error))?;
    if let Some(message) = first[4..].strip_prefix(pktline::ERROR_PREFIX) {
        return Err(told(session, message));
    }
    if !first[4..].starts_with(b"version 2") {
        return Ok(None);
    }
    let rest = pktline::read_section(&mut (&mut body).take(MAX_ADVERTISEMENT_BYTES), |_| {});
    let rest = rest.and_then(|rest| rest.ok_or_else(|| empty("it ends without a flush-pkt")));
    let rest = rest.map_err(|error| session.bad_packet(error))?;
    // To its end, so that the connection can be used again.
    while body
        .next_chunk()
        .map_err(|error| session.bad_answer(error))?
        .is_some()
    {}
    Ok(Some([first, rest].concat()))
}

/// Reads the first pkt-line behind the `# service=` header, which is not part of what git reads over `connect`.
pub(super) fn first_packet(body: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut first = read_one(body)?;
    if first[4..].starts_with(b"# service=") {
        pktline::read_section(body, |_| {})?;
        first = read_one(body)?;
    }
    Ok(first)
}

fn read_one(body: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    match pktline::read_packet(body, &mut packet)? {
        Some(_) => Ok(packet),
        None => Err(empty("it is empty")),
    }
}

fn empty(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

/// Puts the server's own `ERR ` message into ours.
pub(super) fn told(session: &Session<'_>, message: &[u8]) -> anyhow::Error {
    session.told(&quote(&String::from_utf8_lossy(message)))
}

/// Reads git's next request; git says good-bye with a lone flush-pkt (git: `disconnect_git`), which is none.
fn next_request(git: &mut Git) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        match pktline::read_section(git.input(), |_| {}) {
            Ok(Some(request)) if request == b"0000" => {}
            Ok(request) => return Ok(request),
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context(Failure::new(Kind::Hangup, "git's request is not complete")));
            }
        }
    }
}

fn answer(session: &mut Session<'_>, git: &mut Git, request: &[u8]) -> Result<(), Broken> {
    let (body, encoding) = compress(request).map_err(Broken::at(Stage::BeforeAnswer))?;
    let response = session.post(Service::UploadPack, Repeat::Safe, &|post: Request| {
        let mut post = post.header("Git-Protocol", "version=2");
        if let Some(encoding) = encoding {
            post = post.header("Content-Encoding", encoding);
        }
        post.body = Body::Bytes(body.clone());
        Ok(post)
    });
    let response = response.map_err(Broken::at(Stage::BeforeAnswer))?;
    let ending = copy(
        session,
        git,
        &mut BodyReader::new(response),
        Boundaries::default(),
    )?;
    match ending {
        Ending::Flush => Ok(()),
        // An upload-pack that dies inside a 200 answer leaves git waiting for ever, and us for git's next request.
        other => Err(incomplete(session, other)),
    }
}

fn compress(request: &[u8]) -> anyhow::Result<(Bytes, Option<&'static str>)> {
    if request.len() <= COMPRESS_OVER_BYTES {
        return Ok((Bytes::copy_from_slice(request), None));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(request)?;
    Ok((Bytes::from(encoder.finish()?), Some("gzip")))
}

/// Hands an answer to git as it comes and tells how it ended. `seen` is what git has of it already.
pub(super) fn copy(
    session: &Session<'_>,
    git: &mut Git,
    body: &mut BodyReader,
    mut seen: Boundaries,
) -> Result<Ending, Broken> {
    let mut stage = match seen.ending() {
        Ending::Empty => Stage::BeforeAnswer,
        _ => Stage::InAnswer,
    };
    let mut armed = session.watch_until_over(&seen);
    while let Some(chunk) = body
        .next_chunk()
        .map_err(|error| Broken::at(stage)(session.bad_answer(error)))?
    {
        if seen.follow(&chunk).is_err() {
            return Err(Broken::at(stage)(session.no_pkt_line()));
        }
        armed = session.watch_until_over(&seen);
        stage = Stage::InAnswer;
        git.write(&chunk).map_err(Broken::at(stage))?;
    }
    drop(armed);
    Ok(seen.ending())
}

pub(super) fn incomplete(session: &Session<'_>, ending: Ending) -> Broken {
    let (stage, why) = match ending {
        Ending::Error => (Stage::Told, "the server ended with an error"),
        Ending::Empty => (Stage::BeforeAnswer, "it is empty"),
        Ending::CutLength => (Stage::InAnswer, "it ends inside the length of a pkt-line"),
        Ending::CutData => (Stage::InAnswer, "it ends inside a pkt-line"),
        Ending::Flush | Ending::Unfinished => (
            Stage::InAnswer,
            "it ends without a flush-pkt; the server's git may have failed",
        ),
    };
    Broken::at(stage)(session.bad_answer(anyhow::anyhow!(why)))
}
