//! What a trace tells: an event, with values that never contain a secret.

use std::time::Duration;

use crate::secret::Secret;

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
pub(super) struct Event<'a> {
    /// The time since the start of the process.
    pub(super) at: Duration,
    pub(super) name: &'static str,
    pub(super) fields: &'a [(&'static str, Value)],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_value_to_be_shown() {
        assert_eq!(Value::from(&Secret::new("canary")), Value::Redacted);
    }
}
