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
    // Every command does this, so it makes no names.
    let read = |names: [&str; 2]| {
        let mut set = names
            .into_iter()
            .filter_map(|name| Some((name, variables(name)?)));
        let (name, value) = set.find(|(_, value)| !value.is_empty())?;
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

/// Reads a variable of OpenBao's and Vault's own programs, with its name. As there, an empty one counts as unset.
pub(super) fn vault_variable(variables: Variables<'_>, name: &str) -> Option<(String, OsString)> {
    ["BAO_", "VAULT_"].iter().find_map(|prefix| {
        let name = format!("{prefix}{name}");
        let value = variables(&name).filter(|value| !value.is_empty())?;
        Some((name, value))
    })
}
