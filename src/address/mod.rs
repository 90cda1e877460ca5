//! Parses addresses into workspace, repository and, if named, profile.
//!
//! With `protocol.bbtoken.allow=always`, addresses come from the `.gitmodules` of strangers. So only a strict set of
//! characters is allowed. The address never selects the host: its host must be the configured one.

mod names;
mod pages;

use std::fmt;

use gix::{bstr::ByteSlice as _, url::Scheme};

use crate::{
    failure::{Failure, Kind, quote},
    secret::mask_address,
};
use names::{is_slug, with_braces};
use pages::{NO_WIKI, PAGES, not_a_site_page, plain};

pub(crate) use names::{PROFILE_NAME_RULE, is_profile_name};

/// The hosts of Bitbucket Cloud in addresses. The last one serves ssh on port 443.
const BITBUCKET_HOSTS: [&str; 3] = ["bitbucket.org", "www.bitbucket.org", "altssh.bitbucket.org"];
/// The host of the REST API, and its path of repositories (Bitbucket: "REST API", `repositories`).
const API_HOST: &str = "api.bitbucket.org";
const API_REPOSITORIES: &str = "2.0/repositories/";
/// The usual ports, which a pasted address may contain.
const USUAL_PORTS: [&str; 3] = [":443", ":80", ":22"];

/// A repository on Bitbucket that an address names.
///
/// Its `Display` is `workspace/repository`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The profile in the address (`profile@workspace/repository`).
    pub profile: Option<String>,
    /// The workspace's slug or `{uuid}`.
    pub workspace: String,
    /// The repository's slug or `{uuid}`, without `.git`.
    pub repository: String,
    /// The host in the address with its port, written as in the base URL; `bitbucket.org` for each host of Bitbucket
    /// Cloud.
    pub host: Option<String>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.repository)
    }
}

/// The configured base URL, split into the parts that an address is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The host, with the port if it is not the scheme's default: `localhost:8443`.
    pub authority: &'a str,
    /// The path above the workspaces, without a slash at the end; empty for Bitbucket Cloud.
    pub path: &'a str,
}

/// What a pasted address may begin and end with: a space, or the no-break space of a web page.
const BLANKS: [char; 2] = [' ', '\u{a0}'];

impl Address {
    /// Tells whether two addresses name the same repository, without regard to the host.
    pub fn is_same_repository(&self, other: &Self) -> bool {
        let names = |address: &Self| address.to_string().to_ascii_lowercase();
        names(self) == names(other)
    }

    /// Parses an address in any form that git, the user or Bitbucket's pages give.
    ///
    /// `workspace/repository`, `profile@workspace/repository`, the same after `bbtoken::` or `bbtoken://`, with or
    /// without the host, `https://bitbucket.org/…` (also a page of the repository), `ssh://git@bitbucket.org/…` and
    /// `git@bitbucket.org:…`. Schemes and hosts may have capitals, and the usual port.
    ///
    /// # Errors
    ///
    /// [`Kind::BadAddress`] for any other text: empty or invalid parts, `..`, control characters, another host, a
    /// password.
    pub fn parse(text: &str, base: Base<'_>) -> Result<Self, Failure> {
        let refuse = |why: &str| {
            Failure::new(
                Kind::BadAddress,
                format!("cannot use address '{}': {why}", quote(&mask_address(text))),
            )
        };
        let bare = text.trim_matches(BLANKS);
        // Mail and chat programs put a URL in angle brackets.
        let bare = bare
            .strip_prefix('<')
            .and_then(|it| it.strip_suffix('>'))
            .unwrap_or(bare);
        let bare = bare
            .strip_prefix("bbtoken::")
            .unwrap_or(bare)
            .trim_start_matches(BLANKS);
        let parsed = match bare.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                match scheme.to_ascii_lowercase().as_str() {
                    "bbtoken" if has_password(rest) => Err(PASSWORD),
                    "bbtoken" => from_bare(rest, base),
                    // pip and npm write it before the scheme. Git itself accepts `git+ssh`.
                    scheme => {
                        let scheme = scheme.strip_prefix("git+").unwrap_or(scheme);
                        from_url(&format!("{scheme}://{rest}"), base)
                    }
                }
            }
            _ => from_bare(bare, base),
        };
        parsed.map_err(refuse)
    }
}

/// Tells whether a text is a valid scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn has_password(rest: &str) -> bool {
    let login = rest
        .split('/')
        .next()
        .and_then(|first| first.rsplit_once('@'));
    login.is_some_and(|(user, _)| user.contains(':'))
}

/// Parses an address without a scheme: ssh's short form, a host with a path, or the helper's short form.
fn from_bare(text: &str, base: Base<'_>) -> Result<Address, &'static str> {
    let first = text.split('/').next().unwrap_or("");
    let (user, host) = first
        .rsplit_once('@')
        .map_or((None, first), |(user, host)| (Some(user), host));
    if let Some(host) = known_host(host, base) {
        // `git` is the user of every ssh address.
        let profile = user.filter(|user| *user != "git").map(profile_name);
        let address = from_web(host, &text[first.len()..], base)?;
        return Ok(Address {
            profile: profile.transpose()?.map(str::to_owned),
            ..address
        });
    }
    if first.contains(':') {
        return from_url(text, base);
    }
    from_short(text)
}

/// Gives the host without its usual port if it is the configured one or Bitbucket's.
fn known_host<'h>(host: &'h str, base: Base<'_>) -> Option<&'h str> {
    if host.eq_ignore_ascii_case(base.authority) {
        return Some(host);
    }
    let bare = USUAL_PORTS.iter().find_map(|port| host.strip_suffix(port));
    // A host name may end with a dot (RFC 1034 section 3.1).
    let bare = bare.unwrap_or(host).trim_end_matches('.');
    BITBUCKET_HOSTS
        .iter()
        .chain([&base.authority])
        .any(|name| bare.eq_ignore_ascii_case(name))
        .then_some(bare)
}

/// Parses `[profile@]workspace/repository[.git][/]`, which a page of the repository may follow.
fn from_short(text: &str) -> Result<Address, &'static str> {
    let (profile, path) = match text.split_once('@') {
        Some((profile, path)) => (Some(profile), path),
        None => (None, text),
    };
    let profile = profile.map(profile_name).transpose()?;
    // A rule of `insteadOf` turns `https://bitbucket.org//ws/repo` into a path that begins with a slash.
    let mut parts = plain(path.trim_start_matches('/')).split('/');
    let (workspace, repository) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let page = parts.next().unwrap_or("");
    not_a_site_page(workspace, repository, page)?;
    match page {
        "" if parts.next().is_none() => {}
        "wiki" => return Err(NO_WIKI),
        page if PAGES.contains(&page) => {}
        _ => return Err("expected workspace/repository, without further parts"),
    }
    repository_in(workspace, repository, profile)
}

const PASSWORD: &str = "it contains a password; remove it, because the profile supplies the token";

/// Checks the part before an `@`.
fn profile_name(text: &str) -> Result<&str, &'static str> {
    if text.contains(':') {
        return Err(PASSWORD);
    }
    if !is_profile_name(text) {
        return Err("the profile before '@' may contain only letters, digits, '.', '_' and '-'");
    }
    Ok(text)
}

/// Splits a path. A double slash after the workspace counts as one, as on Bitbucket's pages.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut parts = plain(path).split('/').peekable();
    let workspace = parts.next();
    while parts.next_if(|part| part.is_empty()).is_some() && parts.peek().is_some() {}
    workspace.into_iter().chain(parts)
}

/// Parses a URL, or the parts of ssh's short form.
fn from_url(text: &str, base: Base<'_>) -> Result<Address, &'static str> {
    let url = gix::url::parse(text).map_err(|_| "it is not a URL that git understands")?;
    if url.password().is_some() {
        return Err("it contains a password; remove it from the URL and revoke it at Bitbucket");
    }
    let path = url
        .path
        .to_str()
        .map_err(|_| "its path is not valid UTF-8")?;
    match url.scheme {
        Scheme::Https | Scheme::Http => {
            let authority = authority(&url);
            from_web(
                known_host(&authority, base).unwrap_or(&authority),
                path,
                base,
            )
        }
        Scheme::Ssh => from_ssh(url.host().unwrap_or(""), path),
        _ => Err("only https, ssh and bbtoken addresses name a Bitbucket repository"),
    }
}

/// Gives the host, with the port if it is not the scheme's default.
fn authority(url: &gix::Url) -> String {
    let host = url.host().unwrap_or("");
    let usual = match url.scheme {
        Scheme::Https => 443,
        _ => 80,
    };
    match url.port.filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Parses a path of the configured host or of bitbucket.org. Removes pages below a repository.
fn from_web(host: &str, path: &str, base: Base<'_>) -> Result<Address, &'static str> {
    const OUTSIDE: &str = "it is not below the configured base URL";
    let path = path.trim_start_matches('/');
    let is_of_base = host.eq_ignore_ascii_case(base.authority);
    let path = if is_of_base {
        let base_path = base.path.trim_matches('/');
        match path.strip_prefix(base_path).ok_or(OUTSIDE)? {
            rest if base_path.is_empty() => rest,
            rest => rest.strip_prefix('/').ok_or(OUTSIDE)?,
        }
    } else if BITBUCKET_HOSTS
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name))
    {
        path
    } else if host.eq_ignore_ascii_case(API_HOST) {
        path.strip_prefix(API_REPOSITORIES)
            .ok_or("it is not the address of a repository in Bitbucket's REST API")?
    } else {
        return Err(
            "its host is not the configured Bitbucket site; for another site, set bbtoken.<profile>.baseUrl",
        );
    };
    let mut parts = steps(path);
    let (workspace, repository) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let page = parts.next().unwrap_or("");
    not_a_site_page(workspace, repository, page)?;
    if page == "wiki" {
        return Err(NO_WIKI);
    }
    let host = if is_of_base {
        base.authority
    } else {
        BITBUCKET_HOSTS[0]
    };
    Ok(Address {
        host: Some(host.to_owned()),
        ..repository_in(workspace, repository, None)?
    })
}

/// Parses `git@bitbucket.org:workspace/repository` and `ssh://git@bitbucket.org/workspace/repository`.
fn from_ssh(host: &str, path: &str) -> Result<Address, &'static str> {
    if !BITBUCKET_HOSTS
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name))
    {
        return Err("its host is not Bitbucket");
    }
    from_short(path.trim_start_matches('/')).and_then(|address| match address.profile {
        None => Ok(Address {
            host: Some(BITBUCKET_HOSTS[0].to_owned()),
            ..address
        }),
        Some(_) => Err("the path of an ssh address cannot contain '@'"),
    })
}

fn repository_in(
    workspace: &str,
    repository: &str,
    profile: Option<&str>,
) -> Result<Address, &'static str> {
    let [workspace, repository] = [workspace, repository].map(with_braces);
    let repository = repository.strip_suffix(".git").unwrap_or(&repository);
    if !is_slug(&workspace) {
        return Err(
            "expected workspace/repository, but the workspace is empty or contains characters that Bitbucket does not allow",
        );
    }
    if !is_slug(repository) {
        return Err(
            "expected workspace/repository, but the repository is empty or contains characters that Bitbucket does not allow",
        );
    }
    Ok(Address {
        profile: profile.map(str::to_owned),
        workspace,
        repository: repository.to_owned(),
        host: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUD: Base<'static> = Base {
        authority: "bitbucket.org",
        path: "",
    };

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
    fn whatever_is_not_a_repository_of_the_host_is_refused() {
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
        };
        let parsed =
            Address::parse("https://localhost:8443/bb/ws/repo.git", base).map(|a| a.to_string());
        assert_eq!(parsed.ok().as_deref(), Some("ws/repo"));
        assert!(Address::parse("https://localhost:8443/bbws/repo.git", base).is_err());
        assert!(Address::parse("https://bitbucket.org/ws/repo", base).is_ok());
    }

    #[test]
    fn a_password_is_not_shown_whatever_it_or_the_path_holds() {
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
    fn whatever_is_an_address_names_a_repository_and_whatever_is_not_is_told_without_a_password() {
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
        crate::fuzz::check_text(&kept, |text| {
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
                Err(failure) => crate::fuzz::expect_printable(&failure.to_string()),
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
