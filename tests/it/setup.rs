//! `setup`, `unsetup`, `remote convert`: show each change of git's configuration, and undo it exactly.

use std::{fs, path::Path, thread};

use crate::{
    inspect::names,
    needs::needs,
    support::{World, gits, helper, on_every_git},
};

fn normal(world: &World, text: &str) -> String {
    let program = helper().with_file_name("git-bbtoken").display().to_string();
    text.replace(&program, "PROGRAM")
        .replace(world.bitbucket.base_url(), "BASE")
}

#[test]
fn setup_shows_what_it_writes_and_unsetup_undoes_exactly_that() {
    on_every_git(|world| {
        world
            .git(["config", "--global", "credential.helper", "cache"])
            .ok();
        world.git(["config", "--global", "alias.st", "status"]).ok();
        let before = world.gitconfig();
        let dry = world
            .bbtoken(["setup", "--everywhere", "--dry-run"])
            .done()
            .expect(0);
        let expected = "\
+ protocol.bbtoken.allow = always
      git may clone submodules with bbtoken:: addresses
+ credential.BASE.helper = 
      for this site, git asks no other helper, and no other helper stores the tokens
+ credential.BASE.helper = !'PROGRAM' credential
      git's own https and git-lfs get tokens from the helper
+ credential.BASE.useHttpPath = true
      git passes the path, which selects the profile
+ lfs.BASE/.access = basic
      git-lfs sends credentials with its first request
+ url.bbtoken::.insteadOf = BASE/
      git uses the helper for https addresses; cargo then needs net.git-fetch-with-cli = true, and poetry system-git-client = true; a program with a git of its own (libgit2, gix, dulwich) cannot use them: see docs/programs.md
Not covered: addresses with a user name or a password, such as https://you@HOST/…
      git's rules compare the beginning of an address; to change these addresses: git bbtoken remote convert --below <directory>
";
        let host = world.bitbucket.base_url().replace("https://", "");
        let expected = expected.replace("HOST", &host);
        assert_eq!(normal(world, &dry.stdout), expected);
        assert_eq!(dry.stderr, "Nothing was written.\n");
        assert_eq!(world.gitconfig(), before);

        world.bbtoken(["setup"]).fails(2).says(&[
            "cannot ask for confirmation without a terminal; nothing was changed; give --yes",
        ]);
        assert_eq!(
            world.gitconfig(),
            before,
            "without a yes nothing is written"
        );

        world
            .bbtoken(["setup", "--everywhere", "--yes"])
            .done()
            .expect(0)
            .quiet();
        let after = world.gitconfig();
        assert_eq!(
            world.bbtoken(["setup", "--everywhere", "--yes"]).ok(),
            "Git is set up already; nothing to change.\n"
        );
        assert_eq!(world.gitconfig(), after, "once more changes nothing");

        world.repository("ws", "repo");
        let url = world.bitbucket.repository_url("ws", "repo");
        world.git(["clone", "-q", &url, "tree"]).ok();

        assert_eq!(
            world.bbtoken(["unsetup", "--dry-run"]).ok().lines().count(),
            6
        );
        world.bbtoken(["unsetup", "--yes"]).done().expect(0).quiet();
        assert_eq!(world.gitconfig(), before, "every byte is as it was");
        assert_eq!(
            world.bbtoken(["unsetup", "--yes"]).ok(),
            "Setup has added nothing; nothing to undo.\n"
        );
    });
}

#[test]
fn the_jobs_of_a_runner_may_all_begin_with_setup() {
    on_every_git(|world| {
        let before = world.gitconfig();
        let at_once = |arguments: &[&str]| {
            let runs: Vec<_> = (0..20)
                .map(|_| world.bbtoken(arguments.iter().copied()))
                .map(|run| thread::spawn(move || run.done()))
                .collect();
            for run in runs {
                run.join().expect("it ends").expect(0).quiet();
            }
        };
        at_once(&["setup", "--everywhere", "--yes"]);
        let after = world.gitconfig();
        world.bbtoken(["unsetup", "--yes"]).ok();
        assert_eq!(world.gitconfig(), before);
        world.bbtoken(["setup", "--everywhere", "--yes"]).ok();
        assert_eq!(world.gitconfig(), after, "twenty write what one writes");
        at_once(&["unsetup", "--yes"]);
        assert_eq!(world.gitconfig(), before);
        assert_eq!(names(&world.home()), [".gitconfig"], "no lock stays");
    });
}

#[test]
fn unsetup_keeps_the_users_own_settings() {
    on_every_git(|world| {
        world
            .git(["config", "--global", "protocol.bbtoken.allow", "user"])
            .ok();
        let key = format!("credential.{}.helper", world.bitbucket.base_url());
        world.git(["config", "--global", &key, "mine"]).ok();
        let before = world.gitconfig();
        let done = world.bbtoken(["setup", "--yes"]).done().expect(0);
        done.says(&["not changed: protocol.bbtoken.allow = user"]);
        let helpers = world.git(["config", "--get-all", &key]).ok();
        assert!(helpers.starts_with("mine\n\n!"), "{helpers}");
        world.bbtoken(["unsetup", "--yes"]).ok();
        assert_eq!(world.gitconfig(), before);
    });
}

#[test]
fn settings_that_the_user_has_removed_are_written_and_undone_again() {
    on_every_git(|world| {
        let before = world.gitconfig();
        let setup = || world.bbtoken(["setup", "--everywhere", "--yes"]).ok();
        setup();
        let after = world.gitconfig();
        for _ in 0..2 {
            world
                .git([
                    "config",
                    "--global",
                    "--unset-all",
                    "url.bbtoken::.insteadOf",
                ])
                .ok();
            setup();
        }
        assert_eq!(world.gitconfig(), after, "it is noted once");
        // As it was noted by versions that did it twice.
        let note = "protocol.bbtoken.allow=always";
        world
            .git(["config", "--global", "--add", "bbtoken.addedBySetup", note])
            .ok();
        world.bbtoken(["unsetup", "--yes"]).done().expect(0).quiet();
        assert_eq!(world.gitconfig(), before);
    });
}

#[test]
fn the_site_of_every_profile_is_set_up() {
    let world = World::new(gits().remove(0));
    world
        .git([
            "config",
            "--global",
            "bbtoken.other.baseUrl",
            "https://git.example.org/bb",
        ])
        .ok();
    let shown = world
        .bbtoken(["setup", "--everywhere", "--dry-run"])
        .without("BBTOKEN_BASE_URL")
        .ok();
    for line in [
        "+ credential.https://bitbucket.org.useHttpPath = true",
        "+ credential.https://git.example.org.useHttpPath = true",
        "+ url.https://bitbucket.org/.insteadOf = https://www.bitbucket.org/",
        "+ url.bbtoken::https://bitbucket.org/.insteadOf = git@bitbucket.org:",
        "+ url.bbtoken::https://git.example.org/bb/.insteadOf = https://git.example.org/bb/",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "'{line}' in {shown}"
        );
    }
}

#[test]
fn plain_turns_our_addresses_into_https_for_tools_without_helpers() {
    on_every_git(|world| {
        let before = world.gitconfig();
        let tree = world.clone_of_new("ws", "repo");
        world
            .bbtoken(["setup", "--plain", "--everywhere", "--yes"])
            .fails(2)
            .says(&["cannot be used with"]);
        world.bbtoken(["setup", "--plain", "--yes"]).ok();
        let url = world
            .git(["remote", "get-url", "origin"])
            .within(&tree)
            .ok();
        assert_eq!(url, format!("{}/ws/repo\n", world.bitbucket.base_url()));
        world.fetch(&tree);
        let found = world.bbtoken(["doctor"]).ok();
        let note = "note     addresses: a setting rewrites bbtoken:: addresses to https";
        assert_eq!(found.matches(note).count(), 1, "{found}");
        world.bbtoken(["unsetup", "--yes"]).ok();
        assert_eq!(world.gitconfig(), before);
    });
}

#[test]
fn remotes_and_submodules_are_converted_and_back() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        // The way back removes git-lfs's settings for our addresses; the tests of git-lfs show that.
        world
            .git(["config", "--global", "bbtoken.lfs", "false"])
            .ok();
        let tree = world.clone_of_new("ws", "app");
        let base = world.bitbucket.base_url();
        world
            .git(["config", "--global", "protocol.bbtoken.allow", "always"])
            .ok();
        world
            .git(["submodule", "add", "-q", "bbtoken::ws/lib", "lib"])
            .within(&tree)
            .ok();
        let convert = |arguments: &[&str]| {
            world
                .bbtoken(["remote", "convert", "--submodules"])
                .args(arguments.iter().copied())
                .within(&tree)
        };
        world
            .git(["remote", "add", "elsewhere", "https://example.org/ws/app"])
            .within(&tree)
            .ok();
        let read = || {
            let config = fs::read_to_string(tree.join(".git/config")).expect("it is there");
            let modules = fs::read_to_string(tree.join(".gitmodules")).expect("it is there");
            let module =
                fs::read_to_string(tree.join(".git/modules/lib/config")).expect("it is there");
            [config, modules, module]
        };
        let before = read();
        assert_eq!(convert(&["--yes"]).ok(), "No address needs to change.\n");
        let shown = convert(&["--back", "--dry-run"]).ok().replace(base, "BASE");
        for line in [
            "  - remote.origin.url = bbtoken::ws/app",
            "  + remote.origin.url = BASE/ws/app.git",
            "  + submodule.lib.url = BASE/ws/lib.git",
        ] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "'{line}' in {shown}"
            );
        }
        assert_eq!(read(), before);
        let done = convert(&["--back", "--yes"]).done().expect(0);
        done.says(&["Commit '.gitmodules'"]);
        assert!(
            read()
                .iter()
                .all(|text| text.contains(base) && !text.contains("bbtoken::")),
            "{:?}",
            read()
        );
        convert(&["--yes"]).ok();
        assert_eq!(read(), before, "there and back changes nothing");
        world
            .git(["fetch", "-q", "--recurse-submodules"])
            .within(&tree)
            .ok();
    });
}

#[test]
fn a_password_leaves_the_configuration_and_is_not_shown() {
    let world = World::new(gits().remove(0));
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let base = world
        .bitbucket
        .base_url()
        .replace("https://", "https://x-token-auth:canary@");
    world
        .git(["remote", "add", "origin", &format!("{base}/ws/app.git")])
        .within(&tree)
        .ok();
    let done = world
        .bbtoken(["remote", "convert", "--yes"])
        .within(&tree)
        .done()
        .expect(0);
    assert!(
        !done.stdout.contains("canary") && !done.stderr.contains("canary"),
        "{done:?}"
    );
    let url = world
        .git(["config", "remote.origin.url"])
        .within(&tree)
        .ok();
    assert_eq!(url, "bbtoken::ws/app\n");
}

#[test]
fn convert_needs_a_repository() {
    let world = World::new(gits().remove(0));
    let done = world.bbtoken(["remote", "convert", "--yes"]).fails(2);
    assert_eq!(
        done.stderr,
        "error: this is not a git repository; change into a git repository\n"
    );
}

/// A file in which everything is odd that git allows: comments, spacing, case, several values.
const ODD: &str = "\
# kept
[Remote \"origin\"] ; here, too
  url=git@bitbucket.org:ws/app.git
\tPushURL = ssh://git@altssh.bitbucket.org:443/ws/app.git
    fetch = +refs/heads/*:refs/remotes/origin/*   # not this
[remote \"web\"]
\turl = https://bitbucket.org/ws/app/src/main/
\turl = https://ann@bitbucket.org/ws/other.git
[remote \"mine\"]
\turl = https://work@bitbucket.org/ws/app.git
[remote \"short\"]
\turl = bitbucket.org:ws/app
[remote \"elsewhere\"]
\turl = git@github.com:ws/app.git
[remote \"near\"]
\turl = ../ws/app
[submodule \"lib\"]
\turl = \"https://bitbucket.org/ws/lib\"
[branch \"main\"]
\tremote = https://bitbucket.org/ws/app
\tpushRemote = origin
";

#[test]
fn every_form_of_address_is_converted_and_no_other_byte_is_changed() {
    on_every_git(|world| {
        world
            .git(["config", "--global", "bbtoken.work.clientId", "x"])
            .ok();
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        let config = tree.join(".git/config");
        let core = fs::read_to_string(&config).expect("it was made");
        fs::write(&config, core.clone() + ODD).expect("it is ours");
        let convert = |arguments: &[&str]| {
            world
                .bbtoken(["remote", "convert"])
                .args(arguments.iter().copied())
                .without("BBTOKEN_BASE_URL")
                .within(&tree)
        };
        let read = || fs::read_to_string(&config).expect("it is there");
        convert(&["--dry-run"]).ok();
        assert_eq!(read(), core.clone() + ODD, "a dry run writes nothing");
        convert(&["--yes"]).ok();
        let changed = [
            (
                "  url=git@bitbucket.org:ws/app.git",
                "\turl = bbtoken::ws/app",
            ),
            (
                "\tPushURL = ssh://git@altssh.bitbucket.org:443/ws/app.git",
                "\tpushurl = bbtoken::ws/app",
            ),
            ("https://bitbucket.org/ws/app/src/main/", "bbtoken::ws/app"),
            (
                "https://ann@bitbucket.org/ws/other.git",
                "bbtoken::ws/other",
            ),
            (
                "https://work@bitbucket.org/ws/app.git",
                "bbtoken::work@ws/app",
            ),
            ("bitbucket.org:ws/app\n", "bbtoken::ws/app\n"),
            ("\"https://bitbucket.org/ws/lib\"", "bbtoken::ws/lib"),
            ("https://bitbucket.org/ws/app\n", "bbtoken::ws/app\n"),
        ];
        let expected = changed.iter().fold(ODD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "'{from}' is there");
            text.replacen(from, to, 1)
        });
        assert_eq!(read(), core.clone() + &expected);
        assert_eq!(convert(&["--yes"]).ok(), "No address needs to change.\n");
        assert_eq!(
            read(),
            core.clone() + &expected,
            "once more changes nothing"
        );
        convert(&["--back", "--yes"]).ok();
        let back = read();
        assert!(
            back.contains("\turl = https://work@bitbucket.org/ws/app.git\n"),
            "the profile is kept: {back}"
        );
        convert(&["--yes"]).ok();
        assert_eq!(read(), core + &expected, "back and there changes nothing");
    });
}

#[test]
fn a_configuration_that_cannot_be_written_stays_unchanged() {
    let world = World::new(gits().remove(0));
    let before = world.gitconfig();
    let lock = world.home().join(".gitconfig.lock");
    fs::write(&lock, "").expect("the home is ours");
    world.bbtoken(["setup", "--yes"]).fails(3).says(&[
        "git's configuration was not changed",
        "could not lock config file",
    ]);
    assert_eq!(world.gitconfig(), before);
    fs::remove_file(&lock).expect("it is there");
    world.bbtoken(["setup", "--yes"]).ok();
    let after = world.gitconfig();
    fs::write(&lock, "").expect("the home is ours");
    world.bbtoken(["unsetup", "--yes"]).fails(3);
    assert_eq!(world.gitconfig(), after);
    fs::remove_file(&lock).expect("it is there");
    fs::write(world.home().join(".gitconfig"), "[broken\n").expect("the home is ours");
    for command in ["setup", "unsetup"] {
        let done = world.bbtoken([command, "--yes"]).fails(3);
        done.says(&["cannot read"]);
        assert_eq!(world.gitconfig(), "[broken\n");
    }
}

#[cfg(unix)]
#[test]
fn the_users_file_is_found_wherever_git_has_it() {
    on_every_git(|world| {
        let home = world.home();
        let plain = home.join(".gitconfig");
        let text = world.gitconfig();
        let round = |file: &std::path::Path, variables: &[(&str, &std::path::Path)]| {
            for command in ["setup", "unsetup"] {
                let mut run = world.bbtoken([command, "--yes"]);
                for (name, value) in variables {
                    run = run.env(name, value);
                }
                run.ok();
                let now = fs::read_to_string(file).expect("it is there");
                assert_eq!(
                    now == text,
                    command == "unsetup",
                    "{command} {file:?}: {now}"
                );
            }
        };
        // A link stays one, as dotfiles are kept in a repository.
        let dotfiles = world.path("dotfiles");
        fs::rename(&plain, &dotfiles).expect("it is ours");
        std::os::unix::fs::symlink(&dotfiles, &plain).expect("it is gone");
        round(&dotfiles, &[]);
        assert!(fs::symlink_metadata(&plain).is_ok_and(|link| link.is_symlink()));
        fs::remove_file(&plain).expect("it is a link");
        let other = world.path("other");
        fs::write(&other, &text).expect("the world is ours");
        round(&other, &[("GIT_CONFIG_GLOBAL", &other)]);
        let xdg = world.path("xdg");
        fs::create_dir_all(xdg.join("git")).expect("the world is ours");
        fs::write(xdg.join("git/config"), &text).expect("the world is ours");
        round(&xdg.join("git/config"), &[("XDG_CONFIG_HOME", &xdg)]);
    });
}

#[test]
fn without_a_home_the_message_says_how_to_name_the_file() {
    on_every_git(|world| {
        let setup = || world.bbtoken(["setup", "--yes"]).without("HOME");
        let done = setup().fails(3);
        assert_eq!(
            done.stderr,
            "error: git cannot read its configuration: $HOME not set; set HOME, or GIT_CONFIG_GLOBAL to the file to use\n"
        );
        setup().env("GIT_CONFIG_GLOBAL", world.path("config")).ok();
    });
}

#[test]
fn unsetup_removes_a_file_that_setup_created_unless_it_is_used() {
    on_every_git(|world| {
        let file = world.home().join(".gitconfig");
        fs::remove_file(&file).expect("the world has one");
        let run = |command| world.bbtoken([command, "--yes"]).ok();
        for times in 1..=2 {
            for _ in 0..times {
                run("setup");
            }
            run("unsetup");
            assert!(!file.exists(), "nothing of it is left");
        }
        run("setup");
        world.git(["config", "--global", "user.name", "Ann"]).ok();
        run("unsetup");
        let own = "[user]\n\tname = Ann\n";
        assert_eq!(world.gitconfig(), own, "the user's own stays");
        fs::write(&file, "").expect("it is ours");
        run("setup");
        run("unsetup");
        assert_eq!(world.gitconfig(), "", "a file that was there stays");
    });
}

/// Gives the helpers that git asks for the world's server, in git's order.
fn chain(world: &World, tree: &Path) -> Vec<String> {
    let trace = world.path("trace");
    let host = world.bitbucket.base_url().trim_start_matches("https://");
    let request =
        format!("protocol=https\nhost={host}\npath=ws/repo.git\nusername=u\npassword=p\n\n");
    world
        .git(["credential", "approve"])
        .within(tree)
        .env("GIT_TRACE", &trace)
        .input(&request)
        .ok();
    let told = fs::read_to_string(&trace).unwrap_or_default();
    fs::remove_file(&trace).expect("git writes its trace");
    let asked = told
        .lines()
        .filter_map(|line| line.split_once("run_command: "));
    let commands = asked.map(|(_, command)| command.to_owned());
    commands
        .filter(|command| command.trim_end_matches('\'').ends_with(" store"))
        .collect()
}

#[test]
fn ours_is_the_only_helper_wherever_another_one_was_set() {
    on_every_git(|world| {
        let base = world.bitbucket.base_url();
        let site = format!("credential.{base}.helper");
        let user = format!("credential.{base}.username");
        let path = format!("credential.{base}/ws.helper");
        let pattern = format!("credential.{}.helper", base.replace("localhost", "*"));
        let first = world.gitconfig();
        let set = |key: &str, value: &str| {
            world.git(["config", "--global", "--add", key, value]).ok();
        };
        let setup = || world.bbtoken(["setup", "--yes"]).done().expect(0).quiet();
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        for key in ["credential.helper", &site, &path, &pattern] {
            for is_section_there in [false, true] {
                fs::write(world.home().join(".gitconfig"), &first).expect("it is the world's");
                if is_section_there {
                    set(&user, "ann");
                }
                setup();
                set(key, "store");
                let shown = world.bbtoken(["doctor"]).ok();
                let findings = ["'store' also gets the tokens for", "git asks 'store' for"]
                    .map(|text| format!("note     credential helper: {text} {base}"));
                assert!(
                    findings.iter().any(|text| shown.contains(text)),
                    "{key}: {shown}"
                );
                setup();
                let shown = world.bbtoken(["doctor"]).ok();
                assert!(
                    !findings.iter().any(|text| shown.contains(text)),
                    "{key}: {}\n{shown}",
                    world.gitconfig()
                );
                let told = chain(world, &tree);
                assert!(
                    matches!(&told[..], [only] if only.contains("git-bbtoken")),
                    "{key}: {told:?} in {}",
                    world.gitconfig()
                );
                let now = world.gitconfig();
                setup();
                assert_eq!(world.gitconfig(), now, "once more changes nothing");
                world.bbtoken(["unsetup", "--yes"]).done().expect(0).quiet();
                let left = world.gitconfig();
                fs::write(world.home().join(".gitconfig"), &first).expect("it is the world's");
                if is_section_there {
                    set(&user, "ann");
                }
                set(key, "store");
                assert_eq!(left, world.gitconfig(), "every byte is the user's");
            }
        }
    });
}

#[test]
fn the_fix_for_a_helper_of_a_repository_is_a_command_that_works() {
    on_every_git(|world| {
        let base = world.bitbucket.base_url();
        world.git(["init", "-q", "it's a tree"]).ok();
        let tree = world.path("it's a tree");
        let config = tree.join(".git/config");
        let first = fs::read(&config).expect("git made it");
        world.bbtoken(["setup", "--yes"]).ok();
        let keys = [
            "credential.helper".to_owned(),
            format!("credential.{base}.helper"),
            format!("credential.{base}/ws.helper"),
        ];
        for key in keys {
            for value in ["store", ""] {
                fs::write(&config, &first).expect("it is ours");
                world.git(["config", &key, value]).within(&tree).ok();
                let shown = world.bbtoken(["doctor"]).within(&tree).ok();
                let found = shown.split_once("note     credential helper: ");
                if value.is_empty() && key.ends_with("/ws.helper") {
                    assert!(found.is_none(), "no helper is the user's choice for a path");
                    continue;
                }
                let (_, rest) = found.unwrap_or_else(|| panic!("'{key}={value}': {shown}"));
                let fix = rest.lines().nth(1).expect("it has a fix");
                let fix = fix.trim().trim_start_matches("-> ");
                assert!(fix.starts_with("git config --file "), "{fix}");
                world.run(Path::new("sh"), ["-c", fix]).within(&tree).ok();
                let shown = world.bbtoken(["doctor"]).within(&tree).ok();
                assert!(
                    shown.contains("ok       credential helper: the helper alone answers"),
                    "{fix}: {shown}"
                );
                let told = chain(world, &tree);
                assert!(
                    matches!(&told[..], [only] if only.contains("git-bbtoken")),
                    "{told:?}"
                );
            }
        }
    });
}

#[cfg(unix)]
#[test]
fn the_helper_is_named_as_on_path_and_a_stale_name_is_replaced() {
    on_every_git(|world| {
        let first = world.gitconfig();
        let (old, new) = (world.path("Cellar/1/bin"), world.path("bin"));
        for directory in [&old, &new] {
            fs::create_dir_all(directory).expect("the world can be written");
        }
        let program = helper().with_file_name("git-bbtoken");
        std::os::unix::fs::symlink(&program, old.join("git-bbtoken")).expect("it is empty");
        let path = |directory: &Path| {
            let git = world.git.program.parent().expect("it has one");
            std::env::join_paths([Path::new(""), directory, git, Path::new("/usr/bin")])
                .expect("no colons")
        };
        let run = |directory: &Path, command: &[&str]| {
            let run = world.run(&program, command);
            run.env("PATH", path(directory))
        };
        run(&old, &["setup", "--yes"]).ok();
        let line = |directory: &Path| {
            format!(
                "helper = !'{}/git-bbtoken' credential\n",
                directory.display()
            )
        };
        assert!(
            world.gitconfig().contains(&line(&old)),
            "{}",
            world.gitconfig()
        );
        // A package manager's upgrade takes the old directory away.
        fs::rename(old.join("git-bbtoken"), new.join("git-bbtoken")).expect("both are ours");
        let shown = run(&new, &["doctor"]).done().stdout;
        let finding = format!(
            "problem  credential helper: '{}/git-bbtoken' no longer exists, ",
            old.display()
        );
        assert!(shown.contains(&finding), "{shown}");
        run(&new, &["setup", "--yes"]).done().expect(0).quiet();
        let text = world.gitconfig();
        assert!(
            text.contains(&line(&new)) && !text.contains("Cellar"),
            "{text}"
        );
        let shown = run(&new, &["doctor"]).done().stdout;
        assert!(
            shown.contains("ok       credential helper: the helper alone answers"),
            "{shown}"
        );
        run(&new, &["unsetup", "--yes"]).ok();
        assert_eq!(world.gitconfig(), first, "every byte is as it was");
    });
}

#[test]
fn the_script_of_a_version_manager_is_named_and_not_the_version_that_it_starts() {
    on_every_git(|world| {
        use std::os::unix::fs::PermissionsExt as _;
        let shims = world.path("shims");
        fs::create_dir(&shims).expect("the world can be written");
        let program = helper().with_file_name("git-bbtoken");
        let shim = shims.join("git-bbtoken");
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
        fs::write(&shim, script).expect("it is empty");
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let git = world.git.program.parent().expect("it has one");
        let path = std::env::join_paths([&shims, git, Path::new("/usr/bin")]);
        let run = |command: &str| {
            let run = world.git(["bbtoken", command, "--yes"]);
            run.env("PATH", path.as_ref().expect("no colons")).ok()
        };
        let first = world.gitconfig();
        run("setup");
        let line = format!("helper = !'{}' credential\n", shim.display());
        let text = world.gitconfig();
        assert!(text.contains(&line), "{text}");
        run("unsetup");
        assert_eq!(world.gitconfig(), first, "every byte is as it was");
    });
}

#[test]
fn what_included_files_say_is_not_written_again() {
    on_every_git(|world| {
        let first = world.gitconfig();
        let plain = |arguments: &[&str]| {
            world
                .bbtoken(arguments.iter().copied())
                .done()
                .expect(0)
                .quiet()
        };
        plain(&["setup", "--everywhere", "--yes"]);
        let all = world.gitconfig();
        let added = all.strip_prefix(&first).expect("it was appended");
        fs::write(world.home().join("dotfile"), added).expect("the home is ours");
        let including = format!("{first}[include]\n\tpath = dotfile\n");
        fs::write(world.home().join(".gitconfig"), &including).expect("the home is ours");
        let done = plain(&["setup", "--everywhere", "--yes"]);
        assert_eq!(done.stdout, "Git is set up already; nothing to change.\n");
        // An include that holds in one place only is no setting of everywhere.
        let conditional = format!(
            "{first}[includeIf \"gitdir:{}/\"]\n\tpath = dotfile\n",
            world.path("tree").display()
        );
        fs::write(world.home().join(".gitconfig"), &conditional).expect("the home is ours");
        world.git(["init", "-q", "tree"]).ok();
        world
            .bbtoken(["setup", "--yes"])
            .within(world.path("tree"))
            .ok();
        assert!(
            world.gitconfig().contains("useHttpPath"),
            "{}",
            world.gitconfig()
        );
    });
}

#[test]
fn setup_warns_of_a_helper_that_stays_after_its_own() {
    let world = World::new(gits().remove(0));
    let base = world.bitbucket.base_url();
    let section = |name: &str| format!("[credential \"{name}\"]\n\tusername = ann\n");
    let text = section(base) + &section(&format!("{base}/")) + "[credential]\n\thelper = store\n";
    fs::write(world.home().join(".gitconfig"), &text).expect("the home is ours");
    let done = world.bbtoken(["setup", "--yes"]).done().expect(0);
    done.says(&[&format!(
        "warning: git asks another credential helper for {base} after the helper: in your git configuration, move the section with 'git-bbtoken' to the end\n"
    )]);
    world.bbtoken(["unsetup", "--yes"]).ok();
    assert_eq!(world.gitconfig(), text, "every byte is as it was");
}

#[test]
fn the_other_name_of_bitbucket_is_the_same_site_after_setup() {
    needs!("git-lfs");
    on_every_git(|world| {
        world
            .bbtoken(["setup", "--yes"])
            .without("BBTOKEN_BASE_URL")
            .ok();
        let url = "https://www.bitbucket.org/ws/repo.git";
        let led = world.git(["ls-remote", "--get-url", url]).ok();
        assert_eq!(led, "https://bitbucket.org/ws/repo.git\n");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        world
            .git(["remote", "add", "origin", url])
            .within(&tree)
            .ok();
        let shown = world.git(["lfs", "env"]).within(&tree).ok();
        let endpoint = "Endpoint=https://bitbucket.org/ws/repo.git/info/lfs (auth=basic)\n";
        assert!(shown.contains(endpoint), "{shown}");
        world
            .bbtoken(["unsetup", "--yes"])
            .without("BBTOKEN_BASE_URL")
            .ok();
        assert!(!world.gitconfig().contains("bitbucket"));
    });
}
