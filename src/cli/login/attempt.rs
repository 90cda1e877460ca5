//! A login under way, and how it was asked for.

use super::super::arguments;
use crate::{
    address::Address,
    app::{App, Identity},
    profile::Source,
    secret::Secret,
};

impl arguments::Login {
    /// Tells whether git waits for the login.
    pub(super) fn is_for_git(&self) -> bool {
        self.for_git.is_some()
    }

    /// Gives the repository that git waits for, or the one that the user wants to try.
    pub(super) fn address(&self) -> Option<&str> {
        self.for_git.as_deref().or(self.repository.as_deref())
    }
}

/// A login under way.
pub(super) struct Login<'l> {
    pub(super) options: &'l arguments::Login,
    pub(super) app: &'l App,
    pub(super) identity: Identity,
    /// Login reads this repository as a test before it saves the login.
    pub(super) repository: Option<Address>,
}

impl Login<'_> {
    /// Gives the repository that a client's login is tried on. Git reads its own repository after the login.
    pub(super) fn to_try(&self) -> Option<&Address> {
        self.repository
            .as_ref()
            .filter(|_| !self.options.is_for_git())
    }
}

pub(super) fn given(secret: &Secret) -> Source {
    Source::Given {
        variable: "stdin",
        secret: secret.clone(),
    }
}
