//! `remote convert` for a team and for many clones: committed files, and every repository below a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[cfg(unix)]
use crate::needs::{ROOT, needs};
use crate::{
    submodules::superproject,
    support::{Run, World, on_every_git},
};

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

/// Runs git on a machine without our programs, with a token that another tool got.
fn colleague(world: &World, token: &str) -> Run {
    let git = world.git.program.parent().expect("it has one").to_owned();
    let path = std::env::join_paths([git, "/usr/bin".into()]).expect("no colons");
    let run = world.git(["-c", &world.with_header(token)]);
    run.env("PATH", path).env("HOME", world.path("colleague"))
}

#[test]
fn a_committed_gitmodules_is_changed_only_with_submodules_and_colleagues_are_thought_of() {
    on_every_git(|world| {
        let base = world.bitbucket.base_url();
        world.bbtoken(["setup", "--yes"]).ok();
        world.repository("ws", "lib");
        superproject(world, "app", &[("lib", &format!("{base}/ws/lib.git"))]);
        let clone = ["clone", "-q", "--recurse-submodules", "bbtoken::ws/app"];
        world.git(clone).arg("tree").ok();
        let tree = world.path("tree");
        let modules = tree.join(".gitmodules");
        let committed = read(&modules);
        let convert = |arguments: &[&str]| {
            let run = world.bbtoken(["remote", "convert", "--yes"]);
            run.args(arguments.iter().copied()).within(&tree)
        };
        let done = convert(&[]).done().expect(0);
        done.says(&["/.gitmodules' keeps its addresses, ", "--submodules"]);
        assert_eq!(read(&modules), committed, "what others get is not changed");
        for config in [".git/config", ".git/modules/lib/config"] {
            let text = read(&tree.join(config));
            assert!(text.contains("url = bbtoken::ws/lib\n"), "{config}: {text}");
        }
        let fetch = ["fetch", "-q", "--recurse-submodules"];
        world.git(fetch).within(&tree).done().expect(0).quiet();

        let done = convert(&["--submodules"]).done().expect(0);
        done.says(&["Commit '.gitmodules'", "convert --back --submodules"]);
        assert!(read(&modules).contains("url = bbtoken::ws/lib\n"));
        world.git(["commit", "-qam", "ours"]).within(&tree).ok();
        let bare = world.bitbucket.repository_path("ws", "app");
        world.publish(&bare, &tree);

        let token = world.bbtoken(["token"]).ok();
        let clone = |place: &str| {
            let run = colleague(world, token.trim_end());
            let run = run.args(["clone", "-q", "--recurse-submodules"]);
            run.arg(format!("{base}/ws/app.git")).arg(world.path(place))
        };
        let refused = clone("refused").done();
        assert_ne!(refused.code, Some(0));
        let quoted = "transport 'bbtoken' not allowed";
        refused.says(&[quoted]);
        done.says(&[quoted]);
        let rule = done.stderr.lines().find(|line| line.contains("insteadOf"));
        let words = rule.expect("it is named").trim().split(' ').skip(1);
        fs::create_dir(world.path("colleague")).expect("it is new");
        colleague(world, "").args(words).ok();
        clone("helped").ok();
        assert!(world.path("helped/lib/file").exists());

        convert(&["--back", "--submodules"]).ok();
        assert_eq!(read(&modules), committed);
    });
}

/// A directory with clones of many kinds.
struct Clones<'w> {
    world: &'w World,
    root: PathBuf,
}

impl Clones<'_> {
    fn init(&self, path: &str, url: &str, options: &[&str]) {
        let place = self.root.join(path);
        let git = self.world.git(["init", "-q"]);
        git.args(options.iter().copied()).arg(&place).ok();
        let remote = ["remote", "add", "origin", url];
        self.world.git(remote).within(&place).ok();
    }

    fn url(&self, path: &str) -> String {
        let get = ["-c", "safe.directory=*", "config", "remote.origin.url"];
        let git = self.world.git(get).within(self.root.join(path));
        git.ok().trim_end().to_owned()
    }

    fn convert(&self, arguments: &[&str]) -> Run {
        let run = self.world.bbtoken(["remote", "convert", "--below"]);
        let run = run.arg(&self.root).args(arguments.iter().copied());
        run.without("BBTOKEN_BASE_URL")
    }
}

const URL: &str = "https://joe@bitbucket.org/ws/repo.git";
const OURS: &str = "bbtoken::ws/repo";

fn clones(world: &World) -> Clones<'_> {
    let root = world.path("src");
    let clones = Clones { world, root };
    clones.init("a", URL, &[]);
    let commit = ["commit", "-q", "--allow-empty", "-m", "one"];
    let a = clones.root.join("a");
    world.git(commit).within(&a).ok();
    let linked = ["worktree", "add", "-q", "--detach", "../0-linked"];
    world.git(linked).within(&a).ok();
    clones.init("a/vendor/nested", URL, &[]);
    clones.init("deep/er/bare.git", URL, &["--bare"]);
    clones.init("password", &URL.replace("joe", "x-token-auth:canary"), &[]);
    clones.init("elsewhere", "https://example.org/ws/repo", &[]);
    clones.init("../outside", URL, &[]);
    clones
}

const CHANGED: [&str; 5] = [
    "a",
    "0-linked",
    "a/vendor/nested",
    "deep/er/bare.git",
    "password",
];

#[test]
fn every_repository_below_a_directory_is_converted_and_back() {
    on_every_git(|world| {
        let clones = clones(world);
        #[cfg(unix)]
        std::os::unix::fs::symlink(world.path("outside"), clones.root.join("link"))
            .expect("links can be made");
        let shown = clones.convert(&["--dry-run"]).done().expect(0);
        assert_eq!(shown.stderr, "Nothing was written.\n");
        assert!(!shown.stdout.contains("canary"), "{}", shown.stdout);
        assert_eq!(
            shown.stdout.matches("revoke it at Bitbucket").count(),
            1,
            "only the address with a password is a secret that others may have seen: {}",
            shown.stdout
        );
        assert_eq!(
            shown.stdout.matches("configuration of '").count(),
            CHANGED.len() - 1,
            "a linked work tree has no configuration of its own: {}",
            shown.stdout
        );
        assert_eq!(clones.url("a"), URL, "a dry run writes nothing");
        clones.convert(&[]).fails(2).says(&["give --yes"]);
        let done = clones.convert(&["--yes"]).done().expect(0).quiet();
        assert!(
            done.stdout.ends_with("Repositories changed: 4 of 4.\n"),
            "{}",
            done.stdout
        );
        for path in CHANGED {
            assert_eq!(clones.url(path), OURS, "{path}");
        }
        assert_eq!(clones.url("elsewhere"), "https://example.org/ws/repo");
        assert_eq!(clones.url("../outside"), URL, "no link is followed");
        let again = clones.convert(&["--yes"]).ok();
        assert_eq!(again, "No address needs to change.\n");
        clones.convert(&["--back", "--yes"]).ok();
        for path in CHANGED {
            assert_eq!(clones.url(path), "https://bitbucket.org/ws/repo.git");
        }
    });
}

#[test]
fn a_repository_that_cannot_be_changed_is_named_and_the_others_are_changed() {
    on_every_git(|world| {
        let clones = clones(world);
        clones.init("locked", URL, &[]);
        fs::write(clones.root.join("locked/.git/config.lock"), "").expect("it is new");
        let outside = world.path("outside");
        let commit = ["commit", "-q", "--allow-empty", "-m", "one"];
        world.git(commit).within(&outside).ok();
        let linked = ["worktree", "add", "-q", "--detach", "../src/linked-away"];
        world.git(linked).within(&outside).ok();
        clones.init("hostile", URL, &[]);
        let away = ["config", "core.worktree", "../../../outside"];
        world.git(away).within(clones.root.join("hostile")).ok();
        let mut failures = vec![
            ("locked", "could not lock config file"),
            ("linked-away", "its configuration is outside of "),
            ("hostile", "core.worktree of this repository names "),
        ];
        #[cfg(unix)]
        {
            clones.init("others", URL, &[]);
            let place = clones.root.join("others");
            // Only root may give a directory away.
            if std::os::unix::fs::chown(&place, Some(65_533), None).is_ok() {
                failures.push((
                    "others",
                    "git does not use this repository: detected dubious ownership",
                ));
            }
        }
        let done = clones.convert(&["--yes"]).fails(1);
        for (path, why) in &failures {
            let place = clones.root.join(path);
            let start = format!("warning: '{}' is not changed: ", place.display());
            let mut lines = done.stderr.lines();
            let named = lines.find(|line| line.starts_with(&start));
            let named = named.unwrap_or_else(|| panic!("{path}: {}", done.stderr));
            assert!(named.contains(why), "{named}");
        }
        let count = format!(
            "error: repositories that are not changed: {}; the warnings above say why",
            failures.len()
        );
        done.says(&[&count]);
        for path in CHANGED {
            assert_eq!(clones.url(path), OURS, "{path}");
        }
        for path in ["locked", "../outside"] {
            assert_eq!(clones.url(path), URL, "{path}");
        }
    });
}

#[test]
fn below_needs_a_directory() {
    let world = World::new(crate::support::gits().remove(0));
    let missing = ["remote", "convert", "--below", "missing", "--yes"];
    world
        .bbtoken(missing)
        .fails(1)
        .says(&["cannot read 'missing'"]);
    let file = ["remote", "convert", "--below", "home/.gitconfig", "--yes"];
    let done = world.bbtoken(file).fails(2);
    assert_eq!(done.stderr, "error: 'home/.gitconfig' is not a directory\n");
}

/// Sets each variable that names the repository here, as git does for its hooks and aliases, to another repository.
fn within_git(world: &World, run: Run, other: &Path) -> Run {
    let local = world.git(["rev-parse", "--local-env-vars"]).ok();
    let value = |name: &str| match name {
        "GIT_CONFIG_PARAMETERS" => "'core.x=y'".into(),
        "GIT_CONFIG_COUNT" => "1".into(),
        _ => other.to_owned(),
    };
    let run = local
        .lines()
        .fold(run, |run, name| run.env(name, value(name)));
    run.env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
}

#[test]
fn variables_that_name_the_repository_here_change_nothing_below_a_directory() {
    on_every_git(|world| {
        let clones = clones(world);
        // These settings hold for every repository.
        let own = world.path("own");
        let text = world.gitconfig() + "[bbtoken \"joe\"]\n\tclientId = x\n";
        fs::write(&own, text).expect("it is new");
        for other in [world.path("outside/.git"), world.path("nowhere")] {
            let run = |arguments: &[&str]| {
                let run = clones.convert(arguments).env("GIT_CONFIG_GLOBAL", &own);
                within_git(world, run, &other).within(world.path("outside"))
            };
            let done = run(&["--yes"]).done().expect(0).quiet();
            assert!(
                done.stdout.ends_with("Repositories changed: 4 of 4.\n"),
                "{}",
                done.stdout
            );
            assert_eq!(clones.url("a"), "bbtoken::joe@ws/repo");
            assert_eq!(clones.url("../outside"), URL);
            run(&["--back", "--yes"]).done().expect(0).quiet();
            assert_eq!(clones.url("a"), URL);
        }
    });
}

#[cfg(unix)]
#[test]
fn a_repository_of_an_unusual_shape_is_converted_or_named() {
    use std::os::unix::fs::symlink;
    on_every_git(|world| {
        let clones = clones(world);
        let at = |path: &str| clones.root.join(path);
        world.repository("ws", "lib");
        superproject(world, "app", &[("lib", "../lib")]);
        let allow = ["config", "--global", "protocol.bbtoken.allow", "always"];
        world.git(allow).ok();
        let clone = ["clone", "-q", "--recurse-submodules", "bbtoken::ws/app"];
        world.git(clone).arg(at("super")).ok();
        for path in ["super", "super/lib"] {
            let set = ["config", "remote.origin.url", URL];
            world.git(set).within(at(path)).ok();
        }
        for path in ["linked-in", "linked-out", "loop", "half", "gone", "spoiled"] {
            fs::create_dir(at(path)).expect("it is new");
        }
        clones.init("z-last", URL, &[]);
        symlink("../z-last/.git", at("linked-in/.git")).expect("links can be made");
        symlink(world.path("outside/.git"), at("linked-out/.git")).expect("links can be made");
        symlink(".git", at("loop/.git")).expect("links can be made");
        symlink(".", at("loop/again")).expect("links can be made");
        fs::create_dir(at("half/.git")).expect("it is new");
        fs::write(at("gone/.git"), "gitdir: ../nowhere\n").expect("it is new");
        fs::remove_dir(at("spoiled")).expect("it is empty");
        clones.init("spoiled", URL, &[]);
        fs::write(at("spoiled/.git/config"), "[core\n").expect("it is ours");
        let done = clones.convert(&["--yes"]).fails(1);
        let expected = [
            (
                "gone",
                "git does not use this repository: not a git repository: ",
            ),
            (
                "half",
                "git does not use this repository: not a git repository",
            ),
            ("linked-out", "its configuration is outside of "),
            ("loop", "git does not use this repository: "),
            (
                "spoiled",
                "git does not use this repository: bad config line 1 ",
            ),
        ];
        let lines: Vec<_> = done.stderr.lines().collect();
        assert_eq!(lines.len(), expected.len() + 1, "{}", done.stderr);
        for ((path, why), line) in expected.iter().zip(&lines) {
            let start = format!("warning: '{}' is not changed: {why}", at(path).display());
            assert!(line.starts_with(&start), "'{start}': {line}");
        }
        for path in CHANGED.iter().chain(&["super", "super/lib", "z-last"]) {
            assert_eq!(clones.url(path), OURS, "{path}");
        }
        assert_eq!(clones.url("../outside"), URL);
        // A repository around the directory is not the one that is named.
        clones.init("", URL, &[]);
        let done = clones.convert(&["--yes"]).fails(1);
        for (path, why) in [
            ("half", "its '.git' is incomplete"),
            // Git 2.55 reports the loop itself.
            ("loop", ""),
        ] {
            let why = format!("git does not use this repository: {why}");
            done.says(&[&format!("'{}' is not changed: {why}", at(path).display())]);
        }
    });
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_read_is_named_and_the_rest_is_converted() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(crate::support::gits().remove(0));
    let clones = clones(&world);
    let closed = clones.root.join("closed");
    fs::create_dir(&closed).expect("it is new");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is the test's");
    };
    set_mode(&closed, 0o000);
    set_mode(&world.path(""), 0o755);
    // Root reads everything.
    let is_root = rustix::process::geteuid().is_root();
    let by = |run: Run| match is_root {
        true => run.by_user(64_004).env("HOME", "/"),
        false => run,
    };
    let version = by(world.bbtoken(["--version"])).into_command().output();
    needs!(version.is_ok_and(|output| output.status.success()) => ROOT);
    // git(1), "safe.directory", is of the user, and may come from a variable.
    let run = by(clones.convert(&["--dry-run"])).within("/");
    let run = run.env("GIT_CONFIG_PARAMETERS", "'safe.directory=*'");
    let done = run.fails(1);
    assert_eq!(
        done.stderr,
        format!(
            "warning: '{}' is not changed: Permission denied (os error 13)\nNothing was written.\n\
             error: repositories that are not changed: 1; the warnings above say why\n",
            closed.display()
        )
    );
    assert_eq!(done.stdout.matches("configuration of '").count(), 4);
    set_mode(&closed, 0o700);
}

#[test]
fn convert_works_where_variables_name_the_repository() {
    on_every_git(|world| {
        // As those do who keep the files of their home in a repository.
        world.git(["init", "-q", "--bare", "dotfiles"]).ok();
        let git_dir = world.path("dotfiles");
        let remote = ["remote", "add", "origin", URL];
        world.git(remote).within(&git_dir).ok();
        let sub = world.home().join("sub");
        fs::create_dir(&sub).expect("it is new");
        let convert = |directory: &Path| {
            let run = world.bbtoken(["remote", "convert", "--yes"]);
            run.without("BBTOKEN_BASE_URL").within(directory)
        };
        let run = convert(&sub).env("GIT_DIR", "../../dotfiles");
        run.env("GIT_WORK_TREE", "..").done().expect(0).quiet();
        let url = |directory: &Path| {
            let url = ["config", "remote.origin.url"];
            world.git(url).within(directory).ok()
        };
        assert_eq!(url(&git_dir), "bbtoken::ws/repo\n");

        let apart = world.path("apart");
        world.git(["init", "-q"]).arg(&apart).ok();
        world.git(remote).within(&apart).ok();
        let run = convert(&apart).env("GIT_WORK_TREE", world.home());
        run.done().expect(0).quiet();
        assert_eq!(url(&apart), "bbtoken::ws/repo\n");
        let run = convert(&apart).env("GIT_DIR", world.path("nowhere"));
        assert_eq!(
            run.fails(2).stderr,
            "error: GIT_DIR does not name a git repository; correct or unset it\n"
        );
    });
}
