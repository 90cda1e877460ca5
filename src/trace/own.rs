//! `BBTOKEN_TRACE`: a line for each phase, with its time; as text or as JSON.

use std::{ffi::OsString, path::Path, time::Duration};

use serde_json::{Map, Value as Json, json};

use super::{
    curl::{Direction, Header},
    event::{Event, Value},
    target::Target,
};
use crate::failure::{one_line, printable_json, quote};

/// The text for a redacted value.
const REDACTED: &str = "<redacted>";

/// A request for a trace: words separated by commas. A path comes last.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request<'v> {
    /// Header lines, too.
    headers: bool,
    json: bool,
    path: Option<&'v Path>,
}

/// The trace that `BBTOKEN_TRACE` requests.
pub(super) struct Own {
    target: Target,
    headers: bool,
    json: bool,
}

impl<'v> Request<'v> {
    /// Reads the variable. `Ok(None)` means off, and an error contains the unknown word.
    fn read(value: &'v str) -> Result<Option<Self>, String> {
        let mut request = Request::default();
        let mut rest = value;
        if ["0", "false"].contains(&value) {
            return Ok(None);
        }
        while !rest.is_empty() {
            if Path::new(rest).is_absolute() {
                request.path = Some(Path::new(rest));
                break;
            }
            let (word, behind) = rest.split_once(',').unwrap_or((rest, ""));
            match word {
                "1" | "true" => {}
                "2" => request.headers = true,
                "json" => request.json = true,
                word => return Err(format!("'{}' is not a valid value", quote(word))),
            }
            rest = behind;
        }
        if value.is_empty() {
            return Err("it is empty".into());
        }
        Ok(Some(request))
    }
}

impl Own {
    pub(super) fn asked_for(
        variables: &dyn Fn(&str) -> Option<OsString>,
        warn: &dyn Fn(&str),
    ) -> Option<Self> {
        let value = variables("BBTOKEN_TRACE")?;
        let value = value.to_string_lossy();
        let refuse = |why: &str| {
            warn(&format!(
                "BBTOKEN_TRACE is ignored: {why}; set it to 1 (phases), 2 (header lines, too), with ',json' for JSON and \
                 ',/absolute/path' for a file"
            ));
        };
        let request = match Request::read(&value) {
            Ok(request) => request?,
            Err(why) => {
                refuse(&why);
                return None;
            }
        };
        let target = match request.path {
            None => Target::Stderr,
            Some(path) => Target::open_private(path)
                .map_err(|error| refuse(&format!("cannot write to '{}': {error}", path.display())))
                .ok()?,
        };
        Some(Own {
            target,
            headers: request.headers,
            json: request.json,
        })
    }

    pub(super) fn shows_headers(&self) -> bool {
        self.headers
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        let line = if self.json {
            as_json(event)
        } else {
            as_text(event)
        };
        self.target.write(&line);
    }

    /// Traces header lines. It always redacts private values, whatever git's variables say.
    pub(super) fn head(&self, at: Duration, direction: Direction, first: &str, headers: &[Header]) {
        if !self.headers {
            return;
        }
        let name = match direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        for line in std::iter::once(first.to_owned()).chain(headers.iter().map(|it| it.shown(true)))
        {
            let fields = [("line", Value::Text(line))];
            self.tell(&Event {
                at,
                name,
                fields: &fields,
            });
        }
    }
}

fn as_text(event: &Event<'_>) -> String {
    let mut line = format!("bbtoken {:.6} {}", event.at.as_secs_f64(), event.name);
    for (name, value) in event.fields {
        let value = match value {
            // Do not shorten the line, because header lines are longer than a quote in a message.
            Value::Text(text) => one_line(text),
            Value::Number(count) => count.to_string(),
            Value::Milliseconds(span) => format!("{span:.3}"),
            Value::Redacted => REDACTED.to_owned(),
        };
        line.push_str(&format!(" {name}={value}"));
    }
    line.push('\n');
    line
}

fn as_json(event: &Event<'_>) -> String {
    let mut object = Map::new();
    object.insert("at_ms".into(), rounded(event.at.as_secs_f64() * 1000.0));
    object.insert("pid".into(), json!(std::process::id()));
    object.insert("event".into(), json!(event.name));
    for (name, value) in event.fields {
        let value = match value {
            Value::Text(text) => json!(text),
            Value::Number(count) => json!(count),
            Value::Milliseconds(span) => rounded(*span),
            Value::Redacted => json!(REDACTED),
        };
        object.insert((*name).to_owned(), value);
    }
    as_line(&Json::Object(object))
}

/// Formats an object as one line, with control characters escaped.
fn as_line(object: &serde_json::Value) -> String {
    printable_json(&object.to_string()) + "\n"
}

/// Round to microseconds, because further digits are noise.
fn rounded(milliseconds: f64) -> Json {
    json!((milliseconds * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::is_harmful;

    #[test]
    fn words_are_read_in_any_order_and_a_path_is_the_last() {
        let path = if cfg!(windows) { "C:\\a,b" } else { "/a,b" };
        let all = format!("json,2,{path}");
        assert_eq!(Request::read("1"), Ok(Some(Request::default())));
        assert_eq!(Request::read("0"), Ok(None));
        assert_eq!(
            Request::read(&all),
            Ok(Some(Request {
                headers: true,
                json: true,
                path: Some(Path::new(path))
            }))
        );
        for wrong in ["", "yes", "1,relative/path", "3"] {
            assert!(Request::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_event_is_one_line_in_both_forms() {
        let event = Event {
            at: Duration::from_micros(1500),
            name: "token",
            fields: &[
                ("took_ms", Value::Milliseconds(0.25)),
                ("host", Value::Text("a\nb\u{1b}".into())),
                ("value", Value::Redacted),
            ],
        };
        assert_eq!(
            as_text(&event),
            "bbtoken 0.001500 token took_ms=0.250 host=a\\u{a}b\\u{1b} value=<redacted>\n"
        );
        let json: Json = serde_json::from_str(&as_json(&event)).expect("it is JSON");
        assert_eq!(
            (&json["at_ms"], &json["host"]),
            (&json!(1.5), &json!("a\nb\u{1b}"))
        );
    }

    #[test]
    fn every_event_is_one_line_in_both_forms() {
        let kept = ["GET /x HTTP/1.1", "a\nb\u{1b}[2J\u{9b}", "\"\\\u{2028}"];
        crate::inside::fuzz::check_text(&kept, |text| {
            let event = Event {
                at: Duration::from_micros(1500),
                name: "sent",
                fields: &[("line", Value::Text(text.to_owned()))],
            };
            for line in [as_text(&event), as_json(&event)] {
                crate::inside::fuzz::expect_printable(
                    line.strip_suffix('\n').expect("it is a line"),
                );
            }
            let json: Json = serde_json::from_str(&as_json(&event)).expect("it is JSON");
            assert_eq!(json["line"], json!(text));
        });
    }

    #[test]
    fn every_setting_is_a_trace_or_refused() {
        let kept = ["1", "json,2,/a,b", "2,", "true,,1", "C:\\a", "\u{1b}"];
        crate::inside::fuzz::check_text(&kept, |text| match Request::read(text) {
            Ok(request) => {
                let path = request.and_then(|request| request.path?.to_str());
                assert!(path.is_none_or(|path| text.ends_with(path)));
            }
            Err(why) => crate::inside::fuzz::expect_printable(&why),
        });
    }

    #[test]
    fn a_line_of_json_holds_nothing_that_acts_on_a_terminal() {
        let said = "a\u{1b}b\u{9b}c\u{7f}d\u{202e}e\u{e0041}f\u{e9}";
        let line = as_line(&json!({ "said": said }));
        assert!(!line.trim_end().contains(is_harmful), "{line}");
        assert!(line.contains('\u{e9}') && line.contains("\\udb40\\udc41"));
        let read: Json = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(read["said"], said);
    }
}
