//! No shell evaluates data: names, addresses, file names and settings that hold shell commands.

use std::{fs, path::Path};

use crate::{
    completions,
    needs::needs,
    support::{World, copy_program, gits, helper, on_every_git},
};

/// What a shell would run, each in another way; `MARK` is a path that must not appear.
const COMMANDS: [&str; 6] = [
    "$(touch MARK)",
    "`touch MARK`",
    "x; touch MARK;",
    "x\ntouch MARK\n",
    "(touch MARK)",
    "x' ; touch MARK ; '",
];

fn hostile(mark: &Path) -> impl Iterator<Item = String> {
    let mark = mark.display().to_string();
    COMMANDS
        .iter()
        .map(move |command| command.replace("MARK", &mark))
}

/// Lines whose completion looks at profiles or files.
const LINES: [&str; 5] = [
    "git-bbtoken token --profile ",
    "git bbtoken token --profile ",
    "git-bbtoken logout ",
    "git-bbtoken exec --netrc ",
    "git-bbtoken doctor ",
];

#[test]
fn no_shell_evaluates_a_profile_name_or_a_file_name_while_it_completes() {
    needs!(
        "bash",
        "zsh",
        "fish",
        "/usr/share/bash-completion/completions/git"
    );
    let world = World::new(gits().remove(0));
    world
        .git(["config", "--global", "bbtoken.work.clientId", "key"])
        .ok();
    // A clone may track a bare repository, whose configuration git reads inside it.
    let bare = world.path("bare");
    world.git(["init", "-q", "--bare"]).arg(&bare).ok();
    let mark = world.path("ran");
    let mut config = fs::read_to_string(bare.join("config")).expect("it is text");
    for name in hostile(&mark) {
        let quoted = name.replace('\n', "\\n");
        config.push_str(&format!("[bbtoken \"{quoted}\"]\n\tclientId = key\n"));
    }
    fs::write(bare.join("config"), config).expect("it can be written");
    for name in hostile(Path::new("ran")) {
        fs::write(bare.join(name), "").expect("files may have such names");
    }
    world
        .git(["config", "bbtoken.planted.clientId", "key"])
        .within(&bare)
        .ok();
    for shell in completions::SHELLS {
        let offered = completions::offered(&world, shell, &bare, &LINES);
        assert!(
            !mark.exists() && !bare.join("ran").exists(),
            "{shell} runs what a name holds: {offered:?}"
        );
        for (line, offered) in LINES.iter().zip(offered) {
            let is_profile = line.contains("profile") || line.contains("logout");
            assert!(
                !is_profile || offered == ["work"],
                "{shell} offers profiles of protected configuration only after '{line}': {offered:?}"
            );
        }
    }
}

#[test]
fn a_profile_name_with_shell_commands_is_refused_wherever_it_stands() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let mark = world.path("ran");
        for name in hostile(&mark) {
            for transport in ["git", "native"] {
                let done = world
                    .git(["ls-remote", "bbtoken::ws/repo"])
                    .env("BBTOKEN_PROFILE", &name)
                    .env("BBTOKEN_TRANSPORT", transport)
                    .done();
                assert!(!mark.exists(), "BBTOKEN_PROFILE={name}: {done:?}");
                done.expect(128).says(&["is not a valid profile name"]);
            }
            let address = format!("bbtoken::{name}@ws/repo");
            world.git(["ls-remote", &address]).fails(128);
            for command in ["token", "exec", "credential"] {
                let rest = match command {
                    "token" => &[][..],
                    "exec" => &["--", "true"],
                    _ => &["get"],
                };
                let request = format!("protocol=https\nhost={}\n\n", host(world));
                let run = world.bbtoken([command, "--profile", &name]);
                let done = run.args(rest).input(&request).done();
                assert!(done.code != Some(0), "{done:?}");
            }
            for command in ["login", "logout", "status"] {
                let done = world.bbtoken([command, &name]).done();
                assert!(done.code != Some(0), "{done:?}");
            }
            for key in ["bbtoken.profile", "remote.origin.bbtokenProfile"] {
                let set = format!("{key}={name}");
                world
                    .git(["-c", &set, "-c", "remote.origin.url=bbtoken::ws/repo"])
                    .args(["ls-remote", "origin"])
                    .env("BBTOKEN_TRANSPORT", "git")
                    .done();
            }
            assert!(!mark.exists(), "{name} is run");
        }
    });
}

fn host(world: &World) -> String {
    world.bitbucket.base_url().replace("https://", "")
}

#[test]
fn programs_in_a_directory_with_shell_commands_in_its_name_work_and_run_none_of_them() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let directory = world.path("o'$(touch ran)`touch ran` ;touch ran;\\\"x");
        fs::create_dir(&directory).expect("directories may have such names");
        for name in ["git-remote-bbtoken", "git-bbtoken"] {
            let program = helper().with_file_name(name);
            copy_program(&program, &directory.join(name));
        }
        let mut path = directory.clone().into_os_string();
        path.push(":");
        path.push(world.search_path());
        world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .env("BBTOKEN_TRANSPORT", "git")
            .env("PATH", &path)
            .done()
            .expect(0);
        let setup = world.run(&directory.join("git-bbtoken"), ["setup", "--yes"]);
        setup.env("PATH", &path).ok();
        let url = world.bitbucket.repository_url("ws", "repo");
        let plain = world.git(["ls-remote", &url]).env("PATH", &path);
        plain.done().expect(0);
        assert!(!world.path("ran").exists());
    });
}

#[test]
fn a_remote_named_like_an_option_is_none_to_doctor() {
    on_every_git(|world| {
        let tree = world.path("tree");
        world.git(["init", "-q"]).arg(&tree).ok();
        let config = tree.join(".git/config");
        let mut text = fs::read_to_string(&config).expect("it was made");
        text.push_str("[remote \"--upload-pack=touch ran;\"]\n\turl = bbtoken::ws/repo\n");
        fs::write(&config, text).expect("it is ours");
        world
            .git(["init", "-q", "--bare"])
            .arg(tree.join("HEAD"))
            .ok();
        world.bbtoken(["doctor"]).within(&tree).done();
        world
            .bbtoken(["doctor", "--", "--upload-pack=touch ran;"])
            .within(&tree)
            .done();
        assert!(!tree.join("ran").exists());
    });
}
