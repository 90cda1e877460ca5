//! Checks git's configuration for settings that forbid `bbtoken::` addresses, rewrite them, or answer instead of the
//! helper.

use std::mem;

use super::finding::Finding;
use crate::{
    app::{self, App},
    failure::{quote, shell_command},
    git_config::{Entry, Scope},
    report,
    secret::{masked, program_of},
    setup::{self, Chain, chain},
    suggestion::Unknown,
    url::Url,
};

/// The command that allows submodules with `bbtoken::` addresses.
const ALLOW: &str = "git config --global protocol.bbtoken.allow always";

/// Checks whether git allows `bbtoken::` addresses, also those that the user has not written.
pub(super) fn protocol(app: &App) -> Finding {
    const CHECK: &str = "submodules";
    if let Ok(list) = std::env::var("GIT_ALLOW_PROTOCOL") {
        return by_variable(&list);
    }
    let of_ours = app.git.last("protocol", Some("bbtoken"), "allow");
    let Some(setting) = of_ours.or_else(|| app.git.last("protocol", None, "allow")) else {
        return refused_by_default();
    };
    // Git clones a submodule outside of this repository, so the repository's own setting does not apply.
    let protected = app.git.protected();
    let of_user = protected.last("protocol", Some("bbtoken"), "allow");
    let is_allowed = of_user.is_some_and(|entry| entry.value.as_deref() == Some("always"));
    let text = "bbtoken:: addresses are allowed everywhere";
    match setting.value.as_deref() {
        Some("always") if setting.scope.is_protected() || is_allowed => {
            Finding::good(CHECK, text, "allowed")
        }
        Some("never") => forbidden(setting),
        _ if of_user.is_some() => submodules_refused().fix(ALLOW),
        _ => refused_by_default(),
    }
}

/// Without a home directory, `setup` has no file to write to.
fn refused_by_default() -> Finding {
    match report::has_configuration() {
        true => submodules_refused().by_setup(),
        false => submodules_refused().fix(ALLOW),
    }
}

/// Checks the list that replaces all settings (git(1), GIT_ALLOW_PROTOCOL).
fn by_variable(list: &str) -> Finding {
    const CHECK: &str = "submodules";
    if list.split(':').any(|name| name == "bbtoken") {
        let text = "bbtoken:: addresses are allowed, by GIT_ALLOW_PROTOCOL";
        return Finding::good(CHECK, text, "allowed by GIT_ALLOW_PROTOCOL");
    }
    let text = "git refuses every bbtoken:: address, because GIT_ALLOW_PROTOCOL does not list it";
    Finding::problem(CHECK, text, "forbidden by GIT_ALLOW_PROTOCOL")
        .fix("export GIT_ALLOW_PROTOCOL=\"$GIT_ALLOW_PROTOCOL:bbtoken\"")
}

fn forbidden(setting: &Entry) -> Finding {
    let text = format!(
        "git refuses every bbtoken:: address: {} is 'never' in {}",
        setting.name(),
        setting.origin
    );
    let fix = match setting.scope {
        Scope::System | Scope::Global => ALLOW.to_owned(),
        Scope::Local | Scope::Worktree => format!(
            "git config --file {} protocol.bbtoken.allow always",
            shell_words::quote(&setting.origin)
        ),
        Scope::Command => "remove it from the -c option or the GIT_CONFIG_* variables".into(),
    };
    Finding::problem("submodules", text, "forbidden by configuration").fix(fix)
}

fn submodules_refused() -> Finding {
    let text = "git refuses submodules with bbtoken:: addresses until you allow them";
    Finding::note("submodules", text, "not allowed yet")
}

/// Lists the repository's own settings, because the user may not know them.
pub(super) fn of_repository(app: &App) -> Option<Finding> {
    let names = app.of_repository();
    if names.is_empty() {
        return None;
    }
    let shown: Vec<_> = names.iter().map(|name| quote(&masked(name))).collect();
    let text = format!(
        "this repository sets {}; requests for tokens follow your own http settings only",
        shown.join(", ")
    );
    let public = format!("{} settings come from the repository", names.len());
    Some(Finding::note("repository", text, public))
}

/// Finds unknown settings and variables.
pub(super) fn unknown(app: &App) -> Vec<Finding> {
    let finding = |unknown: Unknown| {
        let public = "an unknown setting or variable";
        let finding = Finding::note("settings", format!("{} is unknown", unknown.name), public);
        match unknown.instead {
            Some(known) => finding.fix(format!("rename it to {known}")),
            None => finding.fix("remove it, or correct its name: git bbtoken help reference"),
        }
    };
    app.raw.unknown().into_iter().map(finding).collect()
}

/// Finds rules that rewrite `bbtoken::` addresses, or Bitbucket's https addresses to another site.
pub(super) fn rewritten(app: &App) -> Vec<Finding> {
    let site = app::site(app.base());
    let of_url = |entry: &&Entry| {
        entry.section == "url" && ["insteadof", "pushinsteadof"].contains(&entry.key.as_str())
    };
    let entries = app.settings().filter(of_url);
    let mut is_noted = false;
    entries
        .filter_map(|entry| {
            let from = entry.value.as_deref().unwrap_or("");
            let to = entry.subsection.as_deref().unwrap_or("");
            let is_ours = |url: &str| url.starts_with("bbtoken:");
            let is_https = |url: &str| is_at(&site, url);
            match () {
                // There is one rule for each form of `bbtoken::` addresses, but one note is enough.
                () if is_ours(from) && is_https(to) => (!mem::replace(&mut is_noted, true)).then(|| {
                    Finding::note(
                        "addresses",
                        "a setting rewrites bbtoken:: addresses to https; git uses its own transport for them",
                        "bbtoken:: is rewritten to https",
                    )
                }),
                () if is_https(from) && is_ours(to) => Some(Finding::good(
                    "addresses",
                    setup::NEEDS_GIT,
                    "https is rewritten to bbtoken::",
                )),
                () if is_ours(from) && !is_ours(to) => Some(turned_away(
                    entry,
                    Finding::problem,
                    "bbtoken:: addresses to others",
                )),
                () if is_https(from) && !is_ours(to) && !is_https(to) => Some(turned_away(
                    entry,
                    Finding::note,
                    "Bitbucket's https addresses to others, which get no token from the helper",
                )),
                () => None,
            }
        })
        .collect()
}

/// Tells whether an address is at a site, with or without a user name.
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
    let text = format!("{} in {} rewrites {what}", masked(&name), entry.origin);
    let finding = of_level("addresses", text, format!("a setting rewrites {what}"));
    let otherwise = format!("remove it from {}", entry.origin);
    if entry.scope == Scope::Command {
        return finding.fix(otherwise);
    }
    // Other values of this key may be harmless.
    let value = entry.value.as_deref().unwrap_or_default();
    let remove = [
        "git",
        "config",
        "--file",
        &entry.origin,
        "--fixed-value",
        "--unset-all",
        &name,
        value,
    ];
    finding.fix_by(&remove, otherwise)
}

/// Checks the chains of credential helpers for Bitbucket's https addresses.
pub(super) fn helper(app: &App) -> Vec<Finding> {
    let sites = setup::sites(app);
    sites.iter().map(|site| helper_of(app, site)).collect()
}

fn helper_of(app: &App, url: &Url) -> Finding {
    const CHECK: &str = "credential helper";
    let site = app::site(url);
    let entries: Vec<_> = app.settings().collect();
    let chains = Chain::all(&entries, url);
    let later = chain::beyond_setup(&entries, url);
    let fix = |finding: Finding| match later {
        None => finding.by_setup(),
        Some(entry) => in_its_file(finding, entry, &site),
    };
    let whole = &chains[0];
    let Some(position) = whole.position() else {
        let text = format!("plain {site} addresses and git-lfs get no token from the helper");
        let public = format!("the helper is not among {}", whole.0.len());
        return fix(Finding::note(CHECK, text, public));
    };
    let public = format!("the helper is number {} of {}", position + 1, whole.0.len());
    let mut ours = whole.0[position..].iter().map(|entry| chain::helper(entry));
    if let Some(program) = ours.find_map(chain::missing_program) {
        let text = format!(
            "'{}' no longer exists, so plain {site} addresses and git-lfs get no token",
            quote(&program)
        );
        return fix(Finding::problem(CHECK, text, "the program is missing"));
    }
    if position > 0 {
        let text = format!(
            "git asks {} for {site} before the helper; it may return an old password",
            named(&whole.0[..position])
        );
        return fix(Finding::note(CHECK, text, public));
    }
    if let Some(open) = chains.iter().find(|chain| !chain.is_closed()) {
        let text = format!(
            "{} also gets the tokens for {site} and may store them; they expire after two hours",
            named(&open.0)
        );
        return fix(Finding::note(CHECK, text, public));
    }
    let text = format!("the helper alone answers for {site}");
    Finding::good(CHECK, text, "only the helper")
}

/// Lists the other helpers.
fn named(helpers: &[&Entry]) -> String {
    let helpers = helpers.iter().map(|entry| chain::helper(entry));
    let others = helpers.filter(|helper| !chain::is_ours(helper));
    let mut names: Vec<_> = others.map(program_of).collect();
    names.dedup();
    names.join(", ")
}

/// Says how to put this helper after one that `setup` cannot change.
fn in_its_file(finding: Finding, entry: &Entry, site: &str) -> Finding {
    let name = masked(&entry.name());
    if entry.scope == Scope::Command {
        return finding.fix(format!(
            "remove {name} from the -c option or the GIT_CONFIG_* variables that set it"
        ));
    }
    let Ok(ask) = app::credential_helper() else {
        return finding.fix(format!("remove {name} from {}", entry.origin));
    };
    // Write the section with a slash, because a section without it may come before the other helper.
    let key = format!("credential.{site}/.helper");
    let file: &str = &entry.origin;
    let add = |value| shell_command(&["git", "config", "--file", file, "--add", &key, value]);
    finding.fix(match (add(""), add(&ask)) {
        (Some(first), Some(second)) => format!("{first} && {second}"),
        _ => format!("remove it from {}", entry.origin),
    })
}
