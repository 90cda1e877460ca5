//! Pushes: the requests, the refusals and git's messages.

use std::path::{Path, PathBuf};

use bitbucket_local::{Action, Kind, Rule};

use crate::{
    inspect::hook,
    support::{World, on_every_git},
};

const PUSH: [&str; 2] = ["GET info/refs", "POST git-receive-pack"];
const LOOK: [&str; 1] = ["GET info/refs"];

/// A world's server repository and a clone with one commit more.
fn ahead(world: &World) -> (PathBuf, PathBuf) {
    let bare = world.repository("ws", "repo");
    let tree = world.clone("ws/repo", "tree");
    world.commit(&tree, "file", "two\n");
    world.bitbucket.clear_requests();
    (bare, tree)
}

/// Moves the server's `main` to where the clone has not been.
fn overtake(world: &World, bare: &Path) {
    let seed = world.path("seed-ws-repo");
    world.commit(&seed, "other", "theirs\n");
    world
        .git(["push", "-q", "-f"])
        .arg(bare)
        .arg("main")
        .within(&seed)
        .ok();
    world.bitbucket.clear_requests();
}

#[test]
fn a_push_of_a_new_branch_takes_two_requests_on_one_connection_and_is_silent() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["push", "-q", "-u", "origin", "HEAD:side"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );
        assert_eq!(world.rev(&bare, "side"), world.rev(&tree, "HEAD"));
        assert_eq!(
            world.rev(&tree, "origin/side"),
            world.rev(&tree, "HEAD"),
            "git has noted what it pushed"
        );
    });
}

#[test]
fn a_push_without_news_or_as_a_rehearsal_sends_nothing() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&bare, "main");
        for rehearsal in [
            &["push", "--dry-run"][..],
            &["push", "--dry-run", "--delete", "origin", "main"],
            &["push", "-q", "origin", "main~1:main"],
        ] {
            world.bitbucket.clear_requests();
            world.git(rehearsal).within(&tree).done().expect(0);
            assert_eq!(world.git_requests(), LOOK, "{rehearsal:?}");
        }
        assert_eq!(world.rev(&bare, "main"), before);
    });
}

#[test]
fn a_push_that_is_no_fast_forward_is_refused_unless_forced() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        overtake(world, &bare);
        let theirs = world.rev(&bare, "main");
        let refused = world.git(["push"]).within(&tree).fails(1);
        refused.says(&[
            " ! [rejected]        main -> main (fetch first)",
            "error: failed to push some refs to 'bbtoken::ws/repo'",
        ]);
        assert_eq!(world.git_requests(), LOOK);
        assert_eq!(world.rev(&bare, "main"), theirs);

        world.bitbucket.clear_requests();
        world
            .git(["push", "-q", "--force"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    });
}

#[test]
fn a_lease_is_kept() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["commit", "-q", "--amend", "-m", "again"])
            .within(&tree)
            .ok();
        world
            .git(["push", "-q", "--force-with-lease"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);
        overtake(world, &bare);
        world.commit(&tree, "file", "three\n");
        let stale = world
            .git(["push", "--force-with-lease"])
            .within(&tree)
            .fails(1);
        stale.says(&[" ! [rejected]        main -> main (stale info)"]);
        assert_eq!(world.git_requests(), LOOK);
        let included = world
            .git(["push", "--force-with-lease=main", "--force-if-includes"])
            .within(&tree)
            .fails(1);
        included.says(&["[rejected]"]);
    });
}

#[test]
fn an_atomic_push_is_all_or_nothing() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["push", "-q", "--atomic", "origin", "main", "main:one"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);

        // The server's part: one ref is refused by its hook, so that the other is, too.
        hook(&bare, "update", r#"test "$1" != refs/heads/closed"#);
        world.bitbucket.clear_requests();
        let refused = world
            .git(["push", "--atomic", "origin", "main:open", "main:closed"])
            .within(&tree)
            .fails(1);
        refused.says(&[
            " ! [remote rejected] main -> closed (hook declined)",
            " ! [remote rejected] main -> open (atomic push failure)",
        ]);
        assert_eq!(world.git_requests(), PUSH);

        // Git's part: nothing is sent.
        overtake(world, &bare);
        let refused = world
            .git(["push", "--atomic", "origin", "main", "main:two"])
            .within(&tree)
            .fails(1);
        refused.says(&["(atomic push failed)"]);
        assert_eq!(world.git_requests(), LOOK);
        let branches = world
            .git(["branch", "--format=%(refname:short)"])
            .within(&bare)
            .ok();
        assert_eq!(branches, "main\none\n");
    });
}

#[test]
fn push_options_reach_the_server_and_its_remarks_the_person() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        hook(
            &bare,
            "post-receive",
            r#"echo "options: $GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1" >&2"#,
        );
        let pushed = world
            .git(["push", "-o", "ci.skip", "-o", "a b"])
            .within(&tree)
            .done()
            .expect(0);
        pushed.says(&["remote: options: 2 ci.skip a b"]);
        assert_eq!(world.git_requests(), PUSH);

        world.bitbucket.clear_requests();
        let deleted = world
            .git(["push", "-o", "x", "origin", ":main", "main:side"])
            .within(&tree)
            .done();
        assert_eq!(
            deleted.code,
            Some(1),
            "git's default is to keep the current branch"
        );
        deleted.says(&[
            "remote: options: 1 x",
            "deletion of the current branch prohibited",
        ]);
        let gone = world
            .git(["push", "-o", "y", "--delete", "origin", "side"])
            .within(&tree)
            .done()
            .expect(0);
        gone.says(&["remote: options: 1 y"]);
    });
}

#[test]
fn a_deletion_sends_no_pack() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["push", "-q", "origin", "main:side"])
            .within(&tree)
            .ok();
        world.bitbucket.clear_requests();
        world
            .git(["push", "-q", "--delete", "origin", "side"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);
        let requests = world.bitbucket.git_requests();
        assert!(
            requests[1]
                .content_length
                .is_some_and(|length| length < 400),
            "the request ends with its commands: {:?}",
            requests[1]
        );
        world
            .git(["rev-parse", "--verify", "-q", "side"])
            .within(&bare)
            .fails(1);
        let missing = world
            .git(["push", "--delete", "origin", "side"])
            .within(&tree)
            .fails(1);
        missing.says(&["remote ref does not exist"]);
    });
}

#[test]
fn tags_and_whole_mirrors_are_pushed() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world.git(["tag", "light"]).within(&tree).ok();
        world
            .git(["tag", "-a", "-m", "note", "heavy"])
            .within(&tree)
            .ok();
        world
            .git(["push", "-q", "--tags"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), PUSH);
        assert_eq!(world.git(["tag"]).within(&bare).ok(), "heavy\nlight\n");

        world
            .git(["clone", "-q", "--mirror"])
            .arg(&tree)
            .arg("mirror")
            .ok();
        let mirror = world.path("mirror");
        world.git(["tag", "-d", "light"]).within(&mirror).ok();
        world.git(["branch", "new", "main"]).within(&mirror).ok();
        world
            .git(["push", "-q", "--mirror", "bbtoken::ws/repo"])
            .within(&mirror)
            .done()
            .expect(0)
            .quiet();
        let refs = |at: &Path| {
            world
                .git([
                    "for-each-ref",
                    "--format=%(objectname) %(refname)",
                    "refs/heads",
                    "refs/tags",
                ])
                .within(at)
                .ok()
        };
        assert_eq!(refs(&bare), refs(&mirror));
        assert_eq!(refs(&bare).lines().count(), 3);
    });
}

#[test]
fn porcelain_output_is_gits_own() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&tree, "HEAD~1");
        let after = world.rev(&tree, "HEAD");
        let short = |id: &str| {
            let id = world.git(["rev-parse", "--short", id]).within(&tree).ok();
            id.trim_end().to_owned()
        };
        let pushed = world
            .git(["push", "--porcelain", "origin", "main", "main:new"])
            .within(&tree)
            .done()
            .expect(0);
        assert_eq!(
            pushed.stdout,
            format!(
                "To bbtoken::ws/repo\n \trefs/heads/main:refs/heads/main\t{}..{}\n*\trefs/heads/main:refs/heads/new\t[new branch]\nDone\n",
                short(&before),
                short(&after)
            )
        );
        overtake(world, &bare);
        let refused = world
            .git(["push", "--porcelain", "origin", "main"])
            .within(&tree)
            .fails(1);
        let token = world
            .bitbucket
            .issue_access_token(&["repository", "repository:write"]);
        let https = world.bitbucket.repository_url("ws", "repo");
        let gits = world
            .git(["-c", &world.with_header(&token), "push", "--porcelain"])
            .args([&https, "main"])
            .within(&tree)
            .fails(1);
        assert_eq!(
            refused.stdout,
            gits.stdout.replace(&https, "bbtoken::ws/repo")
        );
        assert!(
            refused
                .stdout
                .contains("!\trefs/heads/main:refs/heads/main\t[rejected] (fetch first)\n")
        );
    });
}

#[test]
fn a_servers_hook_refuses_with_its_own_words_and_gits_exit_status() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&bare, "main");
        hook(
            &bare,
            "pre-receive",
            "echo 'branch main is closed' >&2\necho 'ask Bob' >&2\nexit 1",
        );
        let refused = world.git(["push"]).within(&tree).fails(1);
        let remote: Vec<_> = refused
            .stderr
            .lines()
            .filter(|line| line.starts_with("remote: "))
            .map(str::trim_end)
            .collect();
        assert_eq!(remote, ["remote: branch main is closed", "remote: ask Bob"]);
        refused.says(&[
            " ! [remote rejected] main -> main (pre-receive hook declined)",
            "error: failed to push some refs to 'bbtoken::ws/repo'",
        ]);
        let last = refused.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: failed to push some refs"),
            "nothing of ours follows what git says: {last}"
        );
        assert_eq!(world.git_requests(), PUSH);
        assert_eq!(world.rev(&bare, "main"), before);
    });
}

#[test]
fn a_large_push_refused_by_a_hook_is_reported_like_a_small_one() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["config", "core.compression", "0"])
            .within(&tree)
            .ok();
        world.commit(&tree, "large", vec![b'x'; 3 << 20]);
        hook(&bare, "pre-receive", "echo 'too large' >&2\nexit 1");
        let is_sent_at_once = || {
            world.bitbucket.clear_requests();
            let refused = world.git(["push"]).within(&tree).fails(1);
            refused.says(&["remote: too large", "[remote rejected]"]);
            world.git_requests() == PUSH
        };
        // A git that packs for seconds, on a busy machine, gives reason for one.
        let is_ever = (0..10).any(|_| is_sent_at_once());
        assert!(is_ever, "no probe precedes the push");
        let requests = world.bitbucket.git_requests();
        assert!(
            requests[1].content_length.is_none() && requests[1].request_bytes > 3 << 20,
            "it was streamed: {:?}",
            requests[1]
        );
    });
}

#[test]
fn a_push_that_negotiates_first_works() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        world
            .git(["-c", "push.negotiate=true", "push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        assert!(
            world.git_requests().len() > PUSH.len(),
            "git starts a second helper to negotiate"
        );
    });
}

#[test]
fn a_signed_push_stops_if_the_server_does_not_support_certificates() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&bare, "main");
        let refused = world.git(["push", "--signed=yes"]).within(&tree).fails(128);
        refused.says(&["the receiving end does not support --signed push"]);
        assert_eq!(world.git_requests(), LOOK);
        assert_eq!(world.rev(&bare, "main"), before);
        world
            .git(["push", "-q", "--signed=if-asked"])
            .within(&tree)
            .done()
            .expect(0);
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    });
}

#[test]
fn a_push_that_the_server_does_not_begin_ends_as_over_https() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&bare, "main");
        let never = ["config", "receive.advertisePushOptions", "false"];
        world.git(never).within(&bare).ok();
        let token = world.bitbucket.issue_access_token(&["repository:write"]);
        let https = world.bitbucket.repository_url("ws", "repo");
        let wrong = |at: &str| Rule::answer(500).path(at).kind(Kind::Git);
        let gone = Rule::new(Action::CloseWithoutAnswer)
            .method("POST")
            .kind(Kind::Git);
        let cases: [(&[&str], Option<Rule>, i32, &str); 5] = [
            (
                &["-o", "ci.skip"],
                None,
                1,
                "the receiving end does not support push options",
            ),
            (
                &[],
                Some(wrong("git-receive-pack").method("POST")),
                1,
                "'localhost' answered 500",
            ),
            (
                &[],
                Some(wrong("info/refs")),
                128,
                "'localhost' answered 500",
            ),
            (
                &[],
                Some(wrong("git-receive-pack").method("POST").body("no")),
                1,
                "may or may not have done the push",
            ),
            (&[], Some(gone), 1, "may or may not have done the push"),
        ];
        for (options, rule, code, why) in cases {
            let push = |address: &str, header: &str| {
                world.bitbucket.clear_script();
                if let Some(rule) = &rule {
                    world.bitbucket.script(rule.clone().forever());
                }
                let run = world.git(["-c", header, "push"]).args(options);
                run.args([address, "main"]).within(&tree).done()
            };
            let ours = push("origin", "core.x=y").expect(code);
            ours.says(&[why]);
            if code == 1 {
                ours.says(&["\nerror: failed to push some refs to 'bbtoken::ws/repo'"]);
            }
            push(&https, &world.with_header(&token)).expect(code);
            assert_eq!(world.rev(&bare, "main"), before);
        }
        world.bitbucket.clear_script();
        world
            .git(["push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn a_server_without_atomic_pushes_refuses_one_as_over_https() {
    on_every_git(|world| {
        let (bare, tree) = ahead(world);
        let before = world.rev(&bare, "main");
        let never = ["config", "receive.advertiseAtomic", "false"];
        world.git(never).within(&bare).ok();
        let token = world.bitbucket.issue_access_token(&["repository:write"]);
        let https = world.bitbucket.repository_url("ws", "repo");
        let why = "the receiving end does not support --atomic push";
        for (address, header) in [
            ("origin", "core.x=y".to_owned()),
            (https.as_str(), world.with_header(&token)),
        ] {
            let run = world.git(["-c", &header, "push", "--atomic", address, "main"]);
            run.within(&tree).fails(1).says(&[why]);
        }
        assert_eq!(world.rev(&bare, "main"), before);
        world
            .git(["push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
    });
}
