//! Parses addresses into workspace, repository and, if named, profile.
//!
//! With `protocol.bbtoken.allow=always`, addresses come from the `.gitmodules` of strangers. So only a strict set of
//! characters is allowed. The address never selects the host: its host must be the configured one.

mod names;

use std::fmt;

use gix::{bstr::ByteSlice as _, url::Scheme};

use crate::{
    failure::{Failure, Kind, quote},
    secret::mask_address,
};

pub(crate) use names::{PROFILE_NAME_RULE, is_profile_name, is_slug, with_braces};

/// The usual ports, which a pasted address may contain.
const USUAL_PORTS: [&str; 3] = [":443", ":80", ":22"];

/// A repository on Bitbucket that an address names.
///
/// Its `Display` is `workspace/repository`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The profile in the address (`profile@workspace/repository`).
    pub(crate) profile: Option<String>,
    /// The workspace's slug or `{uuid}`; at a Data Center, the project's key or `~user`.
    pub(crate) workspace: String,
    /// The repository's slug or `{uuid}`, without `.git`.
    pub(crate) repository: String,
    /// The host in the address with its port, written as in the base URL; `bitbucket.org` for each host of Bitbucket
    /// Cloud.
    pub(crate) host: Option<String>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.repository)
    }
}

/// The parts of a site that an address is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    /// The host of the base URL, with the port if it is not the scheme's default: `localhost:8443`.
    pub(crate) authority: &'a str,
    /// The path of the base URL, without a slash at the end; empty for Bitbucket Cloud.
    pub(crate) path: &'a str,
    /// The host of ssh addresses, if it is another one.
    pub(crate) ssh_host: Option<&'a str>,
    /// The forms of the site's addresses.
    pub(crate) grammar: &'a dyn Grammar,
}

impl Base<'_> {
    /// Removes the path of the base URL, as whole segments. `None` for a path that is not below it.
    pub(crate) fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.trim_start_matches('/');
        let base = self.path.trim_matches('/');
        match path.strip_prefix(base)? {
            rest if base.is_empty() => Some(rest),
            rest => rest.strip_prefix('/'),
        }
    }

    /// Tells whether a host is that of the base URL.
    pub(crate) fn has(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(self.authority)
    }

    /// Gives the host without its usual port if addresses of the site may have it.
    fn known_host<'h>(&self, host: &'h str) -> Option<&'h str> {
        if self.has(host) {
            return Some(host);
        }
        let bare = USUAL_PORTS.iter().find_map(|port| host.strip_suffix(port));
        // A host name may end with a dot (RFC 1034 section 3.1).
        let bare = bare.unwrap_or(host).trim_end_matches('.');
        let is_known = self.has(bare) || is_one_of(bare, self.grammar.hosts());
        is_known.then_some(bare)
    }
}

/// Tells whether a host is one of several, without regard to case.
pub(crate) fn is_one_of(host: &str, hosts: &[&str]) -> bool {
    hosts.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// The forms of a site's addresses. The errors say why a text is no address of a repository.
pub(crate) trait Grammar {
    /// The hosts in addresses besides that of the base URL.
    fn hosts(&self) -> &'static [&'static str];

    /// Reads the path of a web address. The host is known.
    fn of_web(&self, host: &str, path: &str, base: Base<'_>) -> Result<Address, &'static str>;

    /// Reads the path of an ssh address; `None` for another host. Without a port, it is the usual one.
    fn of_ssh(
        &self,
        host: (&str, Option<u16>),
        path: &str,
        base: Base<'_>,
    ) -> Option<Result<Address, &'static str>>;

    /// Reads a path without a host.
    fn of_path(&self, path: &str) -> Result<Address, &'static str>;
}

/// The reason why a text is not an address of a site.
enum Flaw {
    Text(&'static str),
    /// It names another host.
    Host,
}

impl From<&'static str> for Flaw {
    fn from(why: &'static str) -> Self {
        Flaw::Text(why)
    }
}

/// What a pasted address may begin and end with: a space, or the no-break space of a web page.
const BLANKS: [char; 2] = [' ', '\u{a0}'];

impl Address {
    /// Makes an address without profile and host. Removes one `.git`.
    ///
    /// # Errors
    ///
    /// If the repository's name is empty or contains other characters than those of a slug. The caller checks the
    /// workspace.
    pub(crate) fn of(workspace: String, repository: &str) -> Result<Self, &'static str> {
        let repository = with_braces(repository);
        let repository = repository.strip_suffix(".git").unwrap_or(&repository);
        if !is_slug(repository) {
            return Err(
                "expected workspace/repository, but the repository is empty or contains characters that Bitbucket does not allow",
            );
        }
        Ok(Address {
            profile: None,
            workspace,
            repository: repository.to_owned(),
            host: None,
        })
    }

    /// Sets the host.
    pub(crate) fn at(self, host: &str) -> Self {
        Address {
            host: Some(host.to_owned()),
            ..self
        }
    }

    /// Tells whether two addresses name the same repository, without regard to the host.
    pub(crate) fn is_same_repository(&self, other: &Self) -> bool {
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
    /// [`Kind::UnknownHost`] for another host, [`Kind::BadAddress`] for any other text: empty or invalid parts, `..`,
    /// control characters, a password.
    pub(crate) fn parse(text: &str, base: Base<'_>) -> Result<Self, Failure> {
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
                    "bbtoken" if has_password(rest) => Err(PASSWORD.into()),
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
        parsed.map_err(|flaw| {
            let address = mask_address(text);
            let (kind, why) = match flaw {
                Flaw::Text(why) => (Kind::BadAddress, why),
                Flaw::Host => (
                    Kind::UnknownHost {
                        base: base_of(bare),
                    },
                    "its host is not a configured Bitbucket site",
                ),
            };
            Failure::new(
                kind,
                format!("cannot use address '{}': {why}", quote(&address)),
            )
        })
    }
}

/// Guesses the base URL of a Data Center from the address of an unknown host, for a hint: what stands before the path
/// of git or of a page.
fn base_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let is_web = ["https", "http"].contains(&scheme.to_ascii_lowercase().as_str());
    let marks = ["/scm/", "/projects/", "/users/"];
    let end = marks.iter().filter_map(|mark| rest.find(mark)).min();
    let place = &rest[..end.filter(|_| is_web)?];
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/[]".contains(c);
    place
        .chars()
        .all(is_plain)
        .then(|| format!("https://{place}"))
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
fn from_bare(text: &str, base: Base<'_>) -> Result<Address, Flaw> {
    let first = text.split('/').next().unwrap_or("");
    let (user, host) = first
        .rsplit_once('@')
        .map_or((None, first), |(user, host)| (Some(user), host));
    if let Some(host) = base.known_host(host) {
        // `git` is the user of every ssh address.
        let profile = user.filter(|user| *user != "git").map(profile_name);
        let address = base.grammar.of_web(host, &text[first.len()..], base)?;
        return Ok(Address {
            profile: profile.transpose()?,
            ..address
        });
    }
    if first.contains(':') {
        return from_url(text, base);
    }
    let (profile, path) = match text.split_once('@') {
        Some((profile, path)) => (Some(profile_name(profile)?), path),
        None => (None, text),
    };
    let address = base.grammar.of_path(path)?;
    Ok(Address { profile, ..address })
}

const PASSWORD: &str = "it contains a password; remove it, because the profile supplies the token";

/// Checks the part before an `@`.
fn profile_name(text: &str) -> Result<String, &'static str> {
    if text.contains(':') {
        return Err(PASSWORD);
    }
    if !is_profile_name(text) {
        return Err("the profile before '@' may contain only letters, digits, '.', '_' and '-'");
    }
    Ok(text.to_owned())
}

/// Parses a URL, or the parts of ssh's short form.
fn from_url(text: &str, base: Base<'_>) -> Result<Address, Flaw> {
    let url = gix::url::parse(text).map_err(|_| "it is not a URL that git understands")?;
    if url.password().is_some() {
        return Err(
            "it contains a password; remove it from the URL and revoke it at Bitbucket".into(),
        );
    }
    let path = url
        .path
        .to_str()
        .map_err(|_| "its path is not valid UTF-8")?;
    match url.scheme {
        Scheme::Https | Scheme::Http => {
            let authority = authority(&url);
            let host = base.known_host(&authority).ok_or(Flaw::Host)?;
            Ok(base.grammar.of_web(host, path, base)?)
        }
        Scheme::Ssh => {
            let read = base
                .grammar
                .of_ssh((url.host().unwrap_or(""), url.port), path, base)
                .ok_or(Flaw::Host)?;
            Ok(read?)
        }
        _ => Err("only https, ssh and bbtoken addresses name a Bitbucket repository".into()),
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
