//! Reads the settings of a record that many machines share.

use std::path::PathBuf;

use super::{
    key::Key,
    raw::{Layers, RawProfile},
    reserved_names::ENVIRONMENT,
    shared::{Jwt, RecordPath, SharedStore, Vault},
    store::Store,
    values::{Setting, endpoint},
};
use crate::{
    failure::{Failure, misconfigured},
    secret::{mask_name, masked},
    url::Url,
};

/// Finds the shared record of a profile; `None` if its store has none. `of_vault` are the settings in the variables of
/// Vault's and OpenBao's own programs.
pub(super) fn find(
    store: Store,
    name: &str,
    settings: &Layers<'_>,
    of_vault: &RawProfile,
) -> Result<Option<SharedStore>, Failure> {
    let needed = |setting: Option<&Setting>, key: &str, variable: &str| {
        let own = match name {
            ENVIRONMENT => String::new(),
            name => format!("bbtoken.{name}.{key} or "),
        };
        setting.cloned().ok_or_else(|| {
            misconfigured(format!(
                "profile '{name}' has the store '{}' and no {key}: set {own}{variable}",
                store.name()
            ))
        })
    };
    match store {
        Store::Command => {
            let command = settings.pick(Key::StoreCommand);
            let command = needed(command, "storeCommand", "BBTOKEN_STORE_COMMAND")?;
            Ok(Some(SharedStore::Command(command)))
        }
        Store::Vault => {
            let path = settings.pick(Key::StorePath);
            let path = needed(path, "storePath", "BBTOKEN_STORE_PATH")?;
            let url = settings.pick(Key::StoreUrl);
            let url = needed(
                url.or(of_vault.get(Key::StoreUrl)),
                "storeUrl",
                "VAULT_ADDR",
            )?;
            let vault = vault(&url, &path, settings, of_vault)?;
            Ok(Some(SharedStore::Vault(Box::new(vault))))
        }
        Store::File | Store::Keyring | Store::KernelKeyring | Store::Memory => Ok(None),
    }
}

/// Reads the settings of a record of Vault or OpenBao.
fn vault(
    url: &Setting,
    path: &Setting,
    settings: &Layers<'_>,
    of_vault: &RawProfile,
) -> Result<Vault, Failure> {
    let namespace = settings.pick(Key::StoreNamespace);
    let namespace = namespace.or(of_vault.get(Key::StoreNamespace));
    let token_path = settings.pick(Key::StoreTokenPath);
    let own_auth_path = settings.pick(Key::StoreAuthPath);
    let login = record(path)?;
    let copy = token_path.map(record).transpose()?;
    if let Some(setting) = token_path.filter(|_| copy.as_ref() == Some(&login)) {
        let why = "it is the path of the login; the copy for jobs needs a record of its own";
        return Err(refused(setting, why));
    }
    Ok(Vault {
        url: server(url)?,
        namespace: namespace.map(path_of).transpose()?,
        record: login,
        token_record: copy,
        role: settings.pick(Key::StoreRole).map(|role| role.value.clone()),
        auth_path: own_auth_path.map(auth_path).transpose()?,
        jwt: jwt(
            settings.pick(Key::StoreJwtFile),
            settings.pick(Key::StoreJwtVariable),
        )?,
    })
}

/// Reads the URL of a server, which may have a path.
fn server(setting: &Setting) -> Result<Url, Failure> {
    let url = endpoint(setting)?;
    match url.query() {
        Some(_) => Err(refused(setting, "it has a query")),
        None => Ok(url),
    }
}

/// Reads the path of a record: `secret/bbtoken/ci`, or as in the API `team/kv/data/bbtoken/ci` if the engine's path has
/// a slash.
fn record(setting: &Setting) -> Result<RecordPath, Failure> {
    let whole = path_of(setting)?;
    let parts = whole.split_once("/data/").or(whole.split_once('/'));
    let (mount, path) = parts.ok_or_else(|| {
        refused(
            setting,
            "it needs the path of the engine and the path in it, as in 'secret/bbtoken/ci'",
        )
    })?;
    Ok(RecordPath {
        mount: mount.to_owned(),
        path: path.to_owned(),
    })
}

fn auth_path(setting: &Setting) -> Result<String, Failure> {
    let path = path_of(setting)?;
    Ok(path.strip_prefix("auth/").unwrap_or(&path).to_owned())
}

/// Reads a path of the server. A part `..` would lead to another one.
fn path_of(setting: &Setting) -> Result<String, Failure> {
    let path = setting.value.trim_matches('/');
    let is_part = |part: &str| {
        let is_printable = part.chars().all(|c| !c.is_control() && !c.is_whitespace());
        is_printable && !["", ".", ".."].contains(&part)
    };
    match path.split('/').all(is_part) {
        true => Ok(path.to_owned()),
        false => Err(refused(
            setting,
            "it is not a path such as 'secret/bbtoken/ci'",
        )),
    }
}

/// Reads the source of the JWT. A file wins.
fn jwt(file: Option<&Setting>, variable: Option<&Setting>) -> Result<Option<Jwt>, Failure> {
    if let Some(file) = file {
        let path = PathBuf::from(&file.value);
        let why = "it is not an absolute path: a repository could put a file there";
        return match path.has_root() {
            true => Ok(Some(Jwt::File(path))),
            false => Err(refused(file, why)),
        };
    }
    let Some(Setting { value, origin }) = variable else {
        return Ok(None);
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match !value.is_empty() && value.chars().all(is_of_name) {
        true => Ok(Some(Jwt::Variable(value.clone()))),
        false => Err(misconfigured(format!(
            "'{}' ({origin}) is not the name of a variable",
            mask_name(value)
        ))),
    }
}

fn refused(setting: &Setting, why: &str) -> Failure {
    misconfigured(format!(
        "'{}' ({}) cannot be used: {why}",
        masked(&setting.value),
        setting.origin
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Grant, Profile, Raw, choose};

    fn setting(value: &str) -> Option<Setting> {
        Some(Setting {
            value: value.into(),
            origin: "test".into(),
        })
    }

    /// Resolves the profile of an environment with this record and these changes.
    fn environment(change: impl Fn(&mut RawProfile)) -> Result<Profile, String> {
        let mut raw = Raw::default();
        let settings = &mut raw.environment.settings;
        settings.set(Key::Store, setting("Vault"));
        settings.set(Key::StorePath, setting("secret/bbtoken/ci"));
        change(settings);
        let url = setting("https://vault.example:8200");
        raw.environment.of_vault.set(Key::StoreUrl, url);
        choose(&raw, None).map_err(|error| error.to_string())
    }

    fn vault(change: impl Fn(&mut RawProfile)) -> Result<Vault, String> {
        match environment(change)?.shared {
            Some(SharedStore::Vault(vault)) => Ok(*vault),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn store_and_path_alone_define_a_profile() {
        let profile = environment(|_| {}).expect("it is complete");
        assert_eq!(profile.name, crate::profile::ENVIRONMENT);
        assert!(matches!(profile.grant, Grant::Shared(None)));
        assert!(
            !profile.caches_tokens,
            "no token is on the disk of a runner"
        );
        let caching = environment(|own| own.set(Key::Cache, setting("file")));
        assert!(caching.expect("it is complete").caches_tokens);
        let shared = profile.shared.expect("it has one").to_string();
        assert_eq!(
            shared,
            "'secret/bbtoken/ci' of 'https://vault.example:8200'"
        );
    }

    #[test]
    fn a_record_has_the_path_of_its_engine_and_its_own() {
        for (given, mount, path) in [
            ("secret/ci", "secret", "ci"),
            ("/secret/bbtoken/ci/", "secret", "bbtoken/ci"),
            ("team/kv/data/bbtoken/ci", "team/kv", "bbtoken/ci"),
            ("secret/data/data/ci", "secret", "data/ci"),
        ] {
            let found = vault(|own| own.set(Key::StorePath, setting(given))).expect(given);
            let RecordPath {
                mount: of,
                path: at,
            } = &found.record;
            assert_eq!((of.as_str(), at.as_str()), (mount, path), "{given}");
            let again = vault(|own| own.set(Key::StorePath, setting(&found.record.setting())));
            assert_eq!(again.expect(given).record, found.record, "{given}");
        }
        for given in [
            "",
            "secret",
            "secret//ci",
            "secret/../ci",
            "a/b c",
            "a/b\nc",
            "a/./b",
        ] {
            let error = vault(|own| own.set(Key::StorePath, setting(given))).expect_err(given);
            assert!(error.contains("(test) cannot be used: it "), "{error}");
        }
    }

    #[test]
    fn a_setting_that_the_engine_cannot_use_is_named() {
        let cases = [
            (Key::StoreUrl, "http://vault.example", "only over https"),
            (Key::StoreUrl, "https://vault.example?a=b", "it has a query"),
            (
                Key::StoreUrl,
                "https://u:p@vault.example",
                "a user name or password",
            ),
            (
                Key::StoreTokenPath,
                "secret/data/bbtoken/ci",
                "it is the path of the login",
            ),
            (Key::StoreJwtFile, "jwt", "it is not an absolute path"),
            (
                Key::StoreJwtVariable,
                "eyJ.x.y",
                "is not the name of a variable",
            ),
            (Key::StoreAuthPath, "auth/../sys", "it is not a path"),
            (Key::Cache, "disk", "is not one of memory, file"),
        ];
        for (key, value, expected) in cases {
            let error = vault(|own| own.set(key, setting(value))).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let missing = vault(|own| own.set(Key::StorePath, None)).expect_err("there is no path");
        assert!(missing.contains("no OAuth client"), "{missing}");
    }

    #[test]
    fn a_profile_of_a_shared_store_keeps_its_own_client() {
        let mut raw = Raw::default();
        let mut own = RawProfile::default();
        own.set(Key::ClientId, setting("key"));
        own.set(Key::Store, setting("command"));
        own.set(Key::StoreCommand, setting("record"));
        own.set(Key::StoreAuthPath, setting("auth/gitlab/"));
        raw.profiles.insert("ci".into(), own);
        raw.environment.client_id = Some("other".into());
        let found = crate::profile::named(&raw, "ci", "test").expect("it is whole");
        assert!(matches!(&found.grant, Grant::Shared(Some(id)) if id == "key"));
        assert!(matches!(found.shared, Some(SharedStore::Command(_))));
        let profile = raw.profiles.get_mut("ci").expect("it is there");
        profile.set(Key::Store, setting("vault"));
        let error = crate::profile::named(&raw, "ci", "test").expect_err("it has no path");
        assert!(
            error
                .to_string()
                .contains("set bbtoken.ci.storePath or BBTOKEN_STORE_PATH")
        );
    }
}
