//! What a login configures: asked first, and written last.

use super::super::{Console, arguments, usage};
use crate::{
    address::{PROFILE_NAME_RULE, is_profile_name},
    app::{self, App, Identity},
    failure::quote,
    git::{Change, Target},
    git_config::Entry,
    pasted,
    profile::{self, GrantKind, RawProfile, Store},
    secret::{Secret, TOKEN_PREFIXES},
    setup,
    token::store,
};

/// The kinds of login, in the order in which they are offered.
const KINDS: [(GrantKind, &str); 3] = [
    (
        GrantKind::Token,
        "API token: your own, from your Atlassian account; needs no administrator",
    ),
    (
        GrantKind::AuthorizationCode,
        "Browser: as yourself, with the key and secret of an OAuth consumer",
    ),
    (
        GrantKind::ClientCredentials,
        "Key and secret: as the OAuth consumer itself, for CI and servers",
    ),
];

/// Chooses the keychain for a profile that no setting gives a store, and that has nothing stored yet.
fn keychain(app: &App, profile: &str, console: &Console<'_>) -> Option<String> {
    let own = app.raw.profiles.get(profile);
    let mut layers = own
        .into_iter()
        .chain([&app.raw.common, &app.raw.environment.settings]);
    let has_store = layers.any(|settings| settings.store.is_some());
    let kept = app
        .identity(profile, |_| {})
        .map(|identity| identity.kept(console.warn).0);
    let is_stored = kept.is_ok_and(|kept| kept.has_secret());
    let is_chosen = !has_store && !is_stored && store::is_ready();
    is_chosen.then(|| Store::Keyring.name().to_owned())
}

fn has_client(app: &App, profile: &str) -> bool {
    let own = app.raw.profiles.get(profile);
    own.is_some_and(|own| own.client_id.is_some() && own.grant.is_some())
}

/// What is to be configured.
pub(super) struct Wanted {
    profile: String,
    kind: GrantKind,
    client_id: Option<String>,
    account: Option<String>,
    store: Option<String>,
    workspaces: Vec<String>,
}

impl Wanted {
    pub(super) fn ask(
        options: &arguments::Login,
        app: &App,
        console: &mut Console<'_>,
    ) -> anyhow::Result<Self> {
        let profile = match &options.profile {
            Some(name) => name.clone(),
            None => name(app, console)?,
        };
        if !is_profile_name(&profile) {
            return Err(usage(&format!(
                "'{}' is not a valid profile name: {PROFILE_NAME_RULE}",
                quote(&profile)
            )));
        }
        let known = match app.identity(&profile, |_| {}) {
            Ok(identity) => Some(identity.profile),
            // A profile with a client has a real fault: report it, and ask for nothing.
            Err(error) if has_client(app, &profile) => return Err(error),
            Err(_) => None,
        };
        let kind = kind(options, known.as_ref(), console)?;
        if kind == GrantKind::Token && known.is_none() && console.is_interactive {
            let steps = steps_to_a_token();
            steps.iter().for_each(|line| console.tell(line));
        }
        let client_id = match (kind, &options.client_id) {
            (GrantKind::Token, _) => None,
            (_, Some(id)) => Some(checked_id(id)?),
            (_, None) => client_id(kind, known.as_ref(), options, app, console)?,
        };
        Ok(Wanted {
            kind,
            client_id,
            account: options.account.clone(),
            store: options
                .store
                .clone()
                .or_else(|| keychain(app, &profile, console)),
            profile,
            workspaces: options.workspaces.clone(),
        })
    }

    /// Asks for the client's id again, if it was asked for.
    pub(super) fn ask_id_again(
        &mut self,
        options: &arguments::Login,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        if self.client_id.is_some() && options.client_id.is_none() {
            self.client_id = Some(ask_id(console)?);
        }
        Ok(())
    }

    /// Asks for the e-mail address that Bitbucket's API needs to check an API token.
    pub(super) fn ask_account(
        &mut self,
        identity: &mut Identity,
        secret: &Secret,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let is_api_token = secret.expose().starts_with(TOKEN_PREFIXES[1]);
        if is_api_token && !identity.profile.account.contains('@') {
            let address = loop {
                let address = console.ask("E-mail address of your Atlassian account", "")?;
                if address.is_empty() || address.contains('@') {
                    break address;
                }
                // It may be a part of the token.
                console.tell("That is not an e-mail address.");
            };
            if !address.is_empty() {
                identity.profile.account.clone_from(&address);
                self.account = Some(address);
            }
        }
        Ok(())
    }

    /// The profile as it will be, without anything written.
    pub(super) fn identity(&self, app: &App) -> anyhow::Result<Identity> {
        app.identity(&self.profile, |own: &mut RawProfile| {
            own.grant = app::given(self.kind.name());
            if let Some(id) = &self.client_id {
                own.client_id = app::given(id);
            }
            if let Some(account) = &self.account {
                own.account = app::given(account);
            }
            if let Some(store) = &self.store {
                own.store = app::given(store);
            }
        })
    }

    pub(super) fn write(&self) -> anyhow::Result<()> {
        let key = |name: &str| format!("bbtoken.{}.{name}", self.profile);
        let singles = [
            ("grant", Some(self.kind.name())),
            ("clientId", self.client_id.as_deref()),
            ("account", self.account.as_deref()),
            ("store", self.store.as_deref()),
        ];
        let app = App::read_of_user()?;
        let there = setup::of_user(&app);
        let values = |key: &str| -> Vec<Option<&str>> {
            let of_key = |entry: &&&Entry| setup::same_key(&entry.name(), key);
            let entries = there.iter().filter(of_key);
            entries.map(|entry| entry.value.as_deref()).collect()
        };
        for (name, value) in singles {
            let key = key(name);
            if value.is_some_and(|value| values(&key).last() != Some(&Some(value))) {
                Target::Global.set(&key, value.unwrap_or_default())?;
            }
        }
        for workspace in &self.workspaces {
            let change = Change::Add {
                key: key("workspace"),
                value: workspace.clone(),
            };
            if !values(change.key()).contains(&Some(workspace)) {
                Target::Global.apply(&change)?;
            }
        }
        Ok(())
    }
}

/// Names the profile that is meant when none is named: the one in use, else 'default'.
fn name(app: &App, console: &mut Console<'_>) -> anyhow::Result<String> {
    match app.explain_here() {
        Ok((name, _)) if name != profile::ENVIRONMENT => Ok(name),
        Err(_) if !app.raw.profiles.is_empty() && console.is_interactive => {
            console.ask("Name of the profile", profile::DEFAULT)
        }
        _ => Ok(profile::DEFAULT.to_owned()),
    }
}

fn kind(
    options: &arguments::Login,
    known: Option<&profile::Profile>,
    console: &mut Console<'_>,
) -> anyhow::Result<GrantKind> {
    let given = [
        options.with_token,
        options.browser || options.no_browser || options.port.is_some(),
        options.client_credentials,
    ];
    let chosen = given.iter().position(|is_given| *is_given);
    match (chosen, known) {
        (Some(chosen), _) => Ok(KINDS[chosen].0),
        (None, Some(profile)) => Ok(profile.grant.kind()),
        (None, None) if console.is_interactive => {
            let choices = KINDS.map(|(kind, text)| (kind.name(), text));
            let chosen = console.choose("How do you want to log in?", &choices)?;
            Ok(KINDS[chosen].0)
        }
        (None, None) => Err(usage(
            "no login method was given; choose --browser, --client-credentials or --with-token",
        )),
    }
}

/// Finds the client's id, or asks for it after showing how a client is made.
fn client_id(
    kind: GrantKind,
    known: Option<&profile::Profile>,
    options: &arguments::Login,
    app: &App,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<String>> {
    let from_environment = app.raw.environment.client_id.clone();
    // The built-in client is for people only.
    let is_usable = |profile: &&profile::Profile| {
        kind != GrantKind::ClientCredentials || app.raw.builtin_id(profile).is_none()
    };
    let known = known.filter(is_usable);
    if known.and_then(profile::Profile::client).is_some() {
        return Ok(None);
    }
    if let Some(id) = from_environment {
        return Ok(Some(id));
    }
    if !console.is_interactive {
        return Err(usage("the client id is missing; give --client-id"));
    }
    let asked = options.repository.as_ref().or(options.for_git.as_ref());
    let workspace = app.workspace(asked.map(String::as_str));
    for line in steps(app.base().as_str(), workspace.as_deref(), kind) {
        console.tell(&line);
    }
    ask_id(console).map(Some)
}

/// Asks for the client's id until it has the form of one.
fn ask_id(console: &mut Console<'_>) -> anyhow::Result<String> {
    loop {
        let id = console.ask("Key of the OAuth consumer", "")?;
        match checked_id(&id) {
            Ok(id) => return Ok(id),
            Err(error) => console.tell(&format!("{error:#}.")),
        }
    }
}

fn checked_id(text: &str) -> anyhow::Result<String> {
    let id = pasted::text(text.as_bytes());
    let id = id.and_then(|id| pasted::check_id(id.expose()).map(|()| id));
    let id = id.map_err(|flaw| usage(&format!("the client's id {flaw}; nothing was changed")))?;
    Ok(id.expose().to_owned())
}

/// Says how to create an API token (Bitbucket: "Using API tokens").
fn steps_to_a_token() -> [&'static str; 6] {
    [
        "",
        "Create an API token:",
        "  1. Open https://id.atlassian.com/manage-profile/security/api-tokens",
        "  2. Create API token with scopes, app Bitbucket.",
        "  3. Tick read:repository:bitbucket. To push, tick write:repository:bitbucket, too.",
        "",
    ]
}

/// Says what to click at Bitbucket (Bitbucket support: "Use OAuth on Bitbucket Cloud").
fn steps(base: &str, workspace: Option<&str>, kind: GrantKind) -> Vec<String> {
    let workspace = workspace.unwrap_or("<workspace>");
    let base = base.trim_end_matches('/');
    let private = match kind {
        GrantKind::ClientCredentials => "     tick     This is a private consumer",
        _ => {
            "     leave    This is a private consumer   (tick it only if you do not share the client)"
        }
    };
    let account = match kind {
        GrantKind::ClientCredentials => None,
        _ => Some("     tick     Account: Read    (lets Bitbucket name the account)"),
    };
    let before = [
        "",
        "Ask an administrator of the workspace for the key and secret of an OAuth consumer, or create one:",
        &format!("  1. Open {base}/{workspace}/workspace/settings/api"),
        "  2. OAuth consumers, Add consumer:",
        "     Name     any",
        "     Callback http://127.0.0.1/callback",
        private,
    ];
    let after = [
        "     tick     Repositories: Read    (Write, too, to push)",
        "  3. Save, open the consumer in the list: it shows a key and a secret.",
        "",
    ];
    let lines = before.into_iter().chain(account).chain(after);
    lines.map(str::to_owned).collect()
}
