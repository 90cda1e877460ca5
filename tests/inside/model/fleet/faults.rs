//! What goes wrong, and when.

use super::super::Chance;

/// What a job does to the world, or lets the world do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
    Send,
    Wait,
}

/// The moment of a kill or a pause: before the request leaves, or after its answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// What goes wrong at one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machine ends.
    Kill(When),
    /// The process stands still for so many seconds.
    Pause(When, u64),
    /// The same, and the monotonic clock stands still, too, as on a laptop whose lid is closed.
    Sleep(When, u64),
    /// A read: a node answers that is up to a second behind.
    Behind,
    /// A read: a node answers that has no record yet.
    Absent,
    /// A read: no answer.
    Unread,
    /// A write: a node refuses that is behind.
    Overtaken,
    /// A write: no answer, and nothing was written.
    Unwritten,
    /// A write: no answer, although it was written.
    Written,
    /// A write: no answer, and it is written so many seconds later.
    WrittenLater(u64),
    /// A write: no answer but that the store is busy for so many seconds.
    BusyStore(u64),
    /// A write: it is not allowed.
    Denied,
    /// A read or a write: no machine reaches the store for so many seconds.
    StoreDown(u64),
    /// A read or a write: no machine can write to the store for so many seconds.
    ReadOnly(u64),
    /// A token request: the server cannot be reached.
    Unreachable,
    /// A token request: the connection breaks before the server has done anything.
    LostBefore,
    /// A token request: the server does what was asked, and the answer is lost.
    LostAfter,
    /// The same, and a gateway answers in its place.
    Gateway,
    /// The same, after half a minute.
    TimeLimit,
    /// A token request: the request is on its way for half a minute, which is all that the machine waits.
    SlowRequest,
    /// A token request: the answer comes after 25 s.
    Slow,
    /// A token request: a proxy passes it on after 300 s, as long as git waits for a connection.
    SlowProxy,
    /// A token request: the server has had too many requests.
    Busy,
    /// The same, and it asks to wait for so many seconds.
    BusyFor(u64),
    /// The same, and its answer comes after 25 s.
    SlowlyBusyFor(u64),
    /// A token request: the server does what was asked, a gateway answers in its place, and asks to wait for so many
    /// seconds.
    AwayFor(u64),
    /// A token request: no machine reaches the server for so many seconds.
    ServerDown(u64),
}

/// Every fault that the tests try one by one.
pub(super) const FAULTS: [Fault; 33] = [
    Fault::Kill(When::Before),
    Fault::Kill(When::After),
    Fault::Pause(When::Before, 70),
    Fault::Pause(When::Before, 200),
    Fault::Pause(When::After, 70),
    Fault::Pause(When::After, 200),
    Fault::Sleep(When::Before, 200),
    Fault::Sleep(When::After, 200),
    Fault::Behind,
    Fault::Absent,
    Fault::Unread,
    Fault::Overtaken,
    Fault::Unwritten,
    Fault::Written,
    Fault::WrittenLater(1),
    Fault::WrittenLater(25),
    Fault::BusyStore(5),
    Fault::Denied,
    Fault::StoreDown(10),
    Fault::ReadOnly(10),
    Fault::Unreachable,
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::Gateway,
    Fault::TimeLimit,
    Fault::SlowRequest,
    Fault::Slow,
    Fault::SlowProxy,
    Fault::Busy,
    Fault::BusyFor(20),
    Fault::BusyFor(100),
    Fault::SlowlyBusyFor(50),
    Fault::AwayFor(100),
];

impl Fault {
    pub(super) fn fits(self, effect: Effect) -> bool {
        match self {
            Fault::Kill(_) | Fault::Pause(..) | Fault::Sleep(..) => true,
            Fault::Behind | Fault::Absent | Fault::Unread => effect == Effect::Read,
            Fault::Overtaken
            | Fault::Unwritten
            | Fault::Written
            | Fault::WrittenLater(_)
            | Fault::BusyStore(_)
            | Fault::Denied => effect == Effect::Write,
            Fault::StoreDown(_) | Fault::ReadOnly(_) => {
                matches!(effect, Effect::Read | Effect::Write)
            }
            _ => effect == Effect::Send,
        }
    }

    /// Whether the process stands still, or its request.
    pub(super) fn stands(self) -> bool {
        matches!(self, Fault::Pause(..) | Fault::Sleep(..) | Fault::SlowProxy)
    }

    /// The same for the commands of other machines. They try for themselves if one has no connection.
    pub(super) fn may_fail_others(self) -> bool {
        self.may_fail_commands() && self != Fault::Unreachable
    }

    /// Whether a job that met it may take a good token for an old one.
    pub(super) fn misleads(self) -> bool {
        self.stands() || self == Fault::Behind
    }

    /// At how many effects of one job it is tried.
    pub(super) fn places(self) -> u32 {
        match self {
            Fault::Kill(_) | Fault::Pause(..) | Fault::Sleep(..) => 6,
            _ if self.fits(Effect::Write) => 3,
            _ => 2,
        }
    }

    /// For how many seconds the record cannot be read. Commands wait for about 20 s.
    pub(super) fn hides_the_record_s(self) -> u64 {
        match self {
            Fault::StoreDown(seconds) => seconds,
            _ => 0,
        }
    }

    /// Whether commands that have no good token may fail.
    pub(super) fn may_fail_commands(self) -> bool {
        match self {
            Fault::Denied | Fault::ReadOnly(_) => true,
            Fault::Unreachable | Fault::TimeLimit | Fault::SlowRequest => true,
            Fault::ServerDown(_) | Fault::BusyFor(60..) | Fault::SlowlyBusyFor(_) => true,
            Fault::AwayFor(_) => true,
            _ => self.stands(),
        }
    }

    /// Whether a job that met it may have used a refresh token and not shared the answer.
    pub(super) fn may_lose_an_answer(self) -> bool {
        match self {
            Fault::Kill(_) => true,
            Fault::LostAfter | Fault::Gateway | Fault::TimeLimit | Fault::SlowRequest => true,
            Fault::AwayFor(_) => true,
            Fault::StoreDown(seconds) | Fault::ReadOnly(seconds) => seconds >= 30,
            _ => self.stands(),
        }
    }
}

/// Which effects meet faults.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Faults of jobs, each at the effect that so many others precede which it fits.
    Script(Vec<(usize, Fault, u32)>),
    /// This many of a thousand effects, by chance.
    Random(usize),
}

impl Plan {
    /// Gives the fault of a job's next effect.
    pub(super) fn next(
        &mut self,
        job: usize,
        effect: Effect,
        chance: &mut Chance,
    ) -> Option<Fault> {
        match self {
            Plan::Script(script) => {
                let mut due = None;
                for (at, (whose, fault, before)) in script.iter_mut().enumerate() {
                    if *whose == job && fault.fits(effect) {
                        match before {
                            0 => due = due.or(Some(at)),
                            _ => *before -= 1,
                        }
                    }
                }
                due.map(|at| script.remove(at).1)
            }
            Plan::Random(rate) => {
                let is_due = chance.below(1_000) < *rate;
                is_due.then(|| {
                    loop {
                        let fault = any(chance);
                        if fault.fits(effect) {
                            break fault;
                        }
                    }
                })
            }
        }
    }
}

/// Gives any fault, also one that lasts.
fn any(chance: &mut Chance) -> Fault {
    let seconds = |chance: &mut Chance, least: u64, most: u64| {
        least
            + u64::try_from(chance.below(usize::try_from(most - least).expect("it is small")))
                .expect("it is small")
    };
    let when = [When::Before, When::After][chance.below(2)];
    match chance.below(FAULTS.len() + 4) {
        0 => Fault::StoreDown(seconds(chance, 1, 90)),
        1 => Fault::ReadOnly(seconds(chance, 1, 90)),
        2 => Fault::ServerDown(seconds(chance, 1, 90)),
        3 => Fault::WrittenLater(seconds(chance, 1, 30)),
        other => match FAULTS[other - 4] {
            Fault::Pause(..) => Fault::Pause(when, seconds(chance, 70, 200)),
            Fault::Sleep(..) => Fault::Sleep(when, seconds(chance, 70, 200)),
            fault => fault,
        },
    }
}
