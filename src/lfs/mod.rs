//! Git LFS: writes settings that give git-lfs the https address of a remote's repository. git-lfs does not support
//! remote helpers.
//!
//! git-lfs reads git's configuration when it starts. In a clone, it starts after the fetch, so the helper writes the
//! settings before it answers git. It writes nothing if nothing is missing, if the user has configured another address,
//! or if git-lfs is not installed. After the clone, it writes only into a repository that uses git-lfs.

mod written;

use std::{
    fs::{self, File as OpenFile},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use gix::{
    config::{
        File,
        file::{Metadata, SectionMut, init::Options},
    },
    lock::acquire::{Fail, resolve_symlink},
};

use crate::{
    files::foreign,
    git_config::{GitConfig, is_true, url_values},
    program, signals,
    url::Url,
};

pub(crate) use written::{PATTERN, written};

/// The user name in the addresses that the helper writes. It distinguishes them from the user's own. It also protects
/// them from `url.<base>.insteadOf`, which git-lfs follows, too. A profile's name may follow after a `+`.
const USER: &str = "bbtoken";
/// The credential helper for the endpoint, if `setup` has not set one for the site.
const HELPER: &str = "!git bbtoken credential";
/// The attribute of files in LFS (gitattributes(5)).
const FILTER: &[u8] = b"filter=lfs";

/// The settings that are missing in a repository's configuration.
#[derive(Debug)]
pub(crate) struct Wiring {
    file: PathBuf,
    remote: String,
    /// `remote.<name>.lfsurl` and `remote.<name>.lfspushurl`.
    addresses: Vec<(&'static str, String)>,
    /// `lfs.<url>.access`: git-lfs asks for credentials after a 401, but Bitbucket answers 403.
    access: Option<String>,
    /// `credential.<url>.helper`, for this endpoint only.
    credential: Option<String>,
    /// The configuration contains an address that the helper wrote for an earlier address of the remote.
    pub(crate) is_outdated: bool,
}

/// A repository, with its profile if that does not follow from the repository's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The repository's https URL.
    pub(crate) repository: Url,
    /// The profile.
    pub(crate) profile: Option<String>,
}

impl Place {
    /// Gives the LFS endpoint ("Git LFS Server Discovery").
    fn endpoint(&self) -> Url {
        let mut url = self.repository.clone();
        url.set_path(&format!("{}/info/lfs", self.repository.path()));
        url
    }

    /// Gives the endpoint as written in the configuration.
    fn address(&self) -> String {
        let mut url = self.endpoint();
        let user = match &self.profile {
            Some(profile) => format!("{USER}+{profile}"),
            None => USER.to_owned(),
        };
        // Only URLs without a host cannot have a user.
        let _ = url.set_username(&user);
        url.into()
    }
}

/// Gives the profile in the user name of an LFS address.
pub(crate) fn profile_of(user: &str) -> Option<&str> {
    user.strip_prefix(USER)?.strip_prefix('+')
}

/// Finds the missing settings of a remote; `None` if nothing is missing.
pub(crate) fn wiring(git: &GitConfig, remote: &str, down: &Place, up: &Place) -> Option<Wiring> {
    let wanted = git.last("bbtoken", None, "lfs");
    // The user's own address has priority.
    let mut own = ["url", "pushurl"].iter();
    let has_own = own.any(|key| git.last("lfs", None, key).is_some());
    if has_own || wanted.is_some_and(|wanted| !is_true(wanted)) {
        return None;
    }
    let file = git.file(git.last("remote", Some(remote), "url")?.scope)?;
    let addresses = addresses(git, remote, down, up)?;
    let is_there = |(key, _): &(&str, String)| git.last("remote", Some(remote), key).is_some();
    let endpoint = down.endpoint();
    let access = url_values(git, "lfs", "access", &endpoint);
    let wiring = Wiring {
        file: file.to_owned(),
        remote: remote.to_owned(),
        access: access.is_empty().then(|| site(&endpoint)),
        credential: (!is_answered(git, &endpoint)).then(|| endpoint.to_string()),
        is_outdated: addresses.iter().any(is_there),
        addresses,
    };
    let is_complete =
        wiring.addresses.is_empty() && wiring.access.is_none() && wiring.credential.is_none();
    (!is_complete && is_installed(git)).then_some(wiring)
}

/// Finds the missing and outdated addresses; `None` if the user has set one.
fn addresses(
    git: &GitConfig,
    remote: &str,
    down: &Place,
    up: &Place,
) -> Option<Vec<(&'static str, String)>> {
    let mut wanted = Vec::new();
    let there = |key: &str| {
        let entry = git.last("remote", Some(remote), key)?;
        Some(entry.value.as_deref().unwrap_or_default())
    };
    for (key, place) in [("lfsurl", down), ("lfspushurl", up)] {
        let address = place.address();
        match there(key) {
            Some(own) if !is_ours(own) => return None,
            Some(ours) if ours == address => {}
            None if key == "lfspushurl" && up == down => {}
            _ => wanted.push((key, address)),
        }
    }
    Some(wanted)
}

fn is_ours(address: &str) -> bool {
    let user = Url::parse(address).map(|url| url.username().to_owned());
    user.is_ok_and(|user| user == USER || profile_of(&user).is_some())
}

/// Tells whether git asks this helper for the credentials of a URL (gitcredentials(7): an empty helper clears the
/// list).
fn is_answered(git: &GitConfig, url: &Url) -> bool {
    let mut answered = false;
    for entry in url_values(git, "credential", "helper", url) {
        match entry.value.as_deref().unwrap_or_default() {
            "" => answered = false,
            helper => answered |= helper.contains("bbtoken"),
        }
    }
    answered
}

/// Tells whether this user has git-lfs: configured in git, or at least installed.
fn is_installed(git: &GitConfig) -> bool {
    let is_filter = ["process", "smudge"]
        .iter()
        .any(|key| git.last("filter", Some("lfs"), key).is_some());
    is_filter || !program::all("git-lfs").is_empty()
}

/// Tells whether a repository has files in LFS, without starting git. git-lfs has left its directory, or the attributes
/// at the top of the work tree name it; git runs its helpers there. `directory` is the git directory.
pub(crate) fn is_used(directory: &Path) -> bool {
    let names_it = |attributes: &Path| {
        let text = foreign::read(attributes, foreign::MAX_BYTES).unwrap_or_default();
        text.windows(FILTER.len()).any(|part| part == FILTER)
    };
    let tracked = Path::new(".gitattributes");
    // Git does not follow a link here (gitattributes(5), "NOTES").
    let is_file = || fs::symlink_metadata(tracked).is_ok_and(|found| found.is_file());
    directory.join("lfs").is_dir()
        || (is_file() && names_it(tracked))
        || names_it(&directory.join("info/attributes"))
}

/// Gives scheme, host and port, with a slash at the end.
fn site(url: &Url) -> String {
    let mut site = url.clone();
    site.set_path("");
    site.into()
}

impl Wiring {
    /// Gives the addresses that are missing, as settings.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (String, &str)> {
        self.addresses.iter().map(|(key, address)| {
            let setting = format!("remote.{}.{key}", self.remote);
            (setting, address.as_str())
        })
    }

    /// Writes the missing settings as git does: under git's lock, and the file as a whole. Owner, group and mode stay.
    ///
    /// Waits for another process's lock, at most for `patience`.
    ///
    /// # Errors
    ///
    /// If the file is locked, or cannot be read or written unchanged.
    pub(crate) fn write(&self, patience: Duration) -> anyhow::Result<()> {
        let shown = self.file.display();
        let read = || {
            let read = foreign::read(&self.file, foreign::MAX_BYTES);
            read.with_context(|| format!("cannot read '{shown}'"))
        };
        // While the lock is held, the user's own 'git config' fails. So do as much as possible before.
        let before = read()?;
        #[cfg(unix)]
        refuse_link_of_another_user(&self.file)?;
        let mut text = self.added(before.clone())?;
        // A lock file that stays would keep git from writing its own settings.
        let _held = signals::hold().context("cannot block signals")?;
        let resolve = Some(&resolve_symlink as _);
        let mode = match patience {
            Duration::ZERO => Fail::Immediately,
            patience => Fail::AfterDurationWithBackoff(patience),
        };
        let mut lock = gix::lock::File::acquire(&self.file, mode, None, 0, resolve)
            .with_context(|| format!("cannot lock '{shown}'"))?;
        let now = read()?;
        if now != before {
            text = self.added(now)?;
        }
        let old = fs::metadata(lock.resource_path());
        lock.with_mut(|file| {
            file.write_all(&text)?;
            take_after(file, &old?)
        })
        .with_context(|| format!("cannot write '{}'", lock.lock_path().display()))?;
        lock.commit()
            .map_err(|error| error.error)
            .with_context(|| format!("cannot replace '{shown}'"))?;
        Ok(())
    }

    fn added(&self, text: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let shown = self.file.display();
        let config = read(text).with_context(|| format!("cannot read '{shown}'"))?;
        self.added_to(config)
    }

    /// Adds the missing settings to a configuration. Everything else stays unchanged.
    fn added_to(&self, mut config: File) -> anyhow::Result<Vec<u8>> {
        let mut section = config.section_mut_or_create_new("remote", self.remote.as_str())?;
        for (key, address) in &self.addresses {
            set(&mut section, key, address)?;
        }
        if let Some(site) = &self.access {
            let mut section = config.section_mut_or_create_new("lfs", site.as_str())?;
            set(&mut section, "access", "basic")?;
        }
        if let Some(url) = &self.credential {
            let mut section = config.new_section("credential", url.as_str())?;
            section.push("helper", "")?;
            section.push("helper", HELPER)?;
            section.push("useHttpPath", "true")?;
        }
        Ok(config.to_bstring().into())
    }
}

/// Another user's link could lead to any file of this user.
#[cfg(unix)]
fn refuse_link_of_another_user(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let link = fs::symlink_metadata(file)?;
    let is_own = link.uid() == rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        is_own || !link.is_symlink(),
        "'{}' is a symbolic link of another user",
        file.display()
    );
    Ok(())
}

/// Copies owner, group and mode from the file that a new file replaces.
fn take_after(file: &OpenFile, old: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let new = file.metadata()?;
        let differs = |old: u32, new: u32| (old != new).then_some(old);
        let (user, group) = (differs(old.uid(), new.uid()), differs(old.gid(), new.gid()));
        if user.or(group).is_some() {
            fchown(file, user, group)?;
        }
    }
    file.set_permissions(old.permissions())
}

/// Sets a value. First removes a key without a value, because gix would append the value to the key's name.
fn set(section: &mut SectionMut<'_>, key: &str, value: &str) -> anyhow::Result<()> {
    while section.value_implicit(key) == Some(None) {
        section.remove(key);
    }
    section.set(key, value)?;
    Ok(())
}

fn read(mut text: Vec<u8>) -> anyhow::Result<File> {
    let is_open = |text: &[u8]| {
        let is_continued = text.ends_with(b"\\\n") || text.ends_with(b"\\\r\n");
        !text.is_empty() && (!text.ends_with(b"\n") || is_continued)
    };
    // If the last line has no line end, or continues, gix would append to its value.
    while is_open(&text) {
        text.push(b'\n');
    }
    Ok(File::from_bytes_no_includes(
        &text,
        Metadata::default(),
        Options::default(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git_config::settings;

    #[test]
    fn added_settings_change_no_other_setting() {
        let wiring = Wiring {
            file: PathBuf::new(),
            remote: "origin".into(),
            addresses: vec![("lfsurl", "https://bbtoken@h/ws/r/info/lfs".into())],
            access: Some("https://h/".into()),
            credential: Some("https://h/ws/r/info/lfs".into()),
            is_outdated: false,
        };
        let added = [
            ("remote.origin.lfsurl", "https://bbtoken@h/ws/r/info/lfs"),
            ("lfs.https://h/.access", "basic"),
            ("credential.https://h/ws/r/info/lfs.helper", ""),
            ("credential.https://h/ws/r/info/lfs.helper", HELPER),
            ("credential.https://h/ws/r/info/lfs.usehttppath", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        let kept = [
            "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = bbtoken::ws/r\n\tlfsurl = x ; y\n",
            "[Remote \"origin\"] url = a b # c\r\n\r\n[lfs \"https://h/\"]\r\n\taccess\r\n",
            "[remote.origin]\nurl = x\n[credential \"https://h/ws/r/info/lfs\"]\nhelper = !x \\\n y\n",
            "[credential \"https://h/ws/r/info/lfs\"]\nhelper = !x \\\n ",
            "[a]\nk = \\",
            "\u{feff}[a \"b\\\\\\\"\"]\nk = \"#\\t;\" z\n[lfs]k=v",
        ];
        let compared = std::cell::Cell::new(0);
        crate::inside::fuzz::check_text(&kept, |text| {
            let (Some(before), Ok(config)) = (settings(text), read(text.into())) else {
                return;
            };
            let after = wiring.added_to(config).expect("its names are allowed");
            let after = settings(&String::from_utf8_lossy(&after)).expect("git reads it, too");
            let is_of_others = |(name, _): &&(String, _)| added.iter().all(|(own, _)| own != name);
            assert!(
                before
                    .iter()
                    .filter(is_of_others)
                    .eq(after.iter().filter(is_of_others)),
                "{before:?} became {after:?}"
            );
            for (name, value) in &added[..2] {
                let found = after.iter().rfind(|(found, _)| found == name);
                assert_eq!(found.map(|(_, value)| value), Some(value), "{name}");
            }
            assert!(after.windows(3).any(|three| three == &added[2..]));
            compared.set(compared.get() + 1);
        });
        assert!(compared.get() > 500, "{}", compared.get());
    }
}
