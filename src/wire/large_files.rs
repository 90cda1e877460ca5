//! Git LFS: which repository and profile a remote's large files belong to.

use super::{Plan, parse_address};
use crate::{
    address::Address,
    config::{GitConfig, process_variable},
    failure::quote,
    http::Url,
    lfs,
    profile::Profile,
};

impl Plan {
    /// Tells git-lfs about the remote. Git waits for an answer of ours meanwhile, so that it does not write, too.
    pub(super) fn wire_lfs(&self, notify: &dyn Fn(&str)) {
        let Some(lfs) = &self.lfs else { return };
        if let Err(error) = lfs.write() {
            notify(&format!(
                "git-lfs was not told about remote '{}': {error:#}",
                quote(&self.remote)
            ));
        }
    }
}

/// Finds out what git-lfs must be told of a remote. The addresses are the remote's own: what git has given us is the one
/// for a push or the one for a fetch. A remote that pushes to somewhere else than Bitbucket is left alone.
pub(super) fn wiring(
    git: &GitConfig,
    remote: &str,
    bases: &[Url],
    given: &Address,
    fetcher: (&Profile, bool),
    pusher: Option<&Profile>,
) -> Option<lfs::Wiring> {
    let of_remote = |key: &str| {
        let url = git.last("remote", Some(remote), key)?.value.as_deref()?;
        Some(parse_address(git, Some(remote), url, bases))
    };
    let place = |address: &Address, (profile, is_asked_for): (&Profile, bool)| lfs::Place {
        repository: profile.endpoints.repository(address),
        profile: is_asked_for.then(|| profile.name.clone()),
    };
    let pusher = pusher.map_or(fetcher, |pusher| (pusher, true));
    let (from, to) = match (of_remote("url")?, of_remote("pushurl")) {
        (Ok(from), Some(to)) => (from, to.ok()?),
        (Err(_), Some(_)) => return None,
        // An abbreviation by `url.<base>.insteadOf` is known to git alone.
        (from, None) => {
            let from = from.unwrap_or_else(|_| given.clone());
            (from.clone(), from)
        }
    };
    let (down, up) = (place(&from, fetcher), place(&to, pusher));
    lfs::wiring(git, &process_variable, remote, &down, &up)
}
