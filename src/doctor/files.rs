//! Finds passwords for Bitbucket in files of other programs: `.netrc` and git's credential store. Shows no secret.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    Finding,
    exposed::{Exposed, host_of, is_bitbucket},
};
use crate::{
    app::App,
    failure::{quote, shell_command},
    files::foreign,
    secret::masked,
};

const CHECK: &str = "secrets";

/// Checks each file that exists.
pub(super) fn all(app: &App) -> Vec<Finding> {
    let is_ours = |host: &str| is_bitbucket(app, host);
    let mut findings = Vec::new();
    for path in netrc_files() {
        findings.extend(in_netrc(&path, &read(&path), &is_ours));
    }
    for path in credential_files(app) {
        findings.extend(in_credentials(&path, &read(&path), &is_ours));
    }
    findings
}

/// Reads a file, but not a pipe. Some users keep secrets behind a pipe, and it may wait for the user.
fn read(path: &Path) -> String {
    if !path.is_file() {
        return String::new();
    }
    // Ignore a file that this user cannot read.
    let bytes = foreign::read(path, foreign::MAX_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn at_home(name: &str) -> Option<PathBuf> {
    Some(dirs::home_dir()?.join(name))
}

/// The files that curl and git read (curl(1), `--netrc`).
fn netrc_files() -> Vec<PathBuf> {
    let named = env::var_os("NETRC").map(PathBuf::from);
    let files = [at_home(".netrc"), at_home("_netrc"), named];
    let mut files: Vec<_> = files.into_iter().flatten().collect();
    files.dedup();
    files
}

/// The files of `git credential-store` (git-credential-store(1), FILES).
fn credential_files(app: &App) -> Vec<PathBuf> {
    let configuration = env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty());
    let configuration = configuration.map(PathBuf::from);
    let configuration = configuration.or_else(|| at_home(".config"));
    let mut files = Vec::from_iter(at_home(".git-credentials"));
    files.extend(configuration.map(|directory| directory.join("git/credentials")));
    for entry in app.settings().filter(|entry| entry.key == "helper") {
        let mut words = entry.value.as_deref().unwrap_or("").split_whitespace();
        while let Some(word) = words.next() {
            let path = match word.strip_prefix("--file") {
                Some("") => words.next(),
                Some(path) => path.strip_prefix('='),
                None => None,
            };
            files.extend(path.map(|path| match path.strip_prefix("~/") {
                Some(rest) => at_home(rest).unwrap_or_default(),
                None => PathBuf::from(path),
            }));
        }
    }
    files.dedup();
    files
}

fn in_netrc(path: &Path, text: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let mut words = text.split_whitespace();
    let mut host = "";
    while let Some(word) = words.next() {
        match word {
            "machine" => host = words.next().unwrap_or_default(),
            "password" => {
                let password = words.next().unwrap_or("").trim_matches('"');
                if !is_ours(host) {
                    continue;
                }
                let (file, host) = (path.display(), quote(host));
                let what = Exposed::in_text(password).unwrap_or(Exposed::Password);
                let what = what.words();
                let text = format!(
                    "'{file}' contains, for '{host}', {what}; git sends it to https addresses before it asks a credential helper"
                );
                let fix = format!(
                    "remove the lines of 'machine {host}' from '{file}', then run: git bbtoken setup (for other programs: git bbtoken exec --netrc -- <command>)"
                );
                let public = format!("a netrc file contains {what}");
                return Some(Finding::problem(CHECK, text, public).fix(fix));
            }
            _ => {}
        }
    }
    None
}

fn in_credentials(path: &Path, text: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let (line, what) = text
        .lines()
        .find_map(|line| Some((line, Exposed::in_urls(line, is_ours)?)))?;
    let (host, what) = (masked(host_of(line)), what.words());
    let file = path.to_string_lossy();
    let text = format!("'{file}' contains, for '{host}', {what}, in plain text");
    let ask = format!("protocol=https\\nhost={host}\\n\\n");
    let commands = [
        shell_command(&["printf", &ask]),
        shell_command(&["git", "credential-store", "--file", &file, "erase"]),
    ];
    let fix = match commands {
        // printf would read a '%' as a directive.
        [Some(ask), Some(erase)] if !ask.contains('%') => {
            format!("{ask} | {erase}; then: git bbtoken setup")
        }
        _ => format!("remove the line from '{file}'; then: git bbtoken setup"),
    };
    let public = format!("git's credential store contains {what}");
    Some(Finding::problem(CHECK, text, public).fix(fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(host: &str) -> bool {
        host == "bitbucket.org"
    }

    #[test]
    fn a_netrc_is_read_as_curl_reads_it() {
        let found =
            |text: &str| in_netrc(Path::new("f"), text, &is_ours).map(|finding| finding.text);
        let one_line = "machine bitbucket.org login joe password ATBBcanary1";
        assert!(
            found(one_line)
                .is_some_and(|text| text.contains("app password") && !text.contains("canary"))
        );
        assert!(found("machine bitbucket.org\n\tlogin a\n\tpassword \"b\"\n").is_some());
        for harmless in [
            "",
            "machine bitbucket.org login joe",
            "machine example.org login a password b\nmachine bitbucket.org login c",
        ] {
            assert_eq!(found(harmless), None, "{harmless}");
        }
    }
}
