//! Protects the trust settings: a repository cannot change them, and only a setting for bitbucket.org itself can turn
//! off `http.sslVerify` for it.

use super::{asked::Asked, treatment::HttpKey};
use crate::{
    failure::{Failure, is_harmful, misconfigured},
    git_config::{
        entry::{Entry, is_true},
        git::GitConfig,
        permission::FromRepository,
        repository, urlmatch,
    },
    url::Url,
};

/// The server whose certificate is always checked, unless a setting for this host alone disables that.
const BITBUCKET: &str = "bitbucket.org";

/// Refuses http settings of a repository without permission in [`super::HTTP_KEYS`].
///
/// Git's own transport reads the same file, and a redirect may lead it to another path of the site. So a setting for
/// any path of the site counts. A setting that the user's own overrides does not count.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`], with the command that makes it the user's own setting.
pub(super) fn check_repository(asked: &Asked<'_>) -> Result<(), Failure> {
    let Asked { config, url, .. } = *asked;
    let entries = config.of_repository();
    let refused = entries
        .filter(|entry| is_meant(config, entry, url, asked.remote))
        .find_map(|entry| Some((entry, objection(entry, url)?)));
    let Some((entry, why)) = refused else {
        return Ok(());
    };
    let line = HttpKey::of(entry).map(|key| {
        let site = url.origin().ascii_serialization();
        format!("http.{site}/.{} <value>", key.name)
    });
    Err(repository::refusal(entry, why, line.as_deref()))
}

/// Tells whether a setting of a repository affects requests to a URL or to another path of its site.
pub(super) fn is_meant(config: &GitConfig, entry: &Entry, url: &Url, remote: Option<&str>) -> bool {
    match entry.section.as_str() {
        "http" => {
            let pattern = entry.subsection.as_deref();
            let is_of_other_path = || pattern.is_some_and(|pattern| !urlmatch::fits(pattern, url));
            pattern.is_none_or(|pattern| urlmatch::is_at_site(pattern, url))
                && (is_in_force(config, entry, url) || is_of_other_path())
        }
        "remote" => {
            let last = config.last("remote", remote, &entry.key);
            ["proxy", "proxyauthmethod"].contains(&entry.key.as_str())
                && last.is_some_and(|last| std::ptr::eq(last, entry))
        }
        _ => false,
    }
}

/// Gives the forbidden effect of a repository's setting, if it has one.
fn objection(entry: &Entry, url: &Url) -> Option<&'static str> {
    let value = entry.value.as_deref().unwrap_or_default();
    if value.contains(is_harmful) {
        return Some("write more than one line into a request");
    }
    match repository::row_of(entry) {
        Some(FromRepository::Followed(_)) => None,
        Some(FromRepository::FollowedIf(is_like_this, why)) => {
            (!is_like_this(entry)).then_some(why)
        }
        Some(FromRepository::FollowedOverHttps(why)) => {
            (url.scheme() != "https" && !value.is_empty()).then_some(why)
        }
        Some(FromRepository::Refused(why)) => Some(why),
        None => Some("set http keys that this version does not know"),
    }
}

/// Tells whether a setting is effective. In a list, every value is.
fn is_in_force(config: &GitConfig, entry: &Entry, url: &Url) -> bool {
    const LISTS: [&str; 2] = ["extraheader", "curloptresolve"];
    let values = urlmatch::values(config, "http", &entry.key, url);
    let is_this = |other: &&Entry| std::ptr::eq(*other, entry);
    match LISTS.contains(&entry.key.as_str()) {
        true => values.iter().any(is_this),
        false => values.last().is_some_and(is_this),
    }
}

/// Gives the setting that disables certificate checks, if there is one.
///
/// # Deviation
///
/// Git follows every `http.sslVerify` and `GIT_SSL_NO_VERIFY`. For bitbucket.org, the helper follows only a setting
/// that names the host and is in protected configuration, because any server that answers would get the token.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] if any other setting disables certificate checks for bitbucket.org.
pub(super) fn unverified_by(asked: &Asked<'_>) -> Result<Option<String>, Failure> {
    const VARIABLE: &str = "GIT_SSL_NO_VERIFY";
    let entry = asked.entry("sslverify").filter(|entry| !is_true(entry));
    if entry.is_none() && (asked.variables)(VARIABLE).is_none() {
        return Ok(None);
    }
    let is_insisted_on =
        entry.is_some_and(|entry| entry.scope.is_protected() && names_host(entry, BITBUCKET));
    if asked.url.host_str() != Some(BITBUCKET) || is_insisted_on {
        return Ok(Some(entry.map_or_else(|| VARIABLE.to_owned(), Entry::name)));
    }
    let setting = entry.map_or_else(|| VARIABLE.to_owned(), Entry::with_origin);
    Err(misconfigured(format!(
        "{setting} would disable certificate checks for {BITBUCKET}, so that another server could take the token; set http.sslCAInfo to a file with the CA certificate of your proxy instead; to disable the checks all the same: git config --global http.https://{BITBUCKET}/.sslVerify false"
    )))
}

/// Tells whether a setting is for the URL of this host.
pub(super) fn names_host(entry: &Entry, host: &str) -> bool {
    let url = entry
        .subsection
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    url.is_some_and(|url| url.host_str() == Some(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolves the check for a host with this setting and with the variable.
    fn judged(host: &str, setting: &str, by_variable: bool) -> Result<bool, ()> {
        let variables = |name: &str| match name {
            "GIT_CONFIG_NOSYSTEM" => Some("1".into()),
            "GIT_CONFIG_GLOBAL" => Some("/dev/null".into()),
            "GIT_CONFIG_PARAMETERS" if !setting.is_empty() => Some(format!("'{setting}'").into()),
            "GIT_SSL_NO_VERIFY" if by_variable => Some("1".into()),
            _ => None,
        };
        let config = GitConfig::read(&variables).expect("it is well-formed");
        let url = Url::parse(&format!("https://{host}/ws/repo.git")).expect("it is a URL");
        let found = unverified_by(&Asked {
            config: &config,
            variables: &variables,
            url: &url,
            remote: None,
        });
        found.map(|by| by.is_some()).map_err(drop)
    }

    #[test]
    fn bitbucket_is_verified_unless_a_setting_for_it_disables_that() {
        let cases = [
            ("bitbucket.org", "", false, Ok(false)),
            ("bitbucket.org", "http.sslVerify=true", false, Ok(false)),
            ("bitbucket.org", "http.sslVerify=false", false, Err(())),
            (
                "bitbucket.org",
                "http.https://*.org/.sslVerify=false",
                false,
                Err(()),
            ),
            ("bitbucket.org", "", true, Err(())),
            (
                "bitbucket.org",
                "http.https://bitbucket.org/.sslVerify=false",
                false,
                Ok(true),
            ),
            (
                "bitbucket.org",
                "http.https://bitbucket.org/.sslVerify=true",
                true,
                Err(()),
            ),
            ("git.example.com", "http.sslVerify=false", false, Ok(true)),
            ("git.example.com", "", true, Ok(true)),
            ("git.example.com", "", false, Ok(false)),
        ];
        for (host, setting, by_variable, expected) in cases {
            assert_eq!(
                judged(host, setting, by_variable),
                expected,
                "{host} {setting} {by_variable}"
            );
        }
        assert_eq!(cases.len(), 10);
    }
}
