//! The programs: ours, where git and programs with windows find them, and git itself.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use super::Finding;
use crate::failure::quote;

/// The oldest git that is tested.
const OLDEST_GIT: (u32, u32) = (2, 39);
/// The first that hands a credential helper its state back (git 2.46 release notes).
const GIT_WITH_STATE: (u32, u32) = (2, 46);
/// What programs that no shell has started find programs in.
const SHORT_PATH: [&str; 5] = [
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
];

pub(super) fn ours() -> Vec<Finding> {
    const CHECK: &str = "programs";
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
                format!("editors and git clients with windows may not look into '{directory}'"),
                "helper not on the short PATH",
            )
            .mend(format!(
                "sudo ln -s '{directory}/git-remote-bbtoken' '{directory}/git-bbtoken' /usr/local/bin/"
            )),
        );
    }
    findings
}

pub(super) fn git() -> Finding {
    const CHECK: &str = "git";
    let mut git = Command::new("git");
    // A configuration that git cannot read is found elsewhere.
    git.arg("--version").env("GIT_CONFIG_GLOBAL", "");
    let Some(line) = first_line(&mut git) else {
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

/// Looks for a program as git does.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file())
}

/// Runs a program and gives the first line that it prints.
pub(super) fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
