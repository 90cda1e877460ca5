//! Help, completions, manual pages and the reference all come from one definition and match the code.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    needs::needs,
    support::{World, copy_program, gits},
};

pub(crate) const COMMANDS: [&str; 18] = [
    "login",
    "logout",
    "renew",
    "use",
    "whoami",
    "status",
    "token",
    "exec",
    "setup",
    "unsetup",
    "remote",
    "credential",
    "doctor",
    "completions",
    "man",
    "agent",
    "version",
    "help",
];

/// What `git bbtoken help` explains apart from commands, but for the reference, which holds them all.
pub(crate) const TOPICS: [&str; 7] = [
    "config",
    "environment",
    "exit-codes",
    "profiles",
    "bitbucket",
    "json",
    "lfs",
];

fn world() -> World {
    World::new(gits().remove(0))
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

#[test]
fn every_command_has_help_in_the_imperative() {
    let world = world();
    let all = world.bbtoken(["help"]).done().expect(0).quiet().stdout;
    assert_eq!(
        world.git(["bbtoken", "-h"]).ok().lines().next(),
        all.lines().next()
    );
    for command in COMMANDS {
        let help = world.bbtoken(["help", command]).ok();
        assert_eq!(
            world.bbtoken([command, "--help"]).ok().trim_end(),
            help.trim_end()
        );
        let first = help.lines().next().unwrap_or("");
        assert!(
            !first.ends_with('.') && first.starts_with(|c: char| c.is_uppercase()),
            "{first}"
        );
        assert!(all.contains(&format!("  {command}")), "{command} is listed");
        let widest = help
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        assert!(widest <= 90, "{command} is {widest} wide");
        let narrow = world.bbtoken(["help", command]).env("COLUMNS", "40").ok();
        let widest = narrow
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        assert!(
            widest <= 60,
            "{command} fits a narrow terminal, but for usage lines: {widest}"
        );
    }
}

#[test]
fn a_wrong_command_line_gets_a_suggestion() {
    let world = world();
    let done = world.bbtoken(["lgoin"]).fails(2);
    assert_eq!(
        done.stderr,
        "error: unrecognized subcommand 'lgoin'\n\n  tip: a similar subcommand exists: 'login'\n\n\
         Usage: git bbtoken <COMMAND>\n\nFor more information, try 'git bbtoken help'.\n"
    );
    world
        .bbtoken(["status", "--jsno"])
        .fails(2)
        .says(&["tip: a similar argument exists: '--json'"]);
    let done = world.bbtoken(["help", "nothing"]).fails(2);
    assert_eq!(
        done.stderr,
        "error: there is no help for 'nothing'; give a subcommand ('git bbtoken help' lists them) or one of: config, environment, exit-codes, profiles, bitbucket, json, lfs, reference\n"
    );
    assert_eq!(
        world.bbtoken(["--version"]).ok(),
        format!("git-bbtoken {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn every_topic_is_named_in_the_help() {
    let world = world();
    let told = world.bbtoken(["help", "nothing"]).fails(2).stderr;
    let topics = told.trim_end().rsplit("one of: ").next().unwrap_or("");
    let topics: Vec<_> = topics.split(", ").collect();
    assert!(topics.len() >= 8, "{topics:?}");
    let all = world.bbtoken(["help"]).ok();
    let help = world.bbtoken(["help", "help"]).ok();
    let offer = [
        "completions",
        "bash",
        "--at",
        "2",
        "--",
        "git-bbtoken",
        "help",
    ];
    let offered = world.bbtoken(offer).ok();
    for topic in topics {
        for text in [&all, &help, &offered] {
            let is_topic = |word: &str| word.trim_matches(|c: char| "',.\"".contains(c)) == topic;
            assert!(text.split_whitespace().any(is_topic), "{topic}: {text}");
        }
    }
}

#[test]
fn the_reference_is_the_one_in_the_code() {
    let made = world().bbtoken(["help", "reference"]).ok();
    let kept = read("docs/reference.md");
    assert!(
        made == kept,
        "docs/reference.md has drifted; write it anew: git bbtoken help reference > docs/reference.md"
    );
}

#[test]
fn every_variable_and_key_is_in_the_reference() {
    let reference = read("docs/reference.md");
    let table = read("src/profile/key.rs");
    let source = read("src/git_config/profiles.rs") + &read("src/app/mod.rs") + &table;
    let variables: BTreeSet<_> = source
        .split('"')
        .filter(|word| {
            word.starts_with("BBTOKEN_") && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
        .collect();
    assert!(variables.len() >= 25, "they were found: {variables:?}");
    for variable in variables {
        assert!(
            reference.contains(&format!("| `{variable}` |")),
            "{variable} is missing"
        );
    }
    let keys: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.split_once(": \"")?.1.split_once("\", "))
        .map(|(key, _)| key)
        .collect();
    assert!(keys.len() >= 27, "they were found: {keys:?}");
    for key in keys {
        let row = format!("| `{key}` |");
        assert!(reference.contains(&row), "{key} is missing");
    }
    let readme = read("README.md");
    for word in readme.split(|c: char| !c.is_ascii_uppercase() && c != '_') {
        if word.starts_with("BBTOKEN_") {
            assert!(
                reference.contains(word),
                "the README's {word} is in the reference"
            );
        }
    }
}

/// The sections of every manual page.
const SECTIONS: [&str; 8] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "EXAMPLES",
    "ENVIRONMENT",
    "FILES",
    "EXIT STATUS",
    "SEE ALSO",
];

/// Mends of the manual pages' checkers are not asked for: only that they have nothing to say.
#[test]
fn manual_pages_are_rendered_without_a_warning() {
    needs!("groff", "mandoc", "man");
    let world = world();
    let pages = world.path("man/man1");
    world.bbtoken(["man", "--directory"]).arg(&pages).ok();
    let mut count = 0;
    for entry in fs::read_dir(&pages).expect("it was made").flatten() {
        let page = entry.path();
        let text = fs::read_to_string(&page).expect("it is text");
        for section in SECTIONS {
            let is_head = |line: &&str| line.replace('"', "") == format!(".SH {section}");
            let count = text.lines().filter(is_head).count();
            assert_eq!(count, 1, "{section} in {page:?}");
        }
        let groff = ["-man", "-ww", "-z", "-Kutf8"];
        world
            .run(Path::new("/usr/bin/groff"), groff)
            .arg(&page)
            .done()
            .expect(0)
            .quiet();
        let lint = world
            .run(
                Path::new("/usr/bin/mandoc"),
                ["-T", "lint", "-W", "warning"],
            )
            .arg(&page)
            .done();
        // There is no date on purpose: two builds give the same bytes.
        let said = lint.stdout + &lint.stderr;
        let said: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("missing date"))
            .collect();
        assert!(said.is_empty(), "{said:#?}");
        let rendered = world
            .run(Path::new("/usr/bin/man"), ["--warnings", "-l"])
            .arg(&page);
        let rendered = rendered.env("MANPAGER", "cat").done().expect(0).quiet();
        let rendered = rendered.stdout.split_whitespace().collect::<Vec<_>>();
        let rendered = rendered.join(" ");
        let title = page.file_stem().expect("it is a file").to_string_lossy();
        assert!(rendered.contains(&*title), "{page:?}");
        for said in [
            "BBTOKEN_CLIENT_SECRET_FILE the absolute path of a file",
            "~/.local/state/git-remote-bbtoken logins",
            "EXIT STATUS 0 done",
        ] {
            assert!(rendered.contains(said), "'{said}' in {page:?}: {rendered}");
        }
        count += 1;
    }
    assert_eq!(
        count,
        COMMANDS.len() + 5,
        "one for each, for 'remote convert', two of 'agent', and for both programs"
    );
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect("it is there");
    let helper = page("git-remote-bbtoken.1");
    for said in [
        ".SH ADDRESSES",
        ".SH \"WHAT GIT DOES\"",
        "bbtoken::profile@workspace/repository",
        "\\fB128\\fR",
    ] {
        assert!(helper.contains(said), "the helper's page has '{said}'");
    }
    assert!(
        !helper.contains("\\fB3\\fR"),
        "the helper ends with 0 or 128 only"
    );
    assert!(page("git-bbtoken-exec.1").contains("\\fB126\\fR"));
    let one = page("git-bbtoken.1");
    assert_eq!(world.bbtoken(["man"]).ok(), one);
}

#[test]
fn git_help_shows_the_manual_pages() {
    needs!("man");
    let world = world();
    world
        .bbtoken(["man", "--directory"])
        .arg(world.path("man/man1"))
        .ok();
    let read = |run: crate::support::Run| {
        run.env("MANPATH", world.path("man"))
            .env("MANPAGER", "cat")
            .done()
            .expect(0)
            .quiet()
            .stdout
    };
    let shown = read(world.git(["help", "bbtoken"]));
    assert!(shown.contains("Manage the tokens"), "{shown}");
    let shown = read(world.run(Path::new("/usr/bin/man"), ["git-bbtoken-login"]));
    assert!(shown.contains("--client-credentials"), "{shown}");
}

/// Runs `man --install` for programs in a directory, and gives what a person then sees of `git bbtoken --help`.
fn help_after_install(world: &World, programs: &Path, environment: &[(&str, &str)]) -> String {
    let path = std::env::join_paths(
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&world.search_path())),
    );
    let path = path.expect("no path holds a colon");
    let line = "git bbtoken man --install 2> said; code=$?; eval \"$(grep '^  export MANPATH=' said)\"; \
                cat said; git bbtoken --help && man git-remote-bbtoken; exit $code";
    let mut shell = world
        .run(Path::new("/bin/sh"), ["-c", line])
        .env("PATH", path)
        .env("MANPAGER", "cat");
    for (name, value) in environment {
        shell = shell.env(name, value);
    }
    let shown = shell.done().expect(0).quiet().stdout;
    for page in ["Manage the tokens", "WHAT GIT DOES"] {
        assert!(shown.contains(page), "'{page}' is shown: {shown}");
    }
    shown
}

#[test]
fn git_shows_the_manual_pages_that_were_installed() {
    let world = world();
    let none = world.git(["bbtoken", "--help"]).done();
    assert_ne!(none.code, Some(0), "there are no pages yet: {none:?}");
    let home = world.home();
    let bin = home.join(".local/bin");
    fs::create_dir_all(&bin).expect("the world can be written");

    // 'man' searches '~/.local/share/man' if '~/.local/bin' is on PATH.
    let shown = help_after_install(&world, &bin, &[]);
    let place = home.join(".local/share/man/man1");
    let said = format!("Wrote the manual pages to '{}'.", place.display());
    assert!(shown.starts_with(&said), "{shown}");
    assert!(!shown.contains("MANPATH="), "'man' finds them: {shown}");
    assert!(place.join("git-bbtoken-remote-convert.1").exists());
}

#[test]
fn manual_pages_are_installed_beside_programs_whose_pages_man_searches() {
    let world = world();
    let bin = world.path("cargo/bin");
    fs::create_dir_all(&bin).expect("the world can be written");
    for program in ["git-bbtoken", "git-remote-bbtoken"] {
        let from = crate::support::helper().with_file_name(program);
        copy_program(&from, &bin.join(program));
    }
    let shown = help_after_install(&world, &bin, &[]);
    let place = world.path("cargo/share/man/man1");
    let said = format!("Wrote the manual pages to '{}'.", place.display());
    assert!(shown.starts_with(&said), "{shown}");
    assert!(!shown.contains("MANPATH="), "'man' finds them: {shown}");
    assert!(
        !world.home().join(".local/share/man").exists(),
        "an unused directory is not left behind"
    );
}

#[test]
fn installed_manual_pages_that_man_does_not_search_come_with_the_line_that_helps() {
    let world = world();
    let data = world.path("it's data");
    let data = data.to_str().expect("it is text");
    let nowhere = world.path("nowhere");
    for environment in [
        &[("XDG_DATA_HOME", data)][..],
        &[("XDG_DATA_HOME", data), ("MANPATH", "/usr/share/man")],
    ] {
        let shown = help_after_install(&world, &nowhere, environment);
        let said = format!("Wrote the manual pages to '{data}/man/man1'.");
        assert!(shown.starts_with(&said), "{shown}");
        assert!(shown.contains("  export MANPATH='"), "{shown}");
    }
    world
        .bbtoken(["man", "--install", "--directory", "here"])
        .fails(2);
    world
        .bbtoken(["man", "--install"])
        .env("HOME", "relative")
        .fails(2)
        .says(&["there is no home directory for the manual pages; give --directory"]);
}
