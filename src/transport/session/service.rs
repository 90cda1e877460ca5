//! Requests to a git service, and the check that a git server answers.

use std::io::{BufRead as _, Read as _};

use super::{refusal::title, repeat::Repeat, state::Session};
use crate::{
    failure::quote,
    http::{Body, BodyReader, Request, Response},
    transport::{git::Service, pktline::decode},
    url::Url,
};

/// The part of an HTML page that is searched for its title.
const MAX_PAGE_BYTES: u64 = 4096;

impl Session<'_> {
    /// Posts a request to a service (gitprotocol-http(5)) and returns when the response starts.
    pub(in crate::transport) fn post(
        &mut self,
        service: Service,
        repeat: Repeat<'_>,
        request: &dyn Fn(Request) -> anyhow::Result<Request>,
    ) -> anyhow::Result<Response> {
        let url = below(&self.repository, service.name());
        let protocol = self
            .push_protocol
            .filter(|_| service == Service::ReceivePack);
        let response = self.exchange(repeat, service, &|| {
            let post = Request::post(url.clone(), Body::Empty)
                .header(
                    "Content-Type",
                    format!("application/x-{}-request", service.name()),
                )
                .header("Accept", format!("application/x-{}-result", service.name()));
            request(match protocol {
                Some(protocol) => post.header("Git-Protocol", protocol),
                None => post,
            })
        })?;
        self.expect(response, service, "result")
    }

    /// Checks the type of a response, because portals and sign-on pages also answer 200 (gitprotocol-http(5)).
    ///
    /// Git checks the type of an advertisement only (git: `check_smart_http` in remote-curl.c). So any other response
    /// may have another type if it starts with a pkt-line. Else a successful push would be reported as refused.
    pub(super) fn expect(
        &self,
        response: Response,
        service: Service,
        kind: &str,
    ) -> anyhow::Result<Response> {
        let expected = format!("application/x-{}-{kind}", service.name());
        let found = response.header("content-type").unwrap_or("nothing");
        let found = found.split(';').next().unwrap_or("").trim();
        if found.eq_ignore_ascii_case(&expected) {
            return Ok(response);
        }
        let found = quote(found);
        let _armed = self.watch.arm();
        let (status, headers) = (response.status, response.headers.clone());
        let mut body = BodyReader::new(response);
        let start = body.fill_buf().map_err(|error| self.bad_answer(error))?;
        let is_gits = start.first_chunk().copied().and_then(decode).is_some();
        if is_gits && kind != "advertisement" {
            return Ok(Response::new(status, headers, Box::new(body)));
        }
        let mut page = Vec::new();
        // A part of a page is good enough.
        let _ = body.take(MAX_PAGE_BYTES).read_to_end(&mut page);
        let whose = match title(&String::from_utf8_lossy(&page)) {
            Some(title) => format!(", a page titled '{title}',"),
            None => String::new(),
        };
        Err(self.not_git(&format!(
            "it answered with '{found}'{whose} instead of '{expected}'"
        )))
    }
}

/// Gives a URL below a repository's.
pub(super) fn below(repository: &Url, path: &str) -> Url {
    let mut url = repository.clone();
    url.set_path(&format!(
        "{}/{path}",
        repository.path().trim_end_matches('/')
    ));
    url
}
