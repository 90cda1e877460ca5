//! An exchange beside those that are waited for: it moves on while they do.

use std::rc::Rc;

use bytes::Bytes;
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    Begun, HeaderMap, Response, ResponseBody, TransportError, gzip::unpacked,
    pool::notice_closed_connections,
};

/// After so much of an answer its rest is left out.
const MAX_BODY_BYTES: usize = 1024 * 1024;

type Answer = (u16, HeaderMap, Bytes);

/// An exchange under way.
pub(super) struct Beside {
    runtime: Rc<Runtime>,
    task: JoinHandle<reqwest::Result<Answer>>,
}

impl Beside {
    pub(super) fn start(
        runtime: &Rc<Runtime>,
        client: reqwest::Client,
        request: reqwest::Request,
    ) -> Self {
        Beside {
            task: runtime.spawn(exchange(client, request)),
            runtime: Rc::clone(runtime),
        }
    }
}

async fn exchange(client: reqwest::Client, request: reqwest::Request) -> reqwest::Result<Answer> {
    let mut answer = client.execute(request).await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await?
        && body.len() < MAX_BODY_BYTES
    {
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, Bytes::from(body)))
}

impl Begun for Beside {
    fn finished(self: Box<Self>) -> Option<Response> {
        // What has arrived since the last call is seen, and nothing is waited for.
        self.runtime.block_on(notice_closed_connections());
        if !self.task.is_finished() {
            self.task.abort();
            return None;
        }
        let (status, headers, body) = self.runtime.block_on(self.task).ok()?.ok()?;
        let body = unpacked(&headers, "", Whole(Some(body)));
        Some(Response::new(status, headers, body))
    }
}

/// A body that is there already.
struct Whole(Option<Bytes>);

impl ResponseBody for Whole {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.take())
    }
}
