//! The keys that the helper reads from a repository's own configuration: one row for each, with its permission.
//!
//! A repository may select a profile that the user has defined. It never defines, changes or widens one.

use super::{
    entry::Entry,
    http::HttpKey,
    permission::{FromRepository, PROXY, PROXY_LOGIN},
};
use crate::{
    address::is_profile_name,
    failure::{Failure, misconfigured, quote},
};

/// A key with its permission in a repository's own configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The last part of the key, as documented.
    pub(crate) name: &'static str,
    /// The permission.
    pub(crate) from_repository: FromRepository,
}

const fn row(name: &'static str, from_repository: FromRepository) -> Row {
    Row {
        name,
        from_repository,
    }
}

const SELECT: &str = "it selects a profile that you have defined";

/// Every `bbtoken.<key>`. Keys with a profile name are always refused.
pub(crate) const BBTOKEN_KEYS: [Row; 32] = {
    use FromRepository::{Followed, Refused};
    const DEFINE: &str = "define or change a profile";
    const SEND: &str = "decide where tokens are sent";
    const RUN: &str = "choose a program to run";
    const KEEP: &str = "decide where secrets are kept";
    const ENTER: &str = "choose a login to a store";
    [
        row("clientId", Refused(DEFINE)),
        row("grant", Refused(DEFINE)),
        row("workspace", Refused(DEFINE)),
        row("account", Refused(DEFINE)),
        row("pushProfile", Refused("choose the profile for pushes")),
        row("clientSecretCommand", Refused(RUN)),
        row("accessTokenCommand", Refused(RUN)),
        row("kind", Refused(DEFINE)),
        row("baseUrl", Refused(SEND)),
        row("mirrorUrl", Refused(SEND)),
        row("sshHost", Refused(DEFINE)),
        row("scope", Refused(DEFINE)),
        row("redirectUri", Refused(SEND)),
        row("tokenUrl", Refused(SEND)),
        row("authorizeUrl", Refused(SEND)),
        row("store", Refused(KEEP)),
        row("storePath", Refused(KEEP)),
        row("storeUrl", Refused(SEND)),
        row("storeNamespace", Refused(KEEP)),
        row("storeRole", Refused(ENTER)),
        row("storeAuthPath", Refused(ENTER)),
        row("storeJwtFile", Refused(ENTER)),
        row("storeJwtVariable", Refused(ENTER)),
        row("storeTokenPath", Refused(KEEP)),
        row("storeCommand", Refused(RUN)),
        row("cache", Refused(KEEP)),
        row("transport", Followed("both ways lead to the same server")),
        row(
            "rememberAdvertisement",
            Followed("false only costs a round trip"),
        ),
        row("profile", Followed(SELECT)),
        row("agent", Refused("start a process that stays")),
        row("lfs", Followed("it affects this repository only")),
        row("addedBySetup", Refused("choose what unsetup removes")),
    ]
};

/// Every `remote.<name>.<key>` that the helper reads.
pub(crate) const REMOTE_KEYS: [Row; 7] = {
    use FromRepository::Followed;
    const ADDRESS: &str = "it leads only to a site that you have configured";
    const LFS: &str = "git-lfs reads it; the helper changes only what it wrote";
    [
        row("bbtokenProfile", Followed(SELECT)),
        row("url", Followed(ADDRESS)),
        row("pushurl", Followed(ADDRESS)),
        row("lfsurl", Followed(LFS)),
        row("lfspushurl", Followed(LFS)),
        row("proxy", PROXY),
        row("proxyAuthMethod", PROXY_LOGIN),
    ]
};

/// Every other git setting that the helper reads and that a repository may contain.
pub(crate) const GIT_KEYS: [Row; 18] = {
    use FromRepository::Followed;
    const INCLUDES: FromRepository =
        Followed("the settings in that file count as the repository's own");
    const WORKTREE: FromRepository =
        Followed("the settings in config.worktree count as the repository's own");
    const PROTOCOL: FromRepository = Followed("each version leads to the same server");
    const LFS_URL: FromRepository = Followed("git-lfs reads it; the helper then writes no address");
    const SUBMODULE: FromRepository = Followed("the helper only gives a hint about submodules");
    [
        row("core.repositoryFormatVersion", WORKTREE),
        row("extensions.worktreeConfig", WORKTREE),
        row("include.path", INCLUDES),
        row("includeIf.<condition>.path", INCLUDES),
        row("protocol.version", PROTOCOL),
        row(
            "protocol.<scheme>.allow",
            Followed("'never' keeps git's own transport from starting; no value permits more"),
        ),
        row(
            "credential.interactive",
            Followed("it only forbids questions"),
        ),
        row(
            "credential.<url>.helper",
            Followed("git reads it; the helper only checks whether it is listed"),
        ),
        row(
            "branch.<name>.remote",
            Followed("it names one of the repository's remotes"),
        ),
        row("lfs.url", LFS_URL),
        row("lfs.pushurl", LFS_URL),
        row(
            "lfs.<url>.access",
            Followed("git-lfs reads it; the helper writes it only if it is missing"),
        ),
        row(
            "filter.lfs.<key>",
            Followed("it only shows that git-lfs is installed"),
        ),
        row("submodule.active", SUBMODULE),
        row("submodule.<name>.url", SUBMODULE),
        row("submodule.<name>.active", SUBMODULE),
        row("submodule.<name>.update", SUBMODULE),
        row(
            "url.<base>.insteadOf",
            Followed("git applies it; the helper only reports it"),
        ),
    ]
};

/// Finds the permission of a key; `None` for unknown keys.
pub(super) fn row_of(entry: &Entry) -> Option<FromRepository> {
    let find = |rows: &[Row]| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row.name.eq_ignore_ascii_case(&entry.key));
        row.map(|row| row.from_repository)
    };
    match (entry.section.as_str(), &entry.subsection) {
        ("bbtoken", None) => find(&BBTOKEN_KEYS),
        ("bbtoken", Some(_)) => Some(FromRepository::Refused("define or change a profile")),
        ("remote", Some(_)) => find(&REMOTE_KEYS),
        ("http", _) => HttpKey::of(entry).map(|key| key.from_repository),
        _ => None,
    }
}

/// Refuses a repository's `bbtoken` setting without permission. Unknown keys are refused too.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`], with the command that makes it the user's own setting.
pub(super) fn check_bbtoken(entry: &Entry) -> Result<(), Failure> {
    let why = match row_of(entry) {
        _ if entry.scope.is_protected() => return Ok(()),
        Some(FromRepository::Followed(_)) => return Ok(()),
        Some(FromRepository::Refused(why)) => why,
        _ => "set keys that this version does not know",
    };
    let is_name = entry.subsection.as_deref().is_none_or(is_profile_name);
    let line = format!("{} {}", entry.name(), value(entry).unwrap_or("<value>"));
    Err(refusal(entry, why, is_name.then_some(line.as_str())))
}

/// Makes the error for a setting. `line` is key and value for `git config --global`, if they are safe in a shell.
pub(super) fn refusal(entry: &Entry, why: &str, line: Option<&str>) -> Failure {
    let own = line.map(|line| {
        format!("; to use it anyway, make it your own setting: git config --global {line}")
    });
    misconfigured(format!(
        "{} in {} is refused: a repository must not {why}; remove it from that file{}",
        quote(&entry.name()),
        quote(&entry.origin),
        own.unwrap_or_default()
    ))
}

/// Gives a value if a message may show it: a short word of a key without secrets, programs or addresses.
fn value(entry: &Entry) -> Option<&str> {
    const SHOWN: [&str; 4] = ["grant", "pushprofile", "store", "workspace"];
    let value = entry.value.as_deref()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_word = !value.is_empty() && value.len() <= 40 && value.chars().all(is_plain);
    (is_word && !value.starts_with('-') && SHOWN.contains(&entry.key.as_str())).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{entry::Scope, profiles::assign},
        *,
    };
    use crate::profile::{Key, RawProfile};

    #[test]
    fn each_key_of_a_profile_has_a_row() {
        let others = ["profile", "agent", "lfs", "addedBySetup"];
        let rows = BBTOKEN_KEYS.iter().map(|row| row.name);
        let rows: Vec<_> = rows.filter(|name| !others.contains(name)).collect();
        for name in &rows {
            let mut profile = RawProfile::default();
            let entry = Entry {
                section: "bbtoken".into(),
                subsection: None,
                key: name.to_lowercase().as_str().into(),
                value: Some("value".into()),
                scope: Scope::Global,
                origin: "a file".into(),
            };
            assert!(assign(&mut profile, &entry), "{name} is read");
            let [(key, setting)] = profile.settings()[..] else {
                panic!("{name} is one setting: {profile:?}");
            };
            assert_eq!((key, setting.value.as_str()), (*name, "value"));
        }
        assert_eq!(rows.len(), Key::all().count() + ["workspace"].len());
    }
}
