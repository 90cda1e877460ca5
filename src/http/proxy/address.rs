//! A proxy's address, the setting that names it, and its login.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{failure::quote, secret::Secret, url::Url};

/// All but the unreserved characters of a URL (RFC 3986 section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A proxy from a setting or variable.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    url: Secret,
    /// The setting or variable, for messages.
    origin: String,
}

/// Gives the host and port that a connection for a URL is made to: those of the proxy, or of the server itself.
pub(crate) fn next_hop<'u>(proxy: Option<&Proxy>, url: &'u Url) -> (Cow<'u, str>, u16) {
    match proxy {
        // `git_config` adds the port that the user omits.
        Some(proxy) => (
            proxy.host().unwrap_or_default().into(),
            proxy.port().unwrap_or_default(),
        ),
        None => (
            url.host_str().unwrap_or("").into(),
            url.port_or_known_default().unwrap_or(443),
        ),
    }
}

/// The authentication schemes that a proxy may use (git-config(1), `http.proxyAuthMethod`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProxyAuth {
    /// Any scheme that the proxy offers.
    #[default]
    Any,
    /// The password in clear text (RFC 7617).
    Basic,
    /// A hash of the password (RFC 7616).
    Digest,
    /// Kerberos, or another mechanism of the system (RFC 4559).
    Negotiate,
    /// Microsoft's NTLM.
    Ntlm,
}

impl ProxyAuth {
    /// Reads git's word. An unknown word means any scheme, as in git.
    pub(crate) fn read(word: &str) -> Self {
        match word {
            "basic" => ProxyAuth::Basic,
            "digest" => ProxyAuth::Digest,
            "negotiate" => ProxyAuth::Negotiate,
            "ntlm" => ProxyAuth::Ntlm,
            _ => ProxyAuth::Any,
        }
    }

    /// Tells whether the password may be sent in clear text.
    pub(in crate::http) fn allows_basic(self) -> bool {
        matches!(self, ProxyAuth::Any | ProxyAuth::Basic)
    }
}

/// The proxy and user for which a login is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyUser {
    /// The scheme: `http`, `https`, `socks5` and others.
    pub(crate) scheme: String,
    /// The host with the port.
    pub(crate) host: String,
    /// The user name that is configured, if any.
    pub(crate) user: Option<String>,
}

/// A user's name and password for a proxy.
#[derive(Clone, Debug)]
pub(crate) struct ProxyLogin {
    /// The name.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: Secret,
}

/// A source of logins for proxies, which learns whether they worked (git: `proxy_auth` in http.c).
pub(crate) trait ProxyLogins {
    /// Gives a login, stored or entered by the user.
    fn ask(&self, proxy: &ProxyUser) -> Option<ProxyLogin>;

    /// Learns whether the proxy accepted the login.
    fn tell(&self, proxy: &ProxyUser, login: &ProxyLogin, is_right: bool);
}

impl Proxy {
    /// Takes an address with a scheme. The address may contain a login.
    pub(crate) fn new(url: impl Into<String>, origin: impl Into<String>) -> Self {
        Proxy {
            url: Secret::new(url),
            origin: origin.into(),
        }
    }

    /// Gives the whole address for a connection. `login` replaces the login in the address.
    pub(in crate::http) fn with_login(&self, login: Option<&ProxyLogin>) -> Secret {
        let Some(ProxyLogin { user, password }) = login else {
            return self.url.clone();
        };
        let (scheme, place, path) = (self.scheme(), self.place(), self.path());
        let user = utf8_percent_encode(user, ESCAPED);
        let password = utf8_percent_encode(password.expose(), ESCAPED);
        Secret::new(format!("{scheme}://{user}:{password}@{place}{path}"))
    }

    /// Gives the login as a header value (RFC 7617), if user name and password are known.
    pub(in crate::http) fn basic(&self, login: Option<&ProxyLogin>) -> Option<String> {
        let url = Url::parse(self.with_login(login).expose()).ok()?;
        let decode = |text| percent_decode_str(text).collect();
        let password = url.password()?;
        let pair = [decode(url.username()), vec![b':'], decode(password)].concat();
        Some(format!("Basic {}", BASE64.encode(pair)))
    }

    /// Gives the scheme, in lower case.
    pub(crate) fn scheme(&self) -> &str {
        let url = self.url.expose();
        url.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Tells whether the proxy uses CONNECT.
    pub(in crate::http) fn is_http(&self) -> bool {
        matches!(self.scheme(), "http" | "https")
    }

    /// Tells whether this is a SOCKS 4 proxy with a user name, which the library does not support.
    pub(crate) fn is_socks_4_with_user(&self) -> bool {
        self.scheme().starts_with("socks4") && self.has_user()
    }

    /// Gives the path after host and port. curl uses it as the path of a Unix socket (CURLOPT_PROXY).
    pub(crate) fn path(&self) -> &str {
        let rest = self.after_scheme();
        rest.find('/').map_or("", |start| &rest[start..])
    }

    /// Names a kind of proxy that only libcurl may support.
    pub(crate) fn unknown_kind(&self) -> Option<String> {
        const KNOWN: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
        let scheme = self.scheme();
        if !KNOWN.contains(&scheme) {
            return Some(format!("a proxy with the scheme '{}'", quote(scheme)));
        }
        self.is_on_socket()
            .then(|| "a proxy on a Unix socket".to_owned())
    }

    /// Tells whether the proxy listens on a Unix socket (git-config(1), `http.proxy`).
    pub(crate) fn is_on_socket(&self) -> bool {
        self.scheme().starts_with("socks") && self.path().len() > 1
    }

    /// Gives host and port as written, without the login.
    pub(crate) fn place(&self) -> &str {
        without_login(self.authority())
    }

    /// Gives host and port for messages, or host and path of a socket.
    ///
    /// An unescaped password may contain any character, so everything up to the last `@` counts as a login.
    pub(crate) fn shown(&self) -> &str {
        let place = without_login(self.after_scheme());
        match self.is_on_socket() {
            true => place,
            false => place.split(['/', '?', '#']).next().unwrap_or(place),
        }
    }

    /// Gives the setting or variable that names the proxy.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Gives the port.
    pub(crate) fn port(&self) -> Option<u16> {
        self.place().rsplit_once(':')?.1.parse().ok()
    }

    /// Gives the host alone.
    pub(crate) fn host(&self) -> Option<String> {
        let url = Url::parse(self.url.expose()).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// Describes the login that is needed.
    pub(in crate::http) fn user(&self) -> ProxyUser {
        let url = gix::url::parse(self.url.expose()).ok();
        // A line break would inject another line into git's credential protocol.
        let is_whole = |user: &&str| !user.is_empty() && !user.contains(char::is_control);
        let user = url.as_ref().and_then(|url| url.user()).filter(is_whole);
        ProxyUser {
            scheme: self.scheme().to_owned(),
            host: self.place().to_owned(),
            user: user.map(str::to_owned),
        }
    }

    /// Tells whether the address has a user name without a password (git: `init_curl_proxy_auth`).
    pub(in crate::http) fn lacks_password(&self) -> bool {
        let login = self.authority().rsplit_once('@').map(|(login, _)| login);
        login.is_some_and(|login| !login.is_empty() && !login.contains(':'))
    }

    /// Tells whether the address has a user name, with or without a password.
    pub(in crate::http) fn has_user(&self) -> bool {
        self.has_login() || self.lacks_password()
    }

    /// Tells whether the address contains a complete login.
    pub(in crate::http) fn has_login(&self) -> bool {
        self.authority().contains('@') && !self.lacks_password()
    }

    fn authority(&self) -> &str {
        let rest = self.after_scheme();
        rest.split('/').next().unwrap_or(rest)
    }

    fn after_scheme(&self) -> &str {
        let url = self.url.expose();
        url.split_once("://").map_or(url, |(_, rest)| rest)
    }
}

fn without_login(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, place)| place)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", self.shown(), self.origin)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entered_login_replaces_the_login_in_the_address() {
        let login = ProxyLogin {
            user: "ann@x".into(),
            password: Secret::new("p:/ä"),
        };
        for url in ["http://ann@proxy:1", "http://proxy:1"] {
            let url = Proxy::new(url, "").with_login(Some(&login));
            assert_eq!(url.expose(), "http://ann%40x:p%3A%2F%C3%A4@proxy:1");
        }
    }

    #[test]
    fn a_complete_login_is_sent_decoded() {
        let basic = |url: &str| Proxy::new(url, "").basic(None);
        assert_eq!(basic("http://proxy:1"), None);
        assert_eq!(basic("http://ann@proxy:1"), None);
        assert_eq!(
            basic("http://ann:p%3a%2F%zz@proxy:1").as_deref(),
            Some("Basic YW5uOnA6LyV6eg==")
        );
    }

    #[test]
    fn a_login_is_detected_and_never_shown() {
        let cases = [
            ("http://proxy:8080", None, false, false),
            ("http://ann@proxy:8080", Some("ann"), true, false),
            ("http://ann:can%40ary@proxy:8080/", Some("ann"), false, true),
            ("socks5h://ann:@proxy:8080", Some("ann"), false, true),
            ("http://ann%40x@proxy:8080", Some("ann@x"), true, false),
            ("http://a%0ahost=x@proxy:8080", None, true, false),
        ];
        for (url, user, lacks_password, has_login) in cases {
            let proxy = Proxy::new(url, "http.proxy");
            assert_eq!(proxy.user().user.as_deref(), user, "{url}");
            assert_eq!(
                (proxy.lacks_password(), proxy.has_login()),
                (lacks_password, has_login),
                "{url}"
            );
            assert_eq!(format!("{proxy:?}"), "Proxy('proxy:8080' (http.proxy))");
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn unix_sockets_and_unknown_schemes_are_unsupported() {
        let cases = [
            (
                "socks5h://localhost/run/proxy",
                Some("a proxy on a Unix socket"),
            ),
            (
                "socks5://localhost/run/proxy",
                Some("a proxy on a Unix socket"),
            ),
            (
                "gopher://localhost:70",
                Some("a proxy with the scheme 'gopher'"),
            ),
            ("socks5h://localhost:1/", None),
            ("http://localhost:1/path", None),
            ("https://localhost", None),
        ];
        for (url, kind) in cases {
            assert_eq!(Proxy::new(url, "").unknown_kind().as_deref(), kind, "{url}");
        }
        for login in ["", "ann:can/ary@"] {
            let url = format!("socks5h://{login}localhost/run/proxy");
            let shown = Proxy::new(url, "http.proxy").to_string();
            assert_eq!(shown, "'localhost/run/proxy' (http.proxy)");
        }
    }

    #[test]
    fn no_password_in_a_proxy_address_is_shown() {
        let kept = ["", "/", "@", "x@y", "#x?", "\\", "%2f:", "[::1]:80/path"];
        crate::inside::fuzz::check_text(&kept, |text| {
            if text.contains("canary") {
                return;
            }
            for (before, after) in [("", text), (text, "")] {
                let url = format!("http://ann:{before}canary{after}@proxy:8080");
                let shown = Proxy::new(url, "http.proxy").to_string();
                assert!(!shown.contains("canary"), "{shown}");
            }
        });
    }
}
