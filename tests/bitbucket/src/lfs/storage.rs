//! The basic transfer: objects up and down, a part of one when asked ("Git LFS Basic Transfer API").

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use hyper::header::{CONTENT_RANGE, HeaderValue, RANGE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use ring::digest::{Context, SHA256};
use tempfile::NamedTempFile;

use super::problem;
use crate::git::{Repository, header};
use crate::page::{self, Answer};
use crate::random;
use crate::reply::{Payload, Upload};
use crate::site::Site;

/// Where an object is kept; `None` if this is no object's name.
pub(super) fn path(site: &Site, repository: &Repository, oid: &str) -> Option<PathBuf> {
    let is_oid = oid.len() == 64 && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_oid.then(|| site.path(repository).join("lfs/objects").join(oid))
}

pub(super) async fn answer(
    site: &Site,
    repository: &Repository,
    oid: &str,
    parts: &Parts,
    upload: Upload,
) -> Answer {
    let Some(path) = path(site, repository, oid) else {
        return problem(StatusCode::NOT_FOUND, "Not found");
    };
    let outcome = match parts.method {
        Method::GET => send(&path, header(&parts.headers, RANGE.as_str()).as_deref()),
        Method::PUT => receive(path, oid, upload).await,
        _ => return problem(StatusCode::METHOD_NOT_ALLOWED, "GET or PUT"),
    };
    outcome.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => problem(StatusCode::NOT_FOUND, "Object does not exist"),
        io::ErrorKind::InvalidData => problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        _ => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    })
}

fn send(path: &PathBuf, range: Option<&str>) -> io::Result<Answer> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let start = range.and_then(start_of).filter(|start| *start < size);
    file.seek(SeekFrom::Start(start.unwrap_or(0)))?;
    let left = size - start.unwrap_or(0);
    let mut answer = Response::new(Payload::File(file.take(left)));
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{size}", size - 1);
        let range = HeaderValue::from_str(&range).expect("because digits are printable ASCII");
        answer.headers_mut().insert(CONTENT_RANGE, range);
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// The first byte of `bytes=N-…`, which is all that git-lfs asks for (RFC 9110 section 14.1.2).
fn start_of(range: &str) -> Option<u64> {
    let (start, _) = range.strip_prefix("bytes=")?.split_once('-')?;
    start.parse().ok()
}

/// Keeps what comes if it is what its name says.
async fn receive(path: PathBuf, oid: &str, mut upload: Upload) -> io::Result<Answer> {
    let directory = path.parent().expect("because objects are in a directory");
    fs::create_dir_all(directory)?;
    let mut file = NamedTempFile::new_in(directory)?;
    let mut digest = Context::new(&SHA256);
    while let Some(piece) = upload.piece().await {
        let piece = piece.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        digest.update(&piece);
        file.write_all(&piece)?;
    }
    if random::hexadecimal(digest.finish().as_ref()) != oid {
        let message = "the content is not the object's";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    file.persist(path)?;
    Ok(page::empty(StatusCode::OK))
}
