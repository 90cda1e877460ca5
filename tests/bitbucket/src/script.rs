//! Scripted answers: which requests they are for and what they do.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::journal::{Kind, Recorded};

/// A scripted answer: requests that match, and what happens to them.
///
/// A new rule matches every request and applies once. Of several rules the first added that matches applies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only requests with this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose path, or for git path and query, contains this.
    #[serde(default)]
    pub path: Option<String>,
    /// Only requests for this part of the site.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Only token requests with this `grant_type`.
    #[serde(default)]
    pub grant: Option<String>,
    /// Only requests whose body comes without a length, such as a large push.
    #[serde(default)]
    pub streamed: bool,
    /// How many matching requests pass before the rule begins to apply.
    #[serde(default)]
    pub skip: u64,
    /// How often the rule applies; `None` is forever. Default: once.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// What happens.
    pub action: Action,
}

/// What a rule does with a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Answers this instead of doing anything.
    Answer {
        /// The status.
        status: u16,
        /// Headers, such as `Retry-After`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default, deserialize_with = "text_bytes")]
        body: Vec<u8>,
        /// Whether to answer before the request body is read, and then close the connection.
        #[serde(default)]
        early: bool,
    },
    /// Waits, then goes on as usual.
    #[serde(rename = "delay_ms", deserialize_with = "milliseconds")]
    Delay(Duration),
    /// Waits until [`Bitbucket::release`](crate::Bitbucket::release), then goes on as usual.
    Hold,
    /// Closes the connection without an answer, before the request body is read.
    CloseWithoutAnswer,
    /// Resets the connection (RFC 9293 section 3.5.2) without an answer, before the request body is read.
    ResetWithoutAnswer,
    /// Does all that was asked, then closes the connection without an answer.
    AnswerLost,
    /// Closes the connection after this many bytes of the response body.
    CutAfter(u64),
    /// Resets the connection after this many bytes of the response body.
    Reset(u64),
    /// Sends the response body byte by byte, with a pause after each.
    Drip,
    /// Does all that was asked, then answers with these headers in the place of its own.
    Alter(Vec<(String, String)>),
    /// Ends the response body properly after this many bytes.
    Truncate(u64),
    /// Sends this many bytes of the response body, and the rest after
    /// [`Bitbucket::release`](crate::Bitbucket::release).
    Stall(u64),
    /// Does all that was asked, then answers with its status and headers but this body.
    #[serde(deserialize_with = "text_bytes")]
    ReplaceBody(Vec<u8>),
    /// Answers as usual, then closes the idle connection without having announced it.
    CloseIdle,
    /// Does all that was asked, then says this past the server's library, which would not lie: over HTTP/1.1 only.
    Bare(Bare),
    /// Does all that was asked, then sends the body in gzip (RFC 9110 section 8.4.1.3), of which a part may be missing.
    Gzip {
        /// How many percent of the compressed body are sent.
        percent: usize,
    },
    /// Sends this many bytes of the response body, and then one text again and again without an end.
    Endless {
        /// How many bytes come first, or the whole body if it is shorter.
        after: u64,
        /// What is repeated.
        #[serde(deserialize_with = "text_bytes")]
        text: Vec<u8>,
    },
}

/// What is put on a connection as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bare {
    /// The head, with its empty line if there is to be one.
    #[serde(deserialize_with = "text_bytes")]
    pub head: Vec<u8>,
    /// Whether the usual body follows, without any framing.
    #[serde(default)]
    pub body: bool,
    /// What becomes of the connection.
    #[serde(default)]
    pub then: Then,
}

/// What comes after [`Bare`] words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The connection is closed as it should be.
    #[default]
    Close,
    /// The connection ends without TLS's good-bye.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more, with the connection open.
    Stall,
    /// The last line once more, without an end.
    Repeat,
    /// The words themselves come byte by byte, with a pause after each, and then nothing more.
    Drip,
}

impl Rule {
    /// A rule for every request.
    pub fn new(action: Action) -> Self {
        Self {
            method: None,
            path: None,
            kind: None,
            grant: None,
            streamed: false,
            skip: 0,
            times: Some(1),
            action,
        }
    }

    /// A rule that answers this status with an empty body.
    pub fn answer(status: u16) -> Self {
        Self::new(Action::Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            early: false,
        })
    }

    /// Adds a header to the answer of [`Rule::answer`].
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Action::Answer { headers, .. } = &mut self.action {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body of the answer of [`Rule::answer`].
    #[must_use]
    pub fn body(mut self, text: impl Into<Vec<u8>>) -> Self {
        if let Action::Answer { body, .. } = &mut self.action {
            *body = text.into();
        }
        self
    }

    /// Makes [`Rule::answer`] answer before the request body is read and then close the connection.
    #[must_use]
    pub fn early(mut self) -> Self {
        if let Action::Answer { early, .. } = &mut self.action {
            *early = true;
        }
        self
    }

    /// Restricts the rule to one method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Restricts the rule to paths (for git, path and query) that contain this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Restricts the rule to one part of the site.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Restricts the rule to token requests with this `grant_type`.
    #[must_use]
    pub fn grant(mut self, grant: &str) -> Self {
        self.grant = Some(grant.to_owned());
        self
    }

    /// Restricts the rule to requests whose body comes without a length.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, matches: u64) -> Self {
        self.skip = matches;
        self
    }

    /// Applies the rule this often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Applies the rule to every matching request from now on.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.times = None;
        self
    }

    fn matches(&self, recorded: &Recorded) -> bool {
        let address = match &recorded.query {
            Some(query) => format!("{}?{query}", recorded.path),
            None => recorded.path.clone(),
        };
        self.method
            .as_ref()
            .is_none_or(|method| *method == recorded.method)
            && self.path.as_ref().is_none_or(|part| address.contains(part))
            && self.kind.is_none_or(|kind| kind == recorded.kind)
            && (!self.streamed || recorded.content_length.is_none())
            && self
                .grant
                .as_ref()
                .is_none_or(|grant| recorded.grant.as_ref() == Some(grant))
    }
}

/// The rules that are left, in the order of adding.
#[derive(Default)]
pub(crate) struct Script {
    rules: Mutex<Vec<Rule>>,
}

impl Script {
    pub(crate) fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    pub(crate) fn clear(&self) {
        self.rules().clear();
    }

    /// How many rules still wait for a request.
    pub(crate) fn left(&self) -> usize {
        self.rules().len()
    }

    /// Takes the action for this request, if any rule applies.
    pub(crate) fn take(&self, recorded: &Recorded) -> Option<Action> {
        let mut rules = self.rules();
        for place in 0..rules.len() {
            let rule = &mut rules[place];
            if !rule.matches(recorded) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            let action = rule.action.clone();
            if let Some(times) = &mut rule.times {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    rules.remove(place);
                }
            }
            return Some(action);
        }
        None
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules
            .lock()
            .expect("because no thread panics while it holds the rules")
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde asks for the type of the field"
)]
fn once() -> Option<u64> {
    Some(1)
}

fn text_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(deserializer).map(String::into_bytes)
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
