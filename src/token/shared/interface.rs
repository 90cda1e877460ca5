//! The interface of a store with compare-and-set.

use std::time::Duration;

use crate::secret::Secret;

/// The only field of a record that reserves room for a login, or that was removed.
pub(super) const RESERVED: &str = "reserved";

/// A record in a store with compare-and-set.
pub(crate) trait SharedRecord {
    /// Reads the record.
    ///
    /// # Errors
    ///
    /// [`Trouble::Overtaken`] if the store answered with an older version than this value has seen.
    fn read(&self) -> Result<Seen, Trouble>;

    /// Replaces the record if its version is still `seen`. Gives the new version.
    ///
    /// # Errors
    ///
    /// [`Trouble::Overtaken`] if the store refused; the record is unchanged by this call. [`Trouble::Lost`] if the
    /// outcome is unknown; a read tells it.
    fn replace(&self, seen: &Version, record: &Secret) -> Result<Version, Trouble>;

    /// Names the record and its store for messages.
    fn name(&self) -> String;

    /// Limits the time for each of the next requests, if the usual limit is longer.
    fn limit_time(&self, limit: Duration);

    /// Says what the store lets this machine do.
    ///
    /// # Errors
    ///
    /// If the store cannot be used at all.
    fn inspect(&self) -> anyhow::Result<Inspection> {
        Ok(Inspection::default())
    }

    /// Lets the store keep as few earlier versions as possible, because they contain secrets. `warn` shows a warning if
    /// that fails.
    fn limit_versions(&self, _warn: &dyn Fn(&str)) {}

    /// Checks that this machine may destroy versions, before it removes the record.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unusable`] if it may not.
    fn may_destroy(&self) -> Result<(), Trouble> {
        Ok(())
    }

    /// Removes the content of this version and of all earlier ones, where the store keeps them.
    ///
    /// # Errors
    ///
    /// As [`SharedRecord::replace`].
    fn destroy(&self, _newest: &Version) -> Result<(), Trouble> {
        Ok(())
    }
}

/// What a store lets this machine do.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// Facts: the login to the store, the rights.
    pub(crate) facts: Vec<String>,
    /// Reasons for which a login cannot be stored there, each with its fix.
    pub(crate) problems: Vec<String>,
    /// The rights that are missing if the record may be read but not written, which is enough for a copy.
    pub(crate) read_only: Option<String>,
}

/// A version of a record. Only its store can compare versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) String);

/// The result of reading a record.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The version to give to [`SharedRecord::replace`], also if there is no record.
    pub(crate) version: Version,
    /// The record; `None` if there is none.
    pub(crate) record: Option<Secret>,
    /// The time by the store's clock, if the store tells it.
    pub(crate) store_time_unix_s: Option<u64>,
}

impl Seen {
    /// Gives the record; `None` also for an empty one, and for one that only reserves room or was removed.
    pub(super) fn record(&self) -> Option<&Secret> {
        let reserved = format!("{{\"{RESERVED}\":");
        let is_nothing = |text: &str| text.is_empty() || text.starts_with(&reserved);
        self.record
            .as_ref()
            .filter(|text| !is_nothing(text.expose()))
    }
}

/// A failed read or write.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The version is not the newest one, or a node of the store is behind. A new read may help.
    Overtaken,
    /// The store did not answer, or cannot serve requests now. A write may have happened.
    Lost {
        /// What happened.
        why: anyhow::Error,
        /// The pause that the store asks for.
        retry_after: Option<Duration>,
    },
    /// The store refuses, or answers something else than a record. A new attempt would fail the same way.
    Unusable(anyhow::Error),
}
