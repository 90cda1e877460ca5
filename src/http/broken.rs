//! What the library below reports when an exchange breaks, told as a [`TransportError`].

use std::{error::Error, fmt, io};

use super::{Phase, Proxy, TransportError, trust::complaint};

/// How hyper-util calls a proxy's answer 407 to CONNECT (RFC 9110 section 15.5.8).
const WANTS_LOGIN: &str = "proxy authorization required";
/// How hyper-util calls a SOCKS proxy that it cannot connect to.
const UNREACHABLE: &str = "SOCKS error: failed to create underlying connection";
/// How hyper-util calls any other answer to CONNECT but 200.
const REFUSED: &str = "tunnel error: unsuccessful";

/// Tells from reqwest's error how far the exchange had come. The URL is left out: the host is named already.
pub(super) fn classify(
    error: reqwest::Error,
    host: &str,
    proxy: Option<&Proxy>,
    phase: Phase,
) -> TransportError {
    let error = error.without_url();
    let phase = match () {
        () if is_tls(&error) => Phase::Tls,
        () if error.is_connect() => Phase::Connect,
        () if error.is_timeout() => Phase::TimeLimit,
        () => phase,
    };
    let proxy = proxy.filter(|_| matches!(phase, Phase::Connect | Phase::Tls));
    TransportError::new(phase, host, Innermost(error)).through(proxy)
}

/// Tells whether a proxy wants a user name and password before it connects.
pub(super) fn wants_proxy_login(error: &TransportError) -> bool {
    let inner = error.source().and_then(|it| it.downcast_ref::<Innermost>());
    inner.is_some_and(|inner| inner.last().to_string().contains(WANTS_LOGIN))
}

/// The proxy takes a password in no way that the library has.
#[derive(Debug)]
pub(super) struct OtherLogin {
    /// The names of the ways that it has, if they are known.
    pub(super) ways: String,
    /// Whether the proxy's address names a user: git asks for no password otherwise.
    pub(super) has_user: bool,
}

impl fmt::Display for OtherLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ways.as_str() {
            "" => f.write_str("http.proxyAuthMethod wants another way of telling the proxy a password than the native transport has")?,
            ways => write!(f, "the proxy takes a password by {ways} only, which git's own transport has, and the native one has not")?,
        }
        match self.has_user {
            true => Ok(()),
            false => f.write_str("; git wants the user's name in the proxy's address for that: http://<user>@<host>:<port>"),
        }
    }
}

impl Error for OtherLogin {}

/// Tells whether git's own transport gets further.
pub(super) fn wants_other_login(error: &TransportError) -> bool {
    let other = error
        .source()
        .and_then(|it| it.downcast_ref::<OtherLogin>());
    other.is_some_and(|other| other.has_user)
}

/// Tells a connection that was refused, reset or found no way; a name that nobody has stays one.
pub(super) fn is_of_the_network(error: &TransportError) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, UnexpectedEof,
    };
    let inner = error.source().and_then(|it| it.downcast_ref::<Innermost>());
    let mut cause = inner.map(|inner| &inner.0 as &(dyn Error + 'static));
    while let Some(link) = cause {
        let kind = link.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(
            ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkDown
            | NetworkUnreachable | UnexpectedEof,
        ) = kind
        {
            return true;
        }
        cause = link.source();
    }
    false
}

fn is_tls(error: &reqwest::Error) -> bool {
    rustls_error(error).is_some()
}

/// Finds the error of TLS, if it is one.
fn rustls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(link) = cause {
        let found = link.downcast_ref().or_else(|| inside(link.downcast_ref()?));
        if found.is_some() {
            return found;
        }
        cause = link.source();
    }
    None
}

/// Looks through I/O errors, which may wrap each other and do not name what they wrap as their source.
fn inside(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner
        .downcast_ref()
        .or_else(|| inside(inner.downcast_ref()?))
}

/// reqwest's error, shown by what it wraps in the end: its own words ("error sending request") say less.
#[derive(Debug)]
struct Innermost(reqwest::Error);

impl Innermost {
    fn last(&self) -> &(dyn Error + 'static) {
        let mut last: &(dyn Error + 'static) = &self.0;
        while let Some(next) = last.source() {
            last = next;
        }
        last
    }
}

impl fmt::Display for Innermost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last();
        if let Some(error) = last.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::UnexpectedEof
        {
            // rustls explains at length, to programmers, what a missing close_notify may mean.
            return f.write_str("the connection ended unexpectedly");
        }
        if let Some(said) = rustls_error(&self.0).and_then(complaint) {
            return f.write_str(said);
        }
        let text = last.to_string();
        match () {
            () if text.contains(WANTS_LOGIN) => f.write_str(
                "the proxy wants another user name and password; if it takes none but by NTLM, Kerberos or Digest, set \
                 http.proxyAuthMethod to that",
            ),
            () if text.contains(UNREACHABLE) => f.write_str("the proxy cannot be reached"),
            () if text.contains(REFUSED) => f.write_str("the proxy refuses to connect there"),
            () => f.write_str(&text),
        }
    }
}

impl Error for Innermost {}
