//! `git bbtoken login`: from nothing to a profile that works. Everything is asked first, then tried at the real
//! endpoint, and only then written. A login that is stopped earlier changes nothing.

mod browser;
mod opener;
mod outcome;
mod trial;

use super::{Console, arguments, usage};
use crate::{
    address::{Address, is_profile_name},
    app::{self, App, Identity, Unread},
    failure::{Failure, Kind, quote},
    git::{self, Target},
    git_config::Entry,
    pasted,
    profile::{self, Grant, RawProfile, Source, Store},
    report,
    secret::{Secret, mask_address, masked},
    setup,
};

/// The kinds of login, in the order in which they are offered; the word is the one of the configuration.
const KINDS: [(&str, &str); 3] = [
    (
        "authorization-code",
        "Browser: as yourself, with an OAuth client (on a desktop)",
    ),
    (
        "client-credentials",
        "Client credentials: an OAuth client by itself (CI, servers, a team's robot)",
    ),
    (
        "token",
        "Token: an access token or API token that you created",
    ),
];

pub(super) fn run(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    let wanted = Wanted::ask(options, &app, console)?;
    let mut identity = wanted.identity(&app)?;
    if identity.profile.store == Store::Memory {
        return Err(usage(
            "the store 'memory' saves no login; choose 'file', 'keyring' or 'kernel-keyring' with --store",
        ));
    }
    let profile = &identity.profile;
    let repository = options.repository.as_deref();
    let repository = repository.map(|text| app.address_for(profile, text));
    let repository = repository.transpose()?;
    let secret = secret(options, &identity, console)?;
    if let Some(secret) = &secret {
        use_secret(&mut identity, secret);
    }
    let mut heard = outcome::Heard::default();
    match identity.profile.grant {
        Grant::AuthorizationCode(_) => {
            let login = browser::Login {
                options,
                app: &app,
                identity: &identity,
                repository: repository.as_ref(),
            };
            heard = login.run(console)?;
        }
        // What has the wrong form is refused in any case.
        Grant::Token(_) if options.no_check => {
            identity.bearer(console.warn)?;
        }
        Grant::ClientCredentials(_) if options.no_check => {}
        Grant::Token(_) => {
            heard.owner = trial::of_token(&identity, &app, repository.as_ref(), console)?;
        }
        Grant::ClientCredentials(_) => {
            // A token that is kept would hide that the secret is wrong.
            match &secret {
                Some(_) => identity.bearer_anew(console.warn)?,
                None => identity.bearer(console.warn)?,
            };
            if let Some(address) = &repository {
                trial::on_repository(&identity, address, console.warn)?;
            }
        }
    }
    if let Some(secret) = &secret {
        identity.keep(secret, console.warn)?;
    }
    wanted.write()?;
    if options.no_check {
        let profile = &identity.profile;
        return console.answer(&format!("Profile '{profile}' was saved without a check."));
    }
    outcome::tell(&app, &identity, heard, console)?;
    try_repository(&identity.profile.name, repository.as_ref(), console)
}

fn has_client(app: &App, profile: &str) -> bool {
    let own = app.raw.profiles.get(profile);
    own.is_some_and(|own| own.client_id.is_some() && own.grant.is_some())
}

/// What is to be configured.
struct Wanted {
    profile: String,
    kind: &'static str,
    client_id: Option<String>,
    account: Option<String>,
    store: Option<String>,
    workspaces: Vec<String>,
}

impl Wanted {
    fn ask(
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
                "'{}' is not a valid profile name: use letters, digits, '.', '_' and '-'",
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
        let client_id = match (kind, &options.client_id) {
            ("token", _) => None,
            (_, Some(id)) => Some(checked_id(id)?),
            (_, None) => client_id(kind, known.as_ref(), app, console)?,
        };
        let mut workspaces = options.workspaces.clone();
        if known.is_none() && workspaces.is_empty() && console.is_interactive {
            let workspace =
                console.ask("Workspace of this profile (Enter for all workspaces)", "")?;
            workspaces.extend(Some(workspace).filter(|workspace| !workspace.is_empty()));
        }
        Ok(Wanted {
            profile,
            kind,
            client_id,
            account: options.account.clone(),
            store: options.store.clone(),
            workspaces,
        })
    }

    /// The profile as it will be, without anything written.
    fn identity(&self, app: &App) -> anyhow::Result<Identity> {
        app.identity(&self.profile, |own: &mut RawProfile| {
            own.grant = app::given(self.kind);
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

    fn write(&self) -> anyhow::Result<()> {
        let key = |name: &str| format!("bbtoken.{}.{name}", self.profile);
        let singles = [
            ("grant", Some(self.kind)),
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
            let change = git::Change::Add {
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
        _ if console.is_interactive => console.ask("Name of the profile", profile::DEFAULT),
        _ => Ok(profile::DEFAULT.to_owned()),
    }
}

fn kind(
    options: &arguments::Login,
    known: Option<&profile::Profile>,
    console: &mut Console<'_>,
) -> anyhow::Result<&'static str> {
    let given = [
        options.browser || options.no_browser || options.port.is_some(),
        options.client_credentials,
        options.with_token,
    ];
    let chosen = given.iter().position(|is_given| *is_given);
    match (chosen, known) {
        (Some(chosen), _) => Ok(KINDS[chosen].0),
        (None, Some(profile)) => Ok(profile.grant.name()),
        (None, None) if console.is_interactive => {
            let chosen = console.choose("How do you want to log in?", &KINDS)?;
            Ok(KINDS[chosen].0)
        }
        (None, None) => Err(usage(
            "no login method was given; choose --browser, --client-credentials or --with-token",
        )),
    }
}

/// Finds the client's id, or asks for it after showing how a client is made.
fn client_id(
    kind: &str,
    known: Option<&profile::Profile>,
    app: &App,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<String>> {
    let from_environment = app.raw.environment.client_id.clone();
    if known.and_then(profile::Profile::client).is_some() {
        return Ok(None);
    }
    if let Some(id) = from_environment {
        return Ok(Some(id));
    }
    if !console.is_interactive {
        return Err(usage("the client id is missing; give --client-id"));
    }
    let workspace = console.ask("Workspace that owns the OAuth client", "")?;
    for line in steps(app.base().as_str(), &workspace, kind) {
        console.tell(&line);
    }
    let id = console.ask("Key of the OAuth consumer", "")?;
    checked_id(&id).map(Some)
}

fn checked_id(text: &str) -> anyhow::Result<String> {
    let id =
        pasted::text(text.as_bytes()).and_then(|id| pasted::check_id(id.expose()).map(|()| id));
    match id {
        Ok(id) => Ok(id.expose().to_owned()),
        Err(flaw) => Err(usage(&format!(
            "the client's id {flaw}; nothing was changed"
        ))),
    }
}

/// Says what to click at Bitbucket (Bitbucket support: "Use OAuth on Bitbucket Cloud").
fn steps(base: &str, workspace: &str, kind: &str) -> Vec<String> {
    let workspace = if workspace.is_empty() {
        "<workspace>"
    } else {
        workspace
    };
    let base = base.trim_end_matches('/');
    let private = match kind {
        "client-credentials" => "     tick     This is a private consumer",
        _ => {
            "     leave    This is a private consumer   (tick it only if you do not share the client)"
        }
    };
    let account = match kind {
        "client-credentials" => "",
        _ => "     tick     Account: Read    (lets Bitbucket name the account)",
    };
    [
        "",
        "Create an OAuth client (once; several users can share it):",
        &format!("  1. Open {base}/{workspace}/workspace/settings/api"),
        "  2. OAuth consumers, Add consumer:",
        "     Name     any",
        "     Callback http://127.0.0.1/callback",
        private,
        account,
        "     tick     Repositories: Read    (Write, too, to push)",
        "  3. Save, open the consumer in the list: it shows a key and a secret.",
        "",
    ]
    .map(str::to_owned)
    .into()
}

/// Gets the client's secret or the ready token, if it is not where the profile says already.
fn secret(
    options: &arguments::Login,
    identity: &Identity,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<Secret>> {
    let profile = &identity.profile;
    let (what, source) = match &profile.grant {
        Grant::Token(source) => ("token", source),
        Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => {
            ("client secret", &client.secret)
        }
    };
    if options.with_secret || options.with_token {
        return console.secret(what).map(Some);
    }
    if *source != Source::Stored {
        return Ok(None);
    }
    let (kept, problem) = identity.kept(console.warn);
    if let Some(problem) = problem {
        return Err(problem);
    }
    let is_kept = match &profile.grant {
        Grant::Token(_) => false,
        _ => kept.client_secret.is_some(),
    };
    match (is_kept, console.is_interactive) {
        (true, _) => Ok(None),
        (false, true) => console.secret(what).map(Some),
        (false, false) if what == "token" => Err(usage(
            "the token is missing; give it on stdin with --with-token",
        )),
        (false, false) => Err(usage(
            "the client secret is missing; give it on stdin with --with-secret",
        )),
    }
}

fn given(secret: &Secret) -> Source {
    Source::Given {
        variable: "stdin",
        secret: secret.clone(),
    }
}

/// Lets the profile use a secret that is not kept yet.
fn use_secret(identity: &mut Identity, secret: &Secret) {
    let given = given(secret);
    match &mut identity.profile.grant {
        Grant::Token(source) => *source = given,
        Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => {
            client.secret = given
        }
    }
}

fn try_repository(
    profile: &str,
    repository: Option<&Address>,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let Some(repository) = repository else {
        return Ok(());
    };
    let address = format!("{profile}@{repository}");
    let reached = App::read()?.reach(&format!("bbtoken::{address}"), console.warn);
    reached.map_err(|unread| match unread {
        Unread::ByGit(words) => anyhow::Error::msg(words),
        Unread::ByHelper(error) => not_read(&error, &address),
    })?;
    console.answer(&format!("Repository '{repository}' can be read."))
}

fn not_read(error: &anyhow::Error, address: &str) -> anyhow::Error {
    let text = masked(&error.to_string());
    let failure = match report::advice(error) {
        Some(advice) => Failure::new(Kind::Refused, format!("{text}; {advice}")),
        None => {
            let address = mask_address(address);
            Failure::new(Kind::AccessRefused { address }, text)
        }
    };
    failure.into()
}
