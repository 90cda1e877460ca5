//! Another user of the same machine: the programs never read a secret from their files or write one there. Runs with
//! one version of git, because the version does not matter.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::{
    inspect::{files, limited, names},
    lfs,
    needs::{ROOT, needs},
    person::{self, configure_login, git_bbtoken, log_in, log_in_by},
    support::{Done, Run, World, gits},
};

/// Two users that no system has.
const OTHER: u32 = 64_001;
const USER: u32 = 64_002;

fn world() -> World {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    world
}

/// Tells whether other users can start our programs.
fn can_switch(world: &World) -> bool {
    let version = world.bbtoken(["--version"]).by_user(USER);
    let output = version.into_command().output();
    output.is_ok_and(|output| output.status.success())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is the test's");
}

/// Makes a directory of some user's.
fn directory(path: PathBuf, owner: u32, mode: u32) -> PathBuf {
    fs::create_dir(&path).expect("the name is free");
    give(&path, owner, mode);
    path
}

fn give(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(owner)).expect("root may");
    set_mode(path, mode);
}

/// Runs a command as root or as another user.
fn by(user: u32, run: Run) -> Run {
    match user {
        0 => run,
        user => run.by_user(user),
    }
}

#[test]
fn exec_writes_no_token_into_a_file_that_another_user_can_read() {
    needs!(ROOT);
    let world = world();
    needs!(can_switch(&world) => ROOT);
    let marked = "machine localhost login x password y account git-bbtoken-exec\n";
    for user in [0, USER] {
        let home = directory(world.path(&format!("home-{user}")), user, 0o700);
        let shared = directory(world.path(&format!("shared-{user}")), 0, 0o1777);
        let victim = shared.join("victim");
        fs::write(&victim, marked).expect("it is new");
        // (who has made it, its mode, how it stands there)
        let cases = [
            (OTHER, 0o666, "file"),
            (OTHER, 0o600, "file"),
            (user, 0o644, "file"),
            (user, 0o666, "file"),
            (user, 0o600, "hard link"),
            (user, 0o600, "soft link"),
            (OTHER, 0o666, "soft link"),
        ];
        for (owner, mode, kind) in cases {
            let netrc = shared.join("netrc");
            give(&victim, owner, mode);
            match kind {
                "hard link" => fs::hard_link(&victim, &netrc),
                "soft link" => symlink(&victim, &netrc),
                _ => fs::copy(&victim, &netrc).map(drop),
            }
            .expect("the name is free");
            if kind == "file" {
                give(&netrc, owner, mode);
            }
            let exec = world
                .bbtoken(["exec", "--netrc"])
                .arg(&netrc)
                .args(["--", "true"])
                .env("BBTOKEN_HOME", &home);
            let done = by(user, exec).done().expect(1);
            done.says(&["cannot create the new file '", "'\ncaused by: "]);
            for path in [&netrc, &victim] {
                let text = fs::read_to_string(path).expect("it is there");
                assert_eq!(
                    text, marked,
                    "{kind} of {owner} with mode {mode:o} is not touched"
                );
            }
            fs::remove_file(&netrc).expect("it is there");
        }
    }
}

/// Lists refs, with everything kept in a home.
fn list(world: &World, user: u32, home: &Path) -> Done {
    let run = limited(world, ["ls-remote", "bbtoken::ws/repo"]).env("BBTOKEN_HOME", home);
    by(user, run).done()
}

#[test]
fn another_users_directory_is_neither_written_nor_read() {
    needs!(ROOT);
    let world = world();
    needs!(can_switch(&world) => ROOT);
    for user in [0, USER] {
        // A home with a token that the other user may have chosen.
        let planted = directory(world.path(&format!("planted-{user}")), user, 0o700);
        list(&world, user, &planted).expect(0).quiet();
        for path in [planted.clone(), planted.join("cache")] {
            give(&path, OTHER, 0o777);
        }
        let empty = directory(world.path(&format!("empty-{user}")), OTHER, 0o777);
        for (home, refused) in [(&empty, empty.clone()), (&planted, planted.join("cache"))] {
            let before = files(home);
            world.bitbucket.clear_requests();
            let done = list(&world, user, home).expect(0);
            let warning = format!(
                "warning: the token was not saved, so each command requests its own: cannot write '{}/cache/",
                home.display()
            );
            let reason = format!(
                "'{}' is not used, because it belongs to user {OTHER}",
                refused.display()
            );
            done.says(&[&warning, &reason]);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert_eq!(
                world.bitbucket.token_requests().len(),
                1,
                "no token is there"
            );
            assert_eq!(files(home), before, "nothing is written there");
        }
    }
}

#[test]
fn no_directory_is_created_below_one_that_another_user_controls() {
    needs!(ROOT);
    let world = world();
    needs!(can_switch(&world) => ROOT);
    let link = |path: PathBuf, to: &Path, owner: u32| {
        symlink(to, &path).expect("the name is free");
        lchown(&path, Some(owner), Some(owner)).expect("root may");
        path
    };
    for user in [0, USER] {
        let shared = directory(world.path(&format!("shared-{user}")), 0, 0o1777);
        let own = directory(shared.join("own"), user, 0o700);
        let open = directory(world.path(&format!("open-{user}")), 0, 0o777);
        let others = directory(shared.join("others"), OTHER, 0o1777);
        let theirs = link(shared.join("theirs"), &own, OTHER);
        fs::create_dir(own.join("deep")).expect("the name is free");
        give(&own.join("deep"), user, 0o700);
        let nowhere = link(shared.join("nowhere"), &own.join("new"), OTHER);
        for (home, reason) in [
            (
                theirs.clone(),
                "it is a symbolic link that belongs to user 64001",
            ),
            (
                theirs.join("a/b"),
                "it is a symbolic link that belongs to user 64001",
            ),
            (
                theirs.join("deep"),
                "it is a symbolic link that belongs to user 64001",
            ),
            (nowhere, "it is a symbolic link that belongs to user 64001"),
            (others.join("a/b"), "it belongs to user 64001"),
        ] {
            let before = (files(&own), files(&others));
            let done = list(&world, user, &home).expect(0);
            done.says(&["warning: the token was not saved", reason]);
            let after = (files(&own), files(&others));
            assert_eq!(after, before, "nothing is made at {}", home.display());
            let made = own.join("a").exists() || own.join("new").exists();
            assert!(!made && !home.join("cache").exists(), "{}", home.display());
        }
        let by_root = link(shared.join("by-root"), &own, 0);
        let mine = link(shared.join("mine"), &own, user);
        // As Kubernetes makes an emptyDir, and GitLab a build directory.
        for home in [own.clone(), by_root.join("a"), mine.join("b/c"), open] {
            list(&world, user, &home).expect(0).quiet();
            assert!(home.join("cache").is_dir(), "{}", home.display());
        }
        list(&world, user, &shared.join("new/home"))
            .expect(0)
            .quiet();
    }
}

#[test]
fn a_login_is_neither_written_to_nor_read_from_a_directory_of_another_user() {
    needs!(ROOT);
    let world = world();
    needs!(can_switch(&world) => ROOT);
    configure_login(&world, "work", &world.consumer);
    let home = directory(world.path("bbtoken"), 0, 0o700);
    let login = || {
        let run = person::as_person(world.run(&git_bbtoken(), ["login", "work"]));
        log_in_by(&world, run.env("BBTOKEN_HOME", &home))
    };
    login().expect(0);
    give(&home.join("state"), OTHER, 0o700);
    fs::remove_dir_all(home.join("cache")).expect("a token was cached");
    let before = files(&home);
    let reason = "/bbtoken/state' is not used, because it belongs to user 64001\n\
         hint: set BBTOKEN_HOME to a directory of your own, or run the command as user 64001\n";
    let list = || person::list(&world).env("BBTOKEN_HOME", &home).done();
    list().expect(128).says(&[reason]);
    let refused = login().expect(7);
    refused.says(&[reason]);
    assert_eq!(refused.stdout, "", "no page is named");
    let logout = person::manage(&world, ["logout"]).env("BBTOKEN_HOME", &home);
    logout.fails(7).says(&[
        "error: cannot remove the secrets of profile 'work'\n",
        reason,
    ]);
    let after: Vec<_> = files(&home.join("state")).into_iter().collect();
    let state = before
        .iter()
        .filter(|(path, _)| path.starts_with(home.join("state")));
    assert!(
        after.iter().map(|(path, text)| (path, text)).eq(state),
        "nothing is changed"
    );
}

#[test]
fn a_token_that_another_user_may_have_planted_is_not_used() {
    needs!(ROOT);
    let world = world();
    list(&world, 0, &world.path("bbtoken")).expect(0).quiet();
    let cache = world.path("bbtoken/cache");
    let token = names(&cache)
        .into_iter()
        .find(|name| name.ends_with(".json"))
        .map(|name| cache.join(name))
        .expect("a token is cached");
    let expect = |why: &str| {
        world.bitbucket.clear_requests();
        let done = list(&world, 0, &world.path("bbtoken")).expect(0);
        done.says(&[why]);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert_eq!(world.bitbucket.token_requests().len(), 1, "{why}");
    };
    for (mode, why) in [
        (0o660, "other users may change it; the helper moved it to '"),
        (0o644, "other users may read it; the helper moved it to '"),
    ] {
        set_mode(&token, mode);
        expect(why);
        list(&world, 0, &world.path("bbtoken")).expect(0).quiet();
    }
    if geteuid().is_root() {
        give(&token, OTHER, 0o600);
        expect("it belongs to user 64001; the helper moved it to '");
    }
    set_mode(&cache, 0o770);
    expect("bbtoken/cache' is not used, because other users may change it");
    set_mode(&cache, 0o700);
    list(&world, 0, &world.path("bbtoken")).expect(0).quiet();
}

/// What stands in the place of a file, and is to stay as it is.
fn replaced(path: &Path, kind: &str, victim: &Path) {
    fs::remove_file(path).expect("it is ours");
    match kind {
        "soft link" => symlink(victim, path).expect("the name is free"),
        "hard link" => fs::hard_link(victim, path).expect("the name is free"),
        _ => {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.expect("it starts").success());
        }
    }
}

#[test]
fn links_and_pipes_in_the_place_of_our_files_are_not_followed_and_keep_nothing_waiting() {
    let world = world();
    configure_login(&world, "work", &world.consumer);
    log_in(&world, "work").expect(0);
    person::list(&world).ok();
    let kept = |world: &World| {
        let mut kept = files(&world.cache());
        kept.extend(files(&person::state(world)));
        kept.into_keys().collect::<Vec<_>>()
    };
    let paths = kept(&world);
    assert!(
        paths.len() >= 4,
        "token, login, lock and advertisement: {paths:?}"
    );
    let victim = world.path("victim");
    let mut tried = 0;
    for path in &paths {
        let content = fs::read(path).expect("it is ours");
        for kind in ["soft link", "hard link", "pipe"] {
            // A later command has replaced or removed it.
            fs::write(&victim, &content).expect("it is the test's");
            set_mode(&victim, 0o600);
            replaced(path, kind, &victim);
            world.bitbucket.revoke_access_tokens();
            let done = person::list(&world).done();
            assert_ne!(done.code, Some(crate::inspect::HUNG), "{kind} at {path:?}");
            let is_login = path.starts_with(person::state(&world))
                && path
                    .extension()
                    .is_some_and(|extension| extension == "json");
            assert_eq!(
                done.code,
                Some(if is_login { 128 } else { 0 }),
                "{}",
                done.stderr
            );
            let now = fs::read(&victim).expect("it is there");
            assert!(now == content, "a {kind} at {path:?} leads to no write");
            if is_login && kind == "soft link" {
                done.says(&["' is not used, because it is a symbolic link\nhint: if another user may have read it, run 'git bbtoken logout work' and log in again; otherwise run: rm "]);
            }
            if is_login && kind == "hard link" {
                done.says(&[
                    "' is not used, because it has more than one hard link\nhint: if another user may have read it, ",
                ]);
            }
            fs::remove_file(&victim).expect("it is the test's");
            let _ = fs::remove_file(path);
            fs::write(path, &content).expect("it is the test's");
            set_mode(path, 0o600);
            tried += 1;
        }
    }
    assert_eq!(tried, paths.len() * 3);
}

#[test]
fn root_leaves_the_configuration_of_another_user_s_repository_to_that_user() {
    needs!(ROOT, "git-lfs");
    use std::os::unix::fs::MetadataExt as _;
    let world = world();
    needs!(can_switch(&world) => ROOT);
    lfs::install(&world);
    world
        .git(["config", "--global", "safe.directory", "*"])
        .ok();
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let add = ["remote", "add", "origin", "bbtoken::ws/repo"];
    world.git(add).within(&tree).ok();
    let config = tree.join(".git/config");
    for path in [&tree, &tree.join(".git"), &config] {
        chown(path, Some(USER), Some(OTHER)).expect("root may");
    }
    set_mode(&config, 0o600);
    let fetch = || world.git(["fetch", "-q", "origin"]).within(&tree).done();
    fetch().expect(0).quiet();
    assert_eq!(
        lfs::get(&world, &tree, "remote.origin.lfsurl"),
        lfs::ENDPOINT
    );
    let now = fs::metadata(&config).expect("it is there");
    assert_eq!(
        (now.uid(), now.gid(), now.mode() & 0o7777),
        (USER, OTHER, 0o600),
        "owner, group and mode stay"
    );
    // A link of theirs to a file of root's.
    let victim = world.path("victim");
    fs::copy(&config, &victim).expect("it is new");
    let unset = [
        "config",
        "--file",
        "victim",
        "--unset",
        "remote.origin.lfsurl",
    ];
    world.git(unset).ok();
    let before = fs::read(&victim).expect("it is there");
    fs::remove_file(&config).expect("it is there");
    symlink(&victim, &config).expect("the name is free");
    std::os::unix::fs::lchown(&config, Some(USER), Some(USER)).expect("root may");
    fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("it can be written");
    fetch().expect(0).quiet();
    assert_eq!(
        fs::read(&victim).expect("it is there"),
        before,
        "root's file is not changed"
    );
}
