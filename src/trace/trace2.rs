//! `GIT_TRACE2_EVENT`: our events beside git's own, in its JSON form (git: Documentation/technical/api-trace2).

use std::{
    ffi::OsString,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gix::date::{Time, time::format::ISO8601_STRICT};
use serde_json::{Map, Value as Json, json};

use super::{
    Event, Value,
    target::{Asked, Target},
};

/// The version of the event format (git: `TR2_EVENT_VERSION`).
const EVENT_VERSION: &str = "3";

/// The trace that git's variable asks for.
pub(super) struct Trace2 {
    target: Target,
    /// Names this process, behind those that started it.
    session: String,
}

impl Trace2 {
    pub(super) fn asked_for(variables: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let value = variables("GIT_TRACE2_EVENT")?;
        let parent = variables("GIT_TRACE2_PARENT_SID").unwrap_or_default();
        let session = session(&parent.to_string_lossy());
        let asked = Asked::read(&value);
        let own_file = match asked {
            // Every process has a file of its own in a directory, named by the last part of its session.
            Asked::File(path) if path.is_dir() => {
                session.rsplit('/').next().map(|name| path.join(name))
            }
            _ => None,
        };
        let asked = own_file.as_deref().map_or(asked, Asked::File);
        // Git itself has complained of what it cannot open; sockets are left to it.
        let target = Target::open(&asked).ok()??;
        Some(Trace2 { target, session })
    }

    pub(super) fn start(&self, program: &str) {
        self.write(
            "version",
            json!({"evt": EVENT_VERSION, "exe": env!("CARGO_PKG_VERSION")}),
        );
        // Without the arguments: an address may hold a password, though it is refused then.
        self.write("start", json!({"t_abs": 0.0, "argv": [program]}));
    }

    pub(super) fn exit(&self, at: Duration, code: u8) {
        self.write("exit", json!({"t_abs": seconds(at), "code": code}));
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        let value: Vec<String> = event
            .fields
            .iter()
            .map(|(name, value)| match value {
                Value::Text(text) => format!("{name}={text}"),
                Value::Number(count) => format!("{name}={count}"),
                Value::Milliseconds(span) => format!("{name}={span:.3}"),
                Value::Redacted => format!("{name}=<redacted>"),
            })
            .collect();
        self.write(
            "data",
            json!({
                "t_abs": seconds(event.at),
                "t_rel": seconds(event.at),
                "nesting": 1,
                "category": "bbtoken",
                "key": event.name,
                "value": value.join(" "),
            }),
        );
    }

    fn write(&self, event: &str, fields: Json) {
        let mut object = Map::new();
        object.insert("event".into(), json!(event));
        object.insert("sid".into(), json!(self.session));
        object.insert("thread".into(), json!("main"));
        object.insert("time".into(), json!(utc()));
        if let Json::Object(fields) = fields {
            object.extend(fields);
        }
        self.target.write(&super::as_line(&Json::Object(object)));
    }
}

fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e6
}

/// The time of day as trace2 writes it, `2026-01-31T12:00:00.123456Z`.
fn utc() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    let text = Time::new(seconds, 0).format_or_unix(ISO8601_STRICT);
    let to_the_second = text.split('+').next().unwrap_or_default();
    format!("{to_the_second}.{:06}Z", now.subsec_micros())
}

/// Names a process as trace2 does: when it began, where, and its number; behind the process that started it.
fn session(parent: &str) -> String {
    let began: String = utc().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let own = format!("{began}-Localhost-P{:08x}", std::process::id());
    match parent {
        "" => own,
        parent => format!("{parent}/{own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_behind_its_parent() {
        let own = session("");
        assert!(own.contains("Z-Localhost-P"), "{own}");
        assert!(session("20260101T000000.0Z-H1-P1").starts_with("20260101T000000.0Z-H1-P1/20"));
    }
}
