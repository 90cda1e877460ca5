//! The commands of `docs/teams.md`, and of `docs/install.md` to remove the helper, run as they stand there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{Consent, Consumer};

use crate::{
    conversation::converse,
    needs::needs,
    support::{World, gits, put_program},
};

/// The commands of the page for administrators, block by block below one heading.
fn blocks(heading: &str) -> Vec<String> {
    blocks_of("docs/teams.md", heading)
}

fn blocks_of(page: &str, heading: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = fs::read_to_string(page).expect("the page is there");
    let sections = page.split("\n## ").flat_map(|part| part.split("\n### "));
    let mut found = sections.filter(|section| section.starts_with(heading));
    let section = found.next().expect("the page has the heading");
    let parts = section.split("```sh\n").skip(1);
    let blocks = parts.filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// The secret manager of the page, which gives a consumer's secret.
fn keep_secret(world: &World, consumer: &Consumer) {
    let manager = world.path("manager");
    fs::create_dir_all(&manager).expect("the world can be written");
    let script = format!("#!/bin/sh\necho '{}'\n", consumer.secret);
    put_program(manager.join("op"), script);
}

/// Runs commands on a terminal of a managed machine, whose browser's user grants access.
fn on_desktop(world: &World, commands: &str) -> String {
    let line = format!(
        "set -e; unset GIT_CONFIG_NOSYSTEM; export GIT_TERMINAL_PROMPT=1 GIT_CONFIG_SYSTEM='{}'; \
         export PATH='{}':\"$PATH\" BROWSER=\"curl -s -L -o /dev/null --cacert '{}'\"\n{}",
        world.path("system").display(),
        world.path("manager").display(),
        world.bitbucket.ca_file().display(),
        commands.replace("workspace/repo", "acme/app")
    );
    let (shown, code) = converse(world, &line, &[]);
    assert_eq!(code, Some(0), "{shown}");
    shown
}

/// The files of a release's archive, in the directory where the page unpacks it.
fn unpacked_archive(world: &World) -> PathBuf {
    let local = world.home().join(".local");
    for name in [
        "bin/git-bbtoken",
        "bin/git-remote-bbtoken",
        "share/man/man1/git-bbtoken-login.1.gz",
        "share/man/man1/git-remote-bbtoken.1.gz",
        "share/bash-completion/completions/git-bbtoken",
        "share/zsh/site-functions/_git-bbtoken",
        "share/fish/vendor_conf.d/git-bbtoken.fish",
        "share/doc/git-remote-bbtoken/README.md",
        "share/licenses/git-remote-bbtoken/LICENSE",
    ] {
        let path = local.join(name);
        let directory = path.parent().expect("a file has a directory");
        fs::create_dir_all(directory).expect("the world can be written");
        fs::write(path, "").expect("the world can be written");
    }
    local
}

#[test]
fn a_team_is_set_up_rotated_supported_and_removed_by_the_commands_of_the_page() {
    needs!("script", "curl");
    let world = World::new(gits().remove(0));
    world.repository("acme", "app");
    world.bitbucket.set_consent(Consent::Granted);
    let [settings] = &blocks("The system's git configuration")[..] else {
        panic!("the settings are one block")
    };
    let settings = settings.replace("<key>", &world.consumer.key);
    let used = |commands: &str| on_desktop(&world, commands);

    keep_secret(&world, &world.consumer);
    let clone = "git clone -q bbtoken::acme/app tree";
    used(&format!("{settings}{clone}"));
    assert!(world.path("tree/file").exists(), "the first clone logs in");

    // Both consumers work, and one new login is enough.
    let next = Consumer::new_public();
    world.bitbucket.add_consumer(next.clone());
    keep_secret(&world, &next);
    let change = blocks("Replace a secret").remove(0);
    let change = change.replace("<new key>", &next.key);
    used(&format!("{change}git -C tree fetch -q"));
    world.bitbucket.clear_requests();
    used("git -C tree fetch -q");
    assert_eq!(world.bitbucket.token_requests().len(), 0);

    let support = used(&blocks("Support").concat());
    assert!(support.contains("default"), "{support}");

    let of_user = blocks_of("docs/install.md", "Remove it");
    let [
        clones,
        profile,
        chosen,
        directories,
        pages,
        programs,
        archive,
    ] = &of_user[..]
    else {
        panic!("the page has seven steps: {of_user:?}")
    };
    let clones = clones.replace("--below ~ ", "--below . ");
    used("git bbtoken use default --global");
    used(
        &[&clones, profile, chosen, directories, pages]
            .map(String::as_str)
            .concat(),
    );
    assert!(programs.starts_with("cargo uninstall "), "{programs}");
    let local = unpacked_archive(&world);
    used(archive);
    let left = crate::inspect::files(&local);
    assert!(left.is_empty(), "the archive leaves nothing: {left:?}");
    let removal = blocks("Remove everything");
    assert_eq!(removal.len(), 2);
    used(&removal.concat());
    let url = world
        .git(["-C", "tree", "remote", "get-url", "origin"])
        .ok();
    assert!(url.starts_with("https://"), "{url}");
    let system = fs::read_to_string(world.path("system")).expect("git wrote it");
    assert!(!system.contains("bbtoken"), "{system}");
    let user = world.gitconfig();
    assert!(!user.contains("bbtoken"), "no profile is left: {user}");
    for directory in [".cache", ".local/state"] {
        let left = world.home().join(directory).join("git-remote-bbtoken");
        assert!(!left.exists(), "nothing is left: {}", left.display());
    }
}
