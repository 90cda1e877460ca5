//! Who asks: credentials as they were sent, and what git may do with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::git::Repository;
use crate::journal::Scheme;
use crate::oauth::{Token, TokenKind};
use crate::page::{self, Answer};
use crate::random;
use crate::site::Site;

/// The user name for OAuth access tokens and for resource tokens (Bitbucket: "OAuth 2.0", "Using access tokens").
const TOKEN_USER: &str = "x-token-auth";
/// What app passwords begin with.
const APP_PASSWORD_PREFIX: &str = "ATBB";
/// The longest user name that is recorded as it is; a longer one may be a token in the wrong place.
const MAX_SHOWN_USER: usize = 64;

pub(crate) const NO_ACCESS: &str = "You may not have access to this repository or it no longer exists in this workspace. \
    If you think this repository exists and you have access, make sure you are authenticated.";
pub(crate) const SCOPE_MISSING: &str =
    "Your credentials lack one or more required privilege scopes.";
const APP_PASSWORDS_GONE: &str =
    "App passwords are deprecated and must be replaced with API tokens.";

/// The `Authorization` header, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// There is no such header.
    Anonymous,
    /// RFC 7617.
    Basic { user: String, secret: String },
    /// RFC 6750 section 2.1.
    Bearer(String),
    /// Another scheme, a broken one, or more than one header.
    Malformed,
}

impl Credentials {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Anonymous,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(Self::parse)
                .unwrap_or(Self::Malformed),
            (Some(_), Some(_)) => Self::Malformed,
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (user, secret) = decoded.split_once(':')?;
        Some(Self::Basic {
            user: user.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The fingerprint of the secret in them.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Basic { secret, .. } | Self::Bearer(secret) => Some(random::fingerprint(secret)),
            Self::Anonymous | Self::Malformed => None,
        }
    }

    /// What is recorded of them; never a secret, also not one sent as user name.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Basic { user, .. }
                if user.len() > MAX_SHOWN_USER
                    || user.starts_with("AT")
                    || user.starts_with("BBDC-") =>
            {
                Some("(not shown)".to_owned())
            }
            Self::Basic { user, .. } => Some(user.clone()),
            Self::Bearer(_) => Some("Bearer".to_owned()),
            Self::Malformed => Some("(malformed)".to_owned()),
        }
    }
}

impl From<&Credentials> for Scheme {
    fn from(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Anonymous => Self::None,
            Credentials::Basic { .. } => Self::Basic,
            Credentials::Bearer(_) => Self::Bearer,
            Credentials::Malformed => Self::Malformed,
        }
    }
}

/// Why a git request is not let through.
pub(crate) struct Refusal(StatusCode, &'static str);

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        self.0
    }

    pub(crate) fn text(&self) -> &'static str {
        self.1
    }

    /// The answer; text that git shows to its user, and a challenge where other credentials may help.
    pub(crate) fn answer(self) -> Answer {
        let Self(status, text) = self;
        let mut answer = page::text(status, text);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Bitbucket.org HTTP\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

/// Lets a git request through as the user it returns, or says why not.
pub(crate) fn git_user(
    site: &Site,
    credentials: &Credentials,
    repository: &Repository,
    write: bool,
) -> Result<String, Refusal> {
    if *credentials == Credentials::Anonymous {
        return Err(Refusal(StatusCode::UNAUTHORIZED, "Authentication required"));
    }
    if matches!(credentials, Credentials::Basic { secret, .. } if secret.starts_with(APP_PASSWORD_PREFIX))
    {
        return Err(Refusal(StatusCode::GONE, APP_PASSWORDS_GONE));
    }
    let token = git_token(site, credentials).ok_or(Refusal(StatusCode::UNAUTHORIZED, NO_ACCESS))?;
    if !token.reaches(&repository.workspace) || !site.exists(repository) {
        let status = StatusCode::from_u16(site.settings().missing_repository_status);
        return Err(Refusal(
            status.unwrap_or(StatusCode::UNAUTHORIZED),
            NO_ACCESS,
        ));
    }
    let allowed = if write {
        token.may_write()
    } else {
        token.may_read()
    };
    if !allowed {
        return Err(Refusal(StatusCode::FORBIDDEN, SCOPE_MISSING));
    }
    Ok(credentials.shown().unwrap_or_default())
}

/// The live token, if it came in the way its kind asks for.
fn git_token(site: &Site, credentials: &Credentials) -> Option<Token> {
    let (secret, user) = match credentials {
        Credentials::Basic { user, secret } => (secret, Some(user)),
        Credentials::Bearer(secret) => (secret, None),
        Credentials::Anonymous | Credentials::Malformed => return None,
    };
    let token = site.oauth.token(secret, site.clock.now_unix_s())?;
    let fits = match (token.kind, user) {
        (TokenKind::Access | TokenKind::Service | TokenKind::Resource, Some(user)) => {
            user == TOKEN_USER
        }
        // The e-mail address is for REST only (Bitbucket: "Using API tokens").
        (TokenKind::Api, Some(user)) => {
            user != TOKEN_USER && !user.is_empty() && !user.contains('@')
        }
        (TokenKind::Access | TokenKind::Service, None) => true,
        (TokenKind::Api | TokenKind::Resource, None) => false,
    };
    fits.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_exactly_one_well_formed_header() {
        let cases: [(&[&str], Credentials); 6] = [
            (&[], Credentials::Anonymous),
            (
                &["Basic eDp5Ono="],
                Credentials::Basic {
                    user: "x".to_owned(),
                    secret: "y:z".to_owned(),
                },
            ),
            (&["bearer abc"], Credentials::Bearer("abc".to_owned())),
            (&["Basic eDp5", "Bearer abc"], Credentials::Malformed),
            (&["Basic !"], Credentials::Malformed),
            (&["JWT abc"], Credentials::Malformed),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(
                    AUTHORIZATION,
                    value.parse().expect("because the cases are header values"),
                );
            }
            assert_eq!(
                Credentials::of(&headers),
                expected,
                "'{values:?}' is read as it was sent"
            );
        }
    }

    #[test]
    fn a_token_sent_as_user_name_is_not_shown() {
        let misplaced = Credentials::Basic {
            user: "ATATT3xSecret".to_owned(),
            secret: String::new(),
        };
        assert_eq!(
            misplaced.shown().as_deref(),
            Some("(not shown)"),
            "a user name like a token is a secret"
        );
    }
}
