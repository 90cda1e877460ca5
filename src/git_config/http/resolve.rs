//! Resolves the settings that are effective for a URL.

use std::{env, sync::Arc, time::Duration};

use super::{
    asked::Asked,
    proxy,
    treatment::{TLS_VERSIONS, is_native},
    trust,
};
use crate::{
    failure::{Failure, misconfigured, quote},
    git_config::{
        entry::Entry,
        environment::{Variables, absolute},
        git::GitConfig,
        urlmatch,
    },
    http::{ClientCertificate, LowSpeed, PinnedKeys, Settings},
    secret::Secret,
    url::Url,
};

/// Variables that replace settings which, at least for some values, need git's own transport.
const GIT_ONLY_VARIABLES: [(&str, &str); 7] = [
    (
        "GIT_SSL_CERT_PASSWORD_PROTECTED",
        "sslCertPasswordProtected",
    ),
    ("GIT_SSL_CERT_TYPE", "sslCertType"),
    ("GIT_SSL_KEY_TYPE", "sslKeyType"),
    ("GIT_SSL_CIPHER_LIST", "sslCipherList"),
    ("GIT_PROXY_SSL_CERT", "proxySSLCert"),
    ("GIT_PROXY_SSL_KEY", "proxySSLKey"),
    ("GIT_HTTP_PROXY_AUTHMETHOD", "proxyAuthMethod"),
];

/// The default of `http.postBuffer` (git-config(1)).
const POST_BUFFER_BYTES: usize = 1024 * 1024;
/// The longest pkt-line with its length (gitprotocol-common(5)).
const LARGEST_PACKET_BYTES: usize = 65520;

/// The resolved settings for a URL, with those that need git's own transport.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The settings for the native transport.
    pub(crate) settings: Settings,
    /// The names of effective settings that the native transport does not support.
    pub(crate) git_only: Vec<String>,
    /// Whether `http.extraHeader` contains an `Authorization`, which the native transport ignores.
    pub(crate) has_leftover_authorization: bool,
    /// The longest request that is sent without chunks, in bytes (`http.postBuffer`).
    pub(crate) post_buffer_bytes: usize,
}

impl Resolved {
    /// Tells whether other settings lead requests along the same route.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        self.settings == other.settings && self.git_only == other.git_only
    }
}

/// Resolves git's http settings for a URL; `remote` is the remote's name, for `remote.<name>.proxy`.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for an invalid header, for a file that cannot be read, for a setting that
/// disables certificate checks for Bitbucket, and for a setting that a repository must not make ([`super::HTTP_KEYS`]).
pub(crate) fn resolve(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
    remote: Option<&str>,
) -> Result<Resolved, Failure> {
    let asked = Asked {
        config,
        variables,
        url,
        remote,
    };
    trust::check_repository(&asked)?;
    check_authorities(variables)?;
    let mut git_only = git_only(&asked);
    let proxy = proxy::find(&asked);
    git_only.extend(proxy.as_ref().and_then(proxy::only_for_git));
    let version = asked.text("GIT_SSL_VERSION", "sslversion");
    let unknown = version
        .as_deref()
        .filter(|name| !TLS_VERSIONS.contains(name));
    git_only.extend(unknown.map(|_| "http.sslVersion".to_owned()));
    if !git_only.is_empty() {
        check_files_of_git(&asked)?;
    }
    let (client_certificate, locked) = client_certificate(&asked)?;
    git_only.extend(locked);
    let (extra_headers, leftover): (Vec<_>, Vec<_>) =
        extra_headers(&urlmatch::values(config, "http", "extraheader", url))?
            .into_iter()
            // Bitbucket refuses a request with two credentials.
            .partition(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    let settings = Settings {
        ca_file: asked.authorities("GIT_SSL_CAINFO", "sslcainfo")?,
        ca_directory: asked.authorities("GIT_SSL_CAPATH", "sslcapath")?,
        unverified_by: trust::unverified_by(&asked)?,
        pinned_keys: pinned_keys(&asked)?,
        only_tls_1_3: version.as_deref() == Some("tlsv1.3"),
        client_certificate,
        proxy,
        proxy_auth: proxy::auth(&asked),
        proxy_ca_file: asked.authorities("GIT_PROXY_SSL_CAINFO", "proxysslcainfo")?,
        user_agent: asked.text("GIT_HTTP_USER_AGENT", "useragent"),
        extra_headers,
        low_speed: low_speed(&asked),
    };
    git_only.sort_unstable();
    git_only.dedup();
    Ok(Resolved {
        settings,
        git_only,
        has_leftover_authorization: !leftover.is_empty(),
        post_buffer_bytes: post_buffer_bytes(&asked),
    })
}

/// Reads `http.postBuffer`. As in git, it has space for at least one pkt-line (git: `LARGE_PACKET_MAX`).
fn post_buffer_bytes(asked: &Asked<'_>) -> usize {
    let configured = asked.number("", "postbuffer");
    configured
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(POST_BUFFER_BYTES, |bytes| bytes.max(LARGEST_PACKET_BYTES))
}

/// Reads `http.lowSpeedLimit` and `http.lowSpeedTime`. One alone has no effect (git: `get_curl_handle`).
fn low_speed(asked: &Asked<'_>) -> Option<LowSpeed> {
    let bytes_per_s = asked.number("GIT_HTTP_LOW_SPEED_LIMIT", "lowspeedlimit")?;
    let span_s = asked.number("GIT_HTTP_LOW_SPEED_TIME", "lowspeedtime")?;
    (bytes_per_s > 0 && span_s > 0).then_some(LowSpeed {
        bytes_per_s,
        span: Duration::from_secs(span_s),
    })
}

/// Checks the variables that name OpenSSL's trusted certificates, for both transports.
fn check_authorities(variables: Variables<'_>) -> Result<(), Failure> {
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let Some(value) = variables(name) else {
            continue;
        };
        for path in env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()) {
            absolute(name, path)?;
        }
    }
    Ok(())
}

/// Checks the files that only git's own transport reads or writes.
fn check_files_of_git(asked: &Asked<'_>) -> Result<(), Failure> {
    for (variable, key) in [
        ("", "cookiefile"),
        ("GIT_PROXY_SSL_CERT", "proxysslcert"),
        ("GIT_PROXY_SSL_KEY", "proxysslkey"),
    ] {
        asked.path(variable, key)?;
    }
    Ok(())
}

/// Reads `http.pinnedPubkey`: digests, or a file (curl: `CURLOPT_PINNEDPUBLICKEY`).
fn pinned_keys(asked: &Asked<'_>) -> Result<Option<PinnedKeys>, Failure> {
    let value = asked.text("", "pinnedpubkey");
    let digests = value.as_deref().and_then(PinnedKeys::of_digests);
    if digests.is_some() {
        return Ok(digests);
    }
    let file = asked.path("", "pinnedpubkey")?;
    let read = file.map(|file| PinnedKeys::read(&file)).transpose();
    read.map_err(|error| unreadable("http.pinnedPubkey", &error))
}

/// Reads the client certificate. If only curl may support its files, gives the setting's name instead.
fn client_certificate(
    asked: &Asked<'_>,
) -> Result<(Option<Arc<ClientCertificate>>, Option<String>), Failure> {
    let Some(certificate) = asked.path("GIT_SSL_CERT", "sslcert")? else {
        return Ok((None, None));
    };
    let key = asked.path("GIT_SSL_KEY", "sslkey")?;
    let read = ClientCertificate::read(&certificate, key.as_deref())
        .map_err(|error| unreadable("http.sslCert", &error))?;
    let locked = read.is_none().then(|| "http.sslCert".to_owned());
    Ok((read, locked))
}

fn unreadable(setting: &str, error: &std::io::Error) -> Failure {
    misconfigured(format!(
        "cannot apply {setting}: {}",
        quote(&error.to_string())
    ))
}

/// Reads the list `http.extraHeader`. An empty value clears the list.
fn extra_headers(entries: &[&Entry]) -> Result<Vec<(String, Secret)>, Failure> {
    let mut headers = Vec::new();
    for entry in entries {
        let line = entry.value.as_deref().unwrap_or("");
        if line.is_empty() {
            headers.clear();
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| {
            misconfigured(format!(
                "http.extraHeader in {} is not a header, because it has no colon; write it as 'Name: value'",
                entry.origin
            ))
        })?;
        headers.push((name.trim().to_owned(), Secret::new(value.trim())));
    }
    Ok(headers)
}

/// Lists the settings of a repository that affect requests to a URL.
pub(crate) fn from_repository<'c>(
    config: &'c GitConfig,
    url: &Url,
    remote: Option<&str>,
) -> Vec<&'c Entry> {
    let entries = config.of_repository();
    entries
        .filter(|entry| trust::is_meant(config, entry, url, remote))
        .collect()
}

/// Lists the effective settings for a URL that the native transport does not support.
fn git_only(asked: &Asked<'_>) -> Vec<String> {
    let of_http = asked.config.entries().filter(|it| it.section == "http");
    let mut keys: Vec<&str> = of_http.map(|entry| entry.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let in_force = keys.into_iter().filter_map(|key| asked.entry(key));
    let in_force = in_force.chain(asked.of_remote("proxyauthmethod"));
    let mut names: Vec<String> = in_force
        .filter(|entry| !is_native(entry))
        .map(Entry::name)
        .collect();
    let of_environment = GIT_ONLY_VARIABLES.iter().filter(|(name, key)| {
        let value = (asked.variables)(name);
        value.is_some_and(|value| !is_native(&Entry::of_variable(name, key, &value)))
    });
    names.extend(of_environment.map(|(name, _)| (*name).to_owned()));
    names
}
