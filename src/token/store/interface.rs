//! The interface of a store.

use crate::{
    failure::{Failure, Kind},
    secret::Secret,
};

/// The space that a store reserves before a request for a secret that cannot be repeated. It is twice the size of two
/// Bitbucket tokens of the longest known form.
pub(super) const RESERVE_BYTES: usize = 16 * 1024;

/// Keeps secrets between commands.
pub(crate) trait Store {
    /// Reads a secret; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] if the store is locked, damaged or readable by others.
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>>;

    /// Reserves space for the next [`Store::save`] of this key.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] if there is no space. Nothing is lost then.
    fn reserve(&self, key: &str) -> anyhow::Result<()>;

    /// Releases unused space that [`Store::reserve`] took, in this process or in one that has ended.
    fn release(&self, _key: &str) {}

    /// Replaces a secret as a whole. After that, it survives a power loss.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`]. The earlier secret is then still there.
    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()>;

    /// Removes a secret, even an unreadable one. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] if it is still there.
    fn forget(&self, key: &str) -> anyhow::Result<bool>;
}

pub(super) fn unusable(message: String) -> Failure {
    Failure::new(Kind::StoreUnusable, message)
}
