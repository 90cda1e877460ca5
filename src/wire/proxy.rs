//! A proxy's login by way of git's credential helpers, as git's own https asks for it (git: `proxy_auth` in http.c).

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    http::{ProxyLogin, ProxyLogins, ProxyUser},
    secret::Secret,
};

/// Asks `git credential`: helpers that are configured, then askpass or the terminal.
pub(super) struct GitLogins;

impl ProxyLogins for GitLogins {
    fn ask(&self, proxy: &ProxyUser) -> Option<ProxyLogin> {
        let answer = git_credential("fill", &description(proxy, None))?;
        let field = |name: &str| {
            let line = answer.expose().lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key == name).then(|| value.to_owned())
            });
            line.filter(|value| !value.is_empty())
        };
        Some(ProxyLogin {
            user: field("username")?,
            password: Secret::new(field("password")?),
        })
    }

    fn tell(&self, proxy: &ProxyUser, login: &ProxyLogin, is_right: bool) {
        let verb = if is_right { "approve" } else { "reject" };
        git_credential(verb, &description(proxy, Some(login)));
    }
}

/// Describes a login in the credential protocol (git-credential(1), "INPUT/OUTPUT FORMAT").
fn description(proxy: &ProxyUser, login: Option<&ProxyLogin>) -> Secret {
    let mut text = format!("protocol={}\nhost={}\n", proxy.scheme, proxy.host);
    let user = login.map(|login| &login.user).or(proxy.user.as_ref());
    if let Some(user) = user {
        text.push_str(&format!("username={user}\n"));
    }
    if let Some(login) = login {
        text.push_str(&format!("password={}\n", login.password.expose()));
    }
    text.push('\n');
    Secret::new(text)
}

/// Runs `git credential`; what it says to a person goes to stderr.
fn git_credential(verb: &str, description: &Secret) -> Option<Secret> {
    let mut child = Command::new("git")
        .args(["credential", verb])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    // A git that does not read it will say nothing either.
    let _ = input.write_all(description.expose().as_bytes());
    drop(input);
    let output = child.wait_with_output().ok()?;
    let text = Secret::new(String::from_utf8(output.stdout).ok()?);
    output.status.success().then_some(text)
}
