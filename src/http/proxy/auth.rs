//! Asks a proxy for its authentication schemes and status, because the library does not report them.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use super::address::{Proxy, ProxyLogin};
use crate::{failure::quote, url::Url};

/// The time limit for the proxy, which has just answered.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest head that is read.
const MAX_HEAD_BYTES: u64 = 16 * 1024;

/// The schemes that git's setting `http.proxyAuthMethod` knows.
const SCHEMES: [&str; 4] = ["basic", "digest", "negotiate", "ntlm"];

/// The names of the offered schemes (RFC 9110 section 11.7.1), in lower case; empty if unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthSchemes(Vec<String>);

impl AuthSchemes {
    /// Tells whether the proxy may accept Basic.
    pub(crate) fn has_basic(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|scheme| scheme == "basic")
    }

    /// Tells whether curl, and so git, has none of the offered schemes.
    pub(crate) fn is_unknown(&self) -> bool {
        let is_known = |scheme: &String| SCHEMES.contains(&scheme.as_str());
        !self.0.is_empty() && !self.0.iter().any(is_known)
    }

    fn read(head: &str) -> Self {
        let mut schemes: Vec<String> = head
            .lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_challenge = name.trim().eq_ignore_ascii_case("proxy-authenticate");
                let scheme = value.split_whitespace().next().filter(|_| is_challenge)?;
                Some(scheme.trim_end_matches(',').to_ascii_lowercase())
            })
            .collect();
        schemes.sort();
        schemes.dedup();
        AuthSchemes(schemes)
    }
}

impl fmt::Display for AuthSchemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.0.iter().map(|scheme| quote(scheme)).collect();
        f.write_str(&schemes.join(" or "))
    }
}

/// Asks a proxy for its schemes by connecting without a password. The result is empty if that fails.
pub(crate) fn ask(proxy: &Proxy, url: &Url) -> AuthSchemes {
    // Only the library can connect to an https proxy.
    if proxy.scheme() != "http" {
        return AuthSchemes::default();
    }
    head(proxy, url, None).map_or_else(|_| AuthSchemes::default(), |head| AuthSchemes::read(&head))
}

/// Asks a proxy to connect, with the login that it got before, and gives the status of its response.
pub(crate) fn status(proxy: &Proxy, url: &Url, login: Option<&ProxyLogin>) -> Option<u16> {
    if proxy.scheme() != "http" {
        return None;
    }
    let head = head(proxy, url, proxy.basic(login)).ok()?;
    head.split(' ').nth(1)?.get(..3)?.parse().ok()
}

fn head(proxy: &Proxy, url: &Url, basic: Option<String>) -> io::Result<String> {
    let unknown = || io::Error::from(io::ErrorKind::NotFound);
    let host = proxy.host().ok_or_else(unknown)?;
    let place = (
        host.trim_matches(['[', ']']),
        proxy.port().ok_or_else(unknown)?,
    );
    let address = place.to_socket_addrs()?.next().ok_or_else(unknown)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let host = url.host_str().ok_or_else(unknown)?;
    let target = format!(
        "{host}:{}",
        url.port_or_known_default().ok_or_else(unknown)?
    );
    let login = basic.map_or_else(String::new, |it| format!("Proxy-Authorization: {it}\r\n"));
    let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
    stream.write_all(ask.as_bytes())?;
    // The deadline also ends a proxy that sends byte by byte.
    let deadline = Instant::now() + LIMIT;
    let mut head = Vec::new();
    for byte in io::BufReader::new(stream.take(MAX_HEAD_BYTES)).bytes() {
        head.push(byte?);
        if head.ends_with(b"\r\n\r\n") || Instant::now() > deadline {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Why a proxy did not connect to the server.
#[derive(Debug)]
pub(in crate::http) enum ProxyError {
    /// It requires a login, and no user or credential helper gave one.
    NoLogin,
    /// It refused the login that it got.
    WrongLogin,
    /// It refused CONNECT with this status.
    Refused(u16),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::NoLogin => {
                f.write_str("the proxy wants a user name and password, and git has none for it")
            }
            ProxyError::WrongLogin => f.write_str("the proxy wants another user name and password"),
            ProxyError::Refused(status) => write!(
                f,
                "the proxy refused to connect to the server: it answered {status}"
            ),
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_read_from_the_head_of_a_refusal() {
        let cases = [
            (
                "Proxy-Authenticate: NTLM\r\nproxy-authenticate: Negotiate\r\n",
                "negotiate or ntlm",
                false,
            ),
            (
                "Proxy-Authenticate: Basic realm=\"x, NTLM\"\r\n",
                "basic",
                true,
            ),
            (
                "Proxy-Authenticate: NTLM\r\nProxy-Authenticate: BASIC\r\n",
                "basic or ntlm",
                true,
            ),
            ("WWW-Authenticate: NTLM\r\n", "", true),
            ("Proxy-Authenticate:\r\n", "", true),
            ("Proxy-Authenticate: \u{9b}31m\r\n", "\\u{9b}31m", false),
        ];
        for (lines, shown, has_basic) in cases {
            let schemes = AuthSchemes::read(&format!("HTTP/1.1 407 No\r\n{lines}\r\n"));
            assert_eq!(
                (schemes.to_string().as_str(), schemes.has_basic()),
                (shown, has_basic)
            );
        }
        assert_eq!(cases.len(), 6);
    }
}
