//! A mirror serves fetches, and only those.

use bitbucket_local::{Bitbucket, Scheme};

use super::{answers::is_for_data_center, configured, data_center, log_in};
use crate::support::{World, gits};

/// A logged in world with a mirror, and a clone `tree` from there.
fn mirrored(world: World) -> (World, Bitbucket) {
    log_in(&world);
    let mirror = world.bitbucket.start_mirror().expect("it starts");
    mirror
        .synchronize_from(&world.bitbucket)
        .expect("it can be copied");
    let url = mirror.base_url();
    world
        .git(["config", "--global", "bbtoken.dc.mirrorUrl", url])
        .ok();
    // Both certificates are trusted.
    let both = [world.bitbucket.ca_file(), mirror.ca_file()]
        .map(|file| std::fs::read_to_string(file).expect("it is there"));
    std::fs::write(world.path("both.pem"), both.concat()).expect("the world can be written");
    world.bitbucket.clear_requests();
    (world, mirror)
}

macro_rules! git {
    ($world:expr, $($argument:expr),+) => {
        configured($world.git([$($argument),+])).env("GIT_SSL_CAINFO", $world.path("both.pem"))
    };
}

#[test]
fn fetches_go_to_the_mirror_and_pushes_to_the_server() {
    for git in gits() {
        let (world, mirror) = mirrored(data_center(git));
        for transport in ["native", "git"] {
            world
                .git(["config", "--global", "bbtoken.transport", transport])
                .ok();
            git!(world, "clone", "-q", "bbtoken::dc@PROJ/repo", transport).ok();
            assert!(!mirror.git_requests().is_empty(), "{transport}");
            assert_eq!(world.bitbucket.git_requests().len(), 0, "{transport}");
            let tree = world.path(transport);
            world.commit(&tree, "file", transport);
            mirror.clear_requests();
            git!(world, "push", "-q", "origin", &format!("HEAD:{transport}"))
                .within(&tree)
                .ok();
            assert_eq!(mirror.git_requests().len(), 0, "{transport}");
            assert!(!world.bitbucket.git_requests().is_empty(), "{transport}");
            world.bitbucket.clear_requests();
        }
    }
}

#[test]
fn a_mirror_that_is_down_or_lacks_a_repository_is_named() {
    for git in gits() {
        let (world, mirror) = mirrored(data_center(git));
        let (url, base) = (mirror.base_url().to_owned(), world.bitbucket.base_url());
        let error = format!("error: cannot fetch from the mirror '{url}'\n");
        let hint = format!(
            "hint: the mirror may be down, or may not have this repository yet; to fetch from the server itself: git -c bbtoken.dc.mirrorUrl={base} fetch"
        );
        world.repository("PROJ", "new");
        let missing = git!(world, "ls-remote", "-q", "bbtoken::dc@PROJ/new").fails(128);
        missing.says(&[&error, "Repository not found", &hint]);
        is_for_data_center(&missing);
        drop(mirror);
        let down = git!(world, "ls-remote", "-q", "bbtoken::dc@PROJ/repo").fails(128);
        down.says(&[&error, &hint]);
        is_for_data_center(&down);
        let itself = format!("bbtoken.dc.mirrorUrl={base}");
        let list = git!(
            world,
            "-c",
            &itself,
            "ls-remote",
            "-q",
            "bbtoken::dc@PROJ/repo"
        );
        list.ok();
    }
}

#[test]
fn doctor_tells_whether_the_mirror_is_up_to_date() {
    let (world, mirror) = mirrored(super::one());
    let doctor = || {
        let run = configured(world.bbtoken(["doctor", "dc@PROJ/repo"]));
        run.env("GIT_SSL_CAINFO", world.path("both.pem")).done()
    };
    let url = mirror.base_url();
    let good = doctor();
    assert!(
        good.stdout
            .contains(&format!("ok       mirror: '{url}' is up to date")),
        "{good:?}"
    );
    git!(world, "clone", "-q", "bbtoken::dc@PROJ/repo", "tree").ok();
    let tree = world.path("tree");
    world.commit(&tree, "file", "new");
    git!(world, "push", "-q").within(&tree).ok();
    let behind = doctor();
    let text = format!("note     mirror: '{url}' does not have the newest commits yet");
    assert!(behind.stdout.contains(&text), "{behind:?}");
    is_for_data_center(&behind);
    let gone = format!("problem  mirror: '{url}' cannot be read: ");
    drop(mirror);
    let down = doctor();
    assert!(down.stdout.contains(&gone), "{down:?}");
}

#[test]
fn plain_https_from_a_mirror_gets_the_token_of_its_profile_only() {
    for git in gits() {
        let (world, mirror) = mirrored(data_center(git));
        configured(world.bbtoken(["setup", "--yes"])).ok();
        let url = format!("{}/scm/PROJ/repo.git", mirror.base_url());
        git!(world, "clone", "-q", &url, "plain").ok();
        let sent = mirror.git_requests().into_iter();
        assert!(sent.into_iter().any(|it| it.scheme == Scheme::Basic));
        // A profile of the same server without a mirror, where the mirror is also a site of its own.
        let base = world.bitbucket.base_url();
        let login = ["login", "other", "--data-center", base, "--with-token"];
        configured(world.bbtoken(login))
            .input(&super::token(&world, "REPO_READ"))
            .ok();
        for (key, value) in [("kind", "datacenter"), ("baseUrl", mirror.base_url())] {
            let key = format!("bbtoken.own.{key}");
            world.git(["config", "--global", &key, value]).ok();
        }
        let host = url.trim_start_matches("https://");
        let (host, path) = host.split_once('/').expect("it has a path");
        let question = format!("protocol=https\nhost={host}\npath={path}\nusername=other\n\n");
        let asked = configured(world.bbtoken(["credential", "get"])).input(&question);
        assert_eq!(asked.ok(), "");
        for name in ["own", "other"] {
            let section = format!("bbtoken.{name}");
            world
                .git(["config", "--global", "--remove-section", &section])
                .ok();
        }
        // A profile without this mirror.
        world
            .git(["config", "--global", "--unset", "bbtoken.dc.mirrorUrl"])
            .ok();
        mirror.clear_requests();
        git!(world, "ls-remote", "-q", &url).fails(128);
        let mut sent = mirror.git_requests().into_iter();
        assert!(sent.all(|it| it.scheme == Scheme::None));
    }
}
