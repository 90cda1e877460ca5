//! Checks the programs: git, and whether git and desktop programs find the helper.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use super::finding::Finding;
use crate::{
    failure::quote,
    program::{self, Child},
};

/// The oldest git that is tested.
const OLDEST_GIT: (u32, u32) = (2, 39);
/// The first version of git that sends a credential helper's state back (git 2.46 release notes).
const GIT_WITH_STATE: (u32, u32) = (2, 46);
/// The usual `PATH` of programs that no shell has started.
const SHORT_PATH: [&str; 5] = [
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
];

/// The version line of a helper of this version.
const EXPECTED: &str = concat!("git-remote-bbtoken ", env!("CARGO_PKG_VERSION"));

pub(super) fn ours() -> Vec<Finding> {
    const CHECK: &str = "programs";
    let helpers = program::all("git-remote-bbtoken");
    let Some(helper) = helpers.first() else {
        let text = "git-remote-bbtoken is not on your PATH, so git cannot find it";
        return vec![Finding::problem(CHECK, text, "helper not on PATH").fix(
            "put the directory with both programs on PATH, in the file that your shell reads at login",
        )];
    };
    let is_same = |helper: &Path| version(helper).as_deref() == Some(EXPECTED);
    let mut findings = vec![match is_same(helper) {
        true => {
            let text = format!("{EXPECTED} in '{}'", helper.display());
            Finding::good(CHECK, text, "helper found, same version")
        }
        false => {
            let helper = helper.display();
            let text = format!("'{helper}' has another version than git-bbtoken");
            Finding::problem(CHECK, text, "helper has another version")
                .fix("install both programs together; remove the old ones")
        }
    }];
    findings.extend(apart(helper));
    let others = helpers.iter().skip(1).filter(|other| !is_same(other));
    findings.extend(others.map(|other| {
        let text = format!(
            "'{}' has another version; programs with another PATH may use it",
            other.display()
        );
        Finding::note(CHECK, text, "a second helper has another version").fix("remove it")
    }));
    findings.extend(off_the_short_path(helper));
    findings
}

/// Describes the helper that git starts, if its version differs from this program's.
pub(crate) fn other_helper() -> Option<String> {
    let helper = program::all("git-remote-bbtoken").into_iter().next()?;
    let version = version(&helper).filter(|version| version != EXPECTED)?;
    Some(format!("{version} in '{}'", helper.display()))
}

fn version(helper: &Path) -> Option<String> {
    first_line(Child::Ours.command(helper), &["--version"])
}

/// Checks whether desktop programs may not find the helper.
fn off_the_short_path(helper: &Path) -> Option<Finding> {
    let directory = helper.parent().map(Path::to_string_lossy)?;
    if !cfg!(unix) || SHORT_PATH.contains(&&*directory) {
        return None;
    }
    let text = format!("graphical editors and git clients may not search '{directory}'");
    let programs = ["git-remote-bbtoken", "git-bbtoken"].map(|name| format!("{directory}/{name}"));
    let [helper, ours] = &programs;
    let link = ["sudo", "ln", "-s", helper, ours, "/usr/local/bin/"];
    Some(
        Finding::note("programs", text, "helper not on the short PATH")
            .fix_by(&link, "link both programs into /usr/local/bin"),
    )
}

pub(super) fn git() -> Finding {
    const CHECK: &str = "git";
    // Another check reports a configuration that git cannot read.
    let git = Child::Git.command("git").map(|mut git| {
        git.env("GIT_CONFIG_GLOBAL", "");
        git
    });
    let Some(line) = first_line(git, &["--version"]) else {
        return Finding::problem(CHECK, "git cannot be started", "not found").fix("install git");
    };
    let version = quote(line.strip_prefix("git version ").unwrap_or(""));
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let public = format!("version {}.{}", found.0, found.1);
    if found < OLDEST_GIT {
        let text = format!("version {version} is older than the oldest tested version");
        return Finding::problem(CHECK, text, public).fix("install git 2.39 or later");
    }
    if found < GIT_WITH_STATE {
        let text = format!(
            "version {version}; after a token is revoked, plain https addresses and git-lfs need a second try (bbtoken:: addresses do not)"
        );
        return Finding::note(CHECK, text, public).fix("install git 2.46 or later");
    }
    Finding::good(CHECK, format!("version {version}"), public)
}

/// Checks whether `git-bbtoken` is missing in the directory of the helper, which needs it for git's credential
/// protocol.
fn apart(helper: &Path) -> Option<Finding> {
    let place = helper.canonicalize().ok()?;
    let other = place.with_file_name(format!("git-bbtoken{}", std::env::consts::EXE_SUFFIX));
    if other.is_file() {
        return None;
    }
    let text = format!(
        "'{}' is missing; without it, git's own https gets no token",
        other.display()
    );
    let public = "the programs are in different directories";
    Some(Finding::problem("programs", text, public).fix("install both programs side by side"))
}

/// Runs a program and gives the first line that it prints.
pub(super) fn first_line(program: io::Result<Command>, arguments: &[&str]) -> Option<String> {
    let output = program
        .ok()?
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
