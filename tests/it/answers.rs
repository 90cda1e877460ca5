//! Answers that are not what they should be: each kind has its own words, and ends as over plain https.

use std::fs;

use bitbucket_local::{Action, Rule};

use crate::support::{Done, Run, World, on_every_git};

/// Runs a command through the helper and over https, under the same rule; `ADDRESS` stands for the repository.
fn both(world: &World, rule: Option<&Rule>, run: impl Fn(&str, &str) -> Run) -> [Done; 2] {
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = format!("{}/ws/repo.git", world.bitbucket.base_url());
    let header = world.with_header(&token);
    [("bbtoken::ws/repo", "core.x=y"), (&https, &header)].map(|(address, setting)| {
        world.bitbucket.clear_script();
        if let Some(rule) = rule {
            world.bitbucket.script(rule.clone().forever());
        }
        run(address, setting)
            .without_memory()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .without_client()
            .done()
    })
}

#[test]
fn each_way_in_which_an_answer_is_not_complete_has_its_own_words() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let cases = [
            ("00", "it ends inside the length of a pkt-line"),
            ("0010abc", "it ends inside a pkt-line"),
            (
                "0032aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HEAD\n",
                "it ends without a flush-pkt; the server's git may have failed",
            ),
            ("", "it is empty"),
            ("zzzzabcd", "a pkt-line in its answer has no valid length"),
            ("000dERR gone\n", "remote error: gone"),
        ];
        for (body, words) in cases {
            let rule = Rule::new(Action::ReplaceBody(body.into()))
                .method("POST")
                .path("git-upload-pack");
            let [ours, gits] = both(world, Some(&rule), |address, setting| {
                world.git(["-c", setting, "ls-remote", address])
            });
            assert_eq!((ours.code, gits.code), (Some(128), Some(128)), "{body}");
            ours.says(&[words]);
            let others = cases.iter().filter(|(other, _)| other != &body);
            for (_, other) in others {
                assert!(!ours.stderr.contains(other), "{body}: {}", ours.stderr);
            }
        }
    });
}

#[test]
fn an_advertisement_of_no_version_is_not_left_to_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for body in ["000ever<p>no p", "0000"] {
            let rule = Rule::new(Action::ReplaceBody(body.into()))
                .method("GET")
                .path("info/refs");
            let [ours, gits] = both(world, Some(&rule), |address, setting| {
                world.git(["-c", setting, "ls-remote", address])
            });
            assert_eq!((ours.code, gits.code), (Some(128), Some(128)));
            ours.says(&[
                "error: cannot use repository 'ws/repo': 'localhost' did not answer as a git server\n",
                "caused by: its first pkt-line names no version and no ref\n",
            ]);
        }
    });
}

#[test]
fn an_upload_pack_that_fails_tells_why_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let blob = world.rev(&bare, "main:file");
        let object = bare.join("objects").join(&blob[..2]).join(&blob[2..]);
        fs::remove_file(object).expect("it is no pack's");
        let [ours, gits] = both(world, None, |address, setting| {
            world.git(["-c", setting, "clone", "-q", address, "tree"])
        });
        assert_eq!((ours.code, gits.code), (Some(128), Some(128)));
        let told = |done: &Done| {
            let lines = done
                .stderr
                .lines()
                .filter(|line| line.starts_with("remote: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(!told(&gits).is_empty(), "{}", gits.stderr);
        assert_eq!(told(&ours), told(&gits), "{}", ours.stderr);
        ours.says(&["possible repository corruption on the remote side"]);
        assert!(!world.path("tree").exists(), "nothing is left of it");
    });
}
