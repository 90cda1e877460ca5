//! The error statuses of the git server, and what they mean at any site.

use crate::failure::{Kind, Renewal};

/// An error status of the git server.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The server's host.
    pub(crate) host: &'a str,
    /// The server's message, in lower case.
    pub(crate) said: String,
    /// Whether the message is an HTML page.
    pub(crate) is_page: bool,
    /// Whether git wants to push.
    pub(crate) is_push: bool,
    /// The repository's address.
    pub(crate) address: &'a str,
    /// How to replace a refused token.
    pub(crate) renewal: Option<Renewal>,
}

impl Answer<'_> {
    pub(super) fn speaks_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.said.contains(word))
    }

    /// The meaning of a status at any site.
    pub(super) fn usual(self) -> Kind {
        let host = self.host.to_owned();
        match self.status {
            401 | 404 => Kind::AccessRefused {
                address: self.address.to_owned(),
                renewal: self.renewal.filter(|_| self.status == 401),
            },
            407 => Kind::Unreachable { host },
            413 if self.is_push => Kind::TooLarge,
            429 | 503 => Kind::Busy,
            500.. => Kind::ServerFailed { host },
            _ => Kind::Refused,
        }
    }
}

/// Makes the kind of a refusal with its own hint.
pub(super) fn refused(remedy: impl Into<String>) -> Kind {
    let remedy = remedy.into();
    Kind::SiteRefused { remedy }
}

pub(super) fn unavailable(remedy: &str) -> Kind {
    let remedy = remedy.to_owned();
    Kind::SiteUnavailable { remedy }
}
