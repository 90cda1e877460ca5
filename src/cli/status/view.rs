//! What `git bbtoken status` knows of one profile, as lines and as JSON.

use serde_json::{Value, json};

use crate::{
    app::{self, App},
    clock,
    failure::quote,
    profile::{self, GrantKind, Layers, Profile, RawProfile, Setting},
    report,
    secret::{Secret, mask_address, mask_id, mask_name, masked, program_of},
    token::{CachedToken, Login, Stored, StoredOwner},
};

/// The data that `status` shows of one profile.
pub(super) struct View {
    pub(super) name: String,
    /// The resolved profile with its saved data, or the reason why it cannot be used.
    pub(super) found: anyhow::Result<(Profile, Stored, Option<anyhow::Error>)>,
    /// The site, if it is not the common one.
    pub(super) site: Option<String>,
    pub(super) settings: Vec<(&'static str, Setting)>,
}

impl View {
    pub(super) fn of(app: &App, name: &str) -> Self {
        let found = app.identity(name, |_| {}).map(|identity| {
            let (stored, problem) = identity.stored();
            (identity.profile, stored, problem)
        });
        let profile = found.as_ref().ok().map(|(profile, ..)| profile);
        View {
            name: name.to_owned(),
            site: profile.and_then(|profile| app.other_site(profile)),
            settings: settings(&app.raw, name, profile),
            found,
        }
    }

    /// Names the site after another text, if it is not the common one.
    pub(super) fn of_site(&self) -> String {
        let site = self.site.as_ref();
        site.map_or_else(String::new, |site| format!("; {site}"))
    }

    /// Names what contains repositories.
    pub(super) fn space(&self) -> &'static str {
        let profile = self.found.as_ref().map(|(profile, ..)| profile);
        profile.map_or("workspace", |it| it.endpoints.product.words().space)
    }

    pub(super) fn workspaces(&self) -> Vec<&str> {
        let workspaces = self.settings.iter().filter(|(key, _)| *key == "workspace");
        workspaces
            .map(|(_, setting)| setting.value.as_str())
            .collect()
    }

    pub(super) fn lines(&self, now_unix_s: u64) -> Vec<String> {
        let mut rows = match &self.found {
            Err(error) => vec![("cannot be used", format!("{error:#}"))],
            Ok((profile, stored, problem)) => [
                self.site
                    .iter()
                    .map(|site| ("site", site.clone()))
                    .collect(),
                of_profile(profile, stored, now_unix_s),
                of_store(profile, stored, problem.as_ref()),
                of_login(profile, stored, now_unix_s),
                of_access_token(profile, stored, now_unix_s),
            ]
            .concat(),
        };
        rows.extend(self.settings.iter().map(|(key, setting)| {
            let value = shown(key, setting);
            ("set", format!("{key} = {value}   ({})", setting.origin))
        }));
        let title = format!("profile '{}'", self.name);
        let rows = rows.iter();
        let lines = rows.map(|(label, text)| format!("  {label:<14} {text}"));
        std::iter::once(title).chain(lines).collect()
    }

    pub(super) fn json(&self, now_unix_s: u64) -> Value {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(key, setting)| json!({ "key": key, "value": shown(key, setting), "origin": setting.origin }))
            .collect();
        let mut fields = json!({ "name": self.name, "settings": settings });
        let (profile, stored, problem) = match &self.found {
            Ok(found) => found,
            Err(error) => {
                fields["problem"] = json!(format!("{error:#}"));
                return fields;
            }
        };
        fields["kind"] = json!(profile.endpoints.product.name());
        fields["base_url"] = json!(profile.endpoints.base.as_str());
        fields["grant"] = json!(profile.grant.name());
        fields["account"] = json!(profile.account);
        fields["workspaces"] = json!(self.workspaces());
        fields["store"] = json!(profile.store.name());
        let mut add = |name: &str, value: Option<Value>| {
            value.into_iter().for_each(|value| fields[name] = value);
        };
        let problem = problem.as_ref().map(|problem| format!("{problem:#}"));
        add("store_problem", problem.map(Value::String));
        let client = profile.client();
        add("client_id", client.map(|client| json!(mask_id(&client.id))));
        let token = stored.access_token.as_ref();
        add("access_token", token.map(|it| token_json(it, now_unix_s)));
        let login = stored.login.as_ref();
        add("login", login.map(|it| login_json(it, stored.has_ended)));
        add("owner", stored.owner.as_ref().map(owner_json));
        let secret = stored.client_secret.as_ref();
        add("client_secret", secret.map(fingerprint_json));
        let token = stored.token.as_ref();
        add("stored_token", token.map(fingerprint_json));
        fields
    }
}

/// A line of a profile: its label and its text.
type Row = (&'static str, String);

fn of_profile(profile: &Profile, stored: &Stored, now_unix_s: u64) -> Vec<Row> {
    let client = profile.client();
    let client = client.map(|client| ("client id", mask_id(&client.id)));
    let has_account = profile.account != profile.name;
    let account = has_account.then(|| ("account", quote(&profile.account)));
    let owner = stored.owner.as_ref().map(|owner| {
        let since = clock::ago(owner.told_at_unix_s, now_unix_s);
        (
            "at Bitbucket",
            format!("{}, as of {since}", quote(&owner.name)),
        )
    });
    let grant = Some(("grant", profile.grant.name().to_owned()));
    [grant, client, account, owner]
        .into_iter()
        .flatten()
        .collect()
}

fn of_store(profile: &Profile, stored: &Stored, problem: Option<&anyhow::Error>) -> Vec<Row> {
    let store = match &profile.shared {
        Some(shared) => format!(
            "{}: {shared}; 'git bbtoken doctor' asks it",
            profile.store.name()
        ),
        None => profile.store.name().to_owned(),
    };
    let store = Some(("store", store));
    let problem = problem.map(|problem| ("", format!("cannot be read: {problem:#}")));
    let shown = |secret: &Secret| format!("{} (fingerprint)", secret.fingerprint());
    let secret = stored.client_secret.as_ref();
    let secret = secret.map(|secret| ("client secret", shown(secret)));
    let token = stored.token.as_ref();
    let token = token.map(|token| ("stored token", shown(token)));
    [store, problem, secret, token]
        .into_iter()
        .flatten()
        .collect()
}

fn of_login(profile: &Profile, stored: &Stored, now_unix_s: u64) -> Vec<Row> {
    match (&stored.login, profile.grant.kind()) {
        (Some(login), _) => {
            let since = clock::ago(login.obtained_at_unix_s, now_unix_s);
            let scopes = app::scopes(profile, &login.scopes);
            let mut rows = vec![("login", format!("refreshed {since}")), ("", scopes)];
            if stored.has_ended {
                rows.push((
                    "",
                    report::for_this_user(&format!("has ended; run 'git bbtoken login {profile}'")),
                ));
            }
            rows
        }
        (None, GrantKind::AuthorizationCode) => {
            vec![(
                "login",
                report::for_this_user(&format!("none; run 'git bbtoken login {profile}'")),
            )]
        }
        (None, _) => Vec::new(),
    }
}

fn of_access_token(profile: &Profile, stored: &Stored, now_unix_s: u64) -> Vec<Row> {
    let Some(token) = &stored.access_token else {
        return Vec::new();
    };
    let fingerprint = token.access_token.fingerprint();
    let since = clock::ago(token.got_at_unix_s(), now_unix_s);
    vec![
        (
            "access token",
            format!("{fingerprint} (fingerprint), got {since}"),
        ),
        ("", clock::expiry(token.expires_at_unix_s, now_unix_s)),
        ("", app::scopes(profile, &token.scopes)),
    ]
}

fn token_json(token: &CachedToken, now_unix_s: u64) -> Value {
    let left_s = i128::from(token.expires_at_unix_s) - i128::from(now_unix_s);
    json!({
        "fingerprint": token.access_token.fingerprint(),
        "scopes": token.scopes,
        "got_at": token.got_at_unix_s(),
        "expires_at": token.expires_at_unix_s,
        "expires_in_s": i64::try_from(left_s).unwrap_or(i64::MAX),
    })
}

fn login_json(login: &Login, has_ended: bool) -> Value {
    json!({
        "fingerprint": login.refresh_token.fingerprint(),
        "scopes": login.scopes,
        "refreshed_at": login.obtained_at_unix_s,
        "has_ended": has_ended,
    })
}

fn owner_json(owner: &StoredOwner) -> Value {
    json!({ "name": owner.name, "told_at": owner.told_at_unix_s })
}

fn fingerprint_json(secret: &Secret) -> Value {
    json!({ "fingerprint": secret.fingerprint() })
}

/// Collects the settings of a profile, the strongest first. A key that is set twice appears twice.
fn settings(
    raw: &profile::Raw,
    name: &str,
    profile: Option<&Profile>,
) -> Vec<(&'static str, Setting)> {
    let Layers(layers) = raw.layers(raw.profiles.get(name));
    let settings = layers.into_iter().flat_map(RawProfile::settings);
    let settings = settings.map(|(key, setting)| (key, setting.clone()));
    let builtin = profile.and_then(|profile| raw.builtin_id(profile));
    settings.chain(builtin).collect()
}

/// Shows a value. Of a command, shows only the program, because users write secrets into commands.
fn shown(key: &str, setting: &Setting) -> String {
    let value = &setting.value;
    match key {
        "clientSecretCommand" | "accessTokenCommand" | "storeCommand" => {
            format!("{} …", program_of(value).trim_matches('\''))
        }
        "clientId" => mask_id(value),
        "baseUrl" | "mirrorUrl" | "redirectUri" | "tokenUrl" | "authorizeUrl" | "storeUrl" => {
            quote(&mask_address(value))
        }
        "storePath" | "storeTokenPath" | "storeJwtFile" => masked(value),
        _ => mask_name(value),
    }
}
