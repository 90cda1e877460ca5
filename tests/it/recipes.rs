//! Runs the recipes of docs/ci unchanged, like their CI runners.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use serde_json::Value;

use crate::{
    downloads::{self, VERSION, from_release},
    inspect::strace,
    lfs,
    needs::needs,
    programs::installed,
    support::{Run, World, copy_program, helper, on_every_git, put_program},
};

/// How many jobs run on one runner at the same time.
const PARALLEL: usize = 20;
/// A user that no passwd file knows, and another.
const USERS: [&str; 2] = ["12345", "12346"];

fn recipe(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci");
    fs::read_to_string(directory.join(name)).expect("the recipe is there")
}

/// Reads a recipe as its runner does.
fn yaml(world: &World, name: &str) -> Value {
    yaml_of(world, &recipe(name))
}

/// Reads a text in YAML as runners do.
pub(crate) fn yaml_of(world: &World, text: &str) -> Value {
    let script = "import json, sys, yaml; print(json.dumps(yaml.load(sys.stdin, yaml.BaseLoader)))";
    let json = world
        .run(&installed("venv/bin/python"), ["-c", script])
        .input(text)
        .ok();
    serde_json::from_str(&json).expect("it was just written")
}

/// The lines of a script that is a list or a text.
pub(crate) fn script(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().map(script).collect::<Vec<_>>().join("\n"),
        _ => panic!("a script is a list or a text: {value}"),
    }
}

/// A world with `acme/library` and `acme/tools`, and both as submodules of `acme/app`; the library has a file in LFS.
fn prepare(world: &World) {
    for name in ["library", "tools", "app"] {
        world.repository("acme", name);
    }
    lfs::install(world);
    let library = world.clone("acme/library", "library");
    world.git(["lfs", "track", "*.bin"]).within(&library).ok();
    fs::write(library.join("large.bin"), "one\n").expect("the work tree can be written");
    world.git(["add", "."]).within(&library).ok();
    world.git(["commit", "-qm", "large"]).within(&library).ok();
    world.git(["push", "-q"]).within(&library).ok();
    assert!(!world.bitbucket.lfs_requests().is_empty(), "it is in LFS");
    let tree = world.clone("acme/app", "prepared");
    for (name, url) in [
        ("modules/library", "../library.git"),
        ("modules/tools", "git@bitbucket.org:acme/tools.git"),
        ("modules/https", "https://bitbucket.org/acme/tools.git"),
        ("modules/ssh", "ssh://git@bitbucket.org/acme/tools.git"),
    ] {
        let start = url.split("acme").next().unwrap_or_default();
        world
            .git(["-c", &format!("url.bbtoken::.insteadOf={start}")])
            .args(["-c", "protocol.bbtoken.allow=always"])
            .args(["submodule", "--quiet", "add", url, name])
            .within(&tree)
            .ok();
    }
    world
        .git(["commit", "-q", "-m", "modules"])
        .within(&tree)
        .ok();
    world.git(["push", "-q"]).within(&tree).ok();
    fs::remove_dir_all(world.home()).expect("it is the test's");
    fs::create_dir(world.home()).expect("it was just removed");
    for left in ["library", "prepared"] {
        fs::remove_dir_all(world.path(left)).expect("it is the test's");
    }
    install(world);
    world.bitbucket.clear_requests();
}

/// Puts our programs where every user can start them, and git-lfs as Debian's package does; `setup` takes Bitbucket to be where it is for everybody.
fn install(world: &World) {
    let [ours, bin] = ["programs", "bin"].map(|name| world.path(name));
    for directory in [&ours, &bin] {
        fs::create_dir(directory).expect("the world can be written");
    }
    for name in ["git-remote-bbtoken", "git-bbtoken"] {
        let (built, installed) = (helper().with_file_name(name), ours.join(name));
        copy_program(&built, &installed);
    }
    std::os::unix::fs::symlink(
        ours.join("git-remote-bbtoken"),
        bin.join("git-remote-bbtoken"),
    )
    .expect("it is new");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" != setup ] || unset BBTOKEN_BASE_URL\nexec '{}' \"$@\"\n",
        ours.join("git-bbtoken").display()
    );
    put_program(bin.join("git-bbtoken"), text);
    allow(&world.path(""), 0o755);
    let lfs = world.git(["lfs", "install", "--system", "--skip-repo"]);
    with_system(world, lfs).ok();
}

/// Lets git read a system's configuration: that of the image.
fn with_system(world: &World, run: Run) -> Run {
    run.without("GIT_CONFIG_NOSYSTEM")
        .env("GIT_CONFIG_SYSTEM", world.path("gitconfig"))
}

pub(crate) fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is the test's");
}

/// The search path of an image that has our programs.
fn search_path(world: &World) -> std::ffi::OsString {
    search_path_with(world, &[&world.path("bin")])
}

/// The search path of a machine without our programs, with further directories.
fn search_path_with(world: &World, first: &[&Path]) -> std::ffi::OsString {
    let usual = world.search_path();
    let usual = env::split_paths(&usual).skip(1);
    let first = first.iter().map(|path| path.to_path_buf());
    env::join_paths(first.chain(usual)).expect("no path holds a colon")
}

/// A copy of a release, whose programs are those that `install` has put into the world.
fn release(world: &World) -> PathBuf {
    let remote = world.path("programs/git-remote-bbtoken");
    let remote = format!("#!/bin/sh\nexec '{}' \"$@\"\n", remote.display());
    let command = fs::read_to_string(world.path("bin/git-bbtoken")).expect("it was installed");
    let programs = [("git-remote-bbtoken", remote), ("git-bbtoken", command)];
    downloads::release(world, programs)
}

/// A place of the test's that everybody may write to.
fn open_place(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    fs::create_dir_all(&path).expect("the world can be written");
    allow(&path, 0o777);
    path
}

/// A runner's shell, in a fresh directory.
fn shell(world: &World, script: &str, directory: &str) -> Run {
    let within = open_place(world, directory);
    let run = world.run(Path::new("sh"), ["-ec", script]);
    with_system(world, run)
        .env("PATH", search_path(world))
        .within(within)
}

/// The same as a user that owns nothing, where the tests may choose; else as the one who runs them.
fn shell_as(world: &World, user: &str, script: &str, directory: &str) -> Run {
    if !rustix::process::geteuid().is_root() {
        return shell(world, script, directory);
    }
    let within = open_place(world, directory);
    let run = world.run(
        Path::new("setpriv"),
        [
            &format!("--reuid={user}"),
            &format!("--regid={user}"),
            "--clear-groups",
        ],
    );
    with_system(world, run)
        .args(["sh", "-ec", script])
        .env("PATH", search_path(world))
        .within(within)
}

#[track_caller]
fn are_there(world: &World, directory: &str, files: &[&str]) {
    for file in files {
        let content = fs::read_to_string(world.path(directory).join(file));
        assert_eq!(content.ok().as_deref(), Some("one\n"), "{directory}/{file}");
    }
}

const APP: [&str; 6] = [
    "app/file",
    "app/modules/library/file",
    "app/modules/library/large.bin",
    "app/modules/tools/file",
    "app/modules/https/file",
    "app/modules/ssh/file",
];
const LIBRARY: [&str; 2] = ["library/file", "library/large.bin"];

#[track_caller]
fn token_calls(world: &World, expected: usize) {
    assert_eq!(world.bitbucket.token_requests().len(), expected);
}

#[test]
fn every_recipe_is_run_here() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci");
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("it is there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "Dockerfile",
            "Jenkinsfile",
            "bitbucket-pipelines.yml",
            "crontab",
            "git-mirror.service",
            "github-actions.yml",
            "gitlab-ci.yml",
            "kubernetes.yaml"
        ]
    );
}

#[test]
fn no_recipe_compiles_the_programs() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci");
    for (path, text) in crate::inspect::files(&directory) {
        let text = String::from_utf8(text).expect("a recipe is text");
        assert!(!text.contains("cargo"), "{}", path.display());
    }
}

#[test]
fn recipes_and_documents_name_the_files_of_this_version() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = crate::inspect::files(&top.join("docs"));
    texts.insert(
        "README.md".into(),
        fs::read(top.join("README.md")).expect("the page is there"),
    );
    let mut count = 0;
    for (path, text) in texts {
        let text = String::from_utf8(text).expect("a document is text");
        for name in [
            "remote-bbtoken",
            "remote_bbtoken",
            "git-bbtoken",
            "bbtoken-linux-x64",
        ] {
            let behind = text.split(name).skip(1);
            let versions = behind.filter_map(|rest| rest.strip_prefix(['-', '_', ':', '@', '=']));
            let versions = versions.map(|rest| rest.trim_start_matches('='));
            for rest in versions.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                let shown = rest.lines().next().unwrap_or_default();
                assert!(
                    rest.starts_with(VERSION),
                    "{}: {name} {shown}",
                    path.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 20, "the versions were found: {count}");
}

#[test]
fn two_variables_and_the_lines_of_the_documents_clone_submodules_of_every_form() {
    needs!("git-lfs");
    let block = |page: &str| {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = fs::read_to_string(page).expect("the page is there");
        let blocks = text.split("```sh\n");
        let block = blocks.filter_map(|rest| rest.split("```").next());
        let mut found = block.filter(|block| block.contains("GIT_CONFIG_COUNT="));
        found.next().map(str::to_owned).expect("it has the lines")
    };
    let lines = block("docs/ci.md");
    assert_eq!(block("README.md"), lines, "both pages have the same lines");
    let script = lines.replace("workspace/repo", "acme/app");
    on_every_git(|world| {
        prepare(world);
        shell(world, &script, "job").done().expect(0);
        are_there(world, "job", &APP);
        token_calls(world, 1);
        let places = open_place(world, "places");
        let homeless = shell(world, &script, "homeless").without("HOME");
        homeless.env("BBTOKEN_HOME", places).done().expect(0);
        are_there(world, "homeless", &APP);
        token_calls(world, 2);
        assert_eq!(names_in(&world.home()), [".cache"], "no setting is written");
    });
}

#[test]
fn bitbucket_pipelines_clones_others_and_submodules() {
    needs!("git-lfs", "curl", "programs/venv");
    on_every_git(|world| {
        prepare(world);
        let recipe = yaml(world, "bitbucket-pipelines.yml");
        let script = script(&recipe["pipelines"]["default"][0]["step"]["script"]);
        let [local, temporary] = ["local", "temporary"].map(|name| open_place(world, name));
        let script = script
            .replace("/tmp", &temporary.display().to_string())
            .replace("/usr/local", &local.display().to_string());
        let script = from_release(world, &script, &release(world), "-static.tar.gz");
        // The build's own clone has an http origin, for which there is a proxy that we do not have here.
        let bare = world.bitbucket.repository_path("acme", "app");
        world.git(["clone", "-q"]).arg(bare).arg("build").ok();
        let build = world.path("build");
        let origin = "http://bitbucket.org/acme/app";
        world
            .git(["remote", "set-url", "origin", origin])
            .within(&build)
            .ok();
        shell(world, &script, "build")
            .env("PATH", search_path_with(world, &[&local.join("bin")]))
            .done()
            .expect(0);
        are_there(
            world,
            "build",
            &[
                "modules/library/file",
                "modules/library/large.bin",
                "modules/tools/file",
            ],
        );
        are_there(world, "build", &LIBRARY);
        token_calls(world, 1);
        let pushed_to = world
            .git(["remote", "get-url", "origin"])
            .within(&build)
            .ok();
        assert_eq!(pushed_to.trim_end(), origin, "pushing back is left alone");
    });
}

#[test]
fn github_actions_leaves_nothing_in_the_runners_home() {
    needs!("git-lfs", "programs/venv");
    on_every_git(|world| {
        prepare(world);
        let recipe = yaml(world, "github-actions.yml");
        let job = &recipe["jobs"]["build"];
        let [install, script] = [0, 1].map(|step| script(&job["steps"][step]["run"]));
        let temporary = open_place(world, "temporary");
        // The wheel of the tests fits every machine.
        let install = from_release(world, &install, &release(world), ".whl")
            .replace("manylinux_2_17_x86_64.manylinux2014_x86_64", "any");
        let python = installed("venv/bin/python");
        let python = python.parent().expect("a program has a directory");
        shell(world, &install, "install")
            .env("PATH", search_path_with(world, &[python]))
            .env("RUNNER_TEMP", &temporary)
            .env("GITHUB_PATH", world.path("added"))
            .done()
            .expect(0);
        let added = fs::read_to_string(world.path("added")).expect("the recipe adds a directory");
        let path = search_path_with(world, &[Path::new(added.trim_end())]);
        let run = |directory: &str| {
            let run = shell(world, &script, directory).env("RUNNER_TEMP", &temporary);
            run.env("PATH", &path)
        };
        run("build").done().expect(0);
        are_there(world, "build", &APP);
        are_there(world, "build", &LIBRARY);
        token_calls(world, 1);
        assert_eq!(names_in(&world.home()), [""; 0]);

        // A pull request from a fork: the secret is there, and empty.
        assert_eq!(
            job["env"]["BBTOKEN_CLIENT_SECRET"],
            "${{ secrets.BBTOKEN_CLIENT_SECRET }}"
        );
        let fork = run("fork").env("BBTOKEN_CLIENT_SECRET", "").done();
        assert_ne!(fork.code, Some(0));
        fork.says(&["BBTOKEN_CLIENT_SECRET", "empty"]);
    });
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is a directory");
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// One job of GitLab's, with what the runner sets.
fn gitlab_job(world: &World, recipe: &Value, number: usize) -> Run {
    let job = &recipe["build"];
    let builds = open_place(world, "builds");
    let project = builds.join(format!("job{number}"));
    let temporary = open_place(world, &format!("builds/job{number}.tmp"));
    // The type File of the variable: its value is in a file of the job's.
    let secret = temporary.join("BBTOKEN_CLIENT_SECRET_FILE");
    fs::write(&secret, &world.consumer.secret).expect("it is ours");
    let mut run = shell(
        world,
        &script(&job["script"]),
        &format!("builds/job{number}"),
    )
    .without("BBTOKEN_CLIENT_SECRET")
    .env("BBTOKEN_CLIENT_SECRET_FILE", secret);
    let variables = job["variables"].as_object().expect("it has variables");
    assert_eq!(variables.len(), 2);
    for (name, value) in variables {
        let value = value
            .as_str()
            .expect("a text")
            .replace("$CI_BUILDS_DIR", &builds.display().to_string())
            .replace("$CI_PROJECT_DIR", &project.display().to_string());
        run = run.env(name, value);
    }
    run
}

#[test]
fn twenty_jobs_of_one_gitlab_runner_share_one_token() {
    needs!("git-lfs", "programs/venv");
    on_every_git(|world| {
        prepare(world);
        let recipe = yaml(world, "gitlab-ci.yml");
        // The token is shared by our program: with further gits, a few jobs show that they take it.
        let count = if world.has_first_git() { PARALLEL } else { 4 };
        let jobs: Vec<_> = (0..count)
            .map(|number| gitlab_job(world, &recipe, number))
            .map(|job| thread::spawn(move || job.done()))
            .collect();
        for (number, job) in jobs.into_iter().enumerate() {
            job.join().expect("it ends").expect(0);
            let directory = format!("builds/job{number}");
            are_there(world, &directory, &APP);
            are_there(world, &directory, &LIBRARY);
        }
        token_calls(world, 1);
        assert_eq!(names_in(&world.home()), [""; 0]);
    });
}

#[test]
fn jenkins_leaves_nothing_on_the_agent() {
    needs!("git-lfs");
    on_every_git(|world| {
        prepare(world);
        let recipe = recipe("Jenkinsfile");
        let script = recipe.split("'''").nth(1).expect("it has a script");
        let temporary = open_place(world, "workspace@tmp");
        for directory in ["first", "second"] {
            shell_as(world, USERS[0], script, directory)
                .without("HOME")
                .env("WORKSPACE_TMP", &temporary)
                .done()
                .expect(0);
            are_there(world, directory, &APP);
            assert_eq!(names_in(&temporary), [""; 0], "the trap has cleaned up");
        }
        token_calls(world, 2);
    });
}

#[test]
fn an_image_is_built_with_its_secret_in_no_layer() {
    needs!("git-lfs");
    on_every_git(|world| {
        prepare(world);
        let recipe = recipe("Dockerfile").replace("\\\n", " ");
        let run = recipe
            .lines()
            .find_map(|line| line.strip_prefix("RUN --mount=type=secret,id=bbtoken_client_secret "))
            .expect("it has a secret");
        let secrets = open_place(world, "secrets");
        fs::write(
            secrets.join("bbtoken_client_secret"),
            &world.consumer.secret,
        )
        .expect("it is ours");
        let layer = open_place(world, "layer");
        let script = run
            .replace("/run/secrets", &secrets.display().to_string())
            .replace("/opt", &layer.display().to_string());
        shell(world, &script, "layer")
            .without("BBTOKEN_CLIENT_SECRET")
            .done()
            .expect(0);
        are_there(world, "layer", &LIBRARY);
        are_there(world, "layer", &["tools/file"]);
        // One for each clone, and one for git-lfs.
        token_calls(world, 3);
        assert_eq!(names_in(&world.home()), [""; 0], "no token is in the layer");
        for (path, content) in crate::inspect::files(&layer) {
            let secret = world.consumer.secret.as_bytes();
            let found = content.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "the secret is in '{}'", path.display());
        }
    });
}

#[test]
fn a_kubernetes_job_needs_no_home_and_no_name() {
    needs!("git-lfs", "programs/venv");
    on_every_git(|world| {
        prepare(world);
        let job = yaml(world, "kubernetes.yaml");
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            job["spec"]["template"]["spec"]["securityContext"]["runAsUser"],
            USERS[0]
        );
        let work = open_place(world, "work");
        let secrets = open_place(world, "bitbucket");
        fs::write(secrets.join("client-secret"), &world.consumer.secret).expect("it is ours");
        let place = |text: &str| {
            text.replace("/work", &work.display().to_string())
                .replace("/etc/bitbucket", &secrets.display().to_string())
        };
        let script = place(&script(&container["args"]));
        let mut run = shell_as(world, USERS[0], &script, "elsewhere")
            .without("HOME")
            .without("BBTOKEN_CLIENT_SECRET");
        for variable in container["env"].as_array().expect("it has variables") {
            if let (Some(name), Some(value)) =
                (variable["name"].as_str(), variable["value"].as_str())
            {
                run = run.env(name, place(value));
            }
        }
        run.done().expect(0);
        are_there(world, "work", &APP);
        are_there(world, "work", &LIBRARY);
        token_calls(world, 1);
        assert_eq!(names_in(&world.path("elsewhere")), [""; 0]);
    });
}

#[test]
fn cron_finds_the_helper_and_the_profile() {
    needs!("git-lfs");
    on_every_git(|world| {
        prepare(world);
        let ca_file = world.bitbucket.ca_file().display().to_string();
        for (key, value) in [
            ("bbtoken.baseUrl", world.bitbucket.base_url()),
            ("http.sslCAInfo", ca_file.as_str()),
        ] {
            world.git(["config", "--global", key, value]).ok();
        }
        world
            .bbtoken(["login", "mirror", "--client-credentials", "--client-id"])
            .args([&world.consumer.key, "--with-secret"])
            .input(&world.consumer.secret)
            .without_client()
            .without("BBTOKEN_BASE_URL")
            .done()
            .expect(0);
        let mirror = world.home().join("library.git");
        world
            .git(["clone", "-q", "--mirror", "bbtoken::mirror@acme/library"])
            .arg(&mirror)
            .without_client()
            .ok();
        let bare = world.bitbucket.repository_path("acme", "library");
        world.git(["branch", "news", "main"]).within(&bare).ok();

        let recipe = recipe("crontab");
        let lines = recipe
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let [path, job] = lines.collect::<Vec<_>>()[..] else {
            panic!("a variable and a job")
        };
        let command = job
            .strip_prefix("*/15 * * * * ")
            .expect("every quarter of an hour");
        let cron = |path: &std::ffi::OsStr| {
            let mut command = shell(world, command, "home").into_command();
            command
                .env_clear()
                .env("HOME", world.home())
                .env("LOGNAME", "ann")
                .env("SHELL", "/bin/sh")
                .env("PATH", path);
            command.output().expect("the shell starts")
        };
        let lost = cron("/usr/bin:/bin".as_ref());
        assert!(
            String::from_utf8_lossy(&lost.stderr).contains("remote-bbtoken"),
            "the path of cron leads to no helper"
        );
        assert!(path.starts_with("PATH=/home/you/.local/bin:"));
        let done = cron(&search_path(world));
        assert!(done.status.success(), "{done:?}");
        assert_eq!(done.stdout, b"");
        assert_eq!(world.rev(&mirror, "news"), world.rev(&bare, "main"));
    });
}

#[test]
fn a_systemd_unit_has_its_directories_and_nothing_else() {
    needs!("git-lfs");
    on_every_git(|world| {
        prepare(world);
        let unit = recipe("git-mirror.service");
        let [state, cache, credentials] = ["S", "C", "d"].map(|name| open_place(world, name));
        for directory in [&state, &cache] {
            let place = directory.join("git-mirror");
            fs::create_dir(&place).expect("it is ours");
            allow(&place, 0o777);
        }
        fs::write(credentials.join("client-secret"), &world.consumer.secret).expect("it is ours");
        let place = |text: &str| {
            let place = |path: &Path| path.display().to_string();
            text.replace("%S", &place(&state))
                .replace("%C", &place(&cache))
                .replace("%d", &place(&credentials))
                .replace("your-consumers-key", &world.consumer.key)
                .replace("/usr/bin/git", "git")
        };
        let values = |key: &str| {
            let start = format!("{key}=");
            unit.lines()
                .filter_map(|line| line.strip_prefix(&start).map(place))
                .collect::<Vec<_>>()
        };
        let commands = [values("ExecStartPre"), values("ExecStart")].concat();
        assert_eq!((commands.len(), values("Environment").len()), (2, 3));
        // The unit starts twice: the first time it clones, the second time it only updates.
        for _ in 0..2 {
            for command in &commands {
                // For a user that is made for the unit, systemd sets HOME to the root directory.
                let mut run = shell_as(world, USERS[0], command, "S/git-mirror")
                    .without_client()
                    .env("HOME", "/");
                for variable in values("Environment") {
                    let (name, value) = variable.split_once('=').expect("a name and a value");
                    run = run.env(name, value);
                }
                run.done().expect(0);
            }
        }
        are_mirrored(world, &state.join("git-mirror/library.git"));
        token_calls(world, 1);
    });
}

fn are_mirrored(world: &World, mirror: &Path) {
    let bare = world.bitbucket.repository_path("acme", "library");
    // The mirror is another user's, whose ownership git looks at.
    let shown = world
        .git(["-c", "safe.directory=*", "--git-dir"])
        .arg(mirror)
        .args(["rev-parse", "main"])
        .ok();
    assert_eq!(shown.trim_end(), world.rev(&bare, "main"));
}

/// Calls one a line; another process's call in the middle of one cuts it in two (strace(1), `-f`).
fn whole_calls(calls: &str) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut whole = Vec::new();
    for line in calls.lines() {
        let (process, call) = line.split_once(' ').expect("a process and its call");
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            begun.insert(process, start);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            whole.push(begun.remove(process).unwrap_or_default().to_owned() + end);
        } else {
            whole.push(call.to_owned());
        }
    }
    whole.extend(begun.into_values().map(str::to_owned));
    whole
}

/// The calls that have made, changed or removed a file.
fn written(calls: &str) -> Vec<String> {
    let mut calls = whole_calls(calls);
    calls.retain(|call| {
        let opens = ["O_WRONLY", "O_RDWR", "O_CREAT"];
        let changes = !call.contains("openat(") || opens.iter().any(|flag| call.contains(flag));
        let failed = call.contains(" = -1 ");
        changes && !failed && !call.contains("\"/dev/") && !call.contains("+++ exited")
    });
    calls
}

#[test]
fn memory_writes_nothing_at_all() {
    needs!("strace");
    on_every_git(|world| {
        world.repository("ws", "repo");
        let calls = "openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,symlink,chmod";
        let trace = |store: &str| {
            let traced = strace(
                world,
                calls,
                ["ls-remote", "-q", "bbtoken::ws/repo"],
                |run| run.env("BBTOKEN_STORE", store),
            );
            traced.done.expect(0).quiet();
            traced.calls
        };
        let memory = trace("memory");
        assert_eq!(written(&memory), [""; 0]);
        assert_eq!(names_in(&world.home()), [".gitconfig"]);
        let file = trace("file");
        assert!(written(&file).len() > 3, "the trace shows writes");
        token_calls(world, 2);
    });
}

#[test]
fn containers_with_different_users_do_not_share_a_cache_and_show_a_warning() {
    needs!("git-lfs");
    on_every_git(|world| {
        prepare(world);
        let shared = open_place(world, "shared");
        let list = |user: &str| {
            shell_as(
                world,
                user,
                "git ls-remote -q bbtoken::acme/library",
                "elsewhere",
            )
            .without("HOME")
            .env("BBTOKEN_HOME", &shared)
            .done()
            .expect(0)
        };
        list(USERS[0]).quiet();
        if !rustix::process::geteuid().is_root() {
            allow(&shared.join("cache"), 0o000);
        }
        let other = list(USERS[1]);
        other.says(&[
            "warning: the token was not saved, so each command requests its own: cannot ",
            &shared.display().to_string(),
            "Permission denied (os error 13); make the directory writable, or set BBTOKEN_HOME to another one",
        ]);
        assert_eq!(other.stderr.lines().count(), 1, "{}", other.stderr);
        allow(&shared.join("cache"), 0o700);
        list(USERS[0]).quiet();
        token_calls(world, 2);
    });
}

/// Images and mounts bring files of other users; git passes over the user's own, and stops at every other.
#[test]
fn an_unreadable_configuration_is_an_error_if_it_is_one_for_git() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        let home = open_place(world, "person");
        let tree = home.join("tree");
        let run = |script: &str| {
            let run = shell_as(world, USERS[0], script, "person");
            run.env("HOME", &home).done()
        };
        run("git init -q tree && git -C tree config extensions.worktreeConfig true").expect(0);
        for (file, text) in [
            (home.join(".gitconfig"), "[include]\npath = included\n"),
            (home.join("included"), ""),
            (tree.join(".git/config.worktree"), ""),
        ] {
            fs::write(file, text).expect("the world can be written");
        }
        for (file, stops) in [
            (home.join(".gitconfig"), false),
            (home.join("included"), true),
            (world.path("gitconfig"), true),
            (tree.join(".git/config"), true),
            (tree.join(".git/config.worktree"), true),
        ] {
            allow(&file, 0o000);
            let shown = file.display();
            let gits = run("cd tree && git config --list");
            assert_eq!(gits.code != Some(0), stops, "{shown}: {}", gits.stderr);
            // Git says where the repository is when it starts us.
            let ours = run("GIT_DIR=$PWD/tree/.git git-bbtoken status");
            assert_eq!(
                ours.code,
                Some(if stops { 3 } else { 0 }),
                "{shown}: {}",
                ours.stderr
            );
            if stops {
                ours.says(&[&format!(
                    "error: cannot read git's configuration in '{shown}'\ncaused by: Permission denied"
                )]);
            }
            allow(&file, 0o644);
        }
    });
}
