//! The stored record of a user's login: the refresh token and its details.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::format;
use crate::secret::Secret;

/// A login at Bitbucket, as a [`Store`](super::store::Store) keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The current refresh token.
    #[serde(serialize_with = "format::expose")]
    pub(crate) refresh_token: Secret,
    /// The scopes in the last response.
    pub(crate) scopes: Vec<String>,
    /// The time of the last response, by the local clock.
    pub(crate) obtained_at_unix_s: u64,
}

impl Login {
    /// Formats a login for a store.
    pub(crate) fn to_record(&self) -> Secret {
        Secret::new(json!(self).to_string())
    }

    /// Parses a stored login; `None` if it is not a login.
    pub(crate) fn from_record(record: &Secret) -> Option<Self> {
        serde_json::from_str(record.expose()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_record_is_a_login_that_is_written_back_unchanged_or_none() {
        let login = Login {
            refresh_token: Secret::new("one"),
            scopes: vec!["repository".into(), "account".into()],
            obtained_at_unix_s: 1_000,
        };
        let record = login.to_record();
        assert_eq!(Login::from_record(&record), Some(login));
        let odd = r#"{"version":1e0,"refresh_token":"\ud83d\ude00\/\b","scopes":[{},null],"obtained_at_unix_s":-0.5E-3}"#;
        crate::inside::fuzz::check_text(&[record.expose(), odd], |text| {
            if let Some(login) = Login::from_record(&Secret::new(text)) {
                assert_eq!(Login::from_record(&login.to_record()), Some(login));
            }
        });
    }
}
