//! A user with a browser, for logins with an authorization code.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::Stdio,
};

use bitbucket_local::{Consent, Consumer, RefreshUse};
use reqwest::Url;

use crate::{
    inspect::limited,
    support::{Done, Run, World, helper},
    watch::PATIENCE,
    wire::{Server, trusting},
};

/// The redirect URL that the administrator of a Data Center has registered.
pub(crate) const REDIRECT: &str = "https://localhost/callback";

/// The program for people.
pub(crate) fn git_bbtoken() -> PathBuf {
    helper().with_file_name("git-bbtoken")
}

/// Leaves the client out of the environment; a secret there belongs to the only client that is configured.
pub(crate) fn as_person(run: Run) -> Run {
    run.without("BBTOKEN_CLIENT_ID")
}

/// Prepares git for a person.
pub(crate) fn git<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    as_person(limited(world, arguments))
}

/// Prepares a list of the refs of `ws/repo`: the shortest command that needs a token.
pub(crate) fn list(world: &World) -> Run {
    git(world, ["ls-remote", "bbtoken::ws/repo"])
}

/// Prepares `git bbtoken …`.
pub(crate) fn manage<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    as_person(world.run(&git_bbtoken(), arguments))
}

/// Writes settings of a profile into the user's configuration.
pub(crate) fn configure(world: &World, profile: &str, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        let name = format!("bbtoken.{profile}.{key}");
        world
            .git(["config", "--global", "--add", &name, value])
            .ok();
    }
}

/// Makes a profile of a client that the server knows, whose secret a command gives.
pub(crate) fn configure_client(world: &World, profile: &str, consumer: &Consumer) {
    world.bitbucket.add_consumer(consumer.clone());
    let secret = world.path(profile);
    fs::write(&secret, &consumer.secret).expect("the world can be written");
    let command = format!("cat '{}'", secret.display());
    let settings = [
        ("clientId", consumer.key.as_str()),
        ("clientSecretCommand", &command),
    ];
    configure(world, profile, &settings);
}

/// A user with one repository and one profile, logged in and with a good token.
pub(crate) fn person(world: &World) {
    world.repository("ws", "repo");
    configure_login(world, "work", &world.consumer);
    log_in(world, "work").expect(0);
    list(world).ok();
    world.bitbucket.clear_requests();
}

/// Makes a profile whose tokens come by a login.
pub(crate) fn configure_login(world: &World, profile: &str, consumer: &Consumer) {
    let settings = [
        ("clientId", consumer.key.as_str()),
        ("grant", "authorization-code"),
    ];
    configure(world, profile, &settings);
    if world.is_data_center() {
        configure(world, profile, &[("redirectUri", REDIRECT)]);
        world.bitbucket.add_consumer(Consumer {
            callback: Some(REDIRECT.to_owned()),
            ..consumer.clone()
        });
    }
}

/// Logs a profile in: by the listener, or by pasting where the redirect URL is none of this machine.
pub(crate) fn log_in(world: &World, profile: &str) -> Done {
    log_in_by(world, manage(world, ["login", profile]))
}

/// Runs a login and follows the page it names, as a browser does whose user has granted access before.
pub(crate) fn log_in_by(world: &World, run: Run) -> Done {
    if world.is_data_center() {
        return log_in_by_pasting(world, run).done;
    }
    world.bitbucket.set_consent(Consent::Granted);
    // Without a display, a port says that somebody opens the page.
    let mut command = run.args(["--port", "0"]).into_command();
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = command.spawn().expect("the program starts");
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut stdout = String::new();
    while output.read_line(&mut stdout).expect("it is text") > 0 {
        if let Some(page) = stdout
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("  "))
        {
            // The browser's own failure shows in how the login ends.
            let callback = follow(world, page);
            let _ = callback.map(|callback| follow(world, &callback));
            break;
        }
    }
    output.read_to_string(&mut stdout).expect("it is text");
    let ended = child.wait_with_output().expect("it ends");
    Done {
        shown,
        code: ended.status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// What stood on the way of a login.
pub(crate) struct Pasted {
    pub(crate) done: Done,
    /// The page that the person opened.
    pub(crate) page: String,
    /// The address where the browser ended, with the code.
    pub(crate) callback: String,
}

/// Runs a login without a listener, and pastes the address at which the browser ends.
pub(crate) fn log_in_by_pasting(world: &World, run: Run) -> Pasted {
    log_in_by_pasting_of(world, run, &str::to_owned)
}

/// Runs such a login, and pastes what the person takes out of that address.
pub(crate) fn log_in_by_pasting_of(
    world: &World,
    run: Run,
    taken: &dyn Fn(&str) -> String,
) -> Pasted {
    let mut command = run.into_command();
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = command.spawn().expect("the program starts");
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut stdout = String::new();
    let page = loop {
        let length = output.read_line(&mut stdout).expect("it is text");
        assert!(length > 0, "no page is named in: {stdout}");
        if let Some(page) = stdout
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("  "))
        {
            break page.to_owned();
        }
    };
    let callback = callback_of(world, &page);
    let mut input = child.stdin.take().expect("it is a pipe");
    writeln!(input, "{}", taken(&callback)).expect("it is read");
    drop(input);
    output.read_to_string(&mut stdout).expect("it is text");
    let ended = child.wait_with_output().expect("it ends");
    let done = Done {
        shown,
        code: ended.status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    };
    Pasted {
        done,
        page,
        callback,
    }
}

/// Grants access on the page of a login; gives where the browser ends.
pub(crate) fn callback_of(world: &World, page: &str) -> String {
    world.bitbucket.set_consent(Consent::Granted);
    follow(world, page).expect("access is granted")
}

/// Finds the code in the address where a browser has ended.
pub(crate) fn code_in(callback: &str) -> String {
    let url = Url::parse(callback).expect("it is a URL");
    let code = url.query_pairs().find(|(name, _)| name == "code");
    code.expect("access was granted").1.into_owned()
}

/// Asks for a page; gives where it sends the browser.
pub(crate) fn follow(world: &World, page: &str) -> Option<String> {
    let page = Url::parse(page).expect("it is a URL");
    let is_encrypted = page.scheme() == "https";
    let server = Server {
        host: page.host_str()?,
        port: page.port_or_known_default()?,
        trusts: is_encrypted.then(|| trusting(world.bitbucket.ca_file())),
    };
    let request = format!(
        "GET {}?{} HTTP/1.0\r\nHost: {}\r\n\r\n",
        page.path(),
        page.query().unwrap_or_default(),
        page.authority()
    );
    let answer = server.answer(&request, PATIENCE).ok()?;
    answer.header("location").map(str::to_owned)
}

/// How often refresh tokens were asked for.
pub(crate) fn refreshes(world: &World) -> usize {
    let requests = world.bitbucket.token_requests();
    let is_refresh = |grant: &Option<String>| grant.as_deref() == Some("refresh_token");
    requests
        .iter()
        .filter(|request| is_refresh(&request.grant))
        .count()
}

/// Expects that no refresh token was used after the grace of its first use.
#[track_caller]
pub(crate) fn nothing_was_used_too_late(world: &World) {
    // A Data Center has no grace. What is sent there once more is refused, and does no harm.
    let late = |used: &&RefreshUse| used.used_after_grace && !world.is_data_center();
    let uses = world.bitbucket.refresh_uses();
    assert_eq!(
        uses.iter().find(late),
        None,
        "no refresh token is used after its grace"
    );
}

/// Where logins are kept.
pub(crate) fn state(world: &World) -> PathBuf {
    world.home().join(".local/state/git-remote-bbtoken")
}
