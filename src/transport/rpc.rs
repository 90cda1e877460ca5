//! One request of git and its response: posts it, copies the response to git, and explains an incomplete one.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    git::{Git, Service},
    outcome::{Broken, Stage},
    pktline::{Boundaries, Ending},
    session::{Repeat, Session},
};
use crate::http::{Body, BodyReader, Request, Response, ResponseBody};

/// The longest request that is not compressed (git: `rpc_service` in remote-curl.c).
const COMPRESS_OVER_BYTES: usize = 1024;
/// The start of a request for refs (gitprotocol-v2(5), "ls-refs").
const LS_REFS: &[u8] = b"0014command=ls-refs\n";

/// Posts a request of git and returns when the response starts.
///
/// A request that does not fit into the buffer is sent uncompressed, in chunks (git: `post_rpc` in remote-curl.c). It
/// stays in memory, so that it can be sent again.
pub(super) fn ask(session: &mut Session<'_>, request: &Bytes) -> anyhow::Result<Response> {
    let in_chunks = request.len() > session.room();
    let (body, encoding) = match in_chunks {
        true => (request.clone(), None),
        false => compress(request)?,
    };
    session.post(Service::UploadPack, Repeat::Safe, &|post: Request| {
        let mut post = post.header("Git-Protocol", "version=2");
        if let Some(encoding) = encoding {
            post = post.header("Content-Encoding", encoding);
        }
        // Compression shrinks refs to a third, but not packs.
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

fn compress(request: &Bytes) -> anyhow::Result<(Bytes, Option<&'static str>)> {
    if request.len() <= COMPRESS_OVER_BYTES {
        return Ok((request.clone(), None));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(request)?;
    Ok((Bytes::from(encoder.finish()?), Some("gzip")))
}

/// Copies a response to git as it arrives, and tells how it ended.
///
/// `seen` is the part that git has already. A flush-pkt ends a response. Like git's own https, this ignores the bytes
/// after it.
pub(super) fn copy(
    session: &Session<'_>,
    git: &mut Git,
    body: &mut BodyReader<impl ResponseBody>,
    mut seen: Boundaries,
) -> Result<Ending, Broken> {
    let mut stage = match seen.ending() {
        Ending::Empty => Stage::BeforeAnswer,
        _ => Stage::InAnswer,
    };
    let mut armed = session.watch_until_over(&seen);
    loop {
        let chunk = match body.next_chunk() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // Git has the whole response, so an error at the end of the HTTP body does not matter.
            Err(_) if seen.ending() == Ending::Flush => break,
            Err(error) => return Err(Broken::at(stage)(session.bad_answer(error))),
        };
        let Ok(length) = seen.follow(&chunk) else {
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

/// Explains an incomplete response.
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
