//! The support for each of git's http settings. The reference shows this table, and a test compares it with git's list.

use crate::git_config::{
    entry::{Entry, is_true},
    permission::{FromRepository, PROXY, PROXY_LOGIN},
};

/// The native transport's support for a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Treatment {
    /// The native transport follows it.
    Followed,
    /// It has no effect: there is one connection with one request at a time, and each request has the credential.
    WithoutEffect,
    /// The native transport follows some values. Others need git's own transport.
    FollowedIf(fn(&Entry) -> bool),
    /// It needs git's own transport, unless the value is the same as none.
    NeedsGitUnless(fn(&Entry) -> bool),
}

/// One of git's http settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpKey {
    /// The name after `http.`, as in git's manual.
    pub(crate) name: &'static str,
    /// The support of the native transport.
    pub(crate) treatment: Treatment,
    /// The permission in a repository's own configuration, for the git endpoint. Requests with a client's secret, a
    /// refresh token or a code ignore that configuration.
    pub(crate) from_repository: FromRepository,
    /// A note for users.
    pub(crate) note: &'static str,
}

const fn key(
    name: &'static str,
    treatment: Treatment,
    from_repository: FromRepository,
    note: &'static str,
) -> HttpKey {
    HttpKey {
        name,
        treatment,
        from_repository,
        note,
    }
}

const fn harmless(why: &'static str) -> FromRepository {
    FromRepository::Followed(why)
}

/// The TLS versions of rustls in git's words. Each is a minimum (curl: `CURLOPT_SSLVERSION`).
pub(super) const TLS_VERSIONS: [&str; 3] = ["", "tlsv1.2", "tlsv1.3"];

/// The supported formats of certificate and key files (curl: `CURLOPT_SSLCERTTYPE`).
const PEM: [&str; 3] = ["", "PEM", "pem"];

/// The TLS libraries that behave as the default (curl: `curl_global_sslset`).
const USUAL_BACKENDS: [&str; 2] = match cfg!(windows) {
    true => ["openssl", "schannel"],
    false => ["openssl", "openssl"],
};

/// Every `http.<key>` of git (git-config(1), `git help -c`), with its support.
pub(crate) const HTTP_KEYS: [HttpKey; 43] = {
    use FromRepository::{FollowedIf as Only, Refused};
    use Treatment::{Followed, FollowedIf, NeedsGitUnless, WithoutEffect};
    const TRUST: &str = "decide which certificates are trusted";
    const TRUSTS: FromRepository = Refused(TRUST);
    const READS: FromRepository = Refused("choose a file to read or write");
    const WRITES: FromRepository = Only(is_off, "write a file");
    const ADDRESS: FromRepository = Refused("choose the server's address");
    const WEAKENS: FromRepository = Refused("weaken encryption");
    const KERBEROS: FromRepository = Only(is_none, "hand out your Kerberos login");
    const ALWAYS_SENT: FromRepository = harmless("the token is sent in any case");
    const ONE_LINE: FromRepository = harmless("it is one line of text");
    const LIMITS: FromRepository = harmless("it only limits times and counts");
    [
        key("cookieFile", NeedsGitUnless(is_empty), READS, ""),
        key("curloptResolve", NeedsGitUnless(is_empty), ADDRESS, ""),
        key("delegation", NeedsGitUnless(is_none), KERBEROS, ""),
        key("emptyAuth", WithoutEffect, ALWAYS_SENT, ""),
        key(
            "extraHeader",
            Followed,
            Only(
                is_plain_header,
                "set a header for a request's length, encoding or host",
            ),
            "except Authorization: the token takes its place",
        ),
        key(
            "followRedirects",
            FollowedIf(|entry| is_word(entry, &["initial"]) || is_true(entry)),
            harmless("redirects stay on the host"),
            "'initial' is followed on the same host; 'true' means the same as 'initial'; 'false' is handed to git",
        ),
        key("keepAliveCount", WithoutEffect, LIMITS, ""),
        key("keepAliveIdle", WithoutEffect, LIMITS, ""),
        key("keepAliveInterval", WithoutEffect, LIMITS, ""),
        key("lowSpeedLimit", Followed, LIMITS, ""),
        key(
            "lowSpeedTime",
            Followed,
            LIMITS,
            "default: give up after ten minutes without data",
        ),
        key("maxRequests", WithoutEffect, LIMITS, ""),
        key(
            "maxRetries",
            WithoutEffect,
            LIMITS,
            "the helper retries a request to a busy server up to five times",
        ),
        key(
            "maxRetryTime",
            WithoutEffect,
            LIMITS,
            "all pauses of a command together take at most a minute",
        ),
        key("minSessions", WithoutEffect, LIMITS, ""),
        key("noEPSV", WithoutEffect, harmless("it is for FTP only"), ""),
        key(
            "pinnedPubkey",
            Followed,
            Refused("replace the keys that you have pinned"),
            "",
        ),
        key(
            "postBuffer",
            Followed,
            harmless("it only limits memory"),
            "the helper sends larger requests in chunks, in a fetch and in a push",
        ),
        key(
            "proactiveAuth",
            WithoutEffect,
            ALWAYS_SENT,
            "the first request always has the token",
        ),
        key(
            "proxy",
            Followed,
            PROXY,
            "http, https, socks4, socks4a, socks5 and socks5h; others, and Unix sockets, are handed to git, and curl requests tokens through Unix sockets",
        ),
        key(
            "proxyAuthMethod",
            FollowedIf(|entry| is_word(entry, &["anyauth", "basic"])),
            PROXY_LOGIN,
            "'basic' and 'anyauth' are followed if the proxy accepts Basic; else handed to git, and curl requests tokens",
        ),
        key("proxySSLCAInfo", Followed, TRUSTS, ""),
        key("proxySSLCert", NeedsGitUnless(is_empty), READS, ""),
        key(
            "proxySSLCertPasswordProtected",
            NeedsGitUnless(is_off),
            READS,
            "",
        ),
        key("proxySSLKey", NeedsGitUnless(is_empty), READS, ""),
        key(
            "retryAfter",
            WithoutEffect,
            LIMITS,
            "the first pause is one second, later pauses are longer",
        ),
        key("saveCookies", NeedsGitUnless(is_off), WRITES, ""),
        key(
            "schannelCheckRevoke",
            FollowedIf(|entry| is_word(entry, &["best-effort"])),
            Only(is_true, TRUST),
            "'best-effort', the default of Git for Windows, is followed",
        ),
        key("schannelUseSSLCAInfo", NeedsGitUnless(is_off), TRUSTS, ""),
        key(
            "sslBackend",
            FollowedIf(is_usual_backend),
            TRUSTS,
            "'openssl' is followed; on Windows also 'schannel', with the certificates that Windows trusts",
        ),
        key("sslCAInfo", Followed, TRUSTS, ""),
        key("sslCAPath", Followed, TRUSTS, ""),
        key(
            "sslCert",
            Followed,
            READS,
            "PEM files; other files, and keys with a password, are handed to git",
        ),
        key(
            "sslCertPasswordProtected",
            NeedsGitUnless(is_off),
            READS,
            "",
        ),
        key(
            "sslCertType",
            FollowedIf(|entry| is_word(entry, &PEM)),
            READS,
            "PEM files",
        ),
        key("sslCipherList", NeedsGitUnless(is_empty), WEAKENS, ""),
        key("sslKey", Followed, READS, ""),
        key(
            "sslKeyType",
            FollowedIf(|entry| is_word(entry, &PEM)),
            READS,
            "PEM files; engines and hardware tokens are handed to git",
        ),
        key("sslTry", WithoutEffect, harmless("it is for FTP only"), ""),
        key(
            "sslVerify",
            Followed,
            Only(is_true, TRUST),
            "false gives a warning; for bitbucket.org, only 'http.https://bitbucket.org/.sslVerify' can be false",
        ),
        key(
            "sslVersion",
            FollowedIf(|entry| is_word(entry, &TLS_VERSIONS)),
            WEAKENS,
            "'tlsv1.2' and 'tlsv1.3' are followed",
        ),
        key("userAgent", Followed, ONE_LINE, ""),
        key(
            "version",
            FollowedIf(|entry| is_word(entry, &["HTTP/1.1", "HTTP/2"])),
            harmless("each version sends the same requests"),
            "'HTTP/1.1' and 'HTTP/2' are followed; both use HTTP/1.1",
        ),
    ]
};

impl HttpKey {
    /// Finds the key of a setting.
    pub(in crate::git_config) fn of(entry: &Entry) -> Option<&'static Self> {
        let mut keys = HTTP_KEYS.iter();
        keys.find(|key| key.name.eq_ignore_ascii_case(&entry.key))
    }
}

/// Tells whether the native transport supports a setting. It does not support unknown settings.
pub(super) fn is_native(entry: &Entry) -> bool {
    match HttpKey::of(entry).map(|key| key.treatment) {
        Some(Treatment::Followed | Treatment::WithoutEffect) => true,
        Some(Treatment::FollowedIf(is_like_this) | Treatment::NeedsGitUnless(is_like_this)) => {
            is_like_this(entry)
        }
        None => false,
    }
}

impl Treatment {
    /// Describes the support for the reference.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Treatment::Followed => "native",
            Treatment::WithoutEffect => "without effect",
            Treatment::FollowedIf(_) => "native or handed to git",
            Treatment::NeedsGitUnless(_) => "handed to git",
        }
    }
}

/// Tells whether a header is harmless, so that it does not change a request's length, encoding or host.
fn is_plain_header(entry: &Entry) -> bool {
    const OTHERS: [&str; 10] = [
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = entry.value.as_deref().unwrap_or_default().split(':').next();
    let name = name.unwrap_or_default().trim().to_ascii_lowercase();
    !OTHERS.contains(&name.as_str())
}

/// curl ignores the case of a backend's name, but git compares `schannel` exactly.
fn is_usual_backend(entry: &Entry) -> bool {
    let value = entry.value.as_deref();
    is_word(entry, &USUAL_BACKENDS)
        || value.is_some_and(|name| name.eq_ignore_ascii_case(USUAL_BACKENDS[0]))
}

fn is_none(entry: &Entry) -> bool {
    is_word(entry, &["none"])
}

fn is_empty(entry: &Entry) -> bool {
    is_word(entry, &[""])
}

fn is_off(entry: &Entry) -> bool {
    !is_true(entry)
}

fn is_word(entry: &Entry, words: &[&str]) -> bool {
    let value = entry.value.as_deref();
    value.is_some_and(|value| words.contains(&value))
}
