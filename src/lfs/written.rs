//! The settings that the helper has written for git-lfs.

use super::{HELPER, is_ours, site};
use crate::url::Url;

/// A pattern for `git config --get-regexp` that matches their keys.
pub(crate) const PATTERN: &str =
    r"^(remote\..*\.lfs(push)?url|lfs\..*\.access|credential\..*\.(helper|usehttppath))$";

type Setting = (String, String);

/// Selects the settings that the helper has written. Git gives sections and keys in lower case.
pub(crate) fn written(settings: &[Setting]) -> impl DoubleEndedIterator<Item = &Setting> {
    let is_address = |(key, value): &Setting| key.starts_with("remote.") && is_ours(value);
    let addresses = settings.iter().filter(|setting| is_address(setting));
    let access_keys: Vec<_> = addresses
        .filter_map(|(_, address)| {
            let mut url = Url::parse(address).ok()?;
            url.set_username("").ok()?;
            Some(format!("lfs.{}.access", site(&url)))
        })
        .collect();
    let helpers = settings.iter().filter(|(_, value)| value == HELPER);
    let endpoints: Vec<_> = helpers
        .filter_map(|(key, _)| key.strip_suffix("/info/lfs.helper"))
        .collect();
    settings.iter().filter(move |setting| {
        let (key, value) = setting;
        let of_endpoint = |suffix| {
            let endpoint = key.strip_suffix(suffix);
            endpoint.is_some_and(|endpoint| endpoints.contains(&endpoint))
        };
        match value.as_str() {
            "basic" => access_keys.contains(key),
            "" | HELPER => of_endpoint("/info/lfs.helper"),
            "true" => of_endpoint("/info/lfs.usehttppath"),
            _ => is_address(setting),
        }
    })
}
