//! Gets a proxy's login from git's credential helpers, as git's own https does (git: `proxy_auth` in http.c).
//!
//! # Deviation
//!
//! Only the user's helpers are asked, not a repository's, because the same connection may carry a client's secret.

use std::{io::Write as _, process::Stdio};

use crate::{
    http::{ProxyLogin, ProxyLogins, ProxyUser},
    program::Child,
    secret::Secret,
    waiting,
};

/// A path that is never a repository.
const NO_REPOSITORY: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// Asks `git credential`, which asks the configured helpers, then askpass or the terminal.
pub(super) struct GitLogins {
    /// Whether the user forbids questions.
    pub(super) no_questions: bool,
}

impl ProxyLogins for GitLogins {
    fn ask(&self, proxy: &ProxyUser) -> Option<ProxyLogin> {
        let answer = self.git_credential("fill", &description(proxy, None)?)?;
        let field = |name: &str| {
            let mut lines = answer.expose().lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(ProxyLogin {
            user: field("username")?,
            password: Secret::new(field("password")?),
        })
    }

    fn tell(&self, proxy: &ProxyUser, login: &ProxyLogin, is_right: bool) {
        let verb = if is_right { "approve" } else { "reject" };
        if let Some(description) = description(proxy, Some(login)) {
            self.git_credential(verb, &description);
        }
    }
}

impl GitLogins {
    /// Runs `git credential`. Its messages to the user go to stderr.
    fn git_credential(&self, verb: &str, description: &Secret) -> Option<Secret> {
        let _hold = waiting::hold();
        let mut git = Child::Git.command("git").ok()?;
        if self.no_questions {
            git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "");
        }
        let mut child = git
            .args(["credential", verb])
            // With a `GIT_DIR` that is not a repository, git reads no repository's configuration (git:
            // `setup_explicit_git_dir`).
            .env("GIT_DIR", NO_REPOSITORY)
            .env_remove("GIT_COMMON_DIR")
            .env_remove("GIT_WORK_TREE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut input = child.stdin.take()?;
        // If git has ended without reading it, there is no answer either.
        let _ = input.write_all(description.expose().as_bytes());
        drop(input);
        let output = child.wait_with_output().ok()?;
        let text = Secret::new(String::from_utf8(output.stdout).ok()?);
        output.status.success().then_some(text)
    }
}

/// Describes a login in the credential protocol (git-credential(1), "INPUT/OUTPUT FORMAT"). `None` if a value contains
/// a line break, because git would read the rest as another field.
fn description(proxy: &ProxyUser, login: Option<&ProxyLogin>) -> Option<Secret> {
    let user = login.map(|login| &login.user).or(proxy.user.as_ref());
    let fields = [
        ("protocol", Some(proxy.scheme.as_str())),
        ("host", Some(proxy.host.as_str())),
        ("username", user.map(String::as_str)),
        ("password", login.map(|login| login.password.expose())),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if value.contains(char::is_control) {
            return None;
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push('\n');
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_line_end_is_no_question_to_git() {
        let proxy = |scheme: &str, host: &str, user: &str| ProxyUser {
            scheme: scheme.into(),
            host: host.into(),
            user: Some(user.into()),
        };
        let good = description(&proxy("http", "proxy:1", "ann"), None);
        let expected = "protocol=http\nhost=proxy:1\nusername=ann\n\n";
        assert_eq!(good.as_ref().map(Secret::expose), Some(expected));
        for odd in ["x\nhost=other", "x\rhost=other", "x\0"] {
            let cases = [
                proxy(odd, "proxy", "ann"),
                proxy("http", odd, "ann"),
                proxy("http", "proxy", odd),
            ];
            for case in cases {
                assert!(description(&case, None).is_none(), "{case:?}");
            }
        }
    }
}
