//! Requests to OpenBao and its answers as a text, without what differs from run to run.

use std::fmt::Write as _;

use serde_json::Value;

use super::wire::Request;
use crate::wire::Answer;

/// Headers that tell a client what to do.
const HEADERS: [&str; 4] = ["Content-Type", "Location", "Retry-After", "X-Vault-Index"];
/// The envelope of every answer, of which a reader needs nothing.
const ENVELOPE: [&str; 4] = ["request_id", "lease_id", "lease_duration", "renewable"];
/// Fields whose values are random, or depend on the machine.
const RANDOM: [&str; 7] = [
    "accessor",
    "cluster_id",
    "cluster_name",
    "entity_id",
    "server_time_utc",
    "token",
    "uuid",
];

/// What was asked, and what came of it.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) text: String,
    names: Vec<(String, &'static str)>,
}

impl Transcript {
    /// Shows a name in the place of a secret, an address or a time.
    pub(crate) fn name(&mut self, value: impl Into<String>, name: &'static str) {
        self.names.push((value.into(), name));
    }

    /// Sends a request, and notes the exchange below a line that says what it shows.
    #[track_caller]
    pub(crate) fn note(&mut self, what: &str, request: Request) -> Answer {
        let asked = request.shown();
        let answer = request.done();
        self.keep(what, &asked, &answer);
        answer
    }

    /// Notes an exchange.
    pub(crate) fn keep(&mut self, what: &str, asked: &str, answer: &Answer) {
        assert!(answer.header("Date").is_some(), "{what}: it tells the time");
        let mut text = format!("# {what}\n{asked}-> {}\n", answer.status);
        for name in HEADERS {
            let value = answer.header(name);
            if let Some(value) = value.filter(|value| *value != "application/json") {
                writeln!(text, "{name}: {value}").expect("a string takes all");
            }
        }
        text.push_str(&shown(answer));
        text.truncate(text.trim_end().len());
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        self.text.push_str(&text);
        self.text.push_str("\n\n");
    }
}

fn shown(answer: &Answer) -> String {
    let Value::Object(mut body) = answer.json() else {
        return answer.body.clone();
    };
    body.retain(|name, value| !ENVELOPE.contains(&name.as_str()) && !value.is_null());
    let mut body = Value::Object(body);
    name_random(&mut body);
    body.to_string()
}

/// Puts a name in the place of each random value.
fn name_random(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(name_random),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if text.is_empty() => {}
                    Value::String(_) if name.ends_with("_time") => *value = "TIME".into(),
                    // The letter tells a token that is written nowhere from one that is.
                    Value::String(text) if name == "client_token" => {
                        let kind = text.split('.').next().unwrap_or("");
                        *value = format!("{kind}.TOKEN").into();
                    }
                    Value::String(_) | Value::Number(_) if RANDOM.contains(&name.as_str()) => {
                        *value = name.to_uppercase().into();
                    }
                    _ => name_random(value),
                }
            }
        }
        _ => {}
    }
}
