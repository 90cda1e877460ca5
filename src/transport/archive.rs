//! `connect git-upload-archive`: one request, one response (git-upload-archive(1)).

use bytes::Bytes;

use super::{
    Broken, Connected, Git, Service, Session, Stage, advertisement,
    pktline::{self, Boundaries},
    rpc::copy,
    session::Repeat,
};
use crate::http::{Body, BodyReader, Request};

/// The first flush-pkt follows the acknowledgment, the second ends the archive (git: `cmd_archive` in
/// builtin/archive.c).
const FLUSHES: usize = 2;

/// Serves a remote archive, for servers that allow it over HTTP. Bitbucket allows it over SSH only.
///
/// Git uses protocol v2 here, and an archive has no advertisement. The advertisement for a fetch shows whether the
/// server supports v2 (git: `stateless_connect` in remote-curl.c).
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<Connected, Broken> {
    let advertisement = advertisement::discover(session).map_err(Broken::at(Stage::Connecting))?;
    if advertisement.is_none() {
        return Ok(Connected::NotVersion2);
    }
    let in_answer = Broken::at(Stage::InAnswer);
    git.write(b"\n").map_err(&in_answer)?;
    let request =
        pktline::read_section(git.input(), |_| {}).map_err(|error| in_answer(error.into()))?;
    let Some(request) = request.map(Bytes::from) else {
        return Ok(Connected::Finished);
    };
    let response = session.post(Service::UploadArchive, Repeat::Safe, &|post: Request| {
        let mut post = post.header("Git-Protocol", "version=2");
        post.body = Body::Bytes(request.clone());
        Ok(post)
    });
    let response = response.map_err(Broken::at(Stage::BeforeAnswer))?;
    copy(
        session,
        git,
        &mut BodyReader::new(response),
        Boundaries::default(),
        FLUSHES,
    )?;
    Ok(Connected::Finished)
}
