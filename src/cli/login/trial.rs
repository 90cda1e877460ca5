//! Tries a login before it replaces one that works.

use super::{super::Console, Login};
use crate::{
    address::Address,
    app::{self, Identity},
    failure::{Failure, Kind, kind, usage},
    profile::Profile,
    secret::TOKEN_PREFIXES,
    site::Owner,
};

/// Tries a token on the repository, or without one by asking Bitbucket for its account, which it returns.
///
/// # Errors
///
/// When Bitbucket refuses the token, or the token cannot be tried and the user does not agree to keep it.
pub(super) fn of_token(
    login: &Login<'_>,
    console: &mut Console<'_>,
) -> anyhow::Result<Option<Owner>> {
    let identity = &login.identity;
    let bearer = identity.bearer()?;
    if let Some(address) = &login.repository {
        match on_repository(identity, address) {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(error) if console.is_interactive && is_of_network(&error) => {
                let why = format!("{error:#}");
                return agree(&why, error, console).map(|()| None);
            }
            Err(error) => return Err(error),
        }
    }
    let profile = &identity.profile;
    match login.app.owner_of(identity, &bearer, &[]) {
        Ok(Owner::Refused) => {
            let why = match bearer.token.expose().starts_with(TOKEN_PREFIXES[1]) {
                true => "the token or the e-mail address is wrong, or the token is revoked",
                false if login.options.is_for_git() => {
                    "the token is wrong or revoked, or it cannot read this repository"
                }
                false => profile.endpoints.product.words().token_refused,
            };
            let message = format!(
                "{}: Bitbucket refused to name the account of the token; {why}",
                not_done(profile)
            );
            Err(Failure::new(Kind::Refused, message).into())
        }
        Ok(Owner::Untold(why)) => {
            let message = format!(
                "{}: the helper could not check the token: {why}; give --try <{}>/<repository>, or --no-check to save it without a check",
                not_done(profile),
                profile.endpoints.product.words().space
            );
            agree(&why, usage(&message), console).map(|()| None)
        }
        Ok(owner) => Ok(Some(owner)),
        Err(error) => {
            let why = format!("{error:#}");
            let error = unreached(error, profile);
            agree(&why, error, console).map(|()| None)
        }
    }
}

/// Tries an identity on a repository; false if only git's own transport may reach it.
///
/// # Errors
///
/// When the repository cannot be read.
pub(super) fn on_repository(identity: &Identity, address: &Address) -> anyhow::Result<bool> {
    app::try_on(identity, address).map_err(|error| {
        let kind = match kind(&error) {
            // The hint of this kind is for a profile that exists.
            Some(Kind::AccessRefused { .. }) | None => Kind::Refused,
            Some(kind) => kind.clone(),
        };
        error.context(Failure::new(kind, not_done(&identity.profile)))
    })
}

/// Tells whether an identity can read a repository. Only a refusal by Bitbucket is a no.
pub(super) fn is_readable(identity: &Identity, address: &Address) -> bool {
    let tried = on_repository(identity, address);
    tried.map_or_else(|error| kind(&error) != Some(&Kind::Refused), |_| true)
}

/// Says that the check did not reach Bitbucket, and how to save the token without a check.
fn unreached(error: anyhow::Error, profile: &Profile) -> anyhow::Error {
    let host = profile.endpoints.base.host_str().unwrap_or("").to_owned();
    let kind = kind(&error).cloned().unwrap_or(Kind::Unreachable { host });
    let problem = not_done(profile);
    let message = format!(
        "{problem}: the helper could not check the token; give --no-check to save it without a check"
    );
    error.context(Failure::new(kind, message))
}

fn is_of_network(error: &anyhow::Error) -> bool {
    matches!(
        kind(error),
        Some(
            Kind::Unreachable { .. }
                | Kind::Untrusted { .. }
                | Kind::ServerFailed { .. }
                | Kind::Busy
        )
    )
}

/// Asks whether to save a token, whose owner is unknown, without a check. Without a terminal, the answer is no.
fn agree(why: &str, error: anyhow::Error, console: &mut Console<'_>) -> anyhow::Result<()> {
    if !console.is_interactive {
        return Err(error);
    }
    console.tell(&format!("The helper could not check the token: {why}."));
    match console.confirm("Save it without a check?")? {
        true => Ok(()),
        false => Err(error),
    }
}

fn not_done(profile: &Profile) -> String {
    format!("the login of profile '{profile}' failed, and nothing was changed")
}
