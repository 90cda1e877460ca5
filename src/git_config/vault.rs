//! Reads the variables of OpenBao's and Vault's own programs.

use std::ffi::OsString;

use super::environment::Variables;
use crate::profile::{Key, RawProfile, Setting};

/// Reads the settings in the variables of OpenBao's and Vault's own programs.
pub(super) fn settings(variables: Variables<'_>) -> RawProfile {
    let read = |names| {
        let (name, value) = variable(variables, names)?;
        Some(Setting {
            value: value.into_string().ok()?,
            origin: name.to_owned(),
        })
    };
    let mut settings = RawProfile::default();
    settings.set(Key::StoreUrl, read(["BAO_ADDR", "VAULT_ADDR"]));
    let namespace = read(["BAO_NAMESPACE", "VAULT_NAMESPACE"]);
    settings.set(Key::StoreNamespace, namespace);
    settings
}

/// Reads a variable of OpenBao's and Vault's own programs, by its names in order of precedence, and tells which one is
/// set. As there, an empty one counts as unset.
pub(super) fn variable<'n>(
    variables: Variables<'_>,
    names: [&'n str; 2],
) -> Option<(&'n str, OsString)> {
    names.into_iter().find_map(|name| {
        let value = variables(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    })
}
