//! Shows the outcome of a login: the account, the scopes, the expiry and missing permissions.

use super::{
    super::{
        Console, arguments, setup,
        use_profile::{self, Place},
    },
    Login,
};
use crate::{
    app::{self, App, is_named},
    clock,
    profile::{Grant, Profile, Store},
    report,
    site::{Account, Owner},
    token::CachedToken,
};

/// The accounts that login knows before it shows the outcome.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// The account of the earlier login, as Bitbucket named it.
    pub(super) replaced: Option<String>,
    /// The account of the new login, if Bitbucket was already asked for it.
    pub(super) owner: Option<Owner>,
    /// Whether the user has agreed to this account.
    pub(super) is_agreed: bool,
}

impl Accounts {
    /// Tells whether there is an account to compare with.
    pub(super) fn expects(&self, profile: &Profile) -> bool {
        self.replaced.is_some() || is_named(profile)
    }
}

pub(super) fn tell(
    login: &Login<'_>,
    accounts: Accounts,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let identity = &login.identity;
    let profile = &identity.profile;
    console.answer(&format!("Profile '{profile}' is logged in."))?;
    let (stored, _) = identity.stored();
    let known = stored
        .access_token
        .as_ref()
        .map(|token| token.scopes.clone());
    let Accounts {
        replaced,
        owner,
        is_agreed,
    } = accounts;
    let owner = match owner {
        Some(owner) => {
            identity.save_owner(&owner, &identity.bearer()?);
            Ok(owner)
        }
        None => login
            .app
            .owner(identity, known.as_deref().unwrap_or_default()),
    };
    if let (Ok(Owner::Account(account)), false) = (&owner, is_agreed) {
        let accounts = Accounts {
            replaced,
            ..Accounts::default()
        };
        if let Some(text) = unexpected(profile, &accounts, account) {
            report::warn(&format!(
                "{text}; if this is a mistake, log in to Bitbucket as the other account, then run 'git bbtoken login {profile}' again"
            ));
        }
    }
    let is_worth_telling = !login.options.is_for_git() || matches!(owner, Ok(Owner::Account(_)));
    let told = match is_worth_telling {
        true => tell_owner(profile, owner, console)?,
        false => Vec::new(),
    };
    let scopes = known.unwrap_or(told);
    let now_unix_s = login.app.now_unix_s();
    tell_token(
        profile,
        stored.access_token.as_ref(),
        &scopes,
        now_unix_s,
        console,
    )?;
    if stored.has_secret() {
        console.tell(&format!("  saved in {}", place(profile.store)));
    }
    Ok(())
}

/// Names a store as a place.
fn place(store: Store) -> &'static str {
    match store {
        Store::File => "a file that only you can read",
        Store::Keyring => "the system's keychain",
        Store::KernelKeyring => "the kernel's keyring, until this machine restarts",
        Store::Memory => "no place",
        Store::Vault | Store::Command => "the shared store",
    }
}

/// Shows the next steps: which profile an address without a profile gets, a clone, and setup.
pub(super) fn next(
    profile: &Profile,
    options: &arguments::Login,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let space = profile.endpoints.product.words().space;
    if options.is_default {
        use_profile::set(&App::read()?, &profile.name, &Place::Global, console)?;
    }
    let used = || App::read_of_user().and_then(|app| app.explain_here());
    let is_open = !options.is_default && options.workspaces.is_empty();
    if is_open && console.is_interactive {
        let text = match used() {
            Ok((name, _)) if name == profile.name => None,
            Ok((name, why)) => Some(format!("gets profile '{name}' because {why}")),
            Err(error) => Some(format!("gets none: {error:#}")),
        };
        if let Some(text) = text {
            console.tell(&format!("An address without a profile {text}."));
            offer_use(profile, console)?;
        }
    }
    let is_plain = used().is_ok_and(|(name, _)| name == profile.name);
    let address = match is_plain {
        true => format!("<{space}>/<repository>"),
        false => format!("{profile}@<{space}>/<repository>"),
    };
    console.tell(&format!("Next: git clone bbtoken::{address}"));
    match options.no_setup || !console.is_interactive {
        true => {
            console
                .tell("      git bbtoken setup, for submodules, plain https addresses and git-lfs");
            Ok(())
        }
        false => setup::offer(console),
    }
}

/// Asks for which addresses git uses a new profile.
fn offer_use(profile: &Profile, console: &mut Console<'_>) -> anyhow::Result<()> {
    let space = profile.endpoints.product.words().space;
    let named = format!("addresses that name it, as in bbtoken::{profile}@<{space}>/<repository>");
    let one = format!("one {space}");
    let choices = [
        ("name", named.as_str()),
        (space, one.as_str()),
        ("default", "every address"),
    ];
    // The login is already saved, so an end of input leaves it as it is.
    let place = match console.choose(&format!("Use profile '{profile}' for"), &choices) {
        Ok(1) => {
            let question = format!("Name of the {space}");
            Place::Workspace(console.ask(&question, "").unwrap_or_default())
        }
        Ok(2) => Place::Global,
        _ => return Ok(()),
    };
    match place {
        Place::Workspace(name) if name.is_empty() => Ok(()),
        place => use_profile::set(&App::read()?, &profile.name, &place, console),
    }
}

fn tell_token(
    profile: &Profile,
    cached: Option<&CachedToken>,
    scopes: &[String],
    now_unix_s: u64,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let shown = app::scopes(profile, scopes);
    match cached {
        Some(token) => {
            let expiry = clock::expiry(token.expires_at_unix_s, now_unix_s);
            console.answer(&format!("  access token: {shown}, {expiry}"))?;
        }
        None if !scopes.is_empty() => console.answer(&format!("  token: {shown}"))?,
        None => {}
    }
    if !scopes.is_empty() && !app::may_push(profile, scopes) {
        console.tell(&format!("  To push, {}.", app::to_push(profile)));
    }
    Ok(())
}

/// Names the account, or says why it is unknown; gives the scopes that Bitbucket named instead.
fn tell_owner(
    profile: &Profile,
    owner: anyhow::Result<Owner>,
    console: &mut Console<'_>,
) -> anyhow::Result<Vec<String>> {
    match owner {
        Ok(Owner::Account(account)) => {
            console.answer(&format!("  account: {}", account.shown()))?;
        }
        Ok(owner @ (Owner::Untold(_) | Owner::NoScope(_))) => {
            // A client's own token has no account.
            if !matches!(profile.grant, Grant::ClientCredentials(_)) {
                let why = owner.untold().unwrap_or_default();
                console.tell(&format!("  Account unknown: {why}."));
            }
            if let Owner::NoScope(scopes) = owner {
                return Ok(scopes);
            }
        }
        Ok(Owner::Refused) => {
            let space = profile.endpoints.product.words().space;
            report::warn(&format!(
                "Bitbucket refused to name the account of the token: the token is wrong, or it cannot read the account; try it: git ls-remote bbtoken::<{space}>/<repository>"
            ));
        }
        Err(error) => console.tell(&format!("  Account unknown: {error:#}.")),
    }
    Ok(Vec::new())
}

/// Says that a login has another account than expected: the profile's, or the one whose login it replaces.
pub(super) fn unexpected(
    profile: &Profile,
    accounts: &Accounts,
    account: &Account,
) -> Option<String> {
    let replaced = accounts.replaced.as_ref().filter(|_| !is_named(profile));
    let replaced = replaced.filter(|name| **name != account.shown());
    let replaced = replaced.map(|name| {
        format!(
            "profile '{profile}' was logged in as {name}, but the new login belongs to {}",
            account.shown()
        )
    });
    app::other_account(profile, account).or(replaced)
}
