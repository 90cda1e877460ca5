//! The settings from the configuration and the environment, with their origins.

use std::collections::BTreeMap;

use super::{
    builtin::ORIGIN,
    grant::{Client, Source},
    key::Key,
    reserved_names::DEFAULT,
    store::Store,
    valid::Profile,
    values::{Setting, store},
};
use crate::{
    suggestion::{self, Unknown},
    url::Url,
};

/// The unresolved settings of one profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawProfile {
    single: BTreeMap<Key, Setting>,
    /// All values of `workspace`.
    pub(crate) workspaces: Vec<Setting>,
}

impl RawProfile {
    /// Gives the setting of a key.
    pub(crate) fn get(&self, key: Key) -> Option<&Setting> {
        self.single.get(&key)
    }

    /// Tells whether a key has a setting.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.single.contains_key(&key)
    }

    /// Replaces the setting of a key; `None` removes it.
    pub(crate) fn set(&mut self, key: Key, setting: Option<Setting>) {
        match setting {
            Some(setting) => self.single.insert(key, setting),
            None => self.single.remove(&key),
        };
    }

    /// Tells whether the settings name a client, a command that prints tokens, or a shared record.
    pub(super) fn has_client(&self) -> bool {
        self.has(Key::ClientId) || self.has(Key::AccessTokenCommand) || self.has_record()
    }

    /// Tells whether the settings name a shared record.
    fn has_record(&self) -> bool {
        self.has(Key::StorePath) || self.has(Key::StoreCommand)
    }

    /// Tells whether the settings name a shared record and the store that has it.
    fn has_store_and_record(&self) -> bool {
        let store = store(self.get(Key::Store));
        self.has_record() && matches!(store, Ok(Store::Vault | Store::Command))
    }

    /// Tells whether the profile is for a workspace.
    pub(super) fn serves(&self, workspace: &str) -> bool {
        let mut own = self.workspaces.iter();
        own.any(|setting| setting.value.eq_ignore_ascii_case(workspace))
    }

    /// Lists all settings with the names of their keys, in the order of [`Key`].
    pub(crate) fn settings(&self) -> Vec<(&'static str, &Setting)> {
        let single = self.single.iter();
        let single = single.map(|(key, setting)| (key.name(), setting));
        let workspaces = self.workspaces.iter();
        let workspaces = workspaces.map(|setting| ("workspace", setting));
        single.chain(workspaces).collect()
    }
}

/// The `BBTOKEN_*` variables for profiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `BBTOKEN_PROFILE`.
    pub(crate) profile: Option<String>,
    /// `BBTOKEN_CLIENT_ID`.
    pub(crate) client_id: Option<String>,
    /// `BBTOKEN_CLIENT_SECRET` or `BBTOKEN_CLIENT_SECRET_FILE`.
    pub(crate) client_secret: Option<Source>,
    /// `BBTOKEN_ACCESS_TOKEN` or `BBTOKEN_ACCESS_TOKEN_FILE`.
    pub(crate) access_token: Option<Source>,
    /// The variables of keys. Those of a shared store are missing if no setting chooses a store.
    pub(crate) settings: RawProfile,
    /// `storeUrl` from `BAO_ADDR` or `VAULT_ADDR`, and `storeNamespace` from `BAO_NAMESPACE` or `VAULT_NAMESPACE`.
    pub(crate) of_vault: RawProfile,
}

impl Environment {
    /// Tells whether the environment alone defines a profile.
    pub(super) fn is_complete(&self) -> bool {
        let has_own = self.client_id.is_some() || self.access_token.is_some();
        has_own || self.settings.has_store_and_record()
    }
}

/// The places of a profile's settings, in order of precedence: the environment, the profile, the defaults for every
/// profile.
pub(crate) struct Layers<'a>(pub(crate) [&'a RawProfile; 3]);

impl<'a> Layers<'a> {
    /// Finds the setting of a key in the first place that has it.
    pub(crate) fn pick(&self, key: Key) -> Option<&'a Setting> {
        self.0.iter().find_map(|layer| layer.get(key))
    }
}

/// All unresolved settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// The variables.
    pub(crate) environment: Environment,
    /// `bbtoken.<profile>.<key>`.
    pub(crate) profiles: BTreeMap<String, RawProfile>,
    /// `bbtoken.<key>`, the defaults for every profile.
    pub(crate) common: RawProfile,
    /// `bbtoken.profile`.
    pub(crate) selected: Option<Setting>,
    /// The client that a packager compiled in.
    pub(crate) builtin: Option<Client>,
    /// `remote.<name>.bbtokenProfile`.
    pub(crate) of_remote: Option<Setting>,
    /// The profiles that protected configuration selects: `bbtoken.profile`, `remote.<name>.bbtokenProfile`.
    pub(crate) typed: Vec<String>,
    /// The base URLs for the address's host. Empty for an address without a host, which matches every profile.
    pub(crate) sites: Vec<Url>,
    /// Whether a superproject may have written the address.
    pub(crate) is_of_superproject: bool,
    /// The user names that the repository's own settings put into addresses, with their settings.
    pub(crate) planted: Vec<Setting>,
    /// The settings with unknown keys.
    pub(crate) unknown_keys: Vec<Unknown>,
}

impl Raw {
    /// Gives the places of the settings of a profile, which may have none of its own.
    pub(crate) fn layers<'a>(&'a self, own: Option<&'a RawProfile>) -> Layers<'a> {
        const NONE: &RawProfile = &RawProfile {
            single: BTreeMap::new(),
            workspaces: Vec::new(),
        };
        let environment = &self.environment.settings;
        Layers([environment, own.unwrap_or(NONE), &self.common])
    }

    /// Gives the id of the built-in client as a setting, for a profile that uses this client.
    pub(crate) fn builtin_id(&self, profile: &Profile) -> Option<(&'static str, Setting)> {
        let id = &self.builtin.as_ref()?.id;
        let is_its = profile.client().is_some_and(|client| client.id == *id);
        let value = id.clone();
        let origin = ORIGIN.to_owned();
        is_its.then_some(("clientId", Setting { value, origin }))
    }

    /// Lists the settings and variables with this program's prefix that nothing reads.
    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        let keys = self.unknown_keys.iter().cloned();
        keys.chain(suggestion::unknown_variables()).collect()
    }

    /// Gives the unknown ones with a suggestion as a text for the end of an error message.
    pub(super) fn doubts(&self) -> String {
        suggestion::doubts(&self.unknown())
    }

    /// Tells whether a setting chooses a store.
    pub(crate) fn names_a_store(&self) -> bool {
        let own = self.profiles.values();
        let mut all = own.chain([&self.environment.settings, &self.common]);
        all.any(|settings| settings.has(Key::Store))
    }

    /// Tells whether any profile has another profile for pushes.
    pub(crate) fn has_pushers(&self) -> bool {
        self.pushers().next().is_some()
    }

    /// Lists the settings that name a profile for pushes, with the profiles that they belong to.
    pub(super) fn pushers(&self) -> impl Iterator<Item = (&str, &Setting)> {
        let own = self.profiles.iter();
        let own = own.map(|(name, profile)| (name.as_str(), profile));
        own.chain([(DEFAULT, &self.common)])
            .filter_map(|(name, profile)| Some((name, profile.get(Key::PushProfile)?)))
    }
}
