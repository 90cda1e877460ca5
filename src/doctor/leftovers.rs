//! Finds old secrets in git's configuration, as older instructions put them there: in addresses, headers and commands,
//! OAuth 1 keys, Mercurial. Names their kind and place, and never shows them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Finding,
    exposed::{Exposed, host_of, is_bitbucket},
    shown_or,
};
use crate::{
    app::App,
    git::{self, Target},
    git_config::{Entry, Scope},
    secret::masked,
};

const CHECK: &str = "secrets";

/// Searches git's configuration in this directory, `.gitmodules`, `.lfsconfig` and the repositories of submodules.
pub(super) fn in_configuration(app: &App) -> Vec<Finding> {
    let is_ours = |host: &str| is_bitbucket(app, host);
    let mut entries: Vec<_> = app.settings().cloned().collect();
    if let Ok(git::Repository { top, .. }) = git::repository() {
        let mut files = vec![top.join(".gitmodules"), top.join(".lfsconfig")];
        files.extend(configurations_below(&top.join(".git/modules")));
        entries.extend(files.iter().flat_map(|file| in_file(file)));
    }
    let secrets = entries.iter().filter_map(|entry| exposed(entry, &is_ours));
    let remotes = entries
        .iter()
        .filter_map(|entry| mercurial(entry, &is_ours));
    secrets.chain(remotes).collect()
}

/// Finds app passwords in the environment by their form.
pub(super) fn in_environment() -> Vec<Finding> {
    let what = Exposed::AppPassword.words();
    std::env::vars_os()
        .filter(|(_, value)| {
            Exposed::in_text(&value.to_string_lossy()) == Some(Exposed::AppPassword)
        })
        .map(|(name, _)| name.to_string_lossy().into_owned())
        // Other checks cover git's settings in the environment and the `BBTOKEN_` variables.
        .filter(|name| !name.starts_with("GIT_CONFIG_") && !name.starts_with("BBTOKEN_"))
        .map(|name| {
            let text = format!("the variable {} contains {what}", masked(&name));
            Finding::problem(CHECK, text, format!("a variable contains {what}"))
                .fix("remove it from the file that sets it; 'git bbtoken exec -- <command>' gives a command a current token")
        })
        .collect()
}

/// Reads a file of a repository.
fn in_file(file: &Path) -> Vec<Entry> {
    // Git would wait for a pipe.
    if !is_file(file) {
        return Vec::new();
    }
    let settings = Target::File(file.to_owned()).matching(".");
    let entry = |(name, value): (String, String)| {
        let (section, rest) = name.split_once('.')?;
        let (subsection, key) = rest.rsplit_once('.').unzip();
        Some(Entry {
            section: section.into(),
            subsection: subsection.map(Into::into),
            key: key.unwrap_or(rest).into(),
            value: Some(value),
            scope: Scope::Local,
            origin: (&*file.to_string_lossy()).into(),
        })
    };
    let settings = settings.unwrap_or_default().into_iter();
    settings.filter_map(entry).collect()
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|file| file.is_file())
}

/// Finds the configurations of the repositories below a directory, also of nested ones. Follows no symbolic link.
fn configurations_below(modules: &Path) -> Vec<PathBuf> {
    let is_directory = |file: &fs::Metadata| file.is_dir();
    let root = modules.symlink_metadata().ok().filter(is_directory);
    let mut open: Vec<_> = root.map(|_| modules.to_owned()).into_iter().collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        let is_repository = directory != modules && is_file(&directory.join("HEAD"));
        found.extend(is_repository.then(|| directory.join("config")));
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let below = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| !is_repository || entry.file_name() == "modules");
        open.extend(below.map(|entry| entry.path()));
    }
    found
}

fn exposed(entry: &Entry, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let (key, value) = (entry.name(), entry.value.as_deref().unwrap_or_default());
    // It is a URL in some sections.
    let subsection = entry.subsection.as_deref().unwrap_or_default();
    let is_header = entry.key == "extraheader"
        && value.to_ascii_lowercase().starts_with("authorization")
        && (subsection.is_empty() || is_ours(host_of(subsection)));
    let found = [subsection, value]
        .iter()
        .find_map(|text| Exposed::in_urls(text, is_ours).or_else(|| Exposed::in_text(text)))
        .or_else(|| is_header.then_some(Exposed::Header))?;
    let what = found.words();
    let (shown, place) = match is_address(entry) {
        true => (format!(": {}", masked(value)), "an address"),
        false if is_header => (String::new(), "http.extraHeader"),
        false => (String::new(), "a setting"),
    };
    let text = format!(
        "{} in {} contains {what}{shown}",
        masked(&key),
        entry.origin
    );
    let fix = fix(entry, &key, is_header);
    Some(
        Finding::problem(CHECK, text, format!("{place} contains {what}"))
            .fix(format!("{fix}; then revoke it at Bitbucket")),
    )
}

/// Gives the command that changes an address or removes a header, if there is one.
fn fix(entry: &Entry, key: &str, is_header: bool) -> String {
    let (file, header) = (&*entry.origin, "^[Aa][Uu][Tt][Hh]");
    let unset = ["git", "config", "--file", file, "--unset-all", key, header];
    let remove = format!("remove it from {file}");
    match entry.scope {
        Scope::Local if is_address(entry) => match Path::new(file).ends_with(".gitmodules") {
            true => "git bbtoken remote convert --submodules".to_owned(),
            false => "git bbtoken remote convert".to_owned(),
        },
        Scope::Command => remove,
        _ if is_header => shown_or(&unset, remove),
        _ => remove,
    }
}

fn is_address(entry: &Entry) -> bool {
    matches!(
        (&*entry.section, &*entry.key),
        ("remote", "url" | "pushurl") | ("submodule", "url")
    )
}

fn mercurial(entry: &Entry, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let value = entry.value.as_deref()?;
    let is_hg = value.starts_with("hg::") || value.starts_with("hg://");
    if !is_hg || !is_address(entry) || !is_ours(host_of(value)) {
        return None;
    }
    let text = format!(
        "{} in {} is a Mercurial repository: {}; Bitbucket removed all of them in 2020",
        masked(&entry.name()),
        entry.origin,
        masked(value)
    );
    Some(
        Finding::problem(CHECK, text, "a remote is a Mercurial repository")
            .fix("if it was converted to git: git remote set-url <remote> bbtoken::<workspace>/<repository>; then remove Bitbucket's entries from [auth] in ~/.hgrc"),
    )
}
