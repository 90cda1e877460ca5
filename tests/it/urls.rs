//! Existing addresses: https, ssh and pages, with git's own rewriting, by rules of `setup` and of users.

use std::{fs, path::Path};

use crate::support::{Run, World, on_every_git};

/// A git that has the client, and knows Bitbucket by its public names.
fn set_up(world: &World, how: &str) {
    world
        .bbtoken(["setup", how, "--yes"])
        .without("BBTOKEN_BASE_URL")
        .done()
        .expect(0)
        .quiet();
}

fn configure(world: &World, key: &str, value: &str) {
    world.git(["config", "--global", "--add", key, value]).ok();
}

fn remote_url(world: &World, tree: &Path, arguments: &[&str]) -> String {
    let url = world
        .git(["remote", "get-url"])
        .args(arguments)
        .arg("origin")
        .within(tree)
        .ok();
    url.trim_end().to_owned()
}

/// Clones, fetches what somebody else pushed, and pushes, all without a word.
fn works(world: &World, url: &str, bare: &Path, tree: &Path) {
    let quietly = |run: Run| run.done().expect(0).quiet();
    quietly(world.git(["clone", "-q", url]).arg(tree));
    let head = world.rev(tree, "HEAD");
    world.git(["branch", "-f", "news", &head]).within(bare).ok();
    quietly(world.git(["fetch", "-q"]).within(tree));
    assert_eq!(world.rev(tree, "origin/news"), head, "{url}");
    world.commit(tree, "file", tree.display().to_string());
    quietly(
        world
            .git(["push", "-q", "origin", "HEAD:main"])
            .within(tree),
    );
    assert_eq!(world.rev(bare, "main"), world.rev(tree, "HEAD"), "{url}");
}

#[test]
fn setup_everywhere_serves_every_address_that_bitbucket_shows() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        set_up(world, "--everywhere");
        let forms = [
            "https://bitbucket.org/ws/repo",
            "https://bitbucket.org/ws/repo.git",
            "https://bitbucket.org/ws/repo.git/",
            "https://bitbucket.org/ws/repo/",
            "https://bitbucket.org/ws/repo/src/main/",
            "https://bitbucket.org/ws/repo/src/main/dir/a%20b.md?at=main#lines-3",
            "https://bitbucket.org/ws/repo/branch/feature/x",
            "https://bitbucket.org/ws/repo/pull-requests/12",
            "https://bitbucket.org/ws/repo/commits/0f1e2d",
            "https://bitbucket.org/ws/repo?at=main",
            "git@bitbucket.org:ws/repo.git",
            "ssh://git@bitbucket.org/ws/repo.git",
            "ssh://git@altssh.bitbucket.org:443/ws/repo.git",
            "ssh://git@bitbucket.org:22/ws/repo",
            "git+ssh://git@bitbucket.org/ws/repo.git",
            "ssh://bitbucket.org/ws/repo",
        ];
        for (number, form) in forms.iter().enumerate() {
            let tree = world.path(&format!("tree{number}"));
            works(world, form, &bare, &tree);
            let kept = world
                .git(["config", "remote.origin.url"])
                .within(&tree)
                .ok();
            assert_eq!(
                kept.trim_end(),
                *form,
                "the configuration keeps what was written"
            );
            assert!(remote_url(world, &tree, &[]).starts_with("bbtoken::ws/repo"));
        }
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "{} addresses, one token",
            forms.len()
        );
    });
}

#[test]
fn setup_completes_the_rules_of_an_earlier_version_and_unsetup_removes_all() {
    on_every_git(|world| {
        let before = world.gitconfig();
        set_up(world, "--everywhere");
        let complete = world.gitconfig();
        for start in [
            "ssh://git@bitbucket.org:22/",
            "git+ssh://git@bitbucket.org/",
            "ssh://bitbucket.org/",
        ] {
            let value = format!("^{}$", start.replace('+', "\\+"));
            let note = format!(
                "^url\\.bbtoken::\\.insteadOf={}$",
                start.replace('+', "\\+")
            );
            for (key, value) in [
                ("url.bbtoken::.insteadOf", value),
                ("bbtoken.addedBySetup", note),
            ] {
                world
                    .git(["config", "--global", "--unset", key, &value])
                    .ok();
            }
        }
        set_up(world, "--everywhere");
        assert_eq!(
            world.gitconfig(),
            complete,
            "setup adds the rules that are missing, once"
        );
        let doctor = world
            .bbtoken(["doctor"])
            .without("BBTOKEN_BASE_URL")
            .without_client()
            .done();
        assert!(
            !doctor.stdout.contains("problem  addresses"),
            "doctor agrees with setup: {}",
            doctor.stdout
        );
        world.bbtoken(["unsetup", "--yes"]).done().expect(0).quiet();
        assert_eq!(world.gitconfig(), before, "unsetup removes every rule");
    });
}

#[test]
fn a_scheme_in_capitals_fails_in_git_before_the_helper_is_asked() {
    on_every_git(|world| {
        set_up(world, "--everywhere");
        let address = "HTTPS://bitbucket.org/ws/repo";
        let run = || {
            let done = world.git(["ls-remote", address]).done();
            // Git may find the pipe to its missing helper closed, and ends by SIGPIPE then.
            assert!(matches!(done.code, None | Some(128 | 141)), "{done:?}");
            done.stderr
        };
        let ours = run();
        assert!(
            ours.contains("'remote-HTTPS' is not a git command"),
            "{ours}"
        );
        world.bbtoken(["unsetup", "--yes"]).ok();
        assert_eq!(run(), ours, "plain git refuses it, too");
    });
}

#[test]
fn a_page_without_any_setup_is_cloned_behind_our_name() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let forms = [
            "bbtoken::https://bitbucket.org/ws/repo/src/main/",
            "bbtoken::https://joe@Bitbucket.org/ws/repo/pull-requests/12?w=1#comment-3",
            "bbtoken::https://www.bitbucket.org/ws/repo",
            "bbtoken::https://api.bitbucket.org/2.0/repositories/ws/repo/commits",
            "bbtoken::ssh://git@altssh.bitbucket.org:443/ws/repo.git",
            "bbtoken::git@altssh.bitbucket.org:443/ws/repo.git",
            "bbtoken::ssh://git@www.bitbucket.org/ws/repo",
            "bbtoken::ws/repo/src/main/",
        ];
        for (number, form) in forms.iter().enumerate() {
            works(world, form, &bare, &world.path(&format!("tree{number}")));
        }
    });
}

#[test]
fn addresses_that_no_rule_covers_get_their_token_from_the_credential_helper() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.bbtoken(["setup", "--everywhere", "--yes"]).ok();
        let base = world.bitbucket.base_url();
        let forms = [
            base.replace("https://", "https://joe@") + "/ws/repo.git",
            base.replace("localhost", "LocalHost") + "/ws/repo.git",
            base.replace("localhost", "LOCALHOST") + "/ws/repo",
        ];
        for (number, form) in forms.iter().enumerate() {
            let tree = world.path(&format!("tree{number}"));
            works(world, form, &bare, &tree);
            assert_eq!(
                remote_url(world, &tree, &[]),
                *form,
                "git's own https does it"
            );
        }
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn plain_serves_every_form_of_our_addresses_by_gits_own_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.bbtoken(["setup", "--plain", "--yes"]).ok();
        let base = world.bitbucket.base_url();
        let forms = [
            "bbtoken::ws/repo".to_owned(),
            "bbtoken::ws/repo.git".to_owned(),
            "bbtoken://ws/repo".to_owned(),
            format!("bbtoken::{base}/ws/repo.git"),
        ];
        for (number, form) in forms.iter().enumerate() {
            let tree = world.path(&format!("tree{number}"));
            works(world, form, &bare, &tree);
            let used = remote_url(world, &tree, &[]);
            assert!(used.starts_with(&format!("{base}/ws/repo")), "{used}");
        }
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn plain_leaves_addresses_with_a_profile_to_git() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        configure(world, "bbtoken.work.clientId", &world.consumer.key);
        world.bbtoken(["setup", "--plain", "--yes"]).ok();
        for (number, form) in [
            "bbtoken::environment@ws/repo",
            "bbtoken://environment@ws/repo",
        ]
        .iter()
        .enumerate()
        {
            let tree = world.path(&format!("tree{number}"));
            works(world, form, &bare, &tree);
            assert_eq!(remote_url(world, &tree, &[]), *form);
        }
        let shown = world
            .git(["ls-remote", "--get-url", "bbtoken::work@ws/repo"])
            .ok();
        assert_eq!(shown, "bbtoken::work@ws/repo\n");
    });
}

#[test]
fn plain_knows_bitbuckets_own_forms_behind_our_name() {
    on_every_git(|world| {
        set_up(world, "--plain");
        for form in [
            "https://bitbucket.org/ws/repo.git",
            "git@bitbucket.org:ws/repo.git",
            "ssh://git@bitbucket.org/ws/repo.git",
            "ssh://git@altssh.bitbucket.org:443/ws/repo.git",
            "ssh://git@bitbucket.org:22/ws/repo.git",
            "git+ssh://git@bitbucket.org/ws/repo.git",
            "ssh://bitbucket.org/ws/repo.git",
        ] {
            let shown = world
                .git(["ls-remote", "--get-url", &format!("bbtoken::{form}")])
                .ok();
            assert_eq!(shown, "https://bitbucket.org/ws/repo.git\n", "{form}");
        }
    });
}

#[test]
fn convert_changes_every_form_of_address_to_bbtoken() {
    let world = World::new(crate::support::gits().remove(0));
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let forms = [
        "https://bitbucket.org/ws/repo/src/main/",
        "https://joe@bitbucket.org/ws/repo.git",
        "https://BitBucket.org/ws/repo.git/",
        "https://bitbucket.org/ws/repo?at=main",
        "https://api.bitbucket.org/2.0/repositories/ws/repo",
        "ssh://git@altssh.bitbucket.org:443/ws/repo.git",
    ];
    let others = [
        "https://bitbucket.org/ws/repo.git/wiki",
        "git@bitbucket.org-work:ws/repo.git",
        "https://example.org/ws/repo",
    ];
    for (number, url) in forms.iter().chain(&others).enumerate() {
        world
            .git(["remote", "add", &format!("r{number}"), url])
            .within(&tree)
            .ok();
    }
    world
        .bbtoken(["remote", "convert", "--yes"])
        .within(&tree)
        .ok();
    let urls = world
        .git(["config", "--get-regexp", "^remote\\.r.*\\.url$"])
        .within(&tree)
        .ok();
    let urls: Vec<_> = urls
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, url)| url)
        .collect();
    let expected: Vec<_> = forms
        .map(|_| "bbtoken::ws/repo")
        .into_iter()
        .chain(others)
        .collect();
    assert_eq!(urls, expected);
}

#[test]
fn the_address_of_a_wiki_never_means_its_repository() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        set_up(world, "--everywhere");
        for url in [
            "https://bitbucket.org/ws/repo.git/wiki",
            "git@bitbucket.org:ws/repo.git/wiki",
            "bbtoken::https://bitbucket.org/ws/repo/wiki/Home",
        ] {
            let done = world.git(["clone", "-q", url, "tree"]).fails(128);
            done.says(&["it names a wiki, and Bitbucket removed all wikis in August 2026"]);
        }
        assert_eq!(world.bitbucket.requests().len(), 0);
    });
}

#[test]
fn between_equal_rules_git_takes_the_first_and_both_ways_work() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let base = format!("{}/", world.bitbucket.base_url());
        // The widespread advice for machines where ssh is closed.
        configure(
            world,
            &format!("url.{base}.insteadOf"),
            "git@bitbucket.org:",
        );
        set_up(world, "--everywhere");
        world.bbtoken(["setup", "--yes"]).ok();
        let tree = world.path("theirs-first");
        works(world, "git@bitbucket.org:ws/repo.git", &bare, &tree);
        assert_eq!(
            remote_url(world, &tree, &[]),
            format!("{base}ws/repo.git"),
            "the user's rule comes first: git's own https, with the helper's token"
        );

        world
            .git([
                "config",
                "--global",
                "--unset-all",
                &format!("url.{base}.insteadOf"),
            ])
            .ok();
        configure(
            world,
            &format!("url.{base}.insteadOf"),
            "git@bitbucket.org:",
        );
        let tree = world.path("ours-first");
        works(world, "git@bitbucket.org:ws/repo.git", &bare, &tree);
        assert_eq!(remote_url(world, &tree, &[]), "bbtoken::ws/repo.git");
    });
}

#[test]
fn a_longer_rule_of_the_user_wins_over_ours() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        set_up(world, "--everywhere");
        let place = bare.parent().expect("it is in its workspace's directory");
        configure(
            world,
            &format!("url.{}/.insteadOf", place.display()),
            "https://bitbucket.org/ws/",
        );
        world
            .git(["clone", "-q", "https://bitbucket.org/ws/repo.git", "tree"])
            .done()
            .expect(0);
        assert_eq!(world.bitbucket.requests().len(), 0, "their place served it");
        world.repository("ws2", "repo");
        world
            .git(["ls-remote", "-q", "https://bitbucket.org/ws2/repo.git"])
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests().len(), 2);
    });
}

#[test]
fn pushes_go_where_pushinsteadof_says() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        set_up(world, "--everywhere");
        let url = "https://bitbucket.org/ws/repo.git";
        // A user who fetches by https and pushes by ssh: ssh has its own rule of ours, but git applies one rule only.
        configure(
            world,
            "url.git@bitbucket.org:.pushInsteadOf",
            "https://bitbucket.org/",
        );
        world.git(["clone", "-q", url, "tree"]).ok();
        let tree = world.path("tree");
        assert_eq!(remote_url(world, &tree, &[]), "bbtoken::ws/repo.git");
        assert_eq!(
            remote_url(world, &tree, &["--push"]),
            "git@bitbucket.org:ws/repo.git",
            "their push rule holds"
        );
        // Ours beside theirs does not win, being second; in its place it does.
        world
            .git([
                "config",
                "--global",
                "--unset-all",
                "url.git@bitbucket.org:.pushInsteadOf",
            ])
            .ok();
        configure(
            world,
            "url.bbtoken::.pushInsteadOf",
            "https://bitbucket.org/",
        );
        works(world, url, &bare, &world.path("pushing"));
        assert_eq!(
            remote_url(world, &tree, &["--push"]),
            "bbtoken::ws/repo.git"
        );
    });
}

#[test]
fn a_host_alias_of_ssh_names_a_profile() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        // Ssh separates two accounts by aliases in ~/.ssh/config, the helper by profiles.
        configure(
            world,
            "url.bbtoken::environment@.insteadOf",
            "git@bitbucket.org-work:",
        );
        let tree = world.path("tree");
        works(world, "git@bitbucket.org-work:ws/repo.git", &bare, &tree);
        assert_eq!(
            remote_url(world, &tree, &[]),
            "bbtoken::environment@ws/repo.git"
        );
    });
}

#[test]
fn submodules_of_every_old_form_come_with_one_command() {
    on_every_git(|world| {
        let forms = [
            ("scp", "git@bitbucket.org:ws/scp.git"),
            ("ssh", "ssh://git@bitbucket.org/ws/ssh.git"),
            ("altssh", "ssh://git@altssh.bitbucket.org:443/ws/altssh.git"),
            ("https", "https://bitbucket.org/ws/https.git"),
            ("page", "https://bitbucket.org/ws/page/src/main/"),
            ("relative", "../relative.git"),
        ];
        set_up(world, "--everywhere");
        world.repository("ws", "app");
        world
            .git(["clone", "-q", "git@bitbucket.org:ws/app.git", "seed"])
            .ok();
        let seed = world.path("seed");
        for (name, url) in forms {
            world.repository("ws", name);
            world
                .git(["submodule", "--quiet", "add", url, name])
                .within(&seed)
                .ok();
        }
        world
            .git(["commit", "-q", "-m", "modules"])
            .within(&seed)
            .ok();
        world.git(["push", "-q"]).within(&seed).ok();
        let modules = fs::read_to_string(seed.join(".gitmodules")).expect("it was written");
        assert!(
            !modules.contains("bbtoken"),
            "nothing was edited: {modules}"
        );

        world.bitbucket.clear_requests();
        for superproject in [
            "https://bitbucket.org/ws/app.git",
            "git@bitbucket.org:ws/app.git",
        ] {
            let tree = world.path("tree");
            world
                .git([
                    "clone",
                    "-q",
                    "--recurse-submodules",
                    "--jobs",
                    "4",
                    superproject,
                ])
                .arg(&tree)
                .done()
                .expect(0)
                .quiet();
            for (name, _) in forms {
                assert!(tree.join(name).join("file").exists(), "{name}");
            }
            world
                .git(["pull", "-q", "--recurse-submodules"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet();
            fs::remove_dir_all(&tree).expect("it is ours");
        }
        assert_eq!(world.bitbucket.token_requests().len(), 0);
    });
}
