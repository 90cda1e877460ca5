//! Finds old secrets in git's configuration, as older instructions put them there: in addresses, headers and commands.
//! Names their kind and place, and never shows them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    exposed::{Exposed, host_of, is_bitbucket},
    finding::{Finding, shown_or},
};
use crate::{
    app::App,
    git::{self, Repository},
    git_config::{self, Entry, Scope},
    secret::masked,
};

/// Searches git's configuration in this directory, `.gitmodules`, `.lfsconfig` and the repositories of submodules.
pub(super) fn in_configuration(app: &App) -> Vec<Finding> {
    let mut entries: Vec<_> = app.settings().cloned().collect();
    if let Ok(Repository { top, git_dir, .. }) = git::repository() {
        let mut files = configurations_below(&git_dir.join("modules"));
        files.extend([top.join(".gitmodules"), top.join(".lfsconfig")]);
        let files = files.iter().filter(|file| !file.is_symlink());
        // Git itself reports a file that it cannot read.
        let settings = files.filter_map(|file| git_config::file(file, Scope::Local).ok());
        entries.extend(settings.flatten());
    }
    let entries = entries.iter();
    entries.filter_map(|entry| exposed(app, entry)).collect()
}

/// Finds the configurations of the repositories below a directory. Follows no symbolic link.
fn configurations_below(directory: &Path) -> Vec<PathBuf> {
    if directory.is_symlink() {
        return Vec::new();
    }
    if directory.join("HEAD").is_file() {
        let mut files = configurations_below(&directory.join("modules"));
        files.push(directory.join("config"));
        return files;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| configurations_below(&entry.path()));
    below.collect()
}

fn exposed(app: &App, entry: &Entry) -> Option<Finding> {
    let is_ours = |host: &str| is_bitbucket(app, host);
    let (key, value) = (entry.name(), entry.value.as_deref().unwrap_or_default());
    // It is a URL in some sections.
    let subsection = entry.subsection.as_deref().unwrap_or_default();
    let is_header = entry.key == "extraheader"
        && value.to_ascii_lowercase().starts_with("authorization")
        && (subsection.is_empty() || is_ours(host_of(subsection)));
    let found = [subsection, value]
        .iter()
        .find_map(|text| Exposed::in_urls(text, &is_ours).or_else(|| Exposed::in_text(text)))
        .or_else(|| is_header.then_some(Exposed::Header))?;
    let is_address = matches!(
        (&*entry.section, &*entry.key),
        ("remote", "url" | "pushurl") | ("submodule", "url")
    );
    let (what, file) = (found.words(), &*entry.origin);
    let mut text = format!("{} in {file} contains {what}", masked(&key));
    if is_address {
        text += &format!(": {}", masked(value));
    }
    let convert = "git bbtoken remote convert";
    // An address of Mercurial cannot be converted.
    let is_converted = is_address && entry.scope == Scope::Local && !value.starts_with("hg:");
    let remove = format!("remove it from {file}");
    let header = "^[Aa][Uu][Tt][Hh]";
    let unset = ["git", "config", "--file", file, "--unset-all", &key, header];
    let fix = match entry.scope {
        _ if is_converted && file.ends_with(".gitmodules") => format!("{convert} --submodules"),
        _ if is_converted => convert.to_owned(),
        scope if is_header && scope != Scope::Command => shown_or(&unset, remove),
        _ => remove,
    };
    let public = format!("a setting contains {what}");
    let finding = Finding::problem("secrets", text, public);
    Some(finding.fix(format!("{fix}; then revoke it at Bitbucket")))
}
