//! The rows of the table over a connection of the keep-alive agent: the same as without an agent.

use super::{
    cells::Step,
    is_all,
    place::{Outcome, Place, Row},
    rows, show, table,
};
use crate::{
    agent::{Status, status, whole::Agent},
    support::gits,
};

/// By default, one of so many rows is tried.
const SAMPLE: usize = 3;
/// How often a busy machine may let a command be too early for the agent.
const ATTEMPTS: usize = 20;

fn place() -> Place {
    let mut place = Place::new(gits().remove(0));
    place.agent = Some(Agent::start(&place.world, "on"));
    place
}

/// Lets the agent keep a connection, and tells how often it has lent one that was open.
fn warm(place: &Place) -> u64 {
    let world = &place.world;
    world.bitbucket.clear_script();
    loop {
        if let Some(status) = state(place).filter(|status| status.kept > 0 && status.lent == 0) {
            return status.reused;
        }
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
    }
}

fn state(place: &Place) -> Option<Status> {
    status(place.world.bbtoken(["agent", "status", "--json"]))
}

fn over_a_lent_connection(place: &mut Place, row: &Row) -> Outcome {
    for _ in 0..ATTEMPTS {
        let before = warm(place);
        let outcome = place.row(row, true);
        if state(place).is_some_and(|status| status.reused > before) {
            return outcome;
        }
    }
    panic!("no command borrows: {:?}, {}", row.step, row.name);
}

/// Runs a row with and without the agent.
fn compared(place: &mut Place, row: &Row) -> String {
    place.setting = "bbtoken.agent=true";
    let lent = over_a_lent_connection(place, row);
    place.setting = "bbtoken.agent=false";
    let mut own = place.row(row, true);
    if row.name.contains("SlowLoris") {
        // How much of a slow response git has when the time is over, and so git's own words, depend on the machine.
        own.said.clone_from(&lent.said);
    }
    assert_eq!(lent, own, "{:?}, {}", row.step, row.name);
    format!(
        "{:<13} {:<36} {:>3} x{}",
        format!("{:?}", row.step),
        row.name,
        lent.code,
        lent.tries
    )
}

#[test]
fn each_fault_of_the_server_is_reported_alike_with_and_without_an_agent() {
    let (mut rows, _) = rows(&Place::new(gits().remove(0)));
    // Requests for tokens never go over a lent connection.
    rows.retain(|row| row.step != Step::Token);
    let sample = if is_all() { 1 } else { SAMPLE };
    let rows: Vec<_> = rows.into_iter().step_by(sample).collect();
    let count = rows.len();
    let lines = table(place, rows, compared);
    show(&lines);
    assert_eq!(lines.len(), count);
    assert!(count >= 60, "{count}");
}
