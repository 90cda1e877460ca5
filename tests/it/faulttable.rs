//! The fault table: each fault at each place of an exchange, for every kind of request, beside plain git's https.
//!
//! `cargo test --test it -- faulttable --nocapture` prints it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::Mutex,
    thread,
    time::Duration,
};

use bitbucket_local::{Action, Kind, Rule};
use flate2::{Compression, write::GzEncoder};

use crate::{
    inspect::{HUNG, is_sound, limited, names},
    processes,
    support::{Done, Git, Run, World, gits},
};

/// Slower than this for a second is too slow.
const LIMIT: [&str; 4] = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=1"];
/// More than anybody should read of an answer that never ends.
const ENDLESS_BYTES: usize = 16 << 20;
/// So many worlds share the rows: most of them wait most of the time.
const WORLDS: usize = 4;
/// A command is tried again three times, and each time once more at once if nothing came.
const MOST_TRIES: usize = 8;

/// What is asked for when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Discovery,
    LsRefs,
    Fetch,
    PushDiscovery,
    Push,
    Token,
}

const STEPS: [Step; 6] = [
    Step::Discovery,
    Step::LsRefs,
    Step::Fetch,
    Step::PushDiscovery,
    Step::Push,
    Step::Token,
];

impl Step {
    fn rule(self, action: Action) -> Rule {
        let rule = Rule::new(action).forever();
        match self {
            Step::Discovery => rule.path("service=git-upload-pack"),
            Step::LsRefs => rule.path("git-upload-pack").method("POST"),
            // The list of refs comes before it.
            Step::Fetch => rule.path("git-upload-pack").method("POST").skip(1),
            Step::PushDiscovery => rule.path("service=git-receive-pack"),
            Step::Push => rule.path("git-receive-pack").method("POST"),
            Step::Token => rule.kind(Kind::Token),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Step::Discovery => "application/x-git-upload-pack-advertisement",
            Step::LsRefs | Step::Fetch => "application/x-git-upload-pack-result",
            Step::PushDiscovery => "application/x-git-receive-pack-advertisement",
            Step::Push => "application/x-git-receive-pack-result",
            Step::Token => "application/json",
        }
    }

    /// Lengths of the answer's beginning, and whether they end at the boundary of a pkt-line.
    fn lengths(self) -> Vec<(u64, bool)> {
        let (boundaries, inside): (&[u64], &[u64]) = match self {
            Step::Discovery => (&[14], &[2, 9]),
            Step::LsRefs => (&[61], &[2, 30]),
            Step::Fetch => (&[13], &[2, 10, 60]),
            Step::PushDiscovery => (&[31, 35], &[2, 20, 60]),
            // More of them below.
            Step::Push => (&[48], &[2, 10]),
            Step::Token => (&[], &[10]),
        };
        let at = |lengths: &[u64], is_boundary: bool| {
            let lengths = lengths.iter().map(move |length| (*length, is_boundary));
            lengths.collect::<Vec<_>>()
        };
        [at(boundaries, true), at(inside, false)].concat()
    }

    fn is_push(self) -> bool {
        matches!(self, Step::PushDiscovery | Step::Push)
    }
}

/// One fault of one request.
struct Fault {
    step: Step,
    name: String,
    action: Action,
    /// One of these stands in our message.
    causes: &'static [&'static str],
}

/// What is said of a connection that ended; which of them depends on who was faster.
const BROKEN: &[&str] = &["closed the connection without an answer", "broke off"];
const SLOW: &[&str] = &["did not answer in time"];
const NO_GIT: &[&str] = &[
    "did not answer as a git server",
    "is not complete",
    "with a body that is not complete JSON",
    "instead of JSON",
];

fn faults(step: Step) -> Vec<Fault> {
    let fault = |name: &str, action: Action, causes: &'static [&'static str]| Fault {
        step,
        name: name.to_owned(),
        action,
        causes,
    };
    let header = |name: &str, value: String| Action::Alter(vec![(name.to_owned(), value)]);
    let mut faults = vec![
        fault("cut before the head", Action::CloseWithoutAnswer, BROKEN),
        fault("reset before the head", Action::ResetWithoutAnswer, BROKEN),
        fault("stall before the head", Action::Hold, SLOW),
        fault("cut after the head", Action::CutAfter(0), BROKEN),
        fault("stall after the head", Action::Stall(0), SLOW),
        fault("slow-loris", Action::Drip, SLOW),
        fault(
            "garbage",
            Action::ReplaceBody(b"<p>no pkt-line".to_vec()),
            NO_GIT,
        ),
        fault("endless", Action::ReplaceBody(endless(step)), ENDLESS),
        fault(
            "wrong type",
            header("Content-Type", "text/x-wrong".into()),
            NO_GIT,
        ),
        fault(
            "oversized head",
            header("X-Padding", "x".repeat(1 << 20)),
            HEAD,
        ),
        fault("truncated gzip", truncated_gzip(step), GZIP),
    ];
    // The server's library refuses to lie about a token, and drops the end of a pack at its own pace: a cut is the same.
    if !matches!(step, Step::Token | Step::Fetch) {
        let length = header("Content-Length", "99999".into());
        faults.push(fault("wrong length", length, BROKEN));
    }
    for (length, is_boundary) in step.lengths() {
        let place = match is_boundary {
            true => format!("at boundary {length}"),
            false => format!("inside, at {length}"),
        };
        let cut = match length % 2 {
            0 => fault(&format!("cut {place}"), Action::CutAfter(length), BROKEN),
            _ => fault(&format!("reset {place}"), Action::Reset(length), BROKEN),
        };
        let ends = match is_boundary {
            true => AT_BOUNDARY,
            false => INSIDE,
        };
        faults.push(cut);
        faults.push(fault(
            &format!("end {place}"),
            Action::Truncate(length),
            ends,
        ));
        if !is_boundary {
            faults.push(fault(
                &format!("stall {place}"),
                Action::Stall(length),
                SLOW,
            ));
        }
    }
    faults
}

/// What is said of an answer that ends too early, by where it ends.
const AT_BOUNDARY: &[&str] = &[
    "ends without a flush-pkt",
    "ends before the report",
    "it is empty",
];
const INSIDE: &[&str] = &["ends inside", "ends before the report", "not complete JSON"];
const ENDLESS: &[&str] = &[
    "broke off",
    "is not complete",
    "not known",
    "not complete JSON",
];
const HEAD: &[&str] = &["closed the connection without an answer", "broke off"];
const GZIP: &[&str] = &[
    "is not complete",
    "did not answer as a git server",
    "instead of JSON",
    "not complete JSON",
    "broke off",
];

/// Well-formed pkt-lines without an end; for a token, a name without an end.
fn endless(step: Step) -> Vec<u8> {
    match step {
        Step::Token => [b"{\"".to_vec(), vec![b'a'; ENDLESS_BYTES]].concat(),
        _ => b"0006a\n".repeat(ENDLESS_BYTES / 6),
    }
}

/// An answer in gzip of which half is missing.
fn truncated_gzip(step: Step) -> Action {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(&b"0006a\n0007bc\n".repeat(50))
        .expect("memory takes it");
    let mut body = encoder.finish().expect("memory takes it");
    body.truncate(body.len() / 2);
    Action::Answer {
        status: 200,
        headers: vec![
            ("Content-Type".to_owned(), step.content_type().to_owned()),
            ("Content-Encoding".to_owned(), "gzip".to_owned()),
        ],
        body,
        early: false,
    }
}

/// A user with a token in the cache, a repository, and something to push.
struct Place {
    world: World,
    token: String,
    rows: usize,
}

impl Place {
    fn new(git: Git) -> Self {
        let world = World::new(git);
        world.clone_of_new("ws", "repo");
        world.commit(&world.path("repo"), "file", "two\n");
        fs::create_dir(world.path("tmp")).expect("it is not there yet");
        Place {
            token: world
                .bitbucket
                .issue_access_token(&["repository", "repository:write"]),
            world,
            rows: 0,
        }
    }

    /// The address and the setting for us or for plain git.
    fn way(&self, is_ours: bool) -> (String, String) {
        match is_ours {
            true => ("bbtoken::ws/repo".to_owned(), "core.x=y".to_owned()),
            false => (
                format!("{}/ws/repo.git", self.world.bitbucket.base_url()),
                self.world.with_header(&self.token),
            ),
        }
    }

    /// Prepares git: with ours it has to end by itself, and where plain git hangs nobody waits for it.
    fn git(&self, setting: &str, is_ours: bool) -> Run {
        let run = match is_ours {
            true => limited(&self.world, LIMIT),
            false => self
                .world
                .run(Path::new("timeout"), ["--kill-after=1", "10"])
                .arg(&self.world.git.program)
                .args(LIMIT),
        };
        run.args(["-c", setting])
            .without_memory()
            .env("TMPDIR", self.world.path("tmp"))
    }

    /// Runs one row for us or for plain git and checks what holds for all of them.
    fn row(&mut self, fault: &Fault, is_ours: bool) -> Outcome {
        let world = &self.world;
        self.rows += 1;
        let name = format!("row-{}", self.rows);
        world.bitbucket.clear_script();
        if fault.step == Step::Token {
            fs::remove_dir_all(world.cache()).unwrap_or_default();
        }
        let tree = match fault.step.is_push() {
            true => world.path("repo"),
            false => world.path(&name),
        };
        if !fault.step.is_push() {
            world.git(["init", "-q", &name]).ok();
        }
        world.bitbucket.clear_requests();
        world
            .bitbucket
            .script(fault.step.rule(fault.action.clone()));
        let (address, setting) = self.way(is_ours);
        let done = match fault.step.is_push() {
            true => self
                .git(&setting, is_ours)
                .args(["push", "-q", &address, &format!("HEAD:refs/heads/{name}")])
                .within(&tree)
                .done(),
            false => self
                .git(&setting, is_ours)
                .args(["fetch", "-q", &address, "main:refs/heads/got"])
                .within(&tree)
                .done(),
        };
        world.bitbucket.release();
        let shown = format!("{:?}, {}, ours: {is_ours}", fault.step, fault.name);
        if is_ours {
            self.leaves_nothing(&done, &shown, &tree);
        }
        let outcome = Outcome::of(&done, self.tries(fault.step));
        assert!(outcome.tries > 0, "the fault happened: {shown}");
        if is_ours {
            self.is_told(fault, &done, &outcome, &name);
        }
        outcome
    }

    fn tries(&self, step: Step) -> usize {
        let requests = self.world.bitbucket.requests();
        let reads = |path: &str| path.ends_with("git-upload-pack");
        let of_step = requests.iter().filter(|request| match step {
            Step::Token => request.kind == Kind::Token,
            Step::LsRefs | Step::Fetch => request.method == "POST" && reads(&request.path),
            Step::Push => request.method == "POST",
            Step::Discovery | Step::PushDiscovery => request.method == "GET",
        });
        of_step.count() - usize::from(step == Step::Fetch)
    }

    /// No process, no temporary file, no damage.
    fn leaves_nothing(&self, done: &Done, shown: &str, tree: &Path) {
        let world = &self.world;
        assert_ne!(done.code, Some(HUNG), "git ends by itself: {shown}");
        processes::all_end_within(&processes::of(world), Duration::from_secs(10));
        is_sound(world, tree);
        assert_eq!(names(&world.path("tmp")), [""; 0], "{shown}");
        let kept = names(&world.cache());
        assert!(kept.iter().all(|name| !name.contains("tmp")), "{kept:?}");
    }

    /// One error with one cause; and a push that the server has is either done or not known to be.
    fn is_told(&self, fault: &Fault, done: &Done, outcome: &Outcome, name: &str) {
        let shown = format!("{:?}, {}: {done:?}", fault.step, fault.name);
        assert!(
            outcome.tries <= MOST_TRIES,
            "{} tries: {shown}",
            outcome.tries
        );
        let is_gits = fault.name == "endless" && !done.stderr.contains("caused by: ");
        if outcome.code != 0 {
            // Ours has a cause below it; git's own lines may follow.
            let lines: Vec<&str> = done.stderr.lines().collect();
            let caused = lines.windows(2).filter(|pair| {
                !pair[0].starts_with("caused by: ") && pair[1].starts_with("caused by: ")
            });
            let errors = caused.count();
            // Git itself does not believe what never ends, and we have nothing to add.
            assert!(errors == 1 || is_gits, "one error: {shown}");
            assert!(
                !outcome.cause.is_empty() && outcome.cause.len() < 200,
                "{shown}"
            );
            let is_named = |cause: &&str| done.stderr.contains(cause);
            assert!(
                is_gits || fault.causes.iter().any(is_named),
                "{:?}: {shown}",
                fault.causes
            );
        }
        if fault.step.is_push() {
            let bare = self.world.bitbucket.repository_path("ws", "repo");
            let found = self
                .world
                .git(["rev-parse", "-q", "--verify", &format!("refs/heads/{name}")])
                .within(bare)
                .done();
            let is_there = found.code == Some(0);
            let is_unknown = done
                .stderr
                .contains("it is not known whether the push was done");
            assert!(outcome.code != 0 || is_there, "done is done: {shown}");
            assert!(
                outcome.code == 0 || !is_there || is_unknown || is_gits,
                "{shown}"
            );
            if fault.step == Step::Push {
                assert_eq!(outcome.tries, 1, "a push is sent once: {shown}");
            }
        }
    }
}

/// What became of a row.
struct Outcome {
    code: i32,
    cause: String,
    tries: usize,
}

impl Outcome {
    fn of(done: &Done, tries: usize) -> Self {
        let lines = || done.stderr.lines();
        let cause = lines()
            .rfind(|line| line.starts_with("caused by: "))
            .or_else(|| {
                lines().rfind(|line| line.starts_with("fatal: ") || line.starts_with("error: "))
            });
        Outcome {
            code: done.code.unwrap_or(-1),
            cause: cause
                .unwrap_or("")
                .trim_start_matches("caused by: ")
                .to_owned(),
            tries,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is there to be read")]
fn show(lines: &[String]) {
    println!("{}", lines.join("\n"));
}

/// Runs rows in a few worlds at once and gives the lines of the table.
fn table(git: &Git, rows: Vec<Fault>) -> Vec<String> {
    let rows = Mutex::new(rows.into_iter());
    let lines = Mutex::new(Vec::new());
    let next = || rows.lock().expect("no row panics here").next();
    thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                let mut place = Place::new(git.clone());
                while let Some(fault) = next() {
                    let line = compared(&mut place, &fault);
                    lines.lock().expect("no row panics here").push(line);
                }
            });
        }
    });
    let mut lines = lines.into_inner().expect("no row panicked");
    lines.sort();
    lines
}

/// Runs a row for us and for plain git; we fail only where git does, unless it is about a token, which git has none of.
fn compared(place: &mut Place, fault: &Fault) -> String {
    let ours = place.row(fault, true);
    let gits = (fault.step != Step::Token).then(|| place.row(fault, false));
    if let Some(gits) = &gits {
        assert!(
            ours.code == 0 || gits.code != 0,
            "never worse: {:?}, {}: {}",
            fault.step,
            fault.name,
            ours.cause
        );
    }
    let beside = gits.map_or(String::new(), |gits| {
        format!("git {:>3} x{}  {}", gits.code, gits.tries, gits.cause)
    });
    format!(
        "{:<13} {:<24} {:>3} x{}  {:<64} {beside}",
        format!("{:?}", fault.step),
        fault.name,
        ours.code,
        ours.tries,
        ours.cause
    )
}

#[test]
fn every_fault_at_every_place_is_told_and_leaves_nothing() {
    let rows: Vec<Fault> = STEPS.into_iter().flat_map(faults).collect();
    let count = rows.len();
    let lines = table(&gits()[0], rows);
    show(&lines);
    assert_eq!(lines.len(), count);
    assert!(count >= 100, "{count}");
}

#[test]
fn a_sample_of_the_faults_is_told_on_the_other_gits_too() {
    for git in &gits()[1..] {
        let rows = STEPS.into_iter().flat_map(faults).step_by(11);
        let lines = table(git, rows.collect());
        show(&lines);
        assert!(lines.len() >= 10);
    }
}

/// What a port does instead of TLS.
#[derive(Clone, Copy, Debug)]
enum Port {
    Cut,
    Reset,
    Garbage,
    Stall,
}

/// Listens, and does that to every connection. It lives as long as the test.
fn faulty(port: Port) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let base = format!(
        "https://localhost:{}",
        listener.local_addr().expect("it is bound").port()
    );
    thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut hello = [0; 16 << 10];
            let read = match port {
                // What is left unread when a connection is closed resets it.
                Port::Reset => stream.read(&mut hello[..1]),
                _ => stream.read(&mut hello),
            };
            // A client that is gone is as good.
            let _ = match (port, read) {
                (Port::Garbage, Ok(_)) => stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"),
                (Port::Cut, Ok(_)) => stream.shutdown(Shutdown::Both),
                _ => Ok(()),
            };
            if let Port::Stall = port {
                open.push(stream);
            }
        }
    });
    base
}

#[test]
fn what_breaks_before_the_first_request_is_told_as_a_connection_that_was_not_made() {
    let cases = [
        (None, "cannot connect to 'localhost'"),
        (Some(Port::Cut), "'localhost'"),
        (Some(Port::Reset), "'localhost'"),
        (
            Some(Port::Garbage),
            "cannot make a secure connection to 'localhost'",
        ),
        (Some(Port::Stall), "'localhost' did not answer in time"),
    ];
    let place = Place::new(gits().remove(0));
    let unused = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let closed = format!(
        "https://localhost:{}",
        unused.local_addr().expect("it is bound").port()
    );
    drop(unused);
    for (port, said) in cases {
        let base = port.map_or_else(|| closed.clone(), faulty);
        for (step, arguments) in [
            ("discovery", vec!["ls-remote", "bbtoken::ws/repo"]),
            (
                "push",
                vec!["push", "bbtoken::ws/repo", "HEAD:refs/heads/x"],
            ),
            ("token", vec!["ls-remote", "bbtoken::ws/repo"]),
        ] {
            let run = place
                .git("core.x=y", true)
                .args(arguments)
                .within(place.world.path("repo"));
            let run = run.env("BBTOKEN_BASE_URL", &base);
            let done = match step {
                "token" => run.done(),
                _ => run
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &place.token)
                    .done(),
            };
            let shown = format!("{step}, {port:?}: {done:?}");
            assert_eq!(done.code, Some(128), "{shown}");
            assert!(done.stderr.contains(said), "{said}: {shown}");
            assert!(!done.stderr.contains("not known"), "{shown}");
            place.leaves_nothing(&done, &shown, &place.world.path("repo"));
            let outcome = Outcome::of(&done, 0);
            show(&[format!(
                "{step:<10} {port:?} {} {}",
                outcome.code, outcome.cause
            )]);
        }
        if let Some(Port::Stall) = port {
            // Its limits begin with the first byte: git waits here for minutes.
            continue;
        }
        let theirs = place.git(&place.world.with_header(&place.token), false);
        let theirs = theirs
            .args(["ls-remote", &format!("{base}/ws/repo.git")])
            .done();
        assert_ne!(theirs.code, Some(0), "never worse: {port:?}");
    }
    assert_eq!(cases.len(), 5);
}

#[test]
fn a_push_whose_report_is_lost_anywhere_is_unknown_while_the_server_has_it() {
    // One pkt-line of the band, with the report's own pkt-lines in it, and the flush-pkt.
    let report_bytes = 52;
    let mut place = Place::new(gits().remove(0));
    let push = |length: Option<u64>| Fault {
        step: Step::Push,
        name: format!("{length:?}"),
        action: length.map_or(Action::AnswerLost, Action::CutAfter),
        causes: &["not known"],
    };
    for length in [
        None,
        Some(0),
        Some(2),
        Some(4),
        Some(5),
        Some(9),
        Some(12),
        Some(19),
        Some(25),
        Some(44),
    ] {
        for ends in [false, true] {
            let mut fault = push(length);
            if let (true, Some(length)) = (ends, length) {
                fault.action = Action::Truncate(length);
            }
            let outcome = place.row(&fault, true);
            assert_eq!(outcome.code, 128, "{length:?}: {}", outcome.cause);
            let bare = place.world.bitbucket.repository_path("ws", "repo");
            // A server whose answer was cut before it began may have been cut off from its work, too.
            if length != Some(0) {
                let pushed = format!("refs/heads/row-{}", place.rows);
                place.world.rev(&bare, &pushed);
            }
        }
    }
    place.world.bitbucket.clear_script();
    place.world.bitbucket.clear_requests();
    let (address, setting) = place.way(true);
    let push = place
        .git(&setting, true)
        .args(["push", "-q", &address, "HEAD:refs/heads/row-00"]);
    push.within(place.world.path("repo")).ok();
    let last = place
        .world
        .bitbucket
        .git_requests()
        .pop()
        .expect("it was sent");
    assert_eq!(
        last.response_bytes, report_bytes,
        "the places are those of a whole report"
    );
}
