//! The settings from the configuration and the environment, with their origins.

use std::collections::BTreeMap;

use super::{Client, DEFAULT, Profile, Source, builtin::ORIGIN};
use crate::{
    http::Url,
    suggestion::{self, Unknown},
};

/// A value with its origin, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T = String> {
    /// The value.
    pub value: T,
    /// The key or variable, with its file: `bbtoken.work.clientId in ~/.gitconfig`.
    pub origin: String,
}

/// The unresolved settings of one profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawProfile {
    /// `clientId`.
    pub client_id: Option<Setting>,
    /// `grant`.
    pub grant: Option<Setting>,
    /// `account`.
    pub account: Option<Setting>,
    /// `pushProfile`.
    pub push_profile: Option<Setting>,
    /// All values of `workspace`.
    pub workspaces: Vec<Setting>,
    /// `clientSecretCommand`.
    pub client_secret_command: Option<Setting>,
    /// `accessTokenCommand`.
    pub access_token_command: Option<Setting>,
    /// `kind`.
    pub kind: Option<Setting>,
    /// `baseUrl`.
    pub base_url: Option<Setting>,
    /// `mirrorUrl`.
    pub mirror_url: Option<Setting>,
    /// `sshHost`.
    pub ssh_host: Option<Setting>,
    /// `scope`.
    pub scope: Option<Setting>,
    /// `redirectUri`.
    pub redirect_uri: Option<Setting>,
    /// `tokenUrl`.
    pub token_url: Option<Setting>,
    /// `authorizeUrl`.
    pub authorize_url: Option<Setting>,
    /// `store`.
    pub store: Option<Setting>,
    /// `transport`.
    pub transport: Option<Setting>,
    /// `rememberAdvertisement`.
    pub remember_advertisement: Option<Setting>,
    /// The settings of a shared store.
    pub shared: RawShared,
}

/// The unresolved settings of a store that many machines share.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawShared {
    /// `storePath`.
    pub path: Option<Setting>,
    /// `storeUrl`.
    pub url: Option<Setting>,
    /// `storeNamespace`.
    pub namespace: Option<Setting>,
    /// `storeRole`.
    pub role: Option<Setting>,
    /// `storeAuthPath`.
    pub auth_path: Option<Setting>,
    /// `storeJwtFile`.
    pub jwt_file: Option<Setting>,
    /// `storeJwtVariable`.
    pub jwt_variable: Option<Setting>,
    /// `storeTokenPath`.
    pub token_path: Option<Setting>,
    /// `storeCommand`.
    pub command: Option<Setting>,
    /// `cache`.
    pub cache: Option<Setting>,
}

impl RawShared {
    /// Lists all settings with their keys.
    fn settings(&self) -> [(&'static str, &Option<Setting>); 10] {
        let RawShared {
            path,
            url,
            namespace,
            role,
            auth_path,
            jwt_file,
            jwt_variable,
            token_path,
            command,
            cache,
        } = self;
        [
            ("storePath", path),
            ("storeUrl", url),
            ("storeNamespace", namespace),
            ("storeRole", role),
            ("storeAuthPath", auth_path),
            ("storeJwtFile", jwt_file),
            ("storeJwtVariable", jwt_variable),
            ("storeTokenPath", token_path),
            ("storeCommand", command),
            ("cache", cache),
        ]
    }
}

impl RawProfile {
    /// Tells whether the settings name a client, a command that prints tokens, or a shared record.
    pub(super) fn has_client(&self) -> bool {
        self.client_id.is_some() || self.access_token_command.is_some() || self.has_record()
    }

    /// Tells whether the profile is for a workspace.
    pub(super) fn serves(&self, workspace: &str) -> bool {
        let mut own = self.workspaces.iter();
        own.any(|setting| setting.value.eq_ignore_ascii_case(workspace))
    }

    /// Lists all settings with their keys. The code names each field, so the compiler reports a forgotten one.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &Setting)> {
        let RawProfile {
            client_id,
            grant,
            account,
            push_profile,
            workspaces,
            client_secret_command,
            access_token_command,
            kind,
            base_url,
            mirror_url,
            ssh_host,
            scope,
            redirect_uri,
            token_url,
            authorize_url,
            store,
            transport,
            remember_advertisement,
            shared,
        } = self;
        let single = [
            // A login that is interrupted between two of them leaves no profile that is for another site.
            ("kind", kind),
            ("baseUrl", base_url),
            ("mirrorUrl", mirror_url),
            ("sshHost", ssh_host),
            ("scope", scope),
            ("redirectUri", redirect_uri),
            ("clientId", client_id),
            ("grant", grant),
            ("account", account),
            ("pushProfile", push_profile),
            ("clientSecretCommand", client_secret_command),
            ("accessTokenCommand", access_token_command),
            ("tokenUrl", token_url),
            ("authorizeUrl", authorize_url),
            ("store", store),
            ("transport", transport),
            ("rememberAdvertisement", remember_advertisement),
        ];
        let single = single
            .into_iter()
            .chain(shared.settings())
            .filter_map(|(key, setting)| Some((key, setting.as_ref()?)));
        let workspaces = workspaces.iter().map(|setting| ("workspace", setting));
        single.chain(workspaces).collect()
    }
}

/// The `BBTOKEN_*` variables for profiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `BBTOKEN_PROFILE`.
    pub profile: Option<String>,
    /// `BBTOKEN_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `BBTOKEN_CLIENT_SECRET` or `BBTOKEN_CLIENT_SECRET_FILE`.
    pub client_secret: Option<Source>,
    /// `BBTOKEN_ACCESS_TOKEN` or `BBTOKEN_ACCESS_TOKEN_FILE`.
    pub access_token: Option<Source>,
    /// `BBTOKEN_KIND`, `BBTOKEN_BASE_URL`, `BBTOKEN_SCOPE`, `BBTOKEN_TOKEN_URL`, `BBTOKEN_AUTHORIZE_URL`,
    /// `BBTOKEN_STORE`, `BBTOKEN_TRANSPORT`,
    /// `BBTOKEN_REMEMBER_ADVERTISEMENT`, and those of a shared store.
    pub settings: RawProfile,
    /// `BAO_ADDR`, `VAULT_ADDR`, `BAO_NAMESPACE`, `VAULT_NAMESPACE`.
    pub of_vault: RawShared,
}

impl Environment {
    /// Tells whether the environment alone defines a profile.
    pub(super) fn is_complete(&self) -> bool {
        let has_own = self.client_id.is_some() || self.access_token.is_some();
        has_own || self.settings.has_store_and_record()
    }
}

/// All unresolved settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// The variables.
    pub environment: Environment,
    /// `bbtoken.<profile>.<key>`.
    pub profiles: BTreeMap<String, RawProfile>,
    /// `bbtoken.<key>`, the defaults for every profile.
    pub common: RawProfile,
    /// `bbtoken.profile`.
    pub selected: Option<Setting>,
    /// The client that a packager compiled in.
    pub builtin: Option<Client>,
    /// `remote.<name>.bbtokenProfile`.
    pub of_remote: Option<Setting>,
    /// The profiles that protected configuration selects: `bbtoken.profile`, `remote.<name>.bbtokenProfile`.
    pub typed: Vec<String>,
    /// The base URLs for the address's host. Empty for an address without a host, which matches every profile.
    pub sites: Vec<Url>,
    /// Whether a superproject may have written the address.
    pub is_of_superproject: bool,
    /// The user names that the repository's own settings put into addresses, with their settings.
    pub planted: Vec<Setting>,
    /// The settings with unknown keys.
    pub unknown_keys: Vec<Unknown>,
}

impl Raw {
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
        all.any(|settings| settings.store.is_some())
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
            .filter_map(|(name, profile)| Some((name, profile.push_profile.as_ref()?)))
    }
}
