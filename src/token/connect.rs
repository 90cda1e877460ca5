//! The interface to the servers of a profile.

use super::shared::SharedRecord;
use crate::http::HttpClient;

/// Provides the client for the token endpoint, only when it is needed.
pub(crate) trait Connect {
    /// Gives the client.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    fn client(&self) -> anyhow::Result<&dyn HttpClient>;

    /// Opens the record that the profile shares with other machines.
    ///
    /// # Errors
    ///
    /// If there is none, or git's http settings for its store cannot be followed.
    fn record(&self) -> anyhow::Result<Box<dyn SharedRecord + '_>>;

    /// Opens the record that gets a copy of the access token for jobs, if the profile has one.
    ///
    /// # Errors
    ///
    /// As [`Connect::record`].
    fn token_record(&self) -> anyhow::Result<Option<Box<dyn SharedRecord + '_>>>;
}
