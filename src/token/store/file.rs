//! Secrets in files: 0600 in a directory of the user's own, 0700, and refused when anybody else could read them.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{RESERVE_BYTES, Store, unusable};
use crate::{files, secret::Secret};

/// The file format's version: another one is not read.
const VERSION: u64 = 1;

/// A directory of secrets.
///
/// A secret is written to `<key>.<chance>.next`, whose space was made sure of before, and then takes the place of
/// `<key>.json`. Where that last step fails, the file beside is read as well, and the latest of them counts. No two
/// processes write to the same file, so that they cannot damage each other's even where locks do not work.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
    reserved: RefCell<HashMap<String, PathBuf>>,
    /// The directories that were made for it and hold nothing else yet, the innermost first.
    made: RefCell<Vec<PathBuf>>,
}

struct Record {
    secret: Secret,
    /// Counts the writes, so that the later record is known.
    generation: u64,
}

impl FileStore {
    /// Uses a directory, which is made when something is written.
    pub fn at(directory: PathBuf) -> Self {
        FileStore {
            directory,
            reserved: RefCell::default(),
            made: RefCell::default(),
        }
    }

    fn current(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    /// Finds the files that did not take their place, with what is in them.
    fn beside(&self, key: &str) -> anyhow::Result<Vec<(PathBuf, Option<Record>)>> {
        let current = self.current(key);
        let paths = files::all_beside(&current, "next")
            .with_context(|| unusable(format!("cannot read '{}'", self.directory.display())))?;
        let read = |path: PathBuf| {
            let record = read(&path)?.and_then(|text| parse(&text));
            Ok((path, record))
        };
        paths.into_iter().map(read).collect()
    }

    fn latest(&self, key: &str) -> anyhow::Result<Option<Record>> {
        let beside = self.beside(key)?.into_iter();
        let beside = beside
            .filter_map(|(_, record)| record)
            .max_by_key(|record| record.generation);
        let current = match read(&self.current(key))? {
            None => None,
            Some(text) => match parse(&text) {
                Some(record) => Some(record),
                None if beside.is_some() => None,
                None => {
                    return Err(unusable(format!(
                        "'{}' is damaged; it was left as it is",
                        self.current(key).display()
                    ))
                    .into());
                }
            },
        };
        Ok([current, beside]
            .into_iter()
            .flatten()
            .max_by_key(|record| record.generation))
    }

    /// Makes the directory and, in it, a new file with room for a secret.
    fn make_place(&self, key: &str) -> io::Result<PathBuf> {
        let ancestors = self.directory.ancestors();
        let missing = ancestors.take_while(|directory| !directory.exists());
        let missing: Vec<_> = missing.map(Path::to_owned).collect();
        if !missing.is_empty() {
            self.made.replace(missing);
        }
        files::make_private_directory(&self.directory)?;
        let path = files::beside(&self.current(key), "next")?;
        self.make_room(&path).map(|()| path)
    }

    /// Removes the directories again that were made and in which nothing has come to be.
    fn remove_made(&self) {
        for directory in self.made.take() {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }

    /// Writes a new file with room for a secret.
    fn make_room(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = files::private(options.create_new(true).write(true)).open(path)?;
        let written = file
            .write_all(&[b' '; RESERVE_BYTES])
            .and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written?;
        files::sync_directory(&self.directory);
        Ok(())
    }

    /// Removes what is beside the current record and not later than it: earlier ones, and room that a killed process
    /// has left. If another process still meant to use it, that makes it again.
    fn clean(&self, key: &str, generation: Option<u64>) {
        for (path, record) in self.beside(key).unwrap_or_default() {
            if record.map(|record| record.generation) < generation {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Writes a record to its file; true once it is where a reader finds it.
    fn write(&self, path: &Path, current: &Path, text: &Secret) -> io::Result<bool> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let mut file = files::private(&mut options).open(path)?;
        file.write_all(text.expose().as_bytes())?;
        file.set_len(text.expose().len() as u64)?;
        file.sync_all()?;
        let has_moved = fs::rename(path, current).is_ok();
        files::sync_directory(&self.directory);
        Ok(has_moved || path.exists())
    }
}

impl Store for FileStore {
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>> {
        Ok(self.latest(key)?.map(|record| record.secret))
    }

    fn reserve(&self, key: &str) -> anyhow::Result<()> {
        self.release(key);
        let path = self
            .make_place(key)
            .or_else(|error| match error.kind() {
                // Another process has taken away the directory that it had made.
                io::ErrorKind::NotFound => self.make_place(key),
                _ => Err(error),
            })
            .inspect_err(|_| self.remove_made())
            .with_context(|| {
                let place = self.directory.display();
                unusable(format!("cannot make room for a secret in '{place}'"))
            })?;
        self.reserved.borrow_mut().insert(key.to_owned(), path);
        Ok(())
    }

    fn release(&self, key: &str) {
        if let Some(path) = self.reserved.borrow_mut().remove(key) {
            let _ = fs::remove_file(path);
        }
        self.clean(key, Some(0));
        self.remove_made();
    }

    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()> {
        if !self.reserved.borrow().contains_key(key) {
            self.reserve(key)?;
        }
        let path = self.reserved.borrow_mut().remove(key).unwrap_or_default();
        let latest = self.latest(key).ok().flatten();
        let generation = latest.map_or(0, |record| record.generation + 1);
        let record =
            json!({ "version": VERSION, "generation": generation, "secret": secret.expose() });
        let text = Secret::new(record.to_string());
        let current = self.current(key);
        let outcome = loop {
            match self.write(&path, &current, &text) {
                // Another process took it for room that nobody uses, between two of our steps.
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = outcome {
            let _ = fs::remove_file(&path);
            return Err(error)
                .with_context(|| unusable(format!("cannot write '{}'", path.display())));
        }
        self.clean(key, Some(generation));
        Ok(())
    }

    fn forget(&self, key: &str) -> anyhow::Result<()> {
        self.release(key);
        let beside = files::all_beside(&self.current(key), "next").unwrap_or_default();
        // The latest last: what is left of a half-done removal is no earlier secret.
        for path in [self.current(key)].into_iter().chain(beside) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error)
                        .context(unusable(format!("cannot remove '{}'", path.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads a file that nobody else can read; `None` if there is none.
fn read(path: &Path) -> anyhow::Result<Option<Secret>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).context(unusable(format!("cannot read '{}'", path.display())));
        }
    };
    let directory = path.parent().unwrap_or(path);
    for place in [directory, path] {
        if let Some(why) = files::exposure(place) {
            return Err(unusable(format!(
                "'{}' is not used, because {why}; whoever could read it may have the login: log out and in again, or make it yours alone",
                place.display()
            ))
            .into());
        }
    }
    Ok(Some(text))
}

fn parse(text: &Secret) -> Option<Record> {
    let value: Value = serde_json::from_str(text.expose()).ok()?;
    let is_ours = value.get("version")?.as_u64()? == VERSION;
    let secret = Secret::new(value.get("secret")?.as_str()?);
    (is_ours && !secret.is_empty()).then_some(Record {
        secret,
        generation: value.get("generation")?.as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, FileStore) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = FileStore::at(directory.path().join("state"));
        (directory, store)
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

    /// What a rename that fails leaves: the later record beside the earlier one.
    fn save_beside(store: &FileStore, secret: &str) {
        let earlier = fs::read(store.current("k")).expect("it is there");
        store
            .save("k", &Secret::new(secret))
            .expect("it can be written");
        let beside = files::beside(&store.current("k"), "next").expect("there is chance");
        fs::rename(store.current("k"), beside).expect("it is ours");
        fs::write(store.current("k"), earlier).expect("it is ours");
        files::tests::make_private(&store.current("k"));
    }

    #[test]
    fn a_record_that_could_not_take_its_place_counts_until_there_is_a_later_one() {
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
        assert!(store.beside("k").expect("it can be read").is_empty());
    }

    #[test]
    fn a_write_that_was_cut_leaves_the_earlier_secret() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("one"))
            .expect("it can be written");
        store.reserve("k").expect("there is room");
        let room = store.reserved.borrow()["k"].clone();
        fs::write(room, r#"{"version":1,"secr"#).expect("it is ours");
        assert_eq!(loaded(&store).as_deref(), Some("one"));
    }

    #[test]
    fn two_processes_without_a_lock_do_not_damage_each_others_secrets() {
        let (_directory, one) = store();
        let other = FileStore::at(one.directory.clone());
        one.save("k", &Secret::new("zero"))
            .expect("it can be written");
        one.reserve("k").expect("there is room");
        other.reserve("k").expect("there is room");
        one.save("k", &Secret::new("one"))
            .expect("it can be written");
        other.reserve("k").expect("there is room");
        one.reserve("k").expect("there is room");
        assert_eq!(other.beside("k").expect("it can be read").len(), 1);
        assert_eq!(loaded(&one).as_deref(), Some("one"));
        other
            .save("k", &Secret::new("other"))
            .expect("it can be written");
        assert_eq!(loaded(&one).as_deref(), Some("other"));
        other.reserve("k").expect("there is room");
        other.release("k");
        one.release("k");
        assert!(one.beside("k").expect("it can be read").is_empty());
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
            (store.current("k"), 0o640),
            (store.directory.clone(), 0o755),
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
    fn whatever_is_in_a_file_is_a_secret_or_damaged_and_never_shown() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("canary"))
            .expect("it can be written");
        let current = store.current("k");
        let real = fs::read(&current).expect("it was just written");
        crate::fuzz::check_on_disk(&[&real], |input| {
            fs::write(&current, input).expect("it is ours");
            match store.load("k") {
                Ok(secret) => assert!(secret.is_some_and(|secret| !secret.is_empty())),
                Err(error) => assert!(!format!("{error:#}").contains("canary"), "{error:#}"),
            }
        });
    }
}
