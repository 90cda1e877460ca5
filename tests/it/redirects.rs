//! The targets of a credential after a redirect.

use std::{fs, path::Path};

use bitbucket_local::Rule;

use crate::{
    hostile::Server,
    lfs,
    needs::needs,
    support::{Run, World, on_every_git},
};

/// Lets every request for a repository's advertisement be answered by a redirect.
fn redirect(world: &World, status: u16, location: &str) {
    let rule = Rule::answer(status)
        .header("Location", location)
        .path("/ws/old.git/info/refs");
    world.bitbucket.script(rule.forever());
}

/// Where the advertisement of a repository is.
fn advertisement_of(world: &World, name: &str) -> String {
    let repository = world.repository_path("ws", name);
    format!("{repository}/info/refs?service=git-upload-pack")
}

#[test]
fn a_renamed_repository_is_followed_on_the_same_host_by_fetch_and_push() {
    on_every_git(|world| {
        world.repository("ws", "new");
        for status in [301, 302, 307, 308] {
            world.bitbucket.clear_script();
            redirect(world, status, &advertisement_of(world, "new"));
            let name = format!("tree-{status}");
            world
                .git(["clone", "-q", "bbtoken::ws/old", &name])
                .done()
                .expect(0)
                .quiet();
            let tree = world.path(&name);
            world.commit(&tree, "file", format!("{status}\n"));
            world.git(["push", "-q"]).within(&tree).ok();
            let new = format!("{}/", world.repository_path("ws", "new"));
            let posts: Vec<_> = world
                .bitbucket
                .git_requests()
                .into_iter()
                .filter(|request| request.method == "POST")
                .map(|request| request.path)
                .collect();
            assert!(posts.iter().all(|path| path.starts_with(&new)), "{posts:?}");
            assert!(
                posts.iter().any(|path| path.ends_with("git-receive-pack")),
                "{posts:?}"
            );
        }
    });
}

#[test]
fn a_redirect_to_anywhere_else_ends_the_command_before_anything_is_sent_there() {
    on_every_git(|world| {
        world.repository("ws", "old");
        let other = World::new(world.git.clone());
        other.repository("ws", "old");
        let path = advertisement_of(world, "old");
        let elsewhere = format!("{}{path}", other.origin());
        let this = format!("{}{path}", world.origin());
        let cases = [
            elsewhere,
            this.replace("https://", "http://"),
            this.replace("localhost", "127.0.0.1"),
            format!("//evil.example{path}"),
            "/login".to_owned(),
            String::new(),
        ];
        for location in &cases {
            world.bitbucket.clear_script();
            redirect(world, 302, location);
            let done = world
                .git(["clone", "-q", "bbtoken::ws/old", "tree"])
                .fails(128);
            done.says(&["error: ", "it redirects to '", "hint: "]);
            assert!(!world.path("tree").exists());
        }
        assert!(
            other.bitbucket.requests().is_empty(),
            "the other server gets no request"
        );
        assert_eq!(cases.len(), 6);
    });
}

#[test]
fn redirects_without_end_are_ended() {
    on_every_git(|world| {
        world.repository("ws", "old");
        redirect(world, 302, &advertisement_of(world, "old"));
        world
            .git(["ls-remote", "bbtoken::ws/old"])
            .fails(128)
            .says(&["it redirects too often"]);
    });
}

#[test]
fn a_request_that_is_redirected_after_the_advertisement_is_not_sent_again() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.bitbucket.script(
            Rule::answer(307)
                .header("Location", "https://evil.example/")
                .method("POST")
                .path("git-upload-pack"),
        );
        world.git(["ls-remote", "bbtoken::ws/repo"]).fails(128);
        let posts = world
            .git_requests()
            .into_iter()
            .filter(|request| request.starts_with("POST"));
        assert_eq!(posts.count(), 1);
    });
}

#[test]
fn a_redirect_is_shown_as_git_shows_it() {
    on_every_git(|world| {
        world.repository("ws", "new");
        redirect(world, 301, &advertisement_of(world, "new"));
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let https = world.bitbucket.repository_url("ws", "old");
        let told = |address: &str, settings: &[&str]| {
            let done = world.git(settings).args(["ls-remote", address]).done();
            done.expect(0).stderr
        };
        let header = world.with_header(&token);
        let expected = format!(
            "warning: redirecting to {}/\n",
            world.bitbucket.repository_url("ws", "new")
        );
        assert_eq!(told(&https, &["-c", &header]), expected);
        for follow in ["initial", "true"] {
            let setting = format!("http.followRedirects={follow}");
            assert_eq!(told("bbtoken::ws/old", &["-c", &setting]), expected);
        }
        world
            .git([
                "-c",
                "http.followRedirects=false",
                "ls-remote",
                "bbtoken::ws/old",
            ])
            .fails(128);
    });
}

/// The requests of a push, of a fetch, and of the token for either: method, and end of the path.
const REQUESTS: [(&str, &str); 5] = [
    ("POST", "token"),
    ("GET", "info/refs?service=git-upload-pack"),
    ("POST", "git-upload-pack"),
    ("GET", "info/refs?service=git-receive-pack"),
    ("POST", "git-receive-pack"),
];

#[test]
fn nothing_is_sent_in_plain_text_where_https_redirects_to_http() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        world.commit(&tree, "file", "two\n");
        let plain = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        for transport in ["native", "git"] {
            for (number, (method, path)) in REQUESTS.into_iter().enumerate() {
                for status in [302, 307] {
                    let host = ["127.0.0.1", "localhost"][number % 2];
                    let place = format!("http://{host}:{}/ws/repo.git/{path}", plain.port());
                    let rule = Rule::answer(status).header("Location", &place);
                    world.bitbucket.clear_script();
                    world.bitbucket.clear_requests();
                    world
                        .bitbucket
                        .script(rule.method(method).path(path).forever());
                    let _ = fs::remove_dir_all(world.cache());
                    let is_push = path.ends_with("receive-pack");
                    let run = world
                        .git([if is_push { "push" } else { "fetch" }])
                        .within(&tree);
                    let run = run.without_memory().env("BBTOKEN_TRANSPORT", transport);
                    assert_ne!(run.done().code, Some(0), "{transport} {path}");
                    let asked = world.bitbucket.requests();
                    let was_redirected = asked.iter().any(|request| request.status == Some(status));
                    assert!(was_redirected, "{transport} {path}");
                    assert_eq!(plain.asked(), Vec::<String>::new(), "{transport} {path}");
                }
            }
        }
    });
}

#[test]
fn lfs_files_are_not_requested_over_plain_http_either() {
    needs!("git-lfs");
    on_every_git(|world| {
        lfs::install(world);
        lfs::repository(world, "ws", "repo", &["a.bin"]);
        let skipping = |run: Run| run.env("GIT_LFS_SKIP_SMUDGE", "1");
        skipping(world.git(["clone", "-q", "bbtoken::ws/repo", "tree"])).ok();
        let tree = world.path("tree");
        let plain = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        for status in [302, 307, 308] {
            let place = format!(
                "http://localhost:{}/ws/repo.git/info/lfs/objects/batch",
                plain.port()
            );
            world.bitbucket.clear_script();
            let rule = Rule::answer(status).header("Location", &place);
            world.bitbucket.script(rule.path("objects/batch").forever());
            world.git(["lfs", "pull"]).within(&tree).fails(2);
            for head in plain.asked() {
                assert!(
                    !head.to_ascii_lowercase().contains("authorization"),
                    "{head}"
                );
            }
        }
        assert!(!world.bitbucket.lfs_requests().is_empty());
        assert_ne!(
            fs::read(Path::new(&tree).join("a.bin")).ok(),
            Some(lfs::content("a.bin"))
        );
    });
}

#[test]
fn a_redirect_is_followed_only_where_the_scheme_is_always_allowed_as_by_git() {
    on_every_git(|world| {
        world.repository("ws", "new");
        redirect(world, 301, &advertisement_of(world, "new"));
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let https = world.bitbucket.repository_url("ws", "old");
        for (setting, variable, is_followed) in [
            ("protocol.https.allow=always", "", true),
            ("protocol.https.allow=user", "", false),
            ("protocol.allow=user", "", false),
            ("protocol.http.allow=user", "", true),
            ("protocol.https.allow=user", "bbtoken:https", true),
        ] {
            let run = |address: &str, header: &str| {
                let run = world
                    .git(["-c", setting, "-c", header, "ls-remote", address])
                    .without_memory();
                match variable {
                    "" => run.done(),
                    list => run.env("GIT_ALLOW_PROTOCOL", list).done(),
                }
            };
            world.bitbucket.clear_requests();
            let ours = run("bbtoken::ws/old", "core.x=y");
            let gits = run(&https, &world.with_header(&token));
            let expected = if is_followed { 0 } else { 128 };
            let (ours, gits) = (ours.expect(expected), gits.expect(expected));
            assert_eq!(ours.stdout, gits.stdout);
            if !is_followed {
                let name = setting.split('=').next().expect("it has a name");
                ours.says(&[&format!(
                    "/ws/new.git', but {name} in the command line forbids redirects\n"
                )]);
                let requests = world.bitbucket.git_requests();
                let is_new = |path: &str| path.contains("/ws/new");
                assert!(!requests.iter().any(|request| is_new(&request.path)));
            }
        }
    });
}
