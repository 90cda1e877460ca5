//! Bitbucket Cloud, <https://bitbucket.org>.

use std::array;

use serde_json::Value;

use super::{
    account::{Account, Owner, untold},
    answer::{Answer, refused},
    authorization::{basic, bearer},
    differences::{Facts, Site, Words},
    health::{Examined, Reply, Subject},
    pages::{PAGES, not_a_site_page, plain},
};
use crate::{
    address::{Address, Base, Grammar, is_one_of, is_slug, with_braces},
    failure::Kind,
    secret::Secret,
    url::Url,
};

pub(super) struct Cloud;

/// The hosts of addresses. `altssh` serves ssh on port 443, `api` the REST API.
const HOSTS: [&str; 4] = [
    "bitbucket.org",
    "www.bitbucket.org",
    "altssh.bitbucket.org",
    API_HOST,
];
const API_HOST: &str = "api.bitbucket.org";
/// The path of repositories in the REST API (Bitbucket: "REST API", `repositories`).
const API_REPOSITORIES: &str = "2.0/repositories/";
/// The hosts of ssh addresses.
const SSH_HOSTS: [&str; 3] = ["bitbucket.org", "www.bitbucket.org", "altssh.bitbucket.org"];
/// What addresses begin with besides the base URL. git-lfs follows no redirect of the other host with a token.
const OTHER_STARTS: [&str; 7] = [
    "https://www.bitbucket.org/",
    "git@bitbucket.org:",
    "ssh://git@bitbucket.org/",
    "ssh://git@altssh.bitbucket.org:443/",
    "ssh://git@bitbucket.org:22/",
    "git+ssh://git@bitbucket.org/",
    "ssh://bitbucket.org/",
];
/// The user names beside OAuth tokens and access tokens, and beside API tokens (Bitbucket support: "Using API tokens").
const TOKEN_USER: &str = "x-token-auth";
const API_TOKEN_USER: &str = "x-bitbucket-api-token-auth";
/// The documented prefix of API tokens.
const API_TOKEN: &str = "ATATT";
const FACTS: Facts = Facts {
    grammar: &Cloud,
    has_usual_base: true,
    git_path: "",
    oauth_paths: ["site/oauth2/access_token", "site/oauth2/authorize"],
    // The consumer has its scopes.
    scope: None,
    has_clients_in_body: false,
    has_one_token_per_login: false,
    has_fixed_redirects: false,
    counts_failed_logins: false,
    foreign_tokens: &["BBDC-"],
    // Bitbucket: "OAuth 2.0", scopes; API token scopes.
    push_scopes: &[
        "repository:write",
        "repository:admin",
        "write:repository:bitbucket",
    ],
    // Bitbucket: "REST API scopes".
    account_scopes: &["account", "account:write"],
    words: WORDS,
};

const WORDS: Words = Words {
    logins: [
        "API token: your own, from your Atlassian account; needs no administrator",
        "Browser: as yourself, with the key and secret of an OAuth consumer",
        "Key and secret: as the OAuth consumer itself, for CI and servers",
    ],
    name: "Bitbucket",
    outage: "try again later; https://bitbucket.status.atlassian.com shows outages",
    space: "workspace",
    client: "the OAuth consumer (workspace settings, OAuth consumers)",
    client_itself: ["the OAuth consumer", "Key of the OAuth consumer"],
    no_client_account: Some("the token belongs to the client, not to a person"),
    pair: "key and secret",
    hurry: None,
    code_refused: "the authorization code was not accepted; a code works once and for a few minutes",
    redirect: "set the callback URL to 'http://127.0.0.1/callback' at the OAuth consumer (workspace settings, OAuth consumers)",
    no_account_scope: Some(
        "Bitbucket names the account only if 'Account: Read' is ticked at the OAuth consumer",
    ),
    foreign_token: "is an HTTP access token of a Bitbucket Data Center, but this profile is for Bitbucket Cloud",
    no_token: "for an OAuth consumer, set BBTOKEN_CLIENT_ID to its key and BBTOKEN_CLIENT_SECRET to its secret; BBTOKEN_ACCESS_TOKEN \
               takes an access token of a repository, project or workspace, or an API token with scopes",
    token_refused: "the token is wrong or revoked, or it belongs to a repository, project or workspace: check such a token with --try <workspace>/<repository>",
    revoke: [
        "open https://id.atlassian.com/manage-profile/security/api-tokens (API token), or the page where you created it",
        "open {base}/account/settings/app-authorizations/",
        "delete the consumer: {base}/<workspace>/workspace/settings/api",
    ],
    login_may_push: "tick 'Repositories: Write' at the OAuth consumer and log in again",
    token_may_push: "create a token with write access to repositories (an API token also needs the scope to read them) and log in with it",
    // Bitbucket: "Using API tokens".
    steps_to_a_token: "
Create an API token:
  1. Open https://id.atlassian.com/manage-profile/security/api-tokens
  2. Create API token with scopes, app Bitbucket.
  3. Tick read:repository:bitbucket and read:user:bitbucket.
     To push, tick write:repository:bitbucket, too.

",
    // Bitbucket support: "Use OAuth on Bitbucket Cloud".
    steps_to_a_client: "
Ask an administrator of the workspace for the key and secret of an OAuth consumer, or create one:
  1. Open {base}/{workspace}/workspace/settings/api
  2. OAuth consumers, Add consumer:
     Name     any
     Callback http://127.0.0.1/callback
{part}
     tick     Repositories: Read    (Write, too, to push)
  3. Save, open the consumer in the list: it shows a key and a secret.

",
    client_parts: [
        "     leave    This is a private consumer   (tick it only if you do not share the client)
     tick     Account: Read    (lets Bitbucket name the account)",
        "     tick     This is a private consumer",
    ],
};

impl Site for Cloud {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn other_starts(&self, base: &Url, _: Option<&str>) -> Vec<String> {
        match base.as_str() {
            "https://bitbucket.org/" => OTHER_STARTS.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    }

    fn authorization(&self, token: &Secret) -> Secret {
        basic(self.user(token, None), token)
    }

    /// Bitbucket interprets the secret by the user name.
    fn user<'o>(&self, token: &Secret, _: Option<&'o str>) -> &'o str {
        match is_api_token(token) {
            true => API_TOKEN_USER,
            false => TOKEN_USER,
        }
    }

    fn meaning(&self, answer: Answer<'_>) -> Kind {
        match answer.status {
            403 => forbidden(answer),
            410 => Kind::AppPassword,
            _ => answer.usual(),
        }
    }

    fn meaning_of_words(&self, _: &str, _: &str) -> Kind {
        Kind::Refused
    }

    fn on_redirect(&self) -> Kind {
        Kind::NotGit
    }

    /// Bitbucket Cloud's API is on another host. With any other base URL, the API is below that URL.
    fn account_url(&self, base: &Url) -> String {
        match base.host_str() {
            Some("bitbucket.org") => format!("https://{API_HOST}/2.0/user"),
            _ => format!("{}/2.0/user", base.as_str().trim_end_matches('/')),
        }
    }

    /// OAuth tokens and access tokens are sent as Bearer, API tokens with their account's e-mail address (Bitbucket:
    /// "Using API tokens").
    fn account_authorization(&self, token: &Secret, account: &str) -> Option<Secret> {
        if !is_api_token(token) {
            return Some(bearer(token));
        }
        account.contains('@').then(|| basic(account, token))
    }

    fn owner(&self, reply: &Reply) -> Owner {
        match reply.status {
            200 => match Account::of(&reply.body) {
                Some(account) => Owner::Account(account),
                None => untold("Bitbucket's response contains no account name"),
            },
            401 => Owner::Refused,
            403 if reply.body.get("error").is_some() => {
                let granted = reply.body.pointer("/error/detail/granted");
                let granted = granted.and_then(Value::as_array).into_iter().flatten();
                let scopes = granted.filter_map(Value::as_str).map(str::to_owned);
                Owner::NoScope(scopes.collect())
            }
            status => untold(format!("Bitbucket answered {status}")),
        }
    }

    fn examine(&self, _: &Subject<'_>) -> Vec<Examined> {
        Vec::new()
    }
}

fn is_api_token(token: &Secret) -> bool {
    token.expose().starts_with(API_TOKEN)
}

/// Finds the cause of a status 403 from the server's message. Without a message, it is usually the scope (Bitbucket's
/// knowledge base, "Error 403 when performing Git operations").
fn forbidden(answer: Answer<'_>) -> Kind {
    // Bitbucket answers git in plain text. HTML pages come from proxies and portals.
    if answer.is_page {
        return Kind::NotGit;
    }
    let scope = match answer.is_push {
        true => "Repositories: Write",
        false => "Repositories: Read",
    };
    let scope = || {
        refused(format!(
            "tick the permission '{scope}' at the OAuth consumer (workspace settings, OAuth consumers) and log in again, or use a token that has it"
        ))
    };
    match () {
        () if answer.speaks_of(&["scope", "privilege"]) => scope(),
        () if answer.speaks_of(&["whitelist", "allowlist", "ip address", "your ip"]) => refused(
            "the workspace accepts only listed IP addresses: use its network or VPN, or ask an admin to add this machine's address (workspace settings, access controls)",
        ),
        () if answer.speaks_of(&["two-step", "two step", "2sv", "2fa"]) => refused(
            "the workspace requires two-step verification: turn it on for the account (personal settings, security), or use a profile whose account has it",
        ),
        () if answer.speaks_of(&["does not exist", "not have access"]) => Kind::AccessRefused {
            address: answer.address.to_owned(),
            renewal: None,
        },
        () if answer.speaks_of(&["limit", "exceed", "quota", "read-only", "read only"]) => refused(
            "the repository or its workspace exceeds a limit of its plan: you can still fetch, but Bitbucket refuses pushes until it is below the limit; see the repository's settings",
        ),
        () => scope(),
    }
}

impl Grammar for Cloud {
    fn hosts(&self) -> &'static [&'static str] {
        &HOSTS
    }

    /// Removes pages below a repository.
    fn of_web(&self, host: &str, path: &str, base: Base<'_>) -> Result<Address, &'static str> {
        let path = match base.has(host) {
            true => base
                .below(path)
                .ok_or("it is not below the configured base URL")?,
            false if host.eq_ignore_ascii_case(API_HOST) => path
                .trim_start_matches('/')
                .strip_prefix(API_REPOSITORIES)
                .ok_or("it is not the address of a repository in Bitbucket's REST API")?,
            false => path.trim_start_matches('/'),
        };
        let mut parts = steps(path);
        let [workspace, repository, page] = array::from_fn(|_| parts.next().unwrap_or(""));
        not_a_site_page(workspace, repository, page)?;
        let host = match base.has(host) {
            true => base.authority,
            false => HOSTS[0],
        };
        Ok(repository_in(workspace, repository)?.at(host))
    }

    /// Reads `git@bitbucket.org:workspace/repository` and `ssh://git@bitbucket.org/workspace/repository`.
    fn of_ssh(
        &self,
        (host, _): (&str, Option<u16>),
        path: &str,
        _: Base<'_>,
    ) -> Option<Result<Address, &'static str>> {
        is_one_of(host, &SSH_HOSTS).then(|| {
            if path.contains('@') {
                return Err("the path of an ssh address cannot contain '@'");
            }
            Ok(self.of_path(path)?.at(HOSTS[0]))
        })
    }

    /// Reads `workspace/repository[.git][/]`, which a page of the repository may follow.
    fn of_path(&self, path: &str) -> Result<Address, &'static str> {
        // A rule of `insteadOf` turns `https://bitbucket.org//ws/repo` into a path that begins with a slash.
        let mut parts = plain(path.trim_start_matches('/')).split('/');
        let [workspace, repository, page] = array::from_fn(|_| parts.next().unwrap_or(""));
        not_a_site_page(workspace, repository, page)?;
        match page {
            "" if parts.next().is_none() => {}
            page if PAGES.contains(&page) => {}
            _ => return Err("expected workspace/repository, without further parts"),
        }
        repository_in(workspace, repository)
    }
}

fn repository_in(workspace: &str, repository: &str) -> Result<Address, &'static str> {
    let workspace = with_braces(workspace);
    match is_slug(&workspace) {
        true => Address::of(workspace, repository),
        false => Err(
            "expected workspace/repository, but the workspace is empty or contains characters that Bitbucket does not allow",
        ),
    }
}

/// Splits a path. A double slash after the workspace counts as one, as on Bitbucket's pages.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut parts = plain(path).split('/').peekable();
    let workspace = parts.next();
    while parts.next_if(|part| part.is_empty()).is_some() && parts.peek().is_some() {}
    workspace.into_iter().chain(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUD: Base<'static> = Base {
        authority: "bitbucket.org",
        path: "",
        ssh_host: None,
        grammar: &Cloud,
    };

    #[test]
    fn bitbucket_is_asked_at_the_host_of_its_api_and_any_other_below_its_base() {
        for (base, asked) in [
            (
                "https://bitbucket.org",
                "https://api.bitbucket.org/2.0/user",
            ),
            (
                "https://git.example.com:8443/bb",
                "https://git.example.com:8443/bb/2.0/user",
            ),
        ] {
            let base = Url::parse(base).expect("it is a URL");
            assert_eq!(Cloud.account_url(&base), asked);
        }
    }

    fn parse(text: &str) -> Result<String, String> {
        Address::parse(text, CLOUD)
            .map(|a| {
                format!(
                    "{}{a}",
                    a.profile
                        .as_ref()
                        .map_or(String::new(), |p| format!("{p}@"))
                )
            })
            .map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_git_or_a_browser_gives_is_understood() {
        let cases = [
            ("ws/repo", "ws/repo"),
            ("ws/repo.git", "ws/repo"),
            ("ws/repo/", "ws/repo"),
            ("work@ws/repo", "work@ws/repo"),
            ("bbtoken::ws/repo", "ws/repo"),
            ("bbtoken://ws/repo.git", "ws/repo"),
            ("bbtoken://work@ws/repo", "work@ws/repo"),
            ("https://bitbucket.org/ws/repo", "ws/repo"),
            ("https://bitbucket.org/ws/repo.git", "ws/repo"),
            ("https://joe@bitbucket.org/ws/repo.git", "ws/repo"),
            (
                "https://Bitbucket.org/ws/re.po/src/main/a%20b.md?x=1#lines-3",
                "ws/re.po",
            ),
            ("https://bitbucket.org/ws/repo/pull-requests/7", "ws/repo"),
            ("git@bitbucket.org:ws/repo.git", "ws/repo"),
            ("ssh://git@bitbucket.org/ws/repo.git", "ws/repo"),
            ("ssh://git@altssh.bitbucket.org:443/ws/repo.git", "ws/repo"),
            ("git@altssh.bitbucket.org:443/ws/repo", "ws/repo"),
            ("bbtoken::git@altssh.bitbucket.org:ws/repo", "ws/repo"),
            ("ssh://git@www.bitbucket.org/ws/repo", "ws/repo"),
            ("git@www.bitbucket.org:ws/repo.git", "ws/repo"),
            ("https://bitbucket.org/ws/repo.git/", "ws/repo"),
            ("https://bitbucket.org/ws/repo/branch/feature/x", "ws/repo"),
            (
                "https://bitbucket.org/ws/repo/commits/0f1e?at=main",
                "ws/repo",
            ),
            (
                "https://api.bitbucket.org/2.0/repositories/ws/repo",
                "ws/repo",
            ),
            (
                "https://api.bitbucket.org/2.0/repositories/ws/repo/commits?page=2",
                "ws/repo",
            ),
            ("bbtoken::ws/repo.git/", "ws/repo"),
            ("bbtoken::ws/repo/src/main/a%20b.md?x=1#lines-3", "ws/repo"),
            ("bbtoken::ws/repo/pull-requests/12/diff", "ws/repo"),
            ("bbtoken::ws/repo?at=main", "ws/repo"),
            ("bbtoken::work@ws/repo#readme", "work@ws/repo"),
            ("https://bitbucket.org//ws/repo", "ws/repo"),
            ("bbtoken::/ws/repo.git", "ws/repo"),
            ("bbtoken:////ws/repo", "ws/repo"),
            ("HTTPS://BitBucket.ORG/ws/repo.git", "ws/repo"),
            ("bbtoken::Https://www.BitBucket.org/ws/repo", "ws/repo"),
            ("https://bitbucket.org:443/ws/repo", "ws/repo"),
            ("https://bitbucket.org:22/ws/repo", "ws/repo"),
            ("https://bitbucket.org./ws/repo", "ws/repo"),
            ("https://bitbucket.org/ws//repo", "ws/repo"),
            ("<https://bitbucket.org/ws/repo.git>", "ws/repo"),
            ("https://bitbucket.org/ws/profile", "ws/profile"),
            ("ssh://git@bitbucket.org:22/ws/repo.git", "ws/repo"),
            ("SSH://git@BitBucket.org/ws/repo", "ws/repo"),
            ("git@BitBucket.org:ws/repo", "ws/repo"),
            ("git@bitbucket.org:/ws/repo.git", "ws/repo"),
            ("git+ssh://git@bitbucket.org/ws/repo.git", "ws/repo"),
            ("git+https://bitbucket.org/ws/repo.git", "ws/repo"),
            ("bbtoken://bitbucket.org/ws/repo", "ws/repo"),
            ("bbtoken://BitBucket.org:443/ws/repo.git", "ws/repo"),
            ("BBTOKEN://ws/repo", "ws/repo"),
            ("bbtoken::bitbucket.org/ws/repo", "ws/repo"),
            ("bbtoken::bitbucket.org/ws/repo/src/main/", "ws/repo"),
            ("bbtoken::work@bitbucket.org/ws/repo", "work@ws/repo"),
            ("bbtoken::git@bitbucket.org/ws/repo", "ws/repo"),
            ("www.bitbucket.org:443//ws/repo", "ws/repo"),
            (" bbtoken::ws/repo ", "ws/repo"),
            ("https://bitbucket.org/ws/repo\u{a0}", "ws/repo"),
            ("bbtoken:: ws/repo ", "ws/repo"),
            ("https://bitbucket.org/ws/workspace", "ws/workspace"),
            (
                "https://bitbucket.org/ws/workspace/src/main/",
                "ws/workspace",
            ),
            ("bbtoken::ws/src", "ws/src"),
            ("bbtoken::src/src/src", "src/src"),
            ("{0f1e}/{aa-bb}", "{0f1e}/{aa-bb}"),
            (
                "https://bitbucket.org/%7B0f1e%7D/%7baa-bb%7d/src",
                "{0f1e}/{aa-bb}",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(cases.len(), 63);
    }

    #[test]
    fn an_address_that_is_not_a_repository_of_the_host_is_refused() {
        let cases = [
            "",
            "ws",
            "ws/",
            "/repo",
            "ws//repo",
            "ws/repo/extra",
            "../repo",
            "ws/..",
            "ws/a..b",
            "ws/.git",
            "ws/repo\n",
            "ws/re po",
            "ws?/repo",
            "ws/#repo",
            "ws/repo//",
            "ws/repo/source/main",
            "ws/repo.git/wiki",
            "ws/repo%2e%2e",
            "https://bitbucket.org/ws/repo.git/wiki",
            "https://bitbucket.org/ws/repo/wiki/Home",
            "git@bitbucket.org:ws/repo.git/wiki",
            "git@altssh.bitbucket.org.evil.org:443/ws/repo",
            "https://api.bitbucket.org/2.0/workspaces/ws",
            "https://api.bitbucket.org/ws/repo",
            "https://api.bitbucket.org.evil.org/2.0/repositories/ws/repo",
            "-ws/repo",
            "ws/-repo",
            "@ws/repo",
            "a:b@ws/repo",
            "ws/ünïcode",
            "https://evil.org/ws/repo",
            "https://bitbucket.org.evil.org/ws/repo",
            "https://bitbucket.org:444/ws/repo",
            "https://u:p@bitbucket.org/ws/repo",
            "https://bitbucket.org",
            "https://bitbucket.org/ws",
            "git@github.com:ws/repo",
            "ssh://git@evil.org/ws/repo",
            "file:///ws/repo",
            "ext::sh -c x",
            "git@bitbucket.org:p@ws/repo",
            "https://bitbucket.org/account/signin/?next=/ws/repo",
            "https://bitbucket.org/account/settings/",
            "https://bitbucket.org/socialauth/login/atlassianid/?next=/ws/repo",
            "https://bitbucket.org/2.0/repositories/ws/repo",
            "https://bitbucket.org/goto/ws/repo",
            "https://bitbucket.org/search/code",
            "https://bitbucket.org/invitations/repository/x",
            "https://bitbucket.org/ws/profile/projects",
            "https://bitbucket.org/dashboard/overview",
            "https://bitbucket.org/product/features",
            "https://bitbucket.org/repo/create?workspace=ws",
            "https://bitbucket.org/site/oauth2/authorize",
            "https://bitbucket.org/snippets/ws/abc",
            "https://bitbucket.org/ws/workspace/projects/KEY",
            "https://bitbucket.org/ws/workspace/repositories/",
            "https://bitbucket.org/ws/workspace/settings/api",
            "bbtoken::account/signin/?next=/ws/repo",
            "bbtoken::ws/workspace/overview",
            "bbtoken::bitbucket.org/ws",
            "bbtoken::bitbucket.org",
            "bbtoken::u:p@bitbucket.org/ws/repo",
            "bbtoken::bitbucket.org:444/ws/repo",
            "bbtoken::bitbucket.org.evil.org/ws/repo",
            "bbtoken:///ws",
        ];
        for text in cases {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(cases.len(), 65);
    }

    #[test]
    fn a_password_does_not_reach_the_message() {
        for text in [
            "https://joe:canary@bitbucket.org/ws/repo",
            "joe:canary@ws/repo",
            "bbtoken::https://joe:canary@x/ws",
        ] {
            let message = parse(text).expect_err("a password is refused");
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn a_base_url_with_a_path_is_cut_off() {
        let base = Base {
            authority: "localhost:8443",
            path: "/bb",
            ..CLOUD
        };
        let parsed =
            Address::parse("https://localhost:8443/bb/ws/repo.git", base).map(|a| a.to_string());
        assert_eq!(parsed.ok().as_deref(), Some("ws/repo"));
        assert!(Address::parse("https://localhost:8443/bbws/repo.git", base).is_err());
        assert!(Address::parse("https://bitbucket.org/ws/repo", base).is_ok());
    }

    #[test]
    fn a_password_with_any_characters_is_not_shown() {
        for login in [
            "u:canary",
            "u:can/ary",
            "u:can@ary",
            "u:canary@x",
            ":canary",
            "u:c:a",
        ] {
            for path in ["ws/repo", "ws/re@po"] {
                let message = parse(&format!("https://{login}@bitbucket.org/{path}"));
                let message = message.expect_err("it holds a password");
                assert!(
                    message.contains("***@") && !message.contains("qqq"),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn an_address_names_a_repository_and_the_error_for_any_other_text_has_no_password() {
        let kept = [
            "work@ws/repo.git",
            "bbtoken://ws/{6f1c}/",
            "https://u:canary@bitbucket.org/ws/repo/src/main/?at=x#l",
            "bbtoken::https://u:canary@example.org/ws/repo",
            "ssh://git@bitbucket.org:22/ws/repo",
            "git@bitbucket.org:ws/repo.git",
            "https://api.bitbucket.org/2.0/repositories/ws/repo",
            "https://bitbucket.org/%7B6f1c%7D/..%2f",
            "bbtoken::work@bitbucket.org:443//ws/repo",
            "git+ssh://git@bitbucket.org/ws/workspace/projects",
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            match Address::parse(text, CLOUD) {
                Ok(address) => {
                    assert!(
                        [&address.workspace, &address.repository]
                            .iter()
                            .all(|part| is_slug(part))
                    );
                    let profile = address
                        .profile
                        .as_ref()
                        .map_or(String::new(), |name| format!("{name}@"));
                    let host = address
                        .host
                        .as_ref()
                        .map_or(String::new(), |host| format!("{host}/"));
                    let written = format!("bbtoken::{profile}{host}{address}");
                    // One whose name ends in '.git' twice is found, but not written so.
                    let again = Address::parse(&written, CLOUD).ok();
                    assert!(
                        again.as_ref() == Some(&address) || address.repository.ends_with(".git"),
                        "{written}"
                    );
                }
                Err(failure) => crate::inside::fuzz::expect_printable(&failure.to_string()),
            }
            // A password before an '@' is never shown.
            for (before, after) in [("https://u", text), (text, "/ws/repo")] {
                let address = format!("{before}:canary-4f1c@{after}");
                // In these cases, it is a profile name or another part that is not secret.
                if address.starts_with("bbtoken::canary") || text.contains("canary") {
                    continue;
                }
                if let Err(failure) = Address::parse(&address, CLOUD) {
                    assert!(!failure.to_string().contains("canary-4f1c"), "{failure}");
                }
            }
        });
    }
}
