//! The cells of the table: the faults, their places, and the message for each.

use bitbucket_local::{Action, Bare, Kind, Rule, Then};

/// What is asked for when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Discovery,
    LsRefs,
    Fetch,
    PushDiscovery,
    Push,
    Token,
}

pub(super) const STEPS: [Step; 6] = [
    Step::Discovery,
    Step::LsRefs,
    Step::Fetch,
    Step::PushDiscovery,
    Step::Push,
    Step::Token,
];

impl Step {
    /// The rule for every request of this step.
    pub(super) fn rule(self, action: Action) -> Rule {
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

    pub(super) fn is_push(self) -> bool {
        matches!(self, Step::PushDiscovery | Step::Push)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Cut,
    Reset,
    Stall,
    SlowLoris,
    Garbage,
    WrongLength,
    WrongType,
    TruncatedGzip,
    OversizedHead,
    Endless,
}

pub(super) const FAULTS: [Fault; 10] = [
    Fault::Cut,
    Fault::Reset,
    Fault::Stall,
    Fault::SlowLoris,
    Fault::Garbage,
    Fault::WrongLength,
    Fault::WrongType,
    Fault::TruncatedGzip,
    Fault::OversizedHead,
    Fault::Endless,
];

/// Where in the exchange it goes wrong, once there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Head,
    Boundary,
    Inside,
    /// Behind the whole answer: no cell of the table.
    End,
}

pub(super) const PHASES: [Phase; 3] = [Phase::Head, Phase::Boundary, Phase::Inside];

/// One variant of a fault at its place.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    /// Gives what the server does, after so many bytes of its answer's body.
    pub(super) action: fn(Step, u64) -> Action,
    /// One of these stands in our message; none if the command has to succeed.
    pub(super) causes: &'static [&'static str],
}

/// What is said of a connection that ended; which of them depends on who was faster.
const BROKEN: &[&str] = &["closed the connection without a response", "was cut off"];
pub(super) const SLOW: &[&str] = &["did not answer in time"];
const NO_GIT: &[&str] = &[
    "did not answer as a git server",
    "is incomplete",
    "with a body that is not complete JSON",
];
const NO_HTTP: &[&str] = &["is not HTTP"];
/// What is said of an answer that ends too early.
const SHORT: &[&str] = &[
    "ends without a flush-pkt",
    "ends before the push report",
    "it is empty",
    "ends inside",
    "not complete JSON",
];
const ENDLESS: &[&str] = &[
    "did not answer as a git server",
    "is incomplete",
    "may or may not have done the push",
    "not complete JSON",
    // Git itself does not believe what never ends.
    "fatal: ",
];
/// The beginning of a head.
const HALF_A_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Ty";
/// What no pkt-line begins with.
const NOT_GIT: &[u8] = b"<p>no pkt-line";

fn bare(head: &str, then: Then) -> Action {
    Action::Bare(Bare {
        head: head.into(),
        body: false,
        then,
    })
}

/// The whole answer with these lines in its head.
fn with_lines(step: Step, lines: &str, then: Then) -> Action {
    Action::Bare(Bare {
        head: format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{lines}\r\n",
            step.content_type()
        )
        .into(),
        body: true,
        then,
    })
}

/// A well-formed piece of an answer, to be repeated: for a push of the band that carries messages.
fn piece(step: Step) -> Vec<u8> {
    match step {
        Step::Token => b"a".to_vec(),
        Step::Push => [b"0805\x02".as_slice(), &[b'a'; 2047], b"\n"].concat(),
        // Its length is no flush-pkt either where it follows half of another one.
        _ => [b"0104".as_slice(), &[b'a'; 255], b"\n"].concat(),
    }
}

fn alter(name: &str, value: String) -> Action {
    Action::Alter(vec![(name.to_owned(), value)])
}

/// Gives the variants of a fault at a place, or why there is none.
pub(super) fn variants(
    fault: Fault,
    phase: Phase,
    step: Step,
) -> Result<Vec<Variant>, &'static str> {
    if (phase, step) == (Phase::Boundary, Step::Token) {
        return Err("an answer of the token endpoint is no pkt-lines");
    }
    match phase {
        Phase::Head => at_the_head(fault, step),
        Phase::Boundary | Phase::Inside | Phase::End => in_the_body(fault, phase),
    }
}

fn at_the_head(fault: Fault, step: Step) -> Result<Vec<Variant>, &'static str> {
    let variant = |name, action, causes| Variant {
        name,
        action,
        causes,
    };
    Ok(match fault {
        Fault::Cut => vec![
            variant("before", |_, _| Action::CloseWithoutAnswer, BROKEN),
            variant("in it", |_, _| bare(HALF_A_HEAD, Then::Cut), BROKEN),
            variant("after", |_, _| Action::CutAfter(0), BROKEN),
        ],
        Fault::Reset => vec![
            variant("before", |_, _| Action::ResetWithoutAnswer, BROKEN),
            variant("in it", |_, _| bare(HALF_A_HEAD, Then::Reset), BROKEN),
            variant("after", |_, _| Action::Reset(0), BROKEN),
        ],
        Fault::Stall => vec![
            variant("before", |_, _| Action::Hold, SLOW),
            variant("in it", |_, _| bare(HALF_A_HEAD, Then::Stall), SLOW),
            variant("after", |_, _| Action::Stall(0), SLOW),
        ],
        Fault::SlowLoris => vec![variant(
            "",
            |step, _| with_lines(step, "", Then::Drip),
            SLOW,
        )],
        Fault::Garbage => vec![variant(
            "",
            |_, _| bare("<p>no HTTP</p>\r\n\r\n", Then::Close),
            NO_HTTP,
        )],
        Fault::WrongLength => lengths(step),
        Fault::WrongType => {
            let wrong = |_, _| alter("Content-Type", "text/x-wrong".into());
            let is_looked_at = matches!(step, Step::Discovery | Step::PushDiscovery);
            vec![variant("", wrong, if is_looked_at { NO_GIT } else { &[] })]
        }
        Fault::TruncatedGzip => return Err("what is compressed is the body"),
        Fault::OversizedHead => vec![variant(
            "",
            |_, _| alter("X-Padding", "x".repeat(1 << 20)),
            NO_HTTP,
        )],
        Fault::Endless => vec![variant(
            "",
            |_, _| bare("HTTP/1.1 200 OK\r\nX-Padding: x\r\n", Then::Repeat),
            NO_HTTP,
        )],
    })
}

/// Two lengths that differ: to believe one of them is what smuggles answers (RFC 9112 section 6.3), and curl does.
pub(super) const STRICTER: &str = "two that differ";

/// A length that promises more, on a connection that stays open: plain git waits for the rest.
pub(super) const OPEN: &str = "too large, open";

/// What the head may say of the length, while the whole answer follows.
fn lengths(step: Step) -> Vec<Variant> {
    let variant = |name, action, causes| Variant {
        name,
        action,
        causes,
    };
    // The helper does not need what HTTP has promised beyond the last flush-pkt.
    let (cut, stall): (&'static [_], &'static [_]) = match step {
        Step::Token => (BROKEN, SLOW),
        _ => (&[], &[]),
    };
    let large = |step, _| with_lines(step, "Content-Length: 99999\r\n", Then::Close);
    let kept = |step, _| with_lines(step, "Content-Length: 99999\r\n", Then::Stall);
    let small = |step, _| with_lines(step, "Content-Length: 9\r\n", Then::Close);
    let none = |step, _| with_lines(step, "Content-Length: 0\r\n", Then::Close);
    let negative = |step, _| with_lines(step, "Content-Length: -1\r\n", Then::Close);
    let two = |step, _| {
        let two = "Content-Length: 9\r\nContent-Length: 99999\r\n";
        with_lines(step, two, Then::Close)
    };
    let absent = |step, _| with_lines(step, "Connection: close\r\n", Then::Close);
    vec![
        variant("too large", large, cut),
        variant(OPEN, kept, stall),
        variant("too small", small, SHORT),
        variant("zero", none, EMPTY),
        variant("negative", negative, NO_HTTP),
        variant(STRICTER, two, NO_HTTP),
        variant("absent", absent, &[]),
    ]
}

const EMPTY: &[&str] = &[
    "it is empty",
    "ends before the push report",
    "with an empty body",
];

fn in_the_body(fault: Fault, phase: Phase) -> Result<Vec<Variant>, &'static str> {
    let variant = |name, action, causes| Variant {
        name,
        action,
        causes,
    };
    let garbage = |_, after| Action::Endless {
        after,
        text: NOT_GIT.to_vec(),
    };
    let bad_length = |_, after| Action::Endless {
        after,
        text: b"0003".to_vec(),
    };
    let endless = |step, after| Action::Endless {
        after,
        text: piece(step),
    };
    Ok(match (fault, phase) {
        (Fault::Cut, _) => vec![variant("", |_, at| Action::CutAfter(at), BROKEN)],
        (Fault::Reset, _) => vec![variant("", |_, at| Action::Reset(at), BROKEN)],
        (Fault::Stall, _) => vec![variant("", |_, at| Action::Stall(at), SLOW)],
        (Fault::SlowLoris, Phase::Inside) => vec![variant("", |_, _| Action::Drip, SLOW)],
        (Fault::SlowLoris, _) => return Err("byte by byte, an answer passes every place"),
        (Fault::Garbage, _) => vec![variant("", garbage, NO_GIT)],
        (Fault::WrongLength, Phase::Boundary) => vec![
            variant("the end", |_, at| Action::Truncate(at), SHORT),
            variant("no length", bad_length, NO_GIT),
        ],
        (Fault::WrongLength, _) => vec![variant("the end", |_, at| Action::Truncate(at), SHORT)],
        (Fault::WrongType, _) => return Err("the type is said in the head"),
        (Fault::TruncatedGzip, Phase::Inside) => {
            vec![variant("", |_, _| Action::Gzip { percent: 50 }, GZIP)]
        }
        (Fault::TruncatedGzip, _) => return Err("in gzip there are no boundaries of pkt-lines"),
        (Fault::OversizedHead, _) => return Err("the head is over"),
        (Fault::Endless, _) => vec![variant("", endless, ENDLESS)],
    })
}

const GZIP: &[&str] = &["is incomplete", "was cut off", "not complete JSON"];
