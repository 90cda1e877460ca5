//! Control over HTTP, for demonstrations: what tests do through [`Bitbucket`](crate::Bitbucket).

use std::time::Duration;

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::git::header;
use crate::oauth::Consumer;
use crate::page::{self, Answer};
use crate::reply::Upload;
use crate::script::Rule;
use crate::settings::Settings;
use crate::site::Site;

/// The header that carries the control key.
const KEY_HEADER: &str = "x-local-key";
const MAX_BODY_BYTES: usize = 1 << 20;

/// What became of a control request: JSON to answer, or what was wrong with it.
type Outcome = Result<Value, String>;

/// Answers a control request; the listener is on loopback only.
pub(crate) async fn answer(site: &Site, parts: &Parts, path: &str, mut upload: Upload) -> Answer {
    if header(&parts.headers, KEY_HEADER).as_deref() != Some(&site.control_key) {
        return page::text(
            StatusCode::FORBIDDEN,
            "the control key is missing or wrong\n",
        );
    }
    let Some(body) = upload.collect(MAX_BODY_BYTES).await else {
        return page::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n");
    };
    let outcome = match (parts.method.as_str(), path) {
        ("GET", "/_local/requests") => Ok(json!(site.journal.requests())),
        ("DELETE", "/_local/requests") => carry_out(|| site.journal.clear()),
        ("GET", "/_local/connections") => Ok(json!(site.journal.connections())),
        ("GET", "/_local/refresh-uses") => Ok(json!(site.oauth.refresh_uses())),
        ("POST", "/_local/repositories") => create(site, &body),
        ("POST", "/_local/consumers") => {
            parse::<Consumer>(&body).and_then(|consumer| carry_out(|| site.add_consumer(consumer)))
        }
        ("POST", "/_local/tokens") => {
            parse(&body).map(|wanted| json!({ "token": site.issue(wanted) }))
        }
        ("POST", "/_local/revoke") => carry_out(|| site.oauth.revoke_tokens()),
        ("POST", "/_local/clock") => advance(site, &body),
        ("POST", "/_local/script") => {
            parse::<Rule>(&body).and_then(|rule| carry_out(|| site.script.add(rule)))
        }
        ("DELETE", "/_local/script") => carry_out(|| site.script.clear()),
        ("POST", "/_local/release") => carry_out(|| site.releases.send_modify(|count| *count += 1)),
        ("GET", "/_local/settings") => Ok(json!(site.settings())),
        ("POST", "/_local/settings") => set(site, &body),
        _ => return page::text(StatusCode::NOT_FOUND, "no such control request\n"),
    };
    match outcome {
        Ok(value) => page::json(StatusCode::OK, &value),
        Err(problem) => page::text(StatusCode::BAD_REQUEST, &format!("{problem}\n")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    workspace: String,
    name: String,
    #[serde(default = "sha1")]
    object_format: String,
}

fn sha1() -> String {
    "sha1".to_owned()
}

fn create(site: &Site, body: &[u8]) -> Outcome {
    let wanted: NewRepository = parse(body)?;
    let repository = site
        .repository(&wanted.workspace, &wanted.name)
        .ok_or("this is no name for a repository")?;
    let path = site
        .create(&repository, &wanted.object_format)
        .map_err(|error| format!("{error:#}"))?;
    Ok(json!({ "path": path }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

fn advance(site: &Site, body: &[u8]) -> Outcome {
    let wanted: Advance = parse(body)?;
    carry_out(|| site.clock.advance(Duration::from_secs(wanted.advance_s)))
}

/// Changes the settings that are named and keeps the others.
fn set(site: &Site, body: &[u8]) -> Outcome {
    let mut merged = json!(site.settings());
    merge(&mut merged, parse(body)?);
    let merged: Settings = serde_json::from_value(merged).map_err(|error| error.to_string())?;
    carry_out(|| site.change(|settings| *settings = merged))
}

fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => new
            .into_iter()
            .for_each(|(name, value)| merge(old.entry(name).or_insert(Value::Null), value)),
        (old, new) => *old = new,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of several outcomes")]
fn carry_out(work: impl FnOnce()) -> Outcome {
    work();
    Ok(json!({}))
}
