//! The settings that a login asks for first and writes last.

use super::{
    super::{Console, arguments},
    questions::{ask_id, checked_id, kind, name, show},
};
use crate::{
    app::{self, App, Identity},
    failure::usage,
    git::{Change, Target},
    git_config::Entry,
    profile::{self, Client, Endpoints, Grant, GrantKind, Key, RawProfile, Setting, Source, Store},
    secret::{Secret, TOKEN_PREFIXES},
    setup,
    site::Product,
    token::{Stored, store},
};

/// The value of `kind` for a Data Center.
const DATA_CENTER: &str = Product::CHOICES[1].0;

/// Chooses the store of a profile that no setting gives one, and that has nothing stored yet. The choice is written
/// down, so that it stays the same where a keychain comes or goes.
fn store(app: &App, profile: &str, stored: &Stored) -> Option<String> {
    let layers = app.raw.layers(app.raw.profiles.get(profile));
    let is_chosen = stored.has_secret() || layers.pick(Key::Store).is_some();
    let store = || match store::is_ready() {
        true => Store::Keyring,
        false => Store::File,
    };
    (!is_chosen).then(|| store().name().to_owned())
}

/// Gives the settings that the profile has.
fn own(app: &App, profile: &str) -> RawProfile {
    app.raw.profiles.get(profile).cloned().unwrap_or_default()
}

/// Gives the settings of the profile, with those that the options change.
fn settings(app: &App, options: &arguments::Login, profile: &str, stored: &Stored) -> RawProfile {
    let mut own = own(app, profile);
    let store = options.store.clone();
    let store = store.or_else(|| self::store(app, profile, stored));
    let kind = options
        .data_center
        .is_some()
        .then(|| DATA_CENTER.to_owned());
    let changes = [
        (Key::Kind, kind.as_ref()),
        (Key::BaseUrl, options.data_center.as_ref()),
        (Key::RedirectUri, options.redirect_uri.as_ref()),
        (Key::Account, options.account.as_ref()),
        (Key::Store, store.as_ref()),
        (Key::StorePath, options.store_path.as_ref()),
    ];
    for (key, value) in changes {
        if let Some(value) = value {
            own.set(key, app::given(value));
        }
    }
    own
}

/// The settings to write.
pub(super) struct Wanted<'o> {
    profile: String,
    kind: GrantKind,
    /// The settings of the profile, with those that login changes.
    own: RawProfile,
    /// Whether the user was asked for the client's id.
    is_id_asked: bool,
    workspaces: &'o [String],
}

impl<'o> Wanted<'o> {
    pub(super) fn ask(
        options: &'o arguments::Login,
        app: &App,
        console: &mut Console<'_>,
    ) -> anyhow::Result<Self> {
        let profile = name(options, app, console)?;
        let own = own(app, &profile);
        let has_client = own.has(Key::ClientId) && own.has(Key::Grant);
        let known = match app.identity(&profile, |_| {}) {
            Ok(identity) => Some(identity),
            // The profile has a client, so questions would not fix this error.
            Err(error) if has_client => return Err(error),
            Err(_) => None,
        };
        let stored = known.as_ref().map(|known| known.stored().0);
        let stored = stored.unwrap_or_default();
        let known = known.map(|known| known.profile);
        let own = settings(app, options, &profile, &stored);
        let mut wanted = Wanted {
            kind: match is_shared(app, &own, known.as_ref()) {
                true => GrantKind::AuthorizationCode,
                false => GrantKind::Token,
            },
            own,
            profile,
            is_id_asked: false,
            workspaces: &options.workspaces,
        };
        wanted.prove_places(app, known.as_ref(), console)?;
        if stored.has_secret() && options.profile.is_none() && console.is_interactive {
            console.tell(&format!(
                "Profile '{}' will be logged in again.",
                wanted.profile
            ));
        }
        let site = wanted.identity(app)?.profile.endpoints;
        wanted.kind = kind(options, known.as_ref(), site.product, console)?;
        match (wanted.kind, &options.client_id) {
            (GrantKind::Token, _) => {}
            (_, Some(id)) => {
                let id = app::given(&checked_id(id)?);
                wanted.own.set(Key::ClientId, id);
            }
            (_, None) => {
                wanted.find_client_id(known.as_ref(), &site, options.address(), app, console)?;
            }
        }
        let is_by_browser = wanted.kind == GrantKind::AuthorizationCode;
        let is_fixed = is_by_browser && site.product.facts().has_fixed_redirects;
        if is_fixed && options.port.is_none() && console.is_interactive {
            wanted.find_redirect(app, console)?;
        }
        if wanted.kind == GrantKind::Token && console.is_interactive && is_stored(known.as_ref()) {
            show(site.product.words().steps_to_a_token, &site, console);
        }
        Ok(wanted)
    }

    /// Checks that the login can be saved, before the user answers a question in vain.
    fn prove_places(
        &mut self,
        app: &App,
        known: Option<&profile::Profile>,
        console: &Console<'_>,
    ) -> anyhow::Result<()> {
        let is_file = |store: &Setting| store.value == Store::File.name();
        match (Target::Global.prove_writable(), known) {
            (Err(error), None) => return Err(error),
            // Without a file to write to, the choice cannot be saved.
            (Err(_), Some(_)) if self.own.get(Key::Store).is_some_and(is_file) => {
                let store = own(app, &self.profile).get(Key::Store).cloned();
                self.own.set(Key::Store, store);
            }
            _ => {}
        }
        let identity = self.identity(app)?;
        if identity.profile.store == Store::Memory {
            let remedy = match app.raw.environment.settings.has(Key::Store) {
                // The variable overrides the option.
                true => "unset BBTOKEN_STORE",
                false => "choose 'file', 'keyring' or 'kernel-keyring' with --store",
            };
            return Err(usage(&format!(
                "the store 'memory' saves no login; {remedy}"
            )));
        }
        match console.is_interactive && is_stored(known) {
            true => identity.tokens_at_store().prove_room(),
            false => Ok(()),
        }
    }

    /// Finds the client's id, or shows how to make a client and asks for its id.
    fn find_client_id(
        &mut self,
        known: Option<&profile::Profile>,
        site: &Endpoints,
        address: Option<&str>,
        app: &App,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let is_for_people = self.kind == GrantKind::AuthorizationCode;
        // The built-in client is for people only.
        let is_usable =
            |profile: &&profile::Profile| is_for_people || app.raw.builtin_id(profile).is_none();
        let has_client = |known: &profile::Profile| {
            known.client().is_some() || matches!(known.grant, Grant::Shared(Some(_)))
        };
        if known.filter(is_usable).is_some_and(has_client) {
            return Ok(());
        }
        if let Some(id) = &app.raw.environment.client_id {
            self.own.set(Key::ClientId, app::given(id));
            return Ok(());
        }
        if !console.is_interactive {
            return Err(usage("the client id is missing; give --client-id"));
        }
        let workspace = app.workspace(address);
        let workspace = workspace.as_deref().unwrap_or("<workspace>");
        let words = site.product.words();
        let part = words.client_parts[usize::from(!is_for_people)];
        let steps = words.steps_to_a_client.replace("{part}", part);
        let steps = steps.replace("{workspace}", workspace);
        let steps = steps.replace("{profile}", &self.profile);
        show(&steps, site, console);
        self.is_id_asked = true;
        self.ask_id_again(site.product, console)
    }

    /// Asks for the client's id, if the user is the one who has it.
    pub(super) fn ask_id_again(
        &mut self,
        product: Product,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        if self.is_id_asked {
            let id = app::given(&ask_id(product, console)?);
            self.own.set(Key::ClientId, id);
        }
        Ok(())
    }

    /// Asks for the redirect URL that was registered, if no setting has it, until the answer has a valid form.
    fn find_redirect(&mut self, app: &App, console: &mut Console<'_>) -> anyhow::Result<()> {
        while self.identity(app)?.profile.redirect_uri.is_none() {
            let uri = console.ask("Redirect URL of the application link", "")?;
            let answer = Setting {
                value: uri,
                origin: "your answer".to_owned(),
            };
            self.own.set(Key::RedirectUri, Some(answer));
            if let Err(error) = self.identity(app) {
                console.tell(&format!("{error:#}."));
                self.own.set(Key::RedirectUri, None);
            }
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
                self.own.set(Key::Account, app::given(&address));
            }
        }
        Ok(())
    }

    /// The profile as it will be, without anything written.
    pub(super) fn identity(&self, app: &App) -> anyhow::Result<Identity> {
        let identity = app.identity(&self.profile, |own| {
            own.clone_from(&self.own);
            own.set(Key::Grant, app::given(self.kind.name()));
        })?;
        match &identity.profile.grant {
            // Commands read the record, but the login gets it with the client.
            Grant::Shared(id) => {
                let before = own(app, &self.profile);
                let given = self.own.get(Key::ClientId);
                let given = given.filter(|id| before.get(Key::ClientId) != Some(*id));
                let id = given.map(|id| &id.value).or(id.as_ref());
                Ok(identity.granted(self.grant(id.map_or("", String::as_str))))
            }
            _ => Ok(identity),
        }
    }

    fn grant(&self, id: &str) -> Grant {
        let client = Client {
            id: id.to_owned(),
            secret: Source::Stored,
        };
        match self.kind {
            GrantKind::ClientCredentials => Grant::ClientCredentials(client),
            _ => Grant::AuthorizationCode(client),
        }
    }

    pub(super) fn write(&self, app: &App) -> anyhow::Result<()> {
        let key = |name: &str| format!("bbtoken.{}.{name}", self.profile);
        let of_user = App::read_of_user()?;
        let there = setup::of_user(&of_user);
        let values = |key: &str| -> Vec<Option<&str>> {
            let of_key = |entry: &&&Entry| setup::same_key(&entry.name(), key);
            let entries = there.iter().filter(of_key);
            entries.map(|entry| entry.value.as_deref()).collect()
        };
        // What login has changed has another origin, even with the same value.
        let before = own(app, &self.profile);
        let before = before.settings();
        let mut wanted = self.own.clone();
        wanted.set(Key::Grant, app::given(self.kind.name()));
        for (name, setting) in wanted.settings() {
            let (key, value) = (key(name), setting.value.as_str());
            let is_new = !before.contains(&(name, setting));
            if is_new && values(&key).last() != Some(&Some(value)) {
                Target::Global.set(&key, value)?;
            }
        }
        for workspace in self.workspaces {
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

/// Tells whether the login will be in a shared store.
fn is_shared(app: &App, own: &RawProfile, known: Option<&profile::Profile>) -> bool {
    let names = [Store::Vault, Store::Command].map(Store::name);
    let is_one = |store: &Setting| {
        let mut names = names.iter();
        names.any(|name| store.value.eq_ignore_ascii_case(name))
    };
    let store = app.raw.layers(Some(own)).pick(Key::Store);
    known.is_some_and(|known| known.shared.is_some()) || store.is_some_and(is_one)
}

/// Tells whether a login saves a secret: a profile may get its token from a file, a command or a variable.
fn is_stored(known: Option<&profile::Profile>) -> bool {
    known.is_none_or(|profile| match &profile.grant {
        Grant::Token(source) => *source == Source::Stored,
        Grant::ClientCredentials(client) => client.secret == Source::Stored,
        Grant::AuthorizationCode(_) | Grant::Shared(_) => true,
    })
}
