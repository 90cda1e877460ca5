//! Bitbucket Data Center, and the older Bitbucket Server. The facts are from Atlassian's pages and from public reports;
//! docs/data-center.md names them.

use super::{
    account::{Account, Owner, untold},
    answer::{Answer, refused, unavailable},
    authorization::bearer,
    differences::{Facts, Site, Words},
    health::{self, Examined, GATEWAY, LOCKED, MAINTENANCE, NO_SERVER, Reply, Subject},
    pages::plain,
};
use crate::{
    address::{Address, Base, Grammar, is_slug},
    failure::Kind,
    secret::Secret,
    url::Url,
};

pub(super) struct DataCenter;

/// The user name beside OAuth tokens, and beside tokens of projects and repositories.
const TOKEN_USER: &str = "x-token-auth";
/// The start of the names of accounts that only tokens have.
const TOKEN_ACCOUNT: &str = "access-token-user/";
/// The usual port of its ssh server.
const SSH_PORT: u16 = 7999;
/// What a server says that accepts no pushes, and what to do.
const READ_ONLY_WORDS: [&str; 4] = ["licen", "read-only", "read only", "maintenance"];
const READ_ONLY: &str = "Bitbucket is read-only now: its license has expired, or it is in maintenance; you can still fetch; ask its administrator";

const FACTS: Facts = Facts {
    grammar: &DataCenter,
    has_usual_base: false,
    git_path: "scm/",
    oauth_paths: ["rest/oauth2/latest/token", "rest/oauth2/latest/authorize"],
    // A request without a scope gets a token for public repositories at best.
    scope: Some("REPO_READ REPO_WRITE"),
    has_clients_in_body: true,
    has_one_token_per_login: true,
    has_fixed_redirects: true,
    counts_failed_logins: true,
    foreign_tokens: &["ATATT", "ATCTT"],
    // Atlassian: "Bitbucket OAuth 2.0 provider API".
    push_scopes: &["REPO_WRITE", "REPO_ADMIN", "PROJECT_ADMIN", "ADMIN_WRITE"],
    account_scopes: &[],
    words: WORDS,
};

const WORDS: Words = Words {
    logins: [
        "HTTP access token: your own, or one of a project or repository; needs no administrator",
        "Browser: as yourself, with the client id and secret of an application link",
        "Client id and secret: as a service account, for CI and servers",
    ],
    name: "Bitbucket Data Center",
    outage: "try again later, or ask its administrator",
    space: "project",
    client: "the application link (Administration, Application links)",
    client_itself: [
        "the service account",
        "Client id of the application link or service account",
    ],
    no_client_account: None,
    pair: "client id and secret",
    hurry: Some(
        "Bitbucket's code is valid for only 10 seconds: keep this terminal beside the browser, and paste the address at once.",
    ),
    code_refused: "the authorization code was not accepted; a code works once and for only 10 seconds (the administrator can allow more time with the Java property atlassian.oauth2.provider.max.client.delay.seconds)",
    redirect: "set bbtoken.<profile>.redirectUri to exactly the redirect URL of the application link",
    no_account_scope: None,
    foreign_token: "is a token of Bitbucket Cloud, but this profile is for a Bitbucket Data Center",
    no_token: "use an HTTP access token (your account, Manage account, HTTP access tokens)",
    token_refused: "the token is wrong, revoked or expired",
    revoke: [
        "open {base}/plugins/servlet/access-tokens/manage, or the settings of its project or repository",
        "open {base}, Manage account, Authorized applications",
        "ask the administrator of {base} to delete it",
    ],
    login_may_push: "tick 'Repositories: Write' at the application link; if bbtoken.<profile>.scope is set, add REPO_WRITE to it; then log in again",
    token_may_push: "create an HTTP access token with the permission to write to repositories, and log in with it",
    // Atlassian: "HTTP access tokens".
    steps_to_a_token: "
Create an HTTP access token:
  1. Open {base}/plugins/servlet/access-tokens/manage
     (your account, Manage account, HTTP access tokens), or the settings of a project or repository.
  2. Create token: Repository read. To push, Repository write.

",
    // Atlassian: "Configure an incoming link".
    steps_to_a_client: "\nAsk a system administrator of Bitbucket for the {part}\n\n",
    client_parts: [
        "client id, the secret and the redirect URL
of an application link. The administrator creates it once:
  1. Open {base}/plugins/servlet/applinks/listApplicationLinks
  2. Create link, External application, Incoming:
     Redirect URL   an https address; the page need not exist
     tick           Repositories: Read and Write
If the link allows only Read, press Ctrl-C, run this, and log in again:
  git config --global bbtoken.{profile}.scope REPO_READ",
        "client id and secret of a service account.
The administrator creates it once:
  Administration, Service accounts: create one with access to repositories.",
    ],
};

impl Site for DataCenter {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    /// The web host may have another ssh server, but this port is Bitbucket's.
    fn other_starts(&self, base: &Url, ssh_host: Option<&str>) -> Vec<String> {
        let hosts = ssh_host.into_iter().chain(base.host_str());
        let starts = |host| ["git@", ""].map(|user| format!("ssh://{user}{host}:{SSH_PORT}/"));
        hosts.flat_map(starts).collect()
    }

    /// Bearer is accepted for each kind of token. Basic depends on the kind, the version and a switch, and counts as a
    /// failed login.
    fn authorization(&self, token: &Secret) -> Secret {
        bearer(token)
    }

    /// A personal token needs its owner's name. A token of a project or repository acts as an account of its own, whose
    /// name is not accepted.
    fn user<'o>(&self, _: &Secret, owner: Option<&'o str>) -> &'o str {
        let owner = owner.filter(|owner| !owner.starts_with(TOKEN_ACCOUNT));
        owner.unwrap_or(TOKEN_USER)
    }

    fn meaning(&self, answer: Answer<'_>) -> Kind {
        match answer.status {
            401 => refused(match &answer.renewal {
                Some(renewal) => format!("the token is wrong, revoked or expired: {}", renewal.remedy),
                None => "Bitbucket does not accept this token for git, and Bitbucket's log says why; if it is the token of a service account, use an HTTP access token instead".to_owned(),
            }),
            403 => forbidden(&answer),
            // A prefetch that gets it is followed by the usual request, unlike one that is refused.
            404 => unavailable(NO_SERVER),
            503 if answer.is_page => unavailable(MAINTENANCE),
            _ => answer.usual(),
        }
    }

    fn meaning_of_words(&self, said: &str, address: &str) -> Kind {
        let said = said.to_lowercase();
        let speaks_of = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match () {
            () if speaks_of(&["captcha"]) => refused(LOCKED),
            () if speaks_of(&["repository not found", "does not exist", "permission"]) => {
                Kind::AccessRefused {
                    address: address.to_owned(),
                    renewal: None,
                }
            }
            () if speaks_of(&READ_ONLY_WORDS) => refused(READ_ONLY),
            () if speaks_of(&["mirror"]) => refused(
                "a mirror accepts no pushes: set bbtoken.<profile>.baseUrl to the address of the server itself, and mirrorUrl to that of the mirror",
            ),
            () => Kind::Refused,
        }
    }

    fn on_redirect(&self) -> Kind {
        unavailable(GATEWAY)
    }

    /// Each answer to an authenticated request names the account in a header, and this one is cheap.
    fn account_url(&self, base: &Url) -> String {
        let base = base.as_str().trim_end_matches('/');
        format!("{base}/rest/api/latest/application-properties")
    }

    fn account_authorization(&self, token: &Secret, _: &str) -> Option<Secret> {
        Some(bearer(token))
    }

    fn owner(&self, reply: &Reply) -> Owner {
        let name = reply.headers.get("x-ausername");
        let name = name.and_then(|name| name.to_str().ok());
        match (reply.status, name.filter(|name| !name.is_empty())) {
            (200, Some(name)) => Owner::Account(Account {
                display_name: percent_encoding::percent_decode_str(name)
                    .decode_utf8_lossy()
                    .into_owned(),
                names: Vec::new(),
            }),
            // Without a valid token, it answers as to anyone.
            (200, None) if reply.body.get("version").is_some() => Owner::Refused,
            (200, None) => untold("the response does not come from a Bitbucket Data Center"),
            (401, _) => Owner::Refused,
            (status, _) => untold(format!("Bitbucket answered {status}")),
        }
    }

    fn examine(&self, subject: &Subject<'_>) -> Vec<Examined> {
        health::of_data_center(subject)
    }
}

/// A status 403 has several causes.
fn forbidden(answer: &Answer<'_>) -> Kind {
    match () {
        () if answer.speaks_of(&["captcha", "xsrf"]) => refused(LOCKED),
        // Bitbucket answers git in plain text. HTML pages come from proxies and portals.
        () if answer.is_page => Kind::NotGit,
        () if answer.speaks_of(&["basic auth"]) => refused(
            "Bitbucket does not accept Basic authentication; do not set bbtoken.transport to git, because git's own transport sends nothing else",
        ),
        () if answer.speaks_of(&READ_ONLY_WORDS) => refused(READ_ONLY),
        () if answer.is_push => refused(
            "the account may not push here, or the token has no permission to write: ask for the permission 'Repository write', and use a token that has it",
        ),
        () => refused(
            "the token has no permission to read repositories: use one with 'Repository read', or log in again with the scope REPO_READ",
        ),
    }
}

impl Grammar for DataCenter {
    fn hosts(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads clone addresses, pages, and addresses of the REST API and of LFS objects.
    fn of_web(&self, _: &str, path: &str, base: Base<'_>) -> Result<Address, &'static str> {
        let path = base
            .below(path)
            .ok_or("it is not below the configured base URL")?;
        let parts: Vec<_> = plain(path).split('/').collect();
        let (key, name) = match parts[..] {
            ["scm", key, name, ..]
            | ["projects", key, "repos", name, ..]
            | ["rest", "api", _, "projects", key, "repos", name, ..]
            | ["rest", "git-lfs", "storage", key, name, ..] => (key.to_owned(), name),
            ["users", user, "repos", name, ..] => (format!("~{user}"), name),
            _ => {
                return Err(
                    "it is not the address of a repository: expected '/scm/', '/projects/<key>/repos/' or '/users/<name>/repos/' after the base URL",
                );
            }
        };
        Ok(repository_in(&key, name)?.at(base.authority))
    }

    /// Reads `ssh://git@host:7999/project/repository.git`. There is no context path. Another port of the web host may
    /// be another ssh server.
    fn of_ssh(
        &self,
        (host, port): (&str, Option<u16>),
        path: &str,
        base: Base<'_>,
    ) -> Option<Result<Address, &'static str>> {
        let web = base.authority.rsplit_once(':');
        let web = web.map_or(base.authority, |(host, _)| host);
        let is = |its: &str| host.eq_ignore_ascii_case(its);
        match () {
            () if base.ssh_host.is_some_and(is) => {}
            () if !is(web) => return None,
            () if port == Some(SSH_PORT) => {}
            () => {
                return Some(Err(
                    "Bitbucket's ssh port is 7999; if this one is Bitbucket's too, set bbtoken.<profile>.sshHost to the host",
                ));
            }
        }
        Some(self.of_path(path).map(|address| address.at(base.authority)))
    }

    /// Reads `project/repository[.git][/]`. The project may be `~user`.
    fn of_path(&self, path: &str) -> Result<Address, &'static str> {
        let path = plain(path.trim_start_matches('/'));
        match path.strip_suffix('/').unwrap_or(path).split_once('/') {
            Some((project, repository)) if !repository.contains('/') => {
                repository_in(project, repository)
            }
            _ => Err("expected project/repository, without further parts"),
        }
    }
}

fn repository_in(project: &str, repository: &str) -> Result<Address, &'static str> {
    let project = match project.strip_prefix("%7E").or(project.strip_prefix("%7e")) {
        Some(user) => format!("~{user}"),
        None => project.to_owned(),
    };
    match is_slug(project.strip_prefix('~').unwrap_or(&project)) {
        true => Address::of(project, repository),
        false => Err(
            "expected project/repository, but the project's key is empty or contains characters that Bitbucket does not allow",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_header_is_shown_in_one_line_and_an_empty_one_is_none() {
        let body = serde_json::json!({ "version": "10.2.1" });
        let owner = |name: &str| {
            let name = name.parse().expect("it is the value of a header");
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("x-ausername", name);
            DataCenter.owner(&Reply {
                status: 200,
                headers,
                body: body.clone(),
            })
        };
        let shown = |name| owner(name).name();
        assert_eq!(shown("a%40b.c").as_deref(), Some("a@b.c"));
        assert_eq!(
            shown("a%0Apassword=x%1B%ff").as_deref(),
            Some("a\\u{a}password=x\\u{1b}\u{fffd}")
        );
        assert!(matches!(owner(""), Owner::Refused));
    }
}
