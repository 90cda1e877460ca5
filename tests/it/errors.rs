//! Errors before the first request: addresses, profiles, settings.

use std::fs;

use crate::{
    inspect::{Gate, limited, names},
    support::{World, gits, on_every_git},
};

/// Expects that a clone fails with this message and nothing more, sends nothing and leaves nothing behind.
#[track_caller]
fn is_refused(world: &World, address: &str, variables: &[(&str, Option<&str>)], message: &str) {
    let mut run = limited(world, ["clone", "-q", address, "tree"]);
    for (name, value) in variables {
        run = match value {
            Some(value) => run.env(name, value),
            None => run.without(name),
        };
    }
    let done = run.fails(128);
    assert_eq!(
        done.stderr, message,
        "the message is this one and nothing is added"
    );
    assert!(done.stdout.is_empty(), "stdout stays empty");
    assert!(
        !world.path("tree").exists(),
        "a clone that failed leaves no directory"
    );
    assert!(
        world.bitbucket.requests().is_empty(),
        "nothing is sent before everything is in order"
    );
    assert!(!world.home().join(".cache").exists(), "nothing is written");
}

const FORM: &str = "hint: write it as 'bbtoken::workspace/repository' or, for a Data Center, 'bbtoken::PROJECT/repository'\n";

#[test]
fn a_malformed_address_is_reported_with_the_reason() {
    const EMPTY_REPOSITORY: &str = "expected workspace/repository, but the repository is empty or contains characters that Bitbucket does not allow";
    const OTHER_HOST: &str = "its host is not a configured Bitbucket site";
    const DATA_CENTER: &str = "hint: if it is a Bitbucket Data Center, run 'git bbtoken login <profile> --data-center https://<host>/<context-path>'; it sets bbtoken.<profile>.kind to datacenter, and bbtoken.<profile>.baseUrl to that address\n";
    const EMPTY_WORKSPACE: &str = "expected workspace/repository, but the workspace is empty or contains characters that Bitbucket does not allow";
    let cases = [
        ("ws", "ws", EMPTY_REPOSITORY),
        ("ws/", "ws/", EMPTY_REPOSITORY),
        ("/repo", "/repo", EMPTY_REPOSITORY),
        ("ws/..", "ws/..", EMPTY_REPOSITORY),
        ("../repo", "../repo", EMPTY_WORKSPACE),
        (
            "ws/repo/more",
            "ws/repo/more",
            "expected workspace/repository, without further parts",
        ),
        ("ws/?x#y", "ws/?x#y", EMPTY_REPOSITORY),
        ("ws/re\u{1b}[31mpo", "ws/re\\u{1b}[31mpo", EMPTY_REPOSITORY),
        ("-x/repo", "-x/repo", EMPTY_WORKSPACE),
        (
            "https://evil.example/ws/repo",
            "https://evil.example/ws/repo",
            OTHER_HOST,
        ),
        (
            "git@evil.example:ws/repo",
            "git@evil.example:ws/repo",
            OTHER_HOST,
        ),
        (
            "ftp://bitbucket.org/ws/repo",
            "ftp://bitbucket.org/ws/repo",
            "only https, ssh and bbtoken addresses name a Bitbucket repository",
        ),
    ];
    on_every_git(|world| {
        for (address, shown, why) in cases {
            let hint = match why {
                OTHER_HOST => DATA_CENTER,
                _ => FORM,
            };
            is_refused(
                world,
                &format!("bbtoken::{address}"),
                &[],
                &format!("error: cannot use address '{shown}': {why}\n{hint}"),
            );
        }
    });
    assert_eq!(cases.len(), 12);
}

#[test]
fn a_password_in_an_address_is_refused_and_not_shown() {
    on_every_git(|world| {
        for (address, why) in [
            (
                "bbtoken::https://ann:canary@bitbucket.org/ws/repo",
                "password",
            ),
            (
                "bbtoken::ann:canary@ws/repo",
                "its host is not a configured",
            ),
            (
                "bbtoken::ssh://git:canary@bitbucket.org/ws/repo",
                "password",
            ),
            ("bbtoken://ann:canary@ws/repo", "password"),
        ] {
            let done = limited(world, ["clone", "-q", address, "tree"]).fails(128);
            done.says(&["error: cannot use address '", why]);
            assert!(
                !done.stderr.contains("canary"),
                "a password is not repeated: {}",
                done.stderr
            );
            assert!(world.bitbucket.requests().is_empty());
        }
    });
}

#[test]
fn without_a_profile_the_two_variables_are_named() {
    let message = "error: no OAuth client and no token is configured\n\
        hint: run 'git bbtoken login' (for a Data Center, add --data-center <url>); or set BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET to a client's id and secret (Cloud: key and secret of a private OAuth consumer), or BBTOKEN_ACCESS_TOKEN to a token\n";
    on_every_git(|world| {
        is_refused(
            world,
            "bbtoken::ws/repo",
            &[("BBTOKEN_CLIENT_ID", None), ("BBTOKEN_CLIENT_SECRET", None)],
            message,
        );
    });
}

#[test]
fn without_a_home_directory_no_hint_needs_one() {
    let nothing = "error: no OAuth client and no token is configured\n\
        hint: set BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET to a client's id and secret (Cloud: key and secret of a private OAuth consumer), or BBTOKEN_ACCESS_TOKEN to a token\n";
    on_every_git(|world| {
        is_refused(
            world,
            "bbtoken::ws/repo",
            &[
                ("BBTOKEN_CLIENT_ID", None),
                ("BBTOKEN_CLIENT_SECRET", None),
                ("HOME", None),
            ],
            nothing,
        );
    });
}

#[test]
fn the_error_about_an_incomplete_client_names_the_missing_part() {
    on_every_git(|world| {
        is_refused(
            world,
            "bbtoken::ws/repo",
            &[("BBTOKEN_CLIENT_ID", None)],
            "error: BBTOKEN_CLIENT_SECRET is set, but BBTOKEN_CLIENT_ID is not; set BBTOKEN_CLIENT_ID to the key of the same OAuth consumer\n",
        );
        is_refused(
            world,
            "bbtoken::ws/repo",
            &[("BBTOKEN_CLIENT_SECRET", None)],
            "error: cannot read repository 'ws/repo'\ncaused by: the client of profile 'environment' has no secret: set BBTOKEN_CLIENT_SECRET, \
             BBTOKEN_CLIENT_SECRET_FILE or bbtoken.environment.clientSecretCommand\n",
        );
    });
}

#[test]
fn an_unknown_profile_is_reported_with_the_existing_ones() {
    on_every_git(|world| {
        for name in ["work", "home"] {
            world
                .git([
                    "config",
                    "--global",
                    &format!("bbtoken.{name}.clientId"),
                    "k",
                ])
                .ok();
        }
        is_refused(
            world,
            "bbtoken::wrok@ws/repo",
            &[],
            "error: the address names profile 'wrok', which does not exist\nhint: did you mean 'work'? the profiles are: home, work; to add this one, run 'git bbtoken login wrok'\n",
        );
    });
}

#[test]
fn a_variable_that_is_set_but_empty_is_an_error() {
    let variables = [
        "BBTOKEN_PROFILE",
        "BBTOKEN_CLIENT_ID",
        "BBTOKEN_CLIENT_SECRET",
        "BBTOKEN_CLIENT_SECRET_FILE",
        "BBTOKEN_ACCESS_TOKEN",
        "BBTOKEN_ACCESS_TOKEN_FILE",
        "BBTOKEN_BASE_URL",
        "BBTOKEN_TOKEN_URL",
        "BBTOKEN_AUTHORIZE_URL",
        "BBTOKEN_TRANSPORT",
        "BBTOKEN_STORE",
        "BBTOKEN_HOME",
    ];
    on_every_git(|world| {
        for name in variables {
            is_refused(
                world,
                "bbtoken::ws/repo",
                &[(name, Some(""))],
                &format!("error: {name} is set but empty; unset it or give it a value\n"),
            );
        }
    });
    assert_eq!(variables.len(), 12);
}

#[test]
fn two_variables_that_exclude_each_other_are_both_named() {
    on_every_git(|world| {
        for (given, file) in [
            ("BBTOKEN_CLIENT_SECRET", "BBTOKEN_CLIENT_SECRET_FILE"),
            ("BBTOKEN_ACCESS_TOKEN", "BBTOKEN_ACCESS_TOKEN_FILE"),
        ] {
            is_refused(
                world,
                "bbtoken::ws/repo",
                &[(given, Some("x")), (file, Some("/x"))],
                &format!("error: {given} and {file} are both set; unset one of them\n"),
            );
        }
    });
}

#[test]
fn endpoints_and_commands_on_the_command_line_are_honored() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let secret = world.path("secret");
        fs::write(&secret, &world.consumer.secret).expect("it can be written");
        world
            .git([
                "-c",
                &format!("bbtoken.baseUrl={}", world.bitbucket.base_url()),
                "-c",
                &format!("bbtoken.clientSecretCommand=cat '{}'", secret.display()),
                "-c",
                &format!("bbtoken.clientId={}", world.consumer.key),
                "ls-remote",
                "bbtoken::ws/repo",
            ])
            .without("BBTOKEN_BASE_URL")
            .without("BBTOKEN_CLIENT_ID")
            .without("BBTOKEN_CLIENT_SECRET")
            .ok();
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn a_client_without_a_secret_is_reported_with_the_directory_that_was_searched() {
    let world = World::new(gits().remove(0));
    world
        .git(["config", "--global", "bbtoken.a.clientId", "key"])
        .ok();
    let token = world.bbtoken(["token", "--profile", "a"]).without_client();
    let state = world.path("moved/.local/state/git-remote-bbtoken");
    let run = token
        .env("HOME", world.path("moved"))
        .env("GIT_CONFIG_GLOBAL", world.home().join(".gitconfig"));
    run.fails(3)
        .says(&[&format!("(looked in '{}')", state.display())]);
}

#[test]
fn a_missing_secret_is_reported_with_its_place() {
    on_every_git(|world| {
        let file = world.path("secret");
        let hinted = |why: &str| {
            format!(
                "error: cannot read repository 'ws/repo'\ncaused by: cannot read the client secret of profile 'environment'\n{why}"
            )
        };
        let secret_in_file = |message: &str| {
            is_refused_at_connect(
                world,
                &[
                    ("BBTOKEN_CLIENT_SECRET", None),
                    ("BBTOKEN_CLIENT_SECRET_FILE", file.to_str()),
                ],
                &hinted(message),
            );
        };
        let shown = file.display();
        secret_in_file(&format!(
            "caused by: cannot read the secret from file '{shown}'\ncaused by: No such file or directory (os error 2)\n"
        ));
        for empty in ["", " \n\n"] {
            fs::write(&file, empty).expect("it can be written");
            secret_in_file(&format!(
                "caused by: the secret from file '{shown}' is empty\n"
            ));
        }
        fs::write(&file, "canary\ncanary\n").expect("it can be written");
        secret_in_file(&format!(
            "caused by: the secret from file '{shown}' is not one line of text\n"
        ));
    });
}

/// The same as [`is_refused`] for what is found out only when a token is needed.
#[track_caller]
fn is_refused_at_connect(world: &World, variables: &[(&str, Option<&str>)], message: &str) {
    let mut run = limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"]);
    for (name, value) in variables {
        run = match value {
            Some(value) => run.env(name, value),
            None => run.without(name),
        };
    }
    let done = run.fails(128);
    assert_eq!(done.stderr, message, "the message is this one");
    assert!(!world.path("tree").exists(), "no directory is left");
    assert!(world.bitbucket.requests().is_empty(), "nothing is sent");
    let left: Vec<_> = names(&world.cache())
        .into_iter()
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    assert!(left.is_empty(), "nothing but the lock is left: {left:?}");
}

#[test]
fn a_home_that_moves_with_the_work_tree_is_refused() {
    on_every_git(|world| {
        is_refused(
            world,
            "bbtoken::ws/repo",
            &[("BBTOKEN_HOME", Some(".state"))],
            "error: BBTOKEN_HOME is not an absolute path, so tokens would land in the directory in which git runs; set BBTOKEN_HOME to an absolute path\n",
        );
    });
}

#[test]
fn a_proxy_that_we_do_not_know_is_never_passed_by() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for proxy in [
            "foo://127.0.0.1:9",
            "socks://127.0.0.1:9",
            "SOCKS5://127.0.0.1:9",
            "127.0.0.1:9",
        ] {
            world.bitbucket.clear_requests();
            let setting = format!("http.proxy={proxy}");
            limited(world, ["-c", &setting, "ls-remote", "bbtoken::ws/repo"]).fails(128);
            limited(world, ["ls-remote", "bbtoken::ws/repo"])
                .env("all_proxy", proxy)
                .fails(128);
            assert!(world.bitbucket.requests().is_empty(), "{proxy}");
        }
    });
}

#[test]
fn settings_for_one_host_are_not_sent_to_the_token_endpoint_of_another() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let gate = Gate::to(world);
        let token_url = world
            .bitbucket
            .token_url()
            .replace(world.bitbucket.base_url(), &gate.base_url());
        let header = format!(
            "http.{}/.extraHeader=User-Agent: canary",
            world.bitbucket.base_url()
        );
        limited(world, ["-c", &header, "ls-remote", "bbtoken::ws/repo"])
            .env("BBTOKEN_TOKEN_URL", token_url)
            .done()
            .expect(0);
        let agent = |requests: Vec<bitbucket_local::Recorded>| {
            requests[0].user_agent.clone().unwrap_or_default()
        };
        assert!(
            agent(world.bitbucket.git_requests()).contains("canary"),
            "requests to the git server have the header"
        );
        assert!(!agent(world.bitbucket.token_requests()).contains("canary"));
    });
}

#[test]
fn a_base_url_of_a_profile_serves_every_form_of_address() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let base = world.bitbucket.base_url();
        world
            .git(["config", "--global", "bbtoken.work.baseUrl", base])
            .ok();
        world
            .git([
                "config",
                "--global",
                "bbtoken.work.clientId",
                &world.consumer.key,
            ])
            .ok();
        let address = format!("bbtoken::{base}/ws/repo.git");
        for arguments in [
            vec!["ls-remote", "bbtoken::ws/repo"],
            vec!["ls-remote", &address],
            vec!["-c", "protocol.version=0", "ls-remote", "bbtoken::ws/repo"],
            vec![
                "-c",
                "http.lowSpeedLimit=1",
                "ls-remote",
                "bbtoken::ws/repo",
            ],
        ] {
            world
                .git(&arguments)
                .without("BBTOKEN_BASE_URL")
                .without("BBTOKEN_CLIENT_ID")
                .ok();
        }
    });
}
