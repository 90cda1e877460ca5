//! The Bitbucket URLs of a profile, and those that an address is compared with.

use crate::{address::Address, site::Product, url::Url};

/// A site that an address is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The base URL of repositories.
    pub(crate) base: Url,
    /// The kind of Bitbucket.
    pub(crate) product: Product,
    /// The base URL of a mirror for fetches.
    pub(crate) mirror: Option<Url>,
    /// The host of ssh addresses, if it is another one.
    pub(crate) ssh_host: Option<String>,
}

impl Place {
    /// Gives the base URL without a slash at the end.
    pub(crate) fn web(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Gives what the https addresses of its repositories begin with.
    pub(crate) fn git(&self) -> String {
        format!("{}/{}", self.web(), self.product.facts().git_path)
    }

    /// Gives what its other addresses begin with.
    pub(crate) fn other_starts(&self) -> Vec<String> {
        let ssh_host = self.ssh_host.as_deref();
        self.product.other_starts(&self.base, ssh_host)
    }
}

/// The Bitbucket URLs of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// The kind of Bitbucket.
    pub(crate) product: Product,
    /// The base URL of repositories. Its path has no slash at the end.
    pub(crate) base: Url,
    /// The base URL of a mirror for fetches.
    pub(crate) mirror: Option<Url>,
    /// The token endpoint (RFC 6749 section 3.2).
    pub(crate) token: Url,
    /// The authorization endpoint (RFC 6749 section 3.1).
    pub(crate) authorize: Url,
}

impl Endpoints {
    /// Gives the URL of a repository, with one `.git` and no slash at the end.
    pub(crate) fn repository(&self, address: &Address) -> Url {
        self.repository_at(&self.base, address)
    }

    /// Gives the URL of a repository for fetches, which may be on a mirror.
    pub(crate) fn repository_to_fetch(&self, address: &Address) -> Url {
        self.repository_at(self.mirror.as_ref().unwrap_or(&self.base), address)
    }

    fn repository_at(&self, base: &Url, address: &Address) -> Url {
        let mut url = base.clone();
        let below = base.path().trim_end_matches('/');
        url.set_path(&format!(
            "{below}/{}",
            self.product.repository_path(address)
        ));
        url
    }
}
