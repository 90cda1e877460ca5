//! Traces in git's format and in the helper's. No trace shows a secret.

use std::{collections::BTreeSet, fs, path::Path};

use bitbucket_local::{
    Action, Bare, Kind, Options, Rule, Then,
    proxy::{self, Proxy},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    inspect::files,
    support::{Run, World, gits, on_every_git},
};

/// One request's or answer's head: its first line, and the rest in no order.
type Head = (String, BTreeSet<String>);

/// What a line says, behind its time and place.
fn said(line: &str) -> Option<&str> {
    line.find("=> ")
        .or_else(|| line.find("<= "))
        .map(|at| &line[at..])
}

/// Gives the heads that a trace shows, with what differs by nature taken out: sizes, dates, names of programs, schemes.
fn heads(trace: &str) -> Vec<Head> {
    let mut heads: Vec<Head> = Vec::new();
    for line in trace.lines().filter_map(said) {
        let Some((label, header)) = line.split_once(" header: ") else {
            continue;
        };
        let is_first = header.starts_with("GET ")
            || header.starts_with("POST ")
            || header.starts_with("HTTP/1.1 ");
        if is_first {
            heads.push((format!("{label} {header}"), BTreeSet::new()));
            continue;
        }
        let (name, value) = header.split_once(": ").unwrap_or((header, ""));
        let name = name.to_ascii_lowercase();
        let value = match name.as_str() {
            // What each of them speaks beside git's protocol.
            "accept-encoding" | "accept-language" => continue,
            "user-agent" | "date" => "#",
            "authorization" => value.split_once(' ').map_or(value, |(_, value)| value),
            _ => value,
        };
        let (_, rest) = heads.last_mut().expect("a head begins with its first line");
        rest.insert(format!("{name}: {value}"));
    }
    heads
}

/// Runs `ls-remote` through the helper and over https, each with a trace in a file; gives both traces.
fn both(world: &World, variables: &[(&str, &str)]) -> [String; 2] {
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let run = |address: &str, setting: &str, name: &str| {
        let file = world.path(name);
        let _ = fs::remove_file(&file);
        // Nothing is remembered, so that everything is asked for.
        let mut run = world
            .git(["-c", "http.version=HTTP/1.1", "-c", setting])
            .args(["ls-remote", address])
            .without_client()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .env("BBTOKEN_STORE", "memory")
            .env("GIT_TRACE_CURL", &file);
        for (variable, value) in variables {
            run = run.env(variable, value);
        }
        run.done().expect(0).quiet();
        fs::read_to_string(file).expect("the trace was written")
    };
    [
        run("bbtoken::ws/repo", "core.x=y", "ours"),
        run(&https, &world.with_header(&token), "gits"),
    ]
}

#[test]
fn header_lines_are_shown_as_git_shows_its_own() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let [ours, gits] = both(world, &[]);
        assert_eq!(heads(&ours), heads(&gits));
        assert_eq!(heads(&ours).len(), 4, "{ours}");
        assert!(ours.contains(
            "=> Send header: GET /ws/repo.git/info/refs?service=git-upload-pack HTTP/1.1\n"
        ));
        assert!(ours.contains("=> Send header: Git-Protocol: version=2\n"));
        assert!(ours.contains("=> Send header: Authorization: Basic <redacted>\n"));

        // The same shape to the column, digits aside.
        let shape = |line: &str| -> String {
            let (start, said) = line.split_at(40);
            let start = &start[..15];
            let digits = format!("{start}{said}").replace(|c: char| c.is_ascii_digit(), "#");
            digits.replace(|c: char| ('a'..='f').contains(&c), "#")
        };
        for what in [
            "=> Send header, ",
            "<= Recv header, ",
            "=> Send header: Host: ",
            "<= Recv header: HTTP/1.1 ",
        ] {
            let line = |trace: &str| {
                let line = trace.lines().find(|line| line.contains(what));
                shape(line.unwrap_or_else(|| panic!("no '{what}' in {trace}")))
            };
            assert_eq!(line(&ours), line(&gits));
        }
        let ends = |trace: &str| {
            let ends = trace.lines().filter_map(said);
            ends.filter(|line| line.trim_end().ends_with("header:"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(ends(&ours), ends(&gits), "a head ends with an empty line");
    });
}

#[test]
fn the_servers_own_reason_phrase_is_shown() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let head = "HTTP/1.1 500 Intentional Breakage\r\nContent-Length: 0\r\n\r\n";
        let bare = Bare {
            head: head.into(),
            body: false,
            then: Then::Close,
        };
        let rule = Rule::new(Action::Bare(bare)).kind(Kind::Git).forever();
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.script(rule);
        let file = world.path("trace");
        let run = world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .without_memory();
        run.env("GIT_TRACE_CURL", &file).fails(128);
        let trace = fs::read_to_string(file).expect("the trace was written");
        assert!(
            trace.contains("<= Recv header: HTTP/1.1 500 Intentional Breakage\n"),
            "{trace}"
        );
    });
}

#[test]
fn trace_lines_have_no_prefix_if_gits_have_none() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (value, is_bare) in [("1", true), ("true", true), ("0", false), ("false", false)] {
            let traces = both(world, &[("GIT_TRACE_BARE", value)]);
            for trace in &traces {
                let line = trace
                    .lines()
                    .find(|line| line.contains("=> Send header: GET"));
                let line = line.unwrap_or_else(|| panic!("no request in {trace}"));
                assert_eq!(line.starts_with("=> Send"), is_bare, "{value}: {line}");
            }
            assert_eq!(heads(&traces[0]), heads(&traces[1]));
        }
    });
}

#[test]
fn cookies_are_shown_where_git_shows_them_and_our_token_never() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world
            .git(["config", "--global", "http.extraHeader", "Cookie: ours=one"])
            .ok();
        let cookie = ("Set-Cookie".to_owned(), "theirs=two; Path=/".to_owned());
        let alter = Rule::new(Action::Alter(vec![
            (
                "Content-Type".to_owned(),
                "application/x-git-upload-pack-advertisement".to_owned(),
            ),
            cookie,
        ]));
        for (value, is_shown) in [("0", true), ("no", true), ("", true), ("1", false)] {
            world.bitbucket.clear_script();
            world
                .bitbucket
                .script(alter.clone().path("info/refs").forever());
            let traces = both(world, &[("GIT_TRACE_REDACT", value)]);
            let shows = |trace: &str, cookie: &str| trace.to_ascii_lowercase().contains(cookie);
            for trace in &traces {
                let sent = "=> send header: cookie: ours=one\n";
                assert_eq!(shows(trace, sent), is_shown, "'{value}': {trace}");
            }
            // Git shows those of the server in any case.
            let received = "<= recv header: set-cookie: theirs=two;";
            assert_eq!(shows(&traces[0], received), is_shown, "'{value}'");
            assert!(shows(&traces[1], received), "'{value}'");
            assert!(traces[0].contains("Authorization: Basic <redacted>\n"));
        }
    });
}

#[test]
fn a_trace_shows_a_proxied_request_as_it_is_sent() {
    for git in gits() {
        let options = Options {
            tls: false,
            ..Options::default()
        };
        let world = World::with(git, options);
        world.repository("ws", "repo");
        // It carries nothing; what is sent to it is what counts.
        let proxy = Proxy::start(proxy::Options::default()).expect("a proxy starts on loopback");
        let setting = format!("http.proxy=http://ann:canary@127.0.0.1:{}", proxy.port());
        let base = world.bitbucket.base_url();
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let first = format!(
            "=> Send header: GET {base}/ws/repo.git/info/refs?service=git-upload-pack HTTP/1.1\n"
        );
        for (redact, login) in [
            (
                "1",
                "=> Send header: Proxy-Authorization: Basic <redacted>\n",
            ),
            (
                "0",
                "=> Send header: Proxy-Authorization: Basic YW5uOmNhbmFyeQ==\n",
            ),
        ] {
            for address in ["bbtoken::ws/repo", &format!("{base}/ws/repo.git")] {
                let file = world.path("trace");
                let _ = fs::remove_file(&file);
                let run = world
                    .git(["-c", &setting, "-c", "http.proxyAuthMethod=basic"])
                    .args(["-c", "http.version=HTTP/1.1", "ls-remote", address])
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &token)
                    .env("GIT_TRACE_REDACT", redact)
                    .env("GIT_TRACE_CURL", &file);
                run.fails(128);
                let trace = fs::read_to_string(file).expect("the trace was written");
                assert!(trace.contains(&first), "{address}: {trace}");
                assert!(trace.contains(login), "{address}: {trace}");
            }
        }
    }
}

#[test]
fn bodies_are_shown_as_git_shows_them_or_not_at_all() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let data = |trace: &str, label: &str| {
            let lines = trace.lines().filter_map(said);
            lines
                .filter_map(|line| line.strip_prefix(label))
                .collect::<String>()
        };
        let [ours, gits] = both(world, &[]);
        assert_eq!(data(&ours, "=> Send data: "), data(&gits, "=> Send data: "));
        assert!(data(&ours, "=> Send data: ").contains("command=ls-refs"));
        assert!(data(&ours, "<= Recv data: ").contains("symref-target:refs/heads/main"));
        let [ours, gits] = both(world, &[("GIT_TRACE_CURL_NO_DATA", "1")]);
        for trace in [ours, gits] {
            assert!(
                !trace.contains(" data") && trace.contains(" header"),
                "{trace}"
            );
        }
    });
}

#[test]
fn git_curl_verbose_shows_the_header_lines_on_stderr() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let done = world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .env("GIT_CURL_VERBOSE", "1")
            .done()
            .expect(0);
        done.says(&[
            "=> Send header: POST /ws/repo.git/git-upload-pack HTTP/1.1",
            "<= Recv header: HTTP/1.1 200 OK",
        ]);
        assert!(!done.stderr.contains(" data"));
    });
}

#[test]
fn a_trace_goes_to_a_descriptor_that_the_caller_opened() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let script = "exec 7>trace && GIT_TRACE_CURL=7 git ls-remote bbtoken::ws/repo";
        world
            .run(Path::new("/bin/sh"), ["-c", script])
            .done()
            .expect(0)
            .quiet();
        let trace = fs::read_to_string(world.path("trace")).expect("the shell made it");
        assert!(
            trace.contains("=> Send header: Git-Protocol: version=2"),
            "{trace}"
        );
    });
}

/// The token that a world's commands use, from the cache.
fn token(world: &World) -> String {
    let cached = fs::read_dir(world.cache()).expect("a token was cached");
    let texts = cached
        .flatten()
        .filter_map(|file| fs::read_to_string(file.path()).ok());
    let token = texts.into_iter().find_map(|text| {
        let text: Value = serde_json::from_str(&text).ok()?;
        Some(text.get("access_token")?.as_str()?.to_owned())
    });
    token.expect("the cache holds the token")
}

#[test]
fn no_trace_at_any_level_shows_the_token_or_the_clients_secret() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world
            .git([
                "config",
                "--global",
                "--add",
                "http.extraHeader",
                "X-Key: canary-of-a-header",
            ])
            .ok();
        let trace = |redact: &str| {
            let _ = fs::remove_dir_all(world.cache());
            let file = |name: &str| world.path(&format!("{name}-{redact}"));
            let tree = world.path(&format!("tree-{redact}"));
            let own = format!("2,{}", file("own").display());
            world
                .git(["clone", "-q", "bbtoken::ws/repo"])
                .arg(&tree)
                .env("GIT_TRACE_CURL", file("curl"))
                .env("GIT_TRACE2_EVENT", file("event"))
                .env("GIT_TRACE_REDACT", redact)
                .env("BBTOKEN_TRACE", own)
                .done()
                .expect(0)
                .quiet();
            ["curl", "event", "own"].map(|name| {
                let bytes = fs::read(file(name)).expect("it was written");
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        for redact in ["1", "0"] {
            let traces = trace(redact);
            let token = token(world);
            assert!(token.len() > 1000);
            for trace in &traces {
                assert!(trace.len() > 1000, "it was traced");
                // Sixty characters stand in a line.
                assert!(
                    !trace.contains(&token[..50]) && !trace.contains(&token[token.len() - 50..])
                );
                assert!(!trace.contains(&world.consumer.secret[..40]));
                assert!(
                    !trace.contains("access_token\":"),
                    "nothing of the token's answer is shown"
                );
            }
            let [curl, event, own] = &traces;
            assert!(curl.contains("POST /site/oauth2/access_token HTTP/1.1"));
            assert_eq!(
                curl.contains("canary-of-a-header"),
                redact == "0",
                "as git does"
            );
            assert!(!own.contains("canary-of-a-header") && !event.contains("canary-of-a-header"));
        }
    });
}

/// Every trace that git and we have, each into a file of its name.
const TRACES: [&str; 9] = [
    "GIT_TRACE",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_CURL",
    "GIT_TRACE2",
    "GIT_TRACE2_PERF",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE_PACK_ACCESS",
    "BBTOKEN_TRACE",
];

/// Pieces of a secret, none longer than what stands in a line: as it is, and as a header holds it behind a user's name.
fn pieces(user: &str, secret: &str) -> Vec<String> {
    const LENGTH: usize = 30;
    let header = STANDARD.encode(format!("{user}:{secret}"));
    let texts = [secret, &header[(user.len() + 1).div_ceil(3) * 4..]];
    let pieces = texts.iter().flat_map(|text| {
        let most = text.len() / LENGTH * LENGTH;
        (0..most)
            .step_by(LENGTH)
            .map(|at| text[at..at + LENGTH].to_owned())
    });
    pieces.collect()
}

#[test]
fn all_traces_at_once_show_no_secret_by_either_transport() {
    on_every_git(|world| {
        for (transport, redact, verbose) in [
            ("native", "1", false),
            ("native", "0", false),
            ("native", "0", true),
            ("git", "1", false),
            ("git", "0", false),
            ("git", "0", true),
        ] {
            let _ = fs::remove_dir_all(world.cache());
            let name = format!("{transport}-{redact}-{verbose}");
            world.repository("ws", &name);
            let traces = world.path(&format!("traces-{name}"));
            fs::create_dir(&traces).expect("the world can be written");
            let traced = |mut run: Run| {
                for trace in TRACES {
                    let file = traces.join(trace);
                    let value = match trace {
                        "BBTOKEN_TRACE" => format!("2,json,{}", file.display()),
                        // It wins over the file.
                        "GIT_TRACE_CURL" if verbose => continue,
                        _ => file.display().to_string(),
                    };
                    run = run.env(trace, value);
                }
                if verbose {
                    run = run.env("GIT_CURL_VERBOSE", "1");
                }
                run.env("GIT_TRACE_REDACT", redact)
                    .env("BBTOKEN_TRANSPORT", transport)
                    .done()
                    .expect(0)
            };
            let address = format!("bbtoken::ws/{name}");
            let cloned = traced(world.git(["clone", "-q", &address]).arg(&name));
            let tree = world.path(&name);
            world.commit(&tree, "file", "two\n");
            let pushed = traced(world.git(["push", "-q"]).within(&tree));

            let mut shown: Vec<_> = ["clone", "push"].map(str::to_owned).into();
            let mut texts = vec![
                cloned.stderr + &cloned.stdout,
                pushed.stderr + &pushed.stdout,
            ];
            for (path, bytes) in files(&traces) {
                shown.push(path.display().to_string());
                texts.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            let all = texts.concat();
            assert!(
                all.len() > 20_000 && all.contains("git-receive-pack"),
                "{name} was traced"
            );
            assert!(all.contains("Authorization: Basic <redacted>"), "{name}");
            let token = token(world);
            let secrets = [
                pieces("x-token-auth", &token),
                pieces(&world.consumer.key, &world.consumer.secret),
            ];
            let pieces = secrets.concat();
            assert!(pieces.len() > 60, "{}", pieces.len());
            for (place, text) in shown.iter().zip(&texts) {
                let found = pieces.iter().find(|piece| text.contains(*piece));
                assert_eq!(found, None, "{name}: {place}");
            }
        }
    });
}

#[test]
fn a_trace_shows_each_phase_with_its_time() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let done = world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .env("BBTOKEN_TRACE", "1")
            .done()
            .expect(0);
        let mut at = 0;
        for phase in [
            "start program=git-remote-bbtoken",
            "config took_ms=",
            "request method=POST host=localhost path=/site/oauth2/access_token\n",
            "resolve took_ms=",
            "certificate took_ms=",
            "connect took_ms=",
            "answer took_ms=",
            "token took_ms=",
            "request method=GET host=localhost path=/ws/repo.git/info/refs?service=git-upload-pack\n",
            "body took_ms=",
            "exit code=0\n",
        ] {
            let found = done.stderr[at..].find(phase);
            at += found.unwrap_or_else(|| panic!("'{phase}' comes next in {}", done.stderr));
        }
        assert!(
            !done.stderr.contains("Authorization"),
            "header lines are level 2"
        );
    });
}

#[cfg(unix)]
#[test]
fn our_trace_can_be_json_in_a_file_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = world.path("trace, with a comma");
        for expected in [1, 2] {
            world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRACE", format!("2,json,{}", file.display()))
                .done()
                .expect(0)
                .quiet();
            let text = fs::read_to_string(&file).expect("it was written");
            let events: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).expect("a line is an object"))
                .collect();
            let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
            assert_eq!((count("start"), count("exit")), (expected, expected));
            assert!(count("sent") > 10 && count("received") > 10, "{text}");
            assert!(
                events
                    .iter()
                    .all(|event| event["at_ms"].is_f64() && event["pid"].is_u64())
            );
        }
        let mode = fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_trace_that_cannot_be_written_is_a_warning_and_not_an_error() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (variable, value) in [
            ("BBTOKEN_TRACE", "loud"),
            ("BBTOKEN_TRACE", ""),
            ("BBTOKEN_TRACE", "1,/no/such/directory/file"),
            ("GIT_TRACE_CURL", "/no/such/directory/file"),
        ] {
            let done = world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env(variable, value)
                .done()
                .expect(0);
            done.says(&[&format!("warning: {variable} is ignored: ")]);
        }
        for off in ["0", "false"] {
            world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRACE", off)
                .env("GIT_TRACE_CURL", off)
                .done()
                .expect(0)
                .quiet();
        }
    });
}
