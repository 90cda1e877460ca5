//! A Bitbucket on loopback, for tests and demonstrations: real git behind Bitbucket's answers.
//!
//! [`Bitbucket::start`] makes a certificate authority, an OAuth consumer and a directory of bare repositories, and
//! serves them until it is dropped. It speaks the `git http-backend` protocol of the git it was given, the OAuth 2
//! endpoints as Bitbucket Cloud answers them since 2026, Git LFS with its locks, and the two REST calls that tell users
//! and repositories apart.
//!
//! Everything that happens is recorded without a secret ([`Recorded`]), and any answer can be scripted ([`Rule`]).
//!
//! # Data Center
//!
//! [`Options::data_center`] plays Bitbucket Data Center instead, below a context path. A project's key, or `~` and a
//! user's slug, takes the place of the workspace. Tests issue tokens in the same way: Bitbucket Cloud's scopes are
//! translated. [`DataCenter`] lists what can be switched. All of it follows what public pages say; no real Data Center
//! was available to compare it with.
//!
//! | address below the context path | what answers |
//! |---|---|
//! | `/scm/KEY/slug.git` | git, and Git LFS below `info/lfs` |
//! | `/rest/oauth2/latest/authorize`, `/rest/oauth2/latest/token` | the OAuth 2 provider |
//! | `/rest/api/latest/application-properties` | the version; `X-AUSERNAME` names the user |
//! | `/rest/api/latest/inbox/pull-requests/count` | 401 to those who are not signed in |
//! | `/rest/api/latest/users/SLUG` | the user who asks |
//! | `/rest/api/latest/projects/KEY/repos/SLUG` | a repository |
//! | `/rest/git-lfs/storage/KEY/SLUG/OID` | an object of Git LFS |
//! | `/login`, `/projects/…`, `/users/…` | pages for a browser |
//!
//! # Control over HTTP
//!
//! The same can be done over HTTP with the header `X-Local-Key`; such requests are not recorded. Bodies are JSON. On
//! Data Center the addresses are below the context path.
//!
//! | request | body | effect |
//! |---|---|---|
//! | `GET /_local/requests` | | the requests as [`Recorded`] |
//! | `DELETE /_local/requests` | | forgets requests and connections |
//! | `GET /_local/connections` | | how many connections were accepted |
//! | `GET /_local/refresh-uses` | | each refresh token as [`RefreshUse`] |
//! | `POST /_local/repositories` | `{"workspace":"ws","name":"repo"}`, `"object_format":"sha256"` | makes a repository, answers its `path` |
//! | `POST /_local/consumers` | all fields of [`Consumer`] | adds a consumer |
//! | `POST /_local/tokens` | [`NewToken`], as `{"kind":"access","scopes":["repository"]}`, or `api`, `resource`, `service` | answers a `token` |
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
//! No dumb HTTP and no JWT grant. As Cloud: no rate limit but a scripted one, and no users beyond their tokens. As Data
//! Center: one person with a password, no ssh, and no redirects from old names of repositories.
//!
//! Where public pages about Data Center are silent or disagree, the local server guesses:
//!
//! - A refresh needs the redirect URI, and ends older access tokens at once. Both can be switched.
//! - Git and Git LFS take the tokens of service accounts. With the switch they answer 401.
//! - Failed attempts are forgotten only by a login in the browser, not by a request that succeeds.
//! - The statuses with which Git LFS is refused, the descriptions of token errors, and the words that refuse a push.
//! - A mirror serves git and Git LFS, and nothing else.

mod access;
mod backend;
mod bitbucket;
mod certificates;
mod clock;
mod connection;
mod control;
mod data_center;
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

pub use bitbucket::{Bitbucket, Edition, ObjectFormat, Options};
pub use certificates::{Claims, certificate};
pub use data_center::{DataCenter, RateLimit};
pub use journal::{Kind, Progress, Recorded, Scheme};
pub use oauth::{Consumer, NewToken, RefreshUse, TokenKind};
pub use random::fingerprint;
pub use script::{Action, Bare, Rule, Then};
pub use settings::{Consent, LfsLinks, ScopeField, Settings};
pub use site::lay_out;
