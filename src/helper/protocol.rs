//! Reads git's settings about the protocol version, allowed schemes and redirects.

use crate::git_config::{GitConfig, Variables, is_true_text};

/// The protocol version that git is configured to use for fetches (git-config(1), `protocol.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Version2,
    /// Version 1, or 0 as `None`, with its `Git-Protocol` header. It is stateful over `connect`, so only git's own
    /// helper supports it over HTTP.
    Older(Option<&'static str>),
    /// None: git reads the repository's files one by one (gitprotocol-http(5), "Dumb Clients").
    Files,
}

impl Protocol {
    /// The `Git-Protocol` header of a push, which has no version 2.
    pub(super) fn of_push(self) -> Option<&'static str> {
        match self {
            Protocol::Older(header) => header,
            Protocol::Version2 | Protocol::Files => None,
        }
    }
}

pub(super) fn protocol(git: &GitConfig, variables: Variables<'_>) -> Protocol {
    // A value that is not a boolean ends git's own helper with a message (git: `git_env_bool`).
    let is_smart = variables("GIT_SMART_HTTP").is_none_or(|value| is_true_text(&value));
    let version = git.last("protocol", None, "version");
    match version.and_then(|entry| entry.value.as_deref()) {
        _ if !is_smart => Protocol::Files,
        Some("0") => Protocol::Older(None),
        Some("1") => Protocol::Older(Some("version=1")),
        _ => Protocol::Version2,
    }
}

/// Names the setting that forbids this scheme explicitly. General lists (`protocol.allow`, `GIT_ALLOW_PROTOCOL`) apply
/// to the user's address, which begins with `bbtoken`.
pub(super) fn ban(git: &GitConfig, scheme: &str) -> Option<String> {
    let entry = git.last("protocol", Some(scheme), "allow")?;
    let is_ban = entry.value.as_deref() == Some("never");
    is_ban.then(|| format!("{} in {}", entry.name(), entry.origin))
}

/// Names the setting that forbids redirects of a scheme. The user did not give the redirect's address, so git follows
/// it only if the scheme is always allowed (git: `get_curl_allowed_protocols` in http.c, `is_transport_allowed` in
/// transport.c).
pub(super) fn redirect_ban(
    git: &GitConfig,
    variables: Variables<'_>,
    scheme: &str,
) -> Option<String> {
    if let Some(list) = variables("GIT_ALLOW_PROTOCOL") {
        let is_listed = list.to_string_lossy().split(':').any(|it| it == scheme);
        return (!is_listed).then(|| "GIT_ALLOW_PROTOCOL".to_owned());
    }
    let entry = git
        .last("protocol", Some(scheme), "allow")
        .or_else(|| git.last("protocol", None, "allow"))?;
    let is_always = |value: &String| value.eq_ignore_ascii_case("always");
    let is_allowed = entry.value.as_ref().is_some_and(is_always);
    (!is_allowed).then(|| format!("{} in {}", entry.name(), entry.origin))
}
