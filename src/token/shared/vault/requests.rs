//! Requests for a record, with this machine's login to the store.

use std::{
    cell::{Cell, RefCell},
    ffi::OsString,
};

use serde_json::Value;

use super::{
    credential::{self, Credential},
    wire::{Answer, TIME_LIMIT, Wire},
};
use crate::{
    failure::{Failure, Kind, kind},
    http::{HttpClient, Phase},
    profile::{RecordPath, Vault},
    secret::Secret,
    token::shared::interface::Trouble,
};

pub(super) const READ: &str = "cannot read the shared login";
pub(super) const WRITE: &str = "cannot write the shared login";

/// A record of Vault or OpenBao.
pub(crate) struct VaultRecord<'v> {
    pub(super) wire: Wire<'v>,
    pub(super) variables: &'v dyn Fn(&str) -> Option<OsString>,
    pub(super) session: &'v VaultSession,
    /// The newest version that was seen.
    pub(super) newest: Cell<u64>,
}

/// The login of a command to its store, for all records there.
#[derive(Default)]
pub(crate) struct VaultSession {
    access: RefCell<Access>,
    /// Whether a second login has replaced a token that the server refused.
    is_second: Cell<bool>,
    /// The state of the store after the last own login or write, for `X-Vault-Index`.
    index: RefCell<Option<String>>,
}

/// The access to the store.
#[derive(Default)]
enum Access {
    /// There was no login yet, or its token has ended.
    #[default]
    NotYet,
    /// Requests carry this token.
    Open(Option<Secret>, Credential),
    /// The login failed and is not repeated: a server locks a role after a few wrong secrets.
    Refused(Kind, String),
}

impl<'v> VaultRecord<'v> {
    /// Prepares a record without a request. The variables may contain the login.
    pub(crate) fn new(
        vault: &'v Vault,
        record: &'v RecordPath,
        http: &'v dyn HttpClient,
        variables: &'v dyn Fn(&str) -> Option<OsString>,
        session: &'v VaultSession,
    ) -> Self {
        VaultRecord {
            wire: Wire {
                vault,
                record,
                http,
                limit: Cell::new(TIME_LIMIT),
            },
            variables,
            session,
            newest: Cell::new(0),
        }
    }

    /// Sends a request for the record: a read if `body` is empty. If the server refuses the token of a login with a
    /// JWT, logs in once more in this session.
    pub(super) fn ask(&self, what: &'static str, body: &Secret) -> Result<Answer, Trouble> {
        let path = self.wire.path_of("data");
        loop {
            let answer = self.send(what, &path, body)?;
            if answer.status != 403 || answer.json.is_none() {
                return Ok(answer);
            }
            let is_first = !self.session.is_second.get();
            match &*self.session.access.borrow() {
                Access::Open(_, Credential::Jwt { .. }) if is_first => {}
                Access::Open(_, by) => return Err(self.denied(what, by, &answer)),
                Access::NotYet | Access::Refused(..) => return Ok(answer),
            }
            self.session.is_second.set(true);
            self.session.access.replace(Access::NotYet);
        }
    }

    /// Sends a request with this machine's login.
    pub(super) fn send(&self, what: &str, path: &[&str], body: &Secret) -> Result<Answer, Trouble> {
        let token = self.token()?;
        let index = self.session.index.borrow().clone();
        let sent = self.wire.send(path, body, token.as_ref(), index.as_deref());
        sent.map_err(|error| self.wire.lost(what, error))
    }

    /// Gives the token for requests. Logs in if there was no login yet.
    fn token(&self) -> Result<Option<Secret>, Trouble> {
        match &*self.session.access.borrow() {
            Access::NotYet => {}
            Access::Open(token, _) => return Ok(token.clone()),
            Access::Refused(kind, message) => {
                let failure = Failure::new(kind.clone(), message);
                return Err(Trouble::Unusable(failure.into()));
            }
        }
        let credential = credential::find(self.wire.vault, self.variables);
        let (token, credential) = credential
            .map_err(Trouble::Unusable)
            .and_then(|credential| Ok((self.log_in(&credential)?, credential)))
            .inspect_err(|trouble| {
                if let Trouble::Unusable(error) = trouble {
                    self.session.access.replace(Access::refused(error));
                }
            })?;
        let opened = Access::Open(token.clone(), credential);
        self.session.access.replace(opened);
        Ok(token)
    }

    /// Gives the token of a credential, after a login if it needs one.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unusable`] if a repeated login could do harm or would fail the same way.
    fn log_in(&self, credential: &Credential) -> Result<Option<Secret>, Trouble> {
        let Some((path, body)) = credential.login() else {
            return Ok(credential.token());
        };
        let what = format!("cannot log in as {credential} for the shared login");
        let is_spent = matches!(credential, Credential::AppRole { .. });
        let answer = match self.wire.send(&path, &body, None, None) {
            Ok(answer) => answer,
            Err(error) => {
                let is_unsent = matches!(error.phase, Phase::Connect | Phase::Tls);
                return Err(match self.wire.lost(&what, error) {
                    Trouble::Lost { why, .. } if is_spent && !is_unsent => Trouble::Unusable(why),
                    trouble => trouble,
                });
            }
        };
        let token = answer.part("/auth/client_token").and_then(Value::as_str);
        let token = token.filter(|token| !token.is_empty());
        match (answer.status, token) {
            (200, Some(token)) => {
                let token = Secret::new(token);
                // A standby does not know a new token at once.
                self.note(answer.index);
                Ok(Some(token))
            }
            _ if is_spent && !answer.is_unprocessed() => {
                let why = self.wire.failure(&what, &answer.words());
                Err(Trouble::Unusable(why))
            }
            _ => Err(match self.wire.refusal(&what, &answer) {
                Trouble::Overtaken => Trouble::Lost {
                    why: self.wire.failure(&what, &answer.words()),
                    retry_after: None,
                },
                trouble => trouble,
            }),
        }
    }

    /// Makes the error for a request that was denied: by a policy, or because the token has ended.
    fn denied(&self, what: &str, by: &Credential, answer: &Answer) -> Trouble {
        let rights = match what {
            WRITE => r#""create", "read", "update""#,
            _ => r#""read""#,
        };
        let path = self.wire.path_of("data").join("/");
        let rule = format!("path \"{path}\" {{ capabilities = [{rights}] }}");
        let cause = match by {
            Credential::None => credential::none(self.wire.vault),
            Credential::Token { .. } => format!("{by} has ended, or its policy lacks: {rule}"),
            _ => format!("the policy of {by} lacks: {rule}"),
        };
        let why = format!("{}; {cause}", answer.words());
        Trouble::Unusable(self.wire.failure(what, &why))
    }

    /// Reads version and content of a record. There is no content if there is no record.
    pub(super) fn content(&self, answer: &Answer) -> Result<(u64, Option<Secret>), Trouble> {
        let version = answer.part("/data/metadata/version");
        match (answer.status, version.and_then(Value::as_u64)) {
            (200, Some(version)) => {
                let content = answer.part("/data/data").filter(|it| it.is_object());
                Ok((version, content.map(|it| Secret::new(it.to_string()))))
            }
            // The version was deleted, and the next write must name it.
            (404, Some(version)) => Ok((version, None)),
            (404, None) if answer.names_no_error() => Ok((0, None)),
            (200, None) if answer.part("/data").is_some() => Err(self.without_versions(READ)),
            _ => Err(self.wire.refusal(READ, answer)),
        }
    }

    pub(super) fn without_versions(&self, what: &str) -> Trouble {
        let mount = &self.wire.record.mount;
        Trouble::Unusable(self.wire.failure(what, &format!(
            "the engine '{mount}' is KV version 1, which cannot compare versions; run 'vault kv enable-versioning {mount}', or use another engine"
        )))
    }

    /// Names the login that requests carry.
    pub(super) fn who(&self) -> String {
        match &*self.session.access.borrow() {
            Access::Open(_, by) => by.to_string(),
            Access::NotYet | Access::Refused(..) => Credential::None.to_string(),
        }
    }

    pub(super) fn note(&self, index: Option<String>) {
        if index.is_some() {
            self.session.index.replace(index);
        }
    }
}

impl Access {
    fn refused(error: &anyhow::Error) -> Self {
        let kind = kind(error).cloned().unwrap_or(Kind::SharedStoreUnusable);
        Access::Refused(kind, format!("{error:#}"))
    }
}
