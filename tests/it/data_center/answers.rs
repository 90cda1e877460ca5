//! What a Data Center answers git: each answer has its own message and its fix.

use std::{io::ErrorKind, net::TcpListener};

use bitbucket_local::{DataCenter, Kind, NewToken, Rule, TokenKind};

use super::{configured, data_center, log_in, one, token};
use crate::support::{Done, World, gits};

/// Words that only a user of Bitbucket Cloud understands.
const OF_CLOUD: [&str; 8] = [
    "consumer",
    "workspace",
    "Atlassian account",
    "API token",
    "app password",
    "bitbucket.org",
    "atlassian.com",
    "2.0/user",
];

/// Expects that a message has no word of Bitbucket Cloud.
#[track_caller]
pub(super) fn is_for_data_center(done: &Done) {
    let said = format!("{}{}", done.stdout, done.stderr);
    for word in OF_CLOUD {
        assert!(!said.contains(word), "'{word}': {}: {said}", done.shown);
    }
}

/// Changes what is special to Data Center.
pub(super) fn change(world: &World, change: impl FnOnce(&mut DataCenter)) {
    world
        .bitbucket
        .change_settings(|settings| change(&mut settings.data_center));
}

/// Runs git, which fails in one way and says all of this.
#[track_caller]
fn fails(world: &World, arguments: &[&str], says: &[&str]) -> Done {
    let run = configured(world.git(arguments));
    let done = run.within(world.path("tree")).fails(128);
    done.says(says);
    is_for_data_center(&done);
    done
}

const FETCH: &[&str] = &["fetch", "-q"];
const PUSH: &[&str] = &["push", "-q", "origin", "HEAD:refs/heads/new"];
const OTHER: &[&str] = &["ls-remote", "-q", "bbtoken::dc@PROJ/other"];

/// A world with a clone `tree`.
fn cloned(world: World) -> World {
    log_in(&world);
    let clone = world.git(["clone", "-q", "bbtoken::dc@PROJ/repo", "tree"]);
    configured(clone).ok();
    world.commit(&world.path("tree"), "file", "new\n");
    world.bitbucket.clear_requests();
    world
}

#[test]
fn a_repository_that_is_missing_or_forbidden_is_named() {
    for git in gits() {
        let world = cloned(data_center(git));
        fails(
            &world,
            OTHER,
            &[
                "error: cannot use repository 'PROJ/other' with profile 'dc'\ncaused by: 'localhost' says: Repository not found",
                "hint: the name is wrong, or this profile's client or token has no access to the repository (Bitbucket does not say which); to check, run 'git bbtoken doctor dc@PROJ/other'",
            ],
        );
    }
}

#[test]
fn the_error_for_a_locked_account_says_how_to_unlock_it() {
    for git in gits() {
        let world = cloned(data_center(git));
        // Only Basic meets the lock.
        world
            .git(["config", "--global", "bbtoken.transport", "git"])
            .ok();
        change(&world, |it| it.captcha_after = Some(0));
        fails(&world, FETCH, &["CAPTCHA"]);
        let locked = || {
            let text = "ERR CAPTCHA required\nYour Bitbucket account has been locked.\n";
            let body = format!("{:04x}{text}", text.len() + 4);
            let answer = Rule::answer(200).kind(Kind::Git).body(body);
            answer.header(
                "Content-Type",
                "application/x-git-upload-pack-advertisement",
            )
        };
        world
            .git(["config", "--global", "bbtoken.transport", "native"])
            .ok();
        world.bitbucket.script(locked());
        fails(
            &world,
            OTHER,
            &[
                "caused by: 'localhost' says: CAPTCHA required",
                "hint: Bitbucket has locked the account after failed logins: remove the wrong password from the program that sends it, then log in to Bitbucket in a browser and answer the CAPTCHA",
            ],
        );
    }
}

#[test]
fn a_push_without_the_right_names_the_right() {
    for git in gits() {
        let world = cloned(data_center(git));
        let base = world.bitbucket.base_url();
        let login = ["login", "dc", "--data-center", base, "--with-token"];
        configured(world.bbtoken(login))
            .input(&token(&world, "REPO_READ"))
            .ok();
        fails(
            &world,
            PUSH,
            &[
                "remote: You are not permitted to access this resource.\n",
                "error: cannot push to repository 'PROJ/repo' with profile 'dc'\ncaused by: 'localhost' answered 403",
                "hint: the account may not push here, or the token has no permission to write: ask for the permission 'Repository write', and use a token that has it",
            ],
        );
    }
}

#[test]
fn a_license_that_has_expired_stops_pushes_only() {
    for git in gits() {
        let world = cloned(data_center(git));
        change(&world, |it| it.license_expired = true);
        configured(world.git(FETCH)).within(world.path("tree")).ok();
        let hint = "hint: Bitbucket is read-only now: its license has expired, or it is in maintenance; you can still fetch; ask its administrator";
        fails(&world, PUSH, &["Pushing is disabled", hint]);
        change(&world, |it| it.license_expired = false);
        let refusal = Rule::answer(403)
            .kind(Kind::Git)
            .header("Content-Type", "text/plain")
            .body("Bitbucket is in read-only mode.");
        world.bitbucket.script(refusal);
        fails(&world, PUSH, &["answered 403", hint]);
    }
}

#[test]
fn basic_authentication_that_is_switched_off_leaves_the_native_transport() {
    for git in gits() {
        let world = cloned(data_center(git));
        change(&world, |it| it.basic_authentication = false);
        configured(world.git(FETCH)).within(world.path("tree")).ok();
        world
            .git(["config", "--global", "bbtoken.transport", "git"])
            .ok();
        fails(
            &world,
            FETCH,
            &["remote: Basic Authentication has been disabled on this instance."],
        );
    }
}

#[test]
fn nothing_is_sent_to_a_sign_on_host() {
    for git in gits() {
        let world = cloned(data_center(git));
        let gateway = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = gateway.local_addr().expect("it listens").port();
        change(&world, |it| {
            it.sso_gateway = Some(format!("https://127.0.0.1:{port}/login?from=git"));
        });
        for transport in ["native", "git"] {
            world
                .git(["config", "--global", "bbtoken.transport", transport])
                .ok();
            for command in [FETCH, PUSH, OTHER] {
                let done = fails(&world, command, &[]);
                if transport == "native" {
                    done.says(&[
                        &format!("caused by: it redirects to 'https://127.0.0.1:{port}/login', and the helper never sends a token to another host"),
                        "hint: a sign-on gateway may be in front of Bitbucket, and git cannot log in there: ask the administrator to exempt '/scm' and '/rest', or set bbtoken.<profile>.baseUrl to an address without the gateway",
                    ]);
                }
            }
        }
        let whoami = configured(world.bbtoken(["whoami", "dc"])).done();
        assert_ne!(whoami.code, Some(0), "{whoami:?}");
        is_for_data_center(&whoami);
        gateway.set_nonblocking(true).expect("it is a socket");
        let came = gateway.accept().map(|_| "a connection");
        let none = came.expect_err("the helper follows no redirect to another host");
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_rate_limit_is_waited_for_or_told() {
    for git in gits() {
        let world = cloned(data_center(git));
        let limited = |after: &str| {
            let limited = Rule::answer(429).header("Retry-After", after);
            let limited = limited.header("Content-Type", "text/plain");
            limited.body("Rate limited: you have made too many requests.")
        };
        world.bitbucket.script(limited("1"));
        configured(world.git(FETCH)).within(world.path("tree")).ok();
        world.bitbucket.script(limited("3600"));
        fails(
            &world,
            FETCH,
            &[
                "'localhost' answered 429 and asks to wait 3600 seconds",
                "hint: Bitbucket is busy or asks for fewer requests; try again in a few minutes",
            ],
        );
    }
}

#[test]
fn a_maintenance_page_is_not_a_sign_on_page() {
    for git in gits() {
        let world = cloned(data_center(git));
        change(&world, |it| it.maintenance = true);
        fails(
            &world,
            FETCH,
            &[
                "'localhost' answered 503 with a page titled 'Bitbucket - Bitbucket'",
                "hint: Bitbucket is starting or in maintenance; try again in a few minutes, or ask its administrator",
            ],
        );
    }
}

#[test]
fn a_base_url_without_its_context_path_is_named() {
    for git in gits() {
        let world = cloned(data_center(git));
        let base = world.bitbucket.base_url();
        let short = base.strip_suffix("/bitbucket").expect("it is in the path");
        let login = [
            "login",
            "dc",
            "--data-center",
            short,
            "--with-token",
            "--no-check",
        ];
        configured(world.bbtoken(login))
            .input(&token(&world, "REPO_READ"))
            .ok();
        fails(
            &world,
            OTHER,
            &[
                "'localhost' answered 404",
                "hint: there is no git server at this address: check bbtoken.<profile>.baseUrl; it is the part of Bitbucket's addresses before '/scm' or '/projects'",
            ],
        );
    }
}

#[test]
fn a_token_that_was_revoked_or_has_ended_is_replaced_by_a_login() {
    for git in gits() {
        let world = cloned(data_center(git));
        world.bitbucket.revoke_access_tokens();
        for command in [FETCH, PUSH, OTHER] {
            fails(
                &world,
                command,
                &[
                    "'localhost' answered 401",
                    "hint: the token is wrong, revoked or expired: make a new one and run 'git bbtoken login dc'",
                ],
            );
        }
    }
}

#[test]
fn the_error_for_a_service_account_without_git_differs_from_that_for_a_wrong_token() {
    let world = one();
    let base = world.bitbucket.base_url();
    let login = ["login", "dc", "--data-center", base, "--client-credentials"];
    let login = world.bbtoken(login).args(["--with-secret", "--client-id"]);
    let login = configured(login.arg(&world.consumer.key));
    let done = login.input(&world.consumer.secret).done().expect(0);
    is_for_data_center(&done);
    change(&world, |it| it.service_accounts_on_scm = false);
    world.git(["init", "-q", "tree"]).ok();
    fails(
        &world,
        OTHER,
        &[
            "'localhost' answered 401",
            "hint: Bitbucket does not accept this token for git, and Bitbucket's log says why; if it is the token of a service account, use an HTTP access token instead",
        ],
    );
    for command in ["whoami", "status", "doctor"] {
        is_for_data_center(&configured(world.bbtoken([command])).done());
    }
}

#[test]
fn no_command_speaks_of_bitbucket_cloud() {
    let world = one();
    let base = world.bitbucket.base_url();
    let login = ["login", "dc", "--data-center", base, "--with-token"];
    let resource = world.bitbucket.issue(NewToken {
        scopes: vec!["REPO_READ".to_owned()],
        ..NewToken::new(TokenKind::Resource)
    });
    let none = token(&world, "REPO_READ");
    world.bitbucket.revoke_access_tokens();
    let good = token(&world, "REPO_READ");
    for (secret, tried) in [
        ("ATATT3xFfGF0", None),
        ("wrong", None),
        (none.as_str(), Some("PROJ/repo")),
        (good.as_str(), Some("PROJ/none")),
        (resource.as_str(), None),
        (good.as_str(), None),
    ] {
        let login = world.bbtoken(login).args(
            tried
                .map(|address| ["--try", address])
                .into_iter()
                .flatten(),
        );
        is_for_data_center(&configured(login).input(secret).done());
    }
    for command in [
        &["whoami"][..],
        &["status"],
        &["status", "--verbose"],
        &["doctor", "PROJ/repo"],
        &["doctor", "PROJ/none"],
        &["doctor", "PROJ/repo", "--report"],
        &["logout", "dc"],
    ] {
        is_for_data_center(&configured(world.bbtoken(command)).done());
    }
}
