//! Explains errors of the token endpoint in terms of the profile and its client.

use crate::{
    failure::{Failure, Kind, quote},
    oauth,
    profile::{Grant, Profile, Source},
    secret::{mask_id, may_be_swapped},
};

const SWAPPED: &str =
    "its id or secret is wrong; the id is longer than the secret, so the two may be swapped";

/// Names a profile and its client for messages.
pub(super) fn who(profile: &Profile) -> String {
    match profile.client() {
        Some(client) => format!("profile '{profile}' with client '{}'", mask_id(&client.id)),
        None => format!("profile '{profile}'"),
    }
}

/// Gives the kind of error for a missing or ended login.
pub(crate) fn needs_login(profile: &Profile) -> Kind {
    match &profile.shared {
        Some(shared) => Kind::SharedLoginNeeded {
            login: shared.login(&profile.name),
        },
        None => Kind::LoginNeeded {
            profile: profile.name.clone(),
        },
    }
}

/// Adds the profile, the meaning and the error kind to an error of the endpoint. `by_login` tells whether a login of a
/// user was sent, or the client's own request.
pub(super) fn explain(
    error: oauth::Error,
    profile: &Profile,
    client: &oauth::Client,
    by_login: bool,
) -> anyhow::Error {
    let host = profile.endpoints.token.host_str().unwrap_or("").to_owned();
    let (kind, cause) = match &error {
        oauth::Error::Transport(error) => (error.kind(), None),
        oauth::Error::Unusable { status: 407, .. } => (Kind::Unreachable { host }, None),
        oauth::Error::Unusable { status: 500.., .. } | oauth::Error::Failed(_) => {
            (Kind::ServerFailed { host }, None)
        }
        oauth::Error::OtherType(_) => {
            let remedy = check_url(profile);
            (Kind::ClientRefused { remedy }, None)
        }
        oauth::Error::Unusable { .. } => (Kind::NotGit, None),
        oauth::Error::Busy {
            status: 502 | 504, ..
        } => (Kind::ServerFailed { host }, None),
        oauth::Error::Busy { .. } => (Kind::Busy, None),
        oauth::Error::Refused(refusal) => {
            let (cause, kind) = refused(refusal, profile, client, by_login);
            (kind, Some(cause))
        }
    };
    // Do not show the start of an id that may be a secret.
    let who = match cause {
        Some(SWAPPED) => format!("profile '{profile}'"),
        _ => format!("profile '{profile}' with client '{}'", mask_id(&client.id)),
    };
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let message = format!("cannot get a token for {who}{cause}");
    anyhow::Error::new(error).context(Failure::new(kind, message))
}

/// Finds the meaning of a refusal. Bitbucket's old and new backend differ in status and codes, and `invalid_grant` has
/// three meanings, which only the description distinguishes.
fn refused(
    refusal: &oauth::Refusal,
    profile: &Profile,
    client: &oauth::Client,
    by_login: bool,
) -> (&'static str, Kind) {
    let words = profile.endpoints.product.words();
    let place = words.client;
    let said = refusal.description.to_ascii_lowercase();
    let here = |cause, remedy: String| (cause, Kind::ClientRefused { remedy });
    // The users of a shared login have no access to its client.
    let change = |cause, remedy: String| match profile.grant {
        Grant::Shared(_) => here(
            cause,
            format!("ask the administrator of the shared login: {remedy}"),
        ),
        _ => here(cause, remedy),
    };
    if said.contains("\"public\"") || said.contains("marked as") {
        change(
            "the client is not private",
            format!("tick 'This is a private consumer' at {place}"),
        )
    } else if said.contains("callback") {
        change("the client has no callback URL", words.redirect.to_owned())
    } else if said.contains("redirect_uri") {
        change(
            "the client has a different callback URL",
            words.redirect.to_owned(),
        )
    } else if refusal.error == "invalid_scope" {
        change(
            "the server does not accept the client's scopes",
            match &profile.scope {
                None => format!("check the permissions that are ticked at {place}"),
                Some(scope) => format!(
                    "tick the permissions for '{}' at {place}, or set bbtoken.{profile}.scope to what is ticked there",
                    quote(scope)
                ),
            },
        )
    } else if said.contains("not allowed for this client") {
        change("the client may not use this grant", allow_grant(by_login))
    } else if said.contains("grant type") || refusal.error == "unsupported_grant_type" {
        here(
            "the token endpoint does not support this grant",
            check_url(profile),
        )
    } else if said.contains("must be authenticated") {
        here(
            "the server did not receive the client's id and secret",
            "a proxy may have removed the Authorization header: check http.proxy, and check that bbtoken.tokenUrl is Bitbucket's".into(),
        )
    } else if refusal.is_of_credentials() && may_be_swapped(&client.id, &client.secret) {
        change(SWAPPED, compare(profile))
    } else if refusal.is_of_credentials() {
        change("its id or secret is wrong", compare(profile))
    } else if refusal.error == "unauthorized_client" {
        change("the client may not use this grant", allow_grant(by_login))
    } else if by_login && !refusal.is_of_client() {
        (words.code_refused, needs_login(profile))
    } else {
        change(
            "the token endpoint refused the client",
            format!("check the client at {place}, or {}", check_url(profile)),
        )
    }
}

/// Says how to correct a client: a saved secret cannot be looked at, only replaced.
fn compare(profile: &Profile) -> String {
    let words = profile.endpoints.product.words();
    let pair = format!("{} of {}", words.pair, words.client);
    match profile.client().map(|client| &client.secret) {
        None if let Some(shared) = &profile.shared => {
            format!("run '{}' with the {pair}", shared.login(&profile.name))
        }
        Some(Source::Given {
            variable: "stdin", ..
        }) => format!("log in again, with the {pair}"),
        Some(Source::Stored) => format!(
            "compare bbtoken.{profile}.clientId with the {pair}; to replace the saved secret, run 'git bbtoken login {profile} --with-secret'"
        ),
        _ => format!(
            "compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET, or the profile's settings, with the {pair}"
        ),
    }
}

fn allow_grant(by_login: bool) -> String {
    let grant = match by_login {
        true => "the authorization code and its refresh tokens",
        false => "client credentials",
    };
    format!("allow {grant} for this client on the server")
}

fn check_url(profile: &Profile) -> String {
    let mut asked = profile.endpoints.token.clone();
    // A query may contain a key.
    asked.set_query(None);
    format!("check bbtoken.tokenUrl and BBTOKEN_TOKEN_URL: the request went to '{asked}'")
}
