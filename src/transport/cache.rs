//! The transport's interface to a cache for advertisements. The program provides one that writes files.

/// Stores the advertisement of one repository between commands, for one account.
///
/// The transport knows nothing else about files and their age.
pub(crate) trait AdvertisementCache {
    /// Gives the entry if it is recent enough and a question can be predicted.
    fn recall(&self) -> Option<Remembered>;

    /// Stores the server's advertisement and git's question after it.
    fn store(&self, advertisement: &[u8], question: &[u8]);

    /// Replaces the predicted question. The advertisement keeps its age.
    fn replace_question(&self, question: &[u8]);

    /// Forgets everything about the repository.
    fn forget(&self);
}

/// A cache entry for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The capability advertisement, as pkt-lines.
    pub(crate) advertisement: Vec<u8>,
    /// Git's last question after it, as pkt-lines.
    pub(crate) question: Vec<u8>,
}
