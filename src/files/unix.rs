//! A directory as an open descriptor.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, fsync},
    process::geteuid,
};

use super::{
    access::Access,
    refusal::{OWN_HOME, refuse, refuse_owner},
};

/// The permission bits that let others write, and all permission bits of others.
const CHANGED_BY_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);
const USED_BY_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

#[derive(Debug)]
pub(super) struct Handle(OwnedFd);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(Handle).map_err(|error| match is_link(path) {
            // The error for a link differs between systems.
            true => refuse_link(path),
            false => error.into(),
        })
    }

    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        check_mode(path, self.owned(path)?, "700")
    }

    pub(super) fn close_to_others(&self, path: &Path) -> io::Result<()> {
        let mode = self.owned(path)?;
        if mode.intersects(USED_BY_OTHERS) && !mode.intersects(CHANGED_BY_OTHERS) {
            fchmod(&self.0, Mode::RWXU)?;
            return self.check(path);
        }
        check_mode(path, mode, "700")
    }

    /// Gives the mode of a directory, which must belong to this user.
    fn owned(&self, path: &Path) -> io::Result<Mode> {
        let stat = fstat(&self.0)?;
        check_owner(path, stat.st_uid)?;
        Ok(Mode::from_raw_mode(stat.st_mode))
    }

    /// Refuses to create a directory below one in which another user could replace it.
    pub(super) fn check_above(path: &Path) -> io::Result<()> {
        for place in path.ancestors() {
            let entry = rustix::fs::lstat(place)?;
            let is_link = FileType::from_raw_mode(entry.st_mode) == FileType::Symlink;
            if is_link && !is_trusted(entry.st_uid) {
                let why = format!(
                    "it is a symbolic link that belongs to {}",
                    name_of(entry.st_uid)
                );
                return Err(refuse(place, why, OWN_HOME.to_owned()));
            }
        }
        // A directory that all users can write to is allowed, such as Kubernetes' emptyDir. The new one is checked when
        // open.
        let owner = rustix::fs::stat(path)?.st_uid;
        match is_trusted(owner) {
            true => Ok(()),
            false => Err(refuse_owner(path, &name_of(owner))),
        }
    }

    pub(super) fn file(&self, directory: &Path, name: &str, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::New => OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Access::Keep => OFlags::RDWR | OFlags::CREATE,
        };
        let safe = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.0, name, flags | safe, mode);
        let path = || directory.join(name);
        let file = File::from(file.map_err(|error| match error {
            rustix::io::Errno::LOOP => refuse_link(&path()),
            error => error.into(),
        })?);
        match access {
            Access::Read => check_own_file(&file, &path())?,
            // The content is replaced, or only names the holder of a lock.
            Access::Keep => {
                let mode = check_only_name(&file, &path())?;
                if mode.intersects(USED_BY_OTHERS) {
                    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
                }
            }
            Access::New => {}
        }
        Ok(file)
    }

    pub(super) fn rename(&self, _directory: &Path, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    pub(super) fn remove(&self, _directory: &Path, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    pub(super) fn modified(&self, _directory: &Path, name: &str) -> io::Result<SystemTime> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    pub(super) fn sync(&self) {
        // Some file systems cannot sync directories.
        let _ = fsync(&self.0);
    }

    pub(super) fn names(&self, _directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            // This program's file names are text.
            let name = entry.file_name().to_str().ok();
            let name = name.filter(|name| ![".", ".."].contains(name));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }
}

/// Opens an existing file to read and write it, without blocking on a pipe and without following a link.
///
/// # Errors
///
/// If the file system refuses.
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Checks an open file before reading or writing a secret.
///
/// # Errors
///
/// [`Untrusted`](super::refusal::Untrusted) if another user owns it or has access to it, or if it has a second hard
/// link.
pub(crate) fn check_own_file(file: &File, path: &Path) -> io::Result<()> {
    let mode = check_only_name(file, path)?;
    check_mode(path, mode, "600")
}

/// Gives the mode of a regular file, which must belong to this user and have one hard link.
fn check_only_name(file: &File, path: &Path) -> io::Result<Mode> {
    let stat: Stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("'{}' is not a regular file", path.display()),
        ));
    }
    if stat.st_uid != geteuid().as_raw() {
        let why = format!("it belongs to {}", name_of(stat.st_uid));
        return Err(refuse(path, why, command("rm", path)));
    }
    // No link: it was replaced after it was opened.
    if stat.st_nlink > 1 {
        let why = "it has more than one hard link";
        return Err(refuse(path, why, command("rm", path)));
    }
    Ok(Mode::from_raw_mode(stat.st_mode))
}

/// Tells whether a user is the current user or root.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

fn check_owner(path: &Path, owner: u32) -> io::Result<()> {
    match owner == geteuid().as_raw() {
        true => Ok(()),
        false => Err(refuse_owner(path, &name_of(owner))),
    }
}

fn check_mode(path: &Path, mode: Mode, right: &str) -> io::Result<()> {
    let why = match mode {
        mode if mode.intersects(CHANGED_BY_OTHERS) => "other users may change it",
        mode if mode.intersects(USED_BY_OTHERS) => "other users may read it",
        _ => return Ok(()),
    };
    Err(refuse(path, why, command(&format!("chmod {right}"), path)))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn refuse_link(path: &Path) -> io::Error {
    refuse(path, "it is a symbolic link", command("rm", path))
}

/// Formats a shell command.
fn command(words: &str, path: &Path) -> String {
    format!(
        "run: {words} {}",
        shell_words::quote(&path.to_string_lossy())
    )
}

/// Names a user by login name, or by number.
fn name_of(user: u32) -> String {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = user.to_string();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&number)).then_some(name)
    });
    match name {
        Some(name) => format!("user '{name}'"),
        None => format!("user {number}"),
    }
}
