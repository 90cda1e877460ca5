//! Requests to the server of a record, and what all of its answers have in common.

use std::{cell::Cell, time::Duration};

use serde_json::Value;
use zeroize::Zeroizing;

use super::super::interface::Trouble;
use crate::{
    failure::{Failure, Kind, quote},
    http::{self, Body, HttpClient, Phase, Request, Response, TransportError},
    profile::{RecordPath, Vault},
    secret::Secret,
};

/// The usual limit for one request.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The server of a record.
pub(super) struct Wire<'v> {
    pub(super) vault: &'v Vault,
    pub(super) record: &'v RecordPath,
    pub(super) http: &'v dyn HttpClient,
    /// The limit for one request.
    pub(super) limit: Cell<Duration>,
}

/// An answer of the server.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The body, if it is an object.
    pub(super) json: Option<Value>,
    /// Names a body that is not an object.
    other: String,
    /// `X-Vault-Index`.
    pub(super) index: Option<String>,
    pub(super) store_time_unix_s: Option<u64>,
    retry_after: Option<Duration>,
}

impl<'v> Wire<'v> {
    /// Gives the path of the record below `/v1`: its `data`, its `metadata`, or to `destroy` versions of it.
    pub(super) fn path_of(&self, what: &'static str) -> Vec<&'v str> {
        let RecordPath { mount, path } = self.record;
        let mount = mount.split('/');
        mount.chain([what]).chain(path.split('/')).collect()
    }

    /// Sends a request: a POST with a body, or a GET without one. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub(super) fn send(
        &self,
        path: &[&str],
        body: &Secret,
        token: Option<&Secret>,
        index: Option<&str>,
    ) -> Result<Answer, TransportError> {
        let mut url = self.vault.url.clone();
        url.path_segments_mut()
            .expect("because the profile's URL is http or https")
            .pop_if_empty()
            .push("v1")
            .extend(path);
        let is_read = body.is_empty();
        let mut request = Request::post(url, Body::Secret(body.clone()))
            .header("Accept", "application/json")
            .header("X-Vault-Request", "true");
        if is_read {
            request.method = http::Method::Get;
        } else {
            request = request.header("Content-Type", "application/json");
        }
        if let Some(namespace) = &self.vault.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(index) = index {
            request = request
                .header("X-Vault-Index", index)
                .header("X-Vault-Inconsistent", "forward-active-node");
        }
        let bearer = |token: &Secret| Secret::new(format!("Bearer {}", token.expose()));
        request.authorization = token.map(bearer);
        request.time_limit = Some(self.limit.get());
        Answer::read(self.http.send(request)?)
    }

    /// Sorts a request without an answer.
    pub(super) fn lost(&self, what: &str, error: TransportError) -> Trouble {
        let may_pass = http::Trouble::of_connection(&error).is_some()
            || matches!(error.phase, Phase::TimeLimit | Phase::NotHttp);
        let failure = Failure::new(error.kind(), self.message(what, &error.to_string()));
        let why = anyhow::Error::new(http::Reason(error)).context(failure);
        match may_pass {
            true => Trouble::Lost {
                why,
                retry_after: None,
            },
            false => Trouble::Unusable(why),
        }
    }

    /// Sorts an answer that does not do what was asked.
    pub(super) fn refusal(&self, what: &str, answer: &Answer) -> Trouble {
        let why = self.failure(what, &answer.words());
        match answer.status {
            // A standby on its way to the active node, a limit, a sealed server, or one without a leader.
            307 | 429 | 472..=474 | 500.. => Trouble::Lost {
                why,
                retry_after: answer.retry_after,
            },
            // Vault Enterprise: this node is behind.
            412 => Trouble::Overtaken,
            _ => Trouble::Unusable(why),
        }
    }

    pub(super) fn failure(&self, what: &str, why: &str) -> anyhow::Error {
        Failure::new(Kind::SharedStoreUnusable, self.message(what, why)).into()
    }

    fn message(&self, what: &str, why: &str) -> String {
        format!("{what} {}: {why}", self.vault.name_of(self.record))
    }
}

impl Answer {
    fn read(mut response: Response) -> Result<Self, TransportError> {
        let body = Zeroizing::new(response.read_body(MAX_ANSWER_BYTES)?);
        let json = serde_json::from_slice(&body).ok();
        let other = match response.header("content-type") {
            _ if body.is_empty() => "an empty body".to_owned(),
            Some(kind) => format!("'{}' that is not Vault's JSON", quote(kind)),
            None => "a body that is not Vault's JSON".to_owned(),
        };
        Ok(Answer {
            status: response.status,
            json: json.filter(Value::is_object),
            other,
            index: response.header("x-vault-index").map(str::to_owned),
            store_time_unix_s: response.date_unix_s(),
            retry_after: response.retry_after().map(|span| span.min(LONGEST_PAUSE)),
        })
    }

    /// Gives a part of the body (RFC 6901).
    pub(super) fn part(&self, path: &str) -> Option<&Value> {
        self.json.as_ref()?.pointer(path)
    }

    /// Tells whether it is the answer for a record that was never written.
    pub(super) fn names_no_error(&self) -> bool {
        let errors = self.part("/errors").and_then(Value::as_array);
        errors.is_some_and(Vec::is_empty)
    }

    /// Tells whether the server has surely not processed the request: a limit, a node that is not the active one, or a
    /// sealed server.
    pub(super) fn is_unprocessed(&self) -> bool {
        let has_no_leader = || self.errors().contains("active");
        match self.status {
            307 | 429 => true,
            503 => self.part("/errors").is_some(),
            500 => has_no_leader(),
            _ => false,
        }
    }

    /// Says what the server answered.
    pub(super) fn words(&self) -> String {
        let status = self.status;
        let errors = self.errors();
        match &self.json {
            _ if (300..=399).contains(&status) => {
                format!("the server answered {status}, a redirect, which is not followed")
            }
            None => format!(
                "the server answered {status} with {}; a proxy or a sign-on page may have answered",
                self.other
            ),
            Some(_) if status == 200 => {
                "the server answered 200 with JSON that is not Vault's".into()
            }
            Some(_) if errors.is_empty() => format!("the server answered {status}"),
            Some(_) => format!("the server answered {status}: {}", quote(&errors)),
        }
    }

    fn errors(&self) -> String {
        let errors = self.part("/errors").and_then(Value::as_array);
        let errors = errors.into_iter().flatten().filter_map(Value::as_str);
        let words = errors.flat_map(str::split_whitespace);
        let text = words.filter(|word| *word != "*").collect::<Vec<_>>();
        let text = text.join(" ");
        let first = text.strip_prefix("1 error occurred: ");
        first.unwrap_or(&text).to_owned()
    }
}
