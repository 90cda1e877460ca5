//! The page docs/data-center.md: its commands as written, and its messages.

use std::{fs, path::Path};

use bitbucket_local::{Consumer, NewToken, Options, TokenKind};

use crate::{
    inspect::files,
    person,
    support::{CONTEXT_PATH, Run, World, gits},
};

/// Where Bitbucket and its mirror are on the page.
const BASE: &str = "https://git.example/bitbucket";
const MIRROR: &str = "https://mirror.example/bitbucket";
/// The redirect URL on the page.
const REDIRECT: &str = "https://localhost/bbtoken";

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("docs/data-center.md")).expect("the page is there")
}

/// The first block of the page that contains some words.
fn block(words: &str) -> String {
    let page = page();
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split_once("```"));
    let found = blocks.find(|(block, _)| block.contains(words));
    found.expect("the page has the block").0.to_owned()
}

/// A Data Center with `PROJ/repo` and `~ann/repo`, and a user who has nothing.
fn world() -> World {
    let world = World::with(gits().remove(0), Options::data_center(CONTEXT_PATH));
    world.repository("PROJ", "repo");
    world.repository("~ann", "repo");
    world
}

/// Runs lines of the page in a shell of the user.
fn shell(world: &World, lines: &str) -> Run {
    let lines = lines
        .replace(BASE, world.bitbucket.base_url())
        .replace("https://git.example", world.origin())
        .replace("git.example", "localhost");
    let run = world.run(Path::new("/bin/sh"), ["-ec", &lines]);
    run.without_client()
        .without("BBTOKEN_BASE_URL")
        .without("BBTOKEN_KIND")
}

fn token(world: &World) -> String {
    world.bitbucket.issue(NewToken {
        scopes: vec!["REPO_WRITE".to_owned()],
        ..NewToken::new(TokenKind::Api)
    })
}

/// Logs in with the first block of the page, and clones.
fn logged_in() -> World {
    let world = world();
    shell(&world, &block("login dc")).input(&token(&world)).ok();
    assert!(world.path("repo/file").exists());
    world
}

#[test]
fn a_developer_logs_in_with_a_token_and_each_address_works() {
    let world = logged_in();
    let list = shell(&world, &block("git ls-remote bbtoken::PROJ/repo")).ok();
    let count = list.matches("refs/heads/main\n").count();
    assert_eq!(count, 5, "each address was listed: {list}");
    let own = page();
    let own = own.split('`').find(|word| word.contains("@~ann/"));
    let own = format!("git ls-remote {}", own.expect("the page names it"));
    shell(&world, &own).ok();
    shell(&world, &block("bbtoken.dc.sshHost")).ok();
    let ssh = "git ls-remote bbtoken::ssh://git@ssh.git.example:7999/proj/repo.git";
    shell(&world, ssh).ok();
}

#[test]
fn a_developer_logs_in_by_browser_and_may_ask_for_less() {
    let world = world();
    world.bitbucket.add_consumer(Consumer {
        callback: Some(REDIRECT.to_owned()),
        ..world.consumer.clone()
    });
    let login = block("--browser").replace("<id>", &world.consumer.key);
    // A person types the secret before the page is shown.
    let typed = format!("(echo '{}'; cat) | {login}", world.consumer.secret);
    let pasted = person::log_in_by_pasting(&world, shell(&world, &typed));
    pasted.done.expect(0);
    assert!(pasted.callback.starts_with(REDIRECT));
    let list = "git ls-remote bbtoken::dc@PROJ/repo";
    shell(&world, list).ok();
    shell(&world, &block("bbtoken.dc.scope")).ok();
    shell(&world, list).ok();
}

#[test]
fn a_job_clones_with_a_token_or_as_a_service_account() {
    for words in ["BBTOKEN_ACCESS_TOKEN", "BBTOKEN_CLIENT_ID"] {
        let world = world();
        let job = block(words)
            .replace("<id>", &world.consumer.key)
            .replace("<secret>", &world.consumer.secret);
        let token = world.bitbucket.issue_resource_token();
        shell(&world, &job).env("REPOSITORY_TOKEN", token).ok();
        assert!(world.path("repo/file").exists(), "{words}");
    }
}

/// Lets commands trust the servers of both.
fn trusting(world: &World, other: &bitbucket_local::Bitbucket, run: Run) -> Run {
    let both = [world.bitbucket.ca_file(), other.ca_file()]
        .map(|file| fs::read_to_string(file).expect("it is there"));
    let file = world.path("both.pem");
    fs::write(&file, both.concat()).expect("the world can be written");
    run.env("GIT_SSL_CAINFO", file)
}

#[test]
fn a_mirror_serves_fetches_and_pushes_go_to_bitbucket() {
    let world = logged_in();
    let mirror = world.bitbucket.start_mirror().expect("it starts");
    let copied = mirror.synchronize_from(&world.bitbucket);
    copied.expect("the repositories can be copied");
    let lines = block("mirrorUrl").replace(MIRROR, mirror.base_url());
    shell(&world, &lines).ok();
    world.bitbucket.clear_requests();
    let tree = world.path("repo");
    trusting(&world, &mirror, shell(&world, "git fetch -q"))
        .within(&tree)
        .ok();
    assert!(world.bitbucket.git_requests().is_empty());
    assert!(!mirror.git_requests().is_empty());
    world.commit(&tree, "file", "two\n");
    trusting(&world, &mirror, shell(&world, "git push -q"))
        .within(&tree)
        .ok();
    assert!(!world.bitbucket.git_requests().is_empty());
}

#[test]
fn a_ca_of_the_company_is_trusted_by_gits_setting() {
    let world = logged_in();
    let list = || shell(&world, "git ls-remote bbtoken::dc@PROJ/repo").without("GIT_SSL_CAINFO");
    list().fails(128);
    let ca = world.bitbucket.ca_file().display().to_string();
    let lines = block("sslCAInfo").replace("/etc/ssl/certs/company.pem", &ca);
    shell(&world, &lines).ok();
    list().ok();
}

#[test]
fn cloud_and_data_center_are_used_side_by_side() {
    let (world, cloud) = (world(), World::with(gits().remove(0), Options::default()));
    cloud.repository("workspace", "app");
    let at_cloud = ["config", "--global", "bbtoken.cloud.baseUrl"];
    world.git(at_cloud).arg(cloud.bitbucket.base_url()).ok();
    let secrets = [cloud.bitbucket.issue_api_token(), token(&world)];
    let mut secrets = secrets.iter();
    let lines = block("login cloud");
    for line in lines.lines() {
        let run = trusting(&world, &cloud.bitbucket, shell(&world, line));
        match line.contains("login") {
            true => run
                .input(secrets.next().expect("there are two logins"))
                .ok(),
            false => run.ok(),
        };
    }
    assert_eq!(lines.lines().count(), 4);
    for tree in ["app", "repo"] {
        assert!(world.path(tree).join("file").exists(), "{tree}");
    }
    cloud.repository("workspace", "repo");
    let tree = world.path("repo");
    let moves = shell(&world, &block("--to cloud"));
    trusting(&world, &cloud.bitbucket, moves).within(&tree).ok();
    cloud.bitbucket.clear_requests();
    let fetch = trusting(&world, &cloud.bitbucket, shell(&world, "git fetch -q"));
    fetch.within(&tree).ok();
    assert!(!cloud.bitbucket.git_requests().is_empty(), "it has moved");
}

#[test]
fn each_message_on_the_page_is_one_of_the_programs() {
    let page = page();
    let section = page.split("## Messages").nth(1).expect("the page has it");
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources: Vec<_> = files(&root.join("src")).into_values().collect();
    // What Bitbucket itself says.
    sources.extend(files(&root.join("tests/bitbucket/src")).into_values());
    let sources: Vec<_> = sources
        .into_iter()
        .map(|text| String::from_utf8(text).expect("a source is text"))
        .collect();
    let mut count = 0;
    for row in rows {
        let message = row.split('`').nth(1).expect("the row quotes a message");
        let is_there = sources.iter().any(|source| source.contains(message));
        assert!(is_there, "no message has '{message}'");
        count += 1;
    }
    assert_eq!(count, 12);
}
