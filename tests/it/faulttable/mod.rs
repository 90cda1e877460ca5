//! The fault table: each fault at each place of an exchange, for every kind of request, compared with plain git's
//! https.
//!
//! `cargo test --test it -- faulttable --nocapture` prints it. `BBTOKEN_TEST_FAULTS=all` runs every fault at every
//! place. Without it, only truncated responses run at every place.

mod cells;
#[cfg(target_os = "linux")]
mod lent;
mod place;
mod ports;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use bitbucket_local::Action;

use self::{
    cells::{FAULTS, Fault, PHASES, Phase, STEPS, STRICTER, Step, Variant, variants},
    place::{Place, Row},
};
use crate::support::gits;

/// So many worlds share the rows: most of them wait most of the time.
const WORLDS: usize = 8;

/// Tells whether every fault is to be tried at every place.
fn is_all() -> bool {
    std::env::var("BBTOKEN_TEST_FAULTS").is_ok_and(|which| which == "all")
}

/// Gives every row of the table, and for each cell that has none why.
fn rows(place: &Place) -> (Vec<Row>, Vec<String>) {
    let is_all = is_all();
    let (mut rows, mut reasons) = (Vec::new(), Vec::new());
    for step in STEPS {
        for (number, fault) in FAULTS.into_iter().enumerate() {
            for phase in PHASES {
                let variants = match variants(fault, phase, step) {
                    Ok(variants) => variants,
                    Err(why) => {
                        reasons.push(format!("{fault:?} {phase:?} {step:?}: {why}"));
                        continue;
                    }
                };
                let places = place.places(step, phase).len();
                let is_everywhere = is_all || matches!(fault, Fault::Cut | Fault::WrongLength);
                for variant in variants {
                    let chosen = number % places;
                    let all = (0..places).filter(|at| is_everywhere || *at == chosen);
                    rows.extend(all.map(|at| row(fault, phase, step, at, variant)));
                }
            }
        }
    }
    (rows, reasons)
}

fn row(fault: Fault, phase: Phase, step: Step, at: usize, variant: Variant) -> Row {
    let mut name = format!("{fault:?} {phase:?}");
    if phase != Phase::Head {
        name.push_str(&format!(" {at}"));
    }
    if !variant.name.is_empty() {
        name.push_str(&format!(" ({})", variant.name));
    }
    Row {
        step,
        phase,
        at,
        name,
        variant,
    }
}

#[expect(clippy::print_stdout, reason = "the table is there to be read")]
fn show(lines: &[String]) {
    println!("{}", lines.join("\n"));
}

/// Runs rows in a few worlds at once and gives the lines of the table.
fn table(
    make: impl Fn() -> Place + Sync,
    rows: Vec<Row>,
    compared: fn(&mut Place, &Row) -> String,
) -> Vec<String> {
    let rows = Mutex::new(rows.into_iter());
    let lines = Mutex::new(Vec::new());
    let next = || rows.lock().expect("no row panics here").next();
    thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                let mut place = make();
                while let Some(row) = next() {
                    let compared = catch_unwind(AssertUnwindSafe(|| compared(&mut place, &row)));
                    let line = compared.map_err(|_| format!("{:?}: {}", row.step, row.name));
                    lines.lock().expect("no row panics here").push(line);
                }
            });
        }
    });
    let mut lines: Vec<Result<_, _>> = lines.into_inner().expect("no row panicked here");
    let failed: Vec<_> = lines
        .extract_if(.., |line| line.is_err())
        .flat_map(Result::err)
        .collect();
    assert!(
        failed.is_empty(),
        "each of these rows has said why: {failed:#?}"
    );
    let mut lines: Vec<_> = lines.into_iter().flatten().collect();
    lines.sort();
    lines
}

/// Runs one row for us and for plain git; we fail only where git does, unless it is about a token, which git has none of.
fn compared(place: &mut Place, row: &Row) -> String {
    let ours = place.row(row, true);
    let gits = (row.step != Step::Token).then(|| place.row(row, false));
    if let Some(gits) = &gits {
        assert!(
            ours.code == 0 || gits.code != 0 || row.variant.name == STRICTER,
            "never worse: {:?}, {}: {}",
            row.step,
            row.name,
            ours.cause
        );
    }
    let beside = gits.map_or(String::new(), |gits| {
        format!("git {:>3} x{}  {}", gits.code, gits.tries, gits.cause)
    });
    format!(
        "{:<13} {:<36} {:>3} x{}  {:<64} {beside}",
        format!("{:?}", row.step),
        row.name,
        ours.code,
        ours.tries,
        ours.cause
    )
}

#[test]
fn every_fault_at_every_place_is_reported_and_leaves_nothing_behind() {
    let (rows, reasons) = rows(&Place::new(gits().remove(0)));
    let count = rows.len();
    let lines = table(|| Place::new(gits().remove(0)), rows, compared);
    show(&lines);
    show(&reasons);
    assert_eq!(lines.len(), count);
    assert!(count >= 200, "{count}");
}

#[test]
fn bytes_after_a_complete_response_are_ignored() {
    let mut place = Place::new(gits().remove(0));
    let variants =
        [Fault::Garbage, Fault::Endless].map(|fault| variants(fault, Phase::End, Step::Fetch));
    for variant in variants.into_iter().flatten().flatten() {
        let good = Variant {
            causes: &[],
            ..variant
        };
        for step in STEPS.into_iter().filter(|step| *step != Step::Token) {
            compared(&mut place, &row(Fault::Endless, Phase::End, step, 0, good));
        }
    }
}

#[test]
fn an_answer_in_gzip_is_as_good_as_any() {
    let mut place = Place::new(gits().remove(0));
    for step in STEPS {
        let good = Variant {
            name: "",
            action: |_, _| Action::Gzip { percent: 100 },
            causes: &[],
        };
        compared(
            &mut place,
            &row(Fault::TruncatedGzip, Phase::Head, step, 0, good),
        );
    }
}

#[test]
fn an_answer_to_a_push_that_never_ends_is_left_and_called_unknown() {
    let mut place = Place::new(gits().remove(0));
    let variant = Variant {
        name: "",
        action: |_, after| Action::Endless {
            after,
            text: [b"fff0\x02".as_slice(), &[b'a'; 0xfff0 - 6], b"\n"].concat(),
        },
        causes: &["caused by: it is longer than 64 MiB, so the helper stopped reading\n"],
    };
    place.row(
        &row(Fault::Endless, Phase::Head, Step::Push, 0, variant),
        true,
    );
}

#[test]
fn every_cell_without_a_row_is_an_impossible_combination() {
    let (rows, reasons) = rows(&Place::new(gits().remove(0)));
    let is_run = |fault: Fault, phase: Phase, step: Step| {
        let name = format!("{fault:?} {phase:?}");
        rows.iter()
            .any(|row| row.step == step && row.name.starts_with(&name))
    };
    let mut run = 0;
    for (fault, phase, step) in cells() {
        run += usize::from(is_run(fault, phase, step));
    }
    assert_eq!(run + reasons.len(), cells().count());
    // The body in the head, the head in the body, and the boundaries that there are not.
    assert_eq!((run, reasons.len()), (132, 48), "{reasons:#?}");
}

fn cells() -> impl Iterator<Item = (Fault, Phase, Step)> {
    let steps = |fault, phase| STEPS.into_iter().map(move |step| (fault, phase, step));
    let phases = move |fault| {
        PHASES
            .into_iter()
            .flat_map(move |phase| steps(fault, phase))
    };
    FAULTS.into_iter().flat_map(phases)
}

#[test]
fn a_sample_of_the_faults_is_reported_with_the_other_gits_too() {
    for git in &gits()[1..] {
        let (rows, _) = rows(&Place::new(git.clone()));
        let rows = rows.into_iter().step_by(17).collect();
        let lines = table(|| Place::new(git.clone()), rows, compared);
        show(&lines);
        assert!(lines.len() >= 10);
    }
}

/// Runs a push whose answer is dealt with in such a way.
fn lost_push(place: &mut Place, name: String, at: usize, action: fn(Step, u64) -> Action) {
    let row = Row {
        step: Step::Push,
        phase: Phase::Inside,
        at,
        name,
        variant: Variant {
            name: "",
            action,
            causes: &["the server may or may not have done the push"],
        },
    };
    assert_ne!(place.row(&row, true).code, 0);
}

#[test]
fn a_push_with_a_lost_report_is_reported_as_unknown() {
    let mut place = Place::new(gits().remove(0));
    lost_push(&mut place, "all of it".into(), 0, |_, _| Action::AnswerLost);
    let places = place.places(Step::Push, Phase::Inside).len();
    for at in 0..places {
        lost_push(&mut place, format!("cut {at}"), at, |_, at| {
            Action::CutAfter(at)
        });
        lost_push(&mut place, format!("end {at}"), at, |_, at| {
            Action::Truncate(at)
        });
    }
    assert!(places >= 3, "{places}");
}
