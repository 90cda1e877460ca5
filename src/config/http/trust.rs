//! `http.sslVerify` turned off: followed as git does, but never for bitbucket.org by a setting that was meant for others.

use crate::{
    config::{
        git::{Entry, GitConfig, Variables, is_true},
        urlmatch,
    },
    failure::{Failure, Kind},
    http::Url,
};

/// The server whose name nobody has a reason to take on.
const BITBUCKET: &str = "bitbucket.org";

/// Names the setting by which whoever answers is to be taken for the server, if there is one.
///
/// # Deviation
///
/// Git follows every `http.sslVerify` and `GIT_SSL_NO_VERIFY`. For bitbucket.org only a setting counts that names it and
/// stands where a repository cannot put it: whoever answers gets the token.
///
/// # Errors
///
/// [`Kind::Misconfigured`] where verification is turned off for bitbucket.org by any other setting.
pub(super) fn unverified_by(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
) -> Result<Option<String>, Failure> {
    let entry = urlmatch::values(config, "http", "sslverify", url).pop();
    let is_off = entry.is_some_and(|entry| !is_true(entry));
    let by_variable = variables("GIT_SSL_NO_VERIFY").is_some();
    if !is_off && !by_variable {
        return Ok(None);
    }
    let (name, place) = match entry.filter(|_| is_off) {
        Some(entry) => (entry.name(), format!(" in {}", entry.origin)),
        None => ("GIT_SSL_NO_VERIFY".to_owned(), String::new()),
    };
    let is_insisted_on = is_off && entry.is_some_and(names_bitbucket);
    if url.host_str() != Some(BITBUCKET) || is_insisted_on {
        return Ok(Some(name));
    }
    Err(Failure::new(
        Kind::Misconfigured,
        format!(
            "{name}{place} would let anybody pass for {BITBUCKET} and take the token; a proxy with an authority of its own needs \
             http.sslCAInfo instead, and 'git config --global http.https://{BITBUCKET}/.sslVerify false' insists on it"
        ),
    ))
}

fn names_bitbucket(entry: &Entry) -> bool {
    let host = entry.subsection.as_deref().and_then(|url| {
        let url = Url::parse(url).ok()?;
        url.host_str().map(str::to_owned)
    });
    entry.scope.is_protected() && host.as_deref() == Some(BITBUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a host when git is called with this setting, and with the variable.
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
        let found = unverified_by(&config, &variables, &url);
        found.map(|by| by.is_some()).map_err(drop)
    }

    #[test]
    fn bitbucket_is_verified_unless_a_setting_for_it_alone_says_otherwise() {
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
