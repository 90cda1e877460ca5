//! Searches every argument, environment, output and file for secrets that others could read.

use std::{fs, path::PathBuf};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use ring::digest;

use crate::{
    inspect::{files, names, noise, strace},
    lfs,
    needs::needs,
    person,
    support::{Run, World, gits, on_every_git},
};

/// Everything git can be asked to tell.
pub(crate) const TRACES: [(&str, &str); 7] = [
    ("GIT_TRACE", "1"),
    ("GIT_TRACE_CURL", "1"),
    ("GIT_CURL_VERBOSE", "1"),
    ("GIT_TRACE2", "1"),
    ("GIT_TRACE2_EVENT", "1"),
    ("GIT_TRACE_PACKET", "1"),
    ("GIT_TRACE_SETUP", "1"),
];

/// What must not be found, and where it was.
pub(crate) struct Search {
    pub(crate) needles: Vec<(&'static str, String)>,
    pub(crate) found: Vec<String>,
}

impl Search {
    /// Looks for a client's secret and, once there is one, the cached token, as they are and as headers hold them.
    pub(crate) fn new(world: &World, tokens: &[String]) -> Self {
        let consumer = &world.consumer;
        let pair = format!("{}:{}", consumer.key, consumer.secret);
        let mut needles = vec![
            ("the client secret", consumer.secret.clone()),
            ("the client's header", encoded(&pair)),
        ];
        for token in tokens {
            // Its end may be percent-encoded.
            needles.push(("the token", token[..100].to_owned()));
            needles.push((
                "the token's header",
                encoded(&format!("x-token-auth:{token}")),
            ));
        }
        assert!(needles.iter().all(|(_, needle)| needle.len() >= 70));
        Search {
            needles,
            found: Vec::new(),
        }
    }

    pub(crate) fn look(&mut self, place: &str, bytes: &[u8]) {
        for (name, needle) in &self.needles {
            let mut windows = bytes.windows(needle.len());
            if windows.any(|window| window == needle.as_bytes()) {
                self.found.push(format!("{name} in {place}"));
            }
        }
    }

    /// Looks through every file of the world but the user's own secret file, the token cache and the logins.
    pub(crate) fn look_at_files(&mut self, world: &World) {
        let allowed = [secret_file(world), world.cache(), person::state(world)];
        let root = world.path("");
        let files = files(&root);
        assert!(files.len() > 10, "there is something to look through");
        for (path, content) in files {
            let is_expected = path
                .extension()
                .is_some_and(|extension| extension == "json");
            let is_allowed = path == allowed[0]
                || (is_expected
                    && path
                        .parent()
                        .is_some_and(|parent| allowed[1..].iter().any(|kept| kept == parent)));
            if !is_allowed {
                let shown = path.strip_prefix(&root).unwrap_or(&path).display();
                self.look(&format!("file '{shown}'"), &content);
            }
        }
    }
}

/// The middle of a text's base64: neither its end nor what stands behind it changes that.
fn encoded(text: &str) -> String {
    let whole = STANDARD.encode(text);
    whole[..whole.len().min(200) - 4].to_owned()
}

fn secret_file(world: &World) -> PathBuf {
    world.path("secret")
}

/// The client secret comes from a file, temporary files go into the world, and git tells all it can.
fn prepared(world: &World, transport: &str, run: Run) -> Run {
    let mut run = run
        .without("BBTOKEN_CLIENT_SECRET")
        .env("BBTOKEN_CLIENT_SECRET_FILE", secret_file(world))
        .env("BBTOKEN_TRANSPORT", transport)
        .env("TMPDIR", world.path("tmp"));
    for (name, value) in TRACES {
        run = run.env(name, value);
    }
    run
}

fn world_with_a_secret_file(world: &World) {
    world.repository("ws", "repo");
    fs::create_dir_all(world.path("tmp")).expect("the world can be written");
    fs::write(secret_file(world), &world.consumer.secret).expect("the world can be written");
}

/// The tokens that are cached now.
fn tokens(world: &World) -> Vec<String> {
    let mut tokens = Vec::new();
    for name in names(&world.cache()) {
        if name.ends_with(".json") {
            let text = fs::read_to_string(world.cache().join(name)).expect("it is text");
            let (_, rest) = text
                .split_once("\"access_token\":\"")
                .expect("it holds a token");
            tokens.push(rest.split('"').next().unwrap_or("").to_owned());
        }
    }
    tokens
}

/// Everything that a run of git showed or left, searched.
struct Shown {
    place: String,
    bytes: Vec<u8>,
}

#[test]
fn no_secret_is_seen_in_arguments_environments_outputs_or_files() {
    needs!("strace");
    on_every_git(|world| {
        world_with_a_secret_file(world);
        for transport in ["native", "git"] {
            let mut shown = Vec::new();
            let mut seen_tokens = Vec::new();
            let tree = world.path(transport);
            let name = tree.to_str().expect("it is text");
            let mut run = |arguments: &[&str], codes: &[i32]| {
                let traced = strace(world, "execve", arguments, |run| {
                    let inside = tree.exists() && arguments[0] != "clone";
                    let run = if inside { run.within(&tree) } else { run };
                    prepared(world, transport, run)
                });
                let done = traced.done;
                let ended = done.code.is_some_and(|code| codes.contains(&code));
                assert!(ended, "{:?}: {}", done.code, done.stderr);
                let programs = traced.calls.matches("execve(").count();
                assert!(programs >= 3, "every program's start is seen: {programs}");
                assert!(
                    traced.calls.contains("BBTOKEN_CLIENT_SECRET_FILE="),
                    "with its whole environment"
                );
                for (what, text) in [
                    ("arguments or environment", traced.calls),
                    ("stdout", done.stdout),
                    ("stderr", done.stderr),
                ] {
                    shown.push(Shown {
                        place: format!("{what} of {transport} {arguments:?}"),
                        bytes: text.into_bytes(),
                    });
                }
                seen_tokens.extend(tokens(world));
            };
            world.repository("ws", transport);
            run(&["clone", &format!("bbtoken::ws/{transport}"), name], &[0]);
            world.commit(&tree, "file", transport);
            run(&["push"], &[0]);
            run(&["fetch", "--prune"], &[0]);
            world.commit(&tree, "noise", noise(2 << 20));
            run(&["push"], &[0]);
            run(&["ls-remote", "bbtoken::ws/missing"], &[128]);
            world.bitbucket.revoke_access_tokens();
            // Git's own transport replaces a refused token or not, as its version does; the next command has a new one.
            let refused: &[i32] = if transport == "git" { &[0, 128] } else { &[0] };
            run(&["fetch"], refused);
            run(&["fetch"], &[0]);
            fs::remove_dir_all(world.cache()).expect("it is there");
            world
                .bitbucket
                .script(bitbucket_local::Rule::answer(400).kind(bitbucket_local::Kind::Token));
            run(&["fetch"], &[128]);

            seen_tokens.sort();
            seen_tokens.dedup();
            assert!(seen_tokens.len() >= 2, "tokens were there to leak");
            let mut search = Search::new(world, &seen_tokens);
            for Shown { place, bytes } in &shown {
                assert!(!bytes.is_empty() || place.starts_with("stdout"), "{place}");
                search.look(place, bytes);
            }
            search.look_at_files(world);
            assert!(
                search.found.is_empty(),
                "a secret leaks: {:?}",
                search.found
            );
        }
    });
}

#[test]
fn no_secret_of_lfs_is_seen_in_arguments_environments_outputs_or_files() {
    needs!("strace", "git-lfs");
    on_every_git(|world| {
        world_with_a_secret_file(world);
        lfs::install(world);
        let seed = lfs::repository(world, "ws", "large", &["a.bin", "b.bin"]);
        let mut shown = Vec::new();
        let mut seen_tokens = tokens(world);
        let mut run = |arguments: &[&str], within: &PathBuf, code: i32| {
            let traced = strace(world, "execve", arguments, |run| {
                let run = prepared(world, "native", run).within(within);
                run.env("GIT_TRANSFER_TRACE", "1")
            });
            let done = traced.done.expect(code);
            assert!(traced.calls.contains("git-lfs"), "{arguments:?}");
            shown.extend([traced.calls, done.stdout, done.stderr].map(String::into_bytes));
            seen_tokens.extend(tokens(world));
        };
        run(&["clone", "bbtoken::ws/large", "tree"], &world.path(""), 0);
        let tree = world.path("tree");
        world.commit(&seed, "c.bin", lfs::content("c.bin"));
        world.bitbucket.revoke_access_tokens();
        run(&["push", "origin", "main"], &seed, 0);
        run(&["pull"], &tree, 0);
        let objects = tree.join(".git/lfs/objects");
        fs::remove_dir_all(objects).expect("they were fetched");
        let refusal = bitbucket_local::Rule::answer(403).kind(bitbucket_local::Kind::Lfs);
        world.bitbucket.script(refusal.forever());
        run(&["lfs", "fetch"], &tree, 2);

        seen_tokens.sort();
        seen_tokens.dedup();
        assert!(seen_tokens.len() >= 2, "tokens were there to leak");
        let mut search = Search::new(world, &seen_tokens);
        for bytes in &shown {
            search.look("arguments, environment or output", bytes);
        }
        search.look_at_files(world);
        let found = search.found;
        assert!(found.is_empty(), "a secret leaks: {found:?}");
    });
}

#[test]
fn the_search_finds_a_secret_wherever_it_is_planted() {
    needs!("strace");
    let git = gits().pop().expect("there is one");
    let world = &World::new(git);
    world_with_a_secret_file(world);
    world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
    let tokens = tokens(world);
    let header = format!("x-token-auth:{}", tokens[0]);
    let secret = &world.consumer.secret;
    let argument = format!("x.y={}", tokens[0]);
    let traced = strace(
        world,
        "execve",
        ["-c", &argument, "ls-remote", "bbtoken::ws/repo"],
        |run| prepared(world, "native", run).env("PLANTED", secret),
    );
    let done = traced.done.expect(0);
    let mut search = Search::new(world, &tokens);
    search.look("calls", traced.calls.as_bytes());
    search.look("stderr", done.stderr.as_bytes());
    fs::write(world.path("tmp/planted"), STANDARD.encode(header)).expect("it can be written");
    search.look_at_files(world);
    assert_eq!(
        search.found,
        [
            "the client secret in calls",
            "the token in calls",
            "the token in stderr",
            "the token's header in file 'tmp/planted'"
        ]
    );
}

/// The refresh tokens that are kept now.
fn refresh_tokens(world: &World) -> Vec<String> {
    let mut tokens = Vec::new();
    for (_, content) in files(&person::state(world)) {
        let text = String::from_utf8_lossy(&content).into_owned();
        if let Some((_, rest)) = text.split_once(r#"refresh_token\":\""#) {
            tokens.push(rest.split('\\').next().unwrap_or("").to_owned());
        }
    }
    tokens
}

/// Tells whether a text holds the verifier of a challenge, which only the program may see (RFC 7636 section 4).
fn holds_verifier(text: &[u8], challenge: &str) -> bool {
    const LENGTH: usize = 43;
    text.windows(LENGTH).any(|window| {
        let is_one = window
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
        is_one && URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, window)) == challenge
    })
}

/// The value of a parameter in an address.
fn parameter(address: &str, name: &str) -> String {
    let start = address.find(&format!("{name}=")).expect("it is there") + name.len() + 1;
    address[start..].split('&').next().unwrap_or("").to_owned()
}

#[test]
fn no_secret_of_a_login_is_seen_in_arguments_environments_outputs_or_files() {
    needs!("strace");
    on_every_git(|world| {
        world_with_a_secret_file(world);
        person::configure_login(world, "work", &world.consumer);
        let calls = world.path("calls");
        let mut shown = Vec::new();
        let traced = [
            "-f",
            "-qq",
            "-v",
            "-s",
            "100000",
            "-e",
            "trace=execve",
            "-o",
        ];
        let login = world
            .run(std::path::Path::new("strace"), traced)
            .arg(&calls);
        let login = login
            .arg(person::git_bbtoken())
            .arg("login")
            .arg("--no-browser");
        let pasted =
            person::log_in_by_pasting(world, prepared(world, "native", person::as_person(login)));
        let calls_of_login = fs::read(&calls).expect("strace writes it");
        fs::remove_file(&calls).expect("it is the test's");
        let done = pasted.done.expect(0);
        // The page is for the person: it holds the challenge and the state.
        let printed = done.stdout.replace(&pasted.page, "");
        shown.extend([
            calls_of_login,
            printed.into_bytes(),
            done.stderr.into_bytes(),
        ]);
        let (mut seen, mut refresh) = (tokens(world), refresh_tokens(world));
        let mut run = |arguments: &[&str], code: i32| {
            let traced = strace(world, "execve", arguments, |run| {
                prepared(world, "native", person::as_person(run))
            });
            let done = traced.done.expect(code);
            shown.extend([traced.calls, done.stdout, done.stderr].map(String::into_bytes));
            seen.extend(tokens(world));
            refresh.extend(refresh_tokens(world));
        };
        let list = ["ls-remote", "bbtoken::ws/repo"];
        run(&list, 0);
        world.bitbucket.revoke_access_tokens();
        run(&list, 0);
        for status in [400, 500] {
            world.bitbucket.revoke_access_tokens();
            let rule = bitbucket_local::Rule::answer(status).kind(bitbucket_local::Kind::Token);
            // An endpoint that repeats what it was sent, as a badly made one might.
            let body = format!(
                r#"{{"error":"x","error_description":"no"}} {}"#,
                refresh_tokens(world)[0]
            );
            world.bitbucket.script(rule.body(body).forever());
            run(&list, 128);
            world.bitbucket.clear_script();
        }
        refresh.sort();
        refresh.dedup();
        assert!(
            refresh.len() >= 2 && seen.len() >= 2,
            "there was something to leak"
        );
        let mut search = Search::new(world, &seen);
        let code = parameter(&pasted.callback, "code");
        assert!(code.len() >= 16, "a code is no common word");
        search.needles.push(("the code", code));
        for token in &refresh {
            search
                .needles
                .push(("the refresh token", token[..100].to_owned()));
        }
        let challenge = parameter(&pasted.page, "code_challenge");
        shown
            .iter()
            .for_each(|bytes| search.look("arguments, environment or output", bytes));
        search.look_at_files(world);
        assert!(
            search.found.is_empty(),
            "a secret leaks: {:?}",
            search.found
        );
        let of_files = files(&world.path(""));
        assert!(
            !shown
                .iter()
                .chain(of_files.values())
                .any(|bytes| holds_verifier(bytes, &challenge))
        );

        // The search finds each of them.
        let planted = world.path("tmp/planted");
        fs::write(
            &planted,
            format!(
                "{} {}",
                refresh[0],
                search
                    .needles
                    .iter()
                    .map(|(_, needle)| needle.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        )
        .expect("it can be written");
        search.look_at_files(world);
        let names: std::collections::BTreeSet<_> = search
            .found
            .iter()
            .filter_map(|found| found.split(" in ").next())
            .collect();
        assert_eq!(names.len(), 6, "{names:?}");
    });
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    assert!(
        holds_verifier(format!("xx {verifier} yy").as_bytes(), challenge),
        "RFC 7636 appendix B"
    );
}
