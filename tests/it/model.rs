//! The refresh protocol against a model of the server: rotation, a grace, answers that are lost, and crashes.
//!
//! It is the real [`Tokens`] with its real files; the server, the network and the clock are made of a few lines each.
//! A crash is an unwinding at a request, or at one of the moments where the time is asked for: while the lock is
//! signed, when the note is made, between the answer and its being kept. (Crashes at system calls are in `crashes`.)

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::Duration,
};

use bbtoken::{
    clock::Clock,
    http::{
        Body, HeaderMap, HttpClient, Phase, Request, Response, ResponseBody, TransportError, Url,
    },
    oauth::Authorization,
    profile::{Client, Endpoints, Grant, Profile, Source, Store, Transport},
    secret::Secret,
    token::{Login, Places, Tokens},
};
use bytes::Bytes;

/// The server's (Bitbucket: see `journal` and `clock` of the crate under test for the sources).
const GRACE_S: u64 = 600;
const LIFETIME_S: u64 = 7_200;
/// After so many commands in a row that were disturbed, one is left alone: the grace does not last for ever.
const PATIENCE: u32 = 3;

/// What happens to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The server cannot be reached.
    Unreachable,
    /// The connection breaks before the server has done anything.
    LostBefore,
    /// The server does what was asked, and the answer is lost.
    LostAfter,
    /// The same, and a gateway answers in its place.
    GatewayAfter,
    /// The same, and a gateway says that the server is not available.
    UnavailableAfter,
    /// Half of the answer arrives.
    CutAfter,
    /// The server has had too many requests.
    Busy,
    /// The command is killed before the request is sent, and after the answer has come.
    CrashBefore,
    CrashAfter,
    /// The command is killed when it asks for the time again, so many times after the answer has come.
    CrashLater(u32),
}

const FAULTS: [Fault; 12] = [
    Fault::None,
    Fault::Unreachable,
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::GatewayAfter,
    Fault::UnavailableAfter,
    Fault::CutAfter,
    Fault::Busy,
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::CrashLater(0),
    Fault::CrashLater(1),
];

/// What a command does with its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is good.
    Fetch,
    /// The server has revoked it.
    Refused,
    /// It is good, but the repository is not there, which the server answers in the same way.
    Misled,
}

/// How much time goes by before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Seconds,
    /// The access token ends; only if no refresh is unfinished, since no more than its grace can be survived.
    Hours,
}

#[derive(Default)]
struct RefreshToken {
    used_at: Option<u64>,
    /// The client has got the whole answer to its use and was not killed.
    is_answered: bool,
}

struct State {
    now: u64,
    refresh: HashMap<String, RefreshToken>,
    access: HashMap<String, u64>,
    faults: VecDeque<Fault>,
    crash_in: Option<u32>,
    /// Set while a request is under way that may be answered twice, as without locks.
    is_unlocked: bool,
    requests: u32,
    violations: Vec<String>,
}

/// What happens while a request is under way.
type Meanwhile = Box<dyn Fn(&World)>;

/// The server, the network and the clock; and what another process does during the next request.
struct World {
    state: RefCell<State>,
    meanwhile: RefCell<Option<Meanwhile>>,
    directory: tempfile::TempDir,
    profile: Profile,
}

/// A crash: nothing but the lock, which the system takes back, is left to anybody.
struct Killed;

struct Text(Option<Bytes>, bool);

impl ResponseBody for Text {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self.0.take() {
            None if self.1 => Err(TransportError::new(Phase::Answer, "server", "cut")),
            chunk => Ok(chunk),
        }
    }
}

impl Clock for World {
    fn now_unix_s(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        match state.crash_in.as_mut() {
            Some(0) => {
                state.crash_in = None;
                drop(state);
                panic::resume_unwind(Box::new(Killed));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        state.now
    }

    fn wait(&self, span: Duration) {
        self.state.borrow_mut().now += span.as_secs().max(1);
    }
}

impl HttpClient for World {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let Body::Form(form) = request.body else {
            panic!("a token request has a form");
        };
        let url = Url::parse(&format!("x:?{}", form.expose())).expect("a form");
        let form: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let fault = {
            let mut state = self.state.borrow_mut();
            state.requests += 1;
            state.faults.pop_front().unwrap_or(Fault::None)
        };
        let lost = |phase| Err(TransportError::new(phase, "server", "by the model"));
        let answer = |status, text: String, is_cut| {
            let body = Text(Some(text.into()), is_cut);
            Ok(Response::new(status, HeaderMap::new(), Box::new(body)))
        };
        match fault {
            Fault::Unreachable => return lost(Phase::Connect),
            Fault::LostBefore => return lost(Phase::Request),
            Fault::CrashBefore => panic::resume_unwind(Box::new(Killed)),
            Fault::Busy => return answer(429, String::new(), false),
            _ => {}
        }
        let meanwhile = self.meanwhile.borrow_mut().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(self);
        }
        let mut state = self.state.borrow_mut();
        let (status, text) = state.grant(&form);
        let used = form.get("refresh_token").cloned();
        let arrives = |state: &mut State| {
            if let Some(token) = used.as_ref().and_then(|used| state.refresh.get_mut(used)) {
                token.is_answered = true;
            }
        };
        match fault {
            Fault::LostAfter => lost(Phase::Answer),
            Fault::GatewayAfter => answer(502, "<html>".into(), false),
            Fault::UnavailableAfter => answer(503, String::new(), false),
            Fault::CutAfter => answer(status, text[..text.len() / 2].to_owned(), true),
            Fault::CrashAfter => {
                drop(state);
                panic::resume_unwind(Box::new(Killed))
            }
            Fault::CrashLater(moments) => {
                state.crash_in = Some(moments);
                answer(status, text, false)
            }
            _ => {
                arrives(&mut state);
                answer(status, text, false)
            }
        }
    }
}

impl State {
    fn grant(&mut self, form: &HashMap<String, String>) -> (u16, String) {
        let (now, is_unlocked) = (self.now, self.is_unlocked);
        if form["grant_type"] == "refresh_token" {
            let sent = &form["refresh_token"];
            let Some(token) = self.refresh.get_mut(sent) else {
                self.violations.push(format!("'{sent}' was never given"));
                return refusal();
            };
            if token.is_answered && !is_unlocked {
                let needless = format!("'{sent}' was used again though its answer had arrived");
                self.violations.push(needless);
            }
            let used_at = *token.used_at.get_or_insert(now);
            if now >= used_at + GRACE_S {
                let late = format!("'{sent}' was used {} s after its first use", now - used_at);
                self.violations.push(late);
                return refusal();
            }
        }
        let number = self.refresh.len();
        let (refresh, access) = (format!("refresh-{number}"), format!("access-{number}"));
        self.refresh
            .insert(refresh.clone(), RefreshToken::default());
        self.access.insert(access.clone(), now + LIFETIME_S);
        let text = format!(
            r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":{LIFETIME_S},"scope":"repository"}}"#
        );
        (200, text)
    }
}

fn refusal() -> (u16, String) {
    let text = r#"{"error":"invalid_request","error_description":"Invalid refresh_token"}"#;
    (400, text.into())
}

/// What became of a command.
#[derive(Debug)]
enum Outcome {
    /// It had a token that the server takes.
    Worked,
    Failed(String),
    Killed,
}

impl World {
    /// A world whose one user has logged in.
    fn new() -> Self {
        let url = |text: &str| Url::parse(text).expect("it is a URL");
        // In memory where there is such a place: this is not about the disk.
        let memory = PathBuf::from("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let world = World {
            state: RefCell::new(State {
                now: 1_000_000,
                refresh: HashMap::new(),
                access: HashMap::new(),
                faults: VecDeque::new(),
                crash_in: None,
                is_unlocked: false,
                requests: 0,
                violations: Vec::new(),
            }),
            meanwhile: RefCell::default(),
            directory: directory.expect("a temporary directory"),
            profile: Profile {
                name: "work".into(),
                account: "work".into(),
                push_profile: None,
                grant: Grant::AuthorizationCode(Client {
                    id: "client".into(),
                    secret: Source::Given {
                        variable: "SECRET",
                        secret: Secret::new("secret"),
                    },
                }),
                endpoints: Endpoints {
                    base: url("https://server"),
                    token: url("https://server/token"),
                    authorize: url("https://server/authorize"),
                },
                transport: Transport::Auto,
                store: Store::File,
                remembers_advertisement: true,
            },
        };
        let page = url("https://server/authorize");
        let authorization = Authorization::new(&page, "client", None).expect("there is chance");
        let login = world.tokens().log_in(&authorization, &Secret::new("code"));
        login.expect("the login works");
        world
    }

    fn tokens(&self) -> Tokens<'_> {
        let places = Places {
            cache: Some(self.directory.path().join("cache")),
            state: Some(self.directory.path().join("state")),
        };
        Tokens::new(&self.profile, self, self, places, &|_| {})
    }

    /// Runs a command: it asks for a token, and for another one if the first is refused.
    fn run(&self, how: Use) -> Outcome {
        if how == Use::Refused {
            self.state.borrow_mut().access.clear();
        }
        let command = panic::catch_unwind(AssertUnwindSafe(|| -> anyhow::Result<()> {
            let mut tokens = self.tokens();
            let is_good = |token: &Secret| {
                let state = self.state.borrow();
                let until = state.access.get(token.expose());
                until.is_some_and(|until| state.now < *until)
            };
            let bearer = tokens.bearer(Duration::ZERO)?;
            if is_good(&bearer.token) && how != Use::Misled {
                return Ok(());
            }
            if !tokens.refused()? {
                anyhow::ensure!(is_good(&bearer.token), "refused");
                return Ok(());
            }
            let bearer = tokens.bearer(Duration::ZERO)?;
            anyhow::ensure!(is_good(&bearer.token), "refused again");
            Ok(())
        }));
        let mut state = self.state.borrow_mut();
        // What was not met by this command does not meet the next one.
        state.faults.clear();
        state.crash_in = None;
        match command {
            Ok(Ok(())) => Outcome::Worked,
            Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
            Err(payload) if payload.is::<Killed>() => Outcome::Killed,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// The refresh token that is kept, and since when the server knows it as used.
    fn kept(&self) -> (String, Option<u64>) {
        let store = self.tokens().store().expect("it is a directory");
        let record = store.load(&self.profile.login_key());
        let record = record.expect("it can be read").expect("there is a login");
        let login = Login::from_record(&record).expect("it is one");
        let token = login.refresh_token.expose().to_owned();
        let used_at = self.state.borrow().refresh[&token].used_at;
        (token, used_at)
    }

    /// Expects that the kept refresh token works, and that none was used when it must not be.
    fn check(&self) -> Result<(), String> {
        let (token, used_at) = self.kept();
        let state = self.state.borrow();
        if let Some(violation) = state.violations.first() {
            return Err(violation.clone());
        }
        match used_at {
            Some(used_at) if state.now >= used_at + GRACE_S => {
                Err(format!("the login is left with '{token}', which is dead"))
            }
            _ => Ok(()),
        }
    }
}

/// One step of a walk: time goes by, then a command runs whose requests meet faults.
#[derive(Clone, Debug)]
struct Step {
    gap: Gap,
    how: Use,
    faults: Vec<Fault>,
}

/// Walks, and says what is wrong; `None` if nothing is.
fn walk(steps: &[Step]) -> Option<String> {
    let world = World::new();
    let mut disturbed = 0;
    for (number, step) in steps.iter().enumerate() {
        let is_unfinished = world.kept().1.is_some();
        {
            let mut state = world.state.borrow_mut();
            state.now += match step.gap {
                Gap::Hours if !is_unfinished => LIFETIME_S,
                _ => 20,
            };
            state.requests = 0;
            if disturbed < PATIENCE {
                state.faults = step.faults.iter().copied().collect();
            }
        }
        let is_disturbed = !world.state.borrow().faults.is_empty();
        let outcome = world.run(step.how);
        let problem = match (&outcome, world.check()) {
            (_, Err(problem)) => Some(problem),
            (Outcome::Failed(why), _) if !is_disturbed => Some(format!("it failed: {why}")),
            (Outcome::Failed(why), _) if why.contains("log") => Some(format!("it gave up: {why}")),
            (Outcome::Killed, _) if !is_disturbed => Some("it crashed".into()),
            (Outcome::Worked, _) if !is_disturbed && world.kept().1.is_some() => {
                Some("a lost answer was not made up for".into())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Some(format!("step {number}, {outcome:?}: {problem}"));
        }
        disturbed = match outcome {
            Outcome::Worked if world.kept().1.is_none() => 0,
            _ => disturbed + 1,
        };
        // A command that follows at once has a good token and asks for none.
        if matches!(outcome, Outcome::Worked) && !is_disturbed {
            world.state.borrow_mut().requests = 0;
            let again = world.run(Use::Fetch);
            let requests = world.state.borrow().requests;
            if requests > 0 || !matches!(again, Outcome::Worked) {
                return Some(format!(
                    "step {number}: the next command made {requests} token requests, {again:?}"
                ));
            }
        }
    }
    None
}

#[test]
fn every_short_sequence_of_faults_leaves_a_login_that_works() {
    let mut walks = 0;
    let steps: Vec<Step> = FAULTS
        .into_iter()
        .flat_map(|fault| {
            [
                (Gap::Hours, Use::Fetch),
                (Gap::Seconds, Use::Refused),
                (Gap::Seconds, Use::Misled),
            ]
            .map(|(gap, how)| Step {
                gap,
                how,
                faults: vec![fault],
            })
        })
        .collect();
    let plain = Step {
        gap: Gap::Seconds,
        how: Use::Fetch,
        faults: Vec::new(),
    };
    let misled: Vec<_> = steps
        .iter()
        .filter(|step| step.how == Use::Misled)
        .collect();
    for first in &misled {
        for second in &steps {
            for third in &misled {
                let walked = [*first, second, *third, &plain].map(Clone::clone);
                walks += 1;
                if let Some(problem) = walk(&walked) {
                    panic!("{problem}\nin {walked:#?}");
                }
            }
        }
    }
    assert_eq!(walks, 12 * 36 * 12);
}

#[test]
fn any_faults_of_one_commands_requests_are_made_up_for_by_the_next_command() {
    let mut walks = 0;
    for first in FAULTS {
        for second in FAULTS {
            for third in FAULTS {
                let disturbed = Step {
                    gap: Gap::Seconds,
                    how: Use::Misled,
                    faults: vec![first, second, third],
                };
                let plain = Step {
                    how: Use::Fetch,
                    faults: Vec::new(),
                    ..disturbed.clone()
                };
                walks += 1;
                if let Some(problem) = walk(&[disturbed, plain]) {
                    panic!("{problem}\nafter {first:?}, {second:?}, {third:?}");
                }
            }
        }
    }
    assert_eq!(walks, 12 * 12 * 12);
}

/// Marsaglia's xorshift: numbers that a seed repeats.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }

    fn step(&mut self) -> Step {
        let requests = self.below(5);
        Step {
            gap: [Gap::Seconds, Gap::Hours][self.below(2)],
            how: [Use::Fetch, Use::Refused, Use::Misled][self.below(3)],
            faults: (0..requests)
                .map(|_| FAULTS[self.below(FAULTS.len())])
                .collect(),
        }
    }
}

/// The seed of this run: `BBTOKEN_TEST_SEED`, for another walk than the usual one.
pub(crate) fn seed() -> u64 {
    let wanted = std::env::var("BBTOKEN_TEST_SEED").ok();
    wanted.map_or(1, |seed| {
        seed.parse().expect("BBTOKEN_TEST_SEED is a number")
    })
}

#[test]
fn random_walks_leave_a_login_that_works() {
    for seed in (seed()..).take(400) {
        let mut chance = Chance((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let steps: Vec<_> = (0..20).map(|_| chance.step()).collect();
        if let Some(problem) = walk(&steps) {
            panic!("{problem}\nin {steps:?}\nrepeat it with BBTOKEN_TEST_SEED={seed}");
        }
    }
}

#[test]
fn without_locks_two_commands_at_once_leave_a_login_that_works() {
    let mut walks = 0;
    for (first, second) in FAULTS
        .into_iter()
        .flat_map(|first| FAULTS.map(|second| (first, second)))
    {
        let world = World::new();
        // A lock that cannot be opened, as on some network file systems.
        for directory in ["state", "cache"] {
            let key = world.profile.login_key();
            let lock = world
                .directory
                .path()
                .join(directory)
                .join(format!("{key}.lock"));
            let _ = std::fs::remove_file(&lock);
            std::fs::create_dir_all(lock).expect("the name is free");
        }
        world.state.borrow_mut().is_unlocked = true;
        for round in 0..3 {
            world.state.borrow_mut().now += if world.kept().1.is_none() {
                LIFETIME_S
            } else {
                20
            };
            if round < 2 {
                let faults = [first, second];
                world.state.borrow_mut().faults = faults.into_iter().collect();
                // During the first request that reaches the server another command does all of its work.
                *world.meanwhile.borrow_mut() = Some(Box::new(|world| {
                    let before = world.state.borrow_mut().faults.split_off(0);
                    world.run(Use::Fetch);
                    world.state.borrow_mut().faults = before;
                }));
            }
            let outcome = world.run(Use::Fetch);
            world.meanwhile.borrow_mut().take();
            if let Err(problem) = world.check() {
                panic!("{problem} after {first:?} and {second:?} in round {round}: {outcome:?}");
            }
            assert!(
                round < 2 || matches!(outcome, Outcome::Worked),
                "{outcome:?}"
            );
        }
        walks += 1;
    }
    assert_eq!(walks, 144);
}

#[test]
fn the_model_finds_a_client_that_forgets_or_repeats() {
    // A login that was used and not kept, as a client without a note leaves it.
    let world = World::new();
    let form = |token: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        HashMap::from(fields)
    };
    let (token, _) = world.kept();
    world.state.borrow_mut().grant(&form(&token));
    assert!(world.check().is_ok(), "within the grace it works");
    world.state.borrow_mut().now += GRACE_S;
    assert!(world.check().is_err(), "after it the login is dead");
    world.state.borrow_mut().grant(&form(&token));
    let problem = world.check().expect_err("it was used too late");
    assert!(problem.contains("600 s after its first use"), "{problem}");

    let world = World::new();
    let (token, _) = world.kept();
    let state = &world.state;
    state
        .borrow_mut()
        .refresh
        .entry(token.clone())
        .or_default()
        .is_answered = true;
    state.borrow_mut().grant(&form(&token));
    let problem = world.check().expect_err("it was used needlessly");
    assert!(
        problem.contains("though its answer had arrived"),
        "{problem}"
    );
}

#[test]
fn a_clock_that_is_wrong_or_jumps_costs_one_refresh_and_no_login() {
    let hours = |count: i64| count * 3_600;
    // How far the client's clock jumps between commands, the server's staying as it is.
    let jumps = [
        hours(5),
        hours(-5),
        hours(-1),
        hours(1),
        hours(20_000),
        hours(-20_000),
        -30,
        30,
    ];
    let world = World::new();
    for jump in jumps {
        {
            let mut state = world.state.borrow_mut();
            state.now = state.now.checked_add_signed(jump).unwrap_or(0);
            state.requests = 0;
            // The server's own reckoning does not move.
            for until in state.access.values_mut() {
                *until = until.saturating_add_signed(jump);
            }
            for token in state.refresh.values_mut() {
                token.used_at = token.used_at.map(|at| at.saturating_add_signed(jump));
            }
        }
        for command in 0..3 {
            let outcome = world.run(Use::Fetch);
            assert!(matches!(outcome, Outcome::Worked), "{jump} s: {outcome:?}");
            let requests = world.state.borrow().requests;
            assert!(
                requests <= 1,
                "{jump} s, command {command}: {requests} requests"
            );
        }
        world.check().expect("the login works");
    }
}
