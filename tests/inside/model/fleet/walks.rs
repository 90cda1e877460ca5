//! Random walks: many commands on many machines, with faults by chance.

use std::time::Duration;

use super::{
    super::{
        Chance, seed,
        server::{LIFETIME_S, Outcome},
    },
    SECOND,
    endpoint::Again,
    expect_calm, expect_reports,
    faults::Plan,
    jobs::Command,
    store::StoreClock,
    world::{MOST_JOBS, Start, World},
};

/// After a refresh token was used for so long, the commands are left alone: the grace does not last for ever.
const CALM_AFTER: Duration = Duration::from_secs(240);

/// No command takes longer: it waits for 180 s, then for the store and the server.
const LONGEST: Duration = Duration::from_secs(300);

/// What all walks did together.
#[derive(Debug, Default)]
struct Figures {
    walks: u32,
    jobs: usize,
    faults: usize,
    requests: u32,
    /// Tokens that were sent without a claim, after a pause or beside a late answer.
    excused: u32,
}

fn start(chance: &mut Chance, seed: u64) -> Start {
    let clocks = [
        StoreClock::Off(0),
        StoreClock::Off(120),
        StoreClock::Off(-120),
        StoreClock::Nodes(2),
        StoreClock::Nodes(120),
        StoreClock::None,
    ];
    Start {
        clock: clocks[chance.below(clocks.len())],
        again: [Again::Another, Again::Same, Again::Never][chance.below(3)],
        is_login: chance.below(8) > 0,
        left_s: [0, 300, 7_000][chance.below(3)],
        seed,
    }
}

fn commands(chance: &mut Chance) -> Vec<Command> {
    let count = 1 + chance.below(MOST_JOBS);
    let within_ms = [1, 1_000, 100_000, 400_000][chance.below(4)];
    let command = |place: usize| {
        let starts_in = u64::try_from(chance.below(within_ms)).expect("it is small");
        Command {
            starts_in: Duration::from_millis(starts_in),
            off_s: [0, 0, 0, 60, -90, 7_200, -40_000][chance.below(7)],
            is_misled: chance.below(8) == 0,
            has_cache: place < 2,
        }
    };
    (0..count).map(command).collect()
}

/// Walks, and says what is wrong.
fn walk(seed: u64, is_loud: bool, figures: &mut Figures) -> Result<(), String> {
    let mut chance = Chance((seed + 77).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let start = start(&mut chance, seed);
    let rate = [0, 5, 20, 50, 100][chance.below(5)];
    let world = World::new(&start, Plan::Script(Vec::new()));
    world.state().log = is_loud.then(Vec::new);
    world.state().calm_after = CALM_AFTER;
    let walked = (0..6).try_for_each(|_| round(&world, &mut chance, rate, figures));
    let state = world.state();
    figures.walks += 1;
    figures.requests += state.endpoint.requests;
    figures.excused += state.excused;
    let log = state
        .log
        .as_ref()
        .map_or_else(String::new, |log| log.join("\n"));
    walked.map_err(|problem| format!("{problem}\n{start:?}, {rate} of 1000\n{log}"))
}

/// Runs some commands at about the same time, then one without faults.
fn round(
    world: &World,
    chance: &mut Chance,
    rate: usize,
    figures: &mut Figures,
) -> Result<(), String> {
    world.state().plan = Plan::Random(rate);
    let reports = world.run(&commands(chance));
    world.state().plan = Plan::Script(Vec::new());
    figures.jobs += reports.len() + 1;
    figures.faults += reports.iter().map(|it| it.faults.len()).sum::<usize>();
    expect_reports(&reports)?;
    let is_sure = matches!(world.state().store.clock, StoreClock::Off(_));
    for report in &reports {
        let is_well = matches!(report.outcome, Outcome::Worked);
        let is_at_once = report.waits == 0 || !report.had_good_token || !is_sure;
        if rate == 0 && !(is_well && is_at_once) {
            return Err(format!("without faults: {report:?}"));
        }
        if report.took > LONGEST && !report.faults.iter().any(|it| it.stands()) {
            return Err(format!("it took too long: {report:?}"));
        }
    }
    settle(world)?;
    let gap = [SECOND, 500 * SECOND, Duration::from_secs(LIFETIME_S)][chance.below(3)];
    world.state().now += gap;
    Ok(())
}

/// Lets commands without faults finish what others have begun. The store and the server are up again, and the claims
/// of machines that were killed are stale. If the nodes' clocks differ, that is seen later.
fn settle(world: &World) -> Result<(), String> {
    expect_calm(world, 100 * SECOND)?;
    let clock = world.state().store.clock;
    let mut more = if clock == StoreClock::Nodes(120) {
        4
    } else {
        0
    };
    while world.is_unfinished() && more > 0 {
        expect_calm(world, 60 * SECOND)?;
        more -= 1;
    }
    match world.is_unfinished() {
        true => Err("the next command did not repeat the exchange".into()),
        false => Ok(()),
    }
}

#[test]
fn random_walks_of_a_fleet_leave_a_login_that_works() {
    let mut figures = Figures::default();
    for seed in (seed()..).take(300) {
        if walk(seed, false, &mut figures).is_err() {
            let problem = walk(seed, true, &mut figures).expect_err("a seed repeats a walk");
            panic!("{problem}\nrepeat it with BBTOKEN_TEST_SEED={seed}");
        }
    }
    assert_eq!(figures.walks, 300);
    let is_much = figures.jobs > 10_000 && figures.faults > 1_000 && figures.requests > 1_000;
    assert!(is_much && figures.excused < 50, "{figures:?}");
}
