//! `connect git-upload-archive`: one request, one answer (git-upload-archive(1)).

use bytes::Bytes;

use super::{
    Broken, Git, Service, Session, Stage,
    body::BodyReader,
    fetch::copy,
    pktline::{self, Boundaries},
    session::Repeat,
};
use crate::http::{Body, Request};

/// Relays a remote archive, for servers that allow it over HTTP; Bitbucket does over SSH only.
pub(super) fn serve(session: &mut Session<'_>, git: &mut Git) -> Result<(), Broken> {
    let in_answer = Broken::at(Stage::InAnswer);
    git.write(b"\n").map_err(&in_answer)?;
    let request =
        pktline::read_section(git.input(), |_| {}).map_err(|error| in_answer(error.into()))?;
    let Some(request) = request.map(Bytes::from) else {
        return Ok(());
    };
    let response = session.post(
        Service::UploadArchive,
        Repeat::Safe,
        &|mut post: Request| {
            post.body = Body::Bytes(request.clone());
            Ok(post)
        },
    );
    let response = response.map_err(Broken::at(Stage::BeforeAnswer))?;
    copy(
        session,
        git,
        &mut BodyReader::new(response),
        Boundaries::default(),
    )?;
    Ok(())
}
