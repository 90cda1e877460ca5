//! The keychain of the operating system, by the crates of the keyring project.
//!
//! These are the Secret Service and the kernel keyring on Linux, the Keychain on macOS, and the Credential Manager on
//! Windows. Windows allows 2,560 bytes per secret, so larger secrets are stored in pieces. The pieces of a new secret
//! are written beside the old ones, and a small index entry selects the valid ones. So an interrupted write loses
//! nothing. Each write is read back, so that two processes without a lock cannot leave a mixture.
use std::{sync::mpsc, time::Duration};

use anyhow::Context as _;
use keyring_core::{Entry, Error};

use super::{
    entries::{Entries, Keychain, connect},
    interface::{Store, unusable},
};
use crate::{
    limits,
    secret::{Secret, hex_digest},
    waiting,
};

/// The longest piece. Windows allows 2,560 bytes in UTF-16, which is 1,280 characters.
const PIECE_CHARACTERS: usize = 1200;
/// The reserved space: two Bitbucket tokens of the longest known form. The kernel keyring has 20,000 bytes per user in
/// total (keyrings(7), `maxbytes`).
const RESERVE_CHARACTERS: usize = 5 * PIECE_CHARACTERS;
/// The write attempts if the keychain reads back another value.
const WRITES: usize = 3;
/// The time limit for the keychain. A locked one asks the user, and an absent one never answers.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The time limit where a login only looks for a keychain.
const READY_LIMIT: Duration = Duration::from_secs(3);

/// The keychain as a store.
pub(crate) struct KeyringStore(Pieces);

impl KeyringStore {
    /// Connects to the keychain.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`](crate::failure::Kind::StoreUnusable) if there is none or it does not answer.
    pub(crate) fn open(keychain: Keychain) -> anyhow::Result<Self> {
        let connected = match keychain {
            Keychain::Session => check_limits(),
            Keychain::Kernel => Ok(()),
        };
        let entries = connected
            .and_then(|()| within(TIME_LIMIT, move || connect(keychain)))
            .context(unusable("cannot use the keychain".into()))?;
        Ok(KeyringStore(Pieces(entries)))
    }

    /// Removes every entry.
    pub(super) fn forget_rest(&self) -> anyhow::Result<bool> {
        self.ask("remove from", |pieces| pieces.0.forget_all())
    }

    /// Runs an operation on the keychain within the time limit.
    fn ask<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Pieces) -> Result<T, Error> + Send + 'static,
    ) -> anyhow::Result<T> {
        let pieces = self.0.clone();
        within(TIME_LIMIT, move || work(&pieces))
            .with_context(|| unusable(format!("cannot {doing} the keychain")))
    }
}

impl Store for KeyringStore {
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>> {
        let key = key.to_owned();
        self.ask("read from", move |pieces| pieces.load(&key))
    }

    /// Writes and removes a secret of the reserved size.
    fn reserve(&self, key: &str) -> anyhow::Result<()> {
        let probe = format!("{key}.probe");
        self.ask("write to", move |pieces| {
            pieces.write(&probe, &Secret::new("x".repeat(RESERVE_CHARACTERS)))?;
            pieces.forget(&probe).map(drop)
        })
    }

    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()> {
        let (key, secret) = (key.to_owned(), secret.clone());
        self.ask("write to", move |pieces| pieces.save(&key, &secret))
    }

    fn forget(&self, key: &str) -> anyhow::Result<bool> {
        let key = key.to_owned();
        self.ask("remove from", move |pieces| pieces.forget(&key))
    }
}

/// Checks that the session's keychain is unlocked, because a setting forbids questions to the user.
///
/// # Errors
///
/// [`Kind::StoreUnusable`](crate::failure::Kind::StoreUnusable) if it is locked.
pub(super) fn prove_unlocked(no_questions: Option<&str>) -> anyhow::Result<()> {
    let Some(setting) = no_questions else {
        return Ok(());
    };
    let is_unlocked = is_unlocked(TIME_LIMIT);
    if is_unlocked.context(unusable("cannot use the keychain".into()))? {
        return Ok(());
    }
    let why = anyhow::anyhow!("it is locked, and {setting} forbids asking for its password");
    Err(why.context(unusable("cannot use the keychain".into())))
}

/// Tells whether this session has a keychain that can save a secret without a question.
pub(crate) fn is_ready() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_desktop = match cfg!(any(target_os = "linux", target_os = "freebsd")) {
        // Without these, a library may find the bus of another session.
        true => is_set("DBUS_SESSION_BUS_ADDRESS") || is_set("XDG_RUNTIME_DIR"),
        // These keychains are locked or absent in a session over ssh.
        false => !is_set("SSH_CONNECTION"),
    };
    has_desktop && !limits::is_ci() && is_unlocked(READY_LIMIT).unwrap_or(false)
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn is_unlocked(limit: Duration) -> anyhow::Result<bool> {
    use super::entries::SERVICE;
    use secret_service::{EncryptionType, blocking::SecretService};
    // The store's crate unlocks each item that it uses, and the keychain then asks the user.
    let is_unlocked = || -> Result<bool, secret_service::Error> {
        let service = SecretService::connect(EncryptionType::Plain)?;
        let is_locked = service.get_default_collection()?.is_locked()?;
        let ours = service.search_items([("service", SERVICE)].into())?;
        Ok(!is_locked && ours.locked.is_empty())
    };
    check_limits()?;
    within(limit, move || {
        is_unlocked().map_err(|error| Error::PlatformFailure(error.into()))
    })
}

/// Other systems do not report whether they would ask.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn is_unlocked(_limit: Duration) -> anyhow::Result<bool> {
    Ok(true)
}

/// Checks for threads and file handles, because the libraries for the desktop's keychain panic without them.
fn check_limits() -> anyhow::Result<()> {
    limits::check_handles()?;
    Ok(limits::check_threads()?)
}

/// Runs an operation that may never return. Its late effects are lost, as after a kill, and the store tolerates that.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> anyhow::Result<T> {
    let (sender, receiver) = mpsc::channel();
    limits::start("keychain", move || {
        let _ = sender.send(work());
    })?;
    let _wait = waiting::on("the keychain, which may be locked or ask in another window");
    match receiver.recv_timeout(limit) {
        Ok(outcome) => Ok(outcome?),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            anyhow::bail!(
                "it did not answer within {} seconds; it may be locked, or waiting for your answer in another window",
                limit.as_secs()
            )
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("it failed without a message"),
    }
}

/// Secrets as numbered pieces of a generation, with an index entry that names the valid generation.
#[derive(Clone)]
struct Pieces(Entries);

/// The index: the valid pieces.
struct Index {
    generation: u64,
    pieces: usize,
    digest: String,
}

impl Index {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Index {
            generation: words.next()?.parse().ok()?,
            pieces: words.next()?.parse().ok()?,
            digest: words.next()?.to_owned(),
        })
    }
}

impl Pieces {
    fn load(&self, key: &str) -> Result<Option<Secret>, Error> {
        let Some(index) = self.index(key)? else {
            return Ok(None);
        };
        let mut text = String::new();
        for number in 0..index.pieces {
            let piece = match self.piece(key, index.generation, number)?.get_password() {
                Err(Error::NoEntry) => return Err(unfit()),
                piece => Secret::new(piece?),
            };
            text.push_str(piece.expose());
        }
        let secret = Secret::new(text);
        if hex_digest(secret.expose().as_bytes()) != index.digest {
            return Err(unfit());
        }
        Ok(Some(secret))
    }

    /// Writes a secret and reads it back.
    fn save(&self, key: &str, secret: &Secret) -> Result<(), Error> {
        let mut outcome = Ok(());
        for _ in 0..WRITES {
            self.write(key, secret)?;
            match self.load(key) {
                // A later secret of another process is just as good.
                Ok(Some(_)) => return Ok(()),
                Ok(None) => outcome = Err(unfit()),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn write(&self, key: &str, secret: &Secret) -> Result<(), Error> {
        let before = match self.index(key) {
            // A damaged index cannot be used, and must not block a new login.
            Err(Error::BadStoreFormat(_)) => None,
            before => before?,
        };
        let characters: Vec<char> = secret.expose().chars().collect();
        let pieces: Vec<Secret> = characters
            .chunks(PIECE_CHARACTERS)
            .map(|piece| Secret::new(piece.iter().collect::<String>()))
            .collect();
        let index = Index {
            generation: before.as_ref().map_or(0, |before| before.generation + 1),
            pieces: pieces.len(),
            digest: hex_digest(secret.expose().as_bytes()),
        };
        for (number, piece) in pieces.iter().enumerate() {
            let entry = self.piece(key, index.generation, number)?;
            entry.set_password(piece.expose())?;
        }
        self.entry(key)?.set_password(&format!(
            "{} {} {}",
            index.generation, index.pieces, index.digest
        ))?;
        // Remove the pieces of the earlier secret, and those of writes that were interrupted before or after the index.
        self.remove_pieces(key, index.generation, index.pieces);
        for generation in index.generation.saturating_sub(2)..index.generation {
            self.remove_pieces(key, generation, 0);
        }
        Ok(())
    }

    fn forget(&self, key: &str) -> Result<bool, Error> {
        let generation = match self.index(key) {
            Ok(None) => return Ok(false),
            Ok(Some(index)) => index.generation,
            Err(Error::BadStoreFormat(_)) => 0,
            Err(error) => return Err(error),
        };
        match self.entry(key)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => {}
            Err(error) => return Err(error),
        }
        for generation in generation.saturating_sub(1)..=generation + 1 {
            self.remove_pieces(key, generation, 0);
        }
        Ok(true)
    }

    /// Removes a generation's pieces from a number on, up to the first missing one.
    fn remove_pieces(&self, key: &str, generation: u64, first: usize) {
        for number in first.. {
            let piece = self.piece(key, generation, number);
            if piece.and_then(|piece| piece.delete_credential()).is_err() {
                return;
            }
        }
    }

    fn index(&self, key: &str) -> Result<Option<Index>, Error> {
        let text = match self.entry(key)?.get_password() {
            Ok(text) => text,
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(error),
        };
        Index::parse(&text)
            .map(Some)
            .ok_or_else(|| Error::BadStoreFormat("the index of a secret is damaged".into()))
    }

    fn piece(&self, key: &str, generation: u64, number: usize) -> Result<Entry, Error> {
        self.entry(&format!("{key}.{generation}.{number}"))
    }

    fn entry(&self, name: &str) -> Result<Entry, Error> {
        self.0.entry(name)
    }
}

fn unfit() -> Error {
    Error::BadStoreFormat("the pieces of a secret do not fit together".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyring_core::mock;

    fn pieces() -> Pieces {
        Pieces(Entries::Of(mock::Store::new().expect("it is in memory")))
    }

    fn names(pieces: &Pieces) -> usize {
        // All names that may be in use.
        let generations = 0..8_u64;
        let used =
            generations.flat_map(|generation| (0..20).map(move |number| (generation, number)));
        used.filter(|(generation, number)| {
            let piece = pieces.piece("k", *generation, *number);
            piece.and_then(|piece| piece.get_password()).is_ok()
        })
        .count()
    }

    #[test]
    fn a_secret_of_any_length_is_read_back_and_replaces_the_earlier_one_completely() {
        let pieces = pieces();
        for length in [1, PIECE_CHARACTERS, 5_000, 30, 20_000, PIECE_CHARACTERS + 1] {
            let secret = Secret::new("é".repeat(length));
            pieces.save("k", &secret).expect("it can be written");
            assert_eq!(pieces.load("k").expect("it can be read"), Some(secret));
            assert_eq!(names(&pieces), length.div_ceil(PIECE_CHARACTERS));
        }
        pieces.forget("k").expect("it can be removed");
        assert_eq!(pieces.load("k").expect("it can be read"), None);
        assert_eq!(names(&pieces), 0);
        pieces.forget("k").expect("nothing is there");
    }

    #[test]
    fn an_interrupted_write_leaves_the_earlier_secret_and_is_cleaned_up() {
        let pieces = pieces();
        let secret = |text: &str| Secret::new(text.repeat(3_000));
        pieces.save("k", &secret("a")).expect("it can be written");
        // Killed before the index was written, with more pieces than the next secret.
        for number in 0..9 {
            let piece = pieces.piece("k", 1, number).expect("it can be named");
            piece.set_password("cut").expect("it can be written");
        }
        assert_eq!(pieces.load("k").expect("it can be read"), Some(secret("a")));
        pieces.save("k", &secret("b")).expect("it can be written");
        assert_eq!(pieces.load("k").expect("it can be read"), Some(secret("b")));
        assert_eq!(names(&pieces), 3);
        // Killed after that, before the earlier pieces were removed.
        let left = pieces.piece("k", 0, 0).expect("it can be named");
        left.set_password("left").expect("it can be written");
        pieces.save("k", &secret("c")).expect("it can be written");
        assert_eq!(names(&pieces), 3);
    }

    #[test]
    fn a_damaged_secret_is_an_error_until_it_is_replaced() {
        let pieces = pieces();
        let secret = Secret::new("a".repeat(3_000));
        pieces.save("k", &secret).expect("it can be written");
        for damage in [("k.0.1", "other"), ("k", "1 2"), ("k", "9 1 digest")] {
            let entry = pieces.entry(damage.0).expect("it can be named");
            entry.set_password(damage.1).expect("it can be written");
            assert!(pieces.load("k").is_err(), "{damage:?}");
        }
        pieces.save("k", &secret).expect("it can be written");
        assert_eq!(pieces.load("k").expect("it can be read"), Some(secret));
    }

    #[test]
    fn a_keychain_that_does_not_answer_is_an_error() {
        let (_open, never) = mpsc::channel::<()>();
        let message = within(Duration::from_millis(1), move || {
            let _ = never.recv();
            Ok(())
        })
        .expect_err("it never answers")
        .to_string();
        assert!(message.starts_with("it did not answer within"), "{message}");
    }
}
