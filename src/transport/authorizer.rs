//! The transport's interface to the credential for the git server.

use crate::{failure::Renewal, secret::Secret, site::Product};

/// Gives the credential for the git server, and replaces one that the server refused.
///
/// The transport knows nothing else about tokens.
pub(crate) trait Authorizer {
    /// Gives the value of the `Authorization` header for the next request.
    ///
    /// # Errors
    ///
    /// If there is no credential.
    fn authorization(&mut self) -> anyhow::Result<Secret>;

    /// Reports that the server refused the last value (status 401). True if there is a new value.
    ///
    /// # Errors
    ///
    /// If the replacement fails.
    fn refused(&mut self) -> anyhow::Result<bool>;

    /// Gives the profile's name for messages.
    fn identity(&self) -> &str;

    /// Gives the kind of Bitbucket, which decides the meaning of answers.
    fn product(&self) -> Product;

    /// Says how to replace the credential, if only the user can make a new one.
    fn renewal(&self) -> Option<Renewal>;
}
