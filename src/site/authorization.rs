//! Makes `Authorization` headers.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::secret::Secret;

pub(super) fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}

/// Makes the `Authorization` header of a password.
pub(crate) fn basic(user: &str, token: &Secret) -> Secret {
    let pair = Secret::new(format!("{user}:{}", token.expose()));
    Secret::new(format!("Basic {}", BASE64.encode(pair.expose())))
}
