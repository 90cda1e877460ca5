//! `git bbtoken logout`: forgets on this machine, and says what only Bitbucket can do.

use super::{Console, arguments};
use crate::{
    app::App,
    profile::{self, ENVIRONMENT, Grant, Profile},
    token::Forgotten,
};

pub(super) fn run(options: &arguments::Logout, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    let identity = app.used(options.profile.name.as_deref())?;
    let profile = &identity.profile;
    let others = others(&app, profile);
    let forgotten = identity.forget_all(&others, options.shared, console.warn)?;
    let Forgotten { removed, shared } = &forgotten;
    if !removed.is_empty() {
        console.answer(&format!(
            "Removed from profile '{profile}': {}.",
            removed.join(", ")
        ))?;
    } else if shared.is_empty() {
        console.answer(&format!("Nothing was stored for profile '{profile}'."))?;
    } else {
        console.answer(&format!("Nothing was removed from profile '{profile}'."))?;
    }
    tell_of_others(profile, &forgotten, console);
    let settings = if profile.name == ENVIRONMENT {
        "The client or token in the environment stays: unset its variables to stop its use."
            .to_owned()
    } else {
        format!(
            "The profile's settings stay: 'git config --global --remove-section bbtoken.{profile}' removes them."
        )
    };
    console.tell("Nothing was revoked at Bitbucket. Access tokens expire within two hours;");
    console.tell(&format!("{}.", where_to_revoke(profile)));
    console.tell(&settings);
    Ok(())
}

fn tell_of_others(profile: &Profile, forgotten: &Forgotten, console: &Console<'_>) {
    let Forgotten { removed, shared } = forgotten;
    // A cached token comes again by itself.
    let is_worth_a_word = |what: &str| !removed.contains(&what) || what != "cached access token";
    for (what, other) in shared.iter().filter(|(what, _)| is_worth_a_word(what)) {
        console.tell(&match removed.contains(what) {
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
    match &profile.grant {
        Grant::AuthorizationCode(_) => {
            format!("to withdraw your consent, open {base}/account/settings/app-authorizations/")
        }
        Grant::ClientCredentials(_) => {
            format!(
                "to disable the client, delete the consumer: {base}/<workspace>/workspace/settings/api"
            )
        }
        Grant::Token(_) => {
            "to revoke the token, open the Bitbucket page on which you created it".to_owned()
        }
    }
}

/// Resolves the other profiles, as far as they can be used.
fn others(app: &App, profile: &Profile) -> Vec<Profile> {
    let names = profile::names(&app.raw).into_iter();
    let others = names.filter(|name| *name != profile.name);
    let resolved = others.filter_map(|name| app.identity(&name, |_| {}).ok());
    resolved.map(|identity| identity.profile).collect()
}
