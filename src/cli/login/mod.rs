//! `git bbtoken login` asks all questions first, then tries the login at Bitbucket, and then saves it. If the user stops
//! it earlier, nothing changes.

mod browser;
mod opener;
mod outcome;
mod shared;
mod trial;
mod wanted;

use super::{Console, arguments, signals, usage};
use crate::{
    address::Address,
    app::{self, App, Identity, Owner, Unread},
    clock,
    failure::{Failure, Kind, kind, quote},
    profile::{self, Grant, Source},
    report,
    secret::{Secret, mask_address, masked},
};
use outcome::Heard;
use wanted::Wanted;

/// Who started a login, and the repository that it is for.
#[derive(Clone, Copy)]
enum Purpose<'o> {
    /// The user, who may name a repository to try.
    User(Option<&'o str>),
    /// Git, which waits for the login.
    Git(&'o str),
}

impl<'o> Purpose<'o> {
    fn of(options: &'o arguments::Login) -> Self {
        match &options.for_git {
            Some(repository) => Purpose::Git(repository),
            None => Purpose::User(options.repository.as_deref()),
        }
    }

    fn is_git(self) -> bool {
        matches!(self, Purpose::Git(_))
    }

    fn repository(self) -> Option<&'o str> {
        match self {
            Purpose::User(repository) => repository,
            Purpose::Git(repository) => Some(repository),
        }
    }
}

pub(super) fn run(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    let purpose = Purpose::of(options);
    if !purpose.is_git() {
        return log_in(options, purpose, console);
    }
    signals::end_with_parent()?;
    log_in(options, purpose, console).map_err(|error| match kind(&error) {
        // The helper shows why git needs the login.
        Some(Kind::Unanswered) => error.context(Failure::new(Kind::Hangup, "there is no login")),
        _ => error,
    })
}

fn log_in(
    options: &arguments::Login,
    purpose: Purpose<'_>,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let app = App::read()?;
    if purpose.is_git() && !greet(options, &app, console)? {
        return Err(Failure::new(Kind::Unanswered, "the login was declined").into());
    }
    let mut wanted = Wanted::ask(options, purpose, &app, console)?;
    loop {
        let mut new_secret = None;
        let identity = wanted.identity(&app)?;
        let product = identity.profile.endpoints.product;
        let login = Attempt {
            options,
            purpose,
            app: &app,
        };
        match login.run(identity, &mut wanted, &mut new_secret, console) {
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
    let Some(name) = options.profile.as_deref() else {
        return Ok(announce(app.base().host_str(), "", console));
    };
    let known = profile::names(&app.raw);
    if known.iter().all(|known| known != name) {
        return add(name, &known, console);
    }
    let Ok(identity) = app.identity(name, |_| {}) else {
        return Ok(announce(app.base().host_str(), name, console));
    };
    let kept = identity.kept(console.warn).0;
    if let Some(login) = kept.login {
        let used = clock::ago(login.obtained_at_unix_s, app::now_unix_s());
        return console.agree(&format!(
            "The login of profile '{name}' has ended; it was last refreshed {used}. Log in again?"
        ));
    }
    match kept.ready_token {
        Some(_) => replace(app, &identity, console),
        None => {
            let host = identity.profile.endpoints.base.host_str();
            Ok(announce(host, name, console))
        }
    }
}

/// Says that git waits for a login, of a profile if there is one.
fn announce(host: Option<&str>, profile: &str, console: &Console<'_>) -> bool {
    let host = host.unwrap_or_default();
    let profile = match profile {
        "" => String::new(),
        name => format!(" as profile '{name}'"),
    };
    console.tell(&format!(
        "Git needs a login for {host}{profile}. After the login, git continues."
    ));
    true
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
    let bearer = identity.bearer(console.warn)?;
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

/// One attempt at a login.
struct Attempt<'a> {
    options: &'a arguments::Login,
    purpose: Purpose<'a>,
    app: &'a App,
}

impl Attempt<'_> {
    /// Asks for the secret, tries the login and saves it. `new_secret` gets the user's answer.
    fn run(
        &self,
        mut identity: Identity,
        wanted: &mut Wanted,
        new_secret: &mut Option<Secret>,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let repository = self.purpose.repository();
        let repository = repository.map(|text| self.app.address_for(&identity.profile, text));
        let mut repository = repository.transpose()?;
        *new_secret = secret(self.options, &identity, console)?;
        if let Some(secret) = new_secret {
            use_secret(&mut identity, secret);
            self.drop_unread(&identity, &mut repository, console);
            if repository.is_none() && console.is_interactive {
                wanted.ask_account(&mut identity, secret, console)?;
            }
        }
        let login = browser::Login {
            options: self.options,
            purpose: self.purpose,
            app: self.app,
            identity: &identity,
            repository: repository.as_ref(),
        };
        let heard = tried(&login, new_secret.is_some(), console)?;
        if let Some(secret) = new_secret {
            identity.keep(secret, console.warn)?;
        }
        wanted.write()?;
        if identity.profile.shared.is_some() {
            // From now on, this machine reads the record as every other one.
            let login = browser::Login {
                identity: &identity.granted(Grant::Shared(None)),
                ..login
            };
            return tell(&login, heard, console);
        }
        tell(&login, heard, console)
    }

    /// Leaves out a repository that a new token does not open, where git gave its name: a wrong name says nothing of
    /// the token, and Bitbucket's API tells whose it is.
    fn drop_unread(
        &self,
        identity: &Identity,
        repository: &mut Option<Address>,
        console: &Console<'_>,
    ) {
        let is_token = matches!(identity.profile.grant, Grant::Token(_)) && self.purpose.is_git();
        let unread = repository
            .take_if(|address| is_token && !trial::is_readable(identity, address, console.warn));
        if let Some(address) = unread {
            console.tell(&format!(
                "The token does not open '{address}': the name or the token may be wrong."
            ));
        }
    }
}

/// Says how the login ended, and what comes next.
fn tell(login: &browser::Login<'_>, heard: Heard, console: &mut Console<'_>) -> anyhow::Result<()> {
    let profile = &login.identity.profile;
    let name = &profile.name;
    if login.options.no_check {
        return console.answer(&format!("Profile '{name}' was saved without a check."));
    }
    outcome::tell(login.app, login.identity, heard, login.purpose, console)?;
    shared::tell(&login.identity.profile, console);
    if login.purpose.is_git() {
        return Ok(());
    }
    try_repository(name, login.repository, console)?;
    outcome::next(profile, login.options, console)
}

/// Tries the login, unless the user forbids it. A login by browser always needs Bitbucket.
fn tried(
    login: &browser::Login<'_>,
    is_new_secret: bool,
    console: &mut Console<'_>,
) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let browser::Login {
        identity,
        repository,
        ..
    } = login;
    match identity.profile.grant {
        Grant::AuthorizationCode(_) => heard = login.run(console)?,
        // This refuses a token of the wrong form.
        Grant::Token(_) if login.options.no_check => {
            identity.bearer(console.warn)?;
        }
        Grant::ClientCredentials(_) if login.options.no_check => {}
        Grant::Shared(_) => {
            identity.bearer(console.warn)?;
        }
        Grant::Token(_) => {
            heard.owner =
                trial::of_token(login.purpose, identity, login.app, *repository, console)?;
        }
        Grant::ClientCredentials(_) => {
            // A cached token would hide a wrong secret.
            match is_new_secret {
                true => identity.bearer_anew(console.warn)?,
                false => identity.bearer(console.warn)?,
            };
            if let Some(address) = login.to_try() {
                trial::on_repository(identity, address, console.warn)?;
            }
        }
    }
    Ok(heard)
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
    let (kept, problem) = identity.kept(console.warn);
    if let Some(problem) = problem {
        return Err(problem);
    }
    if kept.client_secret.is_some() && profile.client().is_some() {
        return Ok(None);
    }
    if !console.is_interactive {
        return Err(usage(&format!(
            "the {what} is missing; give it on stdin with {option}"
        )));
    }
    console.secret(what).map(Some)
}

fn given(secret: &Secret) -> Source {
    Source::Given {
        variable: "stdin",
        secret: secret.clone(),
    }
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
            let renewal = None;
            Failure::new(Kind::AccessRefused { address, renewal }, text)
        }
    };
    failure.into()
}
