//! Checks the route to Bitbucket: name, connection, proxy, certificate, and this machine's clock.

use super::finding::{Finding, shown_or};
use crate::{
    app::{App, Route},
    clock,
    failure::{Kind, kind, quote},
    http::{Reason, TlsProblem},
    profile::Profile,
    secret::masked,
};

/// With a larger error of the clock, expired tokens look valid.
const CLOCK_LIMIT_S: u64 = 60;

/// The fix for a setting that names an unusable file.
const FIX_SETTING: &str = "fix the setting; to find it, run: git config --show-origin --get-regexp '^http[.]', and look at the GIT_SSL_* variables";

/// How git takes CA certificates of the user's own. It ignores the file with the usual TLS of Git for Windows.
const SET_CA_FILE: &str = match cfg!(windows) {
    true => {
        "run 'git config --global http.sslBackend openssl' and 'git config --global http.sslCAInfo <file>'"
    }
    false => "git config --global http.sslCAInfo <file>",
};

/// Follows the route. True if Bitbucket answers.
pub(super) fn check(app: &App, profile: Option<&Profile>) -> (Vec<Finding>, bool) {
    let endpoints = profile.map(|profile| &profile.endpoints);
    let base = endpoints.map_or(app.base(), |endpoints| &endpoints.base);
    let product = endpoints.map_or(app.places[0].product, |endpoints| endpoints.product);
    let route = match app.route(base, profile) {
        Ok(route) => route,
        Err(error) => {
            let text = format!("{error:#}");
            let finding = Finding::problem("network", text, "a setting cannot be applied");
            let finding = finding.fix("fix the setting that the message names");
            return (vec![finding], false);
        }
    };
    let mut findings: Vec<_> = proxy(&route).into_iter().collect();
    findings.push(name(&route));
    if route.addresses.is_ok() {
        findings.push(connection(&route));
    }
    let Some(answer) = &route.answer else {
        return (findings, false);
    };
    findings.extend(unchecked(&route));
    findings.extend(git_only(&route));
    findings.extend(by_git(&route));
    let outage = product.words().outage;
    let (answered, is_reachable) = answered(app, &route, answer, outage);
    findings.extend(answered);
    (findings, is_reachable)
}

/// Checks the response. True if Bitbucket answered, or answers git's own transport.
fn answered(
    app: &App,
    route: &Route,
    answer: &anyhow::Result<Option<u64>>,
    outage: &str,
) -> (Vec<Finding>, bool) {
    match answer {
        Ok(server_unix_s) => {
            let text = format!("'{}' answers with a trusted certificate", route.host);
            let certificate = Finding::good("certificate", text, "trusted");
            let clock = server_unix_s.map(|server_unix_s| clock(app, server_unix_s));
            (std::iter::once(certificate).chain(clock).collect(), true)
        }
        // Git itself may get through.
        Err(_) if !route.git_only.is_empty() => (Vec::new(), true),
        Err(error) => (vec![no_answer(route, error, outage)], false),
    }
}

fn proxy(route: &Route) -> Option<Finding> {
    let proxy = route.proxy.as_ref()?;
    let (address, origin) = (quote(proxy.shown()), proxy.origin());
    let text = format!("connections go through '{address}', set by {origin}");
    Some(Finding::good("proxy", text, "in use"))
}

fn name(route: &Route) -> Finding {
    const CHECK: &str = "name";
    let hop = &route.hop;
    match &route.addresses {
        Ok(count) => {
            let addresses = if *count == 1 { "address" } else { "addresses" };
            let text = format!("'{hop}' has {count} {addresses}");
            Finding::good(CHECK, text, "resolved")
        }
        Err(why) => {
            let fix = match &route.proxy {
                Some(proxy) => format!("correct or unset {}", proxy.origin()),
                None => "check that you are online, then check /etc/resolv.conf or the name server of your network; behind a proxy: git config --global http.proxy <address>".to_owned(),
            };
            let text = format!("cannot resolve '{hop}': {}", quote(why));
            Finding::problem(CHECK, text, "not resolved").fix(fix)
        }
    }
}

fn connection(route: &Route) -> Finding {
    const CHECK: &str = "connection";
    let (hop, port) = (&route.hop, route.port);
    match &route.connected {
        Ok(()) => {
            let text = format!("'{hop}' accepts connections on port {port}");
            Finding::good(CHECK, text, "made")
        }
        Err(why) => {
            let fix = match &route.proxy {
                Some(proxy) => format!("start the proxy, or correct {}", proxy.origin()),
                None => "a firewall may block it; if this network has a proxy: git config --global http.proxy <address>".to_owned(),
            };
            let text = format!("cannot connect to '{hop}' on port {port}: {}", quote(why));
            Finding::problem(CHECK, text, "refused or not answered").fix(fix)
        }
    }
}

/// Checks whether another server in the network could pretend to be Bitbucket.
fn unchecked(route: &Route) -> Option<Finding> {
    let setting = route.unverified_by.as_ref()?;
    let text = format!(
        "{} disables the check: anyone on the network can read every token",
        masked(setting)
    );
    let unset: &[&str] = match setting.starts_with("GIT_") {
        true => &["unset", setting],
        false => &["git", "config", "--global", "--unset", setting],
    };
    let unset = shown_or(unset, "unset it");
    let fix = format!("{unset}; if your network has a CA of its own: {SET_CA_FILE}");
    Some(Finding::problem("certificate", text, "not checked").fix(fix))
}

fn git_only(route: &Route) -> Option<Finding> {
    if route.git_only.is_empty() {
        return None;
    }
    let text = format!(
        "git's own transport is used, which is slower, because of {}",
        masked(&route.git_only.join(", "))
    );
    let fix = "unset the settings that you no longer need";
    Some(Finding::note("transport", text, "git's own").fix(fix))
}

fn by_git(route: &Route) -> Option<Finding> {
    let why = route.by_git.as_ref()?;
    let text = format!(
        "the native transport does not support the TLS of '{}', so git's own transport and curl are used: {}",
        route.host,
        quote(why)
    );
    let fix = "everything works, only slower; ask the server's administrator for TLS 1.3 and a certificate that a CA signed";
    Some(Finding::note("transport", text, "git's own").fix(fix))
}

fn no_answer(route: &Route, error: &anyhow::Error, outage: &str) -> Finding {
    let why = format!("{error:#}");
    let reason = error.downcast_ref::<Reason>();
    if matches!(kind(error), Some(Kind::Untrusted { .. })) {
        return untrusted(&route.host, reason.and_then(Reason::tls_problem), why);
    }
    if matches!(kind(error), Some(Kind::Misconfigured)) {
        return Finding::problem("answer", why, "a setting cannot be applied").fix(FIX_SETTING);
    }
    let fix = match &route.proxy {
        Some(_) if reason.is_some_and(Reason::lacks_proxy_login) => {
            "store the proxy's user and password in one of git's credential helpers (git help credential)".to_owned()
        }
        Some(proxy) => format!(
            "ask the proxy's administrator whether it allows this host, or correct {}",
            proxy.origin()
        ),
        None => outage.to_owned(),
    };
    Finding::problem("answer", why, "Bitbucket does not answer").fix(fix)
}

/// Describes the problem of a certificate.
fn untrusted(host: &str, problem: Option<TlsProblem>, why: String) -> Finding {
    let ask_for_ca = format!(
        "if a proxy in your network decrypts secure connections, ask for its CA certificate: {SET_CA_FILE}"
    );
    const SET_CLOCK: &str =
        "set the clock of this machine; if it is right, wait until the certificate is renewed";
    let (check, text, fix) = match problem {
        Some(TlsProblem::Expired) => (
            "certificate",
            format!("the certificate of '{host}' has expired, by this machine's clock"),
            SET_CLOCK,
        ),
        Some(TlsProblem::NotValidYet) => (
            "certificate",
            format!("the certificate of '{host}' is not valid yet, by this machine's clock"),
            SET_CLOCK,
        ),
        Some(TlsProblem::OtherHost) => (
            "certificate",
            format!("the server that answers for '{host}' has a certificate for another name"),
            "this network may want you to log in: open any page in a browser; or use another network",
        ),
        Some(TlsProblem::UnknownIssuer) => (
            "certificate",
            format!("the certificate of '{host}' is not signed by a CA that this machine trusts"),
            ask_for_ca.as_str(),
        ),
        Some(TlsProblem::Roots(_)) => ("certificate", why, FIX_SETTING),
        Some(TlsProblem::NotTls(_)) => (
            "connection",
            format!("the server that answers for '{host}' does not speak TLS"),
            "check bbtoken.baseUrl and the proxy, or log in to this network in a browser",
        ),
        Some(TlsProblem::Other(_)) | None => (
            "certificate",
            why,
            "check the proxy, and the CA certificates of this machine",
        ),
    };
    Finding::problem(check, text, "not trusted").fix(fix)
}

fn clock(app: &App, server_unix_s: u64) -> Finding {
    let off_s = app.now_unix_s().abs_diff(server_unix_s);
    if off_s <= CLOCK_LIMIT_S {
        return Finding::good("clock", "correct", "correct");
    }
    let off = clock::span(off_s);
    let text = format!("it is off by {off}, so that expired tokens may look valid");
    Finding::problem("clock", text, format!("off by {off}"))
        .fix("set the clock of this machine, and synchronize it with a time server")
}
