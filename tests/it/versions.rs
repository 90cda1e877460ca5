//! Git's older protocol versions, and the protocol turned off: the requests are the same as over plain https.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{Recorded, Rule};

use crate::support::{Done, Run, World, on_every_git};

/// What the server was asked: method, path, query and `Git-Protocol`.
type Asked = Vec<(String, String, Option<String>, Option<String>)>;

/// Lets a command be the one through the helper or the one over https; gives how each ended and what it asked for.
fn both(world: &World, run: impl Fn(&str, &str) -> Run) -> [(Done, Asked); 2] {
    let token = world
        .bitbucket
        .issue_access_token(&["repository", "repository:write"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let header = world.with_header(&token);
    [("bbtoken::ws/repo", "core.x=y"), (&https, &header)].map(|(address, setting)| {
        world.bitbucket.clear_requests();
        let done = run(address, setting)
            .without_client()
            .without_memory()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .env("BBTOKEN_STORE", "memory")
            .done();
        // A Data Center accepts this token from git's own transport only beside the owner's name, for which the helper asks.
        let is_of_git = |it: &Recorded| {
            !world.is_data_center() || !it.path.ends_with("/application-properties")
        };
        let requests = world.bitbucket.requests().into_iter();
        let asked = requests
            .filter(is_of_git)
            .map(|it| (it.method, it.path, it.query, it.git_protocol));
        (done, asked.collect())
    })
}

#[test]
fn a_negotiation_alone_is_done_or_refused_as_over_https() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        for (version, requests) in [("0", 0), ("1", 0), ("2", 2)] {
            let version = format!("protocol.version={version}");
            let [ours, gits] = both(world, |address, setting| {
                world
                    .git(["-c", &version, "-c", setting, "fetch", "--negotiate-only"])
                    .args(["--negotiation-tip=HEAD", address])
                    .within(&tree)
            });
            assert_eq!((ours.0.code, &ours.0.stdout), (gits.0.code, &gits.0.stdout));
            assert_eq!(ours.0.stderr, gits.0.stderr, "{version}");
            assert_eq!(ours.1, gits.1, "{version}");
            assert_eq!(ours.1.len(), requests, "{version}");
            assert_eq!(ours.0.code == Some(0), requests > 0, "{version}");
        }
    });
}

#[test]
fn a_version_of_the_protocol_is_spoken_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        for version in ["0", "1", "2"] {
            let setting_of_version = format!("protocol.version={version}");
            let versions = |[ours, gits]: [(Done, Asked); 2]| {
                assert_eq!((ours.0.code, gits.0.code), (Some(0), Some(0)), "{version}");
                (ours.1, gits.1)
            };
            let git = |setting: &str| world.git(["-c", setting, "-c", &setting_of_version]);
            let (mut ours, gits) = versions(both(world, |address, setting| {
                git(setting).args(["ls-remote", "-q", address])
            }));
            // Where git's own transport takes over, the same is asked before: for the token's sake, and by older gits
            // without it.
            ours.dedup();
            assert_eq!(ours, gits, "{version}");
            let (ours, gits) = versions(both(world, |address, setting| {
                let forget = ["update-ref", "-d", "refs/heads/side"];
                world.git(forget).within(&bare).ok();
                git(setting)
                    .args(["push", "-q", address, "main:refs/heads/side"])
                    .within(&tree)
            }));
            assert_eq!(ours, gits, "{version}");
            let expected = (version == "1").then(|| "version=1".to_owned());
            assert!(
                ours.len() == 2 && ours.iter().all(|it| it.3 == expected),
                "{ours:?}"
            );
        }
    });
}

/// Bitbucket makes archives over ssh only.
#[test]
fn a_remote_archive_is_refused_in_every_version_without_a_request() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for version in ["0", "1", "2"] {
            let setting = format!("protocol.version={version}");
            world.bitbucket.clear_requests();
            let done = world
                .git(["-c", &setting, "archive", "--remote=bbtoken::ws/repo"])
                .args(["main"])
                .fails(128);
            done.says(&["fatal: can't connect to subservice git-upload-archive\n"]);
            assert_eq!(done.stdout, "", "{version}");
            assert!(world.bitbucket.requests().is_empty(), "{version}");
        }
    });
}

/// Finds all files below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is there").flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path => found.push(path),
        }
    }
}

/// Lets the server hand a repository's files out, as a web server without git does.
fn hand_out_files(world: &World, bare: &Path) {
    world.git(["update-server-info"]).within(bare).ok();
    let mut found = vec![bare.join("HEAD"), bare.join("info/refs")];
    files(&bare.join("objects"), &mut found);
    for file in found {
        let below = file.strip_prefix(bare).expect("it was found there");
        let rule = Rule::answer(200)
            .header("Content-Type", "text/plain")
            .path(&format!("/ws/repo.git/{}", below.display()))
            .body(fs::read(&file).expect("it is there"));
        world.bitbucket.script(rule.forever());
    }
}

#[test]
fn without_gits_protocol_the_files_are_read_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        hand_out_files(world, &bare);
        for value in ["0", "false", ""] {
            let [ours, gits] = both(world, |address, setting| {
                let name = if setting == "core.x=y" {
                    "ours"
                } else {
                    "gits"
                };
                let _ = fs::remove_dir_all(world.path(name));
                world
                    .git(["-c", setting, "clone", "-q", address, name])
                    .env("GIT_SMART_HTTP", value)
            });
            let ended = |done: &Done| (done.code, done.stderr.clone());
            assert_eq!(ended(&ours.0), ended(&gits.0));
            assert_eq!(ended(&ours.0), (Some(0), String::new()));
            assert_eq!(
                world.rev(&world.path("ours"), "HEAD"),
                world.rev(&bare, "main")
            );
            assert_eq!(ours.1, gits.1, "the requests are the same");
            assert!(
                ours.1
                    .iter()
                    .all(|(method, _, query, _)| method == "GET" && query.is_none()),
                "no service is asked for: {:?}",
                ours.1
            );
        }
        world.bitbucket.clear_script();
        for value in ["1", "yes"] {
            let [ours, gits] = both(world, |address, setting| {
                world
                    .git(["-c", setting, "ls-remote", address])
                    .env("GIT_SMART_HTTP", value)
            });
            assert_eq!(ours.0.code, gits.0.code);
            let query = Some("service=git-upload-pack".to_owned());
            assert_eq!((&ours.1[0].2, &gits.1[0].2), (&query, &query));
        }
    });
}

#[test]
fn a_push_without_gits_protocol_ends_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "file", "two\n");
        hand_out_files(world, &bare);
        let [ours, gits] = both(world, |address, setting| {
            world
                .git(["-c", setting, "push", "-q", address, "main"])
                .within(&tree)
                .env("GIT_SMART_HTTP", "0")
        });
        assert_eq!(ours.0.code, gits.0.code);
        assert_ne!(ours.0.code, Some(0));
        for done in [&ours.0, &gits.0] {
            done.says(&["fatal: git-http-push failed\n"]);
        }
        assert_eq!(ours.1, gits.1);
    });
}

#[test]
fn a_server_without_dumb_http_is_reported_in_gits_words() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let [ours, gits] = both(world, |address, setting| {
            world
                .git(["-c", setting, "ls-remote", address])
                .env("GIT_SMART_HTTP", "0")
        });
        assert_eq!((ours.0.code, gits.0.code), (Some(128), Some(128)));
        assert_eq!((ours.1.len(), gits.1.len()), (1, 1));
        for done in [&ours.0, &gits.0] {
            done.says(&["remote: Please upgrade your git client.\n"]);
        }

        let [ours, gits] = both(world, |address, setting| {
            world
                .git(["-c", setting, "ls-remote", address])
                .env("GIT_SMART_HTTP", "perhaps")
        });
        assert_eq!((ours.0.code, gits.0.code), (Some(128), Some(128)));
        gits.0.says(&["'perhaps' for 'GIT_SMART_HTTP'"]);
        ours.0.says(&["GIT_SMART_HTTP"]);
    });
}
