//! A machine that keeps the token in a file (`BBTOKEN_CACHE=file`), with the real OpenBao.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    bao::Bao,
    jobs::{DUE_S, Fleet},
    mounts::now_unix_s,
};
use crate::{inspect::names, needs::needs};

/// Longer than a job takes that goes on without the store, and shorter than one that waits for it.
const BRIEF: Duration = Duration::from_secs(8);

impl Fleet {
    /// Runs a job that caches the token. Gives the requests to the store, and how long the job took.
    fn job_with_cache(&self) -> (usize, Duration) {
        let before = self.bao.asked().len();
        let begun = Instant::now();
        self.token().env("BBTOKEN_CACHE", "file").ok();
        let took = begun.elapsed();
        (self.bao.asked().len() - before, took)
    }

    /// Lets the cached token end in so many seconds. It was looked at more than a minute ago.
    fn cached_token_ends_in(&self, left_s: u64) {
        let cache = self.world.cache();
        let files = names(&cache).into_iter().map(|name| cache.join(name));
        for file in files {
            match file.extension().and_then(|it| it.to_str()) {
                Some("json") => {
                    let text = fs::read_to_string(&file).expect("it is there");
                    let mut entry: Value = serde_json::from_str(&text).expect("it is JSON");
                    entry["expires_at_unix_s"] = json!(now_unix_s() + left_s);
                    fs::write(&file, entry.to_string()).expect("it is ours");
                }
                Some("lock") => {
                    let note = format!("1 {} \n", now_unix_s() - 61);
                    fs::write(&file, note).expect("it is ours");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_kept_token_is_looked_after_in_its_last_minutes() {
    needs!("programs/openbao");
    let fleet = Fleet::new(Bao::one());
    assert_eq!(fleet.job_with_cache().0, 2, "a login and a read");
    assert_eq!(fleet.job_with_cache().0, 0);
    fleet.cached_token_ends_in(DUE_S);
    assert_eq!(fleet.job_with_cache().0, 2, "there is a newer one");
    assert_eq!(fleet.job_with_cache().0, 0);
    // The store is silent now.
    fleet.cached_token_ends_in(DUE_S);
    fleet.bao.nodes[0].stop();
    let (_, first) = fleet.job_with_cache();
    let (_, second) = fleet.job_with_cache();
    fleet.bao.nodes[0].go_on();
    assert!(second < first && first < BRIEF, "{first:?}, {second:?}");
    // The kept token is renewed ahead, although it is valid.
    fleet.ends_in(DUE_S);
    fleet.cached_token_ends_in(DUE_S);
    fleet.job_with_cache();
    assert_eq!(fleet.world.bitbucket.token_requests().len(), 1);
    assert_eq!(fleet.job_with_cache().0, 0);
}
