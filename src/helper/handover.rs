//! Runs git's own helper instead of this one, for settings and protocols that only it supports.

use std::{
    ffi::{OsStr, OsString},
    process::Command as Process,
};

use anyhow::Context as _;

use super::{
    HandOver, Plan, Protocol,
    reach::{self, Wanted},
};
use crate::{
    app::authority,
    failure::{Failure, Kind, quote_for_shell},
    git_config::{HttpSettings, Variables, process_variable},
    http::TransportError,
    program::{self, Child},
    trace,
    transport::Service,
    url::Url,
};

/// Replaces this process by another program, which takes over git's pipe.
///
/// # Errors
///
/// When it cannot be started.
#[cfg(unix)]
pub(crate) fn replace_process(mut process: Process) -> anyhow::Result<u8> {
    use std::os::unix::process::CommandExt as _;
    Err(process.exec()).context("cannot start git's own https helper")
}

/// Runs another program on git's pipe and gives its exit code.
///
/// # Errors
///
/// When it cannot be started.
#[cfg(not(unix))]
pub(crate) fn replace_process(mut process: Process) -> anyhow::Result<u8> {
    let status = process
        .status()
        .context("cannot start git's own https helper")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

/// Adds a scheme to git's list of those that are allowed (git(1), `GIT_ALLOW_PROTOCOL`).
fn allowing(list: &OsStr, scheme: &str) -> OsString {
    let mut list = list.to_owned();
    if !list.to_string_lossy().split(':').any(|it| it == scheme) {
        list.push(":");
        list.push(scheme);
    }
    list
}

/// Appends settings after the user's own `-c`. The last one wins (git: `git_config_from_parameters`).
fn append_settings(process: &mut Process, settings: &[(String, String)], variables: Variables<'_>) {
    let mut list = variables("GIT_CONFIG_PARAMETERS").unwrap_or_default();
    for (key, value) in settings {
        if !list.is_empty() {
            list.push(" ");
        }
        list.push(format!("{}={}", quoted(key), quoted(value)));
    }
    process.env("GIT_CONFIG_PARAMETERS", list);
}

/// Quotes as git does (git: `sq_quote_buf`).
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "'\\!'"))
}

/// Gives `http.extraHeader` without an `Authorization`: git would send it beside the token, and the server would
/// refuse both.
fn extra_headers(http: &HttpSettings, repository: &Url) -> Vec<(String, String)> {
    if !http.has_leftover_authorization {
        return Vec::new();
    }
    let key = format!("http.{repository}.extraHeader");
    let kept = http.settings.extra_headers.iter();
    let kept = kept.map(|(name, value)| format!("{name}: {}", value.expose()));
    std::iter::once(String::new())
        .chain(kept)
        .map(|line| (key.clone(), line))
        .collect()
}

/// Stops git from asking for a password.
fn without_questions(process: &mut Process) -> &mut Process {
    process
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "")
}

impl Plan {
    /// Prepares git's own helper: it asks `git bbtoken credential` for the token, so that its arguments, environment
    /// and configuration contain none.
    ///
    /// # Errors
    ///
    /// If `git-bbtoken` is not in the directory of this program.
    pub(super) fn git_helper(
        &self,
        service: Service,
        repository: &Url,
        hand_over: HandOver,
    ) -> anyhow::Result<Process> {
        if let Some(ban) = &self.https_ban {
            let message = format!("git's own transport is needed here, but {ban} forbids it");
            return Err(Failure::new(Kind::Misconfigured, message).into());
        }
        let answerer = program::sibling("git-bbtoken")?;
        // Git must not ask on the terminal, but the store may ask on the desktop for its password.
        let may_ask = self.identity_for(service).profile.no_questions.is_none();
        let unset = if may_ask {
            "unset GIT_TERMINAL_PROMPT; "
        } else {
            ""
        };
        let ask = format!(
            "!{unset}{} credential --profile {}",
            program::shell_word(&answerer),
            quote_for_shell(&self.identity_for(service).profile.name)
        );
        let http = &self.identity_for(service).http;
        let mut process = self.remote_https(service, repository, hand_over, Some(ask))?;
        if !may_ask || http.git_only.is_empty() && http.settings.proxy.is_none() {
            // Git may ask only for a proxy's login and for the password of a certificate's key.
            without_questions(&mut process);
        }
        trace::event("hand-over", || {
            let mut fields = vec![("settings", http.git_only.join(" ").into())];
            if let Some(because) = self.by_git.get() {
                fields.push(("because", because.as_str().into()));
            }
            fields
        });
        Ok(process)
    }

    /// Tells whether git's own transport gets a response from a server that the native one did not reach. It sends no
    /// token.
    pub(super) fn is_answered_by_git(
        &self,
        service: Service,
        repository: &Url,
        error: &TransportError,
    ) -> bool {
        let wanted = match error.may_be_read_by_git() {
            true => Wanted::GitAnswer,
            false => Wanted::AnyAnswer,
        };
        let _span = trace::span("reach");
        let git = self.remote_https(service, repository, HandOver::Forwarded, None);
        let is_allowed = self.https_ban.is_none();
        git.is_ok_and(|mut git| {
            is_allowed && reach::is_answered(without_questions(&mut git), service, wanted)
        })
    }

    /// Prepares git's own helper with `credential_helper` as its only credential helper.
    fn remote_https(
        &self,
        service: Service,
        repository: &Url,
        hand_over: HandOver,
        credential_helper: Option<String>,
    ) -> anyhow::Result<Process> {
        let settings = self.settings(service, repository, credential_helper);
        let git = Child::Transport.command("git");
        let mut process = git.context("cannot start git's own https helper")?;
        if hand_over == HandOver::Forwarded && self.protocol == Protocol::Version2 {
            // After `fallback`, git asks for `list`. With version 2 that lists nothing, and a clone would be empty
            // without an error (git: discover_refs in remote-curl.c). `-c` overrides every other setting.
            process.args(["-c", "protocol.version=0"]);
        }
        process
            .arg(format!("remote-{}", repository.scheme()))
            .arg(&self.remote)
            .arg(repository.as_str());
        append_settings(&mut process, &settings, &process_variable);
        // GIT_TRACE_CURL of git's own helper would show the token.
        process.env("GIT_TRACE_REDACT", "1");
        if let Some(allowed) = process_variable("GIT_ALLOW_PROTOCOL") {
            process.env(
                "GIT_ALLOW_PROTOCOL",
                allowing(&allowed, repository.scheme()),
            );
        }
        Ok(process)
    }

    fn settings(
        &self,
        service: Service,
        repository: &Url,
        credential_helper: Option<String>,
    ) -> Vec<(String, String)> {
        let scope = format!("{}://{}", repository.scheme(), authority(repository));
        let proactive = match credential_helper {
            Some(_) => "basic",
            None => "none",
        };
        // An empty value removes all other credential helpers. A redirect would take the credential along.
        let helpers = std::iter::once(String::new()).chain(credential_helper);
        let mut settings: Vec<_> = helpers
            .map(|helper| (format!("credential.{scope}.helper"), helper))
            .collect();
        let others = [
            (format!("credential.{scope}.useHttpPath"), "true"),
            (format!("http.{repository}.followRedirects"), "false"),
            (format!("http.{repository}.proactiveAuth"), proactive),
            (format!("protocol.{}.allow", repository.scheme()), "always"),
        ];
        settings.extend(others.map(|(key, value)| (key, value.to_owned())));
        settings.extend(extra_headers(&self.identity_for(service).http, repository));
        settings
    }
}
