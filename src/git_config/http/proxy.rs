//! The proxy for a URL, from git's settings and curl's variables.

use super::{asked::Asked, no_proxy};
use crate::{
    git_config::environment::Variables,
    http::{Proxy, ProxyAuth},
    url::Url,
};

/// Finds the allowed authentication schemes for a proxy (git: `init_curl_proxy_auth`).
pub(super) fn auth(asked: &Asked<'_>) -> ProxyAuth {
    let word = (asked.variables)("GIT_HTTP_PROXY_AUTHMETHOD")
        .map(|word| word.to_string_lossy().into_owned())
        .or_else(|| asked.of_remote("proxyauthmethod")?.value.clone())
        .or_else(|| asked.text("", "proxyauthmethod"));
    word.map_or(ProxyAuth::Any, |word| ProxyAuth::read(&word))
}

/// Finds the proxy as git and libcurl do, from `remote.<name>.proxy`, `http.proxy`, `https_proxy` or `all_proxy`. There
/// is none if the setting is empty or `no_proxy` contains the host.
pub(super) fn find(asked: &Asked<'_>) -> Option<Proxy> {
    let Asked { variables, url, .. } = *asked;
    let set = configured(asked).or_else(|| from_environment(variables, url));
    let (proxy, origin) = set.filter(|(proxy, _)| !proxy.is_empty())?;
    let mut names = ["no_proxy", "NO_PROXY"].iter();
    let exempt = names.find_map(|name| variables(name));
    if exempt.is_some_and(|list| no_proxy::is_exempt(&list.to_string_lossy(), url)) {
        return None;
    }
    let proxy = match proxy.split_once("://") {
        // Git's name for SOCKS 4.
        Some(("socks", rest)) => format!("socks4://{rest}"),
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => format!("http://{proxy}"),
    };
    let named = Proxy::new(proxy.clone(), origin.clone());
    if has_port(&proxy) || named.is_on_socket() {
        return Some(named);
    }
    Some(Proxy::new(with_default_port(&proxy), origin))
}

/// Gives a proxy of the configuration and the place of the setting.
fn configured(asked: &Asked<'_>) -> Option<(String, String)> {
    let of_remote = asked.of_remote("proxy");
    let entry = of_remote.or_else(|| asked.entry("proxy"))?;
    Some((entry.value.clone()?, entry.with_origin()))
}

fn from_environment(variables: Variables<'_>, url: &Url) -> Option<(String, String)> {
    let by_scheme: &[&str] = match url.scheme() {
        "https" => &["https_proxy", "HTTPS_PROXY"],
        // In lower case only, because a web server sets HTTP_PROXY from a request's "Proxy" header.
        _ => &["http_proxy"],
    };
    let mut names = by_scheme.iter().chain(&["all_proxy", "ALL_PROXY"]);
    names.find_map(|name| {
        let value = variables(name)?.to_string_lossy().into_owned();
        Some((value, (*name).to_owned()))
    })
}

fn has_port(proxy: &str) -> bool {
    let (_, rest) = proxy.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let end = place.rsplit(']').next();
    end.is_some_and(|end| end.contains(':'))
}

/// Adds curl's default port, which is not the scheme's (curl: `CURL_DEFAULT_PROXY_PORT`).
fn with_default_port(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = if scheme == "https" { 443 } else { 1080 };
    format!("{scheme}://{place}:{port}/{path}")
}

/// Names the kind of a proxy that only libcurl may support.
pub(super) fn only_for_git(proxy: &Proxy) -> Option<String> {
    let of_user = || "a user of a SOCKS 4 proxy".to_owned();
    let kind = proxy.unknown_kind();
    kind.or_else(|| proxy.is_socks_4_with_user().then(of_user))
}
