//! `setup --system`: an administrator sets up every user of a machine, and takes it back exactly.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    needs::{ROOT, needs},
    support::{Run, World, gits, helper, on_every_git},
};

/// A machine whose system configuration is a file of the world.
struct Machine<'w> {
    world: &'w World,
    file: PathBuf,
}

impl<'w> Machine<'w> {
    fn new(world: &'w World) -> Self {
        let etc = world.path("etc");
        fs::create_dir(&etc).expect("it is new");
        let file = etc.join("gitconfig");
        Machine { world, file }
    }

    fn on(&self, run: Run) -> Run {
        let run = run.env("GIT_CONFIG_SYSTEM", &self.file);
        run.without("GIT_CONFIG_NOSYSTEM")
    }

    fn bbtoken(&self, arguments: &[&str]) -> Run {
        self.on(self.world.bbtoken(arguments.iter().copied()))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("it is there")
    }
}

#[test]
fn an_administrator_sets_up_every_user_and_takes_back_exactly_that() {
    on_every_git(|world| {
        let machine = Machine::new(world);
        world.repository("ws", "repo");
        let own = ["config", "--global", "bbtoken.other.baseUrl"];
        world.git(own).arg("https://git.example.org").ok();
        let user = world.gitconfig();
        let setup = ["setup", "--system", "--everywhere", "--yes"];
        let dry = machine.bbtoken(&["setup", "--system", "--dry-run"]).ok();
        assert!(dry.contains("+ protocol.bbtoken.allow = always\n"), "{dry}");
        assert!(!machine.file.exists(), "a dry run writes nothing");
        machine.bbtoken(&["setup", "--system"]).fails(2);
        let done = machine.bbtoken(&setup).ok();
        let end = "Git is set up for all users; 'git bbtoken unsetup --system' undoes this.\n";
        assert!(done.ends_with(end), "{done}");
        let written = machine.text();
        let site = "git.example.org";
        assert!(!written.contains(site), "a profile of one user: {written}");
        assert_eq!(world.gitconfig(), user, "no user's file is changed");
        let already = "Git is set up already; nothing to change.\n";
        assert_eq!(machine.bbtoken(&setup).ok(), already);
        assert_eq!(machine.text(), written, "once more changes nothing");

        fs::write(world.home().join(".gitconfig"), "").expect("the home is ours");
        let of_user = ["setup", "--everywhere", "--yes"];
        assert_eq!(machine.bbtoken(&of_user).ok(), already, "the user has it");
        let url = world.bitbucket.repository_url("ws", "repo");
        let read = ["ls-remote", "-q", &url];
        machine.on(world.git(read)).done().expect(0).quiet();
        let shown = machine.bbtoken(&["doctor"]).done().stdout;
        let lines = [
            "credential helper: the helper alone answers",
            "submodules: bbtoken:: addresses are allowed",
        ];
        for line in lines {
            assert!(shown.contains(line), "'{line}' in {shown}");
        }
        let nothing = "Setup has added nothing; nothing to undo.\n";
        assert_eq!(machine.bbtoken(&["unsetup", "--yes"]).ok(), nothing);

        let unsetup = ["unsetup", "--system", "--yes"];
        machine.bbtoken(&unsetup).done().expect(0).quiet();
        assert!(!machine.file.exists(), "setup made the file");
        let before = "[core]\n\tautocrlf = input # kept\n";
        fs::write(&machine.file, before).expect("it is ours");
        machine.bbtoken(&setup).ok();
        machine.bbtoken(&unsetup).done().expect(0).quiet();
        assert_eq!(machine.text(), before, "every byte is as it was");
        assert_eq!(machine.bbtoken(&unsetup).ok(), nothing);
    });
}

#[test]
fn setup_warns_if_other_users_cannot_reach_the_program() {
    let world = World::new(gits().remove(0));
    let machine = Machine::new(&world);
    let private = world.path("private");
    fs::create_dir(&private).expect("it is new");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let program = private.join("git-bbtoken");
    let ours = helper().with_file_name("git-bbtoken");
    std::os::unix::fs::symlink(ours, &program).expect("links can be made");
    let mut path = private.into_os_string();
    path.push(":");
    path.push(world.search_path());
    let run = machine.bbtoken(&["setup", "--system", "--yes"]);
    let done = run.env("PATH", path).done().expect(0);
    let named = program.display();
    done.says(&[&format!(
        "warning: other users cannot run '{named}': install it where all users can, such as /usr/local/bin, then run this again\n"
    )]);
    let line = format!("helper = !'{named}' credential\n");
    assert!(machine.text().contains(&line), "{}", machine.text());
}

#[test]
fn every_user_can_read_the_file_that_setup_creates() {
    let world = World::new(gits().remove(0));
    let machine = Machine::new(&world);
    let script = "umask 077 && exec git bbtoken setup --system --yes";
    let run = || machine.on(world.run(Path::new("/bin/sh"), ["-c", script]));
    let mode = || {
        let metadata = fs::metadata(&machine.file).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    run().done().expect(0);
    assert_eq!(mode(), 0o644, "git stops at a system file it cannot read");
    fs::write(&machine.file, "").expect("it is ours");
    fs::set_permissions(&machine.file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    run().done().expect(0);
    assert_eq!(mode(), 0o640, "setup keeps the mode of an existing file");
}

#[test]
fn without_the_right_to_write_setup_names_the_user_to_be() {
    needs!(ROOT);
    const USER: u32 = 64_003;
    let world = World::new(gits().remove(0));
    let machine = Machine::new(&world);
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let other = |run: Run| run.env("HOME", "/").within("/").by_user(USER);
    let version = other(world.bbtoken(["--version"])).into_command().output();
    let can_switch = version.is_ok_and(|output| output.status.success());
    needs!(can_switch => ROOT);
    let run = machine.bbtoken(&["setup", "--system", "--yes"]);
    other(run).fails(3).says(&[
        "git's configuration was not changed",
        "Permission denied; run this as root, or as an administrator\n",
    ]);
    assert!(!machine.file.exists());
    machine
        .bbtoken(&["setup", "--system", "--yes"])
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .fails(3)
        .says(&[
            "git ignores its system configuration, because GIT_CONFIG_NOSYSTEM is set; unset it",
        ]);
}
