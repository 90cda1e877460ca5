//! Error responses of a server, compared with plain git's output.

use bitbucket_local::{Kind, Rule};

use crate::{
    inspect::limited,
    support::{Done, World, on_every_git_without_memory},
};

fn answered(world: &World, rule: Rule) -> Done {
    world.bitbucket.script(rule.kind(Kind::Git));
    let done = limited(world, ["ls-remote", "bbtoken::ws/repo"]).fails(128);
    assert_eq!(world.bitbucket.rules_left(), 0, "the server said no");
    done
}

fn remote_lines(done: &Done) -> Vec<&str> {
    let lines = done.stderr.lines();
    lines.filter(|line| line.starts_with("remote:")).collect()
}

#[test]
fn words_of_the_server_are_shown_as_git_shows_them_and_once() {
    let cases = [
        ("text/plain", "one line", 1),
        ("text/plain; charset=UTF-8", "\n two\nlines\n\n", 2),
        ("text/plain", "with\n\nan empty one", 3),
        ("text/plain", "   \n", 0),
        ("text/html", "a page", 0),
        ("application/json", "{\"no\": 1}", 0),
    ];
    on_every_git_without_memory(|world| {
        let https = world.bitbucket.repository_url("ws", "repo");
        let token = world.bbtoken(["token"]).ok();
        for (kind, body, lines) in cases {
            for status in [403, 404, 500] {
                let rule = || Rule::answer(status).header("Content-Type", kind).body(body);
                let ours = answered(world, rule());
                world.bitbucket.script(rule().kind(Kind::Git));
                let header = world.with_header(token.trim_end());
                let theirs = world.git(["-c", &header, "ls-remote", &https]).fails(128);
                assert_eq!(remote_lines(&ours), remote_lines(&theirs), "{body}");
                assert_eq!(remote_lines(&ours).len(), lines, "{body}");
                assert!(
                    ours.stderr
                        .contains(&format!("caused by: 'localhost' answered {status}")),
                    "our cause stands beside it: {}",
                    ours.stderr
                );
            }
        }
    });
    assert_eq!(cases.len(), 6);
}

#[test]
fn the_message_in_an_error_object_is_shown() {
    let scopes = r#"{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"required":["repository"]}}}"#;
    let no_scope = [
        ": Your credentials lack one or more required privilege scopes.\nhint: tick the permission 'Repositories: Read' ",
        ": Your credentials lack one or more required privilege scopes.\nhint: the token has no permission to read repositories: ",
    ];
    let cases = [
        (403, scopes, no_scope),
        (400, r#"{"message":"no\u001bway"}"#, [": no\\u{1b}way\n"; 2]),
        (400, r#"{"error":{"canary":1}}"#, ["\n"; 2]),
        (400, r#"{"message":"canary"#, ["\n"; 2]),
    ];
    on_every_git_without_memory(|world| {
        for (status, body, end) in cases {
            let rule = Rule::answer(status).header("Content-Type", "application/json");
            let done = answered(world, rule.body(body));
            let end = end[usize::from(world.is_data_center())];
            done.says(&[&format!("caused by: 'localhost' answered {status}{end}")]);
            assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        }
    });
    assert_eq!(cases.len(), 4);
}

#[test]
fn a_page_that_forbids_is_a_proxys_and_no_missing_scope() {
    on_every_git_without_memory(|world| {
        let rule = Rule::answer(403).header("Content-Type", "text/html");
        let done = answered(
            world,
            rule.body("<title>Blocked by Example Corp</title>canary"),
        );
        done.says(&[
            "caused by: 'localhost' answered 403 with a page titled 'Blocked by Example Corp'\n\
             hint: a proxy, a sign-on page or a captive portal may have answered instead of Bitbucket: open Bitbucket in a browser to check\n",
        ]);
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        assert!(world.bitbucket.token_requests().is_empty());
    });
}

#[test]
fn the_error_says_how_long_a_busy_server_asks_to_wait() {
    on_every_git_without_memory(|world| {
        for status in [429, 503] {
            let done = answered(world, Rule::answer(status).header("Retry-After", "3600"));
            done.says(&[&format!(
                "caused by: 'localhost' answered {status} and asks to wait 3600 seconds\n"
            )]);
        }
    });
}

#[test]
fn a_second_refusal_names_both_reasons_and_suggests_doctor() {
    on_every_git_without_memory(|world| {
        let done = answered(world, Rule::answer(401).times(2));
        done.says(&[match world.is_data_center() {
            true => "hint: Bitbucket does not accept this token for git, and Bitbucket's log says why",
            false => "the name is wrong, or this profile's client or token has no access to the repository (Bitbucket does not say which); to check, run 'git bbtoken doctor ws/repo'\n",
        }]);
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn another_content_type_than_gits_is_named() {
    on_every_git_without_memory(|world| {
        for (given, named) in [
            ("application/octet-stream; x=y", "application/octet-stream"),
            ("a\tb", "a\\u{9}b"),
        ] {
            let rule = Rule::answer(200)
                .header("Content-Type", given)
                .body("canary");
            let done = answered(world, rule);
            done.says(&[&format!(
                "caused by: it answered with '{named}' instead of 'application/x-git-upload-pack-advertisement'\n"
            )]);
            assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        }
    });
}
