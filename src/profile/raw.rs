//! What the configuration and the environment say, each setting with its origin.

use std::collections::BTreeMap;

use super::{DEFAULT, Source};
use crate::http::Url;

/// A value and where it was set, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T = String> {
    /// The value.
    pub value: T,
    /// The key or variable, and its file: `bbtoken.work.clientId in ~/.gitconfig`.
    pub origin: String,
}

/// The settings of one profile as they were found.
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
    /// `workspace`, as often as it was set.
    pub workspaces: Vec<Setting>,
    /// `clientSecretCommand`.
    pub client_secret_command: Option<Setting>,
    /// `accessTokenCommand`.
    pub access_token_command: Option<Setting>,
    /// `baseUrl`.
    pub base_url: Option<Setting>,
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
}

impl RawProfile {
    /// Tells whether the settings name a client or a command that prints tokens.
    pub(super) fn has_client(&self) -> bool {
        self.client_id.is_some() || self.access_token_command.is_some()
    }

    /// Gives every setting that was made, by its key; each field is named, so that a new one cannot be forgotten.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &Setting)> {
        let RawProfile {
            client_id,
            grant,
            account,
            push_profile,
            workspaces,
            client_secret_command,
            access_token_command,
            base_url,
            token_url,
            authorize_url,
            store,
            transport,
            remember_advertisement,
        } = self;
        let single = [
            ("clientId", client_id),
            ("grant", grant),
            ("account", account),
            ("pushProfile", push_profile),
            ("clientSecretCommand", client_secret_command),
            ("accessTokenCommand", access_token_command),
            ("baseUrl", base_url),
            ("tokenUrl", token_url),
            ("authorizeUrl", authorize_url),
            ("store", store),
            ("transport", transport),
            ("rememberAdvertisement", remember_advertisement),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, setting)| Some((key, setting.as_ref()?)));
        let workspaces = workspaces.iter().map(|setting| ("workspace", setting));
        single.chain(workspaces).collect()
    }
}

/// The `BBTOKEN_*` variables that bear on a profile.
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
    /// `BBTOKEN_BASE_URL`, `BBTOKEN_TOKEN_URL`, `BBTOKEN_AUTHORIZE_URL`, `BBTOKEN_STORE`, `BBTOKEN_TRANSPORT`,
    /// `BBTOKEN_REMEMBER_ADVERTISEMENT`.
    pub settings: RawProfile,
}

impl Environment {
    /// Tells whether the environment alone is enough to get a token.
    pub(super) fn is_complete(&self) -> bool {
        self.client_id.is_some() || self.access_token.is_some()
    }
}

/// Everything that was configured, not yet resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// The variables.
    pub environment: Environment,
    /// `bbtoken.<profile>.<key>`.
    pub profiles: BTreeMap<String, RawProfile>,
    /// `bbtoken.<key>`: for every profile that does not say otherwise.
    pub common: RawProfile,
    /// `bbtoken.profile`.
    pub selected: Option<Setting>,
    /// `remote.<name>.bbtokenProfile`.
    pub of_remote: Option<Setting>,
    /// The profiles that the user selects by protected configuration: `bbtoken.profile`, `remote.<name>.bbtokenProfile`.
    pub typed: Vec<String>,
    /// The base URLs that the address's host stands for; empty for an address without a host, which fits each.
    pub sites: Vec<Url>,
    /// Whether a superproject may have written the address, and not the user.
    pub is_of_superproject: bool,
    /// The user names that the repository's own settings put into addresses, each with its setting.
    pub planted: Vec<Setting>,
}

impl Raw {
    /// Tells whether some profile has another one push in its place.
    pub(crate) fn has_pushers(&self) -> bool {
        self.pushers().next().is_some()
    }

    /// Gives the settings that have another profile push, each with the profile it belongs to.
    pub(super) fn pushers(&self) -> impl Iterator<Item = (&str, &Setting)> {
        let own = self.profiles.iter();
        let own = own.map(|(name, profile)| (name.as_str(), profile));
        own.chain([(DEFAULT, &self.common)])
            .filter_map(|(name, profile)| Some((name, profile.push_profile.as_ref()?)))
    }
}
