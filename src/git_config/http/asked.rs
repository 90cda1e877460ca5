//! Looks up the values that git's http settings and variables have for one URL.

use std::path::PathBuf;

use crate::{
    failure::Failure,
    git_config::{
        entry::Entry,
        environment::{Variables, absolute, home},
        git::GitConfig,
        urlmatch,
    },
    url::Url,
};

/// Looks up settings for one URL.
pub(super) struct Asked<'a> {
    pub(super) config: &'a GitConfig,
    pub(super) variables: Variables<'a>,
    pub(super) url: &'a Url,
    pub(super) remote: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Gives the effective setting `http.<key>`.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        urlmatch::values(self.config, "http", key, self.url).pop()
    }

    /// Gives the setting `remote.<name>.<key>` of the remote.
    pub(super) fn of_remote(&self, key: &str) -> Option<&'a Entry> {
        self.config.last("remote", Some(self.remote?), key)
    }

    /// Gives the value of a variable, or else of the setting; `None` if it is empty.
    pub(super) fn text(&self, variable: &str, key: &str) -> Option<String> {
        let own = (self.variables)(variable).map(|value| value.to_string_lossy().into_owned());
        own.or_else(|| self.entry(key)?.value.clone())
            .filter(|value| !value.is_empty())
    }

    /// Gives a file or directory, which may start with `~/` (git-config(1), "pathname").
    pub(super) fn path(&self, variable: &str, key: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = self.text(variable, key) else {
            return Ok(None);
        };
        let path = match (path.strip_prefix("~/"), home(self.variables)?) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => path.into(),
        };
        let what = match (self.variables)(variable) {
            Some(_) => variable.to_owned(),
            None => self.entry(key).map_or_else(String::new, Entry::with_origin),
        };
        absolute(&what, path).map(Some)
    }

    /// Gives a file or directory with trusted certificates. Git ignores it if Windows' own TLS is used (git:
    /// `get_curl_handle`).
    pub(super) fn authorities(
        &self,
        variable: &str,
        key: &str,
    ) -> Result<Option<PathBuf>, Failure> {
        match cfg!(windows) && self.text("", "sslbackend").as_deref() == Some("schannel") {
            true => Ok(None),
            false => self.path(variable, key),
        }
    }

    /// Gives a number, which may have git's suffixes k, m and g (git-config(1), "integer").
    pub(super) fn number(&self, variable: &str, key: &str) -> Option<u64> {
        let text = self.text(variable, key)?;
        let number = gix::config::Integer::try_from(text.as_str()).ok()?;
        u64::try_from(number.to_decimal()?).ok()
    }
}
