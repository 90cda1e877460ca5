//! Which client is used for an address, by which grant, against which endpoints, and where its secret is kept.
//!
//! [`Raw`] is what the configuration says, each setting with its origin; [`choose`] makes a valid [`Profile`] of it
//! or says which setting stands in the way.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::{
    address::Address,
    failure::{Failure, Kind, quote},
    http::{Url, may_carry_credentials},
    secret::{Secret, hex_digest},
};

/// The name under which a client or token from the environment alone is known.
pub const ENVIRONMENT: &str = "environment";
/// The name of the profile that `bbtoken.<key>` settings without a profile make.
pub const DEFAULT: &str = "default";

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
pub struct RawProfile {
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
    /// Gives every setting that was made, by its key; each field is named, so that a new one cannot be forgotten.
    pub fn settings(&self) -> Vec<(&'static str, &Setting)> {
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
pub struct Environment {
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
    fn is_complete(&self) -> bool {
        self.client_id.is_some() || self.access_token.is_some()
    }
}

/// Everything that was configured, not yet resolved.
#[derive(Clone, Debug, Default)]
pub struct Raw {
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
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was given, by the variable named.
    Given {
        /// The variable.
        variable: &'static str,
        /// The secret itself.
        secret: Secret,
    },
    /// It is the content of a file, without the line end.
    File(PathBuf),
    /// It is what a command prints, without the line end.
    Command(Setting),
    /// It was put into the profile's store.
    Stored,
}

/// An OAuth client, whose secret is read only when a token is needed.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's id (Bitbucket: key).
    pub id: String,
    /// Where its secret is.
    pub secret: Source,
}

/// How a profile gets its access tokens.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For the client itself (RFC 6749 section 4.4).
    ClientCredentials(Client),
    /// For a person who has logged in (RFC 6749 sections 4.1 and 6).
    AuthorizationCode(Client),
    /// A token that somebody else made.
    Token(Source),
}

impl Grant {
    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Grant::ClientCredentials(_) => "client-credentials",
            Grant::AuthorizationCode(_) => "authorization-code",
            Grant::Token(_) => "token",
        }
    }
}

/// The addresses of Bitbucket that a profile uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Repositories live below it. Its path has no slash at the end.
    pub base: Url,
    /// RFC 6749 section 3.2.
    pub token: Url,
    /// RFC 6749 section 3.1.
    pub authorize: Url,
}

impl Endpoints {
    /// Gives the URL of a repository, without `.git` doubled or a slash at the end.
    pub fn repository(&self, address: &Address) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{}/{}.git",
            self.base.path().trim_end_matches('/'),
            address.workspace,
            address.repository
        ));
        url
    }
}

/// Who speaks HTTP with the git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// We do, unless git's http settings ask for something only git has.
    Auto,
    /// We do, always.
    Native,
    /// Git's own `git-remote-https` does.
    Git,
}

/// Where tokens may be kept between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In files that only the user can read.
    File,
    /// In the keychain of the desktop session, or of the user on macOS and Windows.
    Keyring,
    /// In the Linux kernel's keyring, until the machine restarts.
    KernelKeyring,
    /// Nowhere: nothing is written.
    Memory,
}

impl Store {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Store::File => "file",
            Store::Keyring => "keyring",
            Store::KernelKeyring => "kernel-keyring",
            Store::Memory => "memory",
        }
    }
}

/// A profile that can be used.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Whose login it is: two accounts with one client are told apart by it.
    pub account: String,
    /// The profile that pushes in its place, so that a fetch never holds a token that can write.
    pub push_profile: Option<Setting>,
    /// How it gets tokens.
    pub grant: Grant,
    /// Where from, and for what.
    pub endpoints: Endpoints,
    /// Who carries git's protocol.
    pub transport: Transport,
    /// Where its tokens are kept.
    pub store: Store,
    /// Whether a repository's advertisement is remembered between commands.
    pub remembers_advertisement: bool,
}

impl Profile {
    /// Names what is cached for it: the same client at the same endpoint shares a token, whatever the profile's name.
    ///
    /// `None` for a ready token, which is never cached.
    pub fn cache_key(&self) -> Option<String> {
        match &self.grant {
            Grant::ClientCredentials(client) => {
                Some(self.key("client-credentials", &client.id, ""))
            }
            Grant::AuthorizationCode(_) => Some(self.login_key()),
            Grant::Token(_) => None,
        }
    }

    /// Names the login that is kept for it: by client, account and endpoints, never by a remote's URL.
    pub fn login_key(&self) -> String {
        let id = self.client().map_or("", |client| &client.id);
        self.key("login", id, &self.account)
    }

    /// Names the client secret that is kept for it.
    pub fn client_key(&self, client: &Client) -> String {
        self.key("client", &client.id, "")
    }

    /// Names the ready token that is kept for it.
    pub fn token_key(&self) -> String {
        self.key("token", "", &self.account)
    }

    /// The OAuth client, if it has one.
    pub fn client(&self) -> Option<&Client> {
        match &self.grant {
            Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => Some(client),
            Grant::Token(_) => None,
        }
    }

    fn key(&self, kind: &str, client_id: &str, account: &str) -> String {
        let Endpoints { base, token, .. } = &self.endpoints;
        let parts = [kind, client_id, account, token.as_str(), base.as_str()];
        hex_digest(parts.join("\n").as_bytes())[..32].to_owned()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Gives the base URLs that addresses are compared with before a profile is known: the general one first.
///
/// # Errors
///
/// [`Kind::Misconfigured`] if one is no URL that a credential may be sent to.
pub fn base_urls(raw: &Raw) -> Result<Vec<Url>, Failure> {
    let of_environment = raw.environment.settings.base_url.as_ref();
    let general = of_environment.or(raw.common.base_url.as_ref());
    let own = raw
        .profiles
        .values()
        .filter_map(|profile| profile.base_url.as_ref());
    // One in the environment is stronger than every profile's.
    let own = own.filter(|_| of_environment.is_none()).map(Some);
    std::iter::once(general)
        .chain(own)
        .map(|setting| endpoint(setting, || "https://bitbucket.org".to_owned()))
        .collect()
}

/// Chooses the profile for an address, and resolves it.
///
/// The first that answers: `profile@` in the address, `remote.<name>.bbtokenProfile`, `BBTOKEN_PROFILE`, a client or
/// token in the environment, a profile whose `workspace` names the address's, `bbtoken.profile`, the only profile.
///
/// # Errors
///
/// [`Kind::UnknownProfile`], [`Kind::NotConfigured`] or [`Kind::Misconfigured`].
pub fn choose(raw: &Raw, address: Option<&Address>) -> Result<Profile, Failure> {
    let (name, _) = choose_name(raw, address)?;
    resolve(raw, &name)
}

/// Names every profile there is, in alphabetical order.
pub fn names(raw: &Raw) -> Vec<String> {
    let mut names: Vec<_> = raw.profiles.keys().cloned().collect();
    if has_client(&raw.common) {
        names.push(DEFAULT.to_owned());
    }
    if raw.environment.is_complete() {
        names.push(
            raw.environment
                .profile
                .clone()
                .unwrap_or_else(|| ENVIRONMENT.to_owned()),
        );
    }
    names.sort();
    names.dedup();
    names
}

/// Resolves the profile of a name.
///
/// # Errors
///
/// As [`choose`].
pub fn named(raw: &Raw, name: &str, origin: &str) -> Result<Profile, Failure> {
    let name = known(raw, name.to_owned(), origin)?;
    resolve(raw, &name)
}

/// Tells which profile an address gets, and why, in words that follow "because".
///
/// # Errors
///
/// As [`choose`].
pub fn explain(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    choose_name(raw, address)
}

/// Resolves the profile that pushes in a profile's place; `None` if it pushes itself.
///
/// # Errors
///
/// As [`choose`].
pub fn for_push(raw: &Raw, profile: &Profile) -> Result<Option<Profile>, Failure> {
    let Some(Setting { value, origin }) = &profile.push_profile else {
        return Ok(None);
    };
    let name = known(raw, value.clone(), origin)?;
    let pusher = resolve(raw, &name)?;
    if pusher.endpoints.base != profile.endpoints.base {
        return Err(misconfigured(format!(
            "profile '{pusher}' cannot push for profile '{profile}' ({origin}): its baseUrl is another one"
        )));
    }
    Ok(Some(pusher))
}

/// Chooses a name, and says why.
fn choose_name(raw: &Raw, address: Option<&Address>) -> Result<(String, String), Failure> {
    let environment = &raw.environment;
    let asked = |name: &str, origin: &str| {
        Ok((
            known(raw, name.to_owned(), origin)?,
            format!("{origin} asks for it"),
        ))
    };
    if let Some(name) = address.and_then(|address| address.profile.as_deref()) {
        return asked(name, "the address");
    }
    if let Some(Setting { value, origin }) = &raw.of_remote {
        return asked(value, origin);
    }
    if let Some(name) = &environment.profile {
        return asked(name, "BBTOKEN_PROFILE");
    }
    if environment.is_complete() {
        let why = match environment.access_token {
            Some(_) => "a token is in the environment",
            None => "BBTOKEN_CLIENT_ID is set",
        };
        return Ok((ENVIRONMENT.to_owned(), why.to_owned()));
    }
    if let Some(address) = address
        && let Some(name) = by_workspace(raw, &address.workspace)?
    {
        let why = format!("bbtoken.{name}.workspace names '{}'", address.workspace);
        return Ok((name, why));
    }
    if let Some(Setting { value, origin }) = &raw.selected {
        return asked(value, origin);
    }
    the_only(raw)
}

fn known(raw: &Raw, name: String, origin: &str) -> Result<String, Failure> {
    let environment_name = raw.environment.profile.as_deref().unwrap_or(ENVIRONMENT);
    let of_environment = name == environment_name && raw.environment.is_complete();
    let of_common = name == DEFAULT && has_client(&raw.common);
    if raw.profiles.contains_key(&name) || of_environment || of_common {
        return Ok(name);
    }
    let known = raw.profiles.keys().cloned().collect();
    Err(Failure::new(
        Kind::UnknownProfile { known },
        format!(
            "there is no profile '{}', which {origin} asks for",
            quote(&name)
        ),
    ))
}

fn by_workspace(raw: &Raw, workspace: &str) -> Result<Option<String>, Failure> {
    let mut serving = raw.profiles.iter().filter(|(_, profile)| {
        profile
            .workspaces
            .iter()
            .any(|setting| setting.value.eq_ignore_ascii_case(workspace))
    });
    match (serving.next(), serving.next()) {
        (Some((first, _)), Some((second, _))) => Err(misconfigured(format!(
            "profiles '{first}' and '{second}' both claim workspace '{workspace}'; name one in the address, as in '{first}@{workspace}/…'"
        ))),
        (first, _) => Ok(first.map(|(name, _)| name.clone())),
    }
}

fn the_only(raw: &Raw) -> Result<(String, String), Failure> {
    let chosen = |name: &str, why: &str| Ok((name.to_owned(), why.to_owned()));
    if has_client(&raw.common) {
        return chosen(
            DEFAULT,
            "settings without a profile's name make the default one",
        );
    }
    let mut names = raw.profiles.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => chosen(name, "it is the only one"),
        (None, _) => Err(Failure::new(
            Kind::NotConfigured,
            "no OAuth client and no token is configured",
        )),
        (Some(_), Some(_)) if raw.profiles.contains_key(DEFAULT) => {
            chosen(DEFAULT, "it is called so")
        }
        (Some(_), Some(_)) => {
            let names: Vec<_> = raw
                .profiles
                .keys()
                .map(|name| format!("'{name}'"))
                .collect();
            Err(misconfigured(format!(
                "several profiles are configured ({}) and none is chosen; set bbtoken.profile to one of them",
                names.join(", ")
            )))
        }
    }
}

fn has_client(profile: &RawProfile) -> bool {
    profile.client_id.is_some() || profile.access_token_command.is_some()
}

fn resolve(raw: &Raw, name: &str) -> Result<Profile, Failure> {
    let none = RawProfile::default();
    let own = raw.profiles.get(name).unwrap_or(&none);
    let settings = Layers {
        environment: &raw.environment.settings,
        own,
        common: &raw.common,
    };
    // The environment's client takes the place of a configured one only where nothing names a profile.
    let from_environment = raw.environment.is_complete()
        && (!has_client(own) || raw.environment.profile.as_deref() == Some(name));
    let environment = from_environment.then_some(&raw.environment);
    // Whose login it is and who pushes are one profile's own affair; the settings without a profile are one, too.
    let own = if name == DEFAULT && !raw.profiles.contains_key(DEFAULT) {
        &raw.common
    } else {
        own
    };
    let grant = grant(raw, environment, &settings, name)?;
    let store = store(settings.pick(|p| p.store.as_ref()))?;
    if matches!(grant, Grant::AuthorizationCode(_)) && store == Store::Memory {
        return Err(misconfigured(format!(
            "profile '{name}' needs a login, and the store 'memory' keeps none; choose 'file', 'keyring' or 'kernel-keyring'"
        )));
    }
    Ok(Profile {
        name: name.to_owned(),
        account: own
            .account
            .as_ref()
            .map_or(name, |setting| &setting.value)
            .to_owned(),
        push_profile: own.push_profile.clone(),
        grant,
        endpoints: endpoints(&settings)?,
        transport: transport(settings.pick(|p| p.transport.as_ref()))?,
        store,
        remembers_advertisement: truth(settings.pick(|p| p.remember_advertisement.as_ref()))?,
    })
}

/// The places a setting can stand in, strongest first.
struct Layers<'a> {
    environment: &'a RawProfile,
    own: &'a RawProfile,
    common: &'a RawProfile,
}

impl<'a> Layers<'a> {
    fn pick<T>(&self, field: impl Fn(&'a RawProfile) -> Option<&'a T>) -> Option<&'a T> {
        [self.environment, self.own, self.common]
            .into_iter()
            .find_map(field)
    }
}

fn grant(
    raw: &Raw,
    environment: Option<&Environment>,
    settings: &Layers<'_>,
    name: &str,
) -> Result<Grant, Failure> {
    if let Some(token) = environment.and_then(|environment| environment.access_token.clone()) {
        is_no_client(&token, &raw.environment)?;
        return Ok(Grant::Token(token));
    }
    let token_command = settings.pick(|p| p.access_token_command.as_ref());
    let client_id = environment
        .and_then(|environment| environment.client_id.as_ref())
        .or_else(|| {
            settings
                .pick(|p| p.client_id.as_ref())
                .map(|setting| &setting.value)
        });
    let kind = settings.pick(|p| p.grant.as_ref());
    match (
        kind.map(|setting| setting.value.as_str()),
        client_id,
        token_command,
    ) {
        (Some("token"), _, Some(command)) | (None, None, Some(command)) => {
            Ok(Grant::Token(Source::Command(command.clone())))
        }
        (Some("token"), _, None) => match &raw.environment.access_token {
            Some(token) => Ok(Grant::Token(token.clone())),
            None => Ok(Grant::Token(Source::Stored)),
        },
        (Some("client-credentials") | None, Some(id), _) => Ok(Grant::ClientCredentials(Client {
            id: id.clone(),
            secret: client_secret(raw, settings, id),
        })),
        (Some("authorization-code"), Some(id), _) => Ok(Grant::AuthorizationCode(Client {
            id: id.clone(),
            secret: client_secret(raw, settings, id),
        })),
        (Some("client-credentials" | "authorization-code") | None, None, _) => {
            Err(misconfigured(format!(
                "profile '{name}' has no client: set bbtoken.{name}.clientId or BBTOKEN_CLIENT_ID"
            )))
        }
        (Some(other), _, _) => {
            let origin = kind.map_or("", |setting| &setting.origin);
            Err(misconfigured(format!(
                "'{}' ({origin}) is no grant; expected client-credentials, authorization-code or token",
                quote(other)
            )))
        }
    }
}

/// Refuses a ready token that is half of the client beside it: the server would answer 401 and no more.
fn is_no_client(token: &Source, environment: &Environment) -> Result<(), Failure> {
    let Source::Given { secret: token, .. } = token else {
        return Ok(());
    };
    let is_secret =
        matches!(&environment.client_secret, Some(Source::Given { secret, .. }) if secret == token);
    let is_id = environment.client_id.as_deref() == Some(token.expose());
    let half = match (is_secret, is_id) {
        (true, _) => "secret",
        (_, true) => "id",
        _ => return Ok(()),
    };
    Err(misconfigured(format!(
        "BBTOKEN_ACCESS_TOKEN holds the client's {half}, which is no token; unset it, and a token is got with the client"
    )))
}

/// Finds where a client's secret is. One in the environment belongs to the client there, if one is there.
fn client_secret(raw: &Raw, settings: &Layers<'_>, id: &str) -> Source {
    let environment = &raw.environment;
    let is_its = environment.client_id.as_deref().is_none_or(|its| its == id);
    if let Some(source) = environment.client_secret.as_ref().filter(|_| is_its) {
        return source.clone();
    }
    let command = settings.pick(|p| p.client_secret_command.as_ref());
    command.map_or(Source::Stored, |command| Source::Command(command.clone()))
}

fn endpoints(settings: &Layers<'_>) -> Result<Endpoints, Failure> {
    let base = endpoint(settings.pick(|p| p.base_url.as_ref()), || {
        "https://bitbucket.org".to_owned()
    })?;
    let below = |path: &str| format!("{}{path}", base.as_str().trim_end_matches('/'));
    Ok(Endpoints {
        token: endpoint(settings.pick(|p| p.token_url.as_ref()), || {
            below("/site/oauth2/access_token")
        })?,
        authorize: endpoint(settings.pick(|p| p.authorize_url.as_ref()), || {
            below("/site/oauth2/authorize")
        })?,
        base,
    })
}

fn endpoint(setting: Option<&Setting>, default: impl FnOnce() -> String) -> Result<Url, Failure> {
    let default = setting.is_none().then(default);
    let (text, origin) = match (setting, &default) {
        (Some(setting), _) => (setting.value.as_str(), setting.origin.as_str()),
        (None, Some(text)) => (text.as_str(), "the default"),
        (None, None) => ("", ""),
    };
    let refuse = |why: &str| {
        misconfigured(format!(
            "'{}' ({origin}) cannot be used: {why}",
            quote(text)
        ))
    };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(misconfigured(format!(
            "the URL of {origin} holds a user name or password; remove it"
        )));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment"));
    }
    if !may_carry_credentials(&url) {
        return Err(refuse(
            "tokens are sent over https only, or over http to this machine",
        ));
    }
    Ok(url)
}

fn transport(setting: Option<&Setting>) -> Result<Transport, Failure> {
    one_of(
        setting,
        &[
            ("auto", Transport::Auto),
            ("native", Transport::Native),
            ("git", Transport::Git),
        ],
    )
}

/// Reads a truth value by git's words (git-config(1), "boolean"); true where there is none.
fn truth(setting: Option<&Setting>) -> Result<bool, Failure> {
    let words = ["true", "yes", "on", "1"].map(|word| (word, true));
    let others = ["false", "no", "off", "0"].map(|word| (word, false));
    one_of(setting, &[words, others].concat())
}

fn store(setting: Option<&Setting>) -> Result<Store, Failure> {
    one_of(
        setting,
        &[
            ("file", Store::File),
            ("keyring", Store::Keyring),
            ("kernel-keyring", Store::KernelKeyring),
            ("memory", Store::Memory),
        ],
    )
}

/// Reads a word; the first choice is the default.
fn one_of<T: Copy>(setting: Option<&Setting>, choices: &[(&str, T)]) -> Result<T, Failure> {
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
            quote(value),
            words.join(", ")
        ))
    })
}

fn misconfigured(message: String) -> Failure {
    Failure::new(Kind::Misconfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(value: &str) -> Option<Setting> {
        Some(Setting {
            value: value.into(),
            origin: "test".into(),
        })
    }

    fn client(id: &str, workspaces: &[&str]) -> RawProfile {
        RawProfile {
            client_id: setting(id),
            client_secret_command: setting("echo s"),
            workspaces: workspaces.iter().filter_map(|name| setting(name)).collect(),
            ..RawProfile::default()
        }
    }

    fn address(profile: Option<&str>, workspace: &str) -> Address {
        Address {
            profile: profile.map(str::to_owned),
            workspace: workspace.into(),
            repository: "repo".into(),
        }
    }

    fn raw(profiles: &[(&str, RawProfile)]) -> Raw {
        Raw {
            profiles: profiles
                .iter()
                .map(|(name, profile)| ((*name).to_owned(), profile.clone()))
                .collect(),
            ..Raw::default()
        }
    }

    fn with_token(raw: &Raw) -> Raw {
        let mut raw = raw.clone();
        raw.environment.access_token = Some(Source::Given {
            variable: "BBTOKEN_ACCESS_TOKEN",
            secret: Secret::new("t"),
        });
        raw
    }

    #[test]
    fn the_first_that_answers_is_chosen() {
        let two = raw(&[
            ("home", client("h", &["mine"])),
            ("work", client("w", &["ours", "theirs"])),
        ]);
        let mut all = two.clone();
        all.selected = setting("home");
        let mut of_remote = all.clone();
        of_remote.of_remote = setting("work");
        let mut by_variable = all.clone();
        by_variable.environment.profile = Some("work".into());
        let cases = [
            (&two, Some("home"), "ours", "home"),
            (&of_remote, None, "mine", "work"),
            (&by_variable, None, "mine", "work"),
            (&with_token(&all), None, "ours", ENVIRONMENT),
            (&with_token(&all), Some("work"), "ours", "work"),
            (&two, None, "Theirs", "work"),
            (&all, None, "other", "home"),
        ];
        for (raw, profile, workspace, expected) in cases {
            let chosen = choose(raw, Some(&address(profile, workspace))).expect("one answers");
            assert_eq!(chosen.name, expected, "{profile:?} {workspace}");
        }
        assert_eq!(cases.len(), 7);
    }

    #[test]
    fn the_only_profile_needs_no_choice_and_several_do() {
        let one = raw(&[("work", client("w", &[]))]);
        assert_eq!(choose(&one, None).expect("it is the only one").name, "work");
        let two = raw(&[("a", client("a", &[])), ("b", client("b", &[]))]);
        let error = choose(&two, None).expect_err("none is chosen");
        assert!(error.to_string().contains("'a', 'b'"), "{error}");
        assert_eq!(
            choose(&Raw::default(), None)
                .expect_err("nothing is there")
                .kind,
            Kind::NotConfigured
        );
    }

    #[test]
    fn an_unknown_profile_lists_the_known_ones() {
        let two = raw(&[("a", client("a", &[])), ("b", client("b", &[]))]);
        let error = choose(&two, Some(&address(Some("c"), "ws"))).expect_err("there is no c");
        assert_eq!(
            error.kind,
            Kind::UnknownProfile {
                known: vec!["a".into(), "b".into()]
            }
        );
    }

    #[test]
    fn two_profiles_for_one_workspace_are_an_error() {
        let two = raw(&[("a", client("a", &["ws"])), ("b", client("b", &["ws"]))]);
        assert!(choose(&two, Some(&address(None, "ws"))).is_err());
    }

    #[test]
    fn a_secret_in_the_environment_belongs_to_the_client_there() {
        let mut raw = raw(&[("work", client("w", &[]))]);
        raw.environment.client_id = Some("other".into());
        raw.environment.client_secret = Some(Source::File("/secret".into()));
        let chosen = choose(&raw, Some(&address(Some("work"), "ws"))).expect("it is there");
        assert!(matches!(
            chosen.client().map(|client| &client.secret),
            Some(Source::Command(_))
        ));
        raw.environment.client_id = None;
        let chosen = choose(&raw, Some(&address(Some("work"), "ws"))).expect("it is there");
        assert!(matches!(
            chosen.client().map(|client| &client.secret),
            Some(Source::File(_))
        ));
    }

    #[test]
    fn another_profile_can_push_in_ones_place() {
        let mut reader = client("r", &["ws"]);
        reader.push_profile = setting("writer");
        let raw = raw(&[("reader", reader), ("writer", client("w", &[]))]);
        let chosen = choose(&raw, Some(&address(None, "ws"))).expect("it serves the workspace");
        assert_eq!(chosen.name, "reader");
        let pushing = for_push(&raw, &chosen)
            .expect("it is there")
            .expect("it is named");
        assert_eq!(pushing.name, "writer");
        assert_eq!(
            for_push(&raw, &pushing)
                .expect("it is there")
                .map(|p| p.name),
            None
        );
    }

    #[test]
    fn who_pushes_must_use_the_same_bitbucket() {
        let mut reader = client("r", &["ws"]);
        reader.push_profile = setting("writer");
        let mut writer = client("w", &[]);
        writer.base_url = setting("https://other.example");
        let raw = raw(&[("reader", reader), ("writer", writer)]);
        let chosen = choose(&raw, Some(&address(None, "ws"))).expect("it serves the workspace");
        let message = for_push(&raw, &chosen)
            .map(|_| ())
            .expect_err("its token would go to a foreign host");
        assert!(
            message.to_string().contains("its baseUrl is another one"),
            "{message}"
        );
    }

    #[test]
    fn settings_without_a_profile_can_name_account_and_pusher() {
        let mut raw = raw(&[("writer", client("w", &[]))]);
        raw.common = client("r", &[]);
        raw.common.account = setting("ann");
        raw.common.push_profile = setting("writer");
        let chosen = choose(&raw, None).expect("it is the default");
        assert_eq!(
            (chosen.name.as_str(), chosen.account.as_str()),
            (DEFAULT, "ann")
        );
        let pusher = for_push(&raw, &chosen).expect("it is there");
        let pusher = pusher.expect("it is named");
        assert_eq!(
            (pusher.account.as_str(), pusher.push_profile),
            ("writer", None)
        );
    }

    #[test]
    fn a_login_is_kept_by_client_account_and_endpoint_and_not_in_memory() {
        let with = |change: &dyn Fn(&mut RawProfile)| {
            let mut profile = client("x", &[]);
            profile.grant = setting("authorization-code");
            profile.account = setting("ann");
            change(&mut profile);
            choose(&raw(&[("a", profile)]), None)
        };
        let one = with(&|_| ()).expect("it is valid").login_key();
        type Change<'c> = &'c dyn Fn(&mut RawProfile);
        let changes: [(Change<'_>, bool); 5] = [
            (&|profile| profile.workspaces = vec![], true),
            (&|profile| profile.account = setting("bob"), false),
            (&|profile| profile.client_id = setting("y"), false),
            (
                &|profile| profile.token_url = setting("https://other.example/token"),
                false,
            ),
            (
                &|profile| profile.base_url = setting("https://other.example"),
                false,
            ),
        ];
        for (change, is_same) in changes {
            let other = with(change).expect("it is valid").login_key();
            assert_eq!(one == other, is_same);
        }
        let error = with(&|profile| profile.store = setting("memory")).map(|_| ());
        let error = error.expect_err("it would be lost at once");
        assert!(error.to_string().contains("keeps none"), "{error}");
    }

    #[test]
    fn half_a_client_is_no_token() {
        let mut raw = with_token(&Raw::default());
        raw.environment.client_id = Some("t".into());
        assert!(choose(&raw, None).is_err_and(|error| error.to_string().contains("client's id")));
        raw.environment.client_id = Some("id".into());
        raw.environment.client_secret = raw.environment.access_token.clone();
        assert!(
            choose(&raw, None).is_err_and(|error| error.to_string().contains("client's secret"))
        );
        raw.environment.client_secret = None;
        assert!(choose(&raw, None).is_ok());
    }

    #[test]
    fn credentials_are_never_pointed_at_plain_http() {
        for url in [
            "http://bitbucket.org",
            "ftp://localhost",
            "https://u:p@localhost",
            "https://x/?q",
            "nonsense",
            "",
        ] {
            let mut raw = with_token(&Raw::default());
            raw.environment.settings.base_url = setting(url);
            assert!(choose(&raw, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_in_a_base_url_is_not_shown() {
        let mut raw = with_token(&Raw::default());
        raw.environment.settings.base_url = setting("https://u:canary@localhost");
        let error = choose(&raw, None).expect_err("it is refused");
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn the_cache_key_knows_client_and_endpoint() {
        let one = choose(&raw(&[("a", client("x", &[]))]), None).expect("one");
        let same = choose(&raw(&[("b", client("x", &[]))]), None).expect("one");
        let other = choose(&raw(&[("a", client("y", &[]))]), None).expect("one");
        assert_eq!(
            one.cache_key(),
            same.cache_key(),
            "a profile's name does not matter"
        );
        assert_ne!(one.cache_key(), other.cache_key());
    }
}
