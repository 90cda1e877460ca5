//! Package managers that take packages from a private repository; rows of docs/programs.md.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    programs::{https, installed, program, refuses, set_up, world},
    support::{Done, World},
};

/// Puts a package for pip, cargo and npm into `ws/repo`.
fn publish_package(world: &World) {
    let tree = world.clone("ws/repo", "package");
    fs::create_dir(tree.join("src")).expect("it is ours");
    world.commit(&tree, "src/lib.rs", "");
    let manifest = "[package]\nname = \"example\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    world.commit(&tree, "Cargo.toml", manifest);
    world.commit(&tree, "example.py", "");
    let setup = "from setuptools import setup\nsetup(name='example', version='1', py_modules=['example'])\n";
    world.commit(&tree, "setup.py", setup);
    world.commit(
        &tree,
        "package.json",
        r#"{"name": "example", "version": "1.0.0"}"#,
    );
    world.git(["push", "-q"]).within(&tree).ok();
}

#[test]
fn pip_installs_from_a_private_repository() {
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    let install = |requirement: &str, to: &str| {
        let options = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
        program(&world, &installed("venv/bin/python"), &options)
            .args([
                "--no-index",
                "--no-deps",
                "--no-build-isolation",
                "--target",
                to,
            ])
            .arg(requirement)
            .env("GIT_SSH_COMMAND", "false")
            .done()
    };
    refuses(
        &install("git+bbtoken://ws/repo", "no"),
        "Invalid requirement",
    );
    install(&format!("git+{}", https(&world)), "https").expect(0);
    assert!(world.path("https/example.py").exists());

    world
        .bbtoken(["setup", "--everywhere", "--yes"])
        .without("BBTOKEN_BASE_URL")
        .ok();
    let ssh = "example @ git+ssh://git@bitbucket.org/ws/repo.git@main";
    install(ssh, "ssh").expect(0);
    assert!(world.path("ssh/example.py").exists());
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn uv_installs_from_a_private_repository() {
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    let install = |address: &str| {
        program(&world, &installed("venv/bin/uv"), &["pip", "install", "-q"])
            .args(["--no-index", "--no-deps", "--no-build-isolation"])
            .args(["--target", "installed", "--python"])
            .arg(installed("venv/bin/python"))
            .arg(format!("example @ git+{address}"))
            .done()
    };
    refuses(&install("bbtoken://ws/repo"), "Unsupported Git URL scheme");
    install(&https(&world)).expect(0);
    assert!(world.path("installed/example.py").exists());
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn npm_installs_from_a_private_repository() {
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    let install = |package: &str| {
        let options = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            package,
        ];
        program(&world, Path::new("npm"), &options).done()
    };
    refuses(&install("git+bbtoken://ws/repo"), "Unsupported URL Type");
    install(&format!("git+{}", https(&world))).expect(0);
    assert!(world.path("node_modules/example/package.json").exists());
    let lock = fs::read_to_string(world.path("package-lock.json")).expect("npm writes it");
    assert!(lock.contains(&format!("git+{}#", https(&world))), "{lock}");
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

/// Lets cargo fetch a dependency; says what it said.
fn cargo_fetch(world: &World, url: &str, by_git: bool) -> Done {
    let crate_directory = world.path("crate");
    // Nothing of another run is left: neither lock file nor cargo's own clone.
    for directory in [&crate_directory, &world.path("cargo-home")] {
        let _ = fs::remove_dir_all(directory);
    }
    fs::create_dir_all(crate_directory.join("src")).expect("the world can be written");
    fs::write(crate_directory.join("src/lib.rs"), "").expect("it is ours");
    let manifest = format!(
        "[package]\nname = \"user\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
         [dependencies]\nexample = {{ git = \"{url}\" }}\n"
    );
    fs::write(crate_directory.join("Cargo.toml"), manifest).expect("it is ours");
    let cargo = PathBuf::from(env::var_os("CARGO").expect("cargo runs the tests"));
    let tools = cargo.parent().map(Path::to_owned);
    let search_path = world.search_path();
    let path = env::split_paths(&search_path).chain(tools);
    program(world, &cargo, &["fetch"])
        .env(
            "PATH",
            env::join_paths(path).expect("no path holds a colon"),
        )
        .env("CARGO_HOME", world.path("cargo-home"))
        .env("CARGO_NET_RETRY", "0")
        .env("CARGO_NET_GIT_FETCH_WITH_CLI", by_git.to_string())
        .within(&crate_directory)
        .done()
}

#[test]
fn cargo_fetches_from_a_private_repository() {
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    refuses(
        &cargo_fetch(&world, "bbtoken::ws/repo", true),
        "invalid url",
    );
    refuses(
        &cargo_fetch(&world, "bbtoken://ws/repo", false),
        "failed to clone into",
    );
    cargo_fetch(&world, "bbtoken://ws/repo", true).expect(0);
    cargo_fetch(&world, &https(&world), true).expect(0);
    // By itself cargo looks for the helper of a host without its port, which bitbucket.org has not and we have.
    let helper = world
        .git([
            "config",
            "--get-regexp",
            r"^credential\..*\.helper$",
            "credential$",
        ])
        .ok();
    let (_, helper) = helper.trim_end().split_once(' ').expect("setup wrote it");
    world
        .git([
            "config",
            "--global",
            "credential.https://localhost.helper",
            helper,
        ])
        .ok();
    cargo_fetch(&world, &https(&world), false).expect(0);
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}
