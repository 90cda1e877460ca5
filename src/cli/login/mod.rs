//! `git bbtoken login`: from nothing to a profile that works. Everything is asked first, then tried at the real
//! endpoint, and only then written. A login that is stopped earlier changes nothing.

mod browser;
mod opener;
mod outcome;
mod trial;
mod wanted;

use super::{Console, arguments, signals, usage};
use crate::{
    address::Address,
    app::{self, App, Identity, Unread},
    clock,
    failure::{Failure, Kind, kind},
    profile::{Grant, Source, Store},
    report,
    secret::{Secret, mask_address, masked},
};
use outcome::Heard;
use wanted::Wanted;

pub(super) fn run(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    if options.for_git.is_none() {
        return log_in(options, console);
    }
    signals::end_with_parent()?;
    log_in(options, console).map_err(|error| match kind(&error) {
        // The helper shows why git needs the login.
        Some(Kind::Unanswered) => error.context(Failure::new(Kind::Hangup, "there is no login")),
        _ => error,
    })
}

fn log_in(options: &arguments::Login, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    if options.for_git.is_some() && !greet(options, &app, console)? {
        return Err(Failure::new(Kind::Unanswered, "the login was declined").into());
    }
    let mut wanted = Wanted::ask(options, &app, console)?;
    loop {
        let mut new_secret = None;
        match attempt(options, &app, &mut wanted, &mut new_secret, console) {
            Err(error) if new_secret.is_some() && is_wrong_answer(&error, console) => {
                let why = format!("{error:#}");
                console.tell(&format!("{}.", why.trim_end_matches('.')));
                console.tell("Try again, or press Ctrl-C to stop.");
                wanted.ask_id_again(options, console)?;
            }
            other => return other,
        }
    }
}

/// Says why git asks for a login. Asks whether to log in again where a login has ended.
fn greet(options: &arguments::Login, app: &App, console: &mut Console<'_>) -> anyhow::Result<bool> {
    let known = options.profile.as_deref();
    let identity = known.and_then(|name| app.identity(name, |_| {}).ok());
    let kept = identity.as_ref();
    let kept = kept.map(|identity| identity.kept(console.warn).0);
    if let (Some(name), Some(login)) = (known, kept.and_then(|kept| kept.login)) {
        let used = clock::ago(login.obtained_at_unix_s, app::now_unix_s());
        return console.agree(&format!(
            "The login of profile '{name}' has ended; it was last refreshed {used}. Log in again?"
        ));
    }
    let base = identity.map_or_else(
        || app.base().clone(),
        |identity| identity.profile.endpoints.base,
    );
    let host = base.host_str().unwrap_or_default();
    let profile = known.map_or_else(String::new, |name| format!(" as profile '{name}'"));
    console.tell(&format!(
        "Git needs a login for {host}{profile}. After the login, git continues."
    ));
    Ok(true)
}

/// Tells whether the person may give another answer that works.
fn is_wrong_answer(error: &anyhow::Error, console: &Console<'_>) -> bool {
    console.is_interactive
        && matches!(
            kind(error),
            Some(
                Kind::Refused
                    | Kind::ClientRefused { .. }
                    | Kind::WrongSecret
                    | Kind::AppPassword
                    | Kind::Misconfigured
            )
        )
}

/// Asks for the secret, tries the login and saves it. `new_secret` is what the user gives.
fn attempt(
    options: &arguments::Login,
    app: &App,
    wanted: &mut Wanted,
    new_secret: &mut Option<Secret>,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let mut identity = wanted.identity(app)?;
    if identity.profile.store == Store::Memory {
        return Err(usage(
            "the store 'memory' saves no login; choose 'file', 'keyring' or 'kernel-keyring' with --store",
        ));
    }
    let profile = &identity.profile;
    let repository = options.repository.as_ref().or(options.for_git.as_ref());
    let repository = repository.map(|text| app.address_for(profile, text));
    let mut repository = repository.transpose()?;
    *new_secret = secret(options, &identity, console)?;
    if let Some(secret) = new_secret {
        use_secret(&mut identity, secret);
        // A name with a typing error says nothing of the token: Bitbucket's API tells whose it is.
        let is_token =
            matches!(identity.profile.grant, Grant::Token(_)) && options.for_git.is_some();
        let unread = repository
            .take_if(|address| is_token && !trial::is_readable(&identity, address, console.warn));
        if let Some(address) = unread {
            console.tell(&format!(
                "The token does not open '{address}': the name or the token may be wrong."
            ));
        }
        if repository.is_none() && console.is_interactive {
            wanted.ask_account(&mut identity, secret, console)?;
        }
    }
    let login = browser::Login {
        options,
        app,
        identity: &identity,
        repository: repository.as_ref(),
    };
    let heard = tried(&login, new_secret.is_some(), console)?;
    if let Some(secret) = new_secret {
        identity.keep(secret, console.warn)?;
    }
    wanted.write()?;
    if options.no_check {
        let profile = &identity.profile;
        return console.answer(&format!("Profile '{profile}' was saved without a check."));
    }
    outcome::tell(app, &identity, heard, options.for_git.is_some(), console)?;
    let name = &identity.profile.name;
    if options.for_git.is_some() {
        return Ok(());
    }
    try_repository(name, repository.as_ref(), console)?;
    outcome::next(name, options, console)
}

/// Tries the login, unless the user forbids it. A browser has to be asked in any case.
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
        // What has the wrong form is refused in any case.
        Grant::Token(_) if login.options.no_check => {
            identity.bearer(console.warn)?;
        }
        Grant::ClientCredentials(_) if login.options.no_check => {}
        Grant::Token(_) => {
            heard.owner = trial::of_token(identity, login.app, *repository, console)?;
        }
        Grant::ClientCredentials(_) => {
            // A token that is kept would hide that the secret is wrong.
            match is_new_secret {
                true => identity.bearer_anew(console.warn)?,
                false => identity.bearer(console.warn)?,
            };
            if let Some(address) = repository.filter(|_| login.options.for_git.is_none()) {
                trial::on_repository(identity, address, console.warn)?;
            }
        }
    }
    Ok(heard)
}

/// Gets the client's secret or the ready token, if it is not where the profile says already.
fn secret(
    options: &arguments::Login,
    identity: &Identity,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<Secret>> {
    let profile = &identity.profile;
    let (what, option, source) = match &profile.grant {
        Grant::Token(source) => ("token", "--with-token", source),
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

/// Lets the profile use a secret that is not kept yet.
fn use_secret(identity: &mut Identity, secret: &Secret) {
    let source = match &mut identity.profile.grant {
        Grant::Token(source) => source,
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
