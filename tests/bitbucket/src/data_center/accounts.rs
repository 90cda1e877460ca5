//! What a Data Center remembers of its users: failed logins, browser sessions and requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::settings::RateLimit;
use crate::random;

/// The accounts of a Data Center and of its mirrors.
#[derive(Default)]
pub(crate) struct Accounts(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Failed attempts by login in lower case.
    failed: HashMap<String, u64>,
    /// Who a session cookie is for.
    sessions: HashMap<String, String>,
    buckets: HashMap<String, Bucket>,
}

/// The requests that a user may still make, as of a second.
struct Bucket {
    left: u64,
    at_unix_s: u64,
}

impl Accounts {
    pub(crate) fn failed_attempts(&self, user: &str) -> u64 {
        let known = self.known();
        known.failed.get(&user.to_lowercase()).copied().unwrap_or(0)
    }

    pub(crate) fn forget_failures(&self, user: &str) {
        self.known().failed.remove(&user.to_lowercase());
    }

    pub(super) fn failed(&self, user: &str) {
        *self.known().failed.entry(user.to_lowercase()).or_default() += 1;
    }

    /// Begins a session and gives its cookie's value.
    pub(super) fn sign_in(&self, user: &str) -> String {
        let session = random::alphanumeric(32);
        let mut known = self.known();
        known.sessions.insert(session.clone(), user.to_owned());
        session
    }

    /// Who has signed in with this cookie.
    pub(super) fn session(&self, session: &str) -> Option<String> {
        self.known().sessions.get(session).cloned()
    }

    /// Takes one request from the user's bucket; tells whether there was one.
    pub(super) fn take_request(&self, user: &str, limit: RateLimit, now_unix_s: u64) -> bool {
        let mut known = self.known();
        let bucket = known.buckets.entry(user.to_lowercase()).or_insert(Bucket {
            left: limit.capacity,
            at_unix_s: now_unix_s,
        });
        let filled = now_unix_s.saturating_sub(bucket.at_unix_s) * limit.per_second;
        bucket.at_unix_s = now_unix_s;
        bucket.left = (bucket.left + filled).min(limit.capacity);
        let is_left = bucket.left > 0;
        bucket.left -= u64::from(is_left);
        is_left
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("because no thread panics while it holds the accounts")
    }
}
