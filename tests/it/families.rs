//! `-4` and `-6` of git's commands: the helper connects only to addresses of one family, as plain https does.

use std::{
    io,
    net::{Ipv6Addr, TcpListener, TcpStream},
    path::Path,
    thread,
};

use crate::support::{Done, World, on_every_git};

/// Lets a server be reached at `::1`, too, by another port; ends with the process.
fn by_ipv6(world: &World) -> u16 {
    let server = world
        .bitbucket
        .base_url()
        .replace("https://localhost", "127.0.0.1");
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("this machine has IPv6");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).expect("the world is there");
            let ends = [(&client, &server), (&server, &client)];
            for (from, to) in ends.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                let (mut from, mut to) = (from.expect("it is open"), to.expect("it is open"));
                thread::spawn(move || {
                    // The first side that ends also ends the other one.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

/// Runs a command through the helper and over https, with a base URL; `ADDRESS` stands for the repository.
fn both(world: &World, base: &str, tree: &Path, command: &[&str]) -> [Done; 2] {
    let _ = std::fs::remove_dir_all(world.cache());
    let token = world
        .bitbucket
        .issue_access_token(&["repository", "repository:write"]);
    let https = format!("{base}/ws/repo.git");
    let run = |address: &str, setting: &str| {
        let words = command.iter().map(|word| word.replace("ADDRESS", address));
        world
            .git(["-c", setting])
            .args(words)
            .within(tree)
            .env("BBTOKEN_BASE_URL", base)
            .done()
    };
    [
        run("bbtoken::ws/repo", "core.x=y"),
        run(&https, &world.with_header(&token)),
    ]
}

/// Expects that a command works through the helper and over https, or does through neither; gives what ours said.
#[track_caller]
fn works(expected: bool, [ours, gits]: [Done; 2]) -> Done {
    assert_eq!(ours.code, gits.code, "{}", ours.stderr);
    assert_eq!(ours.code == Some(0), expected, "{}", ours.stderr);
    ours
}

#[test]
fn every_command_connects_only_by_the_given_address_family() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let ipv4 = world.bitbucket.base_url().to_owned();
        let ipv6 = format!("https://localhost:{}", by_ipv6(world));
        for (family, there, not_there) in [("-4", &ipv4, &ipv6), ("-6", &ipv6, &ipv4)] {
            let mut count = 0;
            for command in [
                &["fetch", "-q", family, "ADDRESS", "main"][..],
                &["pull", "-q", family, "ADDRESS", "main"],
                &["push", "-q", family, "ADDRESS", "main:refs/heads/side"],
                &["-c", "protocol.version=0", "fetch", "-q", family, "ADDRESS"],
            ] {
                works(true, both(world, there, &tree, command)).quiet();
                works(false, both(world, not_there, &tree, command))
                    .says(&["error: cannot ", "caused by: cannot connect to 'localhost'"]);
                count += 1;
            }
            assert_eq!(count, 4);
        }
    });
}

#[test]
fn a_clone_keeps_to_a_family_and_no_option_means_any() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let ipv6 = format!("https://localhost:{}", by_ipv6(world));
        let clone = |base: &str, option: &str| {
            let place = world.path("tree");
            let _ = std::fs::remove_dir_all(&place);
            world
                .git(["clone", "-q", option, "bbtoken::ws/repo", "tree"])
                .env("BBTOKEN_BASE_URL", base)
                .done()
        };
        clone(&ipv6, "-6").expect(0).quiet();
        clone(&ipv6, "-4").expect(128);
        clone(world.bitbucket.base_url(), "-4").expect(0).quiet();
        clone(world.bitbucket.base_url(), "-6").expect(128);
        clone(world.bitbucket.base_url(), "--no-tags")
            .expect(0)
            .quiet();
    });
}

#[test]
fn an_address_in_the_place_of_a_name_has_its_own_family() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let ipv4 = world.bitbucket.base_url().replace("localhost", "127.0.0.1");
        let ipv6 = format!("https://[::1]:{}", by_ipv6(world));
        for (family, there, not_there) in [("-4", &ipv4, &ipv6), ("-6", &ipv6, &ipv4)] {
            let command = ["fetch", "-q", family, "ADDRESS", "main"];
            works(true, both(world, there, &tree, &command)).quiet();
            works(false, both(world, not_there, &tree, &command)).says(&["cannot connect to '"]);
        }
    });
}
