//! `git bbtoken credential`: git's credential protocol (git-credential(1)), for the configured Bitbucket only.

use std::io::{Read, Write};

use anyhow::Context as _;

use super::usage;
use crate::{
    failure::quote,
    secret::Secret,
    wire::{self, Identity},
};

/// More than any request of git's.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024;

pub(super) fn run(
    profile: Option<&str>,
    action: &str,
    input: &mut dyn Read,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut text = String::new();
    input
        .take(MAX_REQUEST_BYTES)
        .read_to_string(&mut text)
        .context("cannot read the credential request")?;
    let request = Request::parse(&Secret::new(text));
    match action {
        "get" => get(profile, &request, output, warn),
        "erase" => erase(profile, &request, warn),
        // Ours is kept already, and nobody else's is wanted.
        "store" => Ok(()),
        other => Err(usage(&format!(
            "'{}' is no credential action",
            quote(other)
        ))),
    }
}

fn get(
    profile: Option<&str>,
    request: &Request,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let Some(identity) = identity(profile, request)? else {
        return Ok(());
    };
    let bearer = wire::bearer(&identity, warn)?;
    let mut answer = Secret::new(format!(
        "username={}\npassword={}\n",
        bearer.user,
        bearer.token.expose()
    ));
    if let Some(expiry) = bearer.expires_at_unix_s {
        answer = Secret::new(format!("{}password_expiry_utc={expiry}\n", answer.expose()));
    }
    Ok(output.write_all(answer.expose().as_bytes())?)
}

fn erase(profile: Option<&str>, request: &Request, warn: &dyn Fn(&str)) -> anyhow::Result<()> {
    if let (Some(identity), Some(token)) = (identity(profile, request)?, &request.password) {
        wire::forget(&identity, token, warn)?;
    }
    Ok(())
}

/// Resolves whose token a request is about; `None` if it is not about Bitbucket, so that git asks the next helper.
fn identity(profile: Option<&str>, request: &Request) -> anyhow::Result<Option<Identity>> {
    Identity::for_url(&request.protocol, &request.host, &request.path, profile)
}

/// What git asks about.
#[derive(Default)]
struct Request {
    protocol: String,
    host: String,
    path: String,
    password: Option<Secret>,
}

impl Request {
    /// Reads `key=value` lines up to an empty one; unknown keys are passed over, as the protocol asks.
    fn parse(text: &Secret) -> Self {
        let mut request = Request::default();
        for line in text.expose().lines().take_while(|line| !line.is_empty()) {
            match line.split_once('=') {
                Some(("protocol", value)) => request.protocol = value.to_owned(),
                Some(("host", value)) => request.host = value.to_owned(),
                Some(("path", value)) => request.path = value.to_owned(),
                Some(("password", value)) => request.password = Some(Secret::new(value)),
                _ => {}
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_passed_over() {
        let request = Request::parse(&Secret::new(
            "capability[]=state\nprotocol=https\nhost=bitbucket.org\npath=ws/r.git\npassword=a=b\n\nhost=x\n",
        ));
        assert_eq!(
            (
                request.protocol.as_str(),
                request.host.as_str(),
                request.path.as_str()
            ),
            ("https", "bitbucket.org", "ws/r.git")
        );
        assert_eq!(request.password, Some(Secret::new("a=b")));
    }
}
