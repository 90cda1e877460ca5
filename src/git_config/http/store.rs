//! Git's http settings for a shared store, with the variables of Vault's and OpenBao's own programs.

use std::ffi::OsString;

use super::{
    resolve::{Resolved, resolve},
    trust::names_host,
};
use crate::{
    failure::{Failure, misconfigured},
    git_config::{
        entry::is_true,
        environment::{Variables, absolute},
        git::GitConfig,
        urlmatch, vault,
    },
    url::Url,
};

/// The files of the other programs, with git's variable and key for the same.
const FILES: [([&str; 2], &str, &str); 4] = [
    (
        ["BAO_CACERT", "VAULT_CACERT"],
        "GIT_SSL_CAINFO",
        "sslcainfo",
    ),
    (
        ["BAO_CAPATH", "VAULT_CAPATH"],
        "GIT_SSL_CAPATH",
        "sslcapath",
    ),
    (
        ["BAO_CLIENT_CERT", "VAULT_CLIENT_CERT"],
        "GIT_SSL_CERT",
        "sslcert",
    ),
    (
        ["BAO_CLIENT_KEY", "VAULT_CLIENT_KEY"],
        "GIT_SSL_KEY",
        "sslkey",
    ),
];

/// Resolves the http settings for the URL of a store. A repository's settings do not count.
///
/// `BAO_CACERT` or `VAULT_CACERT`, and the others, apply unless there is an `http.<url>` setting for this URL.
///
/// # Errors
///
/// As [`resolve`], and for a setting that disables certificate checks but does not name the server.
pub(crate) fn resolve_for_store(
    config: &GitConfig,
    variables: Variables<'_>,
    url: &Url,
) -> Result<Resolved, Failure> {
    check_verified(variables, url)?;
    for (names, ..) in FILES {
        if let Some((origin, path)) = vault::variable(variables, names) {
            absolute(origin, path)?;
        }
    }
    let config = config.protected();
    let of_vault = |git: &str| -> Option<OsString> {
        let (names, _, key) = FILES.iter().find(|(_, variable, _)| *variable == git)?;
        let own = urlmatch::values(&config, "http", key, url).pop();
        let is_of_url = own.is_some_and(|entry| entry.subsection.is_some());
        let (_, path) = vault::variable(variables, *names).filter(|_| !is_of_url)?;
        Some(path)
    };
    let both = |name: &str| of_vault(name).or_else(|| variables(name));
    let resolved = resolve(&config, &both, url, None)?;
    match &resolved.settings.unverified_by {
        Some(setting) if url.scheme() == "https" => check_named(&config, setting, url)?,
        _ => {}
    }
    Ok(resolved)
}

/// Refuses a setting that disables certificate checks, unless it names the server.
///
/// # Deviation
///
/// Git follows every `http.sslVerify` and `GIT_SSL_NO_VERIFY`. Any server that answers would get the login here.
fn check_named(config: &GitConfig, setting: &str, url: &Url) -> Result<(), Failure> {
    let entry = urlmatch::values(config, "http", "sslverify", url).pop();
    let named = entry.filter(|entry| !is_true(entry));
    let host = url.host_str().unwrap_or("");
    if named.is_some_and(|entry| names_host(entry, host)) {
        return Ok(());
    }
    let place = named.map_or_else(String::new, |entry| format!(" in {}", entry.origin));
    Err(misconfigured(format!(
        "{setting}{place} would disable the certificate check for '{host}', so that another server could take the login; set VAULT_CACERT to a file with the CA certificate of the server instead; to disable the check all the same: git config --global http.{}/.sslVerify false",
        url.origin().ascii_serialization()
    )))
}

/// Refuses the variable of Vault's own programs that disables certificate checks.
fn check_verified(variables: Variables<'_>, url: &Url) -> Result<(), Failure> {
    let Some((origin, value)) =
        vault::variable(variables, ["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"])
    else {
        return Ok(());
    };
    // The words of Go's strconv.ParseBool.
    let is_off = ["0", "f", "false"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word));
    if is_off || url.scheme() != "https" {
        return Ok(());
    }
    Err(misconfigured(format!(
        "{origin} would disable the certificate check for '{}', so that another server could take the login; unset it, and set VAULT_CACERT to a file with the CA certificate of the server",
        url.host_str().unwrap_or("")
    )))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn resolved(setting: &str, given: &[(&str, &str)]) -> Result<Resolved, String> {
        let variables = |name: &str| match name {
            "GIT_CONFIG_NOSYSTEM" => Some("1".into()),
            "GIT_CONFIG_GLOBAL" => Some("/dev/null".into()),
            "GIT_CONFIG_PARAMETERS" if !setting.is_empty() => Some(format!("'{setting}'").into()),
            _ => {
                let found = given.iter().find(|(of, _)| *of == name);
                found.map(|(_, value)| value.into())
            }
        };
        let config = GitConfig::read(&variables).expect("it is well-formed");
        let url = Url::parse("https://vault.example:8200").expect("it is a URL");
        resolve_for_store(&config, &variables, &url).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_for_the_url_wins_over_the_variables_of_vault() {
        const OF_URL: &str = "http.https://vault.example:8200.sslCAInfo=/url";
        let both = [("VAULT_CACERT", "/vault"), ("BAO_CACERT", "/bao")];
        for (setting, variables, expected) in [
            ("http.sslCAInfo=/all", &both[..0], "/all"),
            ("http.sslCAInfo=/all", &both[..1], "/vault"),
            ("http.sslCAInfo=/all", &both[..], "/bao"),
            (OF_URL, &both[..], "/url"),
            ("", &[("GIT_SSL_CAINFO", "/git"), both[0]], "/vault"),
        ] {
            let found = resolved(setting, variables)
                .expect(setting)
                .settings
                .ca_file;
            assert_eq!(found, Some(PathBuf::from(expected)), "{setting}");
        }
    }

    #[test]
    fn a_server_is_verified() {
        for (value, is_refused) in [("1", true), ("true", true), ("yes", true), ("", false)] {
            let found = resolved("", &[("VAULT_SKIP_VERIFY", value)]);
            assert_eq!(found.is_err(), is_refused, "{value}");
        }
        assert!(resolved("", &[("BAO_SKIP_VERIFY", "false")]).is_ok());
        const OF_URL: &str = "http.https://vault.example:8200.sslVerify=false";
        let variables_of_git = [("GIT_SSL_NO_VERIFY", "1")];
        for (setting, variables, part) in [
            ("", &variables_of_git[..], "GIT_SSL_NO_VERIFY would disable"),
            ("http.sslVerify=false", &[], "http.sslVerify in "),
            (
                "http.https://*.example:8200.sslVerify=false",
                &[],
                "would disable",
            ),
        ] {
            let refused = resolved(setting, variables).expect_err(setting);
            assert!(
                refused.contains(part)
                    && refused.ends_with("http.https://vault.example:8200/.sslVerify false"),
                "{refused}"
            );
        }
        for variables in [&[][..], &variables_of_git] {
            let followed = resolved(OF_URL, variables).expect("it names the server");
            assert!(followed.settings.unverified_by.is_some());
        }
        assert!(
            resolved("", &[("VAULT_CACERT", "ca.pem")]).is_err(),
            "it is relative"
        );
    }
}
