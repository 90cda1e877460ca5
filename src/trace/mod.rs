//! Traces: `BBTOKEN_TRACE`, and git's own `GIT_TRACE_CURL`.
//!
//! Traces are off until [`start`] finds one in the environment. Without a trace, an event costs only one read of a
//! static. The type protects secrets: a [`Secret`](crate::secret::Secret) becomes a [`Value::Redacted`], and there is no
//! other way to pass one.

mod curl;
mod event;
mod own;
mod target;

use std::{ffi::OsString, sync::OnceLock, time::Instant};

use event::Event;

pub(crate) use curl::{Direction, Header, Privacy};
pub(crate) use event::Value;

/// The traces and their targets. Set once, at the start.
static TRACE: OnceLock<Trace> = OnceLock::new();

/// The traces that were asked for.
#[derive(Default)]
struct Trace {
    own: Option<own::Own>,
    curl: Option<curl::Curl>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
