//! `git bbtoken logout`: forgets on this machine, and says what only Bitbucket can do.

use super::{Console, cli};
use crate::{
    profile::{self, ENVIRONMENT, Grant, Profile},
    wire::{self, Overview},
};

pub(super) fn run(options: &cli::Profile, console: &mut Console<'_>) -> anyhow::Result<()> {
    let overview = Overview::read()?;
    let identity = overview.used(options.name.as_deref())?;
    let profile = &identity.profile;
    let forgotten = wire::forget_all(&identity, console.warn)?;
    if forgotten.is_empty() {
        console.answer(&format!("Nothing was kept of profile '{profile}'."))?;
    } else {
        console.answer(&format!(
            "Forgot of profile '{profile}': {}.",
            forgotten.join(", ")
        ))?;
    }
    if forgotten.contains(&"client secret") {
        for other in sharing(profile)? {
            console.tell(&format!(
                "Profile '{other}' has the same client and needs its secret again: git bbtoken login {other}"
            ));
        }
    }
    let base = profile.endpoints.base.as_str().trim_end_matches('/');
    let where_to_revoke = match &profile.grant {
        Grant::AuthorizationCode(_) => {
            format!("to withdraw your consent, open {base}/account/settings/app-authorizations/")
        }
        Grant::ClientCredentials(_) => {
            format!(
                "to end the client, delete the consumer: {base}/<workspace>/workspace/settings/api"
            )
        }
        Grant::Token(_) => "to revoke the token, open the page on which it was made".to_owned(),
    };
    let settings = if profile.name == ENVIRONMENT {
        "The client or token in the environment stays: unset it to stop its use.".to_owned()
    } else {
        format!(
            "The profile's settings stay: 'git config --global --remove-section bbtoken.{profile}' removes them."
        )
    };
    console.tell("Nothing was revoked at Bitbucket, which has no way to do that from here:");
    console.tell("an access token that is out ends by itself within two hours;");
    console.tell(&format!("{where_to_revoke}."));
    console.tell(&settings);
    Ok(())
}

/// Names the other profiles with the client of this one.
fn sharing(profile: &Profile) -> anyhow::Result<Vec<String>> {
    let overview = Overview::read()?;
    let id = |profile: &Profile| profile.client().map(|client| client.id.clone());
    let has_it = |name: &String| {
        let other = overview.identity(name, |_| {});
        *name != profile.name && other.is_ok_and(|other| id(&other.profile) == id(profile))
    };
    Ok(profile::names(&overview.raw)
        .into_iter()
        .filter(has_it)
        .collect())
}
