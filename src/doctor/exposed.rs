//! Finds exposed secrets by their form or their place. Names their kind, and never shows them.

use crate::{
    app::App,
    secret::{TOKEN_PREFIXES, is_name, token_in, urls, user_of},
};

/// Passwords that mean that the user name is a token.
const FILLERS: [&str; 2] = ["", "x-oauth-basic"];
/// Parameters of a URL that contain a token. Bitbucket removed the first in 2026; the others are those of OAuth 1.
const PARAMETERS: [&str; 4] = ["access_token=", "oauth_token=", "oauth_", "token="];

/// Tells whether a host is Bitbucket's.
pub(super) fn is_bitbucket(app: &App, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_cloud = host == "bitbucket.org" || host.ends_with(".bitbucket.org");
    let mut hosts = app.places.iter().filter_map(|place| place.base.host_str());
    is_cloud || hosts.any(|configured| configured == host)
}

/// Gives the host of an address that may have no scheme.
pub(super) fn host_of(address: &str) -> &str {
    let url = address.split_once("://").map_or(address, |(_, rest)| rest);
    let after = user_of(url).map_or(url, |(_, after)| after);
    after.split([':', '/', '?', '#']).next().unwrap_or("")
}

/// The kinds of exposed secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposed {
    AppPassword,
    ApiToken,
    AccessToken,
    /// A token or signature of OAuth 1.
    OAuth1,
    /// An `Authorization` header.
    Header,
    /// Any other password.
    Password,
}

impl Exposed {
    /// Names the kind, and says whether Bitbucket still accepts it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Exposed::AppPassword => "an app password, which no longer works",
            Exposed::ApiToken => "an API token",
            Exposed::AccessToken => "an access token",
            Exposed::OAuth1 => "OAuth 1 keys, which Bitbucket does not accept for git over https",
            Exposed::Header => "an Authorization header with a token in plain text",
            Exposed::Password => "a password or token",
        }
    }

    /// Finds a secret in any text by its form.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        let by_shape = Exposed::token(text);
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

    fn token(text: &str) -> Option<Self> {
        let token = &text[token_in(text)?];
        let kinds = [
            Exposed::AppPassword,
            Exposed::ApiToken,
            Exposed::AccessToken,
        ];
        let mut kinds = TOKEN_PREFIXES.into_iter().zip(kinds);
        let found = kinds.find(|(prefix, _)| token.starts_with(prefix));
        found.map(|(_, kind)| kind)
    }

    fn or_password(secret: &str) -> Self {
        Exposed::token(secret).unwrap_or(Exposed::Password)
    }

    /// Finds a secret in those URLs of a text that lead to a configured host.
    pub(super) fn in_urls(text: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<Self> {
        urls(text).find_map(|url| {
            if !is_ours(host_of(url)) {
                return None;
            }
            let found = user_of(url);
            let after = found.map_or(url, |(_, after)| after);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::masked;

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
