//! Git's own transport: by choice, for old protocol versions, and for servers without protocol v2.

use std::{collections::BTreeSet, fs, process::Stdio};

use bitbucket_local::{Action, Options, Rule};

use crate::{
    credential::GIT_WITH_STATE,
    processes,
    support::{Git, World, gits, on_every_git},
};

/// Clones, fetches and pushes.
fn works(world: &World) {
    let bare = world.repository("ws", "repo");
    world
        .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
        .done()
        .expect(0)
        .quiet();
    let tree = world.path("tree");
    assert_eq!(world.rev(&tree, "HEAD"), world.rev(&bare, "main"));

    let seed = world.path("seed-ws-repo");
    world.commits(&seed, 40, "theirs");
    world.commits(&tree, 40, "ours");
    world.publish(&bare, &seed);
    world.fetch(&tree);
    assert_eq!(world.rev(&tree, "origin/main"), world.rev(&bare, "main"));

    world
        .git(["push", "-q", "--force"])
        .within(&tree)
        .done()
        .expect(0)
        .quiet();
    assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    world
        .git(["push", "-q", "origin", "HEAD:side"])
        .within(&tree)
        .done()
        .expect(0)
        .quiet();
    world
        .git(["push", "-q", "--delete", "origin", "side"])
        .within(&tree)
        .done()
        .expect(0)
        .quiet();
    assert_eq!(
        world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .done()
            .expect(0)
            .quiet()
            .stdout
            .lines()
            .count(),
        2
    );

    world
        .git(["clone", "-q", "--depth=2", "bbtoken::ws/repo", "shallow"])
        .done()
        .expect(0)
        .quiet();
    let shallow = world.path("shallow");
    world
        .git(["fetch", "-q", "--unshallow"])
        .within(&shallow)
        .done()
        .expect(0)
        .quiet();
    assert!(!shallow.join(".git/shallow").exists());
}

fn reports_a_missing_repository(world: &World) {
    let done = world
        .git(["clone", "-q", "bbtoken::ws/missing", "missing"])
        .fails(128);
    match world.is_data_center() {
        // It answers a question for a missing repository with a message in git's protocol.
        true => done.says(&["Repository not found"]),
        false => done.says(&[
            "error: cannot read repository 'ws/missing' with profile 'environment'\n",
            "hint: ",
        ]),
    }
    assert_eq!(done.stderr.matches("error:").count(), 1, "{}", done.stderr);
    assert!(!world.path("missing").exists());
}

#[test]
fn gits_own_transport_does_all_by_choice() {
    on_every_git(|world| {
        world
            .git(["config", "--global", "bbtoken.transport", "git"])
            .ok();
        works(world);
        let missing = world.git(["clone", "-q", "bbtoken::ws/missing", "missing"]);
        missing.fails(128).says(&[match world.is_data_center() {
            true => "fatal: remote error: Repository not found",
            false => "Bitbucket refused the token of profile 'environment'",
        }]);
        let agents: BTreeSet<_> = world
            .bitbucket
            .git_requests()
            .into_iter()
            .filter_map(|request| request.user_agent)
            .collect();
        assert!(
            !agents.is_empty() && agents.iter().all(|agent| !agent.contains("bbtoken")),
            "the native transport sends no request: {agents:?}"
        );
    });
}

#[test]
fn a_revoked_token_is_replaced_or_explained_when_git_alone_speaks_to_the_server() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (variable, value) in [("BBTOKEN_TRANSPORT", "git"), ("GIT_SMART_HTTP", "0")] {
            world.bitbucket.clear_requests();
            // A git without proactive authentication asks without a token first, in both commands.
            let refusals = if world.git.version < GIT_WITH_STATE {
                3
            } else {
                1
            };
            for _ in 0..refusals {
                let refused = Rule::answer(401).header("WWW-Authenticate", "Basic realm=\"x\"");
                world.bitbucket.script(refused.path("info/refs"));
            }
            if variable == "GIT_SMART_HTTP" {
                let refs = Rule::answer(200).header("Content-Type", "text/plain");
                world.bitbucket.script(refs.path("info/refs").forever());
            }
            let list = || {
                world
                    .git(["ls-remote", "bbtoken::ws/repo"])
                    .env(variable, value)
                    .done()
            };
            if world.git.version < GIT_WITH_STATE {
                list().expect(128).says(&[
                    "warning: Bitbucket refused the token of profile 'environment', and the helper removed it from the cache: run the command again",
                ]);
            }
            list().expect(0).quiet();
            assert_eq!(world.bitbucket.token_requests().len(), 1, "{variable}");
            world.bitbucket.clear_script();
        }
    });
}

#[test]
fn a_leftover_authorization_in_the_settings_does_not_reach_gits_transport() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        let base = world.bitbucket.base_url();
        let repository = world.bitbucket.repository_url("ws", "repo");
        for header in [
            "Authorization: Bearer leftover",
            "authorization:Basic bGVmdDpvdmVy",
        ] {
            for key in [
                "http.extraHeader".to_owned(),
                format!("http.{base}/.extraHeader"),
                format!("http.{repository}.extraHeader"),
            ] {
                world
                    .git(["config", "--global", "--add", &key, header])
                    .ok();
                world
                    .git(["config", "--global", "--add", &key, "X-Gateway: kept"])
                    .ok();
                for by_git in [
                    "bbtoken.transport=git",
                    "http.cookieFile=/dev/null",
                    "protocol.version=0",
                ] {
                    world.bitbucket.clear_requests();
                    let trace = world.path("trace");
                    let _ = fs::remove_file(&trace);
                    world
                        .git(["-c", by_git, "ls-remote", "bbtoken::ws/repo"])
                        .env("GIT_TRACE_CURL", &trace)
                        .done()
                        .expect(0)
                        .quiet();
                    assert!(
                        world.bitbucket.token_requests().is_empty(),
                        "the good token stays in the cache: {key} {by_git}"
                    );
                    let trace = fs::read_to_string(&trace).expect("it was written");
                    assert!(
                        trace
                            .to_lowercase()
                            .contains("send header: x-gateway: kept"),
                        "the other headers are sent: {key} {by_git}"
                    );
                }
                world.git(["config", "--global", "--unset-all", &key]).ok();
                let setting = format!("{key}={header}");
                let of_command = ["-c", "bbtoken.transport=git", "-c", &setting];
                let done = world
                    .git(of_command)
                    .args(["ls-remote", "bbtoken::ws/repo"]);
                done.done().expect(0).quiet();
                assert!(
                    world.bitbucket.token_requests().is_empty(),
                    "the good token stays in the cache: -c {key}"
                );
            }
        }
    });
}

#[test]
fn older_protocol_versions_work_if_git_is_configured_for_them() {
    for version in ["0", "1"] {
        on_every_git(|world| {
            world
                .git(["config", "--global", "protocol.version", version])
                .ok();
            works(world);
            reports_a_missing_repository(world);
        });
    }
}

fn old_server(git: &Git) -> World {
    World::with(
        git.clone(),
        Options {
            protocol_v2: false,
            ..Options::default()
        },
    )
}

#[test]
fn a_server_that_knows_no_protocol_v2_works() {
    for git in gits() {
        let world = old_server(&git);
        works(&world);
        reports_a_missing_repository(&world);
    }
}

#[test]
fn an_option_of_fetch_reaches_an_old_server() {
    for git in gits() {
        let world = old_server(&git);
        world.repository("ws", "repo");
        world
            .git(["clone", "-q", "--filter=blob:none", "--no-checkout"])
            .args(["bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        world
            .git(["checkout", "-q", "main"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            fs::read_to_string(tree.join("file")).ok().as_deref(),
            Some("one\n")
        );
    }
}

/// The token that was got for this world, as it stands in the cache.
fn cached_token(world: &World) -> String {
    let files = fs::read_dir(world.cache()).expect("a token was cached");
    let texts = files
        .flatten()
        .filter_map(|file| fs::read_to_string(file.path()).ok());
    let token = texts.into_iter().find_map(|text| {
        let (_, rest) = text.split_once("\"access_token\":\"")?;
        Some(rest.split('"').next()?.to_owned())
    });
    token.expect("the cache holds the token")
}

#[test]
fn no_process_shows_a_token_while_git_waits_for_the_server() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        let token = cached_token(world);
        assert!(token.len() > 20);
        for (transport, least) in [("native", 3), ("git", 4)] {
            world.bitbucket.clear_requests();
            world
                .bitbucket
                .script(Rule::new(Action::Hold).method("POST"));
            let mut child = world
                .git(["ls-remote", "-q", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRANSPORT", transport)
                .into_command()
                .stdout(Stdio::null())
                .spawn()
                .expect("git starts");
            world
                .bitbucket
                .wait_for(|requests| {
                    requests
                        .iter()
                        .any(|request| request.method == "POST" && request.status.is_none())
                })
                .expect("git asks for refs");
            let processes = processes::of(world);
            assert!(
                processes.len() >= least,
                "all processes of {transport} were looked at"
            );
            for process in &processes {
                let shown = &process.shown;
                assert!(
                    !shown.contains(&token) && !shown.contains("Authorization"),
                    "'{}' shows a token",
                    process.program.display()
                );
            }
            world.bitbucket.release();
            assert!(child.wait().expect("it is ours").success());
        }
    });
}

#[test]
fn gits_own_traces_show_no_token() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        let token = cached_token(world);
        for transport in ["native", "git"] {
            let trace = world.path(&format!("trace-{transport}"));
            world
                .git(["ls-remote", "-q", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRANSPORT", transport)
                .env("GIT_TRACE", &trace)
                .env("GIT_TRACE2_EVENT", &trace)
                .env("GIT_TRACE_PACKET", &trace)
                .env("GIT_TRACE_CURL", &trace)
                .ok();
            let text = fs::read(&trace).expect("git writes traces");
            let text = String::from_utf8_lossy(&text);
            assert!(text.len() > 500 && !text.contains(&token));
        }
    });
}

#[test]
fn a_revoked_token_is_replaced_before_git_takes_over() {
    for setting in ["protocol.version=0", "protocol.version=1"] {
        on_every_git(|world| {
            world.repository("ws", "repo");
            let tree = world.clone("ws/repo", "tree");
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.clear_requests();
            world
                .git(["-c", setting, "fetch", "-q"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet();
            assert_eq!(world.bitbucket.token_requests().len(), 1, "{setting}");
            world.commit(&tree, "file", "two\n");
            world.bitbucket.revoke_access_tokens();
            world
                .git(["-c", setting, "push", "-q"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet();
        });
    }
}

#[test]
fn a_list_of_protocols_that_permits_ours_alone_is_enough_for_gits_transport() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let run = |settings: &[&str]| {
            world
                .git(settings)
                .args(["ls-remote", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRANSPORT", "git")
        };
        run(&[])
            .env("GIT_ALLOW_PROTOCOL", "bbtoken")
            .done()
            .expect(0)
            .quiet();
        run(&[
            "-c",
            "protocol.allow=never",
            "-c",
            "protocol.bbtoken.allow=always",
        ])
        .done()
        .expect(0)
        .quiet();
        run(&["-c", "protocol.https.allow=user"])
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_ALLOW_PROTOCOL", "bbtoken:file")
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn an_explicit_ban_on_https_holds_for_gits_transport() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let run = |transport: &str| {
            world
                .git([
                    "-c",
                    "protocol.https.allow=never",
                    "ls-remote",
                    "bbtoken::ws/repo",
                ])
                .env("BBTOKEN_TRANSPORT", transport)
                .done()
        };
        run("native").expect(0).quiet();
        run("git").expect(128).says(&[
            "error: git's own transport is needed here, but protocol.https.allow in the command line forbids it\n",
        ]);
    });
}

#[test]
fn a_token_call_that_lacks_a_setting_of_gits_says_so() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let done = world
            .git([
                "-c",
                "http.proxyAuthMethod=ntlm",
                "-c",
                "http.proxy=127.0.0.1:1",
            ])
            .args(["bbtoken", "token"])
            .done();
        assert_eq!(done.code, Some(6));
        done.says(&[
            "error: cannot apply 'http.proxyAuthMethod' to the token request: only git's own transport supports this setting, and it does not request tokens\n",
            "caused by: cannot connect to 'localhost' through proxy '127.0.0.1:1' (http.proxy in the command line)\n",
        ]);
    });
}

#[test]
fn cookies_are_sent_and_kept_by_gits_transport() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let jar = world.path("cookies");
        let line = "localhost\tFALSE\t/\tTRUE\t0\tsession\tcrumbs\n";
        fs::write(&jar, line).expect("the world's directory can be written");
        world
            .git(["config", "--global", "http.cookieFile"])
            .arg(&jar)
            .ok();
        world
            .git(["config", "--global", "http.saveCookies", "true"])
            .ok();
        world.bitbucket.script(
            Rule::answer(401)
                .header("WWW-Authenticate", "Basic realm=\"once\"")
                .header("Set-Cookie", "seen=once; Path=/; Secure")
                .path("info/refs"),
        );
        let run = |trace: &str| {
            world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env("GIT_TRACE_CURL", world.path(trace))
                .done()
        };
        run("first").expect(0);
        let kept = fs::read_to_string(&jar).expect("it is there");
        assert!(
            kept.contains("session\tcrumbs") && kept.contains("seen\tonce"),
            "{kept}"
        );
        run("second").expect(0);
        let trace = fs::read(world.path("second")).expect("it was written");
        let trace = String::from_utf8_lossy(&trace).to_ascii_lowercase();
        let sent = trace
            .lines()
            .find(|line| line.contains("send header: cookie: "));
        let sent = sent.unwrap_or_else(|| panic!("a cookie is sent: {trace}"));
        assert!(
            sent.contains("session=<redacted>") && sent.contains("seen=<redacted>"),
            "{sent}"
        );
    });
}
