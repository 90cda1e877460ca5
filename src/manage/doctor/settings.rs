//! Git's configuration: what forbids our addresses, turns them into others, or answers in our place.

use std::mem;

use super::Finding;
use crate::{
    config::Entry,
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
        let of_name = |entry: &&Entry| entry.name().eq_ignore_ascii_case(name);
        overview.settings().filter(of_name).last()
    };
    let setting = last("protocol.bbtoken.allow").or_else(|| last("protocol.allow"));
    let Some(setting) = setting else {
        return submodules_refused();
    };
    match setting.value.as_deref() {
        // A submodule is cloned outside of the repository that allows it.
        Some("always") if !setting.scope.is_protected() => submodules_refused(),
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

/// Finds settings that turn our addresses into others, or Bitbucket's https ones away from us.
pub(super) fn rewritten(overview: &Overview) -> Vec<Finding> {
    let site = wire::site(overview.base());
    let of_url = |entry: &&Entry| {
        entry.section == "url" && ["insteadof", "pushinsteadof"].contains(&entry.key.as_str())
    };
    let entries = overview.settings().filter(of_url);
    let mut is_noted = false;
    entries
        .filter_map(|entry| {
            let from = entry.value.as_deref().unwrap_or("");
            let to = entry.subsection.as_deref().unwrap_or("");
            let is_ours = |url: &str| url.starts_with("bbtoken:");
            let is_https = |url: &str| is_at(&site, url);
            match () {
                // There is one rule for each form of our addresses, and one note for them all.
                () if is_ours(from) && is_https(to) => (!mem::replace(&mut is_noted, true)).then(|| {
                    Finding::note(
                        "addresses",
                        "bbtoken:: addresses are turned into https ones; git's own transport is used",
                        "bbtoken:: is turned into https",
                    )
                }),
                () if is_ours(from) && !is_ours(to) => Some(turned_away(
                    entry,
                    Finding::problem,
                    "bbtoken:: addresses into others",
                )),
                () if is_https(from) && !is_ours(to) && !is_https(to) => Some(turned_away(
                    entry,
                    Finding::note,
                    "Bitbucket's https addresses into others, which get no token from us",
                )),
                () => None,
            }
        })
        .collect()
}

/// Tells whether an address leads to a site, with a user in it or without.
fn is_at(site: &str, address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}") == site
}

fn turned_away(
    entry: &Entry,
    of_level: fn(&'static str, String, String) -> Finding,
    what: &str,
) -> Finding {
    let name = entry.name();
    let shown = masked(&name);
    let text = format!("{shown} in {} turns {what}", entry.origin);
    let finding = of_level("addresses", text, format!("a setting turns {what}"));
    if shown == name {
        finding.mend(format!(
            "git config --file '{}' --unset '{name}'",
            entry.origin
        ))
    } else {
        finding.mend(format!("take it out of {}", entry.origin))
    }
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
