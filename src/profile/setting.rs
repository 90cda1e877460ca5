//! A value with its origin.

/// A value with its origin, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T = String> {
    /// The value.
    pub(crate) value: T,
    /// The key or variable, with its file: `bbtoken.work.clientId in ~/.gitconfig`.
    pub(crate) origin: String,
}
