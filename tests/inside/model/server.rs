//! The model: the server, the network and the clock, and commands that run the real code against them.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use reqwest::header::HeaderMap;

use crate::{
    clock::Clock,
    http::{Body, HttpClient, Phase, Request, Response, ResponseBody, TransportError},
    oauth::Authorization,
    profile::{Client, Endpoints, Grant, Profile, Source, Store, Transport},
    secret::Secret,
    site::Product,
    token::{Connect, Login, Places, SharedRecord, Tokens},
    url::Url,
};

/// The server's (Bitbucket: see `journal` and `clock` of the crate under test for the sources).
pub(super) const GRACE_S: u64 = 600;
pub(super) const LIFETIME_S: u64 = 7_200;

/// What happens to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
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

pub(super) const FAULTS: [Fault; 12] = [
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
pub(super) enum Use {
    /// It is good.
    Fetch,
    /// The server has revoked it.
    Refused,
    /// It is good, but the repository is not there, which the server answers in the same way.
    Misled,
}

#[derive(Default)]
pub(super) struct RefreshToken {
    pub(super) used_at: Option<u64>,
    /// The client has got the whole answer to its use and was not killed.
    pub(super) is_answered: bool,
}

pub(super) struct State {
    pub(super) now: u64,
    pub(super) refresh: HashMap<String, RefreshToken>,
    pub(super) access: HashMap<String, u64>,
    pub(super) faults: VecDeque<Fault>,
    pub(super) crash_in: Option<u32>,
    /// Set while a request is under way that may be answered twice, as without locks.
    pub(super) is_unlocked: bool,
    pub(super) requests: u32,
    pub(super) violations: Vec<String>,
}

/// What happens while a request is under way.
pub(super) type Meanwhile = Box<dyn Fn(&World)>;

/// The server, the network and the clock; and what another process does during the next request.
pub(super) struct World {
    pub(super) state: RefCell<State>,
    pub(super) meanwhile: RefCell<Option<Meanwhile>>,
    pub(super) directory: tempfile::TempDir,
    pub(super) profile: Profile,
}

/// A crash: nothing but the lock, which the system takes back, is left to anybody.
pub(super) struct Killed;

pub(super) struct Text(Option<Bytes>, bool);

impl Text {
    pub(super) fn whole(text: String) -> Self {
        Text(Some(text.into()), false)
    }
}

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

impl Connect for World {
    fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        Ok(self)
    }

    fn record(&self) -> anyhow::Result<Box<dyn SharedRecord + '_>> {
        anyhow::bail!("the fleet has the models of shared records")
    }

    fn token_record(&self) -> anyhow::Result<Option<Box<dyn SharedRecord + '_>>> {
        Ok(None)
    }
}

impl HttpClient for World {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let Body::Secret(form) = request.body else {
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
    pub(super) fn grant(&mut self, form: &HashMap<String, String>) -> (u16, String) {
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

pub(super) fn refusal() -> (u16, String) {
    let text = r#"{"error":"invalid_request","error_description":"Invalid refresh_token"}"#;
    (400, text.into())
}

/// What became of a command.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It had a token that the server takes.
    Worked,
    Failed(String),
    Killed,
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("it is a URL")
}

/// A profile for the server, without a cache.
pub(super) fn profile(name: &str, grant: Grant) -> Profile {
    Profile {
        name: name.into(),
        account: name.into(),
        push_profile: None,
        grant,
        scope: None,
        redirect_uri: None,
        endpoints: Endpoints {
            product: Product::Cloud,
            mirror: None,
            base: url("https://server"),
            token: url("https://server/token"),
            authorize: url("https://server/authorize"),
        },
        transport: Transport::Auto,
        store: Store::File,
        shared: None,
        caches_tokens: false,
        remembers_advertisement: true,
        no_questions: None,
        unknown_keys: Vec::new(),
    }
}

impl World {
    /// A world whose one user has logged in.
    pub(super) fn new() -> Self {
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
                caches_tokens: true,
                ..profile(
                    "work",
                    Grant::AuthorizationCode(Client {
                        id: "client".into(),
                        secret: Source::Given {
                            variable: "SECRET",
                            secret: Secret::new("secret"),
                        },
                    }),
                )
            },
        };
        let page = url("https://server/authorize");
        let authorization =
            Authorization::new(&page, "client", None, None).expect("there is chance");
        let login = world
            .tokens()
            .log_in(&authorization, &Secret::new("code"), None);
        login.expect("the login works");
        world
    }

    pub(super) fn tokens(&self) -> Tokens<'_> {
        let places = Places {
            cache: Some(self.directory.path().join("cache")),
            state: Some(self.directory.path().join("state")),
            usual_states: Vec::new(),
        };
        Tokens::new(&self.profile, self, self, places, &|_| {})
    }

    /// Runs a command: it asks for a token, and for another one if the first is refused.
    pub(super) fn run(&self, how: Use) -> Outcome {
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

    /// The refresh token that is stored, and since when the server knows it as used.
    pub(super) fn stored(&self) -> (String, Option<u64>) {
        let store = self.tokens().store().expect("it is a directory");
        let record = store.load(&self.profile.login_key());
        let record = record.expect("it can be read").expect("there is a login");
        let login = Login::from_record(&record).expect("it is one");
        let token = login.refresh_token.expose().to_owned();
        let used_at = self.state.borrow().refresh[&token].used_at;
        (token, used_at)
    }

    /// Expects that the stored refresh token works, and that none was used when it must not be.
    pub(super) fn check(&self) -> Result<(), String> {
        let (token, used_at) = self.stored();
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
