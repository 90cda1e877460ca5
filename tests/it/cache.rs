//! Problems of the token cache: the command works, and nothing is lost.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    inspect::{files, is_sound, limited, names},
    person::{configure_login, list, log_in_by, manage, refreshes},
    support::{Run, World, gits, on_every_git},
};

/// Fills the cache and finds its file.
fn cached(world: &World) -> PathBuf {
    world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
    cache_file(&world.cache())
}

/// The only token file in a directory.
fn cache_file(directory: &Path) -> PathBuf {
    let tokens: Vec<_> = names(directory)
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(tokens.len(), 1, "one token is cached");
    directory.join(&tokens[0])
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn a_token_is_saved_in_a_file_that_only_the_user_can_read() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = cached(world);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&world.cache()), 0o700);
        for path in files(&world.cache()).keys() {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
        fs::set_permissions(world.cache(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        world.bitbucket.revoke_access_tokens();
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        assert_eq!(
            mode(&world.cache()),
            0o700,
            "a directory that was opened is closed before a token is put there"
        );
    });
}

#[test]
fn everything_is_saved_below_bbtoken_home() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let before = files(&world.home());
        let home = world.path("state/of mine");
        let run = || {
            let list = world.git(["ls-remote", "bbtoken::ws/repo"]);
            list.env("BBTOKEN_HOME", &home).ok()
        };
        run();
        assert_eq!(files(&world.home()), before, "nothing is written elsewhere");
        assert_eq!(mode(&cache_file(&home.join("cache"))), 0o600);
        run();
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "it is found there again"
        );
    });
}

#[test]
fn in_memory_mode_nothing_is_written() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        fs::remove_dir_all(world.home().join(".cache")).expect("the clone made it");
        let before = files(&world.home());
        world.bitbucket.clear_requests();
        for _ in 0..2 {
            world
                .git(["fetch", "-q"])
                .env("BBTOKEN_STORE", "memory")
                .within(&tree)
                .ok();
        }
        assert_eq!(
            world.bitbucket.token_requests().len(),
            2,
            "every command gets its own token"
        );
        assert_eq!(files(&world.home()), before, "nothing is written");
        assert!(!world.home().join(".cache").exists(), "nothing is made");
    });
}

#[test]
fn a_damaged_cache_file_is_moved_aside_and_the_command_works() {
    let damaged: [&[u8]; 6] = [
        b"",
        b"{",
        b"\0\xff\xfe",
        b"[]",
        br#"{"version":1,"access_token":7}"#,
        br#"{"version":9,"access_token":"x","expires_at_unix_s":9999999999,"lifetime_s":7200,"scopes":[]}"#,
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = cached(world);
        for (earlier, content) in damaged.iter().enumerate() {
            fs::write(&file, content).expect("it is ours");
            world.bitbucket.clear_requests();
            let done = limited(world, ["ls-remote", "bbtoken::ws/repo"])
                .done()
                .expect(0);
            assert!(done.stdout.contains("refs/heads/main"), "the command works");
            let aside = aside(&world.cache());
            assert_eq!(aside.len(), earlier + 1, "no damaged file is deleted");
            assert!(
                aside.values().any(|kept| kept == content),
                "it stays unchanged"
            );
            let named = aside
                .keys()
                .any(|path| done.stderr.contains(&format!("'{}'", path.display())));
            assert!(named, "the warning tells where it is: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "one warning, no more");
            assert!(
                done.stderr
                    .starts_with("warning: the token cache was damaged; the helper moved it to '"),
                "{}",
                done.stderr
            );
            assert_eq!(world.bitbucket.token_requests().len(), 1);

            let done = world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .done()
                .expect(0);
            assert_eq!(done.stderr, "", "the warning appears once");
            assert_eq!(
                world.bitbucket.token_requests().len(),
                1,
                "the new token is cached"
            );
        }
    });
    assert_eq!(damaged.len(), 6);
}

/// The files that were moved aside, with what is in them.
fn aside(cache: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files(cache);
    files.retain(|path, _| path.to_string_lossy().contains(".damaged"));
    files
}

#[test]
fn a_cache_file_that_cannot_be_read_is_moved_aside() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = cached(world);
        fs::remove_file(&file).expect("it is ours");
        // Modes do not bind root; a directory cannot be read as a file by anybody.
        fs::create_dir(&file).expect("the name is free");
        fs::write(file.join("kept"), "kept").expect("it is ours");
        let done = limited(world, ["ls-remote", "bbtoken::ws/repo"])
            .done()
            .expect(0);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        done.says(&["warning: the token cache was damaged; the helper moved it to '"]);
        let aside = aside(&world.cache());
        assert_eq!(
            aside.values().collect::<Vec<_>>(),
            [b"kept"],
            "nothing is deleted"
        );
        assert_eq!(mode(&file), 0o600, "a new token takes its place");
        let done = world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .done()
            .expect(0);
        assert_eq!(done.stderr, "", "the warning appears once");
    });
}

/// Expects that a fetch works, saves no token, and says so in one warning that names a path.
#[track_caller]
fn works_without_a_cache(world: &World, home: &Path, named: &Path) {
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    for fetch in 1..=2 {
        world.bitbucket.clear_requests();
        let done = limited(world, ["fetch", "-q", "bbtoken::ws/repo", "main"])
            .env("HOME", home)
            .within(&tree)
            .done()
            .expect(0);
        is_sound(world, &tree);
        assert_eq!(
            done.stderr.lines().count(),
            1,
            "one warning: {}",
            done.stderr
        );
        done.says(&[
            "warning: the token was not saved, so each command requests its own: cannot ",
            &named.display().to_string(),
        ]);
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "fetch {fetch} gets its own token"
        );
    }
    world
        .git(["cat-file", "-e", "FETCH_HEAD"])
        .within(&tree)
        .ok();
}

#[test]
fn a_home_that_cannot_be_written_does_not_keep_a_fetch_from_working() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        // Root ignores modes, but cannot make a directory below a file.
        fs::write(world.home().join(".cache"), "kept").expect("the home is empty");
        works_without_a_cache(world, &world.home(), &world.cache());
        assert_eq!(
            fs::read(world.home().join(".cache")).expect("it is there"),
            b"kept"
        );
    });
}

#[test]
fn a_home_that_does_not_exist_does_not_keep_a_fetch_from_working() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = world.path("file");
        fs::write(&file, "").expect("the world's directory can be written");
        let home = file.join("home");
        works_without_a_cache(world, &home, &home.join(".cache/git-remote-bbtoken"));
    });
}

#[test]
fn a_cache_directory_that_is_a_file_does_not_keep_a_fetch_from_working() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        fs::create_dir(world.home().join(".cache")).expect("the home is empty");
        fs::write(world.cache(), "kept").expect("the name is free");
        works_without_a_cache(world, &world.home(), &world.cache());
        assert_eq!(fs::read(world.cache()).expect("it is there"), b"kept");
    });
}

#[test]
fn a_disk_that_is_full_while_the_token_is_saved_does_not_keep_a_fetch_from_working() {
    // A token of more than 2,500 characters does not fit into 4 blocks of 512 bytes; the objects of a small commit do.
    // The signal is ignored, so that the write itself fails, half-way as on a full disk (setrlimit(2), RLIMIT_FSIZE).
    const LIMITED: &str = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        let git = world.git.program.to_str().expect("its path is text");
        let fetch = ["fetch", "-q", "bbtoken::ws/repo", "main"];
        let mut arguments = vec!["-c", LIMITED, "sh", git];
        arguments.extend(fetch);
        let done = world
            .run(Path::new("sh"), arguments)
            .within(&tree)
            .done()
            .expect(0);
        world
            .git(["cat-file", "-e", "FETCH_HEAD"])
            .within(&tree)
            .ok();
        is_sound(world, &tree);
        assert_eq!(
            done.stderr.lines().count(),
            1,
            "one warning: {}",
            done.stderr
        );
        done.says(&[
            "warning: the token was not saved, so each command requests its own: cannot write '",
            &world.cache().display().to_string(),
        ]);
        let left: Vec<_> = names(&world.cache())
            .into_iter()
            .filter(|name| !name.ends_with(".lock") && name != "advertisements")
            .collect();
        assert!(left.is_empty(), "no half of a token stays: {left:?}");

        let done = world.git(fetch).within(&tree).done().expect(0);
        assert_eq!(done.stderr, "", "with room again there is nothing to say");
        cache_file(&world.cache());
        assert_eq!(world.bitbucket.token_requests().len(), 2);
    });
}

#[test]
fn a_login_is_kept_where_cache_and_state_are_one_directory() {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    configure_login(&world, "work", &world.consumer);
    let place = world.path("both");
    let in_one = |run: Run| {
        run.env("XDG_CACHE_HOME", &place)
            .env("XDG_STATE_HOME", &place)
    };
    log_in_by(&world, in_one(manage(&world, ["login", "work"]))).expect(0);
    for _ in 0..2 {
        in_one(list(&world)).ok();
        world.bitbucket.advance_clock(Duration::from_secs(7_300));
    }
    in_one(list(&world)).ok();
    assert_eq!(refreshes(&world), 2, "the cache has not replaced the login");
}
