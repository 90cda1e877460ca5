//! A string that never prints itself, and the masks for texts that may contain a secret.

use std::{fmt, ops::Range, sync::Arc};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::failure::quote;

/// The prefixes of Atlassian's tokens: app passwords, API tokens, access tokens. A token is long, so a few more
/// characters distinguish it from a word.
pub(crate) const TOKEN_PREFIXES: [&str; 3] = ["ATBB", "ATATT", "ATCTT"];
const LEAST_REST: usize = 6;
/// The longest name of a user or profile. A longer text may be a secret in the wrong place.
const LONGEST_NAME: usize = 30;
/// The longest client id (Bitbucket: 18 characters). A longer text may be the secret (32), except ids in groups, such
/// as UUIDs.
const LONGEST_ID: usize = 20;
/// The length of the ids of Bitbucket's older clients.
const SHORTEST_ID: usize = 18;
const LONGEST_GROUPED_ID: usize = 40;
/// The shown characters of a longer id.
const START_OF_ID: usize = 4;
/// The user names that Bitbucket requires for tokens.
const PUBLIC_NAMES: [&str; 2] = ["x-token-auth", "x-bitbucket-api-token-auth"];
/// Replaces a secret in a text.
const MASK: &str = "***";

/// A token, a client secret or a header with one.
///
/// It has no `Display`, and its `Debug` is redacted. Its clones share its memory, which is wiped with the last of them.
/// [`Secret::expose`] is the only way to read it, so that a search finds every such place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Wraps a string that must not be shown.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Secret(Arc::new(Zeroizing::new(text.into())))
    }

    /// Reads the secret, only for its header, form body or file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a fingerprint of the secret: the first 8 hexadecimal digits of its SHA-256.
    pub(crate) fn fingerprint(&self) -> String {
        hex_digest(self.0.as_bytes())[..8].to_owned()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Gives the SHA-256 of some bytes in lower-case hexadecimal digits.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    let digit = |four_bits: u8| char::from(b"0123456789abcdef"[usize::from(four_bits)]);
    ring::digest::digest(&ring::digest::SHA256, bytes)
        .as_ref()
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Masks possible secrets in a text: users, passwords and parameters of URLs, and tokens.
pub(crate) fn mask(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(url) = urls(rest).next() {
        let start = url.as_ptr().addr() - rest.as_ptr().addr();
        shown.push_str(&rest[..start]);
        shown.push_str(&masked_url(url));
        rest = &rest[start + url.len()..];
    }
    shown.push_str(rest);
    without_tokens(&shown)
}

/// Masks possible secrets in a text, and shortens it for a message.
pub(crate) fn masked(text: &str) -> String {
    quote(&mask(text))
}

/// Masks a text that is one address. An unescaped password may contain any character, so everything up to the last `@`
/// counts as the password.
pub(crate) fn mask_address(text: &str) -> String {
    let bare = text.strip_prefix("bbtoken::").unwrap_or(text);
    let rest = match bare.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        _ => bare,
    };
    let start = text.len() - rest.len();
    let Some(at) = rest.rfind('@') else {
        return mask(text);
    };
    let user = &rest[..at];
    if user.contains(':') || (!user.contains('/') && !is_name(user)) {
        return mask(&format!("{}{MASK}{}", &text[..start], &rest[at..]));
    }
    mask(text)
}

/// Shows a name, or masks it if it is so long that it may be a secret.
pub(crate) fn mask_name(text: &str) -> String {
    match is_name(text) {
        true => quote(&mask(text)),
        false => MASK.to_owned(),
    }
}

/// Shows a client's id, or only its start if it may be the secret.
pub(crate) fn mask_id(id: &str) -> String {
    let longest = match id.contains('-') {
        true => LONGEST_GROUPED_ID,
        false => LONGEST_ID,
    };
    if id.len() <= longest && token_in(id).is_none() {
        return quote(id);
    }
    let start: String = id.chars().take(START_OF_ID).collect();
    quote(&start) + "…"
}

/// Tells whether id and secret of a refused client may be swapped. Bitbucket's secrets are longer than their ids (18
/// and 32 characters, or 32 and 76).
pub(crate) fn may_be_swapped(id: &str, secret: &Secret) -> bool {
    (SHORTEST_ID..id.len()).contains(&secret.expose().len())
}

/// Shows only the program of a command, because users write secrets into the arguments.
pub(crate) fn program_of(command: &str) -> String {
    let word = command.split_whitespace().next().unwrap_or("");
    let is_program = |c: char| c.is_ascii_alphanumeric() || "-_./~".contains(c);
    let is_one = word.contains('/') || is_name(word);
    if !word.is_empty() && word.chars().all(is_program) && is_one {
        return format!("'{}'", quote(&mask(word)));
    }
    "a shell command".to_owned()
}

/// Masks the text after `://`.
fn masked_url(url: &str) -> String {
    let (user, after) = match user_of(url) {
        None => (String::new(), url),
        Some((user, after)) => match user.split_once(':') {
            // Each of the two may be the secret, whatever the other one is.
            Some((name, _)) if PUBLIC_NAMES.contains(&name) => (format!("{name}:{MASK}@"), after),
            None if is_name(user) => (format!("{user}@"), after),
            _ => (format!("{MASK}@"), after),
        },
    };
    match after.split_once('?') {
        Some((path, query)) if query.contains('=') => format!("{user}{path}?{MASK}"),
        _ => user + after,
    }
}

fn without_tokens(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(token) = token_in(rest) {
        shown.push_str(&rest[..token.start]);
        shown.push_str(MASK);
        rest = &rest[token.end..];
    }
    shown + rest
}

/// Iterates over the texts after `://` and `bbtoken::`, up to the next blank or quote.
pub(crate) fn urls(text: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<_> = ["://", "bbtoken::"]
        .iter()
        .flat_map(|mark| text.match_indices(mark))
        .map(|(start, mark)| (start + mark.len(), mark))
        .collect();
    starts.sort_unstable();
    starts.into_iter().filter_map(|(start, mark)| {
        let url = &text[start..];
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>'));
        let url = &url[..end.unwrap_or(url.len())];
        // Skip a `bbtoken::` address that contains a URL, because the URL comes separately.
        (mark == "://" || !url.contains("://")).then_some(url)
    })
}

/// Splits a URL after its `@`. A password with a slash makes the URL invalid, but is still a secret.
pub(crate) fn user_of(url: &str) -> Option<(&str, &str)> {
    let authority = url.split(['/', '?', '#']).next().unwrap_or("");
    if let Some((user, _)) = authority.rsplit_once('@') {
        return Some((user, &url[user.len() + 1..]));
    }
    let (_, port) = authority.split_once(':')?;
    let is_port = port.chars().all(|c| c.is_ascii_digit());
    url.rsplit_once('@').filter(|_| !is_port)
}

/// Tells whether a text is a name, not a secret.
pub(crate) fn is_name(user: &str) -> bool {
    user.len() <= LONGEST_NAME && token_in(user).is_none()
}

/// Finds the first word with the form of a token.
pub(crate) fn token_in(text: &str) -> Option<Range<usize>> {
    let of_kind = |prefix: &&str| {
        text.match_indices(prefix).find_map(|(start, _)| {
            let begins = !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = &text[start + prefix.len()..];
            let length = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
            let end = start + prefix.len() + length;
            (begins && length >= LEAST_REST).then_some(start..end)
        })
    };
    let found = TOKEN_PREFIXES.iter().filter_map(of_kind);
    found.min_by_key(|token| token.start)
}

/// Tokens end with `=` and a check sum. URLs have `%3D` instead of `=`.
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_masked() {
        let long = "q0JYbbxVam1FR1bRVDSNQuEvvhSjt7Ff";
        assert_eq!(long.len(), 32, "as Bitbucket's client secrets");
        for (text, shown) in [
            (format!("bbtoken::{long}@ws/r"), "bbtoken::***@ws/r"),
            ("bbtoken::work@ws/r".into(), "bbtoken::work@ws/r"),
            ("bbtoken::ATCTTcanary12@ws/r".into(), "bbtoken::***@ws/r"),
            (
                "bbtoken::https://a:b@h/r".into(),
                "bbtoken::https://***@h/r",
            ),
            ("a ATATTcanary12 b".into(), "a *** b"),
        ] {
            assert_eq!(mask(&text), shown);
            assert_eq!(mask_address(&text), shown);
            assert_eq!(mask(shown), shown, "twice is no other");
        }
        for (text, shown) in [
            ("https://u:a b'c@d/e@host/x", "https://***@host/x"),
            ("htps:/u:pass word@host", "***@host"),
            ("https://host:1/a@b", "https://***@b"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(mask_address(text), shown);
        }
        assert_eq!(mask_id(long), "q0JY…");
        assert_eq!(mask_id("Ab3dE5gH7jK9mN1pQr"), "Ab3dE5gH7jK9mN1pQr");
        assert_eq!(mask_id("ATCTTcanary12"), "ATCT…");
        let uuid = "0f1e2d3c-aaaa-bbbb-cccc-1234567890ab";
        assert_eq!(mask_id(uuid), uuid);
        assert_eq!(mask_name(long), "***");
        assert_eq!(mask_name("work"), "work");
        for (command, shown) in [
            ("op read canary", "'op'"),
            ("/usr/bin/pass canary", "'/usr/bin/pass'"),
            ("!f() { echo canary; }; f", "a shell command"),
            ("TOKEN=canary x", "a shell command"),
            (long, "a shell command"),
            ("", "a shell command"),
        ] {
            assert_eq!(program_of(command), shown);
        }
    }

    #[test]
    fn an_id_longer_than_a_secret_that_may_be_an_id_may_be_swapped() {
        for (id, secret, expected) in [
            (32, 18, true),
            (76, 32, true),
            (18, 32, false),
            (32, 76, false),
            (32, 17, false),
        ] {
            let (id, secret) = ("i".repeat(id), Secret::new("s".repeat(secret)));
            assert_eq!(may_be_swapped(&id, &secret), expected, "{id} {secret:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("canary");
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(redacted) Some(Secret(redacted))"
        );
    }

    #[test]
    fn a_fingerprint_is_stable_and_short() {
        assert_eq!(Secret::new("abc").fingerprint(), "ba7816bf");
    }
}
