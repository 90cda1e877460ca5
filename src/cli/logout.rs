//! `git bbtoken logout`: removes saved data from this machine, and says what to revoke at Bitbucket.

use super::{Console, agent, arguments};
use crate::{
    app::{self, App},
    profile::{self, ENVIRONMENT, Grant, Profile, Store},
    report,
    token::{Forgotten, SHARED_LOGIN},
};

const NOT_REVOKED: &str = "Nothing was revoked at Bitbucket.";

pub(super) fn run(options: &arguments::Logout, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    if options.all {
        return every(&app, console);
    }
    let identity = app.used(options.profile.name.as_deref())?;
    let profile = &identity.profile;
    let others = others(&app, profile);
    let forgotten = identity.forget_all(&others, options.shared)?;
    answer(profile, &forgotten, console)?;
    tell_of_others(profile, &forgotten, console);
    let settings = if profile.name == ENVIRONMENT {
        "The client or token in the environment stays: unset its variables to stop its use."
            .to_owned()
    } else if !report::has_configuration() {
        "The profile's settings stay: 'git bbtoken status --verbose' shows them.".to_owned()
    } else {
        format!(
            "The profile's settings stay: 'git config --global --remove-section bbtoken.{profile}' removes them."
        )
    };
    let valid = match profile.grant {
        Grant::Token(_) => "The token still works until its end date;",
        _ => "Access tokens expire within two hours;",
    };
    console.tell(&format!("{NOT_REVOKED} {valid}"));
    console.tell(&format!("{}.", where_to_revoke(profile)));
    console.tell(&settings);
    Ok(())
}

/// Logs every profile out, also those after one that fails.
fn every(app: &App, console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut failed = None;
    let mut stores = vec![Store::File];
    for name in profile::names(&app.raw) {
        let forgotten = app.identity(&name, |_| {}).and_then(|identity| {
            stores.extend(Some(identity.profile.store).filter(|store| !stores.contains(store)));
            // Other machines use a shared login.
            let even_shared = identity.profile.shared.is_none();
            let forgotten = identity.forget_all(&[], even_shared)?;
            Ok((identity.profile, forgotten))
        });
        let told = match forgotten {
            Ok((profile, forgotten)) => answer(&profile, &forgotten, console),
            Err(error) => {
                report::warn(&format!("profile '{name}' was not logged out: {error:#}"));
                Err(error)
            }
        };
        failed = told.err().or(failed);
    }
    for store in stores {
        match app::forget_rest(app, store) {
            Ok(false) => {}
            Ok(true) => console.answer(&format!(
                "Removed from the store '{}': logins, secrets and tokens that no profile uses any more.",
                store.name()
            ))?,
            Err(error) => failed = Some(error),
        }
    }
    agent::end(console);
    console.tell(&format!(
        "{NOT_REVOKED} Access tokens of a client expire within two hours."
    ));
    console.tell("A token that you created yourself still works until its end date.");
    console.tell("Settings and variables stay: 'git bbtoken status --verbose' shows them.");
    failed.map_or(Ok(()), Err)
}

fn answer(
    profile: &Profile,
    Forgotten { removed, shared }: &Forgotten,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    console.answer(&match (removed.is_empty(), shared.is_empty()) {
        (false, _) => format!("Removed from profile '{profile}': {}.", removed.join(", ")),
        (true, true) => format!("Nothing was stored for profile '{profile}'."),
        (true, false) => format!("Nothing was removed from profile '{profile}'."),
    })
}

fn tell_of_others(profile: &Profile, forgotten: &Forgotten, console: &Console<'_>) {
    let Forgotten { removed, shared } = forgotten;
    // The other profile gets a new cached token without a login.
    let is_worth_a_word = |what: &str| !removed.contains(&what) || what != "cached access token";
    for (what, other) in shared.iter().filter(|(what, _)| is_worth_a_word(what)) {
        console.tell(&match removed.contains(what) {
            false if *what == SHARED_LOGIN => format!("The {what} stays: other machines use it."),
            true if *what == SHARED_LOGIN => "Other machines that used it need a new login, too.".into(),
            true => format!("Profile '{other}' used the same {what}; to log it in again: git bbtoken login {other}"),
            false => format!("The {what} stays: profile '{other}' uses it, too."),
        });
    }
    if shared.iter().any(|(what, _)| !removed.contains(what)) {
        console.tell(&format!(
            "To remove it, too: git bbtoken logout {profile} --shared"
        ));
    }
}

fn where_to_revoke(profile: &Profile) -> String {
    let base = profile.endpoints.base.as_str().trim_end_matches('/');
    let [token, consent, client] = profile.endpoints.product.words().revoke;
    let how = match &profile.grant {
        Grant::AuthorizationCode(_) => format!("to withdraw your consent, {consent}"),
        // This machine does not know which of them it is.
        Grant::Shared(_) => format!(
            "to withdraw the consent of a user, {consent} as this user; to disable a client, {client}"
        ),
        Grant::ClientCredentials(_) => format!("to disable the client, {client}"),
        Grant::Token(_) => format!("to revoke it, {token}"),
    };
    how.replace("{base}", base)
}

/// Resolves the other profiles, as far as they can be used.
fn others(app: &App, profile: &Profile) -> Vec<Profile> {
    let names = profile::names(&app.raw).into_iter();
    let others = names.filter(|name| *name != profile.name);
    let resolved = others.filter_map(|name| app.identity(&name, |_| {}).ok());
    resolved.map(|identity| identity.profile).collect()
}
