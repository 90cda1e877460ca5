//! Git's configuration: what forbids our addresses, turns them into others, or answers in our place.

use super::Finding;
use crate::{
    failure::quote,
    manage::exposed::masked,
    wire::{self, Overview},
};

/// Finds whether git lets our addresses be used: always, and where the user did not write them himself.
pub(super) fn protocol(overview: &Overview) -> Finding {
    const CHECK: &str = "submodules";
    let variable = std::env::var("GIT_ALLOW_PROTOCOL").ok();
    if let Some(list) = variable {
        // It replaces all settings (git(1), GIT_ALLOW_PROTOCOL).
        return if list.split(':').any(|name| name == "bbtoken") {
            let text = "bbtoken:: addresses are allowed, by GIT_ALLOW_PROTOCOL";
            Finding::good(CHECK, text, "allowed by GIT_ALLOW_PROTOCOL")
        } else {
            let text =
                "git refuses every bbtoken:: address, since GIT_ALLOW_PROTOCOL does not name it";
            Finding::problem(CHECK, text, "forbidden by GIT_ALLOW_PROTOCOL")
                .mend("export GIT_ALLOW_PROTOCOL=\"$GIT_ALLOW_PROTOCOL:bbtoken\"")
        };
    }
    let last = |name: &str| {
        let of_name = |entry: &&crate::config::Entry| entry.name().eq_ignore_ascii_case(name);
        overview.settings().filter(of_name).last()
    };
    let setting = last("protocol.bbtoken.allow").or_else(|| last("protocol.allow"));
    let Some(setting) = setting else {
        return submodules_refused();
    };
    match setting.value.as_deref() {
        Some("always") => Finding::good(
            CHECK,
            "bbtoken:: addresses are allowed everywhere",
            "allowed",
        ),
        Some("never") => Finding::problem(
            CHECK,
            format!(
                "git refuses every bbtoken:: address: {} is 'never' in {}",
                setting.name(),
                setting.origin
            ),
            "forbidden by configuration",
        )
        .mend("git config --global protocol.bbtoken.allow always"),
        _ => submodules_refused(),
    }
}

fn submodules_refused() -> Finding {
    let text = "git refuses submodules with bbtoken:: addresses until that is allowed";
    Finding::note("submodules", text, "not allowed yet").by_setup()
}

/// Finds settings that turn our addresses into others.
pub(super) fn rewritten(overview: &Overview) -> Option<Finding> {
    const CHECK: &str = "addresses";
    let entry = overview.settings().find(|entry| {
        let of_url =
            entry.section == "url" && (entry.key == "insteadof" || entry.key == "pushinsteadof");
        of_url
            && entry
                .value
                .as_deref()
                .is_some_and(|value| value.starts_with("bbtoken:"))
    })?;
    let base = overview.base().as_str().trim_end_matches('/');
    if entry
        .subsection
        .as_deref()
        .is_some_and(|url| url.trim_end_matches('/') == base)
    {
        let text = "bbtoken:: addresses are turned into https ones; git's own transport is used";
        return Some(Finding::note(CHECK, text, "bbtoken:: is turned into https"));
    }
    let name = entry.name();
    let text = format!(
        "{} in {} turns bbtoken:: addresses into others",
        masked(&name),
        entry.origin
    );
    let finding = Finding::problem(CHECK, text, "an insteadOf setting turns ours into others");
    Some(if masked(&name) == name {
        finding.mend(format!("git config --global --unset {name}"))
    } else {
        finding.mend(format!("remove that section from {}", entry.origin))
    })
}

/// Looks at the chain of credential helpers for Bitbucket's https addresses.
pub(super) fn helper(overview: &Overview) -> Finding {
    const CHECK: &str = "credential helper";
    let site = wire::site(overview.base());
    let chain = chain(overview, &site);
    let Some(position) = chain.iter().position(|helper| helper.contains("bbtoken")) else {
        let text = format!("plain {site} addresses and git-lfs get no token from us");
        let public = format!("ours is not among {}", chain.len());
        return Finding::note(CHECK, text, public).by_setup();
    };
    let named = |helpers: &[&str]| {
        let names: Vec<_> = helpers.iter().map(|helper| name(helper)).collect();
        names.join(", ")
    };
    let (before, after) = (&chain[..position], &chain[position + 1..]);
    let public = format!("ours is number {} of {}", position + 1, chain.len());
    if !before.is_empty() {
        let text = format!(
            "{} is asked for {site} before ours, and may answer with an old password",
            named(before)
        );
        return Finding::note(CHECK, text, public).by_setup();
    }
    if !after.is_empty() {
        let text = format!(
            "{} is told of {site}, too, and may store tokens of ours, which end after two hours",
            named(after)
        );
        return Finding::note(CHECK, text, public).by_setup();
    }
    let text = format!("ours answers for {site}, alone");
    Finding::good(CHECK, text, "ours alone")
}

/// The helpers that git asks for a site, in order; an empty one starts the list anew (gitcredentials(7)).
fn chain<'o>(overview: &'o Overview, site: &str) -> Vec<&'o str> {
    let mut chain = Vec::new();
    for entry in overview
        .settings()
        .filter(|entry| entry.section == "credential" && entry.key == "helper")
    {
        let is_for_site = entry
            .subsection
            .as_ref()
            .is_none_or(|url| url.trim_end_matches('/') == site);
        match entry.value.as_deref() {
            Some("") | None if is_for_site => chain.clear(),
            Some(helper) if is_for_site => chain.push(helper),
            _ => {}
        }
    }
    chain
}

/// Names a helper by its program alone: people write secrets into the rest.
fn name(helper: &str) -> String {
    let word = helper.split_whitespace().next().unwrap_or("");
    let is_program = |c: char| c.is_ascii_alphanumeric() || "-_./~".contains(c);
    if word.chars().all(is_program) {
        return format!("'{}'", quote(&masked(word)));
    }
    "a shell command".to_owned()
}
