//! Reads the settings of a store that many machines share.

use std::ffi::OsString;

use super::environment::Variables;
use crate::{
    failure::Failure,
    profile::{RawShared, Setting},
};

/// Finds the field of a key in lower case.
pub(super) fn field<'s>(shared: &'s mut RawShared, key: &str) -> Option<&'s mut Option<Setting>> {
    Some(match key {
        "storepath" => &mut shared.path,
        "storeurl" => &mut shared.url,
        "storenamespace" => &mut shared.namespace,
        "storerole" => &mut shared.role,
        "storeauthpath" => &mut shared.auth_path,
        "storejwtfile" => &mut shared.jwt_file,
        "storejwtvariable" => &mut shared.jwt_variable,
        "storetokenpath" => &mut shared.token_path,
        "storecommand" => &mut shared.command,
        "cache" => &mut shared.cache,
        _ => return None,
    })
}

/// Reads this program's variables with `read`.
pub(super) fn ours(
    read: &dyn Fn(&'static str) -> Result<Option<Setting>, Failure>,
) -> Result<RawShared, Failure> {
    Ok(RawShared {
        path: read("BBTOKEN_STORE_PATH")?,
        url: read("BBTOKEN_STORE_URL")?,
        namespace: read("BBTOKEN_STORE_NAMESPACE")?,
        role: read("BBTOKEN_STORE_ROLE")?,
        auth_path: read("BBTOKEN_STORE_AUTH_PATH")?,
        jwt_file: read("BBTOKEN_STORE_JWT_FILE")?,
        jwt_variable: read("BBTOKEN_STORE_JWT_VARIABLE")?,
        token_path: read("BBTOKEN_STORE_TOKEN_PATH")?,
        command: read("BBTOKEN_STORE_COMMAND")?,
        cache: read("BBTOKEN_CACHE")?,
    })
}

/// Reads the settings in the variables of OpenBao's and Vault's own programs.
pub(super) fn of_vault(variables: Variables<'_>) -> RawShared {
    let read = |names| {
        let (name, value) = vault_variable(variables, names)?;
        Some(Setting {
            value: value.into_string().ok()?,
            origin: name.to_owned(),
        })
    };
    RawShared {
        url: read(["BAO_ADDR", "VAULT_ADDR"]),
        namespace: read(["BAO_NAMESPACE", "VAULT_NAMESPACE"]),
        ..RawShared::default()
    }
}

/// Reads a variable of OpenBao's and Vault's own programs, by its names in order of precedence, and tells which one is
/// set. As there, an empty one counts as unset. Every command does this, so the names are given whole.
pub(super) fn vault_variable<'n>(
    variables: Variables<'_>,
    names: [&'n str; 2],
) -> Option<(&'n str, OsString)> {
    names.into_iter().find_map(|name| {
        let value = variables(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    })
}
