//! The HTTP clients of one command.

use std::cell::OnceCell;

use super::proxy_login::GitLogins;
use crate::{
    failure::{Failure, Kind},
    git_config::HttpSettings,
    http::{Client, Family},
    limits,
    url::Url,
};

/// The `User-Agent` header of the helper. Bitbucket looks for `git/` in it.
pub(super) const USER_AGENT: &str = concat!("git/2 git-remote-bbtoken/", env!("CARGO_PKG_VERSION"));

/// HTTP clients, one for each origin and its settings. The first request creates each of them.
pub(super) struct Clients {
    /// Whether the user forbids questions.
    no_questions: bool,
    family: OnceCell<Family>,
    first: OnceCell<Box<Link>>,
}

/// A client, and the one that was created after it. References to a client stay valid while others are added.
struct Link {
    url: Url,
    client: Client,
    next: OnceCell<Box<Link>>,
}

impl Clients {
    pub(super) fn new(no_questions: bool) -> Self {
        Clients {
            no_questions,
            family: OnceCell::new(),
            first: OnceCell::new(),
        }
    }

    /// Limits connections to one address family, before the first request.
    pub(super) fn keep_to(&self, family: Family) {
        debug_assert!(self.first.get().is_none(), "a client has no limit");
        self.family.get_or_init(|| family);
    }

    /// Gives the client for a URL's origin, which follows git's settings and asks for a proxy's login as git does.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    pub(super) fn of(&self, url: &Url, http: &HttpSettings) -> anyhow::Result<&Client> {
        let mut place = &self.first;
        while let Some(link) = place.get() {
            if link.url.origin() == url.origin() && link.client.follows(&http.settings) {
                return Ok(&link.client);
            }
            place = &link.next;
        }
        let link = Box::new(Link {
            url: url.clone(),
            client: self.create(http)?,
            next: OnceCell::new(),
        });
        Ok(&place.get_or_init(|| link).client)
    }

    fn create(&self, http: &HttpSettings) -> anyhow::Result<Client> {
        let client = Client::new(&http.settings, USER_AGENT, self.family.get().copied());
        let client = client.map_err(|error| match limits::remedy(&error) {
            Some(_) => error,
            None => error.context(Failure::new(
                Kind::Misconfigured,
                "cannot apply git's http settings",
            )),
        })?;
        Ok(client.with_proxy_logins(Box::new(GitLogins {
            no_questions: self.no_questions,
        })))
    }
}
