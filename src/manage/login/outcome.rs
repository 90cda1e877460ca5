//! How a login ended, in a person's words: whose it is, what it may do, how long, and what is missing.

use super::super::{Console, status, words};
use crate::{
    profile::{Grant, Profile},
    wire::{self, Account, Identity, Overview, Owner},
};

pub(super) fn tell(
    overview: &Overview,
    identity: &Identity,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let profile = &identity.profile;
    console.answer(&format!("Profile '{profile}' is logged in."))?;
    let (kept, _) = wire::kept(identity, console.warn)?;
    let known = kept.access_token.as_ref().map(|token| token.scopes.clone());
    let owner = overview.owner(identity, known.as_deref().unwrap_or_default(), console.warn);
    let told = tell_owner(profile, owner, console)?;
    let scopes = known.unwrap_or(told);
    match &kept.access_token {
        Some(token) => {
            let expiry = words::expiry(token.expires_at_unix_s, wire::now_unix_s());
            console.answer(&format!(
                "  access token: {}, {expiry}",
                status::scopes(&scopes)
            ))?;
        }
        None if !scopes.is_empty() => {
            console.answer(&format!("  token: {}", status::scopes(&scopes)))?;
        }
        None => {}
    }
    if !scopes.is_empty() && !status::may_push(&scopes) {
        console.tell(&format!("  To push, {}.", to_push(profile)));
    }
    console.tell(
        "Next: git clone bbtoken::<workspace>/<repository>\n      git bbtoken setup, for submodules, plain https addresses and git-lfs",
    );
    Ok(())
}

/// Says whose it is, or why that is not known; gives the scopes that Bitbucket named instead.
fn tell_owner(
    profile: &Profile,
    owner: anyhow::Result<Owner>,
    console: &mut Console<'_>,
) -> anyhow::Result<Vec<String>> {
    match owner {
        Ok(Owner::Account(account)) => {
            console.answer(&format!("  account: {}", account.shown()))?;
            if let Some(text) = other_account(profile, &account) {
                (console.warn)(&format!(
                    "{text}; if that is not meant, log in there as the other and repeat 'git bbtoken login {profile}'"
                ));
            }
        }
        Ok(Owner::Untold(why, scopes)) => {
            // Nobody asks whose a client's own token is.
            if !matches!(profile.grant, Grant::ClientCredentials(_)) {
                console.tell(&format!("  Whose it is, is not known: {why}."));
            }
            return Ok(scopes);
        }
        Ok(Owner::Refused) => (console.warn)(
            "Bitbucket did not take the token when asked whose it is: it is wrong, or not made for that; try it: git ls-remote bbtoken::<workspace>/<repository>",
        ),
        Err(error) => console.tell(&format!("  Whose it is could not be asked: {error:#}.")),
    }
    Ok(Vec::new())
}

/// Says that a profile is for another account than the one whose login it has. It may be a name that only the user
/// knows, so this is no error; two accounts in one browser are mixed up easily, though.
pub(in crate::manage) fn other_account(profile: &Profile, account: &Account) -> Option<String> {
    let meant = &profile.account;
    // Without a name of its own, or with an e-mail address, there is nothing to compare.
    if *meant == profile.name || meant.contains('@') || account.is_called(meant) {
        return None;
    }
    Some(format!(
        "profile '{profile}' is for the account '{meant}', and this is {}",
        account.shown()
    ))
}

/// Says what has to be done for a token that can push.
pub(in crate::manage) fn to_push(profile: &Profile) -> &'static str {
    match profile.grant {
        Grant::ClientCredentials(_) | Grant::AuthorizationCode(_) => {
            "tick 'Repositories: Write' at the OAuth consumer and log in again"
        }
        Grant::Token(_) => {
            "make a token that may write repositories (an API token needs the scope to read them as well) and log in with it"
        }
    }
}
