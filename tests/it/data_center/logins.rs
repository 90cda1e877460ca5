//! Logins to a Data Center.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
};

use bitbucket_local::{Consent, Consumer};

use super::{configured, one, token};
use crate::{
    login::{Waiting, visit},
    needs::needs,
    support::{Run, World},
    terminals::DUMB,
};

/// The redirect URL that the administrator has registered.
const REDIRECT: &str = "https://localhost/callback";

fn login<'r>(world: &World, arguments: impl IntoIterator<Item = &'r str>) -> Run {
    let base = world.bitbucket.base_url();
    let run = world.bbtoken(["login", "dc", "--data-center", base]);
    configured(run.args(arguments))
}

fn lists(world: &World) -> String {
    let list = world.git(["ls-remote", "-q", "bbtoken::dc@PROJ/repo", "main"]);
    configured(list).ok()
}

#[test]
fn a_login_with_an_http_access_token_names_its_owner() {
    let world = one();
    let done = login(&world, ["--with-token"]).input(&token(&world, "REPO_READ"));
    let said = done.ok();
    assert!(said.contains("account: local\n"), "{said}");
    let config = world.gitconfig();
    for line in ["\tkind = datacenter\n", "\tbaseUrl = ", "\tgrant = token\n"] {
        assert!(config.contains(line), "{line} in {config}");
    }
    // An interrupted login leaves no profile for bitbucket.org.
    let at = |key: &str| config.find(key).expect("it is there");
    assert!(
        at("\tkind") < at("\tbaseUrl") && at("\tbaseUrl") < at("\tgrant"),
        "{config}"
    );
    lists(&world);
}

#[test]
fn a_browser_login_needs_the_redirect_url_that_was_registered() {
    let world = one();
    let client = [
        "--browser",
        "--with-secret",
        "--client-id",
        &world.consumer.key,
    ];
    let none = login(&world, client).input(&world.consumer.secret);
    none.fails(2).says(&[
        "this Bitbucket accepts only the redirect URL that is registered at the application link; give it with --redirect-uri",
    ]);
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn a_person_is_asked_for_the_redirect_url() {
    needs!("script");
    let world = one();
    let base = world.bitbucket.base_url();
    let (id, secret) = (&world.consumer.key, &world.consumer.secret);
    let (shown, code) = DUMB.run(
        &world,
        &format!("unset BBTOKEN_BASE_URL BBTOKEN_KIND; git bbtoken login dc --data-center {base}"),
        &[
            ("Number [1]: ", "2\n"),
            ("service account: ", &format!("{id}\n")),
            (
                "Redirect URL of the application link: ",
                "localhost/callback\n",
            ),
            (
                "Redirect URL of the application link: ",
                &format!("{REDIRECT}\n"),
            ),
            ("client secret (not shown): ", &format!("{secret}\n")),
            ("press Enter:", "\u{3}"),
        ],
    );
    assert!(
        shown.contains("redirect_uri=https%3A%2F%2Flocalhost%2Fcallback"),
        "{shown}"
    );
    assert!(
        shown.contains("'localhost/callback' (your answer) cannot be used: it does not begin"),
        "{shown}"
    );
    assert!(
        shown.contains("git config --global bbtoken.dc.scope REPO_READ"),
        "{shown}"
    );
    assert_eq!(code, Some(130), "{shown}");
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn a_person_who_gives_a_port_is_asked_for_no_redirect_url() {
    needs!("script");
    let world = one();
    let line = format!(
        "unset BBTOKEN_BASE_URL BBTOKEN_KIND; git bbtoken login dc --data-center {} --browser --client-id k --port 8976",
        world.bitbucket.base_url()
    );
    let secret = ("client secret (not shown): ", "s\n");
    let (shown, code) = DUMB.run(&world, &line, &[secret]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("give it with --redirect-uri"), "{shown}");
}

/// What a browser that is signed in does with the page: it goes to the redirect URL.
fn granted(world: &World, page: &str) -> String {
    world.bitbucket.set_consent(Consent::Granted);
    let visit = ["-s", "-o", "/dev/null", "-w", "%{redirect_url}", "--cacert"];
    let curl = world.run(Path::new("/usr/bin/curl"), visit);
    let ca = world.bitbucket.ca_file();
    curl.arg(ca).arg(page).ok()
}

/// Starts a login in the shell of a person who pastes the address later.
fn pasting(world: &World) -> (Child, String) {
    let client = [
        "--browser",
        "--with-secret",
        "--client-id",
        &world.consumer.key,
    ];
    let more = ["--redirect-uri", REDIRECT, "--no-setup"];
    let run = login(world, client.into_iter().chain(more));
    let mut command = run.into_command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = child.stdin.as_mut().expect("it is a pipe");
    writeln!(input, "{}", world.consumer.secret).expect("it is read");
    let mut output = BufReader::new(child.stdout.as_mut().expect("it is a pipe"));
    let mut page = String::new();
    while !page.trim_start().starts_with("https://") {
        page.clear();
        let read = output.read_line(&mut page).expect("it is text");
        assert!(read > 0, "it shows a page");
    }
    (child, page.trim().to_owned())
}

/// Logs in as a person who pastes the address.
pub(super) fn log_in_by_browser(world: &World) {
    world.bitbucket.add_consumer(Consumer {
        callback: Some(REDIRECT.to_owned()),
        ..world.consumer.clone()
    });
    let (mut child, page) = pasting(world);
    let address = granted(world, &page);
    assert!(address.starts_with(REDIRECT), "{address}");
    let input = child.stdin.as_mut().expect("it is a pipe");
    writeln!(input, "{address}").expect("it is read");
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("valid for only 10 seconds"), "{said}");
}

#[test]
fn a_browser_login_is_pasted_and_a_refresh_repeats_the_redirect_url() {
    let world = one();
    log_in_by_browser(&world);
    lists(&world);
    let refreshes = || world.bitbucket.refresh_uses().len();
    let before = refreshes();
    world.bitbucket.revoke_access_tokens();
    lists(&world);
    assert_eq!(refreshes(), before + 1, "one refresh, which worked");
}

#[test]
fn a_port_is_refused_where_the_profile_has_a_redirect_url() {
    let world = one();
    let uri = ["config", "--global", "bbtoken.dc.redirectUri", REDIRECT];
    world.git(uri).ok();
    let client = [
        "--browser",
        "--with-secret",
        "--port",
        "8976",
        "--timeout",
        "1",
        "--client-id",
        &world.consumer.key,
    ];
    let run = login(&world, client).input(&world.consumer.secret);
    run.fails(2)
        .says(&["bbtoken.dc.redirectUri already says where the browser goes; omit --port"]);
}

#[test]
fn a_redirect_url_on_this_machine_is_listened_at_to_the_letter() {
    let world = one();
    // The administrator has allowed http, and registered an address with a port.
    world
        .bitbucket
        .change_settings(|settings| settings.data_center.http_redirects = true);
    let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let redirect = format!("http://localhost:{port}/");
    world.bitbucket.add_consumer(Consumer {
        callback: Some(redirect.clone()),
        ..world.consumer.clone()
    });
    let client = [
        "--browser",
        "--with-secret",
        "--no-setup",
        "--client-id",
        &world.consumer.key,
        "--redirect-uri",
        &redirect,
    ];
    let run = login(&world, client).input(&world.consumer.secret);
    let mut waiting = Waiting::for_browser(run.into_command());
    let page = waiting.read_page();
    let back = granted(&world, &page);
    assert!(back.starts_with(&redirect), "{back}");
    let shown = visit(&back.replace("localhost", "127.0.0.1"));
    assert!(shown.contains("Logged in"), "{shown}");
    let (code, said) = waiting.end();
    assert_eq!(code, Some(0), "{said}");
    lists(&world);
}

#[test]
fn a_client_asks_for_scopes_and_a_refusal_names_them() {
    let world = one();
    let client = [
        "--client-credentials",
        "--with-secret",
        "--client-id",
        &world.consumer.key,
    ];
    login(&world, client).input(&world.consumer.secret).ok();
    lists(&world);
    let scope = world.git(["config", "--global", "bbtoken.dc.scope", "REPO_ADMIN"]);
    scope.ok();
    let list = world.git(["ls-remote", "-q", "bbtoken::dc@PROJ/repo"]);
    configured(list).fails(128).says(&[
        "the server does not accept the client's scopes",
        "tick the permissions for 'REPO_ADMIN' at the application link (Administration, Application links), or set bbtoken.dc.scope to what is ticked there",
    ]);
}
