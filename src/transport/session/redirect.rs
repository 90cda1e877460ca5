//! Decides which redirects of a repository are followed.

use std::fmt;

use crate::{failure::quote, url::Url};

/// The path of the ref advertisement below the repository's URL.
const ADVERTISEMENT: &str = "/info/refs";

/// The reason not to follow a redirect, with the target escaped for a terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfollowed {
    /// The target is invalid, or has another host, port or scheme, where the credential must not go.
    Elsewhere(String),
    /// The target is not a ref advertisement.
    NoRepository(String),
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfollowed::Elsewhere(location) => write!(
                f,
                "it redirects to '{location}', and the helper never sends a token to another host"
            ),
            Unfollowed::NoRepository(path) => {
                write!(f, "it redirects to '{path}', which is not a repository")
            }
        }
    }
}

/// Gives the repository's new URL from the `Location` header for `asked`, the URL of its ref advertisement (RFC 9110
/// section 10.2.2). Scheme, host and port must stay the same, because the next request carries the credential.
///
/// # Deviation
///
/// Git follows a redirect to any host, and asks for a credential there or takes it from the new URL.
pub(super) fn follow(asked: &Url, location: &str) -> Result<Url, Unfollowed> {
    let target = asked
        .join(location)
        .ok()
        .filter(|target| !location.is_empty() && target.origin() == asked.origin());
    let Some(target) = target else {
        let shown = location.split('?').next().unwrap_or("");
        return Err(Unfollowed::Elsewhere(quote(&without_login(shown))));
    };
    let Some(repository) = target.path().strip_suffix(ADVERTISEMENT) else {
        return Err(Unfollowed::NoRepository(quote(target.path())));
    };
    // Start from the requested URL, so that the server decides the path only.
    let mut place = asked.clone();
    place.set_path(repository);
    place.set_query(None);
    Ok(place)
}

/// Removes a user name and password.
fn without_login(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("//") else {
        return location.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let place = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}//{}", &rest[place..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "https://host:444/ws/old.git/info/refs?service=git-upload-pack";

    fn follow(location: &str) -> Result<String, Unfollowed> {
        let asked = Url::parse(ASKED).expect("it is a URL");
        super::follow(&asked, location).map(String::from)
    }

    #[test]
    fn a_redirect_on_the_same_host_is_followed_and_only_its_path_is_used() {
        let cases = [
            "/ws/new.git/info/refs?service=git-upload-pack",
            "/ws/new.git/info/refs",
            "../../new.git/info/refs#part",
            "https://host:444/ws/new.git/info/refs",
            "HTTPS://HOST:444/ws/new.git/info/refs",
            "//host:444/ws/new.git/info/refs",
            "https://ann:secret@host:444/ws/new.git/info/refs",
            "/ws/x/../new.git/info/refs",
            "/\tws/new.git/info/refs",
        ];
        for location in cases {
            let followed = follow(location);
            assert_eq!(
                followed.as_deref(),
                Ok("https://host:444/ws/new.git"),
                "{location}"
            );
        }
        assert_eq!(cases.len(), 9);
    }

    #[test]
    fn a_redirect_to_another_scheme_host_or_port_is_not_followed() {
        let cases = [
            "",
            "http://host:444/ws/new.git/info/refs",
            "http://host/ws/new.git/info/refs",
            "https://host/ws/new.git/info/refs",
            "https://host:443/ws/new.git/info/refs",
            "https://host.evil:444/ws/new.git/info/refs",
            "https://evil.host:444/ws/new.git/info/refs",
            "https://host:444@evil/ws/new.git/info/refs",
            "https://host:444%2f@evil/ws/new.git/info/refs",
            "https://evil\\@host:444/ws/new.git/info/refs",
            "//evil/ws/new.git/info/refs",
            "/\\evil/ws/new.git/info/refs",
            "\\\\evil/ws/new.git/info/refs",
            "/\t/evil/ws/new.git/info/refs",
            "https:\t//evil/ws/new.git/info/refs",
            "ftp://host:444/ws/new.git/info/refs",
            "file:///ws/new.git/info/refs",
            "ext::sh -c id/info/refs",
            "bbtoken::ws/new/info/refs",
            "data:,/info/refs",
            "https://[::1/info/refs",
        ];
        for location in cases {
            let found = follow(location);
            assert!(
                matches!(found, Err(Unfollowed::Elsewhere(_))),
                "{location}: {found:?}"
            );
        }
        assert_eq!(cases.len(), 21);
    }

    #[test]
    fn a_redirect_to_something_else_than_an_advertisement_is_not_followed() {
        for location in [
            "/login",
            "/ws/new.git/info/refs/",
            "/ws/new.git",
            "/info/refs.x",
        ] {
            let found = follow(location);
            assert_eq!(found, Err(Unfollowed::NoRepository(location.to_owned())));
        }
    }

    #[test]
    fn a_location_is_shown_without_its_secrets() {
        let cases = [
            ("http://ann:canary@evil/x?code=canary", "http://evil/x"),
            ("//canary@evil", "//evil"),
            ("http://evil/a@b", "http://evil/a@b"),
            (
                "http://evil/\u{1b}[2J\u{202e}",
                "http://evil/\\u{1b}[2J\\u{202e}",
            ),
        ];
        for (location, shown) in cases {
            assert_eq!(
                follow(location),
                Err(Unfollowed::Elsewhere(shown.to_owned()))
            );
        }
        assert_eq!(cases.len(), 4);
    }
}
