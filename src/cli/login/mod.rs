//! `git bbtoken login` asks all questions first, then tries the login at Bitbucket, and then saves it. If the user stops
//! it earlier, nothing changes.

mod attempt;
mod browser;
mod opener;
mod outcome;
mod questions;
mod shared;
mod trial;
mod wanted;

use super::{Console, arguments, signals};
use crate::{
    address::Address,
    app::{App, Identity, Unread},
    clock,
    failure::{Failure, Kind, kind, quote, usage},
    profile::{self, Grant, Source},
    report,
    secret::{Secret, mask_address, masked},
    site::Owner,
};
use attempt::{Login, given};
use outcome::Accounts;
use wanted::Wanted;

pub(super) fn run(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    if !options.is_for_git() {
        return log_in(options, console);
    }
    signals::end_with_parent()?;
    log_in(options, console).map_err(|error| match kind(&error) {
        // The helper shows why git needs the login.
        Some(Kind::Unanswered) => error.context(Failure::new(Kind::NoMessage, "there is no login")),
        _ => error,
    })
}

fn log_in(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    if options.is_for_git() && !greet(options, &app, console)? {
        return Err(Failure::new(Kind::Unanswered, "the login was declined").into());
    }
    let mut wanted = Wanted::ask(options, &app, console)?;
    loop {
        let mut new_secret = None;
        let identity = wanted.identity(&app)?;
        let product = identity.profile.endpoints.product;
        let login = Login {
            options,
            app: &app,
            identity,
            repository: None,
        };
        match login.attempt(&mut wanted, &mut new_secret, console) {
            Err(error) if new_secret.is_some() && is_wrong_answer(&error, console) => {
                let why = format!("{error:#}");
                console.tell(&format!("{}.", why.trim_end_matches('.')));
                console.tell("Try again, or press Ctrl-C to stop.");
                wanted.ask_id_again(product, console)?;
            }
            other => return other,
        }
    }
}

/// Says why git asks for a login. Asks whether to log in where the profile does not exist, or its login has ended.
fn greet(options: &arguments::Login, app: &App, console: &mut Console<'_>) -> anyhow::Result<bool> {
    let name = options.profile.as_deref();
    let known = profile::names(&app.raw);
    if let Some(name) = name.filter(|name| known.iter().all(|known| known != name)) {
        return add(name, &known, console);
    }
    let identity = name.and_then(|name| app.identity(name, |_| {}).ok());
    if let Some(identity) = &identity {
        let stored = identity.stored().0;
        if let Some(login) = stored.login {
            let used = clock::ago(login.obtained_at_unix_s, app.now_unix_s());
            return console.agree(&format!(
                "The login of profile '{}' has ended; it was last refreshed {used}. Log in again?",
                identity.profile
            ));
        }
        if stored.token.is_some() {
            return replace(app, identity, console);
        }
    }
    let base = identity.as_ref().map(|it| &it.profile.endpoints.base);
    let host = base.unwrap_or(app.base()).host_str().unwrap_or_default();
    let profile = name.map_or(String::new(), |name| format!(" as profile '{name}'"));
    console.tell(&format!(
        "Git needs a login for {host}{profile}. After the login, git continues."
    ));
    Ok(true)
}

/// Asks whether to add a profile that an address names: the name may be a typing error.
fn add(name: &str, known: &[String], console: &mut Console<'_>) -> anyhow::Result<bool> {
    let known = match known {
        [] => String::new(),
        known => format!("; the profiles are: {}", known.join(", ")),
    };
    let name = quote(name);
    console.agree(&format!(
        "Profile '{name}' does not exist{known}. Log in as it now?"
    ))
}

/// Asks whether to replace a stored token that Bitbucket has refused. Bitbucket refuses a wrong name in the same way, so
/// its API decides where it tells whose the token is.
fn replace(app: &App, identity: &Identity, console: &mut Console<'_>) -> anyhow::Result<bool> {
    let profile = &identity.profile;
    let bearer = identity.bearer()?;
    match app.owner_of(identity, &bearer, &[]) {
        Ok(Owner::Account(_) | Owner::NoScope(_)) => Ok(false),
        Ok(Owner::Refused) if profile.account.contains('@') => console.agree(&format!(
            "Bitbucket no longer accepts the token of profile '{profile}'. Log in again?"
        )),
        _ => console.confirm(&format!(
            "Bitbucket refuses the token of profile '{profile}': it has ended, or the repository has another name. Log in again?"
        )),
    }
}

/// Tells whether another answer of the user may work.
fn is_wrong_answer(error: &anyhow::Error, console: &Console<'_>) -> bool {
    console.is_interactive
        && matches!(
            kind(error),
            Some(
                Kind::Refused
                    | Kind::ClientRefused { .. }
                    | Kind::WrongSecret { .. }
                    | Kind::AppPassword
                    | Kind::Misconfigured
            )
        )
}

impl Login<'_> {
    /// Asks for the secret, tries the login and saves it. `new_secret` gets the user's answer.
    fn attempt(
        mut self,
        wanted: &mut Wanted<'_>,
        new_secret: &mut Option<Secret>,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let profile = &self.identity.profile;
        let address = self.options.address();
        let repository = address.map(|text| self.app.address_for(profile, text));
        self.repository = repository.transpose()?;
        *new_secret = secret(self.options, &self.identity, console)?;
        if let Some(secret) = new_secret {
            use_secret(&mut self.identity, secret);
            self.drop_unread(console);
            if self.repository.is_none() && console.is_interactive {
                wanted.ask_account(&mut self.identity, secret, console)?;
            }
        }
        let accounts = self.tried(new_secret.is_some(), console)?;
        if let Some(secret) = new_secret {
            self.identity.save(secret)?;
        }
        wanted.write(self.app)?;
        if self.identity.profile.shared.is_some() {
            // From now on, this machine reads the record as every other one.
            self.identity = self.identity.granted(Grant::Shared(None));
        }
        self.tell(accounts, console)
    }

    /// Leaves out a repository that a new token does not open, where git gave its name: a wrong name says nothing of
    /// the token, and Bitbucket's API tells whose it is.
    fn drop_unread(&mut self, console: &Console<'_>) {
        let identity = &self.identity;
        let is_token =
            matches!(identity.profile.grant, Grant::Token(_)) && self.options.is_for_git();
        let unread = self
            .repository
            .take_if(|address| is_token && !trial::is_readable(identity, address));
        if let Some(address) = unread {
            console.tell(&format!(
                "The token does not open '{address}': the name or the token may be wrong."
            ));
        }
    }

    /// Tries the login, unless the user forbids it. A login by browser always needs Bitbucket.
    fn tried(&self, is_new_secret: bool, console: &mut Console<'_>) -> anyhow::Result<Accounts> {
        let (identity, no_check) = (&self.identity, self.options.no_check);
        let mut accounts = Accounts::default();
        match identity.profile.grant {
            Grant::AuthorizationCode(_) => accounts = self.by_browser(console)?,
            Grant::Token(_) if !no_check => accounts.owner = trial::of_token(self, console)?,
            // This refuses a token of the wrong form, and reads a shared record.
            Grant::Token(_) | Grant::Shared(_) => {
                identity.bearer()?;
            }
            Grant::ClientCredentials(_) if no_check => {}
            Grant::ClientCredentials(_) => {
                // A cached token would hide a wrong secret.
                match is_new_secret {
                    true => identity.bearer_anew()?,
                    false => identity.bearer()?,
                };
                if let Some(address) = self.to_try() {
                    trial::on_repository(identity, address)?;
                }
            }
        }
        Ok(accounts)
    }

    /// Says how the login ended, and what comes next.
    fn tell(&self, accounts: Accounts, console: &mut Console<'_>) -> anyhow::Result<()> {
        let profile = &self.identity.profile;
        if self.options.no_check {
            return console.answer(&format!("Profile '{profile}' was saved without a check."));
        }
        outcome::tell(self, accounts, console)?;
        shared::tell(profile, console);
        if self.options.is_for_git() {
            return Ok(());
        }
        if let Some(repository) = &self.repository {
            try_repository(&profile.name, repository, console)?;
        }
        outcome::next(profile, self.options, console)
    }
}

/// Asks for the client's secret or the token, unless the profile's source already has it.
fn secret(
    options: &arguments::Login,
    identity: &Identity,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<Secret>> {
    let profile = &identity.profile;
    let (what, option, source) = match &profile.grant {
        Grant::Token(source) => ("token", "--with-token", source),
        Grant::Shared(_) => return Ok(None),
        Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => {
            ("client secret", "--with-secret", &client.secret)
        }
    };
    if options.with_secret || options.with_token {
        return console.secret(what).map(Some);
    }
    if *source != Source::Stored {
        return Ok(None);
    }
    let (stored, problem) = identity.stored();
    if let Some(problem) = problem {
        return Err(problem);
    }
    if stored.client_secret.is_some() && profile.client().is_some() {
        return Ok(None);
    }
    if !console.is_interactive {
        return Err(usage(&format!(
            "the {what} is missing; give it on stdin with {option}"
        )));
    }
    console.secret(what).map(Some)
}

/// Lets the profile use a secret that is not saved yet.
fn use_secret(identity: &mut Identity, secret: &Secret) {
    let source = match &mut identity.profile.grant {
        Grant::Token(source) => source,
        Grant::Shared(_) => return,
        Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => &mut client.secret,
    };
    *source = given(secret);
}

fn try_repository(
    profile: &str,
    repository: &Address,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let address = format!("{profile}@{repository}");
    let reached = App::read()?.reach(&format!("bbtoken::{address}"));
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
            let renewal = None;
            Failure::new(Kind::AccessRefused { address, renewal }, text)
        }
    };
    failure.into()
}
