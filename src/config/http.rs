//! Git's http settings for one URL: what the native transport does itself, and what only git's own can.

use super::{
    git::{Entry, GitConfig, Variables, is_true},
    urlmatch,
};
use crate::{
    failure::{Failure, Kind, quote},
    http::{ProxyUrl, Settings, Url},
    secret::Secret,
};

/// What becomes of a setting when the native transport carries git's protocol.
#[derive(Clone, Copy, Debug)]
pub enum Treatment {
    /// It is followed.
    Followed,
    /// It has nothing to act on: there is one connection, one request at a time, and the credential goes at once.
    WithoutEffect,
    /// It is followed for values like this one; others need git's own transport.
    FollowedIf(fn(&Entry) -> bool),
    /// Only git's own transport has it.
    NeedsGit,
}

/// Every `http.<key>` that git knows (git-config(1), `git help -c`), in lower case, and what becomes of it.
pub const TREATMENTS: [(&str, Treatment); 38] = {
    use Treatment::{Followed, FollowedIf, NeedsGit, WithoutEffect};
    [
        ("cookiefile", FollowedIf(is_empty)),
        ("curloptresolve", FollowedIf(is_empty)),
        ("delegation", FollowedIf(|entry| is_word(entry, &["none"]))),
        ("emptyauth", WithoutEffect),
        ("extraheader", Followed),
        // Git's default, and what the relay does: the first request only, on the same host.
        (
            "followredirects",
            FollowedIf(|entry| is_word(entry, &["initial"])),
        ),
        ("keepalivecount", WithoutEffect),
        ("keepaliveidle", WithoutEffect),
        ("keepaliveinterval", WithoutEffect),
        ("lowspeedlimit", NeedsGit),
        ("lowspeedtime", NeedsGit),
        ("maxrequests", WithoutEffect),
        ("minsessions", WithoutEffect),
        ("noepsv", WithoutEffect),
        ("pinnedpubkey", FollowedIf(is_empty)),
        ("postbuffer", WithoutEffect),
        ("proactiveauth", WithoutEffect),
        ("proxy", Followed),
        (
            "proxyauthmethod",
            FollowedIf(|entry| is_word(entry, &["anyauth", "basic"])),
        ),
        ("proxysslcainfo", FollowedIf(is_empty)),
        ("proxysslcert", FollowedIf(is_empty)),
        ("proxysslcertpasswordprotected", FollowedIf(is_off)),
        ("proxysslkey", FollowedIf(is_empty)),
        ("savecookies", FollowedIf(is_off)),
        ("schannelcheckrevoke", NeedsGit),
        ("schannelusesslcainfo", FollowedIf(is_off)),
        ("sslbackend", NeedsGit),
        ("sslcainfo", Followed),
        ("sslcapath", Followed),
        ("sslcert", FollowedIf(is_empty)),
        ("sslcertpasswordprotected", FollowedIf(is_off)),
        ("sslcipherlist", FollowedIf(is_empty)),
        ("sslkey", FollowedIf(is_empty)),
        ("ssltry", WithoutEffect),
        ("sslverify", FollowedIf(is_true)),
        ("sslversion", FollowedIf(is_empty)),
        ("useragent", Followed),
        (
            "version",
            FollowedIf(|entry| is_word(entry, &["HTTP/1.1", "HTTP/2"])),
        ),
    ]
};

fn is_empty(entry: &Entry) -> bool {
    is_word(entry, &[""])
}

fn is_off(entry: &Entry) -> bool {
    !is_true(entry)
}

fn is_word(entry: &Entry, words: &[&str]) -> bool {
    entry
        .value
        .as_deref()
        .is_some_and(|value| words.contains(&value))
}

/// Variables that stand for settings only git's own transport carries out.
const GIT_ONLY_VARIABLES: [&str; 12] = [
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_CERT_PASSWORD_PROTECTED",
    "GIT_SSL_VERSION",
    "GIT_SSL_CIPHER_LIST",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_HTTP_LOW_SPEED_LIMIT",
    "GIT_HTTP_LOW_SPEED_TIME",
];

/// How to reach a URL, and which settings that would have asked for git's own transport.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the native transport follows.
    pub settings: Settings,
    /// Settings in force that it cannot follow, by the name a person knows.
    pub git_only: Vec<String>,
    /// Which setting or variable asks for the proxy, if there is one.
    pub proxy_origin: Option<String>,
}

/// Resolves git's http settings for a URL; `remote` is the remote's name, for `remote.<name>.proxy`.
///
/// # Errors
///
/// [`Kind::Misconfigured`] for a header that is none.
pub fn resolve(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
    remote: Option<&str>,
) -> Result<Resolved, Failure> {
    let last = |key: &str| urlmatch::values(config, key, url).pop();
    let path = |variable: &str, key: &str| {
        let own = variables(variable).map(|value| value.to_string_lossy().into_owned());
        own.or_else(|| last(key).and_then(|entry| entry.value.clone()))
            .filter(|path| !path.is_empty())
            .map(|path| expand_home(&path, variables))
    };
    let user_agent = variables("GIT_HTTP_USER_AGENT")
        .map(|agent| agent.to_string_lossy().into_owned())
        .or_else(|| last("useragent").and_then(|entry| entry.value.clone()));
    let (proxy, proxy_origin) = proxy(config, variables, url, remote).unzip();
    let settings = Settings {
        ca_file: path("GIT_SSL_CAINFO", "sslcainfo"),
        ca_directory: path("GIT_SSL_CAPATH", "sslcapath"),
        proxy,
        user_agent,
        extra_headers: extra_headers(&urlmatch::values(config, "extraheader", url))?,
    };
    let mut git_only = git_only(config, variables, url, remote);
    let unknown = settings.proxy.as_ref().and_then(unknown_proxy_scheme);
    git_only.extend(unknown.map(|scheme| format!("a proxy by '{}'", quote(&scheme))));
    Ok(Resolved {
        settings,
        git_only,
        proxy_origin,
    })
}

/// Reads `http.extraHeader`: a list, which an empty value starts anew.
fn extra_headers(entries: &[&Entry]) -> Result<Vec<(String, Secret)>, Failure> {
    let mut headers = Vec::new();
    for entry in entries {
        let line = entry.value.as_deref().unwrap_or("");
        if line.is_empty() {
            headers.clear();
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Failure::new(
                Kind::Misconfigured,
                format!(
                    "http.extraHeader in {} is no header: it has no colon",
                    entry.origin
                ),
            )
        })?;
        headers.push((name.trim().to_owned(), Secret::new(value.trim())));
    }
    // Ours is the only credential that goes to Bitbucket: a second one makes it refuse both.
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    Ok(headers)
}

/// Finds the proxy as git and libcurl do: `remote.<name>.proxy`, `http.proxy`, `https_proxy`, `all_proxy`, unless
/// `no_proxy` names the host. An empty setting means none. Tells which of them it was, too.
fn proxy(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
    remote: Option<&str>,
) -> Option<(ProxyUrl, String)> {
    let of_remote = remote.and_then(|name| config.last("remote", Some(name), "proxy"));
    let configured = of_remote
        .or_else(|| urlmatch::values(config, "proxy", url).pop())
        .and_then(|entry| Some((entry.value.clone()?, entry)));
    let by_scheme: &[&str] = match url.scheme() {
        "https" => &["https_proxy", "HTTPS_PROXY"],
        // Only in lower case: HTTP_PROXY is what a web server sets from a request's "Proxy" header.
        _ => &["http_proxy"],
    };
    let from_environment = || {
        let names = by_scheme.iter().chain(&["all_proxy", "ALL_PROXY"]);
        let mut values = names.filter_map(|name| Some((variables(name)?, *name)));
        let (value, name) = values.next()?;
        Some((value.to_string_lossy().into_owned(), name.to_owned()))
    };
    let (proxy, origin) = configured
        .map(|(proxy, entry)| (proxy, format!("{} in {}", entry.name(), entry.origin)))
        .or_else(from_environment)
        .filter(|(proxy, _)| !proxy.is_empty())?;
    let exempt = ["no_proxy", "NO_PROXY"]
        .iter()
        .find_map(|name| variables(name));
    if exempt.is_some_and(|list| is_exempt(&list.to_string_lossy(), url)) {
        return None;
    }
    let proxy = match proxy.split_once("://") {
        // Git's word for the oldest of them.
        Some(("socks", rest)) => format!("socks4://{rest}"),
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => format!("http://{proxy}"),
    };
    Some((ProxyUrl(Secret::new(proxy)), origin))
}

/// Names a proxy's scheme if only libcurl may know what to make of it.
fn unknown_proxy_scheme(proxy: &ProxyUrl) -> Option<String> {
    const KNOWN: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    let (scheme, _) = proxy.0.expose().split_once("://")?;
    (!KNOWN.contains(&scheme)).then(|| scheme.to_owned())
}

/// Matches a `no_proxy` list as libcurl does: `*`, a host, or a domain with all below it.
fn is_exempt(list: &str, url: &Url) -> bool {
    let host = url
        .host_str()
        .unwrap_or("")
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    list.split([',', ' '])
        .filter(|name| !name.is_empty())
        .any(|name| {
            let name = name
                .trim_start_matches('.')
                .trim_end_matches('.')
                .to_ascii_lowercase();
            name == "*"
                || host == name
                || host
                    .strip_suffix(&name)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
}

/// Names the settings in force for a URL that the native transport has not got.
fn git_only(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
    remote: Option<&str>,
) -> Vec<String> {
    let mut keys: Vec<&str> = config
        .entries()
        .filter(|entry| entry.section == "http")
        .map(|entry| entry.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let in_force = keys
        .into_iter()
        .filter_map(|key| urlmatch::values(config, key, url).pop());
    let mut names: Vec<String> = in_force
        .filter(|entry| !is_native(entry))
        .map(Entry::name)
        .collect();
    let of_remote = remote.and_then(|name| config.last("remote", Some(name), "proxyauthmethod"));
    names.extend(of_remote.map(Entry::name));
    names.extend(
        GIT_ONLY_VARIABLES
            .iter()
            .filter(|name| variables(name).is_some())
            .map(|name| (*name).to_owned()),
    );
    names
}

/// Tells whether the native transport does justice to a setting; one that is not known may mean anything.
fn is_native(entry: &Entry) -> bool {
    let known = TREATMENTS.iter().find(|(key, _)| *key == entry.key);
    match known.map(|(_, treatment)| treatment) {
        Some(Treatment::Followed | Treatment::WithoutEffect) => true,
        Some(Treatment::FollowedIf(is_like_this)) => is_like_this(entry),
        Some(Treatment::NeedsGit) | None => false,
    }
}

fn expand_home(path: &str, variables: Variables<'_>) -> std::path::PathBuf {
    match (path.strip_prefix("~/"), variables("HOME")) {
        (Some(rest), Some(home)) => std::path::PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_matches_hosts_and_their_subdomains() {
        let url = Url::parse("https://git.example.com/x").expect("it is a URL");
        for list in [
            "*",
            "example.com",
            ".example.com",
            "a,git.example.com",
            "a b example.com",
            "EXAMPLE.com.",
        ] {
            assert!(is_exempt(list, &url), "{list}");
        }
        for list in ["", "ample.com", "xgit.example.com", "example.org"] {
            assert!(!is_exempt(list, &url), "{list}");
        }
    }
}
