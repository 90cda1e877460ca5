//! Converts addresses to `bbtoken::` addresses, and back.

use super::{App, target::parse_address};
use crate::{http::Url, profile};

impl App {
    /// Converts a Bitbucket address to a `bbtoken::` address, or back to an https address; `None` for any other.
    ///
    /// It also converts an address with a password, which removes the password from the configuration. A profile in the
    /// address becomes the user name of the https address.
    pub(crate) fn converted(&self, url: &str, back: bool) -> Option<String> {
        let is_ours = url.starts_with("bbtoken:");
        if is_ours != back {
            return None;
        }
        if is_ours {
            let (target, address) = self.target(None, url).ok()?;
            let base = target.profile().map(|profile| profile.endpoints.base);
            let mut base = base.unwrap_or_else(|_| self.base().clone());
            if let Some(profile) = &address.profile {
                base.set_username(profile).ok()?;
            }
            let base = base.as_str().trim_end_matches('/');
            return Some(format!("{base}/{address}.git"));
        }
        // Anything else is a path, perhaps relative to the repository.
        if !url.split('/').next().unwrap_or("").contains(':') {
            return None;
        }
        let address = parse_address(&self.git, None, &without_password(url), &self.places).ok()?;
        let profile = self.profile_in(url).map(|name| format!("{name}@"));
        Some(format!("bbtoken::{}{address}", profile.unwrap_or_default()))
    }

    /// Finds the profile that the user name of an https address names. Bitbucket's pages show addresses with the user's
    /// own name there.
    fn profile_in(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let is_web = matches!(url.scheme(), "https" | "http");
        let names = profile::names(&self.raw).into_iter();
        names.filter(|_| is_web).find(|name| name == url.username())
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => format!("{scheme}://{host}/{path}"),
        _ => url.to_owned(),
    }
}
