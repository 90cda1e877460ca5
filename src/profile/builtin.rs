//! The OAuth client that a packager compiled into the programs. Its secret is public.

use std::sync::OnceLock;

use super::grant::{Client, Source};
use crate::secret::Secret;

/// The origin of the client, for messages.
pub(super) const ORIGIN: &str = "built into this program";

static CLIENT: OnceLock<Client> = OnceLock::new();

/// Sets the client, once, before anything reads it. Cargo gives an unset variable as `None`, and an empty one counts
/// as unset.
pub(crate) fn set(id: Option<&'static str>, secret: Option<&'static str>) {
    let is_given = |text: &&str| !text.is_empty();
    let Some(id) = id.filter(is_given) else {
        return;
    };
    let secret = secret.filter(is_given).map(|secret| Source::Given {
        variable: "BBTOKEN_BUILTIN_CLIENT_SECRET",
        secret: Secret::new(secret.to_owned()),
    });
    // Only the entry point calls this.
    let _ = CLIENT.set(Client {
        id: id.to_owned(),
        secret: secret.unwrap_or(Source::Stored),
    });
}

/// Gives the client, if there is one.
pub(crate) fn client() -> Option<Client> {
    CLIENT.get().cloned()
}
