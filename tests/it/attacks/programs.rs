//! The programs that start, and the environment variables of each child.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    needs::needs,
    support::{Run, World, helper, on_every_git, put_program},
};

/// Programs that we start by their names.
const NAMES: [&str; 7] = [
    "git",
    "curl",
    "git-lfs",
    "sh",
    "getsecret",
    "xdg-open",
    "gio",
];

fn script(path: &Path, text: &str) {
    put_program(path, format!("#!/bin/sh\n{text}\n"));
}

fn path_of(directories: &[&Path]) -> OsString {
    std::env::join_paths(directories).expect("no path holds a colon")
}

/// A profile whose secret a command prints.
fn with_command(world: &World, command: &str) {
    for (key, value) in [
        ("clientId", world.consumer.key.as_str()),
        ("clientSecretCommand", command),
    ] {
        let key = format!("bbtoken.work.{key}");
        world.git(["config", "--global", &key, value]).ok();
    }
}

#[test]
fn no_program_starts_from_the_directory_that_git_runs_in() {
    needs!("curl");
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let marker = world.path("marker");
        for directory in [tree.clone(), tree.join("bin")] {
            fs::create_dir_all(&directory).expect("it is ours");
            for name in NAMES {
                script(
                    &directory.join(name),
                    &format!("touch '{}'", marker.display()),
                );
            }
        }
        let own = world.path("own");
        fs::create_dir(&own).expect("it is new");
        script(
            &own.join("getsecret"),
            &format!("echo '{}'", world.consumer.secret),
        );
        let mut usual = vec![own];
        usual.extend(std::env::split_paths(&world.search_path()));
        let relative = ["", ".", "bin", "./bin"].map(PathBuf::from);
        for relative in &relative {
            let path = path_of(
                &[
                    &[relative.as_path()],
                    &usual.iter().map(PathBuf::as_path).collect::<Vec<_>>()[..],
                ]
                .concat(),
            );
            let run = |run: Run| run.env("PATH", &path).within(&tree);
            for command in ["getsecret", "!getsecret", "!sh -c getsecret"] {
                with_command(world, command);
                let _ = fs::remove_dir_all(world.cache());
                let token = run(world.bbtoken(["token", "--profile", "work"])).without_client();
                token.ok();
            }
            run(world.bbtoken(["exec", "--", "getsecret"])).ok();
            run(world.bbtoken(["status"])).ok();
            run(world.bbtoken(["doctor"])).done();
            let socket = "http.proxy=socks5h://localhost/nowhere";
            let _ = fs::remove_dir_all(world.cache());
            let token =
                run(world.bbtoken(["token"])).env("GIT_CONFIG_PARAMETERS", format!("'{socket}'"));
            token.fails(6).says(&["curl says: "]);
            let fetch = run(world.run(&helper(), ["origin", "bbtoken::ws/repo"]));
            let fetch = fetch
                .env("GIT_DIR", tree.join(".git"))
                .env("BBTOKEN_TRANSPORT", "git");
            fetch.input("list\n\n").ok();
            assert!(
                !marker.exists(),
                "'{}' leads into the work tree",
                relative.display()
            );
        }
    });
}

#[test]
fn a_secret_command_at_a_relative_path_is_refused() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let marker = world.path("marker");
        script(
            &tree.join("getsecret"),
            &format!("touch '{}'", marker.display()),
        );
        with_command(world, "./getsecret");
        fs::remove_dir_all(world.cache()).expect("a token was cached");
        let token = world.bbtoken(["token", "--profile", "work"]).within(&tree);
        let token = token.without_client().fails(3);
        token.says(&["bbtoken.work.clientSecretCommand", "give an absolute path"]);
        assert!(!marker.exists(), "it lies in the work tree");
    });
}

/// What a child got.
struct Given {
    directory: String,
    variables: BTreeMap<String, String>,
}

/// Directories in front of `PATH`, whose programs write down what they are given.
struct Dumps(PathBuf);

impl Dumps {
    fn new(world: &World) -> Self {
        let directory = world.path("dumps");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("it is new");
        let dump = "{ pwd; env; } >\"$0.$1.env\"";
        for (name, then) in [
            (
                "git",
                format!("exec '{}' \"$@\"", world.git.program.display()),
            ),
            ("curl", "exit 7".to_owned()),
            ("getsecret", format!("echo '{}'", world.consumer.secret)),
            ("somebodys", String::new()),
        ] {
            script(&directory.join(name), &format!("{dump}\n{then}"));
        }
        Dumps(directory)
    }

    /// Runs one of ours as a child of a git in a repository would be.
    fn within(&self, world: &World, run: Run, tree: &Path) -> Run {
        let usual: Vec<_> = std::env::split_paths(&world.search_path()).collect();
        let mut path = vec![self.0.as_path()];
        path.extend(usual.iter().map(PathBuf::as_path));
        let git = tree.join(".git");
        run.env("PATH", path_of(&path))
            .env("GIT_DIR", &git)
            .env("GIT_COMMON_DIR", &git)
            .env("GIT_WORK_TREE", tree)
            .env("GIT_INDEX_FILE", git.join("index"))
            .env("GIT_PREFIX", "")
            .env("GIT_CONFIG_PARAMETERS", "'core.x=y'")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "core.x")
            .env("GIT_CONFIG_VALUE_0", "canary")
            // Names that users mistype, and one that only we read.
            .env("BBTOKEN_SECRET", &world.consumer.secret)
            .env("BBTOKEN_CLIENTSECRET", &world.consumer.secret)
            .env("BBTOKEN_TOKEN", &world.consumer.secret)
            .env("BBTOKEN_REMEMBER_ADVERTISEMENT", "true")
            .within(tree)
    }

    #[track_caller]
    fn of(&self, program: &str, argument: &str) -> Given {
        let file = self.0.join(format!("{program}.{argument}.env"));
        let text = fs::read_to_string(&file).unwrap_or_else(|_| {
            let there = fs::read_dir(&self.0).expect("it is ours").flatten();
            let there: Vec<_> = there.map(|entry| entry.file_name()).collect();
            panic!("'{program} {argument}' was not started: {there:?}")
        });
        let (directory, variables) = text.split_once('\n').expect("pwd came first");
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        Given {
            directory: directory.to_owned(),
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

impl Given {
    fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    #[track_caller]
    fn has_no_secret(&self, world: &World) {
        for (name, value) in &self.variables {
            assert!(
                !value.contains(&world.consumer.secret),
                "{name} holds a secret"
            );
        }
    }

    /// Names the variables of ours that it has.
    fn ours(&self) -> Vec<&str> {
        let names = self.variables.keys().map(String::as_str);
        names.filter(|name| name.starts_with("BBTOKEN_")).collect()
    }

    /// What git itself takes from a child that works in another repository.
    #[track_caller]
    fn has_no_repository(&self, world: &World) {
        let local = world.git(["rev-parse", "--local-env-vars"]).ok();
        let names = local
            .lines()
            .chain(["GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"]);
        let left: Vec<_> = names.filter(|name| self.has(name)).collect();
        assert_eq!(
            left,
            Vec::<&str>::new(),
            "they lead into the user's repository"
        );
    }
}

#[test]
fn a_secret_command_gets_nothing_of_the_repository() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        for (command, argument) in [("getsecret a", "a"), ("!getsecret b", "b")] {
            let dumps = Dumps::new(world);
            with_command(world, command);
            let _ = fs::remove_dir_all(world.cache());
            let run = world
                .bbtoken(["token", "--profile", "work"])
                .without_client();
            dumps.within(world, run, &tree).ok();
            let given = dumps.of("getsecret", argument);
            given.has_no_repository(world);
            assert_eq!(given.ours(), Vec::<&str>::new(), "{command}");
            assert_eq!(Path::new(&given.directory), world.home(), "no work tree");
            assert!(
                given.has("HOME") && given.has("LC_ALL"),
                "the other variables are there"
            );
        }
    });
}

#[test]
fn a_secret_command_may_read_a_repository_of_its_own() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let secrets = world.path("secrets");
        world.git(["init", "-q"]).arg(&secrets).ok();
        world.commit(&secrets, "tok", &world.consumer.secret);
        with_command(
            world,
            &format!("!git -C '{}' show HEAD:tok", secrets.display()),
        );
        let _ = fs::remove_dir_all(world.cache());
        for arguments in [
            &["fetch"][..],
            &["clone", "-q", "bbtoken::work@ws/repo", "copy"],
        ] {
            let _ = fs::remove_dir_all(world.cache());
            let run = world
                .git(arguments)
                .without_client()
                .env("BBTOKEN_PROFILE", "work");
            let run = if arguments.len() == 1 {
                run.within(&tree)
            } else {
                run
            };
            run.ok();
        }
    });
}

#[test]
fn gits_commands_get_no_secret() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let dumps = Dumps::new(world);
        dumps.within(world, world.bbtoken(["doctor"]), &tree).done();
        assert_eq!(dumps.of("git", "--version").ours(), Vec::<&str>::new());
        let given = dumps.of("git", "-C");
        assert_eq!(given.ours(), Vec::<&str>::new());
        assert!(given.has("GIT_DIR"), "git runs for this repository");
        let asks = "'http.proxy=http://ann@127.0.0.1:9'";
        let _ = fs::remove_dir_all(world.cache());
        let run = dumps.within(world, world.bbtoken(["token"]), &tree);
        run.env("GIT_CONFIG_PARAMETERS", asks).fails(6);
        let given = dumps.of("git", "credential");
        assert_eq!(given.ours(), Vec::<&str>::new());
        assert!(
            given.has("GIT_DIR"),
            "its helpers are this repository's, too"
        );
    });
}

#[test]
fn gits_own_transport_gets_what_it_needs_to_ask_us() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let dumps = Dumps::new(world);
        let run = world.run(&helper(), ["origin", "bbtoken::ws/repo"]);
        let run = dumps
            .within(world, run, &tree)
            .env("BBTOKEN_TRANSPORT", "git");
        run.input("list\n\n").ok();
        let given = dumps.of("git", "remote-https");
        let secret = given.variables.get("BBTOKEN_CLIENT_SECRET");
        assert_eq!(secret, Some(&world.consumer.secret));
        assert!(given.has("GIT_DIR"), "it fetches into this repository");
    });
}

#[test]
fn curl_gets_nothing_of_ours_or_gits() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let dumps = Dumps::new(world);
        let _ = fs::remove_dir_all(world.cache());
        let run = dumps.within(world, world.bbtoken(["token"]), &tree);
        let proxy = "'http.proxy=socks5h://localhost/nowhere'";
        run.env("GIT_CONFIG_PARAMETERS", proxy).fails(6);
        let given = dumps.of("curl", "--disable");
        let foreign = |name: &&String| name.starts_with("BBTOKEN_") || name.starts_with("GIT_");
        let left: Vec<_> = given.variables.keys().filter(foreign).collect();
        assert_eq!(left, Vec::<&String>::new());
        assert!(given.has("HOME"), "the other variables are there");
    });
}

/// Variables by which curl and its libraries find files.
const FILES_OF_LIBRARIES: [&str; 9] = [
    "CURL_CA_BUNDLE",
    "CURL_HOME",
    "GNUTLS_SYSTEM_PRIORITY_FILE",
    "KRB5_CONFIG",
    "KRB5_TRACE",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "SSLKEYLOGFILE",
];

#[test]
fn no_program_gets_a_variable_that_names_a_relative_file() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let dumps = Dumps::new(world);
        let with = |run: Run, file: &str| {
            let variables = FILES_OF_LIBRARIES.iter();
            variables.fold(run, |run, name| run.env(name, file))
        };
        let left = |given: &Given| {
            let names = FILES_OF_LIBRARIES.iter().copied();
            names.filter(|name| given.has(name)).collect::<Vec<_>>()
        };
        let absolute = world.path("file").display().to_string();
        for (file, expected) in [
            ("file", &[][..]),
            ("./file", &[]),
            (absolute.as_str(), &FILES_OF_LIBRARIES),
        ] {
            let _ = fs::remove_dir_all(world.cache());
            let run = dumps.within(world, world.bbtoken(["token"]), &tree);
            let proxy = "'http.proxy=socks5h://localhost/nowhere'";
            let run = run.env("GIT_CONFIG_PARAMETERS", proxy);
            with(run, file).fails(6);
            assert_eq!(left(&dumps.of("curl", "--disable")), expected, "{file}");
        }
        let run = world.run(&helper(), ["origin", "bbtoken::ws/repo"]);
        let run = dumps
            .within(world, run, &tree)
            .env("BBTOKEN_TRANSPORT", "git");
        with(run, "file").input("list\n\n").ok();
        let given = dumps.of("git", "remote-https");
        assert_eq!(left(&given), Vec::<&str>::new(), "git's transport is curl");
    });
}

#[test]
fn the_command_of_exec_gets_the_token_alone() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let dumps = Dumps::new(world);
        let run = world.bbtoken(["exec", "--", "somebodys", "a"]);
        dumps.within(world, run, &tree).ok();
        let given = dumps.of("somebodys", "a");
        given.has_no_secret(world);
        let expected = [
            "BBTOKEN_ACCESS_TOKEN",
            "BBTOKEN_BASE_URL",
            "BBTOKEN_CLIENT_ID",
            "BBTOKEN_REMEMBER_ADVERTISEMENT",
        ];
        assert_eq!(
            given.ours(),
            expected,
            "settings, and no secret but the token"
        );
        assert!(given.has("GIT_DIR"));
        assert_eq!(
            Path::new(&given.directory),
            tree,
            "the command runs in its directory"
        );
    });
}
