//! Finds old secrets in git's configuration, as older instructions put them there: in addresses, headers and commands,
//! OAuth 1 keys, Mercurial. Names their kind and place, and never shows them.

use std::path::{Path, PathBuf};

use super::{Finding, exposed::Exposed};
use crate::{
    app::App,
    failure::shell_command,
    git::{self, Target},
    git_config::{Entry, Scope},
    secret::masked,
};

const CHECK: &str = "secrets";
/// The depth of the search for submodules' repositories below `.git/modules`.
const MAX_DEPTH: u32 = 7;
/// The limit of entries that the search reads in one directory.
const MAX_ENTRIES: usize = 1000;

/// A setting from any source.
struct Line {
    key: String,
    value: String,
    /// Its file, or the name of another source.
    origin: String,
    /// Whether it is in a file, not only in the settings of this command.
    is_in_file: bool,
    /// The command that changes it, if it is an address.
    conversion: Option<&'static str>,
}

/// Tells whether a host is Bitbucket's.
pub(super) fn is_bitbucket(app: &App, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_cloud = host == "bitbucket.org" || host.ends_with(".bitbucket.org");
    let mut hosts = app.places.iter().filter_map(|place| place.base.host_str());
    is_cloud || hosts.any(|configured| configured == host)
}

/// Searches git's configuration in this directory, `.gitmodules`, `.lfsconfig` and the repositories of submodules.
pub(super) fn in_configuration(app: &App) -> Vec<Finding> {
    let is_ours = |host: &str| is_bitbucket(app, host);
    let mut lines: Vec<_> = app.settings().map(of_entry).collect();
    if let Ok(git::Repository { top, .. }) = git::repository() {
        for file in [".gitmodules", ".lfsconfig"] {
            lines.extend(in_file(&top.join(file)));
        }
        for file in configurations_below(&top.join(".git/modules"), MAX_DEPTH) {
            lines.extend(in_file(&file));
        }
    }
    let mut findings: Vec<_> = lines
        .iter()
        .filter_map(|line| exposed(line, &is_ours))
        .collect();
    findings.extend(lines.iter().filter_map(|line| mercurial(line, &is_ours)));
    findings
}

/// Finds app passwords in the environment by their form.
pub(super) fn in_environment() -> Vec<Finding> {
    std::env::vars_os()
        .filter(|(name, _)| !is_read_elsewhere(&name.to_string_lossy()))
        .filter(|(_, value)| {
            Exposed::in_text(&value.to_string_lossy()) == Some(Exposed::AppPassword)
        })
        .map(|(name, _)| {
            let what = Exposed::AppPassword.words();
            let text = format!("the variable {} contains {what}", masked(&name.to_string_lossy()));
            Finding::problem(CHECK, text, format!("a variable contains {what}"))
                .fix("remove it from the file that sets it; 'git bbtoken exec -- <command>' gives a command a current token")
        })
        .collect()
}

/// Other checks cover git's settings in the environment and the `BBTOKEN_` variables.
fn is_read_elsewhere(name: &str) -> bool {
    ["GIT_CONFIG_", "BBTOKEN_"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn of_entry(entry: &Entry) -> Line {
    Line {
        key: entry.name(),
        value: entry.value.clone().unwrap_or_default(),
        origin: entry.origin.to_string(),
        is_in_file: entry.scope != Scope::Command,
        conversion: (entry.scope == Scope::Local).then_some("git bbtoken remote convert"),
    }
}

fn in_file(file: &Path) -> Vec<Line> {
    // Git would wait for a pipe.
    if !is_file(file) {
        return Vec::new();
    }
    let settings = Target::File(file.to_owned())
        .matching(".")
        .unwrap_or_default();
    let line = |(key, value)| Line {
        key,
        value,
        origin: file.display().to_string(),
        is_in_file: true,
        conversion: Some(match file.ends_with(".gitmodules") {
            true => "git bbtoken remote convert --submodules",
            false => "git bbtoken remote convert",
        }),
    };
    settings.into_iter().map(line).collect()
}

/// Finds the configurations of the repositories below a directory, also of nested ones. Follows no symbolic link.
fn configurations_below(directory: &Path, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if depth == 0 || !is_directory(directory) {
        return found;
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).take(MAX_ENTRIES);
    for path in paths.filter(|path| is_directory(path)) {
        if is_file(&path.join("HEAD")) {
            found.push(path.join("config"));
            found.extend(configurations_below(&path.join("modules"), depth - 1));
        } else {
            found.extend(configurations_below(&path, depth - 1));
        }
    }
    found
}

fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn exposed(line: &Line, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let Line { key, value, .. } = line;
    let is_header = key.to_ascii_lowercase().ends_with(".extraheader")
        && value.to_ascii_lowercase().starts_with("authorization")
        && is_for_us(key, is_ours);
    let found = [subsection(key), value]
        .iter()
        .find_map(|text| Exposed::in_urls(text, is_ours).or_else(|| Exposed::in_text(text)))
        .or_else(|| is_header.then_some(Exposed::Header))?;
    let what = found.words();
    let is_address = is_address(key);
    let shown = if is_address {
        format!(": {}", masked(value))
    } else {
        String::new()
    };
    let text = format!("{} in {} contains {what}{shown}", masked(key), line.origin);
    let public = match (is_address, is_header) {
        (true, _) => format!("an address contains {what}"),
        (_, true) => format!("http.extraHeader contains {what}"),
        _ => format!("a setting contains {what}"),
    };
    let revoke = "then revoke it at Bitbucket";
    let unset = (is_header && line.is_in_file && masked(key) == *key)
        .then(|| {
            let header = "^[Aa][Uu][Tt][Hh]";
            shell_command(&[
                "git",
                "config",
                "--file",
                &line.origin,
                "--unset-all",
                key,
                header,
            ])
        })
        .flatten();
    let fix = match (unset, line.conversion) {
        (_, Some(command)) if is_address => command.to_owned(),
        (Some(unset), _) => unset,
        (None, _) => format!("remove it from {}", line.origin),
    };
    let finding = Finding::problem(CHECK, text, public);
    Some(finding.fix(format!("{fix}; {revoke}")))
}

/// Gives the middle part of a key, which is a URL in some sections.
fn subsection(key: &str) -> &str {
    let rest = key.split_once('.').map_or("", |(_, rest)| rest);
    rest.rsplit_once('.')
        .map_or("", |(subsection, _)| subsection)
}

/// Tells whether an `http.<url>.` setting applies to Bitbucket.
fn is_for_us(key: &str, is_ours: &dyn Fn(&str) -> bool) -> bool {
    let url = subsection(key);
    url.is_empty() || is_ours(host_of(url))
}

/// Gives the host of an address that may have no scheme.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    host.split(':').next().unwrap_or("")
}

fn is_address(key: &str) -> bool {
    let is_of = |section: &str, names: &[&str]| {
        key.starts_with(section) && names.iter().any(|name| key.ends_with(name))
    };
    is_of("remote.", &[".url", ".pushurl"]) || is_of("submodule.", &[".url"])
}

fn mercurial(line: &Line, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let is_hg = ["hg::", "hg://"]
        .iter()
        .any(|start| line.value.starts_with(start));
    if !is_hg || !is_address(&line.key) || !is_ours(host_of(&line.value)) {
        return None;
    }
    let text = format!(
        "{} in {} is a Mercurial repository: {}; Bitbucket removed all of them in 2020",
        masked(&line.key),
        line.origin,
        masked(&line.value)
    );
    Some(
        Finding::problem(CHECK, text, "a remote is a Mercurial repository")
            .fix("if it was converted to git: git remote set-url <remote> bbtoken::<workspace>/<repository>; then remove Bitbucket's entries from [auth] in ~/.hgrc"),
    )
}
