//! Saves advertisements on disk: one file for each repository and account, readable by the user only.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Identity, places::places};
use crate::{
    clock::Clock,
    files::Directory,
    git_config::process_variable,
    secret::hex_digest,
    transport::{AdvertisementCache, Remembered},
    url::Url,
};

/// The version of the file format. Other versions are not read.
const VERSION: u32 = 1;
/// The directory below the cache's.
const DIRECTORY: &str = "advertisements";
/// The longest age of an advertisement that is used.
const MAX_AGE_S: u64 = 3600;
/// The number of directories whose questions are remembered for a repository.
const MAX_QUESTIONS: usize = 8;
/// The helper writes no longer file.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The helper removes files of repositories that were not used for this time.
const ABANDONED: Duration = Duration::from_secs(MAX_AGE_S);

/// The directory in which git runs. Git asks the same question there again.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Names the place among all others.
    name: String,
    kind: Kind,
}

/// The kind of a new directory. Git probably asks the same question as in others of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// In no repository.
    Outside,
    /// A repository without objects, as in a clone.
    Empty,
    /// In one that has.
    Filled,
}

impl Place {
    pub(crate) fn of(remote: &str) -> Self {
        let variable = |name| {
            let value = process_variable(name).unwrap_or_default();
            value.into_encoded_bytes()
        };
        let directory = std::env::current_dir().unwrap_or_default();
        // In a clone, the path is absolute. Otherwise, it is relative to the current directory, or missing.
        let repository = process_variable("GIT_DIR").map(|path| directory.join(path));
        let kind = match &repository {
            None => Kind::Outside,
            Some(path) if has_objects(path) => Kind::Filled,
            Some(_) => Kind::Empty,
        };
        let repository = match repository {
            Some(path) if kind == Kind::Filled => path.into_os_string().into_encoded_bytes(),
            _ => format!("{kind:?}").into_bytes(),
        };
        // Another version of git, or another user agent, asks another question.
        let [version, agent] = ["GIT_EXEC_PATH", "GIT_USER_AGENT"].map(variable);
        let parts = [remote.as_bytes().to_vec(), version, agent, repository];
        Place {
            name: hex_digest(&parts.join(&0))[..16].to_owned(),
            kind,
        }
    }
}

/// Tells whether this repository has no objects yet, as in a clone.
pub(crate) fn is_new() -> bool {
    process_variable("GIT_DIR").is_some_and(|path| !has_objects(&PathBuf::from(path)))
}

/// Tells whether a repository contains objects. A new object directory contains only two empty directories.
pub(crate) fn has_objects(repository: &Path) -> bool {
    // A linked work tree has its objects elsewhere, and is never new.
    if repository.join("commondir").exists() {
        return true;
    }
    let objects = repository.join("objects");
    let is_used =
        |name: &str| fs::read_dir(objects.join(name)).is_ok_and(|mut all| all.next().is_some());
    let has_loose = fs::read_dir(&objects).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().len() == 2))
    });
    has_loose || is_used("pack") || is_used("info")
}

/// Forgets every repository. The files do not name their profile, so one profile's files cannot be told apart.
pub(super) fn forget_all(cache: &Path) {
    let path = cache.join(DIRECTORY);
    // A file that stays contains no secret, and expires.
    let _: io::Result<()> = Directory::claim(&path).and_then(|directory| {
        let names = directory.names()?;
        names.iter().try_for_each(|name| directory.remove(name))?;
        fs::remove_dir(&path)
    });
}

/// The remembered advertisement of one repository, in a file.
pub(crate) struct OnDisk<'a> {
    directory: PathBuf,
    file: String,
    place: Place,
    clock: &'a dyn Clock,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    version: u32,
    learned_unix_s: u64,
    advertisement: String,
    /// The newest first.
    questions: Vec<Question>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Question {
    place: String,
    kind: Kind,
    text: String,
}

impl<'a> OnDisk<'a> {
    /// Uses the file for a repository and a profile; `None` if nothing is cached.
    pub(crate) fn of(identity: &'a Identity, repository: &Url, place: Place) -> Option<Self> {
        let profile = &identity.profile;
        let cache = places(profile).cache?;
        let account = profile.cache_key().unwrap_or_else(|| profile.token_key());
        let name = hex_digest(format!("{account}\n{repository}").as_bytes());
        Some(OnDisk {
            directory: cache.join(DIRECTORY),
            file: format!("{}.json", &name[..32]),
            place,
            clock: &identity.services.clock,
        })
    }

    fn read(&self) -> Option<Record> {
        let directory = Directory::open(&self.directory).ok()?;
        let text = directory.read(&self.file, MAX_FILE_BYTES).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        let age_s = self.clock.now_unix_s().checked_sub(record.learned_unix_s)?;
        (record.version == VERSION && age_s <= MAX_AGE_S).then_some(record)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        if let Some(cache) = self.directory.parent() {
            Directory::make(cache)?;
        }
        let directory = Directory::make(&self.directory)?;
        if !directory.has(&self.file) {
            // Remove old files of other repositories, too.
            for name in directory.names()? {
                directory.remove_older(&name, ABANDONED);
            }
        }
        directory.replace_in_passing(&self.file, &serde_json::to_vec(record)?)
    }

    fn question_to_prefetch<'r>(&self, record: &'r Record) -> Option<&'r Question> {
        let here = |question: &&Question| question.place == self.place.name;
        let alike = |question: &&Question| question.kind == self.place.kind;
        let mut questions = record.questions.iter();
        let found = questions.clone().find(here);
        found.or_else(|| questions.find(alike))
    }

    /// Puts the question of this directory first in a record, and saves it.
    fn store_with(&self, mut record: Record, question: &[u8]) {
        if let Ok(text) = String::from_utf8(question.to_vec()) {
            let (place, kind) = (self.place.name.clone(), self.place.kind);
            record.questions.retain(|question| question.place != place);
            record.questions.truncate(MAX_QUESTIONS - 1);
            record.questions.insert(0, Question { place, kind, text });
        }
        // If this fails, the next command only takes one more round trip.
        let _: io::Result<()> = self.write(&record);
    }
}

impl AdvertisementCache for OnDisk<'_> {
    fn recall(&self) -> Option<Remembered> {
        let record = self.read()?;
        let question = self.question_to_prefetch(&record)?;
        Some(Remembered {
            question: question.text.clone().into_bytes(),
            advertisement: record.advertisement.into_bytes(),
        })
    }

    fn store(&self, advertisement: &[u8], question: &[u8]) {
        let Ok(advertisement) = String::from_utf8(advertisement.to_vec()) else {
            return;
        };
        let record = Record {
            version: VERSION,
            learned_unix_s: self.clock.now_unix_s(),
            advertisement,
            questions: self.read().map_or_else(Vec::new, |record| record.questions),
        };
        self.store_with(record, question);
    }

    fn replace_question(&self, question: &[u8]) {
        if let Some(record) = self.read() {
            self.store_with(record, question);
        }
    }

    fn forget(&self) {
        // If it cannot be removed, the next prefetch fails, too, before git sees anything.
        let _ = Directory::open(&self.directory).and_then(|directory| directory.remove(&self.file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn now_unix_s(&self) -> u64 {
            self.0
        }

        fn wait(&self, _span: Duration) {}
    }

    #[test]
    fn any_content_of_a_file_is_used_or_ignored() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Fixed(10_000);
        let cache = OnDisk {
            directory: directory.path().join("stored"),
            file: "stored.json".into(),
            place: Place {
                name: "here".into(),
                kind: Kind::Outside,
            },
            clock: &clock,
        };
        cache.store(b"0000", b"0001");
        let file = directory.path().join("stored/stored.json");
        let real = fs::read(&file).expect("it was just written");
        let found = cache.recall().expect("it was just stored");
        assert_eq!(
            (found.advertisement, found.question),
            (b"0000".into(), b"0001".into())
        );
        let future = br#"{"version":1,"learned_unix_s":18446744073709551615,"advertisement":"","questions":[]}"#;
        crate::inside::fuzz::check_on_disk(&[&real, future], |input| {
            crate::files::tests::write_private(&file, input);
            if let Some(found) = cache.recall() {
                assert!(found.advertisement.len() + found.question.len() < 3 * input.len());
            }
            cache.replace_question(b"0002");
            cache.store(b"0000", b"0001");
            assert!(fs::metadata(&file).is_ok_and(|file| file.len() < 2 * MAX_FILE_BYTES));
            assert!(
                cache
                    .read()
                    .is_some_and(|record| record.questions.len() <= MAX_QUESTIONS)
            );
        });
    }
}
