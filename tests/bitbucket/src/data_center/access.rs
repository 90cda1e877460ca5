//! Who asks a Data Center, what they may do, and how a refusal looks to git.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::{is_listed, settings::DataCenter};
use crate::access::Credentials;
use crate::git::Repository;
use crate::oauth::{Token, TokenKind};
use crate::page::{self, Answer};
use crate::site::Site;

/// The user name that newer versions take for project and repository tokens.
const TOKEN_USER: &str = "x-token-auth";
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Atlassian Bitbucket\"");

/// The parts of the site that treat tokens differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Git and git-lfs.
    Scm,
    /// REST.
    Rest,
    /// Pages for people.
    Pages,
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No credentials, or wrong ones.
    Unauthorized,
    /// Basic authentication is switched off.
    BasicOff,
    /// The account is locked.
    Captcha,
    /// The user asks too often.
    Limited,
    /// No such repository, or no right to read it.
    Missing,
    /// No right to write.
    Forbidden,
    /// The license has expired.
    Expired,
    /// A mirror takes no pushes.
    Mirror,
    /// Git LFS is off.
    LfsOff,
}

impl Refusal {
    /// The status in answers that are no protocol of git.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::Captcha => StatusCode::UNAUTHORIZED,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::BasicOff | Self::Forbidden | Self::Expired | Self::Mirror | Self::LfsOff => {
                StatusCode::FORBIDDEN
            }
        }
    }

    pub(super) fn text(self, base_url: &str) -> String {
        let text = match self {
            Self::Unauthorized => {
                "Authentication failed. Please check your credentials and try again."
            }
            Self::BasicOff => "Basic Authentication has been disabled on this instance.",
            Self::Captcha => {
                return format!(
                    "CAPTCHA required\nYour Bitbucket account has been locked. To unlock it and log in again you must\n\
                     solve a CAPTCHA. This is typically caused by too many attempts to login with an\n\
                     incorrect password. The account lock prevents your SCM client from accessing\n\
                     Bitbucket and its mirrors until it is solved, even if you enter your password\n\
                     correctly.\n\nVisit Bitbucket at {base_url} for more details."
                );
            }
            Self::Limited => "Rate limited: you have made too many requests.",
            Self::Missing => {
                "Repository not found\nThe requested repository does not exist, or you do not have permission to\n\
                 access it."
            }
            Self::Forbidden => "You are not permitted to access this resource.",
            Self::Expired => "Pushing is disabled\nThe license of this Bitbucket has expired.",
            Self::Mirror => "This is a mirror\nPush to the primary server.",
            Self::LfsOff => "Git LFS is disabled for this repository.",
        };
        text.to_owned()
    }

    /// The answer for git: text with a status, or an `ERR` packet line (gitprotocol-pack(5)) with status 200.
    pub(super) fn for_git(self, site: &Site, content_type: &str) -> Answer {
        let text = self.text(&site.base_url());
        match self {
            Self::Captcha | Self::Missing | Self::Expired | Self::Mirror => {
                err(&text, content_type)
            }
            Self::Unauthorized
            | Self::BasicOff
            | Self::Limited
            | Self::Forbidden
            | Self::LfsOff => self.marked(page::text(self.status(), &text)),
        }
    }

    /// Adds the headers that the status asks for.
    pub(super) fn marked(self, mut answer: Answer) -> Answer {
        let headers = answer.headers_mut();
        match self {
            Self::Unauthorized | Self::Captcha => {
                headers.insert(WWW_AUTHENTICATE, CHALLENGE);
            }
            Self::Limited => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::BasicOff
            | Self::Missing
            | Self::Forbidden
            | Self::Expired
            | Self::Mirror
            | Self::LfsOff => {}
        }
        answer
    }
}

fn err(text: &str, content_type: &str) -> Answer {
    let line = format!("ERR {text}\n");
    let mut answer = page::text(StatusCode::OK, &format!("{:04x}{line}", line.len() + 4));
    let content_type = HeaderValue::from_str(content_type);
    answer.headers_mut().insert(
        CONTENT_TYPE,
        content_type.expect("because the names of services are printable ASCII"),
    );
    answer
}

/// The owner of the credentials; `None` without one.
pub(super) fn caller(
    site: &Site,
    credentials: &Credentials,
    place: Place,
) -> Result<Option<Token>, Refusal> {
    let settings = site.settings().data_center;
    let token = match credentials {
        Credentials::Anonymous => return Ok(None),
        Credentials::Malformed => return Err(Refusal::Unauthorized),
        Credentials::Bearer(secret) => {
            token(site, &settings, secret, place).ok_or(Refusal::Unauthorized)?
        }
        Credentials::Basic { user, secret } => basic(site, &settings, user, secret, place)?,
    };
    let now = site.clock.now_unix_s();
    let limit = settings.rate_limit;
    match limit.is_none_or(|limit| site.accounts.take_request(&token.user, limit, now)) {
        true => Ok(Some(token)),
        false => Err(Refusal::Limited),
    }
}

/// The live token of this secret, where it counts.
fn token(site: &Site, settings: &DataCenter, secret: &str, place: Place) -> Option<Token> {
    let token = site.oauth.token(secret, site.clock.now_unix_s())?;
    let counts = match place {
        Place::Scm => token.kind != TokenKind::Service || settings.service_accounts_on_scm,
        Place::Rest => true,
        Place::Pages => settings.tokens_everywhere,
    };
    counts.then_some(token)
}

/// Basic authentication; an attempt that fails counts against the account.
fn basic(
    site: &Site,
    settings: &DataCenter,
    user: &str,
    secret: &str,
    place: Place,
) -> Result<Token, Refusal> {
    if !settings.basic_authentication {
        return Err(Refusal::BasicOff);
    }
    let failed = site.accounts.failed_attempts(user);
    if settings.captcha_after.is_some_and(|most| failed >= most) {
        return Err(Refusal::Captcha);
    }
    let token = password(settings, user, secret).or_else(|| {
        token(site, settings, secret, place).filter(|token| fits(settings, token, user))
    });
    token.ok_or_else(|| {
        site.accounts.failed(user);
        Refusal::Unauthorized
    })
}

/// Whether a token counts as this user's password.
fn fits(settings: &DataCenter, token: &Token, user: &str) -> bool {
    match token.kind {
        TokenKind::Access | TokenKind::Service => !user.is_empty(),
        TokenKind::Api => user.eq_ignore_ascii_case(&token.user),
        TokenKind::Resource => settings.resource_tokens_over_basic && user == TOKEN_USER,
    }
}

/// What a person may do who comes with the right password.
pub(super) fn password(settings: &DataCenter, user: &str, secret: &str) -> Option<Token> {
    let is_right = user.eq_ignore_ascii_case(&settings.user) && secret == settings.password;
    is_right.then(|| Token {
        kind: TokenKind::Api,
        scopes: vec!["REPO_ADMIN".to_owned()],
        user: settings.user.clone(),
        grant: None,
        workspaces: None,
        expires_at_unix_s: None,
        revoked: false,
    })
}

/// Lets somebody read a repository, or write to it, or says why not.
pub(super) fn permit(
    site: &Site,
    caller: Option<&Token>,
    repository: &Repository,
    write: bool,
) -> Result<(), Refusal> {
    let settings = site.settings().data_center;
    let is_public = site.exists(repository) && is_listed(&settings.public_repositories, repository);
    let Some(token) = caller else {
        let may = is_public && !write;
        return may.then_some(()).ok_or(Refusal::Unauthorized);
    };
    let may_read = token.may_read() && reaches(token, repository) && site.exists(repository);
    if !may_read && !is_public {
        return Err(Refusal::Missing);
    }
    match write {
        true if site.is_mirror => Err(Refusal::Mirror),
        true if !may_read || !token.may_write() => Err(Refusal::Forbidden),
        true if settings.license_expired => Err(Refusal::Expired),
        _ => Ok(()),
    }
}

/// A token reaches everything, or the projects and repositories that are named.
fn reaches(token: &Token, repository: &Repository) -> bool {
    let Repository { workspace, slug } = repository;
    let name = format!("{workspace}/{slug}");
    token.workspaces.as_ref().is_none_or(|reached| {
        reached.iter().any(|reached| {
            reached.eq_ignore_ascii_case(workspace) || reached.eq_ignore_ascii_case(&name)
        })
    })
}
