//! Traces: `BBTOKEN_TRACE`, and git's own `GIT_TRACE_CURL`.
//!
//! Traces are off until [`start`] finds one in the environment. Without a trace, an event costs only one read of a
//! static. The type protects secrets: a [`Secret`] becomes a [`Value::Redacted`], and there is no other way to pass
//! one.

mod curl;
mod own;
mod target;

use std::{
    ffi::OsString,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{failure::printable_json, secret::Secret};

pub(crate) use curl::{Direction, Header, Privacy};
use target::Target;

/// The traces and their targets. Set once, at the start.
static TRACE: OnceLock<Trace> = OnceLock::new();

/// The traces that were asked for.
#[derive(Default)]
struct Trace {
    own: Option<own::Own>,
    curl: Option<curl::Curl>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text. The output escapes control characters.
    Text(String),
    /// A count.
    Number(u64),
    /// A time in milliseconds.
    Milliseconds(f64),
    /// Something that must not be shown.
    Redacted,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Number(count)
    }
}

impl From<Duration> for Value {
    fn from(span: Duration) -> Self {
        Value::Milliseconds(span.as_secs_f64() * 1000.0)
    }
}

impl From<&Secret> for Value {
    fn from(_: &Secret) -> Self {
        Value::Redacted
    }
}

/// Something that happened.
struct Event<'a> {
    /// The time since the start of the process.
    at: Duration,
    name: &'static str,
    fields: &'a [(&'static str, Value)],
}

/// Starts the traces that the environment requests. `program` is this program's name.
///
/// As in git, an invalid request only causes a warning with `warn`, because a trace must not break a command.
pub(crate) fn start(
    program: &'static str,
    variables: &dyn Fn(&str) -> Option<OsString>,
    warn: &dyn Fn(&str),
) {
    let trace = Trace {
        own: own::Own::asked_for(variables, warn),
        curl: curl::Curl::asked_for(variables, warn),
    };
    if trace.own.is_none() && trace.curl.is_none() {
        return;
    }
    begin();
    // Nothing else sets it, and a second start would change nothing.
    let _ = TRACE.set(trace);
    event("start", || {
        vec![
            ("program", program.into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ]
    });
}

/// Tells the end of the process.
pub(crate) fn end(exit_code: u8) {
    event("exit", || vec![("code", u64::from(exit_code).into())]);
}

/// The approximate start of the process: the time of the first call.
fn begin() -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    *BEGIN.get_or_init(Instant::now)
}

/// Tells whether anything is traced.
pub(crate) fn is_on() -> bool {
    TRACE.get().is_some()
}

/// Traces an event. Calls `fields` only if a trace is on.
pub(crate) fn event(name: &'static str, fields: impl FnOnce() -> Vec<(&'static str, Value)>) {
    if let Some(own) = TRACE.get().and_then(|trace| trace.own.as_ref()) {
        own.tell(&Event {
            at: begin().elapsed(),
            name,
            fields: &fields(),
        });
    }
}

/// Traces the head of a request or response, in git's format and, at level 2, in this program's format.
pub(crate) fn head(direction: Direction, first: &str, headers: impl FnOnce() -> Vec<Header>) {
    let Some(trace) = TRACE.get() else { return };
    if trace.curl.is_none() && !trace.own.as_ref().is_some_and(own::Own::shows_headers) {
        return;
    }
    let headers = headers();
    if let Some(curl) = &trace.curl {
        curl.head(direction, first, &headers);
    }
    if let Some(own) = &trace.own {
        own.head(begin().elapsed(), direction, first, &headers);
    }
}

/// Traces a piece of a body, in git's format only.
pub(crate) fn body(direction: Direction, bytes: &[u8]) {
    if let Some(curl) = TRACE.get().and_then(|trace| trace.curl.as_ref()) {
        curl.body(direction, bytes);
    }
}

/// A phase, whose duration is traced at its end.
#[must_use = "it measures until it is dropped"]
pub(crate) struct Span {
    name: &'static str,
    /// None where nothing is traced.
    running: Option<(Instant, Vec<(&'static str, Value)>)>,
}

/// Starts to measure a phase.
pub(crate) fn span(name: &'static str) -> Span {
    Span {
        name,
        running: is_on().then(|| (Instant::now(), Vec::new())),
    }
}

impl Span {
    /// Adds a field. Calls `value` only if a trace is on.
    pub(crate) fn note(&mut self, field: &'static str, value: impl FnOnce() -> Value) {
        if let Some((_, fields)) = &mut self.running {
            fields.push((field, value()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some((began, mut fields)) = self.running.take() {
            fields.insert(0, ("took_ms", began.elapsed().into()));
            event(self.name, || fields);
        }
    }
}

/// Formats an object as one line, with control characters escaped.
fn as_line(object: &serde_json::Value) -> String {
    printable_json(&object.to_string()) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::is_harmful;

    /// No unit test starts a trace.
    #[test]
    fn without_a_trace_no_event_is_built() {
        event("event", || {
            unreachable!("no trace runs, so no fields are built")
        });
        head(Direction::Sent, "", || {
            unreachable!("no trace runs, so no lines are built")
        });
        let mut span = span("span");
        assert!(span.running.is_none(), "no clock is read");
        span.note("field", || {
            unreachable!("no trace runs, so no field is built")
        });
    }

    #[test]
    fn a_secret_has_no_value_to_be_shown() {
        assert_eq!(Value::from(&Secret::new("canary")), Value::Redacted);
    }

    #[test]
    fn a_line_of_json_holds_nothing_that_acts_on_a_terminal() {
        let said = "a\u{1b}b\u{9b}c\u{7f}d\u{202e}e\u{e0041}f\u{e9}";
        let line = as_line(&serde_json::json!({ "said": said }));
        assert!(!line.trim_end().contains(is_harmful), "{line}");
        assert!(line.contains('\u{e9}') && line.contains("\\udb40\\udc41"));
        let read: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(read["said"], said);
    }
}
