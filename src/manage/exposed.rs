//! Secrets that stand in the open: recognized by their shape or their place, named, and never shown.

use std::ops::Range;

use crate::failure::quote;

/// How Atlassian's tokens begin. What follows is long; a few characters tell it from a word.
const SHAPES: [(&str, Exposed); 3] = [
    ("ATBB", Exposed::AppPassword),
    ("ATATT", Exposed::ApiToken),
    ("ATCTT", Exposed::AccessToken),
];
const LEAST_REST: usize = 6;
/// A user name is shorter; what is longer may be a token in its place.
const LONGEST_NAME: usize = 30;
/// What Bitbucket has a token's user called.
const PUBLIC_NAMES: [&str; 2] = ["x-token-auth", "x-bitbucket-api-token-auth"];
/// Passwords that stand beside a token in the place of the name.
const FILLERS: [&str; 2] = ["", "x-oauth-basic"];
/// Parameters of a URL that hold a token (Bitbucket removed the first in 2026; the others are those of OAuth 1).
const PARAMETERS: [&str; 4] = ["access_token=", "oauth_token=", "oauth_", "token="];
/// What takes a secret's place.
const MASK: &str = "***";

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposed {
    AppPassword,
    ApiToken,
    AccessToken,
    /// A token or signature of OAuth 1.
    OAuth1,
    /// An `Authorization` header.
    Header,
    /// Anything else in the place of a password.
    Password,
}

impl Exposed {
    /// Names it, and says what became of it at Bitbucket.
    pub(super) fn words(self) -> &'static str {
        match self {
            Exposed::AppPassword => "an app password, which no longer works",
            Exposed::ApiToken => "an API token",
            Exposed::AccessToken => "an access token",
            Exposed::OAuth1 => "keys of OAuth 1, which git over https does not take",
            Exposed::Header => "an Authorization header with a token in the open",
            Exposed::Password => "a password or token",
        }
    }

    /// Finds one in any text by its shape alone.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        let by_shape = token_in(text).map(|(_, exposed)| exposed);
        let is_oauth_1 = [
            "oauth_token=",
            "oauth_consumer_key",
            "oauth_signature",
            "/1.0/oauth",
        ]
        .iter()
        .any(|mark| text.contains(mark));
        by_shape.or(is_oauth_1.then_some(Exposed::OAuth1))
    }

    fn or_password(secret: &str) -> Self {
        token_in(secret).map_or(Exposed::Password, |(_, exposed)| exposed)
    }

    /// Finds one in the URLs of a text that lead to one of our hosts.
    pub(super) fn in_urls(text: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<Self> {
        urls(text).find_map(|url| {
            let found = user_of(url);
            let after = found.map_or(url, |(_, after)| after);
            let host = after.split([':', '/', '?', '#']).next().unwrap_or("");
            if !is_ours(host) {
                return None;
            }
            let in_user = found.and_then(|(user, _)| match user.split_once(':') {
                Some((name, password)) if FILLERS.contains(&password) => {
                    Some(Exposed::or_password(name))
                }
                Some((_, password)) => Some(Exposed::or_password(password)),
                None if is_name(user) => None,
                None => Some(Exposed::or_password(user)),
            });
            let (_, query) = after.split_once('?').unwrap_or((after, ""));
            let is_parameter = PARAMETERS.iter().any(|name| query.contains(name));
            in_user.or_else(|| {
                is_parameter.then(|| Exposed::in_text(query).unwrap_or(Exposed::Password))
            })
        })
    }
}

/// Shows a text without what may be a secret in it: users and passwords of URLs, their parameters, tokens.
pub(super) fn masked(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(url) = urls(rest).next() {
        let start = url.as_ptr().addr() - rest.as_ptr().addr();
        shown.push_str(&rest[..start]);
        shown.push_str(&masked_url(url));
        rest = &rest[start + url.len()..];
    }
    shown.push_str(rest);
    quote(&without_tokens(&shown))
}

/// Masks what follows `://`.
fn masked_url(url: &str) -> String {
    let (user, after) = match user_of(url) {
        None => (String::new(), url),
        Some((user, after)) => match user.split_once(':') {
            // Either of two may be the secret, whatever the other looks like.
            Some((name, _)) if PUBLIC_NAMES.contains(&name) => (format!("{name}:{MASK}@"), after),
            None if is_name(user) => (format!("{user}@"), after),
            _ => (format!("{MASK}@"), after),
        },
    };
    match after.split_once('?') {
        Some((path, _)) => format!("{user}{path}?{MASK}"),
        None => user + after,
    }
}

fn without_tokens(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((token, _)) = token_in(rest) {
        shown.push_str(&rest[..token.start]);
        shown.push_str(MASK);
        rest = &rest[token.end..];
    }
    shown + rest
}

/// Goes through what follows each `://`, up to the next blank or quote.
fn urls(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("://").map(|(start, mark)| {
        let url = &text[start + mark.len()..];
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>'));
        &url[..end.unwrap_or(url.len())]
    })
}

/// Splits a URL behind its `@`. A slash in a password makes the URL wrong, and the password no less of a secret.
fn user_of(url: &str) -> Option<(&str, &str)> {
    let authority = url.split(['/', '?', '#']).next().unwrap_or("");
    if let Some((user, _)) = authority.rsplit_once('@') {
        return Some((user, &url[user.len() + 1..]));
    }
    let (_, port) = authority.split_once(':')?;
    let is_port = port.chars().all(|c| c.is_ascii_digit());
    url.rsplit_once('@').filter(|_| !is_port)
}

/// Tells a user's name from a token in its place.
fn is_name(user: &str) -> bool {
    user.len() <= LONGEST_NAME && token_in(user).is_none()
}

/// Finds the first word of a token's shape.
fn token_in(text: &str) -> Option<(Range<usize>, Exposed)> {
    let of_kind = |(prefix, exposed): &(&str, Exposed)| {
        text.match_indices(prefix).find_map(|(start, _)| {
            let begins = !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = &text[start + prefix.len()..];
            let length = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
            let end = start + prefix.len() + length;
            (begins && length >= LEAST_REST).then_some((start..end, *exposed))
        })
    };
    let found = SHAPES.iter().filter_map(of_kind);
    found.min_by_key(|(token, _)| token.start)
}

/// Tokens end with a check sum behind `=`, which URLs write as `%3D`.
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_urls(text: &str) -> Option<Exposed> {
        Exposed::in_urls(text, &|host| host == "bitbucket.org")
    }

    #[test]
    fn secrets_in_urls_are_found_and_masked() {
        use Exposed::{AccessToken, ApiToken, AppPassword, Password};
        let long = "x".repeat(2500);
        let cases = [
            (
                "https://joe:ATBBcanary12@bitbucket.org/w/r",
                AppPassword,
                "https://***@bitbucket.org/w/r",
            ),
            (
                "https://joe:hunter2@bitbucket.org/w/r",
                Password,
                "https://***@bitbucket.org/w/r",
            ),
            (
                "https://joe:hun/te@r2@bitbucket.org/w",
                Password,
                "https://***@bitbucket.org/w",
            ),
            (
                "https://ATCTTcanary12@bitbucket.org/w",
                AccessToken,
                "https://***@bitbucket.org/w",
            ),
            (
                "ssh://x:ATATTcanary=12@bitbucket.org:22/w",
                ApiToken,
                "ssh://***@bitbucket.org:22/w",
            ),
            (
                "https://canary:x@bitbucket.org/w",
                Password,
                "https://***@bitbucket.org/w",
            ),
            (
                "https://x-token-auth:canary@bitbucket.org/w",
                Password,
                "https://x-token-auth:***@bitbucket.org/w",
            ),
            (
                "https://bitbucket.org/w?access_token=canary",
                Password,
                "https://bitbucket.org/w?***",
            ),
            (
                "see 'https://a:b@bitbucket.org/' too",
                Password,
                "see 'https://***@bitbucket.org/' too",
            ),
            (
                &format!("https://{long}@bitbucket.org/w"),
                Password,
                "https://***@bitbucket.org/w",
            ),
            (
                &format!("https://{long}:b@bitbucket.org/w"),
                Password,
                "https://***@bitbucket.org/w",
            ),
        ];
        for (url, exposed, shown) in cases {
            assert_eq!(in_urls(url), Some(exposed), "{url}");
            assert_eq!(masked(url), shown);
        }
        for (url, shown) in [
            ("https://joe@bitbucket.org/w", "https://joe@bitbucket.org/w"),
            (
                "https://bitbucket.org:443/w@v1",
                "https://bitbucket.org:443/w@v1",
            ),
            (
                "https://joe:secret@example.org/",
                "https://***@example.org/",
            ),
            ("git@bitbucket.org:w/r.git", "git@bitbucket.org:w/r.git"),
        ] {
            assert_eq!(in_urls(url), None, "{url}");
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn tokens_are_found_by_their_shape_anywhere() {
        let command = "!f() { echo password=ATBBabcdef123; }; f";
        assert_eq!(Exposed::in_text(command), Some(Exposed::AppPassword));
        assert_eq!(masked("x ATBBabcdef123; y"), "x ***; y");
        assert_eq!(Exposed::in_text("oauth_token=abc"), Some(Exposed::OAuth1));
        assert_eq!(masked("k=ATATTabcdef_1-2=AB%3D,b"), "k=***,b");
        for harmless in [
            "ATBB",
            "the ATATT prefix",
            "ATCTT-",
            "xATBBabcdef123",
            "oauth",
        ] {
            assert_eq!(Exposed::in_text(harmless), None, "{harmless}");
            assert_eq!(masked(harmless), harmless);
        }
    }
}
