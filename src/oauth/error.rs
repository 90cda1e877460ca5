//! The reasons for a missing token.

use std::fmt;

use crate::{failure::quote, http::TransportError};

/// The reason for a missing token.
#[derive(Debug)]
pub(crate) enum Error {
    /// The endpoint could not be reached, or its response broke off.
    Transport(TransportError),
    /// The endpoint refused the request (RFC 6749 section 5.2).
    Refused(Refusal),
    /// The endpoint failed, with an error in OAuth's format.
    Failed(Refusal),
    /// The token has another type than `bearer` (RFC 6749 section 7.1).
    OtherType(String),
    /// The endpoint is busy, or a gateway could not reach it (status 429 or 502 to 504).
    Busy {
        /// The status code.
        status: u16,
        /// The value of `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
        /// The endpoint's description.
        said: Option<String>,
    },
    /// The response is neither a token nor an error: HTML, truncated JSON, nothing, or a redirect.
    Unusable {
        /// The status code.
        status: u16,
        /// The reason, without any text of the response.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Transport(error) => error.fmt(f),
            Error::Refused(refusal) | Error::Failed(refusal) => refusal.fmt(f),
            Error::OtherType(kind) => write!(
                f,
                "the token endpoint returned a token of type '{kind}' instead of 'bearer'"
            ),
            Error::Busy {
                status,
                retry_after_s,
                said,
            } => {
                write!(f, "the token endpoint answered {status}")?;
                match (status, retry_after_s) {
                    (_, Some(seconds @ 1..)) => write!(f, " and asks to wait {seconds} seconds"),
                    (429, _) => f.write_str(", too many requests"),
                    _ => f.write_str(", not available"),
                }?;
                match said.as_deref() {
                    Some("") | None => Ok(()),
                    Some(said) => write!(f, ": {}", quote(said)),
                }
            }
            Error::Unusable { status, why } => {
                write!(f, "the token endpoint answered {status} with {why}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Transport(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

/// An error response of the endpoint (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status code, usually 400 or 401.
    pub(crate) status: u16,
    /// The error code, for example `invalid_grant`.
    pub(crate) error: String,
    /// The endpoint's description; empty if there is none.
    pub(crate) description: String,
}

impl Refusal {
    /// Tells whether the endpoint refused the client, not the code or refresh token.
    pub(crate) fn is_of_client(&self) -> bool {
        let said = self.description.to_ascii_lowercase();
        let codes = [
            "unauthorized_client",
            "invalid_client",
            "unsupported_grant_type",
            "invalid_scope",
        ];
        // A malformed request does not mean that the code or token is invalid, unless the description says so.
        let is_malformed = self.error == "invalid_request"
            && !["refresh", "code"].iter().any(|word| said.contains(word));
        codes.contains(&self.error.as_str())
            || is_malformed
            || ["callback uri", "grant type", "consumer"]
                .iter()
                .any(|word| said.contains(word))
    }

    /// Tells whether the endpoint does not know the client or its secret. Bitbucket uses `unauthorized_client` for
    /// that. In RFC 6749, this code is for a known client that may not use the grant.
    pub(crate) fn is_of_credentials(&self) -> bool {
        let said = self.description.to_ascii_lowercase();
        self.error == "invalid_client"
            || self.error == "unauthorized_client" && said.contains("client credentials")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            status,
            error,
            description,
        } = self;
        write!(f, "the token endpoint answered {status}, {}", quote(error))?;
        match description.as_str() {
            "" => Ok(()),
            description => write!(f, ": {}", quote(description)),
        }
    }
}
