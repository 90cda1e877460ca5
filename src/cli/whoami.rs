//! `git bbtoken whoami`: asks Bitbucket for the account of the token that git uses.

use super::{Console, arguments};
use crate::{
    app::{self, App, Identity},
    failure::{Failure, Kind, quote},
    profile::Grant,
    report,
    secret::mask_id,
    site::Owner,
};

pub(super) fn run(options: &arguments::Chosen, console: &mut Console<'_>) -> anyhow::Result<()> {
    let app = App::read()?;
    let identity = app.used(options.name.as_deref())?;
    let profile = &identity.profile;
    let owner = owner(&app, &identity)?;
    let shown = match (&profile.grant, &owner) {
        (_, Owner::Account(account)) => account.shown(),
        (Grant::ClientCredentials(client), Owner::Untold(_)) => {
            let what = profile.endpoints.product.words().client_itself[0];
            format!("{what} '{}' itself", mask_id(&client.id))
        }
        (Grant::Token(_), Owner::NoScope(_)) if profile.account.contains('@') => {
            console.tell(
                "Bitbucket accepts the token, but does not name its account: the token lacks the scope to read it.",
            );
            format!("{} (as given at the login)", quote(&profile.account))
        }
        (_, other) => {
            let why = other.untold().unwrap_or(
                "Bitbucket refuses the token: it was revoked, or it cannot read the account",
            );
            let message = format!("the account of profile '{profile}' is unknown: {why}");
            return Err(Failure::new(Kind::Refused, message).into());
        }
    };
    let site = app.other_site(profile);
    let site = site.map_or_else(String::new, |site| format!(", {site}"));
    console.answer(&format!("{shown}, profile '{profile}'{site}"))?;
    if let Owner::Account(account) = &owner
        && let Some(text) = app::other_account(profile, account)
    {
        report::warn(&text);
    }
    Ok(())
}

/// Asks with a token that Bitbucket accepts, and saves the name for `status`.
fn owner(app: &App, identity: &Identity) -> anyhow::Result<Owner> {
    let mut bearer = identity.bearer()?;
    let scopes = identity.stored().0.access_token;
    let scopes = scopes.map(|token| token.scopes).unwrap_or_default();
    let mut owner = app.owner_of(identity, &bearer, &scopes)?;
    if matches!(owner, Owner::Refused)
        && let Some(other) = identity.bearer_instead(&bearer.token.fingerprint())?
    {
        bearer = other;
        owner = app.owner_of(identity, &bearer, &scopes)?;
    }
    identity.save_owner(&owner, &bearer);
    Ok(owner)
}
