//! Submodules that git refuses to clone, and the command that fixes it, where git gives us the chance to say so.
//!
//! Git clones a submodule with a helper's address only where `protocol.<name>.allow` is `always` (git-config(1)), and
//! refuses it before it starts us. Two moments remain, both told by settings that were read anyway. A clone that is
//! to bring submodules has `submodule.active` in a repository without objects; whether it has submodules is not known
//! before git has unpacked what we carry. Later on, a submodule that was refused is registered and has no repository.
//!
//! Git clones it outside of its superproject, whose own configuration is not read there.

use std::path::{Path, PathBuf};

use crate::{
    app::{has_objects, rule_for},
    failure::quote,
    git_config::{Entry, GitConfig, Scope, Variables, is_true},
    report,
};

/// The name in our addresses.
const SCHEME: &str = "bbtoken";
/// What lets git clone them.
const FIX: &str = "'git config --global protocol.bbtoken.allow always'";

/// Finds out what a person should be told; `None` if git refuses nothing here.
pub(super) fn refused(git: &GitConfig, variables: Variables<'_>) -> Option<String> {
    let mut registered = git.entries().filter(|entry| is_local(entry)).peekable();
    registered.peek()?;
    if is_allowed(git, variables) {
        return None;
    }
    let directory = variables("GIT_DIR").map(PathBuf::from)?;
    let common = git.file(Scope::Local).and_then(Path::parent)?;
    let is_missing = |name: &str| {
        let is_there = |place: &Path| place.join("modules").join(name).exists();
        !is_there(&directory) && !is_there(common)
    };
    // Without a home directory, the report itself names variables.
    let of_job = match report::has_configuration() {
        // `docs/ci.md` has the lines for all kinds of addresses.
        true => format!(", or in a CI job {}", report::for_job(FIX)),
        false => String::new(),
    };
    for entry in registered {
        match (entry.subsection.as_deref(), entry.key.as_str()) {
            (None, "active") if !has_objects(&directory) => {
                return Some(format!(
                    "if this repository has submodules with bbtoken:: or relative addresses, git refuses to clone them until you run {FIX}{of_job}"
                ));
            }
            (Some(name), "url") if is_wanted(git, name, entry) && is_missing(name) => {
                return Some(format!(
                    "submodule '{}' is missing: git refuses to clone it from a bbtoken:: address until you run {FIX}{of_job}; then run 'git submodule update'",
                    quote(name)
                ));
            }
            _ => {}
        }
    }
    None
}

fn is_local(entry: &Entry) -> bool {
    entry.section == "submodule" && entry.scope == Scope::Local
}

/// Tells whether git would clone a registered submodule by us (gitsubmodules(7), "Active submodules").
fn is_wanted(git: &GitConfig, name: &str, url: &Entry) -> bool {
    let own = |key| git.last("submodule", Some(name), key);
    let is_left_out = own("active").is_some_and(|active| !is_true(active))
        || own("update").is_some_and(|update| update.value.as_deref() == Some("none"));
    !is_left_out && is_ours(git, url.value.as_deref().unwrap_or_default())
}

/// Tells whether an address is ours, or becomes ours by the longest rule for it (git-config(1), `url.<base>.insteadOf`).
fn is_ours(git: &GitConfig, url: &str) -> bool {
    let used = rule_for(git, url, |rule| rule.scope.is_protected())
        .and_then(|rule| rule.subsection.as_deref())
        .unwrap_or(url);
    used.strip_prefix(SCHEME)
        .is_some_and(|rest| rest.starts_with(':'))
}

/// Tells whether git lets our addresses be used where the user has not written them (git(1), `GIT_ALLOW_PROTOCOL`).
fn is_allowed(git: &GitConfig, variables: Variables<'_>) -> bool {
    if let Some(list) = variables("GIT_ALLOW_PROTOCOL") {
        return list.to_string_lossy().split(':').any(|it| it == SCHEME);
    }
    let last = |scheme: Option<&str>| {
        let is_it = |entry: &&Entry| {
            entry.section == "protocol"
                && entry.subsection.as_deref() == scheme
                && entry.key == "allow"
                && entry.scope.is_protected()
        };
        git.entries().filter(is_it).last()
    };
    let setting = last(Some(SCHEME)).or_else(|| last(None));
    setting.is_some_and(|setting| setting.value.as_deref() == Some("always"))
}
