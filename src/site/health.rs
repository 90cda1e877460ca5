//! What `doctor` asks a site beside the account of a token.

use serde_json::Value;

use crate::{address::Address, failure::quote, http::Url};

/// What to do about an account that is locked after failed logins.
pub(super) const LOCKED: &str = "Bitbucket has locked the account after failed logins: log in to Bitbucket in a browser once and answer the CAPTCHA; \
                                 first remove the wrong password from the program that sends it";
/// What to do about a sign-on gateway, an unavailable server, and an address without a server.
pub(super) const GATEWAY: &str = "a sign-on gateway may be in front of Bitbucket, and git cannot use its page: ask its administrator for an address without it, or to exempt '/scm' and '/rest', and set bbtoken.<profile>.baseUrl to that address";
pub(super) const MAINTENANCE: &str =
    "Bitbucket is starting or in maintenance; try again in some minutes, or ask its administrator";
pub(super) const NO_SERVER: &str = "there is no git server at this address: check bbtoken.<profile>.baseUrl; it ends with the context path, before '/scm' or '/projects'";
/// A question of git-lfs about an object that does not exist ("Git LFS Batch API").
const BATCH: &str = r#"{"operation":"download","objects":[{"oid":"0000000000000000000000000000000000000000000000000000000000000000","size":1}]}"#;

/// The subject of the questions.
pub struct Subject<'s> {
    /// The base URL.
    pub base: &'s Url,
    /// The repository.
    pub repository: Option<&'s Address>,
    /// Whether the site has accepted the token. Else no question has a token.
    pub is_accepted: bool,
    /// Asks.
    pub ask: &'s dyn Fn(&Question) -> anyhow::Result<Reply>,
}

/// A request.
#[derive(Debug)]
pub struct Question {
    /// The path below the base URL.
    pub path: String,
    /// How the token is sent.
    pub sent: Sent,
    /// The body of a request of git-lfs.
    pub body: Option<&'static str>,
}

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There is none.
    Nowhere,
    /// As by the native transport.
    Usual,
    /// As by programs that send passwords only.
    Password,
}

/// The response.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body; null if it is no JSON.
    pub body: Value,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Good,
    /// Some uses do not work.
    Note,
    /// Nothing works.
    Problem,
}

/// A result.
#[derive(Debug)]
pub struct Examined {
    /// How bad it is.
    pub health: Health,
    /// For the user.
    pub text: String,
    /// For a public report.
    pub public: &'static str,
    /// What to do.
    pub fix: Option<String>,
}

impl Examined {
    fn new(health: Health, text: impl Into<String>, public: &'static str) -> Self {
        Examined {
            health,
            text: text.into(),
            public,
            fix: None,
        }
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Examined {
            fix: Some(fix.into()),
            ..self
        }
    }
}

/// Examines a Data Center. A question without a response gives no result, because other checks tell why.
pub(super) fn of_data_center(subject: &Subject<'_>) -> Vec<Examined> {
    let ask = |path: &str, sent, body| {
        let path = path.to_owned();
        (subject.ask)(&Question { path, sent, body }).ok()
    };
    const PROPERTIES: &str = "rest/api/latest/application-properties";
    let Some(reply) = ask(PROPERTIES, Sent::Nowhere, None) else {
        return Vec::new();
    };
    let mut found = vec![server(&reply)];
    if reply.status != 200 || !subject.is_accepted {
        return found;
    }
    let reply = ask(PROPERTIES, Sent::Password, None);
    found.extend(reply.and_then(|reply| password(&reply)));
    if let Some(address) = subject.repository {
        let Address {
            workspace,
            repository,
            ..
        } = address;
        let rest = format!("rest/api/latest/projects/{workspace}/repos/{repository}");
        let reply = ask(&rest, Sent::Usual, None);
        found.extend(reply.and_then(|reply| base_url(&reply, subject.base)));
        let lfs = format!("scm/{address}.git/info/lfs/objects/batch");
        let reply = ask(&lfs, Sent::Usual, Some(BATCH));
        found.extend(reply.and_then(|reply| large_files(&reply)));
    }
    found
}

fn server(reply: &Reply) -> Examined {
    let version = reply.body.get("version").and_then(Value::as_str);
    match (reply.status, version) {
        (200, Some(version)) => {
            let text = format!("Bitbucket Data Center {}", quote(version));
            Examined::new(Health::Good, text, "version known")
        }
        (300..=399, _) => {
            let text = "the server redirects its REST API to another page";
            Examined::new(Health::Problem, text, "redirected").fix(GATEWAY)
        }
        (503, _) => {
            let text = "the server answers 503";
            Examined::new(Health::Problem, text, "unavailable").fix(MAINTENANCE)
        }
        (status, _) => {
            let text = format!("the server does not tell its version, it answers {status}");
            Examined::new(Health::Problem, text, "version unknown").fix(NO_SERVER)
        }
    }
}

/// Tells whether Bitbucket accepts the token as a password.
fn password(reply: &Reply) -> Option<Examined> {
    let is_locked = reply.body.to_string().to_lowercase().contains("captcha");
    Some(match reply.status {
        200 => Examined::new(
            Health::Good,
            "Basic authentication works, which git-lfs and plain https addresses need",
            "Basic works",
        ),
        401 | 403 if is_locked => {
            let text = "the account is locked for Basic authentication";
            Examined::new(Health::Problem, text, "locked").fix(LOCKED)
        }
        403 => Examined::new(
            Health::Note,
            "Basic authentication is switched off: git-lfs, plain https addresses and git's own transport do not work",
            "Basic is off",
        )
        .fix("use bbtoken:: addresses without bbtoken.transport=git; for git-lfs, ask the administrator to allow Basic authentication for '/scm' and '/rest/git-lfs'"),
        401 => Examined::new(
            Health::Note,
            "Bitbucket does not accept this token as a password: git-lfs, plain https addresses and git's own transport do not work",
            "no Basic for this token",
        )
        .fix("for these, use an HTTP access token of an account"),
        _ => return None,
    })
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
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    if plain(&believed) == plain(base) {
        return None;
    }
    let text = format!(
        "the server believes that its address is '{}', and sends git-lfs there",
        quote(&plain(&believed))
    );
    Some(
        Examined::new(Health::Note, text, "another base URL").fix(
            "set bbtoken.<profile>.baseUrl to that address, or ask the administrator to correct the base URL (Administration, Server settings)",
        ),
    )
}

fn large_files(reply: &Reply) -> Option<Examined> {
    let said = reply.body.to_string().to_lowercase();
    let is_off = said.contains("lfs")
        && ["disabled", "not enabled"]
            .iter()
            .any(|word| said.contains(word));
    (reply.status >= 400 && is_off).then(|| {
        let text = "Git LFS is off for this repository: git-lfs can neither fetch nor push files";
        Examined::new(Health::Note, text, "LFS is off")
            .fix("ask an administrator of the repository to turn it on (repository settings, Large File Storage)")
    })
}
