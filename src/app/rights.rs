//! Describes the scopes of a token.

use crate::{
    failure::quote,
    profile::{Grant, Profile},
};

/// Lists the scopes of a token, and says if it cannot push.
pub(crate) fn scopes(profile: &Profile, scopes: &[String]) -> String {
    if scopes.is_empty() {
        return "scopes unknown".to_owned();
    }
    let listed: Vec<_> = scopes.iter().map(|scope| quote(scope)).collect();
    let missing = match may_push(profile, scopes) {
        true => "",
        false => " (cannot push)",
    };
    format!("scopes {}{missing}", listed.join(", "))
}

/// Tells whether a token may push.
pub(crate) fn may_push(profile: &Profile, scopes: &[String]) -> bool {
    let those = profile.endpoints.product.facts().push_scopes;
    scopes.iter().any(|scope| those.contains(&scope.as_str()))
}

/// Says how to get a token that can push.
pub(crate) fn to_push(profile: &Profile) -> &'static str {
    let words = profile.endpoints.product.words();
    match profile.grant {
        Grant::Token(_) => words.token_may_push,
        _ => words.login_may_push,
    }
}
