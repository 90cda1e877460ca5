//! Git LFS: checks whether git-lfs fetches files here, from which address, and with which token.

use std::path::Path;

use super::{finding::Finding, programs::first_line};
use crate::{
    app::App,
    failure::quote,
    git::{self, Target},
    git_config,
    program::Child,
    secret::masked,
};

const CHECK: &str = "git-lfs";

/// Checks a repository with files in LFS. Reports nothing for other repositories.
pub(super) fn check(app: &App) -> Vec<Finding> {
    let Ok(repository) = git::repository() else {
        return Vec::new();
    };
    if !has_lfs_files(&repository.top) {
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

/// Asks git, because attributes may be in any directory, in the git directory and in the user's file
/// (gitattributes(5)).
fn has_lfs_files(repository: &Path) -> bool {
    let git = Child::Git.command("git").map(|mut git| {
        git.arg("-C").arg(repository);
        git
    });
    first_line(git, &["ls-files", "--", ":(attr:filter=lfs)"]).is_some()
}

/// git-lfs does not convert a `bbtoken::` address to https (git-lfs issue 4086). If Bitbucket answers 403 instead of
/// 401, git-lfs asks for no credential (git-lfs issue 2658).
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
    let setting = app.git.last("bbtoken", None, "lfs");
    let fix = match setting.is_none_or(git_config::is_true) {
        true => "git bbtoken setup",
        false => "git config --global bbtoken.lfs true && git bbtoken setup",
    };
    let text = format!("it cannot use {key} = {}", masked(url));
    Some(Finding::problem(CHECK, text, "it cannot use a bbtoken:: address").fix(fix))
}

/// Checks an address that the user has set.
fn separate(app: &App, key: &str, url: &str) -> Finding {
    let access = format!("lfs.{}.access", url.trim_end_matches('/'));
    let has_access = app.settings().any(|entry| {
        let scope = entry.subsection.as_deref().unwrap_or_default();
        let is_access = entry.section == "lfs" && entry.key == "access";
        is_access && url.starts_with(scope) && entry.value.as_deref() == Some("basic")
    });
    let is_ours = app
        .places
        .iter()
        .any(|place| url.starts_with(place.base.as_str().trim_end_matches('/')));
    if has_access || !is_ours {
        let text = format!("{key} sets a separate address");
        return Finding::good(CHECK, text, "it has a separate address");
    }
    let text =
        "it does not know that Bitbucket needs a token, so Bitbucket may refuse its requests";
    Finding::note(CHECK, text, "no access mode is set").fix_by(
        &["git", "config", &access, "basic"],
        format!("set {access} to basic"),
    )
}
