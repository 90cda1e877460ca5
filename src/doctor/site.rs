//! Checks the server itself, and the mirror from which git fetches.

use super::finding::Finding;
use crate::{
    app::{App, Identity},
    failure::quote,
    git, report,
    site::Subject,
};

/// Asks the server. `is_accepted` tells whether it has accepted the token.
pub(super) fn check(
    app: &App,
    identity: &Identity,
    address: Option<&str>,
    is_accepted: bool,
) -> Vec<Finding> {
    const CHECK: &str = "server";
    let endpoints = &identity.profile.endpoints;
    let repository = address.and_then(|address| app.repository(address));
    let ask = |path: &_, sent, body| app.ask(identity, path, (sent, body)).ok();
    let examined = endpoints.product.examine(&Subject {
        base: &endpoints.base,
        repository: repository.as_ref(),
        is_accepted,
        ask: &ask,
    });
    let found = examined.into_iter().map(|it| Finding {
        fix: it.fix.map(report::for_this_user),
        ..Finding::new(CHECK, it.level, it.text, it.public)
    });
    let mirror = address.filter(|_| is_accepted);
    found
        .chain(mirror.and_then(|address| mirror_of(identity, address)))
        .collect()
}

/// Compares the branches of a mirror with those of the server.
fn mirror_of(identity: &Identity, address: &str) -> Option<Finding> {
    const CHECK: &str = "mirror";
    let profile = &identity.profile;
    let mirror = quote(profile.endpoints.mirror.as_ref()?.as_str());
    let without = format!("bbtoken.{profile}.mirrorUrl={}", profile.endpoints.base);
    // The check of the repository reports a server that cannot be read.
    let own = git::branches(address, &["-c", &without]).ok()?;
    let fetch = format!("to fetch from the server itself: git -c {without} fetch");
    Some(match git::branches(address, &[]) {
        Ok(mirrored) if mirrored == own => {
            Finding::good(CHECK, format!("'{mirror}' is up to date"), "up to date")
        }
        Ok(_) => {
            let text = format!("'{mirror}' does not have the newest commits yet");
            Finding::note(CHECK, text, "behind").fix(fetch)
        }
        Err(why) => {
            let text = format!("'{mirror}' cannot be read: {why}");
            Finding::problem(CHECK, text, "cannot be read").fix(fetch)
        }
    })
}
