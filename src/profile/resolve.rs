//! Makes a valid profile from its settings, or names the invalid setting.

use super::{
    endpoints::{Endpoints, Place},
    grant::{Client, Grant, GrantKind, Source},
    key::Key,
    raw::{Environment, Layers, Raw, RawProfile},
    record,
    reserved_names::DEFAULT,
    store::Store,
    valid::{Profile, Transport},
    values::{Setting, endpoint, one_of, read_url, store, truth},
};
use crate::{
    failure::{Failure, misconfigured},
    secret::mask_name,
    site::Product,
    url::Url,
};

/// The base URL of Bitbucket Cloud.
const CLOUD: &str = "https://bitbucket.org";

/// Lists the sites to compare an address with before the profile is known, the general one first.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for an unknown kind, or if a credential must not be sent to one of the URLs.
pub(crate) fn places(raw: &Raw) -> Result<Vec<Place>, Failure> {
    let place = |own| {
        let settings = raw.layers(own);
        let ssh_host = settings.pick(Key::SshHost);
        Ok(Place {
            product: product(&settings)?,
            base: or_cloud(settings.pick(Key::BaseUrl))?,
            mirror: mirror(&settings)?,
            ssh_host: ssh_host.map(|setting| setting.value.clone()),
        })
    };
    let is_given = raw.environment.settings.has(Key::BaseUrl);
    let is_own = |profile: &&RawProfile| {
        let is_set = profile.has(Key::BaseUrl) || profile.has(Key::MirrorUrl);
        profile.has(Key::Kind) || (is_set && !is_given)
    };
    let own = raw.profiles.values().filter(is_own).map(Some).map(place);
    let general = std::iter::once(place(None));
    // A base URL in the environment overrides every profile's. Then only a profile may know the kind.
    match is_given {
        true => own.chain(general).collect(),
        false => general.chain(own).collect(),
    }
}

fn product(settings: &Layers<'_>) -> Result<Product, Failure> {
    one_of(settings.pick(Key::Kind), &Product::CHOICES)
}

/// Reads a base URL.
fn or_cloud(setting: Option<&Setting>) -> Result<Url, Failure> {
    match setting {
        Some(setting) => endpoint(setting),
        None => read_url(CLOUD, "the default"),
    }
}

/// Reads the mirror of the base URL. A base URL that overrides another one has not the mirror of that one, because the
/// token of one site must not reach another.
fn mirror(settings: &Layers<'_>) -> Result<Option<Url>, Failure> {
    let mut layers = settings.0.iter();
    let first = layers.find(|layer| layer.has(Key::MirrorUrl) || layer.has(Key::BaseUrl));
    let setting = first.and_then(|layer| layer.get(Key::MirrorUrl));
    setting.map(endpoint).transpose()
}

/// Gives the base URL of a profile.
///
/// # Errors
///
/// As [`places`].
pub(super) fn base_url(raw: &Raw, name: &str) -> Result<Url, Failure> {
    or_cloud(raw.layers(raw.profiles.get(name)).pick(Key::BaseUrl))
}

pub(super) fn resolve(raw: &Raw, name: &str) -> Result<Profile, Failure> {
    let settings = raw.layers(raw.profiles.get(name));
    let Layers([_, own, common]) = settings;
    // A named profile is used as defined. The environment's client or token is a profile of its own, or completes a
    // profile without a token source.
    let is_defined = [own, common].into_iter().any(names_a_source);
    let is_of_environment = !(raw.profiles.contains_key(name) || name == DEFAULT) || !is_defined;
    let environment = &raw.environment;
    let environment = (environment.is_complete() && is_of_environment).then_some(environment);
    // `account` and `pushProfile` belong to one profile and have no common default. Settings without a profile name
    // define the default profile.
    let fallback = match name {
        DEFAULT => common,
        _ => own,
    };
    let of_one = |key| own.get(key).or(fallback.get(key));
    let account = of_one(Key::Account);
    let push_profile = of_one(Key::PushProfile);
    let store = store(settings.pick(Key::Store))?;
    let grant = grant(raw, environment, &settings, store, name)?;
    let endpoints = endpoints(&settings)?;
    let shared = match grant {
        Grant::Shared(_) => record::find(store, name, &settings, &raw.environment.of_vault)?,
        _ => None,
    };
    if matches!(grant, Grant::AuthorizationCode(_)) && store == Store::Memory {
        return Err(misconfigured(format!(
            "profile '{name}' needs a login, and the store 'memory' saves none; choose 'file', 'keyring' or 'kernel-keyring'"
        )));
    }
    Ok(Profile {
        name: name.to_owned(),
        account: account.map_or(name, |setting| &setting.value).to_owned(),
        push_profile: push_profile.cloned(),
        grant,
        scope: scope(&settings, endpoints.product),
        redirect_uri: redirect_uri(&settings)?,
        endpoints,
        transport: transport(settings.pick(Key::Transport))?,
        store,
        caches_tokens: caches_tokens(settings.pick(Key::Cache), store)?,
        shared,
        remembers_advertisement: truth(settings.pick(Key::RememberAdvertisement))?,
        no_questions: None,
        unknown_keys: raw.unknown_keys.clone(),
    })
}

fn grant(
    raw: &Raw,
    environment: Option<&Environment>,
    settings: &Layers<'_>,
    store: Store,
    name: &str,
) -> Result<Grant, Failure> {
    if let Some(token) = environment.and_then(|environment| environment.access_token.clone()) {
        is_no_client(&token, &raw.environment)?;
        return Ok(Grant::Token(token));
    }
    let given_id = environment.and_then(|environment| environment.client_id.as_ref());
    // The profile's own client or token command is not combined with a common one.
    let Layers([_, own, common]) = settings;
    let source = match names_a_source(own) {
        true => own,
        false => common,
    };
    let command = source.get(Key::AccessTokenCommand);
    let command = command.filter(|_| given_id.is_none());
    let own_id = source.get(Key::ClientId).map(|setting| &setting.value);
    let client_id = given_id.or(own_id);
    let has_only_command = command.is_some() && client_id.is_none();
    let is_for_builtin = raw.builtin.is_some() && client_id.is_none();
    let implied = match (has_only_command, is_for_builtin) {
        (true, _) => GrantKind::Token,
        (false, true) => GrantKind::AuthorizationCode,
        (false, false) => GrantKind::ClientCredentials,
    };
    let kind = kind(settings, given_id.is_some(), has_only_command)?.unwrap_or(implied);
    if kind == GrantKind::Token {
        return Ok(Grant::Token(
            command.cloned().map_or(Source::Stored, Source::Command),
        ));
    }
    if matches!(store, Store::Vault | Store::Command) {
        return Ok(Grant::Shared(client_id.cloned()));
    }
    let Some(id) = client_id else {
        // It is for people only: anyone can read its secret. Another secret shows that another client is meant.
        let other_secret = settings.pick(Key::ClientSecretCommand);
        let has_other_secret = raw.environment.client_secret.is_some() || other_secret.is_some();
        let is_meant = kind == GrantKind::AuthorizationCode && !has_other_secret;
        if let Some(client) = raw.builtin.as_ref().filter(|_| is_meant) {
            return Ok(Grant::AuthorizationCode(client.clone()));
        }
        return Err(misconfigured(format!(
            "profile '{name}' has no client: set bbtoken.{name}.clientId or BBTOKEN_CLIENT_ID{}",
            raw.doubts()
        )));
    };
    let client = Client {
        id: id.clone(),
        secret: client_secret(raw, environment.is_some(), settings, id),
    };
    Ok(match kind {
        GrantKind::AuthorizationCode => Grant::AuthorizationCode(client),
        _ => Grant::ClientCredentials(client),
    })
}

/// Reads the kind of grant that the settings name.
fn kind(
    settings: &Layers<'_>,
    has_given_id: bool,
    has_only_command: bool,
) -> Result<Option<GrantKind>, Failure> {
    // The common grant does not apply to the profile's own command.
    let Layers([_, own, _]) = settings;
    let setting = match own.get(Key::Grant) {
        None if has_only_command && names_a_source(own) => None,
        _ => settings.pick(Key::Grant),
    };
    let kind = setting.map(grant_kind).transpose()?;
    // A client in the environment overrides the grant `token`.
    Ok(kind.filter(|kind| !has_given_id || *kind != GrantKind::Token))
}

fn grant_kind(Setting { value, origin }: &Setting) -> Result<GrantKind, Failure> {
    GrantKind::named(value).ok_or_else(|| {
        misconfigured(format!(
            "'{}' ({origin}) is not a grant; expected client-credentials, authorization-code or token",
            mask_name(value)
        ))
    })
}

/// Tells whether settings name a token source: a client, a command or a stored token.
fn names_a_source(settings: &RawProfile) -> bool {
    let grant = settings.get(Key::Grant);
    let is_token = |grant: &Setting| GrantKind::named(&grant.value) == Some(GrantKind::Token);
    settings.has_client() || grant.is_some_and(is_token)
}

/// Refuses a token that equals the client's id or secret, because the server would only answer 401.
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
        "BBTOKEN_ACCESS_TOKEN contains the client's {half}, not a token; unset it, and the helper gets a token with the client"
    )))
}

/// Finds the source of a client's secret. A secret in the environment belongs to the client in the environment, if
/// there is one. Else it belongs to a client without a secret source.
fn client_secret(raw: &Raw, is_of_environment: bool, settings: &Layers<'_>, id: &str) -> Source {
    let environment = &raw.environment;
    let is_its = environment.client_id.as_deref().is_none_or(|its| its == id);
    let given = environment.client_secret.as_ref().filter(|_| is_its);
    let command = settings.pick(Key::ClientSecretCommand);
    match (given, command) {
        (Some(given), command) if is_of_environment || command.is_none() => given.clone(),
        (_, Some(command)) => Source::Command(command.clone()),
        (_, None) => Source::Stored,
    }
}

fn endpoints(settings: &Layers<'_>) -> Result<Endpoints, Failure> {
    let product = product(settings)?;
    let base_url = settings.pick(Key::BaseUrl);
    let kind = settings.pick(Key::Kind);
    if let (None, false, Some(kind)) = (base_url, product.facts().has_usual_base, kind) {
        return Err(misconfigured(format!(
            "'{}' ({}) needs the address of that Bitbucket; set baseUrl, with the context path, in the same place",
            mask_name(&kind.value),
            kind.origin
        )));
    }
    let base = or_cloud(base_url)?;
    if base.query().is_some() {
        let origin = base_url.map_or("", |base| &base.origin);
        return Err(misconfigured(format!(
            "'{base}' ({origin}) cannot be used: it has a query"
        )));
    }
    let or_below = |setting: Option<&Setting>, path: &str| match setting {
        Some(setting) => endpoint(setting),
        None => {
            let mut url = base.clone();
            url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
            Ok(url)
        }
    };
    let [token, authorize] = product.facts().oauth_paths;
    Ok(Endpoints {
        token: or_below(settings.pick(Key::TokenUrl), token)?,
        authorize: or_below(settings.pick(Key::AuthorizeUrl), authorize)?,
        mirror: mirror(settings)?,
        product,
        base,
    })
}

/// Gives the scopes to ask for. An empty setting asks for none.
fn scope(settings: &Layers<'_>, product: Product) -> Option<String> {
    let asked = settings.pick(Key::Scope);
    let asked = asked.map_or(product.facts().scope, |setting| Some(&setting.value));
    asked.filter(|scope| !scope.is_empty()).map(str::to_owned)
}

/// Reads the redirect URI, which the server compares character by character. The browser takes the authorization code there.
fn redirect_uri(settings: &Layers<'_>) -> Result<Option<String>, Failure> {
    let Some(setting) = settings.pick(Key::RedirectUri) else {
        return Ok(None);
    };
    endpoint(setting)?;
    Ok(Some(setting.value.clone()))
}

fn transport(setting: Option<&Setting>) -> Result<Transport, Failure> {
    let choices = [
        ("auto", Transport::Auto),
        ("native", Transport::Native),
        ("git", Transport::Git),
    ];
    one_of(setting, &choices)
}

/// Reads `cache`. It applies to a shared store only.
fn caches_tokens(setting: Option<&Setting>, store: Store) -> Result<bool, Failure> {
    let asked = one_of(setting, &[("memory", false), ("file", true)])?;
    Ok(match store {
        Store::Vault | Store::Command => asked,
        Store::File | Store::Keyring | Store::KernelKeyring => true,
        Store::Memory => false,
    })
}
