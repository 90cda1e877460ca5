//! A Bitbucket on loopback, for tests and demonstrations: real git behind Bitbucket's answers.
//!
//! [`Bitbucket::start`] makes a certificate authority, an OAuth consumer and a directory of bare repositories, and
//! serves them until it is dropped. It speaks the `git http-backend` protocol of the git it was given, the OAuth 2
//! endpoints as Bitbucket Cloud answers them since 2026, Git LFS with its locks, and the two REST calls that tell users
//! and repositories apart.
//!
//! Everything that happens is recorded without a secret ([`Recorded`]), and any answer can be scripted ([`Rule`]).
//!
//! # Control over HTTP
//!
//! The same can be done over HTTP with the header `X-Local-Key`; such requests are not recorded. Bodies are JSON.
//!
//! | request | body | effect |
//! |---|---|---|
//! | `GET /_local/requests` | | the requests as [`Recorded`] |
//! | `DELETE /_local/requests` | | forgets requests and connections |
//! | `GET /_local/connections` | | how many connections were accepted |
//! | `GET /_local/refresh-uses` | | each refresh token as [`RefreshUse`] |
//! | `POST /_local/repositories` | `{"workspace":"ws","name":"repo"}`, `"object_format":"sha256"` | makes a repository, answers its `path` |
//! | `POST /_local/consumers` | all fields of [`Consumer`] | adds a consumer |
//! | `POST /_local/tokens` | `{"kind":"access","scopes":["repository"]}`, or `api`, `resource` | answers a `token` |
//! | `POST /_local/revoke` | | refuses every token issued so far |
//! | `POST /_local/clock` | `{"advance_s":60}` | moves the clock |
//! | `POST /_local/script` | [`Rule`], as `{"kind":"git","action":{"answer":{"status":429}}}` | adds a rule |
//! | `DELETE /_local/script` | | forgets the rules |
//! | `POST /_local/release` | | lets held requests go on |
//! | `GET /_local/settings` | | the [`Settings`] |
//! | `POST /_local/settings` | any fields of [`Settings`] | changes them |
//!
//! In JSON the actions are `{"answer":{"status":…,"headers":[["name","value"]],"body":"…","early":true}}`,
//! `{"delay_ms":…}`, `"hold"`, `"close_without_answer"`, `"answer_lost"`, `{"cut_after":…}`, `{"truncate":…}`,
//! `{"replace_body":"…"}` and `"close_idle"`; `"times":null` is forever.
//!
//! # What it does not do
//!
//! No dumb HTTP, no JWT grant, no rate limit but a scripted one, no users beyond their tokens.

mod access;
mod backend;
mod bitbucket;
mod certificates;
mod clock;
mod connection;
mod control;
mod exchange;
mod git;
mod journal;
mod lfs;
mod oauth;
mod page;
pub mod proxy;
mod random;
mod reply;
mod rest;
mod script;
mod settings;
mod site;

pub use bitbucket::{Bitbucket, ObjectFormat, Options};
pub use certificates::{Claims, certificate};
pub use journal::{Kind, Progress, Recorded};
pub use oauth::{Consumer, RefreshUse, TokenKind};
pub use script::{Action, Bare, Rule, Then};
pub use settings::{Consent, LfsLinks, ScopeField, Settings};
pub use site::lay_out;
