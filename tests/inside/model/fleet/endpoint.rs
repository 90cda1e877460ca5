//! A model of the token endpoint: rotation and grace, and what is wrong with a request.

use std::{collections::HashMap, time::Duration};

use reqwest::header::HeaderMap;

use super::{
    super::server::{GRACE_S, LIFETIME_S, Text, refusal},
    faults::{Effect, Fault},
    machine::Job,
    world::State,
};
use crate::{
    http::{Body, HttpClient, Phase, Request, Response, TransportError},
    url::Url,
};

/// How long a machine waits for an answer.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What the server does when a refresh token is used again within the grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It gives another pair, and both are good.
    Another,
    /// It gives the same refresh token.
    Same,
    /// Refresh tokens do not rotate.
    Never,
}

#[derive(Default)]
pub(super) struct RefreshToken {
    pub(super) used_at: Option<Duration>,
    pub(super) successors: Vec<String>,
    /// The jobs that sent it.
    senders: Vec<usize>,
}

pub(super) struct Endpoint {
    pub(super) again: Again,
    pub(super) refresh: HashMap<String, RefreshToken>,
    pub(super) access: HashMap<String, Duration>,
    pub(super) down_until: Duration,
    /// Until when the server has asked to wait.
    pub(super) busy_until: Duration,
    /// The requests that came before.
    pub(super) hurried: u32,
    pub(super) requests: u32,
    /// Why the server has ended the login.
    pub(super) ended: Option<String>,
}

impl Endpoint {
    pub(super) fn new(again: Again, left: Duration) -> Self {
        Endpoint {
            again,
            refresh: HashMap::from([("refresh-0".into(), RefreshToken::default())]),
            access: HashMap::from([("access-0".into(), left)]),
            down_until: Duration::ZERO,
            busy_until: Duration::ZERO,
            hurried: 0,
            requests: 0,
            ended: None,
        }
    }

    /// Whether a refresh token will be refused.
    pub(super) fn is_dead(&self, token: &str, now: Duration) -> bool {
        let used_at = self.refresh.get(token).and_then(|token| token.used_at);
        let is_late = used_at.is_some_and(|at| now >= at + Duration::from_secs(GRACE_S));
        self.ended.is_some() || is_late
    }

    fn next(&mut self, used: Option<&str>, now: Duration) -> (u16, String) {
        let access = format!("access-{}", self.access.len());
        let until = now + Duration::from_secs(LIFETIME_S);
        self.access.insert(access.clone(), until);
        let refresh = used.map(|used| match self.again {
            Again::Never => used.to_owned(),
            Again::Same if !self.refresh[used].successors.is_empty() => {
                self.refresh[used].successors[0].clone()
            }
            _ => format!("refresh-{}", self.refresh.len()),
        });
        if let (Some(used), Some(next)) = (used, &refresh)
            && used != next
        {
            let token = self.refresh.get_mut(used).expect("it was given");
            token.successors.push(next.clone());
            self.refresh.entry(next.clone()).or_default();
        }
        let refresh = refresh.map_or_else(String::new, |it| format!(r#""refresh_token":"{it}","#));
        let text = format!(
            r#"{{"access_token":"{access}",{refresh}"expires_in":{LIFETIME_S},"scope":"repository"}}"#
        );
        (200, text)
    }
}

impl State {
    /// Answers a token request that has reached the server, and notes what is wrong with it.
    pub(super) fn grant(&mut self, job: usize, form: &HashMap<String, String>) -> (u16, String) {
        let now = self.now;
        self.endpoint.requests += 1;
        self.jobs[job].requests += 1;
        if form["grant_type"] != "refresh_token" {
            return self.endpoint.next(None, now);
        }
        let sent = &form["refresh_token"];
        self.check_claim(job, sent);
        self.check_repetition(job, sent);
        if self.endpoint.ended.is_some() {
            return refusal();
        }
        let is_dead = self.endpoint.is_dead(sent, now);
        let refresh = &self.endpoint.refresh;
        let is_used = |token: &String| refresh[token].used_at.is_some();
        let is_succeeded = refresh[sent].successors.iter().any(is_used);
        if is_dead || is_succeeded {
            self.endpoint.ended = Some(format!("'{sent}' was used too late"));
            self.log(job, || "the server ends the login".into());
            return refusal();
        }
        let rotates = self.endpoint.again != Again::Never;
        let token = self.endpoint.refresh.get_mut(sent).expect("it was given");
        token.senders.push(job);
        if rotates {
            token.used_at.get_or_insert(now);
        }
        self.endpoint.next(Some(sent), now)
    }

    /// Expects a claim beside a token that is sent.
    fn check_claim(&mut self, job: usize, sent: &str) {
        let newest = self.store.newest();
        let (of, me) = (newest.refresh_token.as_deref(), &self.jobs[job]);
        let is_claimed = newest.claim.as_ref().is_some_and(|(nonce, _)| {
            me.nonces.contains(nonce) || self.now < newest.claimed_at + Duration::from_secs(60)
        });
        if of == Some(sent) && is_claimed {
            return;
        }
        // Nothing can hold back a machine that stands still after its last look at a clock. And one whose claim was
        // taken over may still publish what it got.
        let stood_still = me.faults.iter().any(|it| it.stands());
        let token = self.endpoint.refresh.get(sent);
        let is_next = |of: &str| token.is_some_and(|it| it.successors.iter().any(|it| it == of));
        let rotates = self.endpoint.again != Again::Never;
        let is_late = of.is_some_and(|of| is_next(of) || of == sent && !rotates)
            && me.claimed_at.is_some_and(|at| at < newest.at);
        if stood_still || is_late {
            self.excused += 1;
        } else {
            let what = format!(
                "'{sent}' was sent by job {job} beside {of:?}, claim {:?}",
                newest.claim
            );
            self.violations.push(what);
        }
    }

    /// Expects a reason for sending a token again.
    fn check_repetition(&mut self, job: usize, sent: &str) {
        let Some(token) = self.endpoint.refresh.get(sent) else {
            self.violations.push(format!("'{sent}' was never given"));
            return;
        };
        if token.used_at.is_none() {
            return;
        }
        let has_reason = |job: &usize| {
            let faults = &self.jobs[*job].faults;
            faults.iter().any(|fault| fault.may_lose_an_answer())
        };
        let is_excused = token.senders.iter().chain([&job]).any(has_reason);
        if !is_excused && !self.had_outage && !self.clocks_mislead {
            let what = format!("'{sent}' was sent again by job {job} for no reason");
            self.violations.push(what);
        }
    }
}

/// What the network makes of an answer.
fn arrive(fault: Option<Fault>, answer: (u16, String)) -> Result<Response, TransportError> {
    let lost = |phase| Err(TransportError::new(phase, "server", "by the model"));
    let answered = |status, text: String, headers| {
        Ok(Response::new(status, headers, Box::new(Text::whole(text))))
    };
    match fault {
        Some(Fault::Unreachable | Fault::ServerDown(_)) => lost(Phase::Connect),
        Some(Fault::LostBefore) => lost(Phase::Request),
        Some(Fault::LostAfter) => lost(Phase::Answer),
        Some(Fault::TimeLimit | Fault::SlowRequest) => lost(Phase::TimeLimit),
        Some(Fault::Gateway) => answered(502, "<html>".into(), HeaderMap::new()),
        Some(Fault::Busy) => answered(429, String::new(), HeaderMap::new()),
        Some(Fault::BusyFor(seconds) | Fault::SlowlyBusyFor(seconds)) => {
            answered(429, String::new(), pause(seconds))
        }
        Some(Fault::AwayFor(seconds)) => answered(503, String::new(), pause(seconds)),
        _ => answered(answer.0, answer.1, HeaderMap::new()),
    }
}

fn pause(seconds: u64) -> HeaderMap {
    let pause = [("retry-after".parse(), seconds.to_string().parse())];
    let pause = pause.map(|(name, value)| (name.expect("a name"), value.expect("a value")));
    HeaderMap::from_iter(pause)
}

/// How long a request is on its way, and its answer.
fn travel(fault: Option<Fault>) -> (Duration, Duration) {
    let (soon, late) = (
        Duration::from_millis(100),
        TIME_LIMIT - Duration::from_millis(100),
    );
    match fault {
        Some(Fault::TimeLimit) => (soon, late),
        Some(Fault::SlowRequest) => (late, soon),
        Some(Fault::SlowProxy) => (10 * TIME_LIMIT, soon),
        Some(Fault::Slow | Fault::SlowlyBusyFor(_)) => (soon, Duration::from_secs(25)),
        _ => (soon, soon),
    }
}

impl HttpClient for Job<'_> {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let Body::Secret(form) = request.body else {
            panic!("a token request has a form");
        };
        let url = Url::parse(&format!("x:?{}", form.expose())).expect("a form");
        let form: HashMap<_, _> = url.query_pairs().into_owned().collect();
        self.effect_within(Effect::Send, travel, |state, fault| {
            let fault = match fault {
                None | Some(Fault::Slow) if state.now < state.endpoint.down_until => {
                    Some(Fault::Unreachable)
                }
                fault => fault,
            };
            let endpoint = &mut state.endpoint;
            endpoint.hurried += u32::from(state.now < endpoint.busy_until);
            if let Some(Fault::BusyFor(seconds) | Fault::SlowlyBusyFor(seconds)) = fault {
                let answered_at = state.now + travel(fault).1;
                endpoint.busy_until = answered_at + Duration::from_secs(seconds);
            }
            let reaches = !matches!(
                fault,
                Some(
                    Fault::Unreachable
                        | Fault::LostBefore
                        | Fault::Busy
                        | Fault::BusyFor(_)
                        | Fault::SlowlyBusyFor(_)
                        | Fault::ServerDown(_)
                )
            );
            let answer = match reaches {
                true => state.grant(self.number, &form),
                false => (0, String::new()),
            };
            arrive(fault, answer)
        })
    }
}
