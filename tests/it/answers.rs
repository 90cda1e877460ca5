//! Malformed responses: each kind has its own message, and the command ends as over plain https.

use std::{fs, io::Write as _};

use bitbucket_local::{Action, Bare, Rule, Then};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::support::{Done, Run, World, on_every_git};

/// Runs a command through the helper and over https, under the same rule; `ADDRESS` stands for the repository.
fn both(world: &World, rule: Option<&Rule>, run: impl Fn(&str, &str) -> Run) -> [Done; 2] {
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let header = world.with_header(&token);
    [("bbtoken::ws/repo", "core.x=y"), (&https, &header)].map(|(address, setting)| {
        world.bitbucket.clear_script();
        if let Some(rule) = rule {
            world.bitbucket.script(rule.clone().forever());
        }
        run(address, setting)
            .without_memory()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .without_client()
            .done()
    })
}

#[test]
fn each_kind_of_incomplete_response_has_its_own_message() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let cases = [
            ("00", "it ends inside the length of a pkt-line"),
            ("0010abc", "it ends inside a pkt-line"),
            (
                "0032aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HEAD\n",
                "it ends without a flush-pkt; the server's git may have failed",
            ),
            ("", "it is empty"),
            ("zzzzabcd", "a pkt-line in its answer has no valid length"),
            ("000dERR gone\n", "remote error: gone"),
        ];
        for (body, words) in cases {
            let rule = Rule::new(Action::ReplaceBody(body.into()))
                .method("POST")
                .path("git-upload-pack");
            let [ours, gits] = both(world, Some(&rule), |address, setting| {
                world.git(["-c", setting, "ls-remote", address])
            });
            assert_eq!((ours.code, gits.code), (Some(128), Some(128)), "{body}");
            ours.says(&[words]);
            let others = cases.iter().filter(|(other, _)| other != &body);
            for (_, other) in others {
                assert!(!ours.stderr.contains(other), "{body}: {}", ours.stderr);
            }
        }
    });
}

/// Answers whose heads are unusual: the first line, and the lines after it.
fn heads() -> Vec<(String, String)> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let many = |count: usize, bytes: usize| {
        let line = |number| format!("X-{number}: {}\r\n", "a".repeat(bytes));
        (0..count).map(line).collect::<String>()
    };
    let cases: [(&str, &str); 18] = [
        (ok, ""),
        ("HTTP/1.1 200\r\n", ""),
        ("HTTP/1.1 200 \r\n", ""),
        ("HTTP/1.1 200 Sch\u{f6}n\r\n", ""),
        ("HTTP/1.0 200 OK\r\n", ""),
        ("HTTP/1.1 200 OK\n", "X-A: b\n"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n",
            "",
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", ""),
        ("\r\nHTTP/1.1 200 OK\r\n", ""),
        (ok, "X-Long: one\r\n two\r\n\tthree\r\n"),
        (ok, "X-Odd : 1\r\n"),
        (ok, "X-Name: \u{e9}\u{80}\r\n"),
        (ok, "X(odd): 1\r\n"),
        (ok, ": nameless\r\n"),
        (ok, "no colon\r\n"),
        (ok, "X-Bell: a\u{7}b\r\n"),
        (ok, "Connection: close\r\nConnection: Keep-Alive\r\n"),
        (ok, "Set-Cookie: a=b\r\nSet-Cookie: c=d; Path=/\r\n"),
    ];
    let cases = cases.map(|(first, lines)| (first.to_owned(), lines.to_owned()));
    let mut cases = cases.to_vec();
    cases.push((ok.to_owned(), many(80, 3000)));
    cases.push((ok.to_owned(), many(4, 60_000)));
    cases.push((ok.to_owned(), many(450, 10)));
    cases
}

#[test]
fn heads_that_curl_reads_are_read() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let mut wrong = Vec::new();
        for (first, lines) in heads() {
            for (method, path, kind) in [
                ("GET", "info/refs", "advertisement"),
                ("POST", "git-upload-pack", "result"),
            ] {
                let head = format!(
                    "{first}{lines}Content-Type: application/x-git-upload-pack-{kind}\r\n\r\n"
                );
                let bare = Bare {
                    head: head.into(),
                    body: true,
                    then: Then::Close,
                };
                let rule = Rule::new(Action::Bare(bare)).method(method).path(path);
                let [ours, gits] = both(world, Some(&rule), |address, setting| {
                    let _ = fs::remove_dir_all(world.cache());
                    world
                        .git([
                            "-c",
                            setting,
                            "-c",
                            "http.version=HTTP/1.1",
                            "ls-remote",
                            address,
                        ])
                        .env("BBTOKEN_TRACE", "1")
                });
                let is_native = ours.code == Some(0) && !ours.stderr.contains(" hand-over ");
                let is_never_worse = gits.code != Some(0) || ours.code == Some(0);
                if !is_native || !is_never_worse {
                    let shown: String = format!("{first}{lines}").chars().take(60).collect();
                    wrong.push(format!(
                        "{method} {shown:?}: {:?} {}\nbeside git's {:?} {}",
                        ours.code, ours.stderr, gits.code, gits.stderr
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert_eq!(heads().len(), 21);
    });
}

/// Who reads an answer that the native transport does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Git's own transport, in our place.
    GitForUs,
    /// Git alone, because two programs may disagree on where such an answer ends.
    GitAlone,
    Nothing,
}

/// Answers that the native transport does not read: what they are, who reads them, the head, and the encoded body.
fn foreign_answers(advertisement: &[u8]) -> Vec<(&'static str, Reader, String, Vec<u8>)> {
    use Reader::{GitAlone, GitForUs, Nothing};
    let plain = advertisement.to_vec();
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflated
        .write_all(advertisement)
        .expect("memory takes it all");
    let deflated = deflated.finish().expect("memory takes it all");
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped
        .write_all(advertisement)
        .expect("memory takes it all");
    let zipped = zipped.finish().expect("memory takes it all");
    let chunk = format!("{:x}\n", plain.len()).into_bytes();
    let loose_chunks = [&chunk, &plain[..], b"\n0\n\n"].concat();
    let ok = "HTTP/1.1 200 OK\r\n".to_owned();
    let many: String = (0..600)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    let length = format!("Content-Length: +{}\r\n", plain.len());
    vec![
        (
            "lower case",
            GitForUs,
            "http/1.1 200 OK\r\n".into(),
            plain.clone(),
        ),
        (
            "version 2",
            GitForUs,
            "HTTP/2 200\r\n".into(),
            plain.clone(),
        ),
        (
            "two spaces",
            GitForUs,
            "HTTP/1.1  200 OK\r\n".into(),
            plain.clone(),
        ),
        (
            "a signed length",
            GitAlone,
            ok.clone() + &length,
            plain.clone(),
        ),
        (
            "chunk sizes without CR",
            GitForUs,
            ok.clone() + "Transfer-Encoding: chunked\r\n",
            loose_chunks,
        ),
        (
            "deflate",
            GitForUs,
            ok.clone() + "Content-Encoding: deflate\r\n",
            deflated,
        ),
        (
            "gzip as a transfer coding",
            GitForUs,
            ok.clone() + "Transfer-Encoding: gzip, chunked\r\n",
            [
                format!("{:x}\r\n", zipped.len()).as_bytes(),
                &zipped,
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
        ),
        (
            "a CR inside a value",
            GitForUs,
            ok.clone() + "X-A: b\rc\r\n",
            plain.clone(),
        ),
        ("600 lines", GitForUs, ok + &many, plain),
        ("no HTTP", Nothing, "Hello\r\n".into(), Vec::new()),
        (
            "no HTTP after an early hint",
            Nothing,
            "HTTP/1.1 103 Early Hints\r\n\r\nHello\r\n".into(),
            Vec::new(),
        ),
    ]
}

#[test]
fn an_advertisement_that_only_curl_reads_is_left_to_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let line = format!("{} refs/heads/main\0agent=x\n", "a".repeat(40));
        let advertisement = format!(
            "001e# service=git-upload-pack\n0000{:04x}{line}0000",
            line.len() + 4
        );
        let answers = foreign_answers(advertisement.as_bytes());
        assert_eq!(answers.len(), 11);
        for (what, reader, head, body) in answers {
            let head =
                format!("{head}Content-Type: application/x-git-upload-pack-advertisement\r\n\r\n");
            let bare = Bare {
                head: [head.as_bytes(), &body].concat(),
                body: false,
                then: Then::Close,
            };
            let rule = Rule::new(Action::Bare(bare)).path("info/refs");
            let [ours, gits] = both(world, Some(&rule), |address, setting| {
                let _ = fs::remove_dir_all(world.cache());
                world
                    .git(["-c", setting, "-c", "http.version=HTTP/1.1"])
                    .args(["ls-remote", address])
                    .env("BBTOKEN_TRACE", "1")
            });
            let beside = format!("{what}: {}\nbeside git's {}", ours.stderr, gits.stderr);
            let (is_ours, is_gits) = (reader == Reader::GitForUs, reader != Reader::Nothing);
            assert_eq!(gits.code == Some(0), is_gits, "{beside}");
            assert_eq!(ours.code == Some(0), is_ours, "{beside}");
            assert_eq!(ours.stderr.contains(" hand-over "), is_ours, "{beside}");
            match is_ours {
                true => assert_eq!(ours.stdout, gits.stdout, "{beside}"),
                false => ours.says(&["caused by: the response of 'localhost' is not HTTP"]),
            };
        }
    });
}

#[test]
fn a_repository_whose_lists_only_curl_reads_is_cloned_and_pushed_to() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let token = world
            .bitbucket
            .issue_access_token(&["repository", "repository:write"]);
        let run = |arguments: &[&str]| {
            let run = world.git(arguments).without_client();
            run.env("BBTOKEN_ACCESS_TOKEN", &token)
                .env("BBTOKEN_TRACE", "1")
        };
        // Without a credential git is asked for one, as always; only the helper's first request is answered oddly.
        let odd = |service: &str| {
            let head = format!(
                "HTTP/1.1  200 OK\r\nContent-Type: application/x-{service}-advertisement\r\n\r\n"
            );
            let action = Action::Bare(Bare {
                head: head.into(),
                body: true,
                then: Then::Close,
            });
            world.bitbucket.clear_script();
            world.bitbucket.script(Rule::new(action).path("info/refs"));
        };
        odd("git-upload-pack");
        let done = run(&["clone", "-q", "bbtoken::ws/repo", "tree"]).done();
        assert!(done.expect(0).stderr.contains(" hand-over "));
        let tree = world.path("tree");
        world.commit(&tree, "file", "odd");
        odd("git-receive-pack");
        let done = run(&["push", "-q"]).within(&tree).done();
        assert!(done.expect(0).stderr.contains(" hand-over "));
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        let kept = fs::read_dir(world.cache()).map(|kept| kept.flatten().count());
        assert_eq!(
            kept.unwrap_or(0),
            0,
            "one odd answer says nothing about the next"
        );
    });
}

#[test]
fn a_cookie_is_sent_back_only_if_git_does_so_over_https() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let set = ("Set-Cookie".to_owned(), "node=a; Path=/".to_owned());
        let rule = Rule::new(Action::Alter(vec![set])).path("/ws/");
        let trace = world.path("trace");
        let runs = both(world, Some(&rule), |address, setting| {
            world
                .git([
                    "-c",
                    setting,
                    "-c",
                    "http.version=HTTP/1.1",
                    "ls-remote",
                    address,
                ])
                .env("GIT_TRACE_CURL", &trace)
        });
        for done in runs {
            done.expect(0);
        }
        let trace = fs::read_to_string(&trace).expect("it was written");
        assert!(
            trace.contains("Recv header: Set-Cookie: "),
            "both were given one"
        );
        assert!(
            !trace.contains("Send header: Cookie"),
            "git has no cookies without http.cookieFile"
        );
    });
}

#[test]
fn an_advertisement_of_no_version_is_not_left_to_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for body in ["000ever<p>no p", "0000"] {
            let rule = Rule::new(Action::ReplaceBody(body.into()))
                .method("GET")
                .path("info/refs");
            let [ours, gits] = both(world, Some(&rule), |address, setting| {
                world.git(["-c", setting, "ls-remote", address])
            });
            assert_eq!((ours.code, gits.code), (Some(128), Some(128)));
            ours.says(&[
                "error: cannot use repository 'ws/repo': 'localhost' did not answer as a git server\n",
                "caused by: its first pkt-line names no version and no ref\n",
            ]);
        }
    });
}

#[test]
fn an_upload_pack_that_fails_tells_why_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let blob = world.rev(&bare, "main:file");
        let object = bare.join("objects").join(&blob[..2]).join(&blob[2..]);
        fs::remove_file(object).expect("it is no pack's");
        let [ours, gits] = both(world, None, |address, setting| {
            world.git(["-c", setting, "clone", "-q", address, "tree"])
        });
        assert_eq!((ours.code, gits.code), (Some(128), Some(128)));
        let told = |done: &Done| {
            let lines = done
                .stderr
                .lines()
                .filter(|line| line.starts_with("remote: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(!told(&gits).is_empty(), "{}", gits.stderr);
        assert_eq!(told(&ours), told(&gits), "{}", ours.stderr);
        ours.says(&["possible repository corruption on the remote side"]);
        assert!(!world.path("tree").exists(), "nothing is left of it");
    });
}
