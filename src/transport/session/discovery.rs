//! Requests a repository's ref advertisement, `info/refs`, and follows its redirects (gitprotocol-http(5)).

use super::{redirect, repeat::Repeat, service::below, state::Session};
use crate::{
    failure::quote,
    http::{Request, Response},
    transport::git::Service,
    url::Url,
};

/// The limit of redirects for `info/refs` (git: `CURLOPT_MAXREDIRS` 20).
const MAX_REDIRECTS: usize = 20;

impl Session<'_> {
    /// Checks that a service can use the repository, and finds its current URL. `protocol` is git's protocol version.
    ///
    /// # Errors
    ///
    /// If the server refuses or cannot be reached.
    pub(crate) fn probe(&mut self, service: Service, protocol: Option<&str>) -> anyhow::Result<()> {
        self.discover(service, protocol).map(drop)
    }

    /// Requests a service's ref advertisement and checks its type (gitprotocol-http(5), "Smart Clients").
    pub(in crate::transport) fn discover(
        &mut self,
        service: Service,
        protocol: Option<&str>,
    ) -> anyhow::Result<Response> {
        let response = self.find(service, protocol)?;
        let response = self.expect(response, service, "advertisement")?;
        self.tell_of_redirect();
        Ok(response)
    }

    /// Requests a service's ref advertisement. After a redirect on the same host, the repository has the new URL.
    fn find(&mut self, service: Service, protocol: Option<&str>) -> anyhow::Result<Response> {
        for _ in 0..MAX_REDIRECTS {
            let url = discovery_url(&self.repository, service);
            let response =
                self.exchange(Repeat::Safe, service, &|| Ok(discovery(&url, protocol)))?;
            let (301 | 302 | 303 | 307 | 308) = response.status else {
                return Ok(response);
            };
            let location = response.header("location").unwrap_or("");
            let place =
                redirect::follow(&url, location).map_err(|unfollowed| self.astray(&unfollowed))?;
            if let Some(ban) = self.redirect_ban {
                return Err(self.unfollowed(&place, ban));
            }
            self.repository = place;
            self.was_moved = true;
        }
        Err(self.not_git("it redirects too often"))
    }

    /// Reports a redirect (git: `discover_refs` in remote-curl.c).
    fn tell_of_redirect(&self) {
        if let Some(reporter) = self
            .reporter
            .filter(|reporter| self.was_moved && reporter.verbosity > 0)
        {
            (reporter.warn)(&format!(
                "redirecting to {}/",
                quote(self.repository.as_str())
            ));
        }
    }
}

/// Makes the request for a service's ref advertisement (gitprotocol-http(5), "Smart Clients").
fn discovery(url: &Url, protocol: Option<&str>) -> Request {
    let request = Request::get(url.clone())
        .header("Accept", "*/*")
        .header("Pragma", "no-cache")
        .header("Accept-Encoding", "gzip");
    match protocol {
        Some(protocol) => request.header("Git-Protocol", protocol),
        None => request,
    }
}

fn discovery_url(repository: &Url, service: Service) -> Url {
    let mut url = below(repository, "info/refs");
    url.set_query(Some(&format!("service={}", service.name())));
    url
}
