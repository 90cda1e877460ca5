//! Accounts: `git bbtoken use` chooses the profile that git uses, `logout --all` ends every login; and `version`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    inspect::names,
    person::{configure, manage},
    support::{Run, World, gits, on_every_git, put_program},
};

/// A user with the profiles `a` and `b`, of which `a` serves the workspace `ws`.
fn with_profiles(world: &World) {
    for name in ["a", "b"] {
        let command = format!("printf token-of-{name}");
        configure(world, name, &[("accessTokenCommand", &command)]);
    }
    configure(world, "a", &[("workspace", "ws")]);
}

fn world() -> World {
    let world = World::new(gits().remove(0));
    with_profiles(&world);
    world
}

fn bbtoken<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    manage(world, arguments).without_client()
}

fn explained(world: &World, address: &str) -> String {
    bbtoken(world, ["status", "--explain", address]).ok()
}

/// Makes a repository with remotes.
fn repository(world: &World, remotes: &[(&str, &str)]) -> PathBuf {
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    for (name, address) in remotes {
        world
            .git(["remote", "add", name, address])
            .within(&tree)
            .ok();
    }
    tree
}

#[test]
fn use_moves_a_workspace_from_one_profile_to_another() {
    on_every_git(|world| {
        with_profiles(world);
        let done = bbtoken(world, ["use", "b", "--workspace", "WS"]).done();
        let done = done.expect(0).quiet();
        assert_eq!(
            done.stdout,
            "Removed bbtoken.a.workspace = ws.\n\
             Wrote bbtoken.b.workspace = WS to your git configuration: git uses profile 'b' for workspace 'WS'.\n"
        );
        assert!(explained(world, "ws/repo").contains("uses profile 'b'"));
        let before = world.gitconfig();
        bbtoken(world, ["use", "b", "--workspace", "WS"]).ok();
        assert_eq!(
            world.gitconfig(),
            before,
            "an existing setting stays unchanged"
        );
    });
}

#[test]
fn use_chooses_the_profile_of_the_repository_here_by_its_remote() {
    on_every_git(|world| {
        with_profiles(world);
        let base = world.bitbucket.base_url();
        let tree = repository(
            world,
            &[
                ("origin", "bbtoken::ws/repo"),
                ("other", &format!("{base}/ws/repo.git")),
            ],
        );
        for arguments in [&["use", "b"][..], &["use", "a", "--here"], &["use", "b"]] {
            let run = world.bbtoken(arguments).without_client();
            let done = run.within(&tree).done().expect(0).quiet();
            let name = arguments[1];
            assert_eq!(
                done.stdout,
                format!(
                    "Wrote remote.origin.bbtokenProfile = {name} to this repository's configuration: git uses profile '{name}' for remote 'origin'.\n"
                )
            );
            let token = bbtoken(world, ["token"]).within(&tree).ok();
            assert_eq!(token, format!("token-of-{name}\n"));
        }
        let all = world.git(["config", "--get-all", "remote.origin.bbtokenProfile"]);
        assert_eq!(all.within(&tree).ok(), "b\n", "a choice has one value");
    });
}

#[test]
fn use_chooses_for_a_repository_of_another_server_by_its_own_setting() {
    let world = world();
    let tree = repository(&world, &[("origin", "https://git.example.com/x/y.git")]);
    let done = bbtoken(&world, ["use", "b", "--here"]).within(&tree).ok();
    assert_eq!(
        done,
        "Wrote bbtoken.profile = b to this repository's configuration: git uses profile 'b' in this repository.\n"
    );
    let done = bbtoken(&world, ["use", "a"]).within(&tree).done().expect(0);
    assert_eq!(
        done.stdout,
        "Wrote bbtoken.profile = a to your git configuration.\n"
    );
    assert!(
        done.stderr
            .starts_with("warning: git still uses profile 'b' because bbtoken.profile in "),
        "{}",
        done.stderr
    );
    bbtoken(&world, ["use", "a", "--here"])
        .fails(2)
        .says(&["this is not a git repository"]);
}

#[test]
fn use_chooses_for_every_repository_and_names_what_is_stronger() {
    let world = world();
    let done = bbtoken(&world, ["use", "b"]).done().expect(0).quiet();
    assert_eq!(
        done.stdout,
        "Wrote bbtoken.profile = b to your git configuration: git uses profile 'b' if nothing else selects a profile.\n"
    );
    assert!(explained(&world, "else/repo").contains("uses profile 'b'"));
    let tree = repository(&world, &[("origin", "bbtoken::ws/repo")]);
    let run = bbtoken(&world, ["use", "b", "--global"]).within(&tree);
    let done = run.done().expect(0);
    assert_eq!(
        done.stderr,
        "warning: git still uses profile 'a' because bbtoken.a.workspace names 'ws'\n"
    );
    let token = [("BBTOKEN_ACCESS_TOKEN", "canary"), ("BBTOKEN_PROFILE", "a")];
    for ((name, value), said) in token.into_iter().zip([
        "git still uses profile 'environment' because a token is in the environment\n",
        "git still uses profile 'a' because BBTOKEN_PROFILE names it\n",
    ]) {
        for place in [&["--global"][..], &["--workspace", "new"]] {
            let run = world.bbtoken(["use", "b"]).args(place).without_client();
            let done = run.env(name, value).done().expect(0);
            assert_eq!(done.stderr, format!("warning: {said}"), "{place:?}");
        }
    }
}

#[test]
fn a_choice_that_git_cannot_follow_changes_nothing() {
    let world = world();
    configure(&world, "a", &[("pushProfile", "b")]);
    let tree = repository(&world, &[("origin", "bbtoken::ws/repo")]);
    let before = fs::read_to_string(tree.join(".git/config")).expect("it is there");
    let run = bbtoken(&world, ["use", "b", "--here"]).within(&tree);
    run.fails(3).says(&[
        "error: git's configuration was not changed\n",
        "profile 'b' is for pushes only",
    ]);
    let after = fs::read_to_string(tree.join(".git/config")).expect("it is there");
    assert_eq!(
        after.replace("[remote \"origin\"]\n", ""),
        before.replace("[remote \"origin\"]\n", "")
    );
    let elsewhere = world.path("more");
    fs::write(&elsewhere, "[bbtoken \"b\"]\nworkspace = acme\n").expect("it can be written");
    world
        .git(["config", "--global", "include.path"])
        .arg(&elsewhere)
        .ok();
    let before = world.gitconfig();
    bbtoken(&world, ["use", "a", "--workspace", "acme"])
        .fails(3)
        .says(&["profiles 'a' and 'b' both claim workspace 'acme'"]);
    assert_eq!(world.gitconfig(), before);
    let unknown = bbtoken(&world, ["use", "c"]).fails(3);
    unknown.says(&[
        "profile 'c', which does not exist",
        "the profiles are: a, b",
    ]);
    bbtoken(&world, ["use", "environment"])
        .env("BBTOKEN_ACCESS_TOKEN", "canary")
        .fails(3)
        .says(&["profile 'environment', which does not exist"]);
    bbtoken(&world, ["use", "a", "--workspace", "no/workspace/at all"]).fails(2);
    assert_eq!(world.gitconfig(), before);
}

#[test]
fn an_unknown_name_gets_a_suggestion_and_a_workspace_is_one_word() {
    let world = world();
    configure(&world, "work", &[("accessTokenCommand", "printf x")]);
    let before = world.gitconfig();
    for name in ["wrok", "WORK", "works"] {
        bbtoken(&world, ["use", name])
            .fails(3)
            .says(&[&format!("hint: did you mean 'work'? the profiles are: a, b, work; to add this one, run 'git bbtoken login {name}'\n")]);
    }
    bbtoken(&world, ["use", "nothing-like-it"])
        .fails(3)
        .says(&["\nhint: the profiles are: a, b, work; to add this one, run 'git bbtoken login nothing-like-it'\n"]);
    for workspace in ["", "a b", "acme/app", "bbtoken::acme/app", "-x"] {
        let option = format!("--workspace={workspace}");
        let done = bbtoken(&world, ["use", "work", &option]).fails(2);
        let expected = format!(
            "error: '{workspace}' is not the name of a workspace; give the first part of 'workspace/repository'\n"
        );
        assert_eq!(done.stderr, expected);
    }
    assert_eq!(world.gitconfig(), before);
}

#[test]
fn without_a_home_directory_each_hint_says_how_to_name_a_file() {
    let world = World::new(gits().remove(0));
    let first = "; first set HOME, or GIT_CONFIG_GLOBAL to the file to use";
    let homeless = |arguments: &[&str]| {
        let run = world.bbtoken(arguments.iter().copied()).without_client();
        run.without("HOME")
    };
    assert_eq!(
        homeless(&["status"]).ok(),
        format!("No profile is configured; 'git bbtoken login' creates one{first}.\n")
    );
    let hint = format!("hint: no profile is configured; run 'git bbtoken login work'{first}\n");
    homeless(&["use", "work"]).fails(3).says(&[&hint]);
    let doctor = homeless(&["doctor"]).done().stdout;
    for command in ["git bbtoken login", "git bbtoken setup"] {
        let fix = format!("-> {command}{first}\n");
        assert!(doctor.contains(&fix), "'{fix}' in {doctor}");
    }
    let status = world.bbtoken(["status"]).without_client().without("HOME");
    let status = status
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "bbtoken.ci.grant")
        .env("GIT_CONFIG_VALUE_0", "token");
    let status = status.done().stdout;
    let hint = format!("run 'git bbtoken login ci'{first}");
    assert!(status.contains(&hint), "'{hint}' in {status}");
    // The hint works.
    let file = world.path("file");
    let login = ["login", "work", "--client-credentials", "--with-secret"];
    homeless(&login)
        .args(["--client-id", &world.consumer.key])
        .env("GIT_CONFIG_GLOBAL", &file)
        .env("BBTOKEN_HOME", world.path("kept"))
        .input(&world.consumer.secret)
        .ok();
    assert!(file.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_logout_that_cannot_be_shown_is_a_logout() {
    let world = world();
    let full = fs::File::create("/dev/full").expect("it is there");
    let mut command = bbtoken(&world, ["logout", "--all"]).into_command();
    let output = command.stdout(full).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("was not logged out"), "{stderr}");
    assert!(
        stderr.contains("error: cannot write to standard output\n"),
        "{stderr}"
    );
}

#[test]
fn logout_of_all_removes_every_secret_and_goes_on_after_an_error() {
    let world = world();
    for name in ["one", "two"] {
        let run = bbtoken(&world, ["login", name, "--client-credentials"]);
        let client = ["--client-id", &world.consumer.key, "--with-secret"];
        run.args(client).input(&world.consumer.secret).ok();
    }
    configure(
        &world,
        "bad",
        &[("accessTokenCommand", "x"), ("store", "x")],
    );
    let settings = world.gitconfig();
    let done = bbtoken(&world, ["logout", "--all"]).fails(3);
    assert_eq!(
        done.stdout,
        "Nothing was stored for profile 'a'.\n\
         Nothing was stored for profile 'b'.\n\
         Removed from profile 'one': client secret, cached access token.\n\
         Nothing was stored for profile 'two'.\n"
    );
    done.says(&[
        "warning: profile 'bad' was not logged out: ",
        "Nothing was revoked at Bitbucket. Access tokens of a client expire within two hours.\n\
         A token that you created yourself still works until its end date.\n\
         Settings and variables stay: 'git bbtoken status --verbose' shows them.\nerror: ",
    ]);
    assert_eq!(world.gitconfig(), settings, "the configuration stays");
    for name in ["one", "two"] {
        bbtoken(&world, ["token", "--profile", name])
            .fails(3)
            .says(&["has no secret"]);
    }
    for other in ["a", "--shared"] {
        bbtoken(&world, ["logout", "--all", other]).fails(2);
    }
}

#[test]
fn logout_of_all_removes_the_login_of_a_client_that_was_replaced() {
    let world = world();
    let login = |name: &str| {
        let run = bbtoken(&world, ["login", name, "--client-credentials"]);
        let client = ["--client-id", &world.consumer.key, "--with-secret"];
        run.args(client).input(&world.consumer.secret).ok();
    };
    let state = world.home().join(".local/state/git-remote-bbtoken");
    let secrets = || {
        let names = [&state, &world.cache()].map(|directory| names(directory));
        let names = names.into_iter().flatten();
        names.filter(|name| name.ends_with(".json")).count()
    };
    let gone = "Removed from the store 'file': logins, secrets and tokens that no profile uses any more.\n";
    // Another client, and no profile at all.
    for change in [
        &["config", "--global", "bbtoken.one.clientId", "another"][..],
        &["config", "--global", "--remove-section", "bbtoken.one"],
    ] {
        login("one");
        assert_eq!(secrets(), 2, "the client's secret and a cached token");
        world.git(change).ok();
        let done = bbtoken(&world, ["logout", "--all"]).done().expect(0);
        assert!(done.stdout.ends_with(gone), "{}", done.stdout);
        assert_eq!(secrets(), 0);
        let again = bbtoken(&world, ["logout", "--all"]).ok();
        assert!(!again.contains(gone), "{again}");
    }
}

#[test]
fn version_names_the_helper_only_if_it_has_another_version() {
    let world = world();
    let own = format!("git-bbtoken {}\n", env!("CARGO_PKG_VERSION"));
    let version = || bbtoken(&world, ["version"]);
    let done = version().done().expect(0).quiet();
    assert_eq!(done.stdout, own);
    let bin = world.path("bin");
    fs::create_dir(&bin).expect("the world can be written");
    let helper = bin.join("git-remote-bbtoken");
    put_program(&helper, "#!/bin/sh\necho git-remote-bbtoken 0.0.1\n");
    let path = std::env::join_paths([bin.as_path(), Path::new("/usr/bin")]);
    let done = version().env("PATH", path.expect("no path holds a colon"));
    assert_eq!(
        done.done().expect(0).quiet().stdout,
        format!("{own}git-remote-bbtoken 0.0.1 in '{}'\n", helper.display())
    );
}

#[test]
fn use_says_how_to_change_an_address_that_names_another_profile() {
    let world = world();
    let named = repository(&world, &[("origin", "bbtoken::a@ws/repo")]);
    let run = bbtoken(&world, ["use", "b", "--here"]).within(&named);
    assert_eq!(
        run.done().expect(0).stderr,
        "warning: git still uses profile 'a' because the address names it; to change the address: git remote set-url <remote> bbtoken::<workspace>/<repository>\n"
    );
}
