//! Git LFS with the real git-lfs: works without a manual step, and with tokens that expire during a transfer.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bitbucket_local::{Action, Kind, LfsLinks, Rule};

use crate::{
    inspect::noise,
    needs::needs,
    support::{Run, World, gits, helper, on_every_git},
};

/// How long a token lives.
const TOKEN_LIFE: Duration = Duration::from_secs(7_200);
/// How large the large file is, in bytes, if `BBTOKEN_TEST_LFS_BYTES` does not say.
const LARGE_BYTES: usize = 4 << 20;

/// Makes a user's git know git-lfs, as `git lfs install` does.
pub(crate) fn install(world: &World) {
    world.git(["lfs", "install", "--skip-repo"]).ok();
}

/// Makes a repository on the server whose `*.bin` are in LFS, and gives the work tree that has pushed it.
pub(crate) fn repository(world: &World, workspace: &str, name: &str, files: &[&str]) -> PathBuf {
    world.repository(workspace, name);
    let tree = world.clone(&format!("{workspace}/{name}"), &format!("lfs-{name}"));
    world.git(["lfs", "track", "*.bin"]).within(&tree).ok();
    for file in files {
        fs::write(tree.join(file), content(file)).expect("the work tree can be written");
    }
    world.git(["add", "."]).within(&tree).ok();
    world.git(["commit", "-qm", "files"]).within(&tree).ok();
    world.git(["push", "-q"]).within(&tree).done().expect(0);
    tree
}

/// What a file of LFS holds.
pub(crate) fn content(file: &str) -> Vec<u8> {
    file.as_bytes().repeat(1_000)
}

fn has_content(tree: &Path, file: &str) -> bool {
    fs::read(tree.join(file)).ok().as_deref() == Some(content(file).as_slice())
}

/// A repository's configuration, with what differs between worlds replaced.
fn settings(world: &World, tree: &Path) -> String {
    let text = fs::read_to_string(tree.join(".git/config")).expect("it is there");
    masked(world, &text)
}

/// A text with `HOST` for where repositories are, and for where the server is.
fn masked(world: &World, text: &str) -> String {
    let repository = world.bitbucket.repository_url("ws", "repo");
    let below = repository.trim_end_matches("/ws/repo.git");
    let server = world.bitbucket.base_url();
    [below, server, world.origin()]
        .iter()
        .fold(text.to_owned(), |text, url| {
            text.replace(url.trim_start_matches("https://"), "HOST")
        })
}

pub(crate) fn get(world: &World, tree: &Path, key: &str) -> String {
    let done = world.git(["config", "--get-all", key]).within(tree).done();
    masked(world, done.stdout.trim_end())
}

pub(crate) const ENDPOINT: &str = "https://bbtoken@HOST/ws/repo.git/info/lfs";

#[test]
fn a_clone_brings_lfs_files_without_a_manual_step() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin", "b.bin"]);
        for is_set_up in [false, true] {
            if is_set_up {
                world.bbtoken(["setup", "--everywhere", "--yes"]).ok();
            }
            fs::remove_dir_all(world.cache()).expect("a token was cached");
            world.bitbucket.clear_requests();
            let name = format!("tree-{is_set_up}");
            world
                .git(["clone", "-q", "bbtoken::ws/repo", &name])
                .done()
                .expect(0)
                .quiet();
            let tree = world.path(&name);
            assert!(has_content(&tree, "a.bin") && has_content(&tree, "b.bin"));
            assert_eq!(world.bitbucket.token_requests().len(), 1);
            assert_eq!(world.git_requests().len(), 3);
            let lfs = world.bitbucket.lfs_requests();
            assert_eq!(lfs.len(), 3, "a batch and two files");
            assert!(lfs.iter().all(|request| request.status == Some(200)));

            assert_eq!(get(world, &tree, "remote.origin.lfsurl"), ENDPOINT);
            let site = format!("lfs.{}/.access", world.origin());
            assert_eq!(get(world, &tree, &site), "basic");
            let own = settings(world, &tree).contains("!git bbtoken credential");
            assert_eq!(own, !is_set_up, "once is enough");

            let own = ["config", "remote.other.lfsurl", "https://me@host/lfs"];
            world.git(own).within(&tree).ok();
            let chosen = ["config", "remote.origin.bbtokenProfile", "work"];
            world.git(chosen).within(&tree).ok();
            let back = ["remote", "convert", "--back", "--yes"];
            world.bbtoken(back).within(&tree).ok();
            let left = settings(world, &tree);
            let is_left = |word| left.to_lowercase().contains(word);
            assert!(
                !["bbtoken", "access", "usehttppath"]
                    .into_iter()
                    .any(is_left),
                "the way back leaves no setting of the helper: {left}"
            );
            assert!(is_left("me@host"), "the user's own setting stays: {left}");
        }
    });
}

#[test]
fn lfs_settings_are_written_once_and_other_settings_stay() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.repository("ws", "repo");
        let tree = world.path("tree");
        world.git(["init", "-q", "tree"]).ok();
        let config = tree.join(".git/config");
        let odd = "# a comment\n[remote \"origin\"] ; odd\n    URL = bbtoken::ws/repo # here\n\n[Alias]\r\n\tst = \"status \\\n -s\"";
        fs::write(&config, odd).expect("it can be written");
        world.git(["fetch", "-q", "origin"]).within(&tree).ok();
        let expected = "# a comment\n[remote \"origin\"] ; odd\n    URL = bbtoken::ws/repo # here\n\n\
             \x20   lfsurl = https://bbtoken@HOST/ws/repo.git/info/lfs\n[Alias]\r\n\tst = \"status \\\n -s\"\n\
             [lfs \"https://HOST/\"]\n\taccess = basic\n\
             [credential \"https://HOST/ws/repo.git/info/lfs\"]\n\thelper = \n\thelper = !git bbtoken credential\n\
             \tuseHttpPath = true\n";
        assert_eq!(settings(world, &tree), expected);
        assert!(!tree.join(".git/config.lock").exists());
        let before = fs::metadata(&config).and_then(|metadata| metadata.modified());
        world.git(["fetch", "-q", "origin"]).within(&tree).ok();
        let after = fs::metadata(&config).and_then(|metadata| metadata.modified());
        assert_eq!(
            before.expect("it is there"),
            after.expect("it is there"),
            "nothing was missing any more"
        );
    });
}

#[test]
fn the_first_push_of_a_new_repository_uploads() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world
            .bitbucket
            .create_repository("ws", "repo")
            .expect("it can be made");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        world.git(["lfs", "track", "*.bin"]).within(&tree).ok();
        fs::write(tree.join("a.bin"), content("a.bin")).expect("it can be written");
        world.git(["add", "."]).within(&tree).ok();
        world.git(["commit", "-qm", "one"]).within(&tree).ok();
        world
            .git(["remote", "add", "up", "bbtoken::ws/repo"])
            .within(&tree)
            .ok();
        world
            .git(["push", "-q", "up", "main"])
            .within(&tree)
            .done()
            .expect(0);
        let tree = world.clone("ws/repo", "other");
        assert!(has_content(&tree, "a.bin"));
    });
}

#[test]
fn lfs_settings_are_written_only_if_they_are_needed() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let written = |name: &str, run: Run| {
            run.ok();
            let tree = world.path(name);
            get(world, &tree, "remote.origin.lfsurl")
        };
        let clone = |name: &str| world.git(["clone", "-q", "bbtoken::ws/repo", name]);
        // Without git-lfs.
        let programs = world.path("bin");
        fs::create_dir(&programs).expect("the world can be written");
        let link = programs.join("git");
        std::os::unix::fs::symlink(&world.git.program, link).expect("the directory is empty");
        let ours = helper().parent().map(Path::to_owned);
        let path = std::env::join_paths(ours.into_iter().chain([programs])).expect("no colon");
        assert_eq!(written("without", clone("without").env("PATH", &path)), "");
        let user = world.home().join(".gitconfig");
        let before = fs::read_to_string(&user).expect("the user has one");
        for (name, key, value) in [
            ("off", "bbtoken.lfs", "false"),
            ("elsewhere", "lfs.url", "https://lfs.example.org/"),
        ] {
            world.git(["config", "--global", key, value]).ok();
            assert_eq!(written(name, clone(name)), "", "{key}");
            fs::write(&user, &before).expect("it can be written");
        }
        // An address is no remote.
        world.git(["init", "-q", "anonymous"]).ok();
        let tree = world.path("anonymous");
        let config = fs::read(tree.join(".git/config")).expect("it is there");
        for arguments in [
            ["fetch", "-q", "bbtoken::ws/repo"],
            ["ls-remote", "-q", "bbtoken::ws/repo"],
        ] {
            world.git(arguments).within(&tree).ok();
        }
        assert_eq!(
            fs::read(tree.join(".git/config")).expect("it is there"),
            config
        );
        // The user's own address stays, for every remote.
        let own = "https://lfs.example.org/mine";
        let clone = clone("own").args(["-c", &format!("remote.origin.lfsurl={own}")]);
        assert_eq!(written("own", clone), own);
        let lines = settings(world, &world.path("own"));
        assert!(!lines.contains("credential"), "{lines}");
    });
}

#[test]
fn the_address_follows_the_remote() {
    needs!("git-lfs");
    on_every_git(|world| {
        for name in ["repo", "fork"] {
            world.repository("ws", name);
        }
        let tree = world.clone("ws/repo", "tree");
        let run = |arguments: &[&str]| world.git(arguments).within(&tree).ok();
        run(&["remote", "rename", "origin", "up"]);
        assert_eq!(get(world, &tree, "remote.up.lfsurl"), ENDPOINT);
        run(&["remote", "set-url", "up", "bbtoken::ws/fork"]);
        run(&["fetch", "-q", "up"]);
        let fork = ENDPOINT.replace("repo", "fork");
        assert_eq!(get(world, &tree, "remote.up.lfsurl"), fork);
        run(&["remote", "set-url", "up", "bbtoken::ws/repo"]);
        run(&["remote", "set-url", "--push", "up", "bbtoken::ws/fork"]);
        run(&["push", "-q", "up", "HEAD:refs/heads/news"]);
        assert_eq!(get(world, &tree, "remote.up.lfsurl"), ENDPOINT);
        assert_eq!(get(world, &tree, "remote.up.lfspushurl"), fork);
        // Objects for somebody else's server are not sent to Bitbucket.
        world.git(["init", "-q", "mixed"]).ok();
        let tree = world.path("mixed");
        let run = |arguments: &[&str]| world.git(arguments).within(&tree).ok();
        run(&["remote", "add", "origin", "bbtoken::ws/repo"]);
        run(&["config", "remote.origin.pushurl", "https://example.org/x"]);
        run(&["fetch", "-q", "origin"]);
        assert_eq!(get(world, &tree, "remote.origin.lfsurl"), "");
    });
}

#[test]
fn bare_repositories_work_trees_and_linked_configurations_are_served() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin"]);
        world
            .git(["clone", "-q", "--mirror", "bbtoken::ws/repo", "bare.git"])
            .ok();
        let bare = world.path("bare.git");
        world.git(["lfs", "fetch", "--all"]).within(&bare).ok();
        assert_eq!(
            world.git(["lfs", "fsck"]).within(&bare).ok(),
            "Git LFS fsck OK\n"
        );

        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        let (config, linked) = (tree.join(".git/config"), world.path("linked"));
        fs::rename(&config, &linked).expect("it is there");
        std::os::unix::fs::symlink(&linked, &config).expect("it was moved");
        world
            .git(["remote", "add", "origin", "bbtoken::ws/repo"])
            .within(&tree)
            .ok();
        world.git(["lfs", "track", "*.bin"]).within(&tree).ok();
        world.commit(
            &tree,
            ".gitattributes",
            fs::read(tree.join(".gitattributes")).expect("it was just written"),
        );
        let other = world.path("worktree");
        world
            .git(["worktree", "add", "-q", "--detach"])
            .arg(&other)
            .within(&tree)
            .ok();
        world.git(["fetch", "-q"]).within(&other).ok();
        assert_eq!(get(world, &tree, "remote.origin.lfsurl"), ENDPOINT);
        assert!(config.is_symlink(), "the link is followed, as git does");
        world
            .git(["checkout", "-q", "origin/main"])
            .within(&other)
            .ok();
        assert!(has_content(&other, "a.bin"));
    });
}

#[test]
fn files_that_were_left_out_come_later() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin"]);
        world.git(["lfs", "uninstall", "--skip-repo"]).ok();
        // Git-lfs is there, but the user has not run `git lfs install`.
        let tree = world.clone("ws/repo", "pointers");
        let pointer = fs::read_to_string(tree.join("a.bin")).expect("it is text");
        assert!(pointer.starts_with("version https://git-lfs"), "{pointer}");
        install(world);
        world.git(["lfs", "pull"]).within(&tree).ok();
        assert!(has_content(&tree, "a.bin"));

        world
            .git(["clone", "-q", "bbtoken::ws/repo", "skipped"])
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .ok();
        let tree = world.path("skipped");
        assert!(!has_content(&tree, "a.bin"));
        world.git(["lfs", "pull"]).within(&tree).ok();
        assert!(has_content(&tree, "a.bin"));
    });
}

#[test]
fn a_clone_reports_a_configuration_that_cannot_be_written_and_a_fetch_does_not_wait() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.repository("ws", "repo");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        world
            .git(["remote", "add", "origin", "bbtoken::ws/repo"])
            .within(&tree)
            .ok();
        let lock = tree.join(".git/config.lock");
        fs::write(&lock, "").expect("the directory can be written");
        let fetch = || world.git(["fetch", "-q", "origin"]).within(&tree).done();
        let done = fetch().expect(0);
        done.says(&[
            "warning: cannot configure git-lfs for remote 'origin': cannot lock '.git/config'",
        ]);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("it can be written");
        for _ in 0..2 {
            fetch().expect(0).quiet();
        }
        assert!(lock.exists(), "a lock of another process stays");
        fs::remove_file(&lock).expect("it is still there");
        world
            .git(["fetch", "-q", "origin"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(get(world, &tree, "remote.origin.lfsurl"), ENDPOINT);
    });
}

#[test]
fn a_fetch_writes_only_to_a_repository_that_uses_lfs() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.repository("ws", "repo");
        let tree = world.path("tree");
        let fetch = || world.git(["fetch", "-q", "origin"]).within(&tree).done();
        let config = tree.join(".git/config");
        // (what shows that it uses LFS, what is in it)
        let signs = [
            (
                ".gitattributes",
                "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ),
            (".git/info/attributes", "*.bin filter=lfs\n"),
            (".git/lfs/x", ""),
        ];
        for (file, text) in signs {
            world.git(["init", "-q", "tree"]).ok();
            world.commit(&tree, "file", file);
            let add = ["remote", "add", "origin", "bbtoken::ws/repo"];
            world.git(add).within(&tree).ok();
            fs::write(tree.join(".gitattributes"), "*.txt text\n").expect("it can be written");
            let before = fs::read(&config).expect("it is there");
            fetch().expect(0).quiet();
            assert_eq!(fs::read(&config).expect("it is there"), before);
            let sign = tree.join(file);
            fs::create_dir_all(sign.parent().expect("it has one")).expect("it can be made");
            fs::write(sign, text).expect("it can be written");
            fetch().expect(0).quiet();
            assert_eq!(
                get(world, &tree, "remote.origin.lfsurl"),
                ENDPOINT,
                "{file}"
            );
            fs::remove_dir_all(&tree).expect("it is the test's");
        }
    });
}

#[test]
fn setup_tells_git_lfs_about_the_repository_it_is_run_in() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.repository("ws", "repo");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        world.commit(&tree, "file", "one");
        let add = ["remote", "add", "origin", "bbtoken::ws/repo"];
        world.git(add).within(&tree).ok();
        let config = fs::read(tree.join(".git/config")).expect("it is there");
        let setup = |arguments: &[&str]| {
            let run = world.bbtoken(["setup"]).args(arguments).within(&tree);
            run.ok()
        };
        let line = format!(
            "+ remote.origin.lfsurl = {}/info/lfs\n",
            world
                .bitbucket
                .repository_url("ws", "repo")
                .replace("://", "://bbtoken@")
        );
        let shown = setup(&["--dry-run"]);
        assert!(shown.contains(&line), "{shown}");
        let now = fs::read(tree.join(".git/config")).expect("it is there");
        assert_eq!(now, config, "a dry run writes nothing");
        assert!(setup(&["--yes"]).contains(&line));
        assert_eq!(get(world, &tree, "remote.origin.lfsurl"), ENDPOINT);
        assert!(
            !settings(world, &tree).contains("credential"),
            "git's own are enough"
        );
        assert_eq!(
            setup(&["--yes"]),
            "Git is set up already; nothing to change.\n"
        );
    });
}

#[test]
fn locks_are_made_seen_and_given_back() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        let tree = repository(world, "ws", "repo", &["a.bin"]);
        let lfs = |arguments: &[&str]| world.git(["lfs"]).args(arguments).within(&tree);
        assert_eq!(lfs(&["lock", "a.bin"]).ok(), "Locked a.bin\n");
        let shown = lfs(&["locks"]).ok();
        let owner = match world.is_data_center() {
            true => format!("service-account-{}", world.consumer.key),
            false => "x-token-auth".to_owned(),
        };
        let expected = format!("a.bin\t{owner}\tID:");
        assert!(shown.starts_with(&expected), "{shown}");
        lfs(&["lock", "a.bin"])
            .fails(2)
            .says(&["already created lock"]);
        world.commit(&tree, "a.bin", "changed");
        world.git(["push", "-q"]).within(&tree).done().expect(0);
        assert_eq!(lfs(&["unlock", "a.bin"]).ok(), "Unlocked a.bin\n");
        assert_eq!(lfs(&["locks"]).ok(), "");
        lfs(&["prune", "--verify-remote"]).ok();
    });
}

/// How large the large file is.
fn large_bytes() -> usize {
    let given = std::env::var("BBTOKEN_TEST_LFS_BYTES").ok();
    given.map_or(LARGE_BYTES, |text| text.parse().expect("it is a number"))
}

/// Runs a command with a terminal that gives no input; holds a request in its middle until the token has ended.
fn with_a_token_that_ends(world: &World, run: Run, held: Rule) {
    world.bitbucket.clear_requests();
    world.bitbucket.script(held);
    // Eight transfers meet the end of the token at once. The user name beside it is no account that could be locked.
    world
        .bitbucket
        .change_settings(|settings| settings.data_center.captcha_after = None);
    let mut command = run.into_command();
    let done = thread::scope(|scope| {
        let running = scope.spawn(move || command.output().expect("it starts"));
        // The rule is gone as soon as the request is held.
        let is_held = |_: &[_]| world.bitbucket.rules_left() == 0;
        world.bitbucket.wait_for(is_held).expect("it comes so far");
        world.bitbucket.advance_clock(TOKEN_LIFE);
        world.bitbucket.release();
        running.join().expect("it ran")
    });
    // On a busy machine, git-lfs' processes wait long enough for each other's token to say so.
    let waits = "warning: waiting for another process, which is getting a token";
    let shown = String::from_utf8_lossy(&done.stdout).replace(waits, "");
    assert!(done.status.success(), "{shown}");
    for word in ["Username", "Password", "error", "warning"] {
        assert!(!shown.contains(word), "'{word}' in {shown}");
    }
    let refused = world.bitbucket.lfs_requests();
    let refused = refused.iter().filter(|request| request.status == Some(401));
    assert!(refused.count() > 0, "the token has ended on the way");
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

/// Lets a command run on a terminal of its own.
fn on_a_terminal(world: &World, within: &Path, line: &str) -> Run {
    world
        .run(Path::new("/usr/bin/script"), ["-qec", line, "/dev/null"])
        .within(within)
        .without("GIT_TERMINAL_PROMPT")
        .env("SHELL", "/bin/sh")
}

#[test]
fn a_token_that_ends_in_the_middle_is_replaced() {
    needs!("git-lfs", "script");
    on_every_git(|world| {
        install(world);
        world.bbtoken(["setup", "--yes"]).ok();
        world
            .bitbucket
            .create_repository("ws", "repo")
            .expect("it can be made");
        let tree = world.clone("ws/repo", "tree");
        world.git(["lfs", "track", "*.bin"]).within(&tree).ok();
        for number in 0..100 {
            let name = format!("{number}.bin");
            fs::write(tree.join(&name), content(&name)).expect("it can be written");
        }
        let large = noise(large_bytes());
        fs::write(tree.join("large.bin"), &large).expect("it can be written");
        world.git(["add", "."]).within(&tree).ok();
        world.git(["commit", "-qm", "files"]).within(&tree).ok();

        let half_way = |method: &str| {
            Rule::new(Action::Hold)
                .kind(Kind::Lfs)
                .method(method)
                .path("/storage/")
                .skip(50)
        };
        let push = on_a_terminal(world, &tree, "git push origin main");
        with_a_token_that_ends(world, push, half_way("PUT"));
        let clone = on_a_terminal(world, &world.path(""), "git clone bbtoken::ws/repo other");
        with_a_token_that_ends(world, clone, half_way("GET"));
        let other = world.path("other");
        assert!((0..100).all(|number| has_content(&other, &format!("{number}.bin"))));
        assert!(fs::read(other.join("large.bin")).is_ok_and(|there| there == large));
    });
}

#[test]
fn a_large_download_that_is_cut_goes_on_with_a_new_token() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.bbtoken(["setup", "--yes"]).ok();
        let tree = repository(world, "ws", "repo", &[]);
        let large = noise(large_bytes());
        world.commit(&tree, "large.bin", &large);
        world.git(["push", "-q"]).within(&tree).done().expect(0);
        for links in [LfsLinks::Plain, LfsLinks::Header, LfsLinks::Signed] {
            world.bitbucket.set_lfs_links(links);
            world.bitbucket.clear_requests();
            let half = u64::try_from(large.len() / 2).expect("because it is small");
            let cut = Rule::new(Action::CutAfter(half)).kind(Kind::Lfs);
            world.bitbucket.script(cut.method("GET").path("/storage/"));
            let name = format!("{links:?}");
            world.git(["clone", "-q", "bbtoken::ws/repo", &name]).ok();
            let there = fs::read(world.path(&name).join("large.bin"));
            assert!(there.is_ok_and(|there| there == large), "{name}");
            assert_eq!(world.bitbucket.rules_left(), 0);
        }
    });
}

#[test]
fn two_accounts_use_the_repositories_of_each() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin"]);
        let reader = world.bitbucket.issue_access_token(&["repository"]);
        let writer = world.bitbucket.issue_access_token(&["repository:write"]);
        for (name, token) in [("reader", &reader), ("writer", &writer)] {
            let file = world.path(name);
            fs::write(&file, token).expect("the world can be written");
            let command = format!("cat {}", file.display());
            for (key, value) in [("grant", "token"), ("accessTokenCommand", &command)] {
                let key = format!("bbtoken.{name}.{key}");
                world.git(["config", "--global", &key, value]).ok();
            }
        }
        world
            .git(["config", "--global", "bbtoken.reader.pushProfile", "writer"])
            .ok();
        world
            .git(["clone", "-q", "bbtoken::reader@ws/repo", "tree"])
            .without_client()
            .ok();
        let tree = world.path("tree");
        assert!(has_content(&tree, "a.bin"));
        let address = |user: &str| ENDPOINT.replace("bbtoken@", &format!("bbtoken+{user}@"));
        assert_eq!(get(world, &tree, "remote.origin.lfsurl"), address("reader"));
        assert_eq!(
            get(world, &tree, "remote.origin.lfspushurl"),
            address("writer")
        );
        world.commit(&tree, "b.bin", content("b.bin"));
        world
            .git(["push", "-q"])
            .within(&tree)
            .without_client()
            .done()
            .expect(0);
        let refused = world.bitbucket.lfs_requests();
        assert!(refused.iter().all(|request| request.status != Some(403)));
    });
}

#[test]
fn a_dead_token_is_dropped_for_the_profile_it_belongs_to() {
    needs!("git-lfs");
    let world = World::new(gits().remove(0));
    install(&world);
    repository(&world, "ws", "repo", &["a.bin", "b.bin"]);
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("the world can be written");
    let command = format!("cat {}", secret.display());
    for name in ["one", "two"] {
        for (key, value) in [
            ("clientId", world.consumer.key.as_str()),
            ("clientSecretCommand", &command),
            ("account", name),
        ] {
            let key = format!("bbtoken.{name}.{key}");
            world.git(["config", "--global", &key, value]).ok();
        }
    }
    world
        .git(["config", "--global", "bbtoken.profile", "one"])
        .ok();
    world
        .git(["clone", "-q", "bbtoken::two@ws/repo", "tree"])
        .without_client()
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .ok();
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.clear_requests();
    let tree = world.path("tree");
    let pull = world.git(["lfs", "pull"]).within(&tree).without_client();
    pull.ok();
    assert!(has_content(&tree, "a.bin"));
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn plain_https_with_setup_brings_lfs_files() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin"]);
        world.bbtoken(["setup", "--yes"]).ok();
        let url = world.bitbucket.repository_url("ws", "repo");
        let vcs = ["-c", "remote.origin.vcs=bbtoken"];
        for (name, more) in [("plain", [].as_slice()), ("vcs", &vcs)] {
            world
                .git(["clone", "-q"])
                .args(more)
                .args([&url, name])
                .done()
                .expect(0)
                .quiet();
            assert!(has_content(&world.path(name), "a.bin"), "{name}");
        }
    });
}
