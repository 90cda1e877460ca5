//! Git's configuration: its http settings are in our table, and its system file is the one that this git reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    reference,
    support::{World, gits, on_every_git, put_program},
};

#[test]
fn every_http_setting_of_git_is_in_the_table() {
    let keys = reference::http_keys();
    let mut seen = 0;
    for git in gits() {
        let world = World::new(git);
        for name in world.git(["help", "-c"]).ok().lines() {
            let Some(key) = name
                .strip_prefix("http.")
                .filter(|key| !key.starts_with('<'))
            else {
                continue;
            };
            assert!(
                keys.iter().any(|known| known.name == key),
                "'http.{key}' is not in the table"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "git lists its settings");
}

#[test]
fn a_setting_that_only_git_can_follow_is_handed_to_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let by_git = |setting: &str| {
            world.bitbucket.clear_requests();
            world
                .git(["-c", setting, "ls-remote", "bbtoken::ws/repo"])
                .ok();
            let requests = world.bitbucket.git_requests();
            let agent = requests[0].user_agent.clone().unwrap_or_default();
            !agent.contains("git-remote-bbtoken")
        };
        for setting in [
            "http.delegation=policy",
            "http.sslVersion=tlsv1.0",
            "http.newAndUnknown=1",
        ] {
            assert!(by_git(setting), "{setting}");
        }
        for setting in [
            "http.postBuffer=1",
            "http.version=HTTP/2",
            "http.followRedirects=initial",
            "http.sslVerify=true",
            "http.sslVersion=tlsv1.2",
            "http.sslVersion=tlsv1.3",
            "http.lowSpeedLimit=1",
            "http.cookieFile=",
        ] {
            assert!(!by_git(setting), "{setting}");
        }
    });
}

/// Makes a git with an exec path of its own, which says where its system file is and notes each question.
fn packaged(world: &World, directory: &Path, system: &Path, knows_var: bool) -> PathBuf {
    let exec_path = directory.join("libexec/git-core");
    fs::create_dir_all(&exec_path).expect("it is ours");
    let var = if knows_var {
        "echo \"$system\""
    } else {
        "exit 1"
    };
    let script = format!(
        "#!/bin/sh\nsystem='{}'\ncase \"$1 $2\" in\n'var GIT_CONFIG_SYSTEM') echo >>'{}'; {var};;\n\
         'config --system') $GIT_EDITOR \"$system\";;\n*) exec '{}' \"$@\";;\nesac\n",
        system.display(),
        world.path("asked").display(),
        world.git.program.display()
    );
    let git = exec_path.join("git");
    put_program(&git, script);
    exec_path
}

#[test]
fn the_system_file_is_the_one_that_this_git_reads() {
    on_every_git(|world| {
        let root = world.path("root");
        let prefix = root.join("opt/git/2.99");
        let (by_prefix, by_packager) = (prefix.join("etc/gitconfig"), root.join("etc/gitconfig"));
        for (file, value) in [(&by_prefix, "decoy"), (&by_packager, "packaged")] {
            fs::create_dir_all(file.parent().expect("it is below the root")).expect("it is ours");
            fs::write(file, format!("[bbtoken \"{value}\"]\n\tclientId = x\n"))
                .expect("it is ours");
        }
        let asked = || {
            fs::read_to_string(world.path("asked"))
                .unwrap_or_default()
                .len()
        };
        for knows_var in [true, false] {
            let exec_path = packaged(world, &prefix, &by_packager, knows_var);
            let run = |run: crate::support::Run| {
                run.env("GIT_EXEC_PATH", &exec_path)
                    .without("GIT_CONFIG_NOSYSTEM")
            };
            let before = asked();
            let shown = run(world.bbtoken(["status"])).ok();
            assert!(
                shown.contains("packaged") && !shown.contains("decoy"),
                "{shown}"
            );
            assert_eq!(asked(), before + 1, "git is asked");
            run(world.bbtoken(["token"])).ok();
            let before = asked();
            run(world.bbtoken(["token"])).ok();
            let shown = run(world.bbtoken(["status"])).ok();
            assert!(shown.contains("packaged"), "{shown}");
            assert_eq!(asked(), before, "git's answer is cached");
        }
        let other = root.join("other");
        packaged(world, &other, &by_packager, true);
        fs::remove_file(&by_packager).expect("it is ours");
        let before = asked();
        let status = world.bbtoken(["status"]).without("GIT_CONFIG_NOSYSTEM");
        status
            .env("GIT_EXEC_PATH", other.join("libexec/git-core"))
            .ok();
        let is_asked = ["/etc/gitconfig", "/tmp/etc/gitconfig"]
            .iter()
            .any(|file| Path::new(file).exists());
        assert_eq!(
            asked() - before,
            usize::from(is_asked),
            "without a file there is no question"
        );
    });
}
