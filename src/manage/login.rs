//! `git bbtoken login` and `logout`: a person's consent, by a browser on this machine or on another one.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    failure::{Failure, Kind},
    secret::Secret,
    wire::{self, Authorization, Callback, Identity, Listener},
};

/// How long a person may take to consent.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest address that is read; codes have some hundred characters.
const MAX_ADDRESS_BYTES: u64 = 64 * 1024;

/// Waits on this machine for the browser to come back.
pub(super) fn by_listening(
    profile: Option<&str>,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let identity = Identity::named(profile)?;
    let listener = Listener::bind(0)?;
    let authorization = Arc::new(wire::authorize(
        &identity,
        Some(&listener.redirect_uri()),
        warn,
    )?);
    writeln!(
        output,
        "Open this page in a browser on this machine and grant access:\n\n  {}\n\nWaiting for it to come back to {} …",
        authorization.url,
        listener.redirect_uri()
    )?;
    output.flush()?;
    let visitor = listener
        .wait(&authorization, PATIENCE)
        .with_context(|| not_done(&identity, "no browser came back in time"))?;
    let outcome = match &visitor.outcome {
        Ok(code) => wire::log_in(&identity, &authorization, code, warn),
        Err(why) => Err(not_done(&identity, why).into()),
    };
    visitor.show(
        outcome
            .is_err()
            .then_some("Bitbucket or git did not take the answer."),
    );
    outcome?;
    done(&identity, output)
}

/// Takes the address that a browser anywhere ended at.
pub(super) fn by_pasting(
    profile: Option<&str>,
    input: &mut dyn Read,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let identity = Identity::named(profile)?;
    let authorization = wire::authorize(&identity, None, warn)?;
    writeln!(
        output,
        "Open this page in a browser on any machine and grant access:\n\n  {}\n\n\
         The browser then goes to an address that may show an error; that is fine.\n\
         Paste that whole address here and press Enter:",
        authorization.url
    )?;
    output.flush()?;
    let mut address = String::new();
    BufReader::new(input.take(MAX_ADDRESS_BYTES)).read_line(&mut address)?;
    let code = code_in(&address, &authorization).map_err(|why| not_done(&identity, &why))?;
    wire::log_in(&identity, &authorization, &code, warn)?;
    done(&identity, output)
}

/// Forgets the login on this machine.
pub(super) fn out(
    profile: Option<&str>,
    output: &mut dyn Write,
    warn: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let identity = Identity::named(profile)?;
    let outcome = if wire::log_out(&identity, warn)? {
        "is logged out on this machine"
    } else {
        "was not logged in"
    };
    Ok(writeln!(
        output,
        "Profile '{}' {outcome}.",
        identity.profile
    )?)
}

fn code_in(address: &str, authorization: &Authorization) -> Result<Secret, String> {
    let query = address
        .trim()
        .split_once('?')
        .map_or("", |(_, query)| query);
    match authorization.read(query.split('#').next().unwrap_or("")) {
        Callback::Code(code) => Ok(code),
        Callback::Denied(why) => Err(why),
        Callback::Foreign => Err(
            "the address does not belong to this login; paste all of it, from http to the end"
                .into(),
        ),
    }
}

fn done(identity: &Identity, output: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(
        output,
        "Profile '{}' is logged in.",
        identity.profile
    )?)
}

fn not_done(identity: &Identity, why: &str) -> Failure {
    let profile = identity.profile.name.clone();
    let message = format!("profile '{profile}' was not logged in: {why}");
    Failure::new(Kind::LoginNeeded { profile }, message)
}
