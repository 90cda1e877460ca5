//! `connect git-upload-pack`: protocol v2 over HTTP (gitprotocol-v2(5), gitprotocol-http(5)).

use bytes::Bytes;

use super::{
    advertisement::{self, Prefetched},
    git::Git,
    outcome::{Broken, Connected, Stage},
    pktline::{self, Boundaries, Ending},
    rpc::{ask, copy, incomplete},
    session::Session,
};
use crate::{
    failure::{Failure, Kind},
    http::BodyReader,
};

/// Serves the advertisement, then each request until git closes the connection.
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<Connected, Broken> {
    let prefetched = Prefetched::ask(session, git).map_err(Broken::at(Stage::Connecting))?;
    if let Some(prefetched) = prefetched {
        serve_prefetched(session, git, prefetched).inspect_err(|_| session.forget())?;
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

/// Serves a remembered advertisement. The first response is already there if git sends the predicted request.
fn serve_prefetched(
    session: &mut Session<'_>,
    git: &mut Git,
    mut prefetched: Prefetched,
) -> Result<(), Broken> {
    greet(git, &prefetched.advertisement)?;
    if let Some(request) = next_request(git)? {
        match prefetched.answer(session, &request) {
            Some((head, body)) => relay(session, git, &head, body)?,
            None => answer(session, git, &request)?,
        }
    }
    serve_rest(session, git)
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

/// Reads git's next request, and skips the lone flush-pkt with which git ends (git: `disconnect_git`).
fn next_request(git: &mut Git) -> Result<Option<Bytes>, Broken> {
    loop {
        match pktline::read_section(git.input(), |_| {}) {
            Ok(Some(request)) if request == b"0000" => {}
            Ok(request) => return Ok(request.map(Bytes::from)),
            Err(error) => {
                let error = anyhow::Error::new(error)
                    .context(Failure::new(Kind::NoMessage, "git's request is incomplete"));
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

/// Copies a response to git and checks that it is complete. `head` is the part that was read ahead.
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
    match copy(session, git, &mut rest, seen)? {
        Ending::Flush => Ok(()),
        // If upload-pack dies inside a 200 response, git would wait forever, and the helper for git's next request.
        other => Err(incomplete(session, other)),
    }
}
