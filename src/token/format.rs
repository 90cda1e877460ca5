//! The JSON of cached, stored and shared records: a version, and the fields of one type.

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::secret::Secret;

/// The version of the formats. Records of other versions are not used: a new version ends every stored login, too.
const VERSION: u64 = 1;

/// Formats a record.
pub(super) fn render(record: &impl Serialize) -> Value {
    let mut value = json!(record);
    value["version"] = json!(VERSION);
    value
}

/// Parses a record. `None` if it is not one of this version. Reading twice costs less than a [`Value`] between, which
/// would also keep copies of secrets.
pub(super) fn parse<T: DeserializeOwned>(text: &Secret) -> Option<T> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_str(text.expose()).ok()?;
    (version == VERSION).then(|| serde_json::from_str(text.expose()).ok())?
}

/// Writes a secret into a record. A type cannot do that without naming this function, because [`Secret`] has no
/// serialization of its own. Nothing but [`render`] and the shared record serializes such a type.
pub(super) fn expose<'s, S: Serializer>(
    secret: impl Into<Option<&'s Secret>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.into().map(Secret::expose).serialize(serializer)
}
