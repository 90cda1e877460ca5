//! `setup` for a Data Center, alone and beside Cloud.

use super::{configured, data_center, log_in, moving::Both, one};
use crate::support::{Run, World, gits};

fn bbtoken(world: &World, arguments: &[&str]) -> Run {
    configured(world.bbtoken(arguments))
}

/// A user's file without the lines that differ.
fn lines(world: &World, shown: &str) -> Vec<String> {
    let (_, authority) = world
        .bitbucket
        .base_url()
        .split_once("://")
        .expect("it is a URL");
    let (host, _) = authority.split_once('/').expect("it has a context path");
    let added = shown.lines().filter(|line| line.starts_with("+ "));
    added.map(|line| line.replace(host, "HOST")).collect()
}

#[test]
fn setup_writes_rules_for_a_data_center_and_unsetup_removes_them() {
    for git in gits() {
        let world = data_center(git);
        world.repository("~ann", "own");
        log_in(&world);
        let base = world.bitbucket.base_url();
        let ssh_host = ["config", "--global", "bbtoken.dc.sshHost", "ssh.example"];
        world.git(ssh_host).ok();
        let before = world.gitconfig();
        let shown = bbtoken(&world, &["setup", "--everywhere", "--yes"])
            .done()
            .expect(0);
        assert!(!shown.stdout.contains("bitbucket.org"), "{}", shown.stdout);
        let lines = lines(&world, &shown.stdout);
        for line in [
            "+ credential.https://HOST.useHttpPath = true",
            "+ lfs.https://HOST/.access = basic",
            "+ url.bbtoken::https://HOST/git/bitbucket/.insteadOf = https://HOST/git/bitbucket/",
            "+ url.bbtoken::https://HOST/git/bitbucket/scm/.insteadOf = ssh://git@ssh.example:7999/",
            "+ url.bbtoken::https://HOST/git/bitbucket/scm/.insteadOf = ssh://git@localhost:7999/",
        ] {
            assert!(
                lines.iter().any(|shown| shown == line),
                "'{line}' in {lines:?}"
            );
        }
        let again = bbtoken(&world, &["setup", "--everywhere", "--yes"]).ok();
        assert_eq!(again, "Git is set up already; nothing to change.\n");
        for (number, address) in [
            format!("{base}/scm/PROJ/repo.git"),
            "ssh://git@localhost:7999/proj/repo.git".to_owned(),
            "ssh://git@ssh.example:7999/PROJ/repo.git".to_owned(),
            "ssh://git@ssh.example:7999/~ann/own.git".to_owned(),
            format!("{base}/projects/PROJ/repos/repo/browse"),
            "bbtoken::PROJ/repo".to_owned(),
        ]
        .into_iter()
        .enumerate()
        {
            let clone = world.git(["clone", "-q", &address, &format!("clone-{number}")]);
            configured(clone).done().expect(0).quiet();
            assert!(
                world.path(&format!("clone-{number}/file")).exists(),
                "{address}"
            );
        }
        let requests = world.bitbucket.git_requests();
        let is_ours = |user: &Option<String>| user.as_deref() == Some("Bearer");
        assert!(
            requests.iter().all(|request| is_ours(&request.user)),
            "the helper sends Bearer"
        );
        bbtoken(&world, &["unsetup", "--yes"]).ok();
        assert_eq!(world.gitconfig(), before);
    }
}

#[test]
fn after_setup_gits_own_https_asks_the_helper() {
    for git in gits() {
        let world = data_center(git);
        log_in(&world);
        bbtoken(&world, &["setup", "--yes"]).ok();
        let address = format!("{}/scm/PROJ/repo.git", world.bitbucket.base_url());
        let clone = world.git(["clone", "-q", &address, "clone"]);
        configured(clone).done().expect(0).quiet();
        let tree = world.path("clone");
        world.commit(&tree, "more", "more\n");
        let push = world.git(["push", "-q"]).within(&tree);
        configured(push).done().expect(0).quiet();
        assert_eq!(world.bitbucket.failed_attempts("local"), 0);
    }
}

#[test]
fn plain_turns_our_addresses_into_those_of_the_data_center() {
    for git in gits() {
        let world = data_center(git);
        log_in(&world);
        let base = world.bitbucket.base_url();
        bbtoken(&world, &["setup", "--plain", "--yes"]).ok();
        let ssh = "bbtoken::ssh://git@localhost:7999/PROJ/repo.git";
        let long = format!("bbtoken::{base}/scm/PROJ/repo.git");
        for address in [
            "bbtoken::PROJ/repo.git",
            "bbtoken://PROJ/repo.git",
            ssh,
            &long,
        ] {
            let git = |arguments: &[&str]| configured(world.git(arguments));
            let url = git(&["ls-remote", "--get-url", address]).ok();
            assert_eq!(url, format!("{base}/scm/PROJ/repo.git\n"), "{address}");
            let list = git(&["ls-remote", "-q", address, "main"]).ok();
            assert!(list.ends_with("refs/heads/main\n"), "{address}: {list}");
        }
        let list = world.git(["ls-remote", "--get-url", "bbtoken::dc@PROJ/repo"]);
        assert_eq!(configured(list).ok(), "bbtoken::dc@PROJ/repo\n");
    }
}

#[test]
fn a_setup_for_one_site_is_brought_up_to_date_when_a_second_one_comes() {
    let world = one();
    let get = |address: &str| {
        let get = world.git(["ls-remote", "--get-url", address]);
        configured(get).ok()
    };
    let before = world.gitconfig();
    bbtoken(&world, &["setup", "--everywhere", "--yes"]).ok();
    let cloud = "https://bitbucket.org/ws/repo.git";
    assert_eq!(get(cloud), "bbtoken::ws/repo.git\n");
    log_in(&world);
    let id = ["config", "--global", "bbtoken.cloud.clientId", "x"];
    world.git(id).ok();
    let shown = bbtoken(&world, &["setup", "--yes"]).ok();
    assert!(
        shown.contains("- url.bbtoken::.insteadOf = https://bitbucket.org/\n"),
        "{shown}"
    );
    assert_eq!(get(cloud), format!("bbtoken::{cloud}\n"));
    let again = bbtoken(&world, &["setup", "--yes"]).ok();
    assert_eq!(again, "Git is set up already; nothing to change.\n");
    let base = world.bitbucket.base_url();
    let address = format!("{base}/scm/PROJ/repo.git");
    assert_eq!(
        get(&address),
        format!("{address}\n"),
        "the user did not ask for this rule"
    );
    bbtoken(&world, &["setup", "--everywhere", "--yes"]).ok();
    assert_eq!(get(&address), format!("bbtoken::{address}\n"));
    bbtoken(&world, &["unsetup", "--yes"]).ok();
    let after = world.gitconfig();
    assert!(
        after.starts_with(&before) && !after.contains("insteadOf"),
        "{after}"
    );
}

#[test]
fn with_both_products_each_address_leads_to_its_own() {
    for git in gits() {
        let both = Both::new(git);
        let world = &both.world;
        let (dc, cloud) = (world.bitbucket.base_url(), both.cloud.base_url());
        both.bbtoken(&["setup", "--everywhere", "--yes"]).ok();
        for address in [
            format!("{dc}/scm/PROJ/repo.git"),
            "ssh://git@localhost:7999/PROJ/repo.git".to_owned(),
            format!("{cloud}/ws/lib.git"),
        ] {
            let list = both.git(&["ls-remote", "-q", &address, "main"]);
            let list = list.done().expect(0).quiet();
            assert!(list.stdout.ends_with("refs/heads/main\n"), "{address}");
        }
        both.bbtoken(&["unsetup", "--yes"]).ok();
        let key = ["config", "--global", "bbtoken.dc.workspace", "PROJ"];
        world.git(key).ok();
        let key = ["config", "--global", "bbtoken.profile", "cloud"];
        world.git(key).ok();
        both.bbtoken(&["setup", "--plain", "--yes"]).ok();
        for (address, url) in [
            ("bbtoken::ws/lib.git", format!("{cloud}/ws/lib.git\n")),
            (
                "bbtoken::PROJ/repo.git",
                format!("{dc}/scm/PROJ/repo.git\n"),
            ),
        ] {
            assert_eq!(both.git(&["ls-remote", "--get-url", address]).ok(), url);
            both.git(&["ls-remote", "-q", address])
                .done()
                .expect(0)
                .quiet();
        }
    }
}
