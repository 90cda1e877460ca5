//! What git's settings allow: the version of the protocol, the schemes, redirects.

use crate::git_config::{GitConfig, Variables, is_true_text};

/// The protocol version git is configured to speak when it fetches (git-config(1), `protocol.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Version2,
    /// Version 1, or 0 as `None`, by its `Git-Protocol` header: stateful over `connect`, so that only git's own helper
    /// can speak it over HTTP.
    Older(Option<&'static str>),
    /// None: the repository's files are read one by one (gitprotocol-http(5), "Dumb Clients").
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
    // What is no boolean ends git's own helper with a message (git: `git_env_bool`).
    let is_smart = variables("GIT_SMART_HTTP").is_none_or(|value| is_true_text(&value));
    let version = git.last("protocol", None, "version");
    match version.and_then(|entry| entry.value.as_deref()) {
        _ if !is_smart => Protocol::Files,
        Some("0") => Protocol::Older(None),
        Some("1") => Protocol::Older(Some("version=1")),
        _ => Protocol::Version2,
    }
}

/// Names the setting that forbids a scheme and nothing else. What merely does not permit it (`protocol.allow`,
/// `GIT_ALLOW_PROTOCOL`) was about the address, which begins with `bbtoken`.
pub(super) fn ban(git: &GitConfig, scheme: &str) -> Option<String> {
    let entry = git.last("protocol", Some(scheme), "allow")?;
    let is_ban = entry.value.as_deref() == Some("never");
    is_ban.then(|| format!("{} in {}", entry.name(), entry.origin))
}

/// Names what forbids to follow a redirect of a scheme: it is not the address that a person gave, so only what is always
/// allowed will do (git: `get_curl_allowed_protocols` in http.c, `is_transport_allowed` in transport.c).
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
