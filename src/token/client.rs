//! The OAuth client of a profile, with what its site needs.

use crate::{oauth, profile::Profile, secret::Secret};

/// Makes the client for token requests of a profile.
pub(super) fn client(profile: &Profile, id: &str, secret: Secret) -> oauth::Client {
    let facts = profile.endpoints.product.facts();
    let redirect_uri = profile.redirect_uri.clone();
    oauth::Client {
        id: id.to_owned(),
        secret,
        token_url: profile.endpoints.token.clone(),
        is_in_body: facts.has_clients_in_body,
        scope: profile.scope.clone(),
        redirect_uri: redirect_uri.filter(|_| facts.has_fixed_redirects),
    }
}
