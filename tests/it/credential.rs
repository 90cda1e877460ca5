//! Git's credential protocol: plain https with this credential helper, on every git.

use std::fs;

use crate::support::{World, gits, helper, on_every_git};

/// The first git that hands a helper its state back.
pub(crate) const GIT_WITH_STATE: (u32, u32) = (2, 46);

/// Makes our helper the one for the local Bitbucket, as `setup` does.
fn set_up(world: &World) {
    world.bbtoken(["setup", "--yes"]).ok();
}

fn request(world: &World, host: &str, path: &str) -> String {
    let host = host.replace(
        "BASE",
        world.bitbucket.base_url().trim_start_matches("https://"),
    );
    format!(
        "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost={host}\npath={path}\n\n"
    )
}

#[test]
fn plain_https_gets_its_token_from_us() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        set_up(world);
        let url = world.bitbucket.repository_url("ws", "repo");
        world
            .git(["clone", "-q", &url, "plain"])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("plain");
        world.commit(&tree, "file", "two\n");
        world
            .git(["push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "one token serves them all"
        );
    });
}

#[test]
fn a_revoked_token_is_replaced_inside_the_same_git_command_where_git_can() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        set_up(world);
        let url = world.bitbucket.repository_url("ws", "repo");
        world.git(["clone", "-q", &url, "plain"]).ok();
        let tree = world.path("plain");
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        let fetch = || world.git(["fetch", "-q"]).within(&tree);
        if world.git.version >= GIT_WITH_STATE {
            fetch().done().expect(0).quiet();
        } else {
            fetch().fails(128).says(&[
                "warning: Bitbucket refused the token of profile 'environment', and the helper removed it from the cache: run the command again",
            ]);
            fetch().done().expect(0).quiet();
        }
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "one refusal gives one new token"
        );
        world.bitbucket.revoke_access_tokens();
        world.commit(&tree, "file", "two\n");
        let push = || world.git(["push", "-q"]).within(&tree);
        if world.git.version >= GIT_WITH_STATE {
            push().done().expect(0).quiet();
        } else {
            push().fails(128);
            push().ok();
        }
    });
}

#[test]
fn a_token_that_stays_refused_ends_the_command_after_one_repair() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        set_up(world);
        let url = world.bitbucket.repository_url("ws", "repo");
        let refusal = bitbucket_local::Rule::answer(401)
            .kind(bitbucket_local::Kind::Git)
            .forever();
        world.bitbucket.script(refusal);
        world.git(["ls-remote", &url]).fails(128);
        let asked = world.bitbucket.token_requests().len();
        assert!(asked <= 2, "a refusal gives one new token at most: {asked}");
        // A refused access token cannot be renewed: the error says who refused what.
        let done = world
            .git(["ls-remote", &url])
            .without_client()
            .env("BBTOKEN_ACCESS_TOKEN", "no-good")
            .fails(128);
        if world.git.version >= GIT_WITH_STATE {
            done.says(&["error: Bitbucket refused the token of profile 'environment', and the profile has no other token"]);
        }
        assert!(
            !done.stderr.contains("Username"),
            "git asks for no password: {}",
            done.stderr
        );
    });
}

#[test]
fn no_other_helper_gets_a_token() {
    let world = World::new(gits().remove(0));
    let ask = |host: &str, path: &str| {
        world
            .bbtoken(["credential", "get"])
            .input(&request(&world, host, path))
            .done()
            .expect(0)
            .quiet()
            .stdout
    };
    for host in [
        "bitbucket.org",
        "evil.org",
        "BASE.evil.org",
        "xBASE",
        "localhost",
        "localhost:1",
    ] {
        assert_eq!(
            ask(host, "ws/repo.git"),
            "",
            "{host} is not the configured Bitbucket"
        );
    }
    let http = request(&world, "BASE", "").replace("protocol=https", "protocol=http");
    assert_eq!(
        world.bbtoken(["credential", "get"]).input(&http).ok(),
        "",
        "http is another site"
    );
    assert_eq!(world.bitbucket.token_requests().len(), 0);
    let answer = ask("BASE", "ws/repo.git");
    let keys: Vec<_> = answer
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            "capability[]",
            "ephemeral",
            "capability[]",
            "state[]",
            "continue",
            "password_expiry_utc",
            "username",
            "password"
        ]
    );
}

#[test]
fn the_usual_port_may_be_written_out() {
    let world = World::new(gits().remove(0));
    let ask = |host: &str| {
        world
            .bbtoken(["credential", "get"])
            .without_client()
            .without("BBTOKEN_BASE_URL")
            .env("BBTOKEN_ACCESS_TOKEN", "ready")
            .input(&request(&world, host, "ws/repo.git"))
            .ok()
    };
    for host in ["bitbucket.org", "bitbucket.org:443", "BitBucket.org:443"] {
        assert!(ask(host).ends_with("password=ready\n"), "{host}");
    }
    for host in ["bitbucket.org:80", "bitbucket.org:4433", "bitbucket.org:"] {
        assert_eq!(ask(host), "", "{host}");
    }
}

#[test]
fn a_git_without_the_state_capability_gets_no_state() {
    let world = World::new(gits().remove(0));
    let plain = request(&world, "BASE", "")
        .replace("capability[]=state\n", "")
        .replace("capability[]=authtype\n", "");
    let answer = world.bbtoken(["credential", "get"]).input(&plain).ok();
    assert!(
        answer.starts_with("password_expiry_utc="),
        "the rest is a secret"
    );
    assert_eq!(
        world.bbtoken(["credential", "capability"]).ok(),
        "version 0\ncapability authtype\ncapability state\n"
    );
}

#[test]
fn the_workspace_chooses_the_profile_where_git_gives_the_path() {
    let world = World::new(gits().remove(0));
    for (name, workspace) in [("one", "first"), ("two", "second")] {
        let command = format!("printf token-of-{name}");
        for (key, value) in [
            ("workspace", workspace),
            ("accessTokenCommand", command.as_str()),
        ] {
            world
                .git([
                    "config",
                    "--global",
                    &format!("bbtoken.{name}.{key}"),
                    value,
                ])
                .ok();
        }
    }
    let ask = |path: &str| {
        let request = request(&world, "BASE", path);
        world
            .bbtoken(["credential", "get"])
            .without_client()
            .input(&request)
    };
    assert!(
        ask("second/repo.git")
            .ok()
            .ends_with("password=token-of-two\n")
    );
    assert!(
        ask("first/repo.git/info/lfs")
            .ok()
            .ends_with("password=token-of-one\n")
    );
    let done = ask("").fails(3);
    done.says(&["several profiles are configured"]);
    assert_eq!(done.stdout, "quit=1\n", "git asks for no password");
    world
        .git(["config", "--global", "bbtoken.profile", "one"])
        .ok();
    assert!(
        ask("").ok().ends_with("password=token-of-one\n"),
        "without a path the default is used"
    );
}

#[test]
fn if_nothing_is_configured_another_helper_may_answer() {
    let world = World::new(gits().remove(0));
    let request = request(&world, "BASE", "ws/repo.git");
    let done = world
        .bbtoken(["credential", "get"])
        .without_client()
        .input(&request)
        .done()
        .expect(0)
        .quiet();
    assert_eq!(done.stdout, "");
}

#[test]
fn erase_removes_only_the_given_token() {
    let world = World::new(gits().remove(0));
    let erase = |password: &str| {
        let request = request(&world, "BASE", "").replace(
            "\n\n",
            &format!("\nusername=x-token-auth\npassword={password}\n\n"),
        );
        world
            .bbtoken(["credential", "erase"])
            .input(&request)
            .done()
            .expect(0)
    };
    let token = world.bbtoken(["token"]).ok();
    erase("another").quiet();
    assert_eq!(
        world.bbtoken(["token"]).ok(),
        token,
        "a foreign token drops nothing"
    );
    erase(token.trim_end()).says(&["the helper removed it from the cache"]);
    assert_ne!(world.bbtoken(["token"]).ok(), token);
    world
        .bbtoken(["credential", "store"])
        .input("protocol=https\nhost=bitbucket.org\npassword=x\n\n")
        .done()
        .expect(0)
        .quiet();
}

#[test]
fn other_helpers_store_nothing_of_ours() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let stored = world.path("stored");
        let store = format!("store --file={}", stored.display());
        world
            .git(["config", "--global", "credential.helper", &store])
            .ok();
        let url = world.bitbucket.repository_url("ws", "repo");
        set_up(world);
        world.git(["clone", "-q", &url, "plain"]).ok();
        assert!(
            !stored.exists(),
            "setup keeps the other helpers out, for this site alone"
        );
        // Without setup git tells every helper in the chain, and git has no way for us to prevent it.
        world.bbtoken(["unsetup", "--yes"]).ok();
        let ours = format!(
            "!'{}' credential",
            helper().with_file_name("git-bbtoken").display()
        );
        world
            .git(["config", "--global", "--add", "credential.helper", &ours])
            .ok();
        world.git(["ls-remote", "-q", &url]).ok();
        assert!(
            fs::metadata(&stored).is_ok_and(|file| file.len() > 0),
            "the search for it would find it"
        );
    });
}

#[test]
fn no_token_of_ours_is_stored_or_cached_by_gits_own_helpers() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let url = world.bitbucket.repository_url("ws", "repo");
        let first = world.gitconfig();
        let stored = world.home().join(".git-credentials");
        fs::write(&stored, "https://ann:word@example.org\n").expect("the home is ours");
        for (number, other) in ["store", "cache"].into_iter().enumerate() {
            for is_before in [true, false] {
                fs::write(world.home().join(".gitconfig"), &first).expect("the home is ours");
                let add = || {
                    let add = ["config", "--global", "credential.helper", other];
                    world.git(add).ok();
                };
                if is_before {
                    add();
                    set_up(world);
                } else {
                    set_up(world);
                    add();
                    set_up(world);
                }
                let name = format!("tree-{number}-{is_before}");
                world.git(["clone", "-q", &url, &name]).ok();
                let tree = world.path(&name);
                world.commit(&tree, "file", &name);
                for arguments in [["push", "-q"], ["fetch", "-q"]] {
                    world.git(arguments).within(&tree).done().expect(0).quiet();
                }
                let kept = fs::read_to_string(&stored).expect("it is there");
                assert_eq!(kept, "https://ann:word@example.org\n");
                let host = world.bitbucket.base_url().trim_start_matches("https://");
                let cached = world
                    .git(["credential-cache", "get"])
                    .input(&format!("protocol=https\nhost={host}\n\n"))
                    .done();
                assert_eq!(cached.stdout, "");
            }
        }
        world.git(["credential-cache", "exit"]).done();
    });
}

#[test]
fn an_action_of_a_git_to_come_is_passed_over() {
    // gitcredentials(7): "If a helper receives any other operation, it should silently ignore the request."
    let world = World::new(gits().remove(0));
    let done = world
        .bbtoken(["credential", "fill"])
        .done()
        .expect(0)
        .quiet();
    assert_eq!(done.stdout, "");
}

#[test]
fn a_user_name_that_is_a_profiles_chooses_it_and_a_refusal_is_repaired_for_it() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world
            .git(["config", "--global", "bbtoken.work.clientId"])
            .arg(&world.consumer.key)
            .ok();
        let other = bitbucket_local::Consumer::new_private();
        world
            .git(["config", "--global", "bbtoken.default.clientId"])
            .arg(&other.key)
            .ok();
        set_up(world);
        let url = world
            .bitbucket
            .repository_url("ws", "repo")
            .replace("https://", "https://work@");
        // The default's client is not known to the server: only 'work' gets a token.
        let list = || {
            world
                .git(["ls-remote", "-q", &url])
                .without("BBTOKEN_CLIENT_ID")
        };
        list().done().expect(0).quiet();
        world.bitbucket.revoke_access_tokens();
        if world.git.version >= GIT_WITH_STATE {
            list().done().expect(0).quiet();
        } else {
            list().fails(128).says(&[
                "warning: Bitbucket refused the token of profile 'work', and the helper removed it from the cache: run the command again",
            ]);
            list().done().expect(0).quiet();
        }
    });
}

#[test]
fn a_helper_that_honors_ephemeral_stores_nothing_of_ours_without_setup() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let log = world.path("helper.log");
        let logging = format!(
            "!f() {{ echo \"$1\" >>'{0}'; cat >>'{0}'; }}; f",
            log.display()
        );
        let ours = format!(
            "!'{}' credential",
            helper().with_file_name("git-bbtoken").display()
        );
        for helper in [&logging, &ours] {
            world
                .git(["config", "--global", "--add", "credential.helper", helper])
                .ok();
        }
        let tree = world.clone_of_new("ws", "big");
        let url = world.bitbucket.repository_url("ws", "big");
        // Over 1 MiB, where git of some versions probes first.
        let mut noise = 1_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        })
        .take(2 << 20)
        .collect();
        world.commit(&tree, "big", content);
        world
            .git(["push", "-q", &url, "HEAD:main"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        let requests = fs::read_to_string(&log).expect("it was asked");
        let stored = requests.split("store\n").nth(1).expect("git passed it on");
        assert_eq!(
            stored.contains("ephemeral=1\n"),
            world.git.version >= GIT_WITH_STATE,
            "git passes it on if it knows the capability"
        );
    });
}

#[test]
fn another_host_gets_no_token_even_if_our_configuration_is_broken() {
    let world = World::new(gits().remove(0));
    let good = world.gitconfig();
    let ours = world.bitbucket.base_url().trim_start_matches("https://");
    let ask = |action: &str, host: &str, variables: &[(&str, &str)]| {
        let mut input = tempfile::tempfile().expect("a temporary file");
        let request = format!("protocol=https\nhost={host}\npath=").into_bytes();
        let request = [
            request,
            b"p\xe4th\nusername=\xff\npassword=\xfe\n\n".to_vec(),
        ]
        .concat();
        std::io::Write::write_all(&mut input, &request).expect("it can be written");
        std::io::Seek::rewind(&mut input).expect("it is a file");
        let mut run = world.bbtoken(["credential", action]);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let mut command = run.into_command();
        let output = command.stdin(input).output().expect("it starts");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let broken = [
        ("", vec![]),
        ("[bbtoken]\n\tgrant = magic\n", vec![]),
        ("[bbtoken \"a b\"]\n\tclientId = x\n", vec![]),
        ("[bbtoken]\n\tbaseUrl = nowhere\n", vec![]),
        (
            "[bbtoken]\n\tprofile = missing\n",
            vec![("BBTOKEN_CLIENT_ID", "")],
        ),
        ("[http]\n\tsslCAInfo = /nowhere\n", vec![]),
        ("[broken\n", vec![]),
        ("", vec![("BBTOKEN_PROFILE", "missing")]),
        ("", vec![("BBTOKEN_BASE_URL", "http://bitbucket.org")]),
        (
            "",
            vec![
                ("BBTOKEN_CLIENT_SECRET_FILE", "relative"),
                ("BBTOKEN_CLIENT_SECRET", "x"),
            ],
        ),
    ];
    let silent = (Some(0), String::new(), String::new());
    let mut reported = 0;
    for (config, variables) in &broken {
        fs::write(world.home().join(".gitconfig"), format!("{good}{config}")).expect("it is ours");
        for host in ["example.org", "github.com:443", "b\u{fc}cket.org", ""] {
            for action in ["get", "store", "erase"] {
                let answer = ask(action, host, variables);
                assert_eq!(
                    answer, silent,
                    "{action} for '{host}' with {config:?} {variables:?}"
                );
            }
        }
        let (code, stdout, stderr) = ask("get", ours, variables);
        if stdout == "quit=1\n" {
            assert!(code != Some(0) && stderr.contains("error: "), "{stderr}");
            reported += 1;
        }
    }
    assert!(reported >= 4, "for our host the fault is named: {reported}");
}
