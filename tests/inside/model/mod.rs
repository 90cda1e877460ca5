//! The refresh protocol against a model of the server: rotation, grace period, lost responses and crashes.
//!
//! It runs the real [`Tokens`] with its real files. The server, the network and the clock are small models. A crash is
//! a panic at a request, or when the code reads the clock: while it writes into the lock, when it makes the note, and
//! between the response and the save. (`crashes` tests crashes at system calls.)

mod fleet;
mod server;

use std::collections::HashMap;

use super::chance::{Chance, seed};
use server::*;

/// After so many commands in a row that were disturbed, one is left alone: the grace does not last for ever.
const PATIENCE: u32 = 3;

/// How much time goes by before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Seconds,
    /// The access token ends; only if no refresh is unfinished, since no more than its grace can be survived.
    Hours,
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
        let is_unfinished = world.stored().1.is_some();
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
            (Outcome::Worked, _) if !is_disturbed && world.stored().1.is_some() => {
                Some("a lost answer was not made up for".into())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Some(format!("step {number}, {outcome:?}: {problem}"));
        }
        disturbed = match outcome {
            Outcome::Worked if world.stored().1.is_none() => 0,
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

impl Chance {
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
            world.state.borrow_mut().now += if world.stored().1.is_none() {
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
    // A login that was used and not stored, as a client without a note leaves it.
    let world = World::new();
    let form = |token: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        HashMap::from(fields)
    };
    let (token, _) = world.stored();
    world.state.borrow_mut().grant(&form(&token));
    assert!(world.check().is_ok(), "within the grace it works");
    world.state.borrow_mut().now += GRACE_S;
    assert!(world.check().is_err(), "after it the login is dead");
    world.state.borrow_mut().grant(&form(&token));
    let problem = world.check().expect_err("it was used too late");
    assert!(problem.contains("600 s after its first use"), "{problem}");

    let world = World::new();
    let (token, _) = world.stored();
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
