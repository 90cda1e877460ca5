//! Shows which submodules git refuses to clone, and the command that allows them.
//!
//! Git clones a submodule with a helper's address only if `protocol.<name>.allow` is `always` (git-config(1)). It
//! refuses others before it starts the helper. So the helper shows the hint at two other moments, which it recognizes
//! by settings that it reads anyway. A clone with submodules has `submodule.active` in a repository without objects. It
//! may still turn out to have no submodules. Later, a refused submodule is registered and has no repository.
//!
//! Git clones a submodule outside of its superproject, and does not read the superproject's configuration there.

use std::path::{Path, PathBuf};

use crate::{
    app::{has_objects, rule_for},
    failure::quote,
    git_config::{Entry, GitConfig, Scope, Variables, is_true},
    report,
};

/// The scheme of the helper's addresses.
const SCHEME: &str = "bbtoken";
/// What lets git clone them.
const FIX: &str = "'git config --global protocol.bbtoken.allow always'";

/// Gives the hint for the user; `None` if git refuses nothing here.
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
    // Without a home directory, `report` replaces the command by variables.
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

/// Tells whether git would clone a registered submodule with this helper (gitsubmodules(7), "Active submodules").
fn is_wanted(git: &GitConfig, name: &str, url: &Entry) -> bool {
    let own = |key| git.last("submodule", Some(name), key);
    let is_left_out = own("active").is_some_and(|active| !is_true(active))
        || own("update").is_some_and(|update| update.value.as_deref() == Some("none"));
    !is_left_out && is_ours(git, url.value.as_deref().unwrap_or_default())
}

/// Tells whether an address begins with `bbtoken::`, itself or after the longest rule for it (git-config(1),
/// `url.<base>.insteadOf`).
fn is_ours(git: &GitConfig, url: &str) -> bool {
    let used = rule_for(git, url, |rule| rule.scope.is_protected())
        .and_then(|rule| rule.subsection.as_deref())
        .unwrap_or(url);
    used.strip_prefix(SCHEME)
        .is_some_and(|rest| rest.starts_with(':'))
}

/// Tells whether git allows `bbtoken::` addresses that the user has not written (git(1), `GIT_ALLOW_PROTOCOL`).
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
