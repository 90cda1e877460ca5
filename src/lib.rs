//! A git remote helper for Bitbucket: `git clone bbtoken::workspace/repo`, and nobody handles a token.
//!
//! # The problem
//!
//! Bitbucket's OAuth tokens last two hours and are thousands of characters long. A token in a URL leaks and then
//! fails; a credential helper costs round trips and cannot get a token for a client by itself. Git starts
//! `git-remote-bbtoken` instead: it finds the profile for the workspace, takes a token that is still good or gets
//! one, and carries git's own protocol to the server with one `Authorization` header.
//!
//! # The way of one fetch
//!
//! ```text
//! argv ─► address ─► profile ◄─ config          http (TLS, proxy, time limits; knows neither side)
//!                       │                         ▲            ▲
//!                     token ──► oauth ────────────┘            │
//!                       │ (cache, lock, grant)                 │
//!                   Authorizer ─────► relay ───────────────────┘ ◄─► git (stdin/stdout)
//! ```
//!
//! Data flows one way; nobody looks back upstream. Git keeps all protocol logic: the relay answers `connect`, so
//! that git runs its own fetch-pack and send-pack on our pipe, and knows only where a request and an answer end.
//! What the native transport cannot do (older protocol versions, some `http.*` settings) is done by git's own
//! `git-remote-https`, which asks `git-bbtoken credential` for the token.
//!
//! # Files
//!
//! | file | what it does |
//! | --- | --- |
//! | [`failure`] | what went wrong, as a kind that decides what to do next |
//! | [`secret`] | a string that does not print itself, and what is shown of texts that may hold a secret |
//! | `pasted` | removes quotes, marks and line ends around a key, secret or token |
//! | [`clock`] | time as a parameter |
//! | `files` | files that only the user can read, replaced as a whole, in directories that are opened once and checked |
//! | `signals` | signals held back during a write that must not be left half done |
//! | [`address`] | what git hands us, parsed |
//! | [`http`] | one client on reqwest and rustls: TLS roots, proxy, time limits; follows no redirect |
//! | [`oauth`] | RFC 6749 grants and the answers to them; opens no file, prints nothing |
//! | [`profile`] | client, grant, endpoints, where the secret is kept: chosen and valid |
//! | [`git_config`] | git's configuration and the environment, raw, each setting with its origin |
//! | [`token`] | a token that works: cached, or got once for all processes |
//! | [`transport`] | helper commands, pkt-lines, discovery, requests; defines the [`transport::Authorizer`] it needs |
//! | [`lfs`] | what git-lfs must be told of a remote, written into the repository's configuration |
//! | [`dumps`] | prevents core dumps, and reads of our memory by other processes |
//! | [`program`] | which programs are started, and what each child gets of our environment |
//! | [`limits`] | threads and file handles, where the system gives no more of them |
//! | [`parent_watch`] | ends the process when git is gone while a server is waited for |
//! | [`wire`] | the only place that joins the rooms |
//! | [`cli`] | `git bbtoken …`, one file per subcommand; `cli` defines the command line, `reference` lists every name |
//! | [`trace`] | what happens, told while it happens: `BBTOKEN_TRACE`, `GIT_TRACE_CURL`, `GIT_TRACE2_EVENT`; redacted by type |
//! | [`report`] | error chains as `error:`, `caused by:`, `hint:` lines; exit codes |
//! | `bin/*` | arguments and pipes, one call, an exit code |
//!
//! [`failure`], [`secret`], [`trace`], [`program`] and [`limits`] are leaves that every module may use; the other rules are the table of
//! `tests/layers.rs`, which fails on an import that is not in it.
//!
//! # Three interfaces
//!
//! [`transport::Authorizer`] gives the relay a header value and hears when the server refused it; [`wire`] implements it
//! on [`token`]. [`http::HttpClient`] takes a request and gives an answer or a transport error; a keep-alive agent
//! can be a second implementation of it. [`transport::AdvertisementCache`] keeps what a server said of itself; [`wire`] has it on disk.
//!
//! # Invariants, and the tests that hold them
//!
//! | invariant | test |
//! | --- | --- |
//! | a module knows only those below it; only `report` and `trace` write to stderr | `tests/layers.rs` |
//! | no kill, lost answer, race or wrong clock costs a login; no refresh token is used twice but for a lost answer | `tests/it/model/` |
//! | the same at every system call, for kills and for errors of the file system | `tests/it/crashes.rs` |
//! | a login is kept where the profile says, or there is an error | `tests/it/stores.rs` |
//! | a fetch never holds the token of the profile that pushes | `tests/it/sessions/accounts.rs` |
//! | git's own transport serves a trusted server whose TLS only git supports | `tests/it/certificates.rs` |
//! | a credential goes to https or to this machine, to the configured host, along no redirect | `http::tests`, `profile::tests`, `tests/it/redirects.rs` |
//! | an address names a repository and never a host of its own | `address::tests`, `tests/it/addresses.rs` |
//! | every command finds the same profile in the same directory, uses it as it is defined, and only for its site | `tests/it/whose.rs` |
//! | a repository selects a profile, and neither defines one nor decides whom we trust or where a secret goes | `tests/it/attacks/trust.rs` |
//! | a profile that only pushes serves a fetch only if the user or the address of a remote names it | `tests/it/attacks/pushers.rs` |
//! | older protocol versions, and none, ask the server what plain https asks it | `tests/it/versions.rs` |
//! | each of git's http settings is followed, or left to git | `tests/it/settings.rs`, `tests/it/chunks.rs` |
//! | one family of addresses is kept to where git is told to | `tests/it/families.rs` |
//! | each way in which an answer is not complete has its own words | `tests/it/answers.rs` |
//! | settings are those git would read | `tests/it/config.rs`, against git itself |
//! | no secret stands in an argument, an environment, a URL, a file but the cache, or any output | `tests/it/canary.rs` |
//! | a warm command makes no token request, on one connection, with three processes | `tests/it/figures.rs` |
//! | one refused token gives at most one new one, inside the same command | `tests/it/tokens/refused.rs` |
//! | one process gets a token, the others wait and take it | `tests/it/figures.rs` |
//! | an answer that is cut or garbled ends the command, and never leaves git waiting | `transport::pktline` tests, `tests/it/faults/` |
//! | a push that may have been done is never called failed, nor one that was not done unknown | `tests/it/faults/pushes.rs` |
//! | what only reads is tried again within bounds, a push only when the server has refused to look at it | `http::retry` tests, `tests/it/retries.rs` |
//! | a killed git leaves no process, an ended clone no directory | `tests/it/signals.rs` |
//! | what is remembered of a server never makes a command end otherwise | `tests/it/advertisement.rs` |
//! | packs stream: memory stays flat | `tests/it/memory.rs` |
//! | files are 0600 in a 0700 directory and replaced as a whole | `token` tests, `tests/it/cache.rs` |
//! | no file or directory of another user holds, gives or receives a secret | `files` tests, `tests/it/attacks/users.rs` |
//! | success is silent, and progress is git's own | `tests/it/progress.rs` |
//! | a login that fails or is stopped changes nothing | `tests/it/login.rs`, `tests/it/callbacks.rs` |
//! | a logout leaves what another profile uses | `tests/it/whose.rs` |
//! | whoever else talks to a login's port neither ends nor fakes it, nor keeps the browser out | `tests/it/callbacks.rs` |
//! | the arguments of a login's browser do not let another user finish the login | `tests/it/attacks/logins.rs` |
//! | whose login it is, is asked where it can be, and is never a reason to fail | `tests/it/account.rs` |
//! | each command that doctor suggests removes its finding | `tests/it/doctor.rs` |
//! | the helper asks no question that git's settings forbid | `tests/it/stores.rs`, `tests/it/proxies.rs` |
//! | what earlier advice has left is found in each of its places, and no secret of it shown | `tests/it/leftovers.rs` |
//! | `remote convert` changes the repository and its submodules, and no other | `tests/it/attacks/convert.rs` |
//! | setup shows what it writes, and is taken back to the byte | `tests/it/setup.rs` |
//! | no other credential helper gets our token after setup | `tests/it/credential.rs`, `tests/it/setup.rs` |
//! | the credential helper answers for the configured site only, and erases nothing but a cached token | `tests/it/credential.rs` |
//! | addresses that are there already work as they stand, beside the user's own rules | `tests/it/urls.rs` |
//! | other programs work as the table says, recipes as they are written | `tests/it/programs.rs`, `tests/it/packages.rs`, `tests/it/starters.rs`, `tests/it/recipes.rs` |
//! | git servers by other authors work as Bitbucket does | `tests/it/foreign.rs` |
//! | a test that hangs is killed and reported | `tests/it/watch.rs` |
//! | a submodule that git refuses is named with its remedy, and nothing is said of any other | `tests/it/submodules.rs` |
//! | submodules follow git's own rules at any depth | `tests/it/superprojects.rs` |
//! | one token serves a superproject, its submodules and their large files, also when it is refused on the way | `tests/it/submodules.rs` |
//! | git-lfs is told where objects are, once, and nobody's own settings are changed | `tests/it/lfs.rs`, `tests/it/large_files.rs` |
//! | the reference names every key, variable and command | `tests/it/help.rs` |
//! | every message is kept as expected text | `tests/it/texts/` |
//! | whoever leaves a question has changed nothing, and the terminal is as it was | `tests/it/terminals.rs` |
//! | completions offer commands, options and profiles, and no shell evaluates an answer | `tests/it/completions.rs`, `tests/it/attacks/shells.rs` |
//! | no text from outside acts on a terminal or forges a line | `failure::tests`, `tests/it/attacks/terminals.rs` |
//! | a secret in the wrong place is masked in every message | `secret::tests`, `tests/it/attacks/masks.rs` |
//! | no name, address, path or setting is run by a shell or taken for an option | `tests/it/attacks/shells.rs` |
//! | a proxy's password goes the way the proxy wants, and our token never to it | `tests/it/proxies.rs`, `tests/it/squid.rs` |
//! | a hostile server gets no second host, file, program, terminal or memory | `tests/it/hostile/` |
//! | a relative path is never trusted configuration, a program, a certificate or a place for a secret | `tests/it/attacks/paths.rs`, `tests/it/attacks/programs.rs` |
//! | a huge file, a pipe or a loop of links does not delay a command | `tests/it/attacks/resources.rs` |
//! | a command without threads, file handles, disk space or `/proc` works or reports an error, and never panics | `tests/it/scarce.rs` |
//! | no core dump holds our memory, and no other process of the user may read it | `tests/it/attacks/dumps.rs` |
//! | each child gets the variables that the reference says | `tests/it/attacks/programs.rs` |
//! | many commands at once share one token, through faults | `tests/it/load.rs` |
//! | no text from outside makes a parser panic, lose what it read or show a secret | `fuzz`, in the tests of each parser |

mod address;
mod app;
mod cli;
mod clock;
mod dumps;
mod failure;
mod files;
#[cfg(test)]
mod fuzz;
mod git_config;
mod helper;
mod http;
mod lfs;
mod limits;
mod oauth;
mod parent_watch;
mod pasted;
mod profile;
mod program;
mod report;
mod secret;
mod signals;
mod token;
mod trace;
mod transport;

use std::process::ExitCode;

/// Runs `git-remote-bbtoken` on this process's arguments and streams.
pub fn git_remote_bbtoken() -> ExitCode {
    helper::main()
}

/// Runs `git-bbtoken` on this process's arguments and streams.
pub fn git_bbtoken() -> ExitCode {
    cli::main()
}

/// What the project's own tests compare with git, or replace. It is no interface: it changes without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        clock::Clock,
        git_config::{
            BBTOKEN_KEYS, FromRepository, GIT_KEYS, GitConfig, HTTP_KEYS, HttpTreatment,
            REMOTE_KEYS, Scope, http_settings,
        },
        http::{
            Body, Client as HttpClientOfTests, HeaderMap, HttpClient, Phase, Request, Response,
            ResponseBody, Settings, TransportError, Url,
        },
        oauth::Authorization,
        profile::{Client, Endpoints, Grant, Profile, Source, Store, Transport},
        secret::Secret,
        token::{Connect, Login, Places, Tokens},
    };
}
