//! Secrets in files: 0600 in a directory of the user's own, 0700, and refused when anybody else could read them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{RESERVE_BYTES, Store, unusable};
use crate::{secret::Secret, token::files};

/// The file format's version: another one is not read.
const VERSION: u64 = 1;

/// A directory of secrets.
///
/// A secret is written to `<key>.next`, whose space was made sure of before, and then takes the place of
/// `<key>.json`. Where that last step fails, `<key>.next` is read as well, and the later of the two counts.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
}

struct Record {
    secret: Secret,
    /// Counts the writes, so that the later record is known.
    generation: u64,
}

impl FileStore {
    /// Uses a directory, which is made when something is written.
    pub fn at(directory: PathBuf) -> Self {
        FileStore { directory }
    }

    fn current(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    fn next(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.next"))
    }

    fn latest(&self, key: &str) -> anyhow::Result<Option<Record>> {
        let next = read(&self.next(key))?.and_then(|text| parse(&text));
        let current = match read(&self.current(key))? {
            None => None,
            Some(text) => match parse(&text) {
                Some(record) => Some(record),
                None if next.is_some() => None,
                None => {
                    return Err(unusable(format!(
                        "'{}' is damaged; it was left as it is",
                        self.current(key).display()
                    ))
                    .into());
                }
            },
        };
        Ok([current, next]
            .into_iter()
            .flatten()
            .max_by_key(|record| record.generation))
    }

    /// Opens the file that becomes the next record, with its space kept.
    fn open_next(&self, key: &str) -> io::Result<File> {
        files::make_private_directory(&self.directory)?;
        files::private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(self.next(key))
    }
}

impl Store for FileStore {
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>> {
        Ok(self.latest(key)?.map(|record| record.secret))
    }

    fn reserve(&self, key: &str) -> anyhow::Result<()> {
        let path = self.next(key);
        // A record that could not take its place yet must not be overwritten by the space for another one.
        if read(&path)?.and_then(|text| parse(&text)).is_some() {
            fs::rename(&path, self.current(key)).with_context(|| {
                unusable(format!("cannot replace '{}'", self.current(key).display()))
            })?;
        }
        let reserve = || -> io::Result<()> {
            let mut file = self.open_next(key)?;
            file.write_all(&[b' '; RESERVE_BYTES])?;
            file.sync_all()
        };
        reserve().with_context(|| {
            unusable(format!(
                "cannot make room for a secret in '{}'",
                path.display()
            ))
        })
    }

    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()> {
        let generation = self
            .latest(key)
            .ok()
            .flatten()
            .map_or(0, |record| record.generation + 1);
        let record =
            json!({ "version": VERSION, "generation": generation, "secret": secret.expose() });
        let text = Secret::new(record.to_string());
        let path = self.next(key);
        let write = || -> io::Result<()> {
            let mut file = self.open_next(key)?;
            file.write_all(text.expose().as_bytes())?;
            file.set_len(text.expose().len() as u64)?;
            file.sync_all()
        };
        write().with_context(|| unusable(format!("cannot write '{}'", path.display())))?;
        // From here on the record is safe: a reader takes the later one, wherever it stands.
        if fs::rename(&path, self.current(key)).is_ok() {
            files::sync_directory(&self.directory);
        }
        Ok(())
    }

    fn forget(&self, key: &str) -> anyhow::Result<()> {
        for path in [self.next(key), self.current(key)] {
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

    #[test]
    fn a_record_that_could_not_take_its_place_counts_and_is_not_overwritten() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("one"))
            .expect("it can be written");
        // What a failing rename leaves: the later record beside the earlier one.
        let earlier = fs::read(store.current("k")).expect("it is there");
        store
            .save("k", &Secret::new("two"))
            .expect("it can be written");
        fs::rename(store.current("k"), store.next("k")).expect("it is ours");
        fs::write(store.current("k"), earlier).expect("it is ours");
        files::tests::make_private(&store.current("k"));
        assert_eq!(loaded(&store).as_deref(), Some("two"));
        store.reserve("k").expect("there is room");
        assert_eq!(loaded(&store).as_deref(), Some("two"));
    }

    #[test]
    fn a_write_that_was_cut_leaves_the_earlier_secret() {
        let (_directory, store) = store();
        store
            .save("k", &Secret::new("one"))
            .expect("it can be written");
        store.reserve("k").expect("there is room");
        fs::write(store.next("k"), r#"{"version":1,"secr"#).expect("it is ours");
        assert_eq!(loaded(&store).as_deref(), Some("one"));
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
}
