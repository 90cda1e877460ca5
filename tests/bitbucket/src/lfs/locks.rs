//! The locking API: who works on which file ("Git LFS File Locking API").

use std::sync::{Mutex, MutexGuard};

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{problem, reply};
use crate::git::Repository;
use crate::page::Answer;
use crate::random;
use crate::site::Site;

/// Every lock there is.
#[derive(Default)]
pub(crate) struct Locks(Mutex<Vec<Lock>>);

struct Lock {
    repository: Repository,
    id: String,
    path: String,
    owner: String,
    locked_at: String,
}

impl Locks {
    fn all(&self) -> MutexGuard<'_, Vec<Lock>> {
        self.0
            .lock()
            .expect("because no thread panics while it holds the locks")
    }
}

impl Lock {
    fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "path": self.path,
            "locked_at": self.locked_at,
            "owner": { "name": self.owner },
        })
    }
}

pub(super) fn answer(
    site: &Site,
    repository: &Repository,
    rest: &str,
    parts: &Parts,
    asked: &Value,
    user: &str,
) -> Answer {
    let mut all = site.locks.all();
    match (&parts.method, rest) {
        (&Method::GET, "") => list(&all, repository, parts.uri.query().unwrap_or("")),
        (&Method::POST, "") => lock(&mut all, site, repository, asked, user),
        (&Method::POST, "/verify") => verify(&all, repository, user),
        (&Method::POST, _) => match rest
            .strip_prefix('/')
            .and_then(|id| id.strip_suffix("/unlock"))
        {
            Some(id) => unlock(&mut all, repository, id, asked["force"] == true, user),
            None => problem(StatusCode::NOT_FOUND, "Not found"),
        },
        _ => problem(StatusCode::NOT_FOUND, "Not found"),
    }
}

fn list(all: &[Lock], repository: &Repository, query: &str) -> Answer {
    let wanted = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let (path, id) = (wanted("path"), wanted("id"));
    let locks: Vec<_> = all
        .iter()
        .filter(|lock| lock.repository == *repository)
        .filter(|lock| path.as_ref().is_none_or(|path| *path == lock.path))
        .filter(|lock| id.as_ref().is_none_or(|id| *id == lock.id))
        .map(Lock::shown)
        .collect();
    reply(StatusCode::OK, &json!({ "locks": locks }))
}

fn lock(
    all: &mut Vec<Lock>,
    site: &Site,
    repository: &Repository,
    asked: &Value,
    user: &str,
) -> Answer {
    let path = asked["path"].as_str().unwrap_or_default();
    let held = all
        .iter()
        .find(|lock| lock.repository == *repository && lock.path == path);
    if let Some(held) = held {
        let conflict = json!({ "lock": held.shown(), "message": "already created lock" });
        return reply(StatusCode::CONFLICT, &conflict);
    }
    let now = jiff::Timestamp::try_from(site.clock.now());
    let now = now.expect("because it is no year beyond 9999").to_string();
    let lock = Lock {
        repository: repository.clone(),
        id: random::alphanumeric(16),
        path: path.to_owned(),
        owner: user.to_owned(),
        locked_at: now,
    };
    let shown = lock.shown();
    all.push(lock);
    reply(StatusCode::CREATED, &json!({ "lock": shown }))
}

fn verify(all: &[Lock], repository: &Repository, user: &str) -> Answer {
    let (ours, theirs): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|lock| lock.repository == *repository)
        .partition(|lock| lock.owner == user);
    let shown = |locks: Vec<&Lock>| locks.into_iter().map(Lock::shown).collect::<Vec<_>>();
    reply(
        StatusCode::OK,
        &json!({ "ours": shown(ours), "theirs": shown(theirs) }),
    )
}

fn unlock(
    all: &mut Vec<Lock>,
    repository: &Repository,
    id: &str,
    force: bool,
    user: &str,
) -> Answer {
    let place = all
        .iter()
        .position(|lock| lock.repository == *repository && lock.id == id);
    let Some(place) = place else {
        return problem(StatusCode::NOT_FOUND, "there is no such lock");
    };
    if all[place].owner != user && !force {
        return problem(StatusCode::FORBIDDEN, "the lock is somebody else's");
    }
    let lock = all.remove(place);
    reply(StatusCode::OK, &json!({ "lock": lock.shown() }))
}
