//! Values with their origins, read as a URL, one of several words, or a boolean.

use super::store::Store;
use crate::{
    failure::{Failure, misconfigured, quote},
    secret::{mask_address, mask_name},
    url::{Url, may_carry_credentials},
};

/// A value with its origin, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T = String> {
    /// The value.
    pub(crate) value: T,
    /// The key or variable, with its file: `bbtoken.work.clientId in ~/.gitconfig`.
    pub(crate) origin: String,
}

/// Reads the URL of an endpoint.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] if a credential must not be sent to it.
pub(super) fn endpoint(setting: &Setting) -> Result<Url, Failure> {
    read_url(&setting.value, &setting.origin)
}

/// Reads the URL of an endpoint, with its origin for messages.
///
/// # Errors
///
/// As [`endpoint`].
pub(super) fn read_url(text: &str, origin: &str) -> Result<Url, Failure> {
    let refuse = |why: &str| {
        misconfigured(format!(
            "'{}' ({origin}) cannot be used: {why}",
            quote(&mask_address(text))
        ))
    };
    if !text.contains("://") {
        return Err(refuse("it does not begin with 'https://'"));
    }
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(misconfigured(format!(
            "the URL of {origin} contains a user name or password; remove it"
        )));
    }
    // An endpoint may have a query, but no fragment (RFC 6749 sections 3.1 and 3.2).
    if url.fragment().is_some() {
        return Err(refuse("it has a fragment"));
    }
    if !may_carry_credentials(&url) {
        return Err(refuse(
            "the helper sends tokens only over https, or over http to this machine",
        ));
    }
    Ok(url)
}

/// Reads the name of a store.
pub(super) fn store(setting: Option<&Setting>) -> Result<Store, Failure> {
    one_of(setting, &Store::ALL.map(|store| (store.name(), store)))
}

/// Reads a boolean with git's words (git-config(1), "boolean"); the default is true.
pub(super) fn truth(setting: Option<&Setting>) -> Result<bool, Failure> {
    let words = ["true", "yes", "on", "1"].map(|word| (word, true));
    let others = ["false", "no", "off", "0"].map(|word| (word, false));
    one_of(setting, &[words, others].concat())
}

/// Reads one of several words. The first choice is the default.
pub(super) fn one_of<T: Copy>(
    setting: Option<&Setting>,
    choices: &[(&str, T)],
) -> Result<T, Failure> {
    let Some(Setting { value, origin }) = setting else {
        return Ok(choices[0].1);
    };
    let chosen = choices
        .iter()
        .find(|(word, _)| value.eq_ignore_ascii_case(word));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        misconfigured(format!(
            "'{}' ({origin}) is not one of {}",
            mask_name(value),
            words.join(", ")
        ))
    })
}
