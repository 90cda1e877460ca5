//! The values that the shells' completions offer.

use std::collections::BTreeSet;

use clap_complete::engine::CompletionCandidate;

use crate::{
    address::is_profile_name,
    git_config::{GitConfig, process_variable},
};

/// Lists the profiles of protected configuration, even if a setting is broken. A repository's own configuration may
/// contain anything.
pub(super) fn profiles() -> Vec<CompletionCandidate> {
    let config = GitConfig::readable(&process_variable);
    let ours = config
        .entries()
        .filter(|entry| entry.section == "bbtoken" && entry.scope.is_protected());
    let names: BTreeSet<_> = ours
        .filter_map(|entry| entry.subsection.as_deref())
        .filter(|name| is_profile_name(name))
        .collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}
