//! Tries a profile on a repository before it is kept.

use super::{Identity, unreached::remembered};
use crate::{
    address::Address,
    clock::SystemClock,
    http::TransportError,
    parent_watch::Watch,
    profile::Transport,
    transport::{Service, Session},
};

/// Tries an identity that is not kept yet on a repository, as a fetch begins; false if only git's own transport may
/// reach it.
///
/// # Errors
///
/// When the repository cannot be read.
pub(crate) fn try_on(
    identity: &Identity,
    address: &Address,
    notify: &dyn Fn(&str),
) -> anyhow::Result<bool> {
    let profile = &identity.profile;
    let repository = profile.endpoints.repository(address);
    let is_for_git = match profile.transport {
        Transport::Git => true,
        Transport::Native => false,
        Transport::Auto => {
            !identity.http.git_only.is_empty() || remembered(profile, &repository).is_some()
        }
    };
    if is_for_git {
        return Ok(false);
    }
    let watch = Watch::on_stdout();
    let mut authorizer = identity.authorizer(&watch, notify);
    let (client, name) = (identity.client()?, address.to_string());
    let mut session = Session::new(
        client,
        &mut authorizer,
        &watch,
        &SystemClock,
        repository,
        name,
    );
    let tried = session.probe(Service::UploadPack, Some("version=2"));
    let Err(error) = tried else { return Ok(true) };
    let mut links = error.chain().filter_map(|link| link.downcast_ref());
    let is_gits =
        |error: &TransportError| error.wants_other_login() || error.may_be_of_our_library();
    match profile.transport == Transport::Auto && links.any(is_gits) {
        true => Ok(false),
        false => Err(error),
    }
}
