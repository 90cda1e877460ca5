//! A git remote helper for Bitbucket: `git clone bbtoken::workspace/repo`. You never handle a token.
//!
//! # The problem
//!
//! Bitbucket's OAuth tokens last two hours and are thousands of characters long. A token in a URL leaks, and fails two
//! hours later. A credential helper costs a round trip, and cannot get a token for an OAuth client. Git starts
//! `git-remote-bbtoken` instead. It chooses the profile for the repository, takes a token from the cache or gets one, and
//! relays git's own protocol to the server with one `Authorization` header.
//!
//! # How a fetch works
//!
//! ```text
//! bin/git-remote-bbtoken ─► helper ─┐         ┌─► transport ─► http
//!                                   ├─► app ──┼─► token ─► oauth ─► http
//! bin/git-bbtoken ────────► cli ────┘         └─► git_config ─► profile ─► site
//!                            └─► doctor ─► setup ─► git
//! ```
//!
//! 1. [`helper`] reads git's arguments. [`app`] reads git's configuration and the environment, and chooses the profile.
//! 2. Git sends `connect git-upload-pack`. [`transport`] asks [`app`] for the `Authorization` header, once per connection.
//! 3. [`token`] takes the access token from its cache. If it has expired, one process gets a new one by [`oauth`]; the others
//!    wait for it.
//! 4. [`transport`] relays pkt-lines between git's pipe and [`http`]. A 401 gets one new token and one retry.
//! 5. If the native transport does not support something, [`helper`] hands over to git's own `git-remote-https`, which
//!    asks `git-bbtoken credential` for the token.
//!
//! # Rooms
//!
//! | room | what it does |
//! | --- | --- |
//! | [`app`] | the context of one command: environment, configuration, profiles, clock, warnings, HTTP clients made on first use; chooses the profile |
//! | [`helper`] | serves git: plan, connect, hand over to git's transport, LFS, submodule hints |
//! | [`cli`] | `git bbtoken`: one file per subcommand; `arguments` defines the command line, `reference` lists every name |
//! | [`doctor`] | finds connection problems, and the fix for each |
//! | [`setup`] | the settings that git needs for the helper: the wanted ones, the present ones, the changes |
//! | [`transport`] | helper commands, pkt-lines, discovery, requests; defines the [`transport::Authorizer`] it needs |
//! | [`token`] | gets a valid access token: cache, lock, refresh, stores; `shared` is the record of many machines |
//! | [`oauth`] | RFC 6749 grants and their responses; opens no file, prints nothing |
//! | [`site`] | what differs between Bitbucket Cloud and Data Center; no other room asks which one it is |
//! | [`profile`] | chooses and checks the client, grant, endpoints and store |
//! | [`git_config`] | git's configuration as git reads it, with the origin and trust of each value |
//! | [`git`] | runs git: changes its configuration, finds repositories, reads a repository at Bitbucket |
//! | [`http`] | one client on reqwest and rustls: TLS, proxies, time limits; follows no redirect; curl where rustls cannot |
//! | [`agent`] | a process that keeps connections open between commands and lends them; Unix only |
//! | [`lfs`] | writes the settings for git-lfs into the repository's configuration |
//! | [`files`] | files that only the user can read, replaced atomically, in checked directories |
//! | [`address`] | the address of a repository, parsed |
//! | [`pasted`] | secrets and client ids as people paste them |
//! | [`clock`], [`signals`], [`dumps`], [`parent_watch`] | time; signals during a write; core dumps; the end of git |
//! | [`failure`], [`secret`], [`trace`], [`program`], [`limits`], [`suggestion`], [`url`], [`variables`], [`waiting`], [`wrapping`] | modules that every room may use |
//! | [`report`] | error chains as `error:`, `caused by:` and `hint:` lines; exit codes |
//!
//! Data flows downwards. `tests/layers.rs` holds the table of who may use whom, and fails on any other import.
//!
//! # Interfaces
//!
//! [`transport::Authorizer`] gives a header value, and learns if the server refuses it; [`app`] implements it on [`token`].
//! [`http::HttpClient`] takes a request and gives a response or a transport error; [`agent`] is the second
//! implementation. [`transport::AdvertisementCache`] remembers a server's advertisement; [`app`] stores it on disk.
//!
//! # Invariants
//!
//! The most important ones follow; `docs/invariants.md` lists all, each with its test.
//!
//! - The transport never sees a refresh token or a client secret.
//! - Only [`transport`] writes to git's pipe. Only [`report`] and [`trace`] write to stderr.
//! - A credential goes to https, or to http on loopback, to the configured host only. It follows no redirect to another host.
//! - No relative path, repository file or other user's file is a protected source or a place for a secret.
//! - No secret is in an argument, a child's environment, a URL, a configuration file, a trace or an error.
//! - Success is silent, and progress is git's own.
//! - One 401 gets at most one new token in a command. A warm command makes no token request.
//! - Files are replaced atomically. A kill at any moment keeps the login.
//! - One process per profile refreshes a login; the others wait and use its result. Of many machines, only one with a
//!   claim in the shared record sends the refresh token.
//! - Every command finds the same profile in the same directory.
//! - The setting `kind` says which Bitbucket it is. Both cost the same requests.
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the rooms are private; their documentation is built with --document-private-items"
)]

mod address;
#[cfg(unix)]
mod agent;
mod app;
mod cli;
mod clock;
mod doctor;
mod dumps;
mod failure;
mod files;
mod git;
mod git_config;
mod helper;
mod http;
#[cfg(test)]
#[path = "../tests/inside/mod.rs"]
mod inside;
mod lfs;
mod limits;
mod oauth;
mod parent_watch;
mod pasted;
mod profile;
mod program;
mod report;
mod secret;
mod setup;
mod signals;
mod site;
mod suggestion;
mod token;
mod trace;
mod transport;
mod url;
mod variables;
mod waiting;
mod wrapping;

use std::process::ExitCode;

/// Runs `git-remote-bbtoken` on this process's arguments and streams. A packager may give the id and the secret of an
/// OAuth client for logins in a browser; the secret is then public.
pub fn git_remote_bbtoken(
    client_id: Option<&'static str>,
    secret: Option<&'static str>,
) -> ExitCode {
    profile::builtin::set(client_id, secret);
    helper::main()
}

/// Runs `git-bbtoken` on this process's arguments and streams, with the same client.
pub fn git_bbtoken(client_id: Option<&'static str>, secret: Option<&'static str>) -> ExitCode {
    profile::builtin::set(client_id, secret);
    cli::main()
}
