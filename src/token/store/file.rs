//! The file store: files with mode 0600 in the user's own directory with mode 0700. It refuses files that other users
//! can read.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::{Deserialize, Serialize};

use super::interface::{RESERVE_BYTES, Store, unusable};
use crate::{
    failure::{Failure, Kind, shell_command},
    files::{self, Directory, MAX_FILE_BYTES},
    secret::Secret,
    token::{disk::of_disk, format},
};

/// A directory of secrets.
///
/// A secret is written to `<key>.<random>.next`, whose space is reserved before, and then renamed to `<key>.json`. If
/// the rename fails, readers also read the `.next` file, and the latest record counts. Each process writes to its own
/// file, so processes cannot damage each other's secrets even on file systems without locks.
#[derive(Debug)]
pub(crate) struct FileStore {
    path: PathBuf,
    /// The profile that hints name.
    profile: String,
    room: RefCell<Option<Room>>,
    /// The directories that were created for it and are otherwise empty, the innermost first.
    made: RefCell<Vec<PathBuf>>,
}

/// The reserved space for a secret.
#[derive(Debug)]
struct Room {
    key: String,
    /// The secret goes to this directory, even if its path leads elsewhere by then.
    directory: Rc<Directory>,
    /// The name of the file.
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(serialize_with = "format::expose")]
    secret: Secret,
    /// A write counter that identifies the later record.
    generation: u64,
}

impl FileStore {
    /// Uses a directory, which the first write creates.
    pub(crate) fn at(directory: PathBuf, profile: &str) -> Self {
        FileStore {
            path: directory,
            profile: profile.to_owned(),
            room: RefCell::default(),
            made: RefCell::default(),
        }
    }

    /// Opens the directory; `None` if there is none.
    fn directory(&self) -> anyhow::Result<Option<Rc<Directory>>> {
        if let Some(room) = &*self.room.borrow() {
            return Ok(Some(Rc::clone(&room.directory)));
        }
        match Directory::open(&self.path) {
            Ok(directory) => Ok(Some(Rc::new(directory))),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    fn latest(&self, key: &str) -> anyhow::Result<Option<Record>> {
        let Some(directory) = self.directory()? else {
            return Ok(None);
        };
        // First those beside it: another process may rename one of them meanwhile.
        let beside = self.beside(&directory, key)?;
        let name = current(key);
        let text = read(&directory, &name, &self.profile)?;
        let latest = (text.as_ref().and_then(parse).into_iter())
            .chain(beside.into_iter().filter_map(|(_, record)| record))
            .max_by_key(|record| record.generation);
        if text.is_some() && latest.is_none() {
            let path = directory.path_of(&name);
            return Err(unusable(format!(
                "'{}' is damaged; the helper did not change it",
                path.display()
            ))
            .into());
        }
        Ok(latest)
    }

    /// Removes every secret, and the names of the accounts. Tells whether there was a secret.
    pub(super) fn forget_rest(&self) -> anyhow::Result<bool> {
        let names = Directory::claim(&self.path).and_then(|directory| {
            let names = directory.names()?;
            let mut owners = names.iter().filter(|name| name.ends_with(".owner"));
            owners.try_for_each(|name| directory.remove(name))?;
            Ok(names)
        });
        let names = match names {
            Err(error) if files::is_absent(&error) => return Ok(false),
            names => names.map_err(|error| self.failed("empty", error))?,
        };
        let is_secret = |name: &&String| name.ends_with(".json") || name.ends_with(".next");
        let keys = names.iter().filter(is_secret);
        let keys: BTreeSet<_> = keys.filter_map(|name| name.split('.').next()).collect();
        keys.into_iter()
            .try_fold(false, |found, key| Ok(self.forget(key)? || found))
    }

    /// Creates the directory and a new file with space for a secret.
    fn make_room(&self, key: &str) -> io::Result<Room> {
        let ancestors = self.path.ancestors();
        let missing = ancestors.take_while(|directory| !directory.exists());
        let missing: Vec<_> = missing.map(Path::to_owned).collect();
        if !missing.is_empty() {
            self.made.replace(missing);
        }
        let directory = Rc::new(Directory::make(&self.path)?);
        let place = directory.path_of(&current(key));
        if fs::symlink_metadata(&place).is_ok_and(|it| it.is_dir()) {
            let why = format!("'{}' is a directory: remove it", place.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, why));
        }
        let name = files::beside(key, "next")?;
        fill(&directory, &name)?;
        Ok(Room {
            key: key.to_owned(),
            directory,
            name,
        })
    }

    /// Finds the files that were not renamed, with their content.
    fn beside(
        &self,
        directory: &Directory,
        key: &str,
    ) -> anyhow::Result<Vec<(String, Option<Record>)>> {
        let names = directory.all_beside(key, "next");
        let names = names.map_err(|error| self.failed("read", error))?;
        let read = |name: String| {
            let record = read(directory, &name, &self.profile)?.and_then(|text| parse(&text));
            Ok((name, record))
        };
        names.into_iter().map(read).collect()
    }

    /// Removes files that are not later than the current record: earlier records, and space that a killed process
    /// reserved. A process that still needs its space reserves it again.
    fn clean(&self, directory: &Directory, key: &str, generation: Option<u64>) {
        for (name, record) in self.beside(directory, key).unwrap_or_default() {
            if record.map(|record| record.generation) < generation {
                let _ = directory.remove(&name);
            }
        }
    }

    fn failed(&self, doing: &str, error: io::Error) -> anyhow::Error {
        of_disk(error, format!("cannot {doing} '{}'", self.path.display()))
    }

    /// Removes the directories that were created and are still empty.
    fn remove_made(&self) {
        for directory in self.made.take() {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

impl Store for FileStore {
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>> {
        Ok(self.latest(key)?.map(|record| record.secret))
    }

    fn reserve(&self, key: &str) -> anyhow::Result<()> {
        self.release(key);
        let room = self
            .make_room(key)
            .or_else(|error| match error.kind() {
                // Another process has removed the directory that it had created.
                io::ErrorKind::NotFound => self.make_room(key),
                _ => Err(error),
            })
            .inspect_err(|_| self.remove_made())
            .map_err(|error| self.failed("reserve space for a secret in", error))?;
        self.room.replace(Some(room));
        Ok(())
    }

    fn release(&self, key: &str) {
        if let Ok(Some(directory)) = self.directory() {
            if let Some(room) = self.room.take() {
                let _ = directory.remove(&room.name);
            }
            self.clean(&directory, key, Some(0));
        }
        self.remove_made();
    }

    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()> {
        let is_its = |room: &Room| room.key == key;
        if !self.room.borrow().as_ref().is_some_and(is_its) {
            self.reserve(key)?;
        }
        let latest = self.latest(key).ok().flatten();
        let generation = latest.map_or(0, |record| record.generation + 1);
        let record = format::render(&Record {
            secret: secret.clone(),
            generation,
        });
        let text = Secret::new(record.to_string());
        let Room {
            directory, name, ..
        } = (self.room.take()).expect("because it was just reserved");
        let outcome = loop {
            match write(&directory, &name, &current(key), &text) {
                // Another process removed it as unused space, between two steps.
                Ok(false) => {}
                outcome => break outcome,
            }
        };
        if let Err(error) = outcome {
            let _ = directory.remove(&name);
            let path = self.path.join(&name);
            let message = format!("cannot write '{}'", path.display());
            return Err(of_disk(error, message));
        }
        self.clean(&directory, key, Some(generation));
        Ok(())
    }

    fn forget(&self, key: &str) -> anyhow::Result<bool> {
        self.release(key);
        let cannot = |name: &str, error| {
            let path = self.path.join(name);
            of_disk(error, format!("cannot remove '{}'", path.display()))
        };
        let directory = match Directory::claim(&self.path) {
            Ok(directory) => directory,
            Err(error) if files::is_absent(&error) => return Ok(false),
            Err(error) => return Err(cannot("", error)),
        };
        let beside = directory.all_beside(key, "next").unwrap_or_default();
        let mut was_there = false;
        // Remove the latest last, so that an interrupted removal does not bring back an earlier secret.
        for name in [current(key)].into_iter().chain(beside) {
            match directory.remove(&name) {
                Ok(()) => was_there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot(&name, error)),
            }
        }
        Ok(was_there)
    }
}

fn current(key: &str) -> String {
    format!("{key}.json")
}

/// Writes a new file with space for a secret.
fn fill(directory: &Directory, name: &str) -> io::Result<()> {
    let mut file = directory.create(name)?;
    let written = file
        .write_all(&[b' '; RESERVE_BYTES])
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = directory.remove(name);
    }
    written?;
    directory.sync();
    Ok(())
}

/// Writes a record to its file. True if the rename succeeded.
fn write(directory: &Directory, name: &str, current: &str, text: &Secret) -> io::Result<bool> {
    let mut file = directory.open_or_create(name)?;
    file.write_all(text.expose().as_bytes())?;
    file.set_len(text.expose().len() as u64)?;
    file.sync_all()?;
    let has_moved = directory.rename(name, current).is_ok();
    directory.sync();
    Ok(has_moved || directory.has(name))
}

/// Reads a file that only the user can read; `None` if there is none. Hints name the profile.
fn read(directory: &Directory, name: &str, profile: &str) -> anyhow::Result<Option<Secret>> {
    match directory.read(name, MAX_FILE_BYTES) {
        // A file that is not text is damaged.
        Ok(text) => Ok(Some(Secret::new(
            String::from_utf8(text).unwrap_or_default(),
        ))),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(error) => {
            let path = directory.path_of(name);
            let remedy = files::untrusted(&error).map(|untrusted| {
                let logout = shell_command(&["git", "bbtoken", "logout", profile]);
                format!(
                    "if another user may have read it, run '{}' and log in again; otherwise {}",
                    logout.unwrap_or_else(|| "git bbtoken logout".to_owned()),
                    untrusted.remedy
                )
            });
            let kind = remedy.map_or(Kind::StoreUnusable, |remedy| Kind::StoreExposed { remedy });
            let failure = Failure::new(kind, format!("cannot read '{}'", path.display()));
            Err(anyhow::Error::from(error).context(failure))
        }
    }
}

fn parse(text: &Secret) -> Option<Record> {
    format::parse(text).filter(|record: &Record| !record.secret.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, FileStore) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = FileStore::at(directory.path().join("state"), "work");
        (directory, store)
    }

    #[test]
    fn reserved_space_is_for_one_key() {
        let (directory, store) = store();
        store.reserve("other").expect("there is space");
        let in_the_way = directory.path().join("state/k.json");
        fs::create_dir(in_the_way).expect("the name is free");
        assert!(store.save("k", &Secret::new("one")).is_err());
        assert_eq!(store.load("other").expect("it can be read"), None);
    }

    fn loaded(store: &FileStore) -> Option<String> {
        store
            .load("k")
            .expect("it can be read")
            .map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_last_secret_saved_is_loaded_and_a_forgotten_one_is_gone() {
        let (_directory, store) = store();
        assert_eq!(loaded(&store), None);
        for secret in ["one", "two", &"x".repeat(30_000)] {
            store.reserve("k").expect("there is room");
            assert_ne!(loaded(&store), Some(secret.to_owned()));
            store
                .save("k", &Secret::new(secret))
                .expect("it can be written");
            assert_eq!(loaded(&store).as_deref(), Some(secret));
        }
        store.forget("k").expect("it can be removed");
        assert_eq!(loaded(&store), None);
    }

    fn count_beside(store: &FileStore) -> usize {
        let directory = Directory::open(&store.path).expect("it is there");
        let beside = store.beside(&directory, "k").expect("it can be read");
        beside.len()
    }

    /// The state after a failed rename: the later record beside the earlier one.
    fn save_beside(store: &FileStore, secret: &str) {
        let current = store.path.join("k.json");
        let earlier = fs::read(&current).expect("it is there");
        store
            .save("k", &Secret::new(secret))
            .expect("it can be written");
        let beside = files::beside("k", "next").expect("there is chance");
        fs::rename(&current, store.path.join(beside)).expect("it is ours");
        files::tests::write_private(&current, earlier);
    }

    #[test]
    fn a_record_whose_rename_failed_counts_until_there_is_a_later_one() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("one"))
            .expect("it can be written");
        for secret in ["two", "three"] {
            save_beside(&store, secret);
            assert_eq!(loaded(&store).as_deref(), Some(secret));
            store.reserve("k").expect("there is room");
            assert_eq!(loaded(&store).as_deref(), Some(secret));
        }
        store
            .save("k", &Secret::new("four"))
            .expect("it can be written");
        assert_eq!(loaded(&store).as_deref(), Some("four"));
        assert_eq!(count_beside(&store), 0);
    }

    #[test]
    fn an_interrupted_write_leaves_the_earlier_secret() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("one"))
            .expect("it can be written");
        store.reserve("k").expect("there is room");
        let name = store.room.borrow().as_ref().map(|room| room.name.clone());
        let room = store.path.join(name.expect("it is reserved"));
        fs::write(room, r#"{"version":1,"secr"#).expect("it is ours");
        assert_eq!(loaded(&store).as_deref(), Some("one"));
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_goes_to_its_reserved_directory_even_if_the_path_leads_elsewhere() {
        let (directory, store) = store();
        store.reserve("k").expect("there is room");
        let moved = directory.path().join("moved");
        fs::rename(&store.path, &moved).expect("it is ours");
        std::os::unix::fs::symlink("/tmp", &store.path).expect("the name is free");
        store
            .save("k", &Secret::new("canary"))
            .expect("it can be written");
        assert_eq!(
            loaded(&FileStore::at(moved, "work")).as_deref(),
            Some("canary"),
            "the directory that was checked holds the secret"
        );
    }

    #[test]
    fn two_processes_without_a_lock_do_not_damage_each_others_secrets() {
        let (_directory, one) = store();
        let other = FileStore::at(one.path.clone(), "work");
        one.save("k", &Secret::new("zero"))
            .expect("it can be written");
        one.reserve("k").expect("there is room");
        other.reserve("k").expect("there is room");
        one.save("k", &Secret::new("one"))
            .expect("it can be written");
        other.reserve("k").expect("there is room");
        one.reserve("k").expect("there is room");
        assert_eq!(count_beside(&other), 1);
        assert_eq!(loaded(&one).as_deref(), Some("one"));
        other
            .save("k", &Secret::new("other"))
            .expect("it can be written");
        assert_eq!(loaded(&one).as_deref(), Some("other"));
        other.reserve("k").expect("there is room");
        other.release("k");
        one.release("k");
        assert_eq!(count_beside(&one), 0);
    }

    /// A process must not mistake the record that another one has just written for unused space, and remove it.
    #[cfg(unix)]
    #[test]
    fn processes_without_a_lock_never_leave_the_store_without_a_secret() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("zero"))
            .expect("it can be written");
        let write = |path| {
            let own = FileStore::at(path, "work");
            for number in 0..150_u8 {
                own.reserve("k").expect("there is room");
                own.save("k", &Secret::new(number.to_string()))
                    .expect("it can be written");
                assert!(loaded(&own).is_some(), "after save {number}");
            }
        };
        std::thread::scope(|scope| {
            let start = |_| {
                let path = store.path.clone();
                scope.spawn(move || write(path))
            };
            let writers: Vec<_> = (0..4).map(start).collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                assert!(loaded(&store).is_some(), "a reader finds one at any time");
            }
        });
        assert_eq!(loaded(&store).as_deref(), Some("149"));
        assert_eq!(count_beside(&store), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("canary"))
            .expect("it can be written");
        for (path, mode) in [
            (store.path.join("k.json"), 0o640),
            (store.path.clone(), 0o755),
        ] {
            let before = fs::metadata(&path).expect("it is there").permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            let message = format!(
                "{:#}",
                store.load("k").map(drop).expect_err("others can read it")
            );
            assert!(
                message.contains("is not used") && !message.contains("canary"),
                "{message}"
            );
            fs::set_permissions(&path, before).expect("it is ours");
        }
        assert!(store.load("k").is_ok());
    }

    #[test]
    fn any_file_is_a_secret_or_damaged_and_is_never_shown() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("canary"))
            .expect("it can be written");
        let current = store.path.join("k.json");
        let real = fs::read(&current).expect("it was just written");
        crate::inside::fuzz::check_on_disk(&[&real], |input| {
            fs::write(&current, input).expect("it is ours");
            match store.load("k") {
                Ok(secret) => assert!(secret.is_some_and(|secret| !secret.is_empty())),
                Err(error) => assert!(!format!("{error:#}").contains("canary"), "{error:#}"),
            }
        });
    }
}
