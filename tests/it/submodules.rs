//! Submodules: relative addresses, absolute ones taken over by `insteadOf`, many at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    lfs,
    needs::needs,
    support::{Run, World, on_every_git},
};

/// Lets git start our helper for what `.gitmodules` names.
pub(crate) const ALLOWED: [&str; 2] = ["-c", "protocol.bbtoken.allow=always"];

/// Pushes an application whose submodules are written as told.
fn application(world: &World, modules: &[(&str, &str)]) {
    superproject(world, "app", modules);
}

/// Pushes a new repository whose submodules are written as told; gives the work tree that has pushed it.
pub(crate) fn superproject(world: &World, name: &str, modules: &[(&str, &str)]) -> PathBuf {
    world
        .bitbucket
        .create_repository("ws", name)
        .expect("it can be made");
    let tree = world.path(&format!("{name}-seed"));
    world.git(["init", "-q"]).arg(&tree).ok();
    for (path, url) in modules {
        for (key, value) in [("path", *path), ("url", *url)] {
            world
                .git(["config", "-f", ".gitmodules"])
                .args([&format!("submodule.{path}.{key}"), value])
                .within(&tree)
                .ok();
        }
    }
    fs::write(tree.join("file"), "one\n").expect("the work tree can be written");
    world.git(["add", "file", ".gitmodules"]).within(&tree).ok();
    let paths: Vec<_> = modules.iter().map(|(path, _)| *path).collect();
    record(world, name, &paths);
    tree
}

/// Pushes a superproject that has each submodule where its `main` is on the server.
pub(crate) fn record(world: &World, name: &str, modules: &[&str]) {
    let tree = world.path(&format!("{name}-seed"));
    for path in modules {
        let bare = world.bitbucket.repository_path(workspace(path), path);
        let id = world.rev(&bare, "main");
        world
            .git(["update-index", "--add", "--cacheinfo"])
            .arg(format!("160000,{id},{path}"))
            .within(&tree)
            .ok();
    }
    world
        .git(["commit", "-q", "-m", "modules"])
        .within(&tree)
        .ok();
    world
        .git(["push", "-q", &format!("bbtoken::ws/{name}"), "main"])
        .within(&tree)
        .ok();
}

fn workspace(repository: &str) -> &str {
    if repository == "other" { "ws2" } else { "ws" }
}

/// Expects a superproject with all its submodules, also those of submodules, at their commits.
pub(crate) fn are_there(world: &World, tree: &Path, modules: &[&str]) {
    for module in modules {
        assert_eq!(
            fs::read_to_string(tree.join(module).join("file"))
                .ok()
                .as_deref(),
            Some("one\n"),
            "{module}"
        );
    }
    let status = world
        .git(["submodule", "status", "--recursive"])
        .within(tree)
        .ok();
    assert_eq!(status.lines().count(), modules.len());
    assert!(
        status.lines().all(|line| line.starts_with(' ')),
        "each is at its commit: {status}"
    );
}

#[test]
fn submodules_with_relative_addresses_come_with_the_clone() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        world.repository("ws2", "other");
        application(
            world,
            &[("lib", "../lib"), ("other", "../../ws2/other.git")],
        );
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "bbtoken::ws/app",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        are_there(world, &tree, &["lib", "other"]);
        let url = world
            .git(["config", "submodule.lib.url"])
            .within(&tree)
            .ok();
        assert_eq!(url.trim_end(), "bbtoken::ws/lib");

        // Once cloned, they are fetched under git's default policy.
        let bare = world.bitbucket.repository_path("ws", "lib");
        world.git(["branch", "news", "main"]).within(&bare).ok();
        world
            .git(["fetch", "-q", "--recurse-submodules=yes"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            world.rev(&tree.join("lib"), "origin/news"),
            world.rev(&bare, "main")
        );
        world.commit(&tree.join("lib"), "file", "two\n");
        world
            .git(["push", "-q", "origin", "HEAD:main"])
            .within(tree.join("lib"))
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn a_submodule_is_not_cloned_without_leave() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        application(world, &[("lib", "../lib")]);
        let command = "git config --global protocol.bbtoken.allow always";
        let export = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.bbtoken.allow GIT_CONFIG_VALUE_0=always";
        let fix = format!("'{command}', or in a CI job '{export}'");
        let clone = |name: &str| {
            world
                .git(["clone", "-q", "--recurse-submodules"])
                .args(["bbtoken::ws/app", name])
        };
        let refused = clone("tree").done();
        assert_ne!(refused.code, Some(0));
        refused.says(&["fatal: transport 'bbtoken' not allowed"]);
        let told: Vec<_> = refused
            .stderr
            .lines()
            .filter(|line| line.contains("warning"))
            .collect();
        let of_clone = format!(
            "warning: if this repository has submodules with bbtoken:: or relative addresses, git refuses to clone them until you run {fix}"
        );
        assert_eq!(told, [of_clone], "the helper adds one warning to git's");
        let counted = clone("counted")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "core.x")
            .env("GIT_CONFIG_VALUE_0", "y");
        counted.done().says(&["'export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_1=protocol.bbtoken.allow GIT_CONFIG_VALUE_1=always'\n"]);

        // What is missing is named again by the next fetch.
        let tree = world.path("tree");
        let fetch = || world.git(["fetch", "-q"]).within(&tree).done().expect(0);
        let of_fetch = format!(
            "warning: submodule 'lib' is missing: git refuses to clone it from a bbtoken:: address until you run {fix}; \
             then run 'git submodule update'\n"
        );
        assert_eq!(fetch().stderr, of_fetch);
        let places = world.path("places");
        let homeless = |run: Run| run.without("HOME").env("BBTOKEN_HOME", &places);
        let clone_in_job =
            format!("{export} && git clone -q --recurse-submodules bbtoken::ws/app job");
        for (home, name) in [(true, "job"), (false, "homeless")] {
            let script = clone_in_job.replace(" job", &format!(" {name}"));
            let run = world.run(Path::new("sh"), ["-c", &script]);
            let run = if home { run } else { homeless(run) };
            run.done().expect(0);
            are_there(world, &world.path(name), &["lib"]);
        }
        let refused = homeless(clone("lost")).done();
        assert_ne!(refused.code, Some(0));
        refused.says(&["until you run '", export]);
        assert!(!refused.stderr.contains("--global"), "{}", refused.stderr);
        world.run(Path::new("sh"), ["-c", command]).ok();
        fetch().quiet();
        world
            .git(["submodule", "update", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        are_there(world, &tree, &["lib"]);
        clone("other").done().expect(0).quiet();
    });
}

#[test]
fn there_is_no_hint_about_submodules_that_git_clones_or_that_are_not_wanted() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        let bare = world.bitbucket.repository_path("ws", "lib");
        let elsewhere = format!("file://{}", bare.display());
        application(world, &[("lib", "../lib")]);
        let clone = |name: &str, options: &[&str]| {
            let clone = world.git(["clone", "-q", "bbtoken::ws/app", name]);
            clone.args(options).done().expect(0).quiet();
            world.path(name)
        };
        let fetches_quietly = |tree: &Path| {
            let fetch = world.git(["fetch", "-q"]).within(tree);
            fetch.done().expect(0).quiet();
        };
        let tree = clone("tree", &[]);
        fetches_quietly(&tree);
        world.git(["submodule", "init", "-q"]).within(&tree).ok();
        let warns = || {
            let fetch = world.git(["fetch", "-q"]).within(&tree).done().expect(0);
            fetch.stderr.contains("submodule 'lib' is missing")
        };
        assert!(warns());
        let (own, user) = (tree.join(".git/config"), world.home().join(".gitconfig"));
        let instead = format!("url.{elsewhere}.insteadOf");
        for (file, key, value, is_left) in [
            (&own, "submodule.lib.url", elsewhere.as_str(), false),
            (&own, "submodule.lib.active", "false", false),
            (&own, "submodule.lib.update", "none", false),
            (&user, "protocol.bbtoken.allow", "always", false),
            (&user, "protocol.allow", "always", false),
            (&user, &instead, "bbtoken::ws/lib", false),
            // A submodule is cloned outside of its superproject.
            (&own, "protocol.bbtoken.allow", "always", true),
            (&own, &instead, "bbtoken::ws/lib", true),
        ] {
            let before = fs::read(file).expect("it is there");
            world
                .git(["config", "-f"])
                .arg(file)
                .args([key, value])
                .ok();
            assert_eq!(warns(), is_left, "{key} in {}", file.display());
            if key == "protocol.bbtoken.allow" {
                let doctor = world.bbtoken(["doctor"]).within(&tree).done();
                let is_found = doctor.stdout.contains("git refuses submodules");
                assert_eq!(is_found, is_left, "{}", doctor.stdout);
            }
            fs::write(file, before).expect("it is there");
        }
        let allowed = world.git(["fetch", "-q"]).within(&tree);
        let allowed = allowed.env("GIT_ALLOW_PROTOCOL", "https:bbtoken:file");
        allowed.done().expect(0).quiet();
        assert!(warns());
        // An address becomes ours by a rule.
        let https = "https://bitbucket.org/ws/lib.git";
        let config = world.git(["config", "submodule.lib.url", https]);
        config.within(&tree).ok();
        assert!(!warns());
        let rule = ["url.bbtoken::.insteadOf", "https://bitbucket.org/"];
        world.git(["config", "--global"]).args(rule).ok();
        assert!(warns());
        // Git was let do it once.
        let submodule = world.git(ALLOWED).args(["submodule", "update", "-q"]);
        submodule.within(&tree).ok();
        assert!(!warns());
    });
}

#[test]
fn submodules_with_https_addresses_are_taken_over_by_insteadof() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        application(world, &[("lib", "https://bitbucket.org/ws/lib.git")]);
        world
            .git([
                "config",
                "--global",
                "url.bbtoken::.insteadOf",
                "https://bitbucket.org/",
            ])
            .ok();
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "https://bitbucket.org/ws/app.git",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        are_there(world, &world.path("tree"), &["lib"]);
    });
}

#[test]
fn eight_submodules_are_cloned_at_once_with_one_token() {
    on_every_git(|world| {
        let names: Vec<String> = (0..8).map(|number| format!("lib{number}")).collect();
        for name in &names {
            world.repository("ws", name);
        }
        let urls: Vec<String> = names.iter().map(|name| format!("../{name}")).collect();
        let modules: Vec<(&str, &str)> = names
            .iter()
            .map(String::as_str)
            .zip(urls.iter().map(String::as_str))
            .collect();
        application(world, &modules);
        world.bitbucket.clear_requests();
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "--jobs",
                "8",
                "bbtoken::ws/app",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        are_there(world, &world.path("tree"), &names);
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 9)
        );
        assert_eq!(world.git_requests().len(), 3 * 9);
    });
}

/// A user who has done nothing but `git lfs install` and one setup.
fn newcomer(world: &World, run: Run) -> Run {
    run.env("HOME", world.path("newcomer"))
}

fn set_up_newcomer(world: &World, how: &[&str]) {
    fs::create_dir(world.path("newcomer")).expect("it is new");
    let lfs = world.git(["lfs", "install", "--skip-repo"]);
    newcomer(world, lfs).ok();
    // One for this server, and one for the addresses of Bitbucket, which are led here.
    let setup = || newcomer(world, world.bbtoken(["setup", "--yes"]).args(how));
    setup().ok();
    setup().without("BBTOKEN_BASE_URL").ok();
}

/// Clones a superproject with one command, and pulls into it after the token was revoked. Counts are those of git, with
/// one request more for each submodule that git's own https fetches: it sends no token before it was refused.
fn everything_comes(world: &World, superproject: &str, modules: &[(&str, &str)], by_https: usize) {
    let names: Vec<_> = modules.iter().map(|(name, _)| *name).collect();
    lfs::install(world);
    let with_files = ["relative", "https"];
    for name in &names {
        if with_files.contains(name) {
            lfs::repository(world, "ws", name, &["a.bin", "b.bin"]);
        } else {
            world.repository(workspace(name), name);
        }
    }
    application(world, modules);
    let has = |file: &str| {
        let path = |name: &&str| world.path("tree").join(name).join(file);
        let there = |name| fs::read(path(name)).ok().as_deref() == Some(&lfs::content(file)[..]);
        with_files.iter().all(there)
    };

    world.bitbucket.clear_requests();
    let clone = world.git(["clone", "-q", "--recurse-submodules", superproject, "tree"]);
    newcomer(world, clone).done().expect(0).quiet();
    are_there(world, &world.path("tree"), &names);
    assert!(has("a.bin") && has("b.bin"));
    assert_eq!(world.bitbucket.token_requests().len(), 1);
    let all = 1 + names.len();
    assert_eq!(world.git_requests().len(), 3 * all + by_https);
    let lfs = world.bitbucket.lfs_requests();
    assert_eq!(lfs.len(), 2 * 3, "a batch and two files");

    for name in with_files {
        let seed = world.path(&format!("lfs-{name}"));
        world.commit(&seed, "c.bin", lfs::content("c.bin"));
        world.git(["push", "-q"]).within(&seed).done().expect(0);
    }
    record(world, "app", &with_files);
    world.bitbucket.revoke_access_tokens();
    let pull = || {
        world.bitbucket.clear_requests();
        let pull = world.git(["pull", "-q", "--recurse-submodules"]);
        let pull = newcomer(world, pull).within(world.path("tree"));
        pull.done().expect(0).quiet();
        let requests = world.bitbucket.git_requests();
        let refused = requests.iter().filter(|it| it.status == Some(401)).count();
        (refused, requests.len() - refused)
    };
    let news = 1 + with_files.len();
    assert_eq!(
        pull(),
        (1 + by_https, 2 * all + news),
        "one finds out for all"
    );
    are_there(world, &world.path("tree"), &names);
    assert!(has("c.bin"));
    assert_eq!(world.bitbucket.token_requests().len(), 1);
    let lfs = world.bitbucket.lfs_requests();
    assert_eq!(lfs.len(), 2 * 2, "a batch and the new file");
    assert!(lfs.iter().all(|request| request.status == Some(200)));

    // With nothing new, and what the servers are like remembered.
    assert_eq!(pull(), (by_https, all + by_https));
    let others = [
        world.bitbucket.token_requests(),
        world.bitbucket.lfs_requests(),
    ];
    assert_eq!(others.map(|requests| requests.len()), [0, 0]);
}

#[test]
fn one_command_clones_a_superproject_of_every_sort_and_pulls_after_the_token_ended() {
    needs!("git-lfs");
    let modules = [
        ("relative", "../relative.git"),
        ("https", "https://bitbucket.org/ws/https.git"),
        ("ssh", "git@bitbucket.org:ws/ssh.git"),
        ("other", "../../ws2/other.git"),
    ];
    for superproject in ["bbtoken::ws/app", "https://bitbucket.org/ws/app.git"] {
        on_every_git(|world| {
            set_up_newcomer(world, &["--everywhere"]);
            everything_comes(world, superproject, &modules, 0);
        });
    }
}

#[test]
fn without_rewriting_https_submodules_get_the_same_token_from_the_credential_helper() {
    needs!("git-lfs");
    on_every_git(|world| {
        set_up_newcomer(world, &[]);
        let https = world.bitbucket.repository_url("ws", "https");
        let modules = [
            ("relative", "../relative.git"),
            ("https", https.as_str()),
            ("other", "../../ws2/other.git"),
        ];
        everything_comes(world, "bbtoken::ws/app", &modules, 1);
    });
}
