//! Describes the scopes of a token.

use crate::{
    failure::quote,
    profile::{Grant, Profile},
};

/// The scopes that let a token push (Bitbucket: "OAuth 2.0", scopes; API token scopes).
const PUSH: [&str; 3] = [
    "repository:write",
    "repository:admin",
    "write:repository:bitbucket",
];

/// Lists the scopes of a token, and says if it cannot push.
pub(crate) fn scopes(scopes: &[String]) -> String {
    if scopes.is_empty() {
        return "scopes unknown".to_owned();
    }
    let listed: Vec<_> = scopes.iter().map(|scope| quote(scope)).collect();
    let missing = if may_push(scopes) {
        ""
    } else {
        " (cannot push)"
    };
    format!("scopes {}{missing}", listed.join(", "))
}

/// Tells whether a token may push.
pub(crate) fn may_push(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| PUSH.contains(&scope.as_str()))
}

/// Says how to get a token that can push.
pub(crate) fn to_push(profile: &Profile) -> &'static str {
    match profile.grant {
        Grant::ClientCredentials(_) | Grant::AuthorizationCode(_) | Grant::Shared(_) => {
            "tick 'Repositories: Write' at the OAuth consumer and log in again"
        }
        Grant::Token(_) => {
            "create a token with write access to repositories (an API token also needs the scope to read them) and log in with it"
        }
    }
}
