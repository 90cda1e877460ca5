//! `git bbtoken logout`: forgets on this machine, and says what only Bitbucket can do.

use super::{Console, cli};
use crate::{
    profile::{ENVIRONMENT, Grant},
    wire::{self, Identity},
};

pub(super) fn run(options: &cli::Profile, console: &mut Console<'_>) -> anyhow::Result<()> {
    let identity = Identity::named(options.name.as_deref())?;
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
    console.tell(&format!(
        "Nothing was revoked at Bitbucket, which has no way to do that from here:\n\
         an access token that is out ends by itself within two hours;\n{where_to_revoke}.\n{settings}"
    ));
    Ok(())
}
