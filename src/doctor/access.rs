//! Checks the access: the profile, its store, its token with account and scopes, and a repository as the proof.

use super::{Level, finding::Finding, shared, site};
use crate::{
    app::{self, App, Identity, Unread},
    clock,
    failure::{Kind, kind, quote},
    profile::{self, Store},
    report,
    secret::masked,
    site::Owner,
};

/// The text of a public report if Bitbucket refuses the token in the request for the account.
const REFUSED: &str = "the token was refused";

/// Checks the profile that was found for an address, and then the repository.
pub(super) fn all(
    app: &App,
    address: Option<&str>,
    found: Result<(Identity, Finding), Finding>,
    is_reachable: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match found {
        Err(finding) => findings.push(finding),
        Ok((identity, finding)) => {
            findings.push(finding);
            match identity.profile.shared {
                Some(_) => findings.extend(shared::check(&identity)),
                None => findings.push(store(&identity)),
            }
            if is_reachable {
                let token = token(app, &identity);
                let is_refused = token.iter().any(|found| found.public == REFUSED);
                let is_accepted =
                    !is_refused && token.iter().all(|found| found.level != Level::Problem);
                findings.extend(token);
                let full = address.map(|address| for_git(app, address));
                findings.extend(site::check(app, &identity, full.as_deref(), is_accepted));
                // Do not send a token again that Bitbucket has certainly refused.
                let product = identity.profile.endpoints.product;
                let address =
                    address.filter(|_| !(is_refused && product.facts().counts_failed_logins));
                findings.extend(address.map(|address| repository(app, address, is_refused)));
            } else {
                let text = "not checked, because Bitbucket cannot be reached";
                findings.push(Finding::note("token", text, "not checked"));
            }
        }
    }
    findings.extend(other_profiles(app));
    findings
}

/// Finds a remote of this repository that is at Bitbucket, first the one from which git fetches by default.
pub(super) fn remote(app: &App) -> Option<&str> {
    let remotes = app.settings().filter_map(|entry| {
        let is_ours = entry.section == "remote"
            && entry.key == "url"
            && entry.value.as_deref()?.starts_with("bbtoken:");
        entry.subsection.as_deref().filter(|_| is_ours)
    });
    let remotes: Vec<_> = remotes.collect();
    let default = app.default_remote();
    let of_git = remotes
        .iter()
        .find(|name| Some(**name) == default.as_deref());
    of_git.or(remotes.first()).copied()
}

/// Finds the profile of an address, or the one that git uses in this directory.
pub(super) fn identity(app: &App, address: Option<&str>) -> Result<(Identity, Finding), Finding> {
    const CHECK: &str = "profile";
    let refuse = |error: anyhow::Error| {
        let fix = match kind(&error) {
            Some(Kind::NotConfigured | Kind::LoginNeeded { .. }) => "git bbtoken login",
            Some(Kind::BadAddress) => "write the address as workspace/repository",
            Some(Kind::UnknownProfile { .. }) => "to see the profiles, run: git bbtoken status",
            _ => {
                "fix the setting that the message names; 'git bbtoken status --verbose' shows all settings"
            }
        };
        Finding::problem(CHECK, format!("{error:#}"), "no usable profile").fix(fix)
    };
    let (identity, why) = app.chosen(address).map_err(refuse)?;
    let grant = identity.profile.grant.name();
    let text = format!("'{}' ({grant}), because {why}", identity.profile);
    let finding = Finding::good(CHECK, text, format!("grant {grant}"));
    Ok((identity, finding))
}

/// Lists the profiles that cannot be used, even if this directory does not use them.
fn other_profiles(app: &App) -> Vec<Finding> {
    let names = profile::names(&app.raw).into_iter();
    let unusable = names.filter_map(|name| Some((app.identity(&name, |_| {}).err()?, name)));
    unusable
        .map(|(error, name)| {
            let text = format!("'{name}' cannot be used: {error:#}");
            let fix = match report::has_configuration() {
                true => format!(
                    "fix it, or remove it: git config --global --remove-section bbtoken.{name}"
                ),
                false => "fix the settings that 'git bbtoken status --verbose' shows".to_owned(),
            };
            Finding::note("profile", text, "another profile cannot be used").fix(fix)
        })
        .collect()
}

fn store(identity: &Identity) -> Finding {
    const CHECK: &str = "store";
    let name = identity.profile.store.name();
    let (_, Some(problem)) = identity.stored() else {
        return Finding::good(CHECK, format!("'{name}' can be read"), name);
    };
    let fix = match identity.profile.store {
        Store::File => {
            "fix what the message names, or set BBTOKEN_HOME to another directory of yours"
                .to_owned()
        }
        _ => format!(
            "unlock the store, or choose another one: git config --global bbtoken.{}.store file",
            identity.profile
        ),
    };
    let public = format!("{name} cannot be read");
    Finding::problem(CHECK, format!("{problem:#}"), public).fix(fix)
}

fn token(app: &App, identity: &Identity) -> Vec<Finding> {
    const CHECK: &str = "token";
    let profile = &identity.profile;
    if let Err(error) = identity.bearer() {
        return vec![no_token(profile, &error)];
    }
    let stored = identity.stored().0.access_token;
    let scopes = stored.as_ref().map(|token| token.scopes.clone());
    let owner = app.owner(identity, scopes.as_deref().unwrap_or_default());
    let scopes = scopes.unwrap_or_else(|| match &owner {
        Ok(Owner::NoScope(scopes)) => scopes.clone(),
        _ => Vec::new(),
    });
    let mut text = app::scopes(profile, &scopes);
    if let Some(token) = stored {
        let expiry = clock::expiry(token.expires_at_unix_s, app.now_unix_s());
        text = format!("{text}; {expiry}");
    }
    let finding = if !scopes.is_empty() && !app::may_push(profile, &scopes) {
        Finding::note(CHECK, text, "works; cannot push")
            .fix(format!("to push, {}", app::to_push(profile)))
    } else {
        Finding::good(CHECK, text, "works")
    };
    vec![finding, account(profile, owner)]
}

fn no_token(profile: &profile::Profile, error: &anyhow::Error) -> Finding {
    let fix = match (kind(error), profile.name.as_str()) {
        (Some(Kind::Busy | Kind::ServerFailed { .. }), _) => {
            "the problem is not on this machine: try again in a few minutes".to_owned()
        }
        (Some(Kind::Unreachable { .. } | Kind::Untrusted { .. } | Kind::NotGit), _) => {
            "check the network and its proxy, then try again".to_owned()
        }
        (_, profile::ENVIRONMENT) => {
            "correct the BBTOKEN_* variables, which override every profile".to_owned()
        }
        (_, name) => format!("git bbtoken login {name}"),
    };
    Finding::problem("token", format!("{error:#}"), "cannot be obtained").fix(fix)
}

fn account(profile: &profile::Profile, owner: anyhow::Result<Owner>) -> Finding {
    const CHECK: &str = "account";
    match owner {
        Ok(Owner::Account(account)) => match app::other_account(profile, &account) {
            None => Finding::good(CHECK, account.shown(), "known"),
            Some(text) => Finding::note(CHECK, text, "not the profile's account")
                .fix(format!("log in to Bitbucket as that account, then: git bbtoken login {profile}")),
        },
        Ok(owner @ (Owner::Untold(_) | Owner::NoScope(_))) => {
            let why = owner.untold().unwrap_or_default();
            Finding::good(CHECK, format!("unknown: {why}"), "unknown")
        }
        Ok(Owner::Refused) if profile.endpoints.product.facts().counts_failed_logins => {
            let text = "Bitbucket refuses the token: it is wrong, revoked or expired";
            Finding::problem(CHECK, text, REFUSED).fix(format!("git bbtoken login {profile}"))
        }
        Ok(Owner::Refused) => Finding::note(
            CHECK,
            "Bitbucket refused to name the account of the token: the token was revoked, or it cannot read the account",
            REFUSED,
        )
        .fix(format!("if git commands fail, too: git bbtoken login {profile}")),
        Err(error) => Finding::note(CHECK, format!("unknown: {error:#}"), "the request failed"),
    }
}

fn is_remote(app: &App, address: &str) -> bool {
    let url = format!("remote.{address}.url");
    app.settings().any(|entry| entry.name() == url)
}

/// Writes an address as git needs it.
fn for_git(app: &App, address: &str) -> String {
    match address.starts_with("bbtoken:") || is_remote(app, address) {
        true => address.to_owned(),
        false => format!("bbtoken::{address}"),
    }
}

fn repository(app: &App, address: &str, is_refused: bool) -> Finding {
    const CHECK: &str = "repository";
    let Err(unread) = app.reach(&for_git(app, address)) else {
        let text = format!("'{}' can be read", quote(address));
        return Finding::good(CHECK, text, "can be read");
    };
    let (text, advice) = match unread {
        Unread::ByHelper(error) => {
            let advice = match kind(&error) {
                Some(Kind::AccessRefused { renewal, .. }) if is_refused => renewal
                    .as_ref()
                    .map(|renewal| format!("Bitbucket refuses the token: {}", renewal.remedy)),
                _ => report::advice(&error),
            };
            (masked(&error.to_string()), advice)
        }
        Unread::ByGit(words) => (words, None),
    };
    // The error names the repository, so add the name of the remote.
    let of_remote = is_remote(app, address).then(|| format!("cannot read '{}': ", quote(address)));
    let text = format!("{}{text}", of_remote.unwrap_or_default());
    let fix = advice.unwrap_or_else(|| {
        "check the address, and check that the client or token has access to the repository"
            .to_owned()
    });
    Finding::problem(CHECK, text, "cannot be read").fix(fix)
}
