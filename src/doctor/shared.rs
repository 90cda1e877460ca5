//! Checks the store of a login that many machines share: rights, the age of the token, and the claim to renew it.

use super::finding::Finding;
use crate::{
    app::Identity,
    clock::span,
    failure::{Kind, kind, quote},
    report,
    token::SharedState,
};

const CHECK: &str = "store";

pub(super) fn check(identity: &Identity) -> Vec<Finding> {
    let name = identity.profile.store.name();
    let (inspection, state) = match identity.inspect_shared() {
        Ok(found) => found,
        Err(error) => return vec![unusable(&error, name)],
    };
    let facts = inspection.facts.into_iter();
    let mut findings: Vec<_> = facts.map(|fact| Finding::good(CHECK, fact, name)).collect();
    let is_copy = state.as_ref().is_ok_and(|state| state.is_copy);
    let lacks = match inspection.read_only {
        Some(_) if is_copy => {
            findings.push(Finding::good(CHECK, "the record may be read", name));
            None
        }
        lacks => lacks,
    };
    let problems = inspection.problems.into_iter().chain(lacks);
    findings.extend(problems.map(|problem| Finding::problem(CHECK, problem, "rights are missing")));
    match state {
        Ok(state) => findings.extend(of_state(&state)),
        Err(error) => findings.push(unusable(&error, name)),
    }
    findings
}

fn unusable(error: &anyhow::Error, name: &str) -> Finding {
    let public = format!("{name} cannot be read");
    let finding = Finding::problem(CHECK, format!("{error:#}"), public);
    // The advice for the store itself is to run this check.
    match (kind(error), report::advice(error)) {
        (Some(Kind::SharedStoreUnusable), _) | (_, None) => finding,
        (_, Some(advice)) => finding.fix(advice),
    }
}

fn of_state(state: &SharedState) -> Vec<Finding> {
    let kind = match (state.is_copy, state.has_login, &state.owner) {
        (true, ..) => "an access token that another machine renews".to_owned(),
        (false, true, Some(name)) => format!("the login of {}", quote(name)),
        (false, true, None) => "the login of a user".to_owned(),
        (false, false, _) => "a client".to_owned(),
    };
    let what = format!("{} has {kind}", state.name);
    let mut findings = vec![Finding::good(CHECK, what, "has a record")];
    match &state.token {
        Some(token) => {
            let (by, left, age) = (quote(&token.by), span(token.left_s), span(token.age_s));
            let text = format!("the token is valid for {left}; '{by}' got it {age} ago");
            findings.push(Finding::good(CHECK, text, "has a token"));
        }
        None if state.has_ended => {}
        None => {
            let text = "there is no token yet; the next command gets one";
            findings.push(Finding::note(CHECK, text, "no token"));
        }
    }
    if state.has_ended {
        let text = "Bitbucket refused the login: it was revoked, or not used for three months";
        findings.push(Finding::problem(CHECK, text, "the login has ended"));
    }
    findings.extend(of_machines(state));
    findings
}

/// Shows what other machines noted: a renewal under way, and a failed one.
fn of_machines(state: &SharedState) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((host, age_s)) = &state.claimed {
        let since = format!("'{}' claimed the renewal {} ago", quote(host), span(*age_s));
        findings.push(match state.is_claim_stale {
            false => Finding::good(CHECK, since, "a renewal is under way"),
            true => Finding::note(
                CHECK,
                format!("{since} and did not finish; the next command repeats it"),
                "a renewal was interrupted",
            ),
        });
    }
    if let Some((host, why, age_s)) = &state.failed {
        let text = format!(
            "'{}' could not renew the token {} ago: {}",
            quote(host),
            span(*age_s),
            quote(why)
        );
        findings.push(Finding::note(CHECK, text, "a renewal failed"));
    }
    findings
}
