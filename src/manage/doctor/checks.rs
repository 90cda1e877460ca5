//! The checks, each a function that finds one thing or some.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use super::Finding;
use crate::{
    failure::quote,
    manage::{
        git::{self, Target},
        status, words,
    },
    wire::{self, Identity, Overview},
};

/// The oldest git that is tested.
const OLDEST_GIT: (u32, u32) = (2, 39);
/// The first that hands a credential helper its state back (git 2.46 release notes).
const GIT_WITH_STATE: (u32, u32) = (2, 46);
/// A clock that is off by more makes tokens look alive that are not.
const CLOCK_LIMIT_S: u64 = 60;

/// Runs all checks; those that need a profile only where there is one.
pub(super) fn all(address: Option<&str>, warn: &dyn Fn(&str)) -> Vec<Finding> {
    let mut findings = programs();
    findings.push(git_version());
    let overview = match Overview::read() {
        Ok(overview) => overview,
        Err(error) => {
            findings.push(
                Finding::problem("configuration", format!("{error:#}"), "cannot be read")
                    .mend("mend the setting that is named"),
            );
            return findings;
        }
    };
    findings.push(protocol(&overview));
    findings.extend(rewritten(&overview));
    findings.push(helper(&overview));
    findings.extend(remotes());
    findings.extend(large_files(&overview));
    match identity(&overview, address) {
        Ok((identity, finding)) => {
            findings.push(finding);
            findings.push(store(&identity, warn));
            findings.extend(network(&identity));
            findings.push(token(&identity, warn));
        }
        Err(finding) => findings.push(finding),
    }
    if let Some(address) = address {
        findings.push(repository(address));
    }
    findings
}

/// Looks for a program as git does.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file())
}

fn programs() -> Vec<Finding> {
    const CHECK: &str = "programs";
    const SHORT_PATH: [&str; 5] = [
        "/usr/local/bin",
        "/opt/homebrew/bin",
        "/usr/bin",
        "/bin",
        "/usr/local/sbin",
    ];
    let Some(helper) = on_path("git-remote-bbtoken") else {
        let text = "git-remote-bbtoken is not on your PATH, so git cannot find it";
        return vec![Finding::problem(CHECK, text, "helper not on PATH").mend(
            "put the directory with both programs on PATH, in the file that your shell reads at login",
        )];
    };
    let version = first_line(Command::new(&helper).arg("--version"));
    let expected = format!("git-remote-bbtoken {}", env!("CARGO_PKG_VERSION"));
    let mut findings = vec![match version {
        Some(version) if version == expected => Finding::good(
            CHECK,
            format!("{expected} in '{}'", helper.display()),
            "helper found, same version",
        ),
        _ => Finding::problem(
            CHECK,
            format!("'{}' is of another version", helper.display()),
            "helper of another version",
        )
        .mend("install both programs together; remove the old ones"),
    }];
    let directory = helper
        .parent()
        .map(|parent| parent.to_string_lossy().into_owned())
        .unwrap_or_default();
    if cfg!(unix) && !SHORT_PATH.contains(&directory.as_str()) {
        findings.push(
            Finding::note(
                CHECK,
                format!("'{directory}' is not on the short PATH of programs with windows"),
                "helper not on the short PATH",
            )
            .mend("for editors and git clients, link both programs into /usr/local/bin"),
        );
    }
    findings
}

fn git_version() -> Finding {
    const CHECK: &str = "git";
    let Some(line) = first_line(Command::new("git").arg("--version")) else {
        return Finding::problem(CHECK, "git cannot be started", "not found").mend("install git");
    };
    let version = line.strip_prefix("git version ").unwrap_or("");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let found = (
        numbers.next().flatten().unwrap_or(0),
        numbers.next().flatten().unwrap_or(0),
    );
    let public = format!("version {}.{}", found.0, found.1);
    if found < OLDEST_GIT {
        return Finding::problem(
            CHECK,
            format!(
                "version {} is older than any that is tested",
                quote(version)
            ),
            public,
        )
        .mend("install git 2.39 or later");
    }
    if found < GIT_WITH_STATE {
        let text = format!(
            "version {}; plain https addresses and git-lfs need a second try when a token was revoked (bbtoken:: addresses do not)",
            quote(version)
        );
        return Finding::note(CHECK, text, public).mend("install git 2.46 or later");
    }
    Finding::good(CHECK, format!("version {}", quote(version)), public)
}

fn protocol(overview: &Overview) -> Finding {
    const CHECK: &str = "submodules";
    let setting = overview
        .settings()
        .filter(|entry| entry.name().eq_ignore_ascii_case("protocol.bbtoken.allow"))
        .last();
    match setting.map(|entry| (entry.value.as_deref().unwrap_or(""), &entry.origin)) {
        Some(("always", _)) => Finding::good(CHECK, "bbtoken:: addresses are allowed", "allowed"),
        Some(("never", origin)) => Finding::problem(
            CHECK,
            format!("protocol.bbtoken.allow is 'never' in {origin}"),
            "forbidden by configuration",
        )
        .mend("git config --global protocol.bbtoken.allow always"),
        _ => Finding::note(
            CHECK,
            "git does not clone submodules with bbtoken:: addresses",
            "not allowed yet",
        )
        .by_setup(),
    }
}

/// Finds settings that turn our addresses into others.
fn rewritten(overview: &Overview) -> Option<Finding> {
    let entry = overview.settings().find(|entry| {
        let of_url =
            entry.section == "url" && (entry.key == "insteadof" || entry.key == "pushinsteadof");
        of_url
            && entry
                .value
                .as_deref()
                .is_some_and(|value| value.starts_with("bbtoken:"))
    })?;
    let base = overview.base().as_str().trim_end_matches('/');
    if entry
        .subsection
        .as_deref()
        .is_some_and(|url| url.trim_end_matches('/') == base)
    {
        let text = "bbtoken:: addresses are turned into https ones; git's own transport is used";
        return Some(Finding::note(
            "addresses",
            text,
            "bbtoken:: is turned into https",
        ));
    }
    let text = format!(
        "{} in {} turns bbtoken:: addresses into others",
        entry.name(),
        entry.origin
    );
    let mend = format!("git config --global --unset {}", entry.name());
    Some(
        Finding::problem(
            "addresses",
            text,
            "an insteadOf setting turns ours into others",
        )
        .mend(mend),
    )
}

/// Looks at the chain of credential helpers for Bitbucket's https addresses.
fn helper(overview: &Overview) -> Finding {
    const CHECK: &str = "credential helper";
    let site = wire::site(overview.base());
    let mut chain: Vec<String> = Vec::new();
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
            Some(helper) if is_for_site => chain.push(helper.to_owned()),
            _ => {}
        }
    }
    let ours = chain.iter().position(|helper| helper.contains("bbtoken"));
    match (ours, chain.len()) {
        (Some(_), 1) => Finding::good(
            CHECK,
            format!("ours answers for {site}, alone"),
            "ours alone",
        ),
        (Some(position), length) => {
            let text = format!(
                "{} other helpers are asked for {site} as well; they may store tokens of ours, which end after two hours",
                length - 1
            );
            let public = format!("ours is number {} of {length}", position + 1);
            Finding::note(CHECK, text, public).by_setup()
        }
        (None, length) => {
            let text = format!(
                "ours does not answer for {site}: plain https addresses and git-lfs get no token from us"
            );
            Finding::note(CHECK, text, format!("ours is not among {length}")).by_setup()
        }
    }
}

/// Looks for secrets in the addresses of this repository's remotes.
fn remotes() -> Vec<Finding> {
    const CHECK: &str = "remotes";
    let Ok(repository) = git::repository() else {
        return Vec::new();
    };
    let urls = Target::Local(repository)
        .matching(r"^remote\..*\.(url|pushurl)$")
        .unwrap_or_default();
    let mut findings = Vec::new();
    for (key, url) in urls {
        let shown = git::hide_password(&url);
        if shown == quote(&url) {
            continue;
        }
        let what = if url.contains("ATBB") {
            "an app password, which no longer works"
        } else {
            "a password or token"
        };
        findings.push(
            Finding::problem(
                CHECK,
                format!("{key} holds {what}: {shown}"),
                format!("an address holds {what}"),
            )
            .mend("git bbtoken remote convert; then revoke it at Bitbucket"),
        );
    }
    findings
}

/// Looks for a remote that git-lfs cannot follow: it makes no https address of a `bbtoken::` one (git-lfs issue 4086).
fn large_files(overview: &Overview) -> Option<Finding> {
    let repository = git::repository().ok()?;
    let attributes = std::fs::read_to_string(repository.join(".gitattributes")).ok()?;
    if !attributes.contains("filter=lfs") || repository.join(".lfsconfig").exists() {
        return None;
    }
    let settings = Target::Local(repository)
        .matching(r"^(remote\..*\.(url|lfsurl)|lfs\.url)$")
        .ok()?;
    if settings
        .iter()
        .any(|(key, _)| key.ends_with(".lfsurl") || key == "lfs.url")
    {
        return Some(Finding::good(
            "git-lfs",
            "it has an address of its own",
            "it has an address of its own",
        ));
    }
    let (key, url) = settings
        .iter()
        .find(|(_, url)| url.starts_with("bbtoken:"))?;
    let https = overview.converted(url, true)?;
    let lfs_key = key.strip_suffix("url")?;
    Some(
        Finding::problem(
            "git-lfs",
            format!("it cannot follow {key} = {}", quote(url)),
            "it cannot follow a bbtoken:: address",
        )
        .mend(format!("git config {lfs_key}lfsurl {https}/info/lfs")),
    )
}

fn identity(overview: &Overview, address: Option<&str>) -> Result<(Identity, Finding), Finding> {
    const CHECK: &str = "profile";
    let refuse = |error: anyhow::Error| {
        Finding::problem(CHECK, format!("{error:#}"), "none can be used").mend("git bbtoken login")
    };
    let (name, why) = match address {
        Some(address) => overview
            .explain(address)
            .map(|found| (found.profile, found.why))
            .map_err(refuse)?,
        None => {
            crate::profile::explain(&overview.raw, None).map_err(|error| refuse(error.into()))?
        }
    };
    let identity = overview.identity(&name, |_| {}).map_err(refuse)?;
    let grant = identity.profile.grant.name();
    let finding = Finding::good(
        CHECK,
        format!("'{name}' ({grant}), since {why}"),
        format!("grant {grant}"),
    );
    Ok((identity, finding))
}

fn store(identity: &Identity, warn: &dyn Fn(&str)) -> Finding {
    const CHECK: &str = "store";
    let name = identity.profile.store.name();
    let problem = match wire::kept(identity, warn) {
        Ok((_, None)) => return Finding::good(CHECK, name, name),
        Ok((_, Some(problem))) | Err(problem) => problem,
    };
    Finding::problem(
        CHECK,
        format!("{problem:#}"),
        format!("{name} cannot be read"),
    )
    .mend(format!(
        "unlock it, or choose another: git config --global bbtoken.{}.store file",
        identity.profile
    ))
}

/// Asks Bitbucket for its front page: name, proxy, certificate and clock.
fn network(identity: &Identity) -> Vec<Finding> {
    let host = identity
        .profile
        .endpoints
        .base
        .host_str()
        .unwrap_or("")
        .to_owned();
    let server_unix_s = match wire::server_time(identity) {
        Ok(time) => time,
        Err(error) => {
            return vec![
                Finding::problem("network", format!("{error:#}"), "Bitbucket cannot be reached")
                    .mend("check http.proxy, http.sslCAInfo and the name server; try 'git ls-remote' with GIT_CURL_VERBOSE=1"),
            ];
        }
    };
    let mut findings = vec![Finding::good(
        "network",
        format!("'{host}' answers"),
        "Bitbucket answers",
    )];
    if let Some(server_unix_s) = server_unix_s {
        let off_s = wire::now_unix_s().abs_diff(server_unix_s);
        findings.push(if off_s > CLOCK_LIMIT_S {
            let off = words::span(off_s);
            Finding::problem(
                "clock",
                format!("it is off by {off}"),
                format!("off by {off}"),
            )
            .mend("set the clock of this machine; let it follow a time server")
        } else {
            Finding::good("clock", "it is right", "right")
        });
    }
    findings
}

fn token(identity: &Identity, warn: &dyn Fn(&str)) -> Finding {
    const CHECK: &str = "token";
    if let Err(error) = wire::bearer(identity, warn) {
        return Finding::problem(CHECK, format!("{error:#}"), "none can be got")
            .mend(format!("git bbtoken login {}", identity.profile));
    }
    let kept = wire::kept(identity, warn)
        .ok()
        .and_then(|(kept, _)| kept.access_token);
    match kept {
        Some(token) if !token.scopes.is_empty() && !status::may_push(&token.scopes) => {
            Finding::note(
                CHECK,
                status::scopes(&token.scopes),
                "there; it cannot push",
            )
            .mend("to push, tick 'Repositories: Write' at the OAuth consumer")
        }
        Some(token) => Finding::good(CHECK, status::scopes(&token.scopes), "there"),
        None => Finding::good(CHECK, "there", "there"),
    }
}

fn repository(address: &str) -> Finding {
    const CHECK: &str = "repository";
    let full = if address.starts_with("bbtoken:") {
        address.to_owned()
    } else {
        format!("bbtoken::{address}")
    };
    match git::reach(&full) {
        Ok(()) => Finding::good(
            CHECK,
            format!("'{}' can be read", quote(address)),
            "can be read",
        ),
        Err(error) => Finding::problem(CHECK, format!("{error:#}"), "cannot be read")
            .mend("check the address, and that the client or token may see the repository"),
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
