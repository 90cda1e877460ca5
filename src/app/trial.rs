//! Tries a profile on a repository.

use super::{Identity, context::App};
use crate::{
    address::Address,
    git,
    http::TransportError,
    parent_watch::Watch,
    profile::Transport,
    transport::{Service, Session},
};

/// Why git cannot read a repository.
pub(crate) enum Unread {
    /// The helper finds the same error.
    ByHelper(anyhow::Error),
    /// Only git finds one: its words.
    ByGit(String),
}

impl App {
    /// Reads a repository with git, like the first step of a clone. The argument may be a remote's name.
    ///
    /// # Errors
    ///
    /// If git cannot read it. The helper that git starts can only print its error, so this process reads the repository
    /// again to get it.
    pub(crate) fn reach(&self, address: &str) -> Result<(), Unread> {
        git::reach(address).map_err(|words| match self.read_again(address) {
            Err(error) => Unread::ByHelper(error),
            Ok(_) => Unread::ByGit(words),
        })
    }

    fn read_again(&self, address: &str) -> anyhow::Result<bool> {
        let remote = self.remote_in(address);
        let (target, address) = self.target(remote, address)?;
        let chosen = target.for_git()?;
        if let Some(refusal) = chosen.fetch_refusal {
            return Err(refusal.into());
        }
        let repository = chosen.fetcher.endpoints.repository_to_fetch(&address);
        let identity = Identity::new(self, chosen.fetcher, &repository, remote)?;
        try_on(&identity, &address)
    }
}

/// Checks an unsaved identity with a repository, like the first step of a fetch. False if only git's own transport may
/// reach it.
///
/// # Errors
///
/// If the repository cannot be read.
pub(crate) fn try_on(identity: &Identity, address: &Address) -> anyhow::Result<bool> {
    let profile = &identity.profile;
    let repository = profile.endpoints.repository(address);
    let is_auto = profile.transport == Transport::Auto;
    let needs_git =
        || !identity.http.git_only.is_empty() || identity.remembered(&repository).is_some();
    if profile.transport == Transport::Git || (is_auto && needs_git()) {
        return Ok(false);
    }
    let watch = Watch::default();
    let mut authorizer = identity.authorizer(&watch);
    let (client, name) = (identity.client()?, address.to_string());
    let mut session = Session::new(client, &mut authorizer, &watch, repository, name);
    session.asked_profile = address.profile.as_deref();
    let tried = session.probe(Service::UploadPack, Some("version=2"));
    let Err(error) = tried else { return Ok(true) };
    let is_gits =
        |error: &TransportError| error.wants_other_login() || error.may_be_of_our_library();
    match is_auto && TransportError::inside(&error).is_some_and(is_gits) {
        true => Ok(false),
        false => Err(error),
    }
}
