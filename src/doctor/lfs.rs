//! Git LFS: whether its files are fetched here, from where, and by whose token.

use std::path::Path;

use super::{Finding, programs::first_line};
use crate::{
    app::App,
    failure::quote,
    git::{self, Target},
    git_config,
    program::Child,
    secret::masked,
};

const CHECK: &str = "git-lfs";

/// Looks at a repository that keeps files in LFS; nothing is said of any other.
pub(super) fn large_files(app: &App) -> Vec<Finding> {
    let Ok(repository) = git::repository() else {
        return Vec::new();
    };
    if !has_large_files(&repository.top) {
        return Vec::new();
    }
    let Some(version) = first_line(Child::Git.command("git"), &["lfs", "version"]) else {
        let text = "this repository stores files in git-lfs, which is not installed: you see only small pointer files";
        return vec![
            Finding::problem(CHECK, text, "not installed")
                .fix("install git-lfs, then: git lfs install && git lfs pull"),
        ];
    };
    let has_filter = app
        .settings()
        .any(|entry| entry.name() == "filter.lfs.process" || entry.name() == "filter.lfs.smudge");
    if !has_filter {
        let text = "it is installed, but git does not call it";
        return vec![
            Finding::problem(CHECK, text, "no filter is set")
                .fix("git lfs install && git lfs pull"),
        ];
    }
    let version = version.split_whitespace().next().unwrap_or("");
    let mut findings = vec![Finding::good(CHECK, quote(version), "installed")];
    if !repository.top.join(".lfsconfig").exists() {
        findings.extend(endpoint(app, &Target::Local(repository)));
    }
    findings
}

/// Asks git, which reads attributes in every directory, in the repository and of the user (gitattributes(5)).
fn has_large_files(repository: &Path) -> bool {
    let git = Child::Git.command("git").map(|mut git| {
        git.arg("-C").arg(repository);
        git
    });
    first_line(git, &["ls-files", "--", ":(attr:filter=lfs)"]).is_some()
}

/// Git-lfs makes no https address of a `bbtoken::` one (git-lfs issue 4086), and asks for no credential where
/// Bitbucket answers 403 in the place of 401 (git-lfs issue 2658).
fn endpoint(app: &App, repository: &Target) -> Option<Finding> {
    let settings = repository
        .matching(r"^(remote\..*\.(url|lfsurl)|lfs\.url)$")
        .ok()?;
    let own = settings
        .iter()
        .find(|(key, _)| key.ends_with(".lfsurl") || key == "lfs.url");
    if let Some((key, url)) = own {
        return Some(separate(app, key, url));
    }
    let (key, url) = settings
        .iter()
        .find(|(_, url)| url.starts_with("bbtoken:"))?;
    let is_off = app
        .settings()
        .filter(|entry| entry.name() == "bbtoken.lfs")
        .last()
        .is_some_and(|entry| !git_config::is_true(entry));
    let fix = if is_off {
        "git config --global bbtoken.lfs true && git bbtoken setup"
    } else {
        "git bbtoken setup"
    };
    Some(
        Finding::problem(
            CHECK,
            format!("it cannot use {key} = {}", masked(url)),
            "it cannot use a bbtoken:: address",
        )
        .fix(fix),
    )
}

/// Judges an address that the user has set.
fn separate(app: &App, key: &str, url: &str) -> Finding {
    let access = format!("lfs.{}.access", url.trim_end_matches('/'));
    let has_access = app.settings().any(|entry| {
        let scope = entry.subsection.as_deref().unwrap_or_default();
        let is_access = entry.section == "lfs" && entry.key == "access";
        is_access && url.starts_with(scope) && entry.value.as_deref() == Some("basic")
    });
    let is_ours = app
        .bases
        .iter()
        .any(|base| url.starts_with(base.as_str().trim_end_matches('/')));
    if has_access || !is_ours {
        return Finding::good(
            CHECK,
            format!("{key} sets a separate address"),
            "it has a separate address",
        );
    }
    let text =
        "it does not know that Bitbucket needs a token, so Bitbucket may refuse its requests";
    Finding::note(CHECK, text, "no access mode is set").fix_by(
        &["git", "config", &access, "basic"],
        format!("set {access} to basic"),
    )
}
