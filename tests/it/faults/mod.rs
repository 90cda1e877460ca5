//! Servers and networks that fail: the error says so, git ends by itself, and nothing is damaged or left behind.

mod pushes;

use bitbucket_local::{Action, Kind, Options, Progress, Rule};

use crate::{
    inspect::{Gate, HUNG, is_sound, limited, names, noise},
    support::{Done, World, gits, on_every_git},
};

const PAGE: &str =
    "<!DOCTYPE html><html><title>\u{1b}[31mSign in</title><body>canary</body></html>";
/// How a message calls it.
const TITLED: &str = ", a page titled '\\u{1b}[31mSign in', instead of";
const STATUS: &str =
    "hint: check the network, the proxy settings and the status of 'localhost', then try again\n";
const PORTAL: &str = "hint: a proxy, a sign-on page or a captive portal may have answered instead of Bitbucket: open Bitbucket in a browser to check\n";
const LATER: &str =
    "hint: Bitbucket is busy or asks for fewer requests; try again in a few minutes\n";
const THEIRS: &str = "hint: the problem is at 'localhost'; try again in a few minutes\n";
const COMPARE: &str = "hint: run 'git fetch' and compare before you push again\n";

fn page(status: u16) -> Rule {
    Rule::answer(status)
        .header("Content-Type", "text/html; charset=utf-8")
        .body(PAGE)
}

fn json(status: u16, text: &str) -> Rule {
    Rule::answer(status)
        .header("Content-Type", "application/json")
        .body(text)
}

/// A world with `ws/repo`, whose token is cached.
fn on_every_git_with_a_token(test: impl Fn(&World)) {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        test(world);
    });
}

/// Clones while rules are at work; expects git's exit status and no directory, no page and no hang.
#[track_caller]
fn broken_clone(world: &World, rule: Rule) -> Done {
    world.bitbucket.script(rule);
    let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", "broken"])
        .without_memory()
        .done();
    assert_ne!(done.code, Some(HUNG), "git ends by itself");
    let done = done.expect(128);
    assert!(
        !world.path("broken").exists(),
        "a clone that failed leaves no directory"
    );
    assert!(
        !done.stderr.contains("canary"),
        "no body of an answer is shown: {}",
        done.stderr
    );
    assert_eq!(world.bitbucket.rules_left(), 0, "the fault happened");
    world.bitbucket.clear_script();
    done
}

/// Takes the line that announces further attempts from what was said; tells whether there was one.
fn announced(said: &str) -> (bool, &str) {
    match said.split_once('\n') {
        Some((line, rest))
            if line.starts_with("warning: ") && line.contains("; trying again in ") =>
        {
            (true, rest)
        }
        _ => (false, said),
    }
}

/// What a refusal's sentence means.
fn meaning(why: &str) -> &'static str {
    match why {
        why if why.contains("unauthorized_client") => ": its id or secret is wrong",
        why if why.contains("invalid_grant") => ": the client is not private",
        _ => "",
    }
}

#[test]
fn a_token_endpoint_that_gives_no_token_is_an_error_that_says_what_it_gave() {
    let cases: Vec<(Rule, &str, &str)> = vec![
        (
            page(200),
            "the token endpoint answered 200 with 'text/html; charset=utf-8' instead of JSON\n",
            PORTAL,
        ),
        (
            page(502).header("Retry-After", "3600"),
            "the token endpoint answered 502 and asks to wait 3600 seconds\n",
            THEIRS,
        ),
        (
            json(200, "{\"access_token\":\"canary"),
            "the token endpoint answered 200 with a body that is not complete JSON\n",
            PORTAL,
        ),
        (
            json(200, "{\"token\":\"canary\"}"),
            "the token endpoint answered 200 with a JSON object without an access token\n",
            PORTAL,
        ),
        (
            json(200, "{\"access_token\":\"\"}"),
            "the token endpoint answered 200 with an empty access token\n",
            PORTAL,
        ),
        (
            json(200, "{\"access_token\":\"canary\\nquit=1\"}"),
            "the token endpoint answered 200 with a token with invalid characters\n",
            PORTAL,
        ),
        (
            Rule::answer(200),
            "the token endpoint answered 200 with an empty body\n",
            PORTAL,
        ),
        (
            Rule::answer(500),
            "the token endpoint answered 500 with an empty body\n",
            THEIRS,
        ),
        // Longer than anybody waits at a prompt; shorter pauses are waited for.
        (
            Rule::answer(503).header("Retry-After", "3600"),
            "the token endpoint answered 503 and asks to wait 3600 seconds\n",
            LATER,
        ),
        (
            Rule::answer(429).header("Retry-After", "3600"),
            "the token endpoint answered 429 and asks to wait 3600 seconds\n",
            LATER,
        ),
        (
            Rule::answer(429).header("Retry-After", "61"),
            "the token endpoint answered 429 and asks to wait 61 seconds\n",
            LATER,
        ),
        (
            Rule::answer(302).header("Location", "https://evil.example/"),
            "the token endpoint answered 302 with a redirect, which the helper never follows for a token request\n",
            PORTAL,
        ),
        (
            Rule::new(Action::CloseWithoutAnswer).times(4),
            "'localhost' closed the connection without a response\ncaused by: the connection ended unexpectedly\n",
            STATUS,
        ),
        (
            Rule::new(Action::CutAfter(10)).times(4),
            "the response of 'localhost' was cut off\ncaused by: the connection ended unexpectedly\n",
            STATUS,
        ),
        (
            Rule::new(Action::Truncate(10)),
            "the token endpoint answered 200 with a body that is not complete JSON\n",
            PORTAL,
        ),
        (
            json(
                400,
                "{\"error\":\"unauthorized_client\",\"error_description\":\"Invalid OAuth client credentials\"}",
            ),
            "the token endpoint answered 400, unauthorized_client: Invalid OAuth client credentials\n",
            "hint: compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET, or the profile's settings, with the key and secret of the OAuth consumer (workspace settings, OAuth consumers)\n",
        ),
        (
            json(
                400,
                "{\"error\":\"invalid_grant\",\"error_description\":\"Cannot use client_credentials with a consumer marked as \\\"public\\\".\"}",
            ),
            "the token endpoint answered 400, invalid_grant: Cannot use client_credentials with a consumer marked as \"public\".\n",
            "hint: tick 'This is a private consumer' at the OAuth consumer (workspace settings, OAuth consumers)\n",
        ),
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (rule, why, hint) in &cases {
            world.bitbucket.clear_requests();
            let done = broken_clone(world, rule.clone().kind(Kind::Token));
            let (is_repeated, error) = announced(&done.stderr);
            assert_eq!(
                error,
                format!(
                    "error: cannot read repository 'ws/repo'\n\
                     caused by: cannot get a token for profile 'environment' with client '{}'{}\ncaused by: {why}{hint}",
                    world.consumer.key,
                    meaning(why)
                )
            );
            let is_lost = matches!(
                rule.action,
                Action::CloseWithoutAnswer | Action::CutAfter(_)
            );
            assert_eq!(is_repeated, is_lost, "only a lost response is retried");
            assert_eq!(
                world.bitbucket.token_requests().len(),
                if is_lost { 4 } else { 1 },
                "any other failure is not retried"
            );
            assert!(
                world.bitbucket.git_requests().is_empty(),
                "without a token git's server is not asked"
            );
            let left: Vec<_> = names(&world.cache())
                .into_iter()
                .filter(|name| !name.ends_with(".lock"))
                .collect();
            assert!(left.is_empty(), "nothing is cached: {left:?}");
        }
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
    });
    assert_eq!(cases.len(), 17);
}

#[test]
fn an_error_status_is_reported_with_the_servers_message_and_a_hint() {
    const ACCESS: &str = "hint: the name is wrong, or this profile's client or token has no access to the repository (Bitbucket does not say which); to check, run 'git bbtoken doctor ws/repo'\n";
    let cases = [
        (400, ""),
        (401, ACCESS),
        (
            403,
            "hint: tick the permission 'Repositories: Read' at the OAuth consumer (workspace settings, OAuth consumers) and log in again, or use a token that has it\n",
        ),
        (404, ACCESS),
        (407, STATUS),
        (
            410,
            "hint: Bitbucket removed app passwords in July 2026; use an OAuth consumer (BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET) or an API token with scopes\n",
        ),
        (429, LATER),
        (500, THEIRS),
        (502, THEIRS),
        (503, LATER),
        (504, THEIRS),
    ];
    on_every_git_with_a_token(|world| {
        for (status, hint) in cases {
            // Discovery, the list of refs, and the pack.
            for (method, skip, begin) in [
                ("GET", 0, "error: "),
                ("POST", 0, "fatal: remote error: "),
                ("POST", 1, "fatal: remote error: "),
            ] {
                world.bitbucket.clear_requests();
                // A refused token is replaced once, and refused again.
                let times = if status == 401 { 2 } else { 1 };
                // Longer than anybody waits: it is not asked again.
                let rule = Rule::answer(status)
                    .header("Content-Type", "text/plain")
                    .header("Retry-After", "3600")
                    .body("words of\u{1b}[31m the server\n\nin lines\n\n")
                    .times(times);
                let done = broken_clone(world, rule.kind(Kind::Git).method(method).skip(skip));
                let waits = match status {
                    429 | 503 => " and asks to wait 3600 seconds",
                    _ => "",
                };
                // No origin server answers so (RFC 9110 section 15.5.8).
                let who = match status {
                    407 => "a proxy on the way to 'localhost'",
                    _ => "'localhost'",
                };
                assert_eq!(
                    done.stderr,
                    format!(
                        "remote: words of\\u{{1b}}[31m the server\nremote: \nremote: in lines\n\
                         {begin}cannot read repository 'ws/repo' with profile 'environment'\n\
                         caused by: {who} answered {status}{waits}\n{hint}"
                    )
                );
                assert_eq!(
                    world.bitbucket.token_requests().len(),
                    usize::from(status == 401),
                    "only a 401 is a reason to get another token"
                );
            }
        }
    });
    assert_eq!(cases.len(), 11);
}

#[test]
fn a_page_in_the_place_of_an_answer_is_recognized() {
    on_every_git_with_a_token(|world| {
        for (method, skip, begin, kind) in [
            ("GET", 0, "error: ", "advertisement"),
            ("POST", 0, "fatal: remote error: ", "result"),
            ("POST", 1, "fatal: remote error: ", "result"),
        ] {
            let done = broken_clone(world, page(200).kind(Kind::Git).method(method).skip(skip));
            assert_eq!(
                done.stderr,
                format!(
                    "{begin}cannot use repository 'ws/repo': 'localhost' did not answer as a git server\n\
                     caused by: it answered with 'text/html'{TITLED} 'application/x-git-upload-pack-{kind}'\n{PORTAL}"
                )
            );
            // The type is git's and the body is not.
            let garbage = Rule::new(Action::ReplaceBody(PAGE.into()));
            let done = broken_clone(world, garbage.kind(Kind::Git).method(method).skip(skip));
            assert_eq!(
                done.stderr,
                format!(
                    "{begin}cannot use repository 'ws/repo': 'localhost' did not answer as a git server\n\
                     caused by: a pkt-line in its answer has no valid length\n{PORTAL}"
                )
            );
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
}

#[test]
fn an_answer_that_ends_too_early_is_an_error_wherever_it_ends() {
    let lengths = [0, 2, 4, 40];
    on_every_git_with_a_token(|world| {
        for (method, skip) in [("GET", 0), ("POST", 0), ("POST", 1)] {
            for length in lengths {
                for action in [Action::Truncate(length), Action::CutAfter(length)] {
                    let shown = format!("{method} {skip} {action:?}");
                    // A connection that breaks before git has seen anything is tried again three times.
                    let is_asked_again =
                        matches!(action, Action::CutAfter(_)) && (method == "GET" || length == 0);
                    let times = if is_asked_again { 4 } else { 1 };
                    let rule = Rule::new(action).kind(Kind::Git).times(times);
                    let done = broken_clone(world, rule.method(method).skip(skip));
                    let message = "the response of 'localhost' for repository 'ws/repo' is incomplete\ncaused by: ";
                    assert!(
                        done.stderr.contains(message) && done.stderr.contains(STATUS),
                        "{shown}: {}",
                        done.stderr
                    );
                    assert!(
                        !done.stderr.contains("https://") && !done.stderr.contains("whole buffer"),
                        "the message names the cause in the words of the user: {}",
                        done.stderr
                    );
                }
            }
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
    assert_eq!(lengths.len(), 4);
}

#[test]
fn a_pack_that_ends_in_the_middle_leaves_the_repository_as_it_was() {
    on_every_git_with_a_token(|world| {
        let tree = world.clone("ws/repo", "tree");
        let other = world.clone("ws/repo", "other");
        world.commit(&other, "noise", noise(300_000));
        world.git(["push", "-q"]).within(&other).ok();
        let refs = || world.git(["for-each-ref"]).within(&tree).ok();
        let before = refs();
        for action in [Action::Truncate(100_000), Action::CutAfter(100_000)] {
            let rule = Rule::new(action).kind(Kind::Git).method("POST").skip(1);
            world.bitbucket.script(rule);
            let done = limited(world, ["fetch", "-q"]).within(&tree).fails(128);
            done.says(&[
                "error: the response of 'localhost' for repository 'ws/repo' is incomplete\ncaused by: ",
                STATUS,
            ]);
            assert_eq!(world.bitbucket.rules_left(), 0, "the fault happened");
            assert_eq!(refs(), before, "no ref has moved");
            is_sound(world, &tree);
        }
        world.git(["fetch", "-q"]).within(&tree).ok();
        assert_ne!(refs(), before, "the next fetch gets it all");
        is_sound(world, &tree);
    });
}

#[test]
fn an_upload_pack_that_dies_inside_its_answer_is_no_deadlock() {
    on_every_git_with_a_token(|world| {
        let tree = world.clone("ws/repo", "tree");
        world.git(["tag", "all"]).within(&tree).ok();
        world
            .git(["push", "-q", "origin", "all"])
            .within(&tree)
            .ok();
        let done = limited(world, ["fetch", "--shallow-exclude=all", "origin"])
            .within(&tree)
            .done();
        assert_ne!(done.code, Some(HUNG), "git does not wait for ever");
        let done = done.expect(128);
        done.says(&["'localhost'", "'ws/repo'", "caused by: "]);
        is_sound(world, &tree);
        let answer = world.bitbucket.git_requests().pop().expect("git has asked");
        assert_eq!(answer.status, Some(200), "the server had said yes");
    });
}

#[test]
fn an_unreachable_server_is_named() {
    on_every_git(|world| {
        let mut gate = Gate::to(world);
        gate.close();
        let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"])
            .env("BBTOKEN_BASE_URL", gate.base_url())
            .fails(128);
        let (is_repeated, error) = announced(&done.stderr);
        assert!(is_repeated, "{}", done.stderr);
        assert_eq!(
            error,
            format!(
                "error: cannot read repository 'ws/repo'\n\
                 caused by: cannot get a token for profile 'environment' with client '{}'\ncaused by: cannot connect to 'localhost'\n\
                 caused by: Connection refused (os error 111)\n{STATUS}",
                world.consumer.key
            )
        );
        assert!(!world.path("tree").exists());
    });
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused_before_a_request() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let other = World::new(world.git.clone());
        let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"])
            .env("GIT_SSL_CAINFO", other.bitbucket.ca_file())
            .fails(128);
        done.says(&[
            "error: cannot read repository 'ws/repo'\n\
             caused by: cannot get a token for profile 'environment' with client '",
            "\n\
             caused by: cannot make a secure connection to 'localhost'\ncaused by: ",
            "hint: if a network proxy replaces the certificate of 'localhost', set http.sslCAInfo (or GIT_SSL_CAINFO, which overrides it) to a file with the proxy's CA certificate; also check this machine's clock\n",
        ]);
        assert!(world.bitbucket.requests().is_empty(), "nothing is sent");
    });
}

#[test]
fn over_plain_http_to_this_machine_the_same_faults_are_reported() {
    for git in gits() {
        let world = World::with(
            git,
            Options {
                tls: false,
                ..Options::default()
            },
        );
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for skip in [0, 1] {
            let rule = Rule::new(Action::CutAfter(20))
                .method("POST")
                .kind(Kind::Git);
            let done = broken_clone(&world, rule.skip(skip));
            done.says(&["is incomplete\ncaused by: the response of '127.0.0.1' was cut off\n"]);
        }
        let broken = world
            .bitbucket
            .git_requests()
            .iter()
            .filter(|request| request.progress == Progress::Broken)
            .count();
        assert_eq!(broken, 2, "both exchanges were cut");
    }
}
