//! What is asked of a site's REST API: the account of a token, and for `doctor`, what keeps git from working.

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::{address::Address, failure::quote, url::Url};

/// What to do about an account that is locked after failed logins.
pub(super) const LOCKED: &str = "Bitbucket has locked the account after failed logins: remove the wrong password from the program that sends it, \
                                 then log in to Bitbucket in a browser and answer the CAPTCHA";
/// What to do about a sign-on gateway, an unavailable server, and an address without a server.
pub(super) const GATEWAY: &str = "a sign-on gateway may be in front of Bitbucket, and git cannot log in there: ask the administrator to exempt '/scm' and '/rest', or set bbtoken.<profile>.baseUrl to an address without the gateway";
pub(super) const MAINTENANCE: &str =
    "Bitbucket is starting or in maintenance; try again in a few minutes, or ask its administrator";
pub(super) const NO_SERVER: &str = "there is no git server at this address: check bbtoken.<profile>.baseUrl; it is the part of Bitbucket's addresses before '/scm' or '/projects'";
/// A question of git-lfs about an object that does not exist ("Git LFS Batch API").
const BATCH: &str = r#"{"operation":"download","objects":[{"oid":"0000000000000000000000000000000000000000000000000000000000000000","size":1}]}"#;

type Ask<'s> = dyn Fn(&str, Sent, Option<&'static str>) -> Option<Reply> + 's;

/// The subject of the questions.
pub(crate) struct Subject<'s> {
    /// The base URL.
    pub(crate) base: &'s Url,
    /// The repository.
    pub(crate) repository: Option<&'s Address>,
    /// Whether the site has accepted the token. Else no question has a token.
    pub(crate) is_accepted: bool,
    /// Asks at a path below the base URL, with a body if the question is one of git-lfs. `None` without a response,
    /// because other checks tell why.
    pub(crate) ask: &'s Ask<'s>,
}

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There is none.
    Nowhere,
    /// As by the native transport.
    Usual,
    /// As by programs that send passwords only.
    Password,
}

/// A response of the REST API.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; null if it is no JSON.
    pub(crate) body: Value,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// It works.
    Good,
    /// Some uses do not work.
    Note,
    /// Nothing works.
    Problem,
}

/// A result.
#[derive(Debug)]
pub(crate) struct Examined {
    /// How bad it is.
    pub(crate) level: Level,
    /// For the user.
    pub(crate) text: String,
    /// For a public report.
    pub(crate) public: &'static str,
    /// What to do.
    pub(crate) fix: Option<&'static str>,
}

fn examined(
    level: Level,
    text: impl Into<String>,
    public: &'static str,
    fix: Option<&'static str>,
) -> Examined {
    Examined {
        level,
        text: text.into(),
        public,
        fix,
    }
}

/// Examines a Data Center.
pub(super) fn of_data_center(subject: &Subject<'_>) -> Vec<Examined> {
    const PROPERTIES: &str = "rest/api/latest/application-properties";
    let usual = |path: &str, body| (subject.ask)(path, Sent::Usual, body);
    let Some(reply) = (subject.ask)(PROPERTIES, Sent::Nowhere, None) else {
        return Vec::new();
    };
    let mut found = vec![server(&reply)];
    if reply.status != 200 || !subject.is_accepted {
        return found;
    }
    found.extend((subject.ask)(PROPERTIES, Sent::Password, None).and_then(|it| password(&it)));
    if let Some(address) = subject.repository {
        let (project, name) = (&address.workspace, &address.repository);
        let rest = format!("rest/api/latest/projects/{project}/repos/{name}");
        found.extend(usual(&rest, None).and_then(|it| base_url(&it, subject.base)));
        let batch = format!("scm/{address}.git/info/lfs/objects/batch");
        found.extend(usual(&batch, Some(BATCH)).and_then(|it| lfs(&it)));
    }
    found
}

fn server(reply: &Reply) -> Examined {
    let version = reply.body.get("version").and_then(Value::as_str);
    let (text, public, fix) = match (reply.status, version) {
        (200, Some(version)) => {
            let text = format!("Bitbucket Data Center {}", quote(version));
            return examined(Level::Good, text, "version known", None);
        }
        (300..=399, _) => (
            "it redirects its REST API to another page",
            "redirected",
            GATEWAY,
        ),
        (503, _) => ("it answers 503", "unavailable", MAINTENANCE),
        _ => ("it does not tell its version", "version unknown", NO_SERVER),
    };
    examined(Level::Problem, text, public, Some(fix))
}

/// Tells whether Bitbucket accepts the token as a password.
fn password(reply: &Reply) -> Option<Examined> {
    let is_locked = reply.body.to_string().to_lowercase().contains("captcha");
    let fails = "git-lfs, plain https addresses and git's own transport do not work";
    let (text, public, fix) = match reply.status {
        200 => {
            let text = "Basic authentication works, which git-lfs and plain https addresses need";
            return Some(examined(Level::Good, text, "Basic works", None));
        }
        401 | 403 if is_locked => {
            let text = "the account is locked for Basic authentication";
            return Some(examined(Level::Problem, text, "locked", Some(LOCKED)));
        }
        403 => (
            "Basic authentication is switched off",
            "Basic is off",
            "use bbtoken:: addresses without bbtoken.transport=git; for git-lfs, ask the administrator to allow Basic authentication for '/scm' and '/rest/git-lfs'",
        ),
        401 => (
            "Bitbucket does not accept this token as a password",
            "no Basic for this token",
            "to use these, log in with an HTTP access token of your own account",
        ),
        _ => return None,
    };
    let text = format!("{text}: {fails}");
    Some(examined(Level::Note, text, public, Some(fix)))
}

/// Compares the base URL with the one from which Bitbucket makes addresses.
fn base_url(reply: &Reply, base: &Url) -> Option<Examined> {
    let links = reply.body.pointer("/links/clone")?.as_array()?;
    let http = links.iter().find(|link| link["name"] == "http")?;
    let mut believed = Url::parse(http["href"].as_str()?).ok()?;
    let path = believed.path().rsplit_once("/scm/")?.0.to_owned();
    believed.set_path(&path);
    // Only URLs without a host cannot lose a user.
    let _ = believed.set_username("");
    let believed = believed.as_str().trim_end_matches('/');
    if believed == base.as_str().trim_end_matches('/') {
        return None;
    }
    let believed = quote(believed);
    let text = format!("its base URL is set to '{believed}', and git-lfs uses that address");
    let fix = "set bbtoken.<profile>.baseUrl to that address, or ask the administrator to correct the base URL (Administration, Server settings)";
    Some(examined(Level::Note, text, "another base URL", Some(fix)))
}

fn lfs(reply: &Reply) -> Option<Examined> {
    let said = reply.body.to_string().to_lowercase();
    let is_off =
        said.contains("lfs") && (said.contains("disabled") || said.contains("not enabled"));
    let text = "Git LFS is off for this repository: git-lfs can neither fetch nor push files";
    let fix = "ask an administrator of the repository to turn it on (repository settings, Large File Storage)";
    let found = || examined(Level::Note, text, "LFS is off", Some(fix));
    (reply.status >= 400 && is_off).then(found)
}
