//! Git LFS: finds the repository and the profile for a remote's large files.

use std::path::Path;

use super::{advertisement_cache::is_new, context::App, target::find};
use crate::{
    address::Address,
    git_config::{GitConfig, Scope},
    lfs,
    profile::{self, Profile},
};

/// Tells whether to write the settings: they are outdated, the repository is new, or it uses git-lfs.
pub(crate) fn is_wanted(git: &GitConfig, wiring: &lfs::Wiring) -> bool {
    let directory = git.file(Scope::Local).and_then(Path::parent);
    wiring.is_outdated || is_new() || directory.is_some_and(lfs::is_used)
}

/// Finds the git-lfs settings for the remotes of the repository in which the user is.
pub(crate) fn lfs_here() -> Vec<lfs::Wiring> {
    let Ok(app) = App::read() else {
        return Vec::new();
    };
    let git = &app.git;
    let of_remote = |name: &str, url: &str| {
        let (target, address) = app.target(Some(name), url).ok()?;
        let profile = target.profile().ok()?;
        let pusher = profile::for_push(&target.raw, &profile).ok()?;
        let fetcher = (&profile, target.names_profile());
        app.wiring(name, &address, fetcher, pusher.as_ref())
    };
    let remotes = git.entries().filter_map(|entry| {
        let is_ours = entry.section == "remote" && entry.key == "url";
        let url = entry.value.as_deref().filter(|_| is_ours)?;
        let name = entry.subsection.as_deref()?;
        url.starts_with("bbtoken:").then(|| of_remote(name, url))?
    });
    remotes
        .filter(|wiring| wiring.addresses().next().is_some())
        .collect()
}

impl App {
    /// Finds the git-lfs settings for a remote. Reads the remote's own addresses, because git gives the helper only the
    /// one for a push or the one for a fetch. Skips a remote that does not push to Bitbucket.
    pub(crate) fn wiring(
        &self,
        remote: &str,
        given: &Address,
        fetcher: (&Profile, bool),
        pusher: Option<&Profile>,
    ) -> Option<lfs::Wiring> {
        let git = &self.git;
        let of_remote = |key: &str| {
            let url = git.last("remote", Some(remote), key)?.value.as_deref()?;
            Some(find(git, Some(remote), url, &self.places).map(|found| found.address))
        };
        let place = |address: &Address, (profile, is_asked_for): (&Profile, bool)| lfs::Place {
            repository: profile.endpoints.repository(address),
            profile: is_asked_for.then(|| profile.name.clone()),
        };
        let pusher = pusher.map_or(fetcher, |pusher| (pusher, true));
        let (from, to) = match (of_remote("url")?, of_remote("pushurl")) {
            (Ok(from), Some(to)) => (from, to.ok()?),
            (Err(_), Some(_)) => return None,
            // Only git resolves an abbreviation by `url.<base>.insteadOf`, so take the address that git has given.
            (from, None) => {
                let from = from.unwrap_or_else(|_| given.clone());
                (from.clone(), from)
            }
        };
        let (down, up) = (place(&from, fetcher), place(&to, pusher));
        lfs::wiring(git, remote, &down, &up)
    }
}
