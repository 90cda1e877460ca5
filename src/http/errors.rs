//! Turns the errors of reqwest and the libraries below it into a [`TransportError`].

use std::{error::Error, fmt, io};

use rustls::{
    AlertDescription::{HandshakeFailure, NoApplicationProtocol},
    Error::AlertReceived,
};

use super::{
    proxy::{Proxy, auth::ProxyError},
    timeouts::ConnectTimeout,
    tls::TlsProblem,
    transport_error::{Phase, TransportError},
};

/// hyper-util's text for a proxy's status 407 after CONNECT (RFC 9110 section 15.5.8).
const WANTS_LOGIN: &str = "proxy authorization required";
/// hyper-util's text for a SOCKS proxy that it cannot connect to.
const UNREACHABLE: &str = "SOCKS error: failed to create underlying connection";
/// hyper-util's text for any other status than 200 after CONNECT.
const REFUSED: &str = "tunnel error: unsuccessful";

/// hyper-util's text for a head of more than 8 KB after CONNECT.
const LONG_HEAD: &str = "proxy response headers too long";

/// hyper's text for a `Content-Length` that is no number, or several that differ.
const UNCLEAR_LENGTH: &str = "invalid content-length";

/// The error of a lent connection if the lender has ended, not the server.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct LenderEnded;

#[cfg(unix)]
impl fmt::Display for LenderEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent that lent the connection has ended; try again")
    }
}

#[cfg(unix)]
impl Error for LenderEnded {}

/// The texts of glibc and musl for a temporary failure of the resolver (getaddrinfo(3), `EAI_AGAIN`).
const RESOLVER_FAILED: [&str; 2] = [
    "Temporary failure in name resolution",
    "failed to lookup address information: Try again",
];

/// Finds the phase of a reqwest error. The error loses its URL, because the message names the host already.
pub(super) fn classify(
    error: reqwest::Error,
    host: &str,
    proxy: Option<&Proxy>,
    phase: Phase,
) -> TransportError {
    let error = error.without_url();
    let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
    let phase = match is_timeout {
        true => Phase::TimeLimit,
        false => phase,
    };
    let error = classify_inner(error.into(), is_connect, host, phase);
    let proxy = proxy.filter(|_| matches!(error.phase, Phase::Connect | Phase::Tls));
    error.through(proxy)
}

/// Finds the phase of an error of the libraries below reqwest.
pub(super) fn classify_inner(
    error: Box<dyn Error + Send + Sync>,
    is_connect: bool,
    host: &str,
    phase: Phase,
) -> TransportError {
    let inner = Innermost {
        error,
        is_connect,
        curl: None,
    };
    let phase = match () {
        () if inner.find::<rustls::Error>().is_some() => Phase::Tls,
        () if is_connect => Phase::Connect,
        () if inner.is_not_http() => Phase::NotHttp,
        () => phase,
    };
    TransportError::new(phase, host, inner)
}

/// The proxy supports no authentication scheme that the library has.
#[derive(Debug)]
pub(super) struct UnsupportedAuth {
    /// The schemes that it offers, if they are known.
    pub(super) schemes: String,
    /// Whether git has none of these schemes, either.
    pub(super) is_unknown: bool,
    /// Whether the proxy's address contains a user name. Without one, git does not ask for a password.
    pub(super) has_user: bool,
}

impl fmt::Display for UnsupportedAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unknown {
            return write!(
                f,
                "the proxy accepts only {}, which git does not support; ask its administrator for Basic, Digest, NTLM or Negotiate",
                self.schemes
            );
        }
        match self.schemes.as_str() {
            "" => f.write_str("http.proxyAuthMethod asks for an authentication method that the native transport does not support")?,
            schemes => write!(f, "the proxy accepts only {schemes}, which git's own transport supports and the native transport does not")?,
        }
        match self.has_user {
            true => Ok(()),
            false => f.write_str("; for git's own transport, put the user name into the proxy's address: http://<user>@<host>:<port>"),
        }
    }
}

impl Error for UnsupportedAuth {}

/// Tells whether the process that lent a connection has ended, not the server.
#[cfg(unix)]
pub(super) fn is_of_lender(error: &reqwest::Error) -> bool {
    links(error).any(|link| link.is::<LenderEnded>())
}

impl TransportError {
    /// Tells whether the network failed, so that a retry may succeed: the connection was refused, reset or had no
    /// route. Unknown names are final.
    ///
    /// A proxy's refusal without a known status counts too: a proxy that answers 502 to 504 may succeed soon.
    pub(crate) fn is_of_the_network(&self) -> bool {
        if let Some(ProxyError::Refused(status)) = self.cause() {
            // The proxy is busy or cannot reach the server at the moment.
            return matches!(status, 408 | 429 | 500..);
        }
        let Some(inner) = self.cause::<Innermost>() else {
            return false;
        };
        links(inner.error.as_ref()).any(|link| link.downcast_ref().is_some_and(is_lost))
            || RESOLVER_FAILED.iter().any(|text| self.says(text))
            || self.is_refused_by_proxy()
    }

    /// Tells whether TLS failed before the server executed the request.
    ///
    /// This includes a server that renegotiates after it read the request. rustls refuses that, and the server then
    /// closes the connection without executing anything.
    pub(super) fn is_of_tls(&self) -> bool {
        let Some(inner) = self.cause::<Innermost>() else {
            return false;
        };
        let is_of_handshake =
            |error: &rustls::Error| inner.is_connect || *error == AlertReceived(HandshakeFailure);
        inner.find().is_some_and(is_of_handshake)
    }

    /// Tells whether other libraries for TLS and HTTP, such as git's, may succeed.
    pub(crate) fn may_be_of_our_library(&self) -> bool {
        self.phase == Phase::Tls || self.may_be_read_by_git() || self.is_connected_for_git()
    }

    /// Tells whether the response arrived and git's HTTP library may read it.
    ///
    /// It must have a clear length. curl guesses one, and so takes one response for two (RFC 9112 section 6.3).
    pub(crate) fn may_be_read_by_git(&self) -> bool {
        self.phase == Phase::NotHttp && !self.says(UNCLEAR_LENGTH)
    }

    /// Tells whether the server rejected HTTP/1.1 in the TLS handshake (RFC 7301 section 3.2). Git's own transport also
    /// supports HTTP/2.
    pub(crate) fn offers_only_http_2(&self) -> bool {
        let inner = self.cause::<Innermost>();
        inner.is_some_and(Innermost::is_alpn)
    }

    /// Tells whether curl, which requests tokens, refused a server that git's own TLS may accept.
    pub(crate) fn is_of_strict_curl(&self) -> bool {
        let inner = self.cause::<Innermost>();
        inner.is_some_and(|inner| inner.curl.is_some())
    }

    /// Tells whether the proxy needs an authentication scheme that only git's own transport may support.
    pub(crate) fn wants_other_login(&self) -> bool {
        let other = self.cause::<UnsupportedAuth>();
        other.is_some_and(|other| other.has_user && !other.is_unknown)
    }

    /// Tells whether a proxy requires a user name and password before it connects.
    pub(super) fn wants_proxy_login(&self) -> bool {
        self.says(WANTS_LOGIN)
    }

    /// Tells whether a proxy refused to connect. The library does not report the status.
    pub(super) fn is_refused_by_proxy(&self) -> bool {
        self.says(REFUSED)
    }

    /// Tells whether a proxy connected in a way that only curl, and so git, accepts: with another status of success
    /// than 200, or with a long head.
    pub(super) fn is_connected_for_git(&self) -> bool {
        matches!(self.cause(), Some(ProxyError::Refused(200..=299))) || self.says(LONG_HEAD)
    }

    /// Gives the error of the layer below, if it has this type.
    fn cause<T: Error + 'static>(&self) -> Option<&T> {
        self.source.downcast_ref()
    }

    /// Tells whether the text of the library's innermost error contains these words.
    fn says(&self, words: &str) -> bool {
        let inner = self.cause::<Innermost>();
        inner.is_some_and(|inner| inner.last().to_string().contains(words))
    }
}

/// Walks an error chain, including the errors inside I/O errors, which do not report them as their source.
fn links<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    std::iter::successors(Some(error), |&link| {
        let wrapped = link
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => link.source(),
        }
    })
}

fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, UnexpectedEof,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | UnexpectedEof
    )
}

/// A library's error that displays its innermost cause, because reqwest's own text ("error sending request") says less.
#[derive(Debug)]
struct Innermost {
    error: Box<dyn Error + Send + Sync>,
    is_connect: bool,
    /// The reason of curl, which refused the server after the library did.
    curl: Option<Box<dyn Error + Send + Sync>>,
}

impl Innermost {
    fn last(&self) -> &(dyn Error + 'static) {
        let mut last: &(dyn Error + 'static) = self.error.as_ref();
        while let Some(next) = last.source() {
            last = next;
        }
        last
    }

    fn is_not_http(&self) -> bool {
        // hyper's kind for malformed chunks (RFC 9112 section 7.1).
        let is_chunk = |error: &io::Error| error.kind() == io::ErrorKind::InvalidInput;
        links(self.error.as_ref()).any(|link| {
            link.downcast_ref().is_some_and(hyper::Error::is_parse)
                || link.downcast_ref().is_some_and(is_chunk)
        })
    }

    /// Tells whether the server rejected HTTP/1.1 in the TLS handshake.
    fn is_alpn(&self) -> bool {
        self.find() == Some(&AlertReceived(NoApplicationProtocol))
    }

    /// Gives the reason of TLS, if it failed.
    fn tls_problem(&self) -> Option<TlsProblem> {
        self.find().and_then(TlsProblem::of)
    }

    /// Finds the first error of a type in the chain.
    fn find<T: Error + 'static>(&self) -> Option<&T> {
        links(self.error.as_ref()).find_map(|link| link.downcast_ref())
    }
}

impl fmt::Display for Innermost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last();
        if let Some(error) = last.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::UnexpectedEof
        {
            // rustls has a long text for programmers here, about a missing close_notify.
            return f.write_str("the connection ended unexpectedly");
        }
        if self.is_alpn() {
            return f.write_str("it offers only HTTP/2, and the native transport needs HTTP/1.1");
        }
        if let Some(problem) = self.tls_problem() {
            return problem.fmt(f);
        }
        if let Some(late) = self.find::<ConnectTimeout>() {
            return late.fmt(f);
        }
        let text = last.to_string();
        match () {
            () if text.contains(WANTS_LOGIN) => f.write_str(
                "the proxy wants another user name and password; if it accepts only NTLM, Kerberos or Digest, set \
                 http.proxyAuthMethod to that",
            ),
            () if text.contains(UNREACHABLE) => f.write_str("the proxy cannot be reached"),
            () if text.contains(REFUSED) => f.write_str("the proxy refused to connect to the server"),
            () => f.write_str(&text),
        }
    }
}

impl Error for Innermost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let curl = self.curl.as_deref()?;
        Some(curl)
    }
}

/// Adds curl's reason to the library's if git's own TLS may accept the server: OpenSSL calls keys and signatures weak
/// that GnuTLS accepts.
pub(super) fn refused_by_curl(mut error: TransportError, curls: &TransportError) -> TransportError {
    let why = curls.reason();
    if let Some(inner) = error.source.downcast_mut::<Innermost>() {
        let is_strict = match inner.tls_problem() {
            None | Some(TlsProblem::Other(_) | TlsProblem::NotTls(_)) => !why.contains("pinned"),
            Some(TlsProblem::UnknownIssuer) => why.contains("too weak"),
            Some(_) => false,
        };
        inner.curl = is_strict.then(|| why.into());
    }
    error
}

/// An error that displays only its reason, for a chain whose first link names the host.
#[derive(Debug)]
pub(crate) struct Reason(pub(crate) TransportError);

impl Reason {
    /// Says why TLS failed, if it did.
    pub(crate) fn tls_problem(&self) -> Option<TlsProblem> {
        self.0.cause::<Innermost>()?.tls_problem()
    }

    /// Tells whether the proxy accepted no login.
    pub(crate) fn lacks_proxy_login(&self) -> bool {
        let is_of_login = matches!(
            self.0.cause(),
            Some(ProxyError::NoLogin | ProxyError::WrongLogin)
        );
        is_of_login || self.0.wants_proxy_login()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason())
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;

    /// A resolver that always fails with this text.
    struct Failing(&'static str);

    impl Resolve for Failing {
        fn resolve(&self, _name: Name) -> Resolving {
            let error =
                io::Error::other(format!("failed to lookup address information: {}", self.0));
            Box::pin(std::future::ready(Err(error.into())))
        }
    }

    #[test]
    fn a_temporary_failure_of_the_resolver_is_retried() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("the system gives one");
        for (said, may_pass) in [
            ("Temporary failure in name resolution", true),
            ("Try again", true),
            ("Name or service not known", false),
            ("Name does not resolve", false),
        ] {
            let provider = rustls::crypto::ring::default_provider();
            let tls = rustls::ClientConfig::builder_with_provider(provider.into())
                .with_safe_default_protocol_versions()
                .expect("they are the provider's")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .dns_resolver(Failing(said))
                .no_proxy()
                .build();
            let get = client
                .expect("it is configured")
                .get("https://name.example/");
            let error = runtime
                .block_on(get.send())
                .expect_err("there is no such name");
            let error = classify(error, "name.example", None, Phase::Request);
            assert_eq!(error.phase, Phase::Connect, "{said}");
            assert_eq!(error.is_of_the_network(), may_pass, "{said}");
        }
    }
}
