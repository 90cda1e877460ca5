//! Creates HTTP clients.

use super::proxy_login::GitLogins;
use crate::{
    failure::{Failure, Kind},
    git_config::HttpSettings,
    http::Client,
    limits,
};

/// The `User-Agent` header of the helper. Bitbucket looks for `git/` in it.
pub(super) const USER_AGENT: &str = concat!("git/2 git-remote-bbtoken/", env!("CARGO_PKG_VERSION"));

/// Creates a client that follows git's settings and asks for a proxy's login as git does.
pub(super) fn client(http: &HttpSettings) -> anyhow::Result<Client> {
    let client = Client::new(&http.settings, USER_AGENT);
    let client = client.map_err(|error| match limits::remedy(&error) {
        Some(_) => error,
        None => error.context(Failure::new(
            Kind::Misconfigured,
            "cannot apply git's http settings",
        )),
    })?;
    Ok(client.with_proxy_logins(Box::new(GitLogins)))
}
