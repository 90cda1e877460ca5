//! `connect git-upload-pack`: protocol v2 over HTTP (gitprotocol-v2(5), gitprotocol-http(5)).

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    Broken, Connected, Git, Service, Session, Stage,
    advertisement::{self, Prefetched},
    pktline::{self, Boundaries, Ending},
    session::Repeat,
};
use crate::{
    failure::{Failure, Kind},
    http::{Body, BodyReader, Request, Response},
};

/// Longer requests are compressed (git: `rpc_service` in remote-curl.c).
const COMPRESS_OVER_BYTES: usize = 1024;
/// How a request for the refs begins (gitprotocol-v2(5), "ls-refs").
const LS_REFS: &[u8] = b"0014command=ls-refs\n";

/// Relays the advertisement, then request after request until git has enough.
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<Connected, Broken> {
    let foreseen = Prefetched::ask(session, git).map_err(Broken::at(Stage::Connecting))?;
    if let Some(foreseen) = foreseen {
        serve_foreseen(session, git, foreseen).inspect_err(|_| session.forget())?;
        return Ok(Connected::Finished);
    }
    let advertisement = advertisement::discover(session).map_err(Broken::at(Stage::Connecting))?;
    let Some(advertisement) = advertisement else {
        return Ok(Connected::NotVersion2);
    };
    greet(git, &advertisement)?;
    if let Some(request) = next_request(git)? {
        answer(session, git, &request)?;
        advertisement::remember(session, &advertisement, &request);
    }
    serve_rest(session, git)?;
    Ok(Connected::Finished)
}

/// Relays a remembered advertisement, whose first question has been answered already if it is git's.
fn serve_foreseen(
    session: &mut Session<'_>,
    git: &mut Git,
    mut foreseen: Prefetched,
) -> Result<(), Broken> {
    greet(git, &foreseen.advertisement)?;
    if let Some(request) = next_request(git)? {
        match foreseen.answer(session, &request) {
            Some((head, body)) => relay(session, git, &head, body)?,
            None => answer(session, git, &request)?,
        }
    }
    serve_rest(session, git)?;
    Ok(())
}

fn serve_rest(session: &mut Session<'_>, git: &mut Git) -> Result<(), Broken> {
    while let Some(request) = next_request(git)? {
        answer(session, git, &request)?;
    }
    Ok(())
}

fn greet(git: &mut Git, advertisement: &[u8]) -> Result<(), Broken> {
    let greeting = [b"\n", advertisement].concat();
    git.write(&greeting).map_err(Broken::at(Stage::InAnswer))
}

/// Reads git's next request; git says good-bye with a lone flush-pkt (git: `disconnect_git`), which is none.
fn next_request(git: &mut Git) -> Result<Option<Bytes>, Broken> {
    loop {
        match pktline::read_section(git.input(), |_| {}) {
            Ok(Some(request)) if request == b"0000" => {}
            Ok(request) => return Ok(request.map(Bytes::from)),
            Err(error) => {
                let error = anyhow::Error::new(error)
                    .context(Failure::new(Kind::Hangup, "git's request is not complete"));
                return Err(Broken::at(Stage::InAnswer)(error));
            }
        }
    }
}

fn answer(session: &mut Session<'_>, git: &mut Git, request: &Bytes) -> Result<(), Broken> {
    loop {
        let response = ask(session, request).map_err(Broken::at(Stage::BeforeAnswer))?;
        match relay(session, git, &[], BodyReader::new(response)) {
            Err(Broken {
                stage: Stage::BeforeAnswer,
                error,
            }) if session.is_asked_again(&error) => {}
            outcome => return outcome,
        }
    }
}

/// Posts a request of git's and returns once its answer begins.
///
/// One that does not fit into the buffer goes out as it is, in chunks (git: `post_rpc` in remote-curl.c). It is kept,
/// as git does itself while it writes it, so that it can be sent again.
pub(super) fn ask(session: &mut Session<'_>, request: &Bytes) -> anyhow::Result<Response> {
    let in_chunks = !session.buffer().holds(request);
    let (body, encoding) = match in_chunks {
        true => (request.clone(), None),
        false => compress(request)?,
    };
    session.post(Service::UploadPack, Repeat::Safe, &|post: Request| {
        let mut post = post.header("Git-Protocol", "version=2");
        if let Some(encoding) = encoding {
            post = post.header("Content-Encoding", encoding);
        }
        // Refs shrink to a third, packs not at all.
        if request.starts_with(LS_REFS) {
            post = post.header("Accept-Encoding", "gzip");
        }
        let body = body.clone();
        post.body = match in_chunks {
            true => Body::Stream(Box::new(Cursor::new(body))),
            false => Body::Bytes(body),
        };
        Ok(post)
    })
}

/// Hands an answer to git, which must be a whole one; `head` is what was read of it before.
fn relay(
    session: &Session<'_>,
    git: &mut Git,
    head: &[u8],
    mut rest: BodyReader,
) -> Result<(), Broken> {
    let mut seen = Boundaries::default();
    if !head.is_empty() {
        let broken = Broken::at(Stage::BeforeAnswer);
        if seen.follow(head).is_err() {
            return Err(broken(session.no_pkt_line()));
        }
        git.write(head).map_err(broken)?;
    }
    match copy(session, git, &mut rest, seen, 1)? {
        Ending::Flush => Ok(()),
        // An upload-pack that dies inside a 200 answer leaves git waiting for ever, and us for git's next request.
        other => Err(incomplete(session, other)),
    }
}

fn compress(request: &Bytes) -> anyhow::Result<(Bytes, Option<&'static str>)> {
    if request.len() <= COMPRESS_OVER_BYTES {
        return Ok((request.clone(), None));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(request)?;
    Ok((Bytes::from(encoder.finish()?), Some("gzip")))
}

/// Hands an answer to git as it comes and tells how it ended. `seen` is what git has of it already, and `flushes` says
/// how many flush-pkts it has: what follows the last one is nobody's, and git's own https takes no notice either.
pub(super) fn copy(
    session: &Session<'_>,
    git: &mut Git,
    body: &mut BodyReader,
    mut seen: Boundaries,
    flushes: usize,
) -> Result<Ending, Broken> {
    let mut stage = match seen.ending() {
        Ending::Empty => Stage::BeforeAnswer,
        _ => Stage::InAnswer,
    };
    let mut left = flushes - usize::from(seen.ending() == Ending::Flush);
    let mut armed = session.watch_until_over(&seen);
    loop {
        let chunk = match body.next_chunk() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // Git has all of it, whatever HTTP still had to say.
            Err(_) if seen.ending() == Ending::Flush => break,
            Err(error) => return Err(Broken::at(stage)(session.bad_answer(error))),
        };
        let Ok(length) = seen.follow_to_flush(&chunk, &mut left) else {
            return Err(Broken::at(stage)(session.no_pkt_line()));
        };
        armed = session.watch_until_over(&seen);
        stage = Stage::InAnswer;
        git.write(&chunk[..length]).map_err(Broken::at(stage))?;
        if length < chunk.len() {
            break;
        }
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
