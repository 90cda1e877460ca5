//! The keys of a profile's settings, and the variables that set them instead.

use Variable::{Always, Never, OfSharedStore};

/// The variable that sets a key.
#[derive(Clone, Copy)]
pub(crate) enum Variable {
    /// There is none.
    Never,
    /// Every command reads it.
    Always(&'static str),
    /// Only a command with a shared store reads it.
    OfSharedStore(&'static str),
}

// The type and the rows come from one table, so neither lacks a key.
macro_rules! keys {
    ($($key:ident: $name:literal, $variable:expr;)*) => {
        /// A key with one value: `bbtoken.<profile>.<key>`, or `bbtoken.<key>` as a default for all profiles.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Key { $($key,)* }

        const ROWS: &[(Key, &str, Variable)] = &[$((Key::$key, $name, $variable),)*];
    };
}

// A login writes its settings in this order. If it is interrupted, it leaves no profile that is for another site.
//
// With `BBTOKEN_CLIENT_ID`, the environment is a profile of its own. The variable sets no key.
keys! {
    Kind: "kind", Always("BBTOKEN_KIND");
    BaseUrl: "baseUrl", Always("BBTOKEN_BASE_URL");
    MirrorUrl: "mirrorUrl", Never;
    SshHost: "sshHost", Never;
    Scope: "scope", Always("BBTOKEN_SCOPE");
    RedirectUri: "redirectUri", Never;
    ClientId: "clientId", Never;
    Grant: "grant", Never;
    Account: "account", Never;
    PushProfile: "pushProfile", Never;
    ClientSecretCommand: "clientSecretCommand", Never;
    AccessTokenCommand: "accessTokenCommand", Never;
    TokenUrl: "tokenUrl", Always("BBTOKEN_TOKEN_URL");
    AuthorizeUrl: "authorizeUrl", Always("BBTOKEN_AUTHORIZE_URL");
    Store: "store", Always("BBTOKEN_STORE");
    Transport: "transport", Always("BBTOKEN_TRANSPORT");
    RememberAdvertisement: "rememberAdvertisement", Always("BBTOKEN_REMEMBER_ADVERTISEMENT");
    StorePath: "storePath", OfSharedStore("BBTOKEN_STORE_PATH");
    StoreUrl: "storeUrl", OfSharedStore("BBTOKEN_STORE_URL");
    StoreNamespace: "storeNamespace", OfSharedStore("BBTOKEN_STORE_NAMESPACE");
    StoreRole: "storeRole", OfSharedStore("BBTOKEN_STORE_ROLE");
    StoreAuthPath: "storeAuthPath", OfSharedStore("BBTOKEN_STORE_AUTH_PATH");
    StoreJwtFile: "storeJwtFile", OfSharedStore("BBTOKEN_STORE_JWT_FILE");
    StoreJwtVariable: "storeJwtVariable", OfSharedStore("BBTOKEN_STORE_JWT_VARIABLE");
    StoreTokenPath: "storeTokenPath", OfSharedStore("BBTOKEN_STORE_TOKEN_PATH");
    StoreCommand: "storeCommand", OfSharedStore("BBTOKEN_STORE_COMMAND");
    Cache: "cache", OfSharedStore("BBTOKEN_CACHE");
}

impl Key {
    /// Lists all keys in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|(key, ..)| *key)
    }

    /// Finds the key with a name. As in git, the case does not matter.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|key| key.name().eq_ignore_ascii_case(name))
    }

    /// Gives its name as documented.
    pub(crate) fn name(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// Gives its variable.
    pub(crate) fn variable(self) -> Variable {
        ROWS[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables;

    #[test]
    fn a_variable_is_named_after_its_key() {
        let mut checked = 0;
        for key in Key::all() {
            let (Always(variable) | OfSharedStore(variable)) = key.variable() else {
                continue;
            };
            let words = key.name().chars().map(|c| match c.is_uppercase() {
                true => format!("_{c}"),
                false => c.to_uppercase().to_string(),
            });
            assert_eq!(variable, format!("BBTOKEN_{}", words.collect::<String>()));
            let is_known = variables::ours().any(|known| known == variable);
            assert!(is_known, "{variable}");
            checked += 1;
        }
        assert_eq!(checked, 18);
    }
}
