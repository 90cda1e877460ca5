//! Package managers that take packages from a private repository; rows of docs/programs.md.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    needs::needs,
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
    let project = "[project]\nname = \"example\"\nversion = \"1\"\n\
                   [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";
    world.commit(&tree, "pyproject.toml", project);
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
    needs!("programs/venv");
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
    needs!("programs/venv");
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

/// Adds a package with a program of node's; says what it said.
fn node_add(world: &World, script: &str, options: &[&str], package: &str) -> Done {
    let project = world.path("project");
    let _ = fs::remove_dir_all(&project);
    fs::create_dir(&project).expect("the world can be written");
    fs::write(
        project.join("package.json"),
        r#"{"name": "user", "version": "1.0.0"}"#,
    )
    .expect("it is ours");
    let script = installed("node/node_modules").join(script);
    program(
        world,
        Path::new("node"),
        &[script.to_str().expect("it is text")],
    )
    .arg("add")
    .args(options.iter().copied())
    .arg(package)
    .env("YARN_CACHE_FOLDER", world.path("yarn"))
    .env("YARN_APPROVED_GIT_REPOSITORIES", "**")
    .env("CI", "true")
    .within(&project)
    .done()
}

#[test]
fn pnpm_and_both_yarns_install_from_a_private_repository() {
    needs!("node", "programs/node");
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    let pnpm = |package: &str| {
        let script = "pnpm/bin/pnpm.mjs";
        node_add(&world, script, &["--offline"], package)
    };
    let classic = |package: &str| {
        let options = ["--offline", "--no-lockfile"];
        node_add(&world, "yarn/bin/yarn.js", &options, package)
    };
    let berry = |package: &str| {
        let script = "@yarnpkg/cli-dist/bin/yarn.js";
        node_add(&world, script, &[], &format!("example@{package}"))
    };
    refuses(&pnpm("git+bbtoken://ws/repo"), "is invalid");
    refuses(
        &berry("bbtoken://ws/repo.git"),
        "isn't supported by any available resolver",
    );
    let plain = format!("git+{}", https(&world));
    let manifest = world.path("project/node_modules/example/package.json");
    for done in [
        pnpm(&plain),
        classic("git+bbtoken://ws/repo"),
        classic(&plain),
    ] {
        done.expect(0);
        assert!(manifest.exists(), "it is installed");
    }
    let done = berry(&https(&world)).expect(0);
    assert!(done.stdout.contains("+ example@"), "{}", done.stdout);
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

/// Lets Go get a module of Bitbucket's; says what it said.
fn go_get(world: &World, auth: &str) -> Done {
    let user = world.path("user");
    for directory in [&user, &world.path("gopath")] {
        let _ = fs::remove_dir_all(directory);
    }
    fs::create_dir(&user).expect("the world can be written");
    fs::write(user.join("go.mod"), "module user\n").expect("it is ours");
    let options = ["get", "bitbucket.org/ws/repo@main"];
    program(world, &installed("tools/bin/go"), &options)
        .env("GOPRIVATE", "bitbucket.org/ws")
        .env("GOAUTH", auth)
        .env("GOPROXY", "direct")
        .env("GOTOOLCHAIN", "local")
        .env("GOPATH", world.path("gopath"))
        .env("GOCACHE", world.path("gocache"))
        .env("GOFLAGS", "-modcacherw")
        .within(&user)
        .done()
}

#[test]
fn go_gets_a_private_module() {
    needs!("programs/tools");
    let world = world();
    let tree = world.clone("ws/repo", "module");
    world.commit(&tree, "go.mod", "module bitbucket.org/ws/repo\n");
    world.commit(&tree, "main.go", "package repo\n");
    world.git(["push", "-q"]).within(&tree).ok();
    set_up(&world, &[]);
    // The place of Bitbucket Cloud, for git's own https and the credential helper.
    let base = world.bitbucket.base_url();
    let here = format!("url.{base}/.insteadOf");
    let cloud = ["config", "--global", &here, "https://bitbucket.org/"];
    world.git(cloud).ok();
    go_get(&world, "off").expect(0);
    world.git(["config", "--global", "--unset", &here]).ok();
    let everywhere = ["setup", "--everywhere", "--yes"];
    world.bbtoken(everywhere).without("BBTOKEN_BASE_URL").ok();
    for auth in ["off".to_owned(), format!("git {}", world.home().display())] {
        go_get(&world, &auth).expect(0);
    }
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn composer_installs_from_a_private_repository() {
    needs!("composer");
    let world = world();
    let tree = world.clone("ws/repo", "package");
    let package = r#"{"name": "ws/example", "version": "1.0.0"}"#;
    world.commit(&tree, "composer.json", package);
    world.git(["push", "-q"]).within(&tree).ok();
    set_up(&world, &[]);
    let project = world.path("project");
    for url in ["bbtoken::ws/repo", "bbtoken://ws/repo", &https(&world)] {
        let _ = fs::remove_dir_all(&project);
        fs::create_dir(&project).expect("the world can be written");
        let manifest = format!(
            r#"{{"repositories": [{{"type": "git", "url": "{url}"}}, {{"packagist.org": false}}],
            "require": {{"ws/example": "dev-main"}}}}"#
        );
        fs::write(project.join("composer.json"), manifest).expect("it is ours");
        let options = ["install", "--no-interaction", "--no-progress"];
        program(&world, Path::new("composer"), &options)
            .env("COMPOSER_ALLOW_SUPERUSER", "1")
            .env("COMPOSER_HOME", world.path("composer"))
            .within(&project)
            .done()
            .expect(0);
        let installed = project.join("vendor/ws/example/composer.json");
        assert!(installed.exists(), "{url}");
    }
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn npm_installs_from_a_private_repository() {
    needs!("npm");
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

/// By itself cargo looks for the helper of a host without its port, which bitbucket.org has not and we have.
fn answer_cargo(world: &World) {
    let pattern = r"^credential\..*\.helper$";
    let helper = world.git(["config", "--global", "--get-regexp", pattern, "credential$"]);
    let helper = helper.ok();
    let (key, helper) = helper.trim_end().split_once(' ').expect("setup wrote it");
    let site = world.bitbucket.base_url();
    let rule = "cargo does not look for a section with a slash at its end";
    assert_eq!(key, format!("credential.{site}.helper"), "{rule}");
    let key = "credential.https://localhost.helper";
    world.git(["config", "--global", key, helper]).ok();
}

#[test]
fn with_setup_everywhere_cargo_needs_gits_command_line() {
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    answer_cargo(&world);
    cargo_fetch(&world, &https(&world), false).expect(0);
    set_up(&world, &["--everywhere"]);
    let done = cargo_fetch(&world, &https(&world), false);
    refuses(&done, "failed to clone into");
    cargo_fetch(&world, &https(&world), true).expect(0);
    let way_out =
        "cargo then needs net.git-fetch-with-cli = true, and poetry system-git-client = true";
    let doctor = world.bbtoken(["doctor"]).done().stdout;
    assert!(doctor.contains(way_out), "{doctor}");
    let removed = world.bbtoken(["unsetup", "--dry-run"]).ok();
    assert!(removed.contains("url.bbtoken::.insteadOf"), "{removed}");
}

/// Lets poetry lock a dependency; says what it said.
fn poetry_lock(world: &World, url: &str, by_git: bool) -> Done {
    let project = world.path("project");
    let _ = fs::remove_dir_all(&project);
    fs::create_dir(&project).expect("the world can be written");
    let manifest = format!(
        "[project]\nname = \"user\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n\
         [tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nexample = {{ git = \"{url}\" }}\n"
    );
    fs::write(project.join("pyproject.toml"), manifest).expect("it is ours");
    // It starts ssh for what looks like a host.
    let programs = world.path("programs");
    fs::create_dir_all(&programs).expect("the world can be written");
    let _ = std::os::unix::fs::symlink("/bin/false", programs.join("ssh"));
    let search_path = world.search_path();
    let path = std::iter::once(programs).chain(env::split_paths(&search_path));
    let path = env::join_paths(path).expect("no path holds a colon");
    let options = ["lock", "--no-interaction", "--no-cache"];
    program(world, &installed("tools/bin/poetry"), &options)
        .env("POETRY_SYSTEM_GIT_CLIENT", by_git.to_string())
        .env("POETRY_VIRTUALENVS_CREATE", "false")
        .env("PATH", path)
        .within(&project)
        .done()
}

#[test]
fn poetry_locks_a_private_repository_and_needs_git_with_setup_everywhere() {
    needs!("programs/tools");
    let world = world();
    publish_package(&world);
    set_up(&world, &[]);
    for by_git in [false, true] {
        poetry_lock(&world, &https(&world), by_git).expect(0);
        let lock = fs::read_to_string(world.path("project/poetry.lock")).expect("poetry writes it");
        assert!(lock.contains("resolved_reference"), "{lock}");
    }
    refuses(
        &poetry_lock(&world, "bbtoken::ws/repo", true),
        "Invalid git url",
    );
    set_up(&world, &["--everywhere"]);
    refuses(
        &poetry_lock(&world, &https(&world), false),
        "unexpectedly closed the connection",
    );
    poetry_lock(&world, &https(&world), true).expect(0);
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
    answer_cargo(&world);
    cargo_fetch(&world, &https(&world), false).expect(0);
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}
