//! `git bbtoken status`: what is configured, what is kept, and where each of it comes from. No request is made.

use serde_json::{Map, Value, json};

use super::{Console, arguments};
use crate::{
    app::{self, App},
    clock,
    failure::{printable_json, quote},
    profile::{self, GrantKind, Profile, RawProfile, Setting},
    secret::{Secret, mask, mask_address, mask_id, mask_name, program_of},
    token::{Kept, KeptOwner, KeptToken, Login},
};

/// The version of the JSON: raised when the meaning of a field changes.
const VERSION: u32 = 1;

pub(super) fn run(options: &arguments::Status, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    if let Some(address) = &options.explain {
        let found = app.explain(address)?;
        return console.answer(&format!(
            "{} uses profile '{}' because {}",
            found.repository, found.profile, found.why
        ));
    }
    let mut names = profile::names(&app.raw);
    if let Some(name) = &options.profile.name {
        profile::named(&app.raw, name, "the command line")?;
        names.retain(|known| known == name);
    }
    let now_unix_s = app::now_unix_s();
    let views: Vec<_> = names
        .iter()
        .map(|name| View::of(&app, name, console.warn))
        .collect();
    if options.json {
        let profiles: Vec<_> = views.iter().map(|view| view.json(now_unix_s)).collect();
        let all =
            json!({ "version": VERSION, "base_url": app.base().as_str(), "profiles": profiles });
        return console.print(&format!(
            "{}\n",
            printable_json(&serde_json::to_string_pretty(&masked(all))?)
        ));
    }
    console.answer(&format!("Bitbucket is at {}", app.base()))?;
    if views.is_empty() {
        console.answer("No profile is configured; 'git bbtoken login' creates one.")?;
    }
    for view in &views {
        console.answer("")?;
        for line in view.lines(now_unix_s) {
            console.answer(&line)?;
        }
    }
    Ok(())
}

/// What `status` shows of one profile.
struct View {
    name: String,
    /// What it resolves to and what is kept of it, or why it cannot be used.
    found: anyhow::Result<(Profile, Kept, Option<anyhow::Error>)>,
    settings: Vec<(&'static str, Setting)>,
}

impl View {
    fn of(app: &App, name: &str, warn: &dyn Fn(&str)) -> Self {
        let found = app.identity(name, |_| {}).map(|identity| {
            let (kept, problem) = identity.kept(warn);
            (identity.profile, kept, problem)
        });
        View {
            name: name.to_owned(),
            found,
            settings: settings(&app.raw, name),
        }
    }

    fn lines(&self, now_unix_s: u64) -> Vec<String> {
        let mut lines = vec![format!("profile '{}'", self.name)];
        let mut line = |label: &str, text: &str| lines.push(format!("  {label:<14} {text}"));
        match &self.found {
            Err(error) => line("cannot be used", &format!("{error:#}")),
            Ok((profile, kept, problem)) => {
                line("grant", profile.grant.name());
                if let Some(client) = profile.client() {
                    line("client id", &mask_id(&client.id));
                }
                if profile.account != profile.name {
                    line("account", &quote(&profile.account));
                }
                if let Some(owner) = &kept.owner {
                    let since = clock::ago(owner.told_at_unix_s, now_unix_s);
                    line(
                        "at Bitbucket",
                        &format!("{}, as of {since}", quote(&owner.name)),
                    );
                }
                line("store", profile.store.name());
                if let Some(problem) = problem {
                    line("", &format!("cannot be read: {problem:#}"));
                }
                if let Some(secret) = &kept.client_secret {
                    line(
                        "client secret",
                        &format!("{} (fingerprint)", secret.fingerprint()),
                    );
                }
                if let Some(token) = &kept.ready_token {
                    line(
                        "stored token",
                        &format!("{} (fingerprint)", token.fingerprint()),
                    );
                }
                match (&kept.login, profile.grant.kind()) {
                    (Some(login), _) => {
                        line(
                            "login",
                            &format!(
                                "refreshed {}",
                                clock::ago(login.obtained_at_unix_s, now_unix_s)
                            ),
                        );
                        line("", &app::scopes(&login.scopes));
                    }
                    (None, GrantKind::AuthorizationCode) => {
                        line(
                            "login",
                            &format!("none; run 'git bbtoken login {}'", self.name),
                        );
                    }
                    (None, _) => {}
                }
                if let Some(token) = &kept.access_token {
                    line(
                        "access token",
                        &format!(
                            "{} (fingerprint), got {}",
                            token.token.fingerprint(),
                            clock::ago(token.got_at_unix_s, now_unix_s)
                        ),
                    );
                    line("", &clock::expiry(token.expires_at_unix_s, now_unix_s));
                    line("", &app::scopes(&token.scopes));
                }
            }
        }
        for (key, setting) in &self.settings {
            line(
                "set",
                &format!("{key} = {}   ({})", shown(key, setting), setting.origin),
            );
        }
        lines
    }

    fn json(&self, now_unix_s: u64) -> Value {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(key, setting)| json!({ "key": key, "value": shown(key, setting), "origin": setting.origin }))
            .collect();
        let mut fields = Map::new();
        fields.insert("name".into(), json!(self.name));
        fields.insert("settings".into(), json!(settings));
        let (profile, kept, problem) = match &self.found {
            Ok(found) => found,
            Err(error) => {
                fields.insert("problem".into(), json!(format!("{error:#}")));
                return Value::Object(fields);
            }
        };
        let workspaces = self.settings.iter().filter(|(key, _)| *key == "workspace");
        let workspaces: Vec<_> = workspaces
            .map(|(_, setting)| setting.value.as_str())
            .collect();
        let optional = [
            (
                "client_id",
                profile.client().map(|client| json!(mask_id(&client.id))),
            ),
            (
                "access_token",
                kept.access_token
                    .as_ref()
                    .map(|token| token_json(token, now_unix_s)),
            ),
            ("login", kept.login.as_ref().map(login_json)),
            ("owner", kept.owner.as_ref().map(owner_json)),
            (
                "client_secret",
                kept.client_secret.as_ref().map(fingerprint_json),
            ),
            (
                "ready_token",
                kept.ready_token.as_ref().map(fingerprint_json),
            ),
            (
                "store_problem",
                problem
                    .as_ref()
                    .map(|problem| json!(format!("{problem:#}"))),
            ),
        ];
        fields.insert("grant".into(), json!(profile.grant.name()));
        fields.insert("account".into(), json!(profile.account));
        fields.insert("workspaces".into(), json!(workspaces));
        fields.insert("store".into(), json!(profile.store.name()));
        for (name, value) in optional {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        Value::Object(fields)
    }
}

fn token_json(token: &KeptToken, now_unix_s: u64) -> Value {
    let left_s = i128::from(token.expires_at_unix_s) - i128::from(now_unix_s);
    json!({
        "fingerprint": token.token.fingerprint(),
        "scopes": token.scopes,
        "got_at": token.got_at_unix_s,
        "expires_at": token.expires_at_unix_s,
        "expires_in_s": i64::try_from(left_s).unwrap_or(i64::MAX),
    })
}

fn login_json(login: &Login) -> Value {
    json!({
        "fingerprint": login.refresh_token.fingerprint(),
        "scopes": login.scopes,
        "refreshed_at": login.obtained_at_unix_s,
    })
}

fn owner_json(owner: &KeptOwner) -> Value {
    json!({ "name": owner.name, "told_at": owner.told_at_unix_s })
}

fn fingerprint_json(secret: &Secret) -> Value {
    json!({ "fingerprint": secret.fingerprint() })
}

/// Collects what bears on a profile, strongest first; a key that is set twice is shown twice.
fn settings(raw: &profile::Raw, name: &str) -> Vec<(&'static str, Setting)> {
    let none = RawProfile::default();
    let own = raw.profiles.get(name).unwrap_or(&none);
    [&raw.environment.settings, own, &raw.common]
        .into_iter()
        .flat_map(RawProfile::settings)
        .map(|(key, setting)| (key, setting.clone()))
        .collect()
}

/// Shows a value; of a command only its program, since people write secrets into them.
fn shown(key: &str, setting: &Setting) -> String {
    let value = &setting.value;
    match key {
        "clientSecretCommand" | "accessTokenCommand" => {
            format!("{} …", program_of(value).trim_matches('\''))
        }
        "clientId" => mask_id(value),
        "baseUrl" | "tokenUrl" | "authorizeUrl" => quote(&mask_address(value)),
        _ => mask_name(value),
    }
}

/// Takes what may be a secret out of every text in JSON.
fn masked(json: Value) -> Value {
    match json {
        Value::String(text) => Value::String(mask(&text)),
        Value::Array(all) => all.into_iter().map(masked).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, masked(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}
