//! Where a repository is, and what its server says of itself: `info/refs` (gitprotocol-http(5)).

use super::{Repeat, Session, below, redirect};
use crate::{
    failure::quote,
    http::{Request, Response, Url},
    transport::Service,
};

/// How many redirects of `info/refs` are followed before it counts as a loop (git: `CURLOPT_MAXREDIRS` 20).
const MAX_REDIRECTS: usize = 20;

impl Session<'_> {
    /// Finds out whether the repository can be used by a service, and where it is now; `protocol` is what git will speak.
    ///
    /// # Errors
    ///
    /// When the server refuses, or cannot be reached.
    pub(crate) fn probe(&mut self, service: Service, protocol: Option<&str>) -> anyhow::Result<()> {
        match service {
            Service::UploadPack | Service::ReceivePack => {
                self.discover(service, protocol).map(drop)
            }
            // It has no advertisement.
            Service::UploadArchive => Ok(()),
        }
    }

    /// Asks for a service's ref advertisement (gitprotocol-http(5), "Smart Clients"), following redirects on the host.
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

    /// Asks for a service's ref advertisement; the repository is then where the server redirects to.
    fn find(&mut self, service: Service, protocol: Option<&str>) -> anyhow::Result<Response> {
        for _ in 0..MAX_REDIRECTS {
            let url = discovery_url(&self.repository, service);
            let response =
                self.exchange(Repeat::Safe, service, &|| Ok(discovery(&url, protocol)))?;
            let (301 | 302 | 303 | 307 | 308) = response.status else {
                return Ok(response);
            };
            let location = response.header("location").unwrap_or("");
            let place = redirect::follow(&url, location)
                .map_err(|unfollowed| self.no_git(&unfollowed.to_string()))?;
            if let Some(ban) = self.redirect_ban {
                return Err(self.unfollowed(&place, ban));
            }
            self.repository = place;
            self.was_moved = true;
        }
        Err(self.no_git("it redirects without end"))
    }

    /// Tells where the repository is, if it was looked for elsewhere (git: `discover_refs` in remote-curl.c).
    fn tell_of_redirect(&self) {
        if let Some(voice) = self
            .voice
            .filter(|voice| self.was_moved && voice.verbosity > 0)
        {
            (voice.warn)(&format!(
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
