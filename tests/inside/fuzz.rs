//! Fuzzing on stable Rust: gives mutated inputs to each parser of untrusted text.
//!
//! A target is a test beside its parser: stored inputs, and a property that holds for every input. The random numbers
//! are seeded, so that case 4711 of a seed is the same everywhere. An input that found a bug joins the stored ones.
//! `BBTOKEN_FUZZ_CASES` makes a run longer, and `BBTOKEN_TEST_SEED` gives other cases. Coverage does not guide the
//! fuzzing, because that needs unsafe code: libFuzzer's driver instead of [`run`], and the compiler's
//! `-Cpasses=sancov-module` (LLVM's documentation, "SanitizerCoverage").

use std::{
    env,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::chance::{Chance, seed};

/// The number of mutations in an ordinary run: less than a second for the slowest target.
const CASES: u64 = 5_000;
/// The cost of a case that writes files, in other cases.
const DISK_COST: u64 = 50;
/// The most changes of one mutation.
const MAX_CHANGES: u64 = 8;
/// No input grows longer.
const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Inputs that have broken parsers before: the limits of numbers, line ends, ends of texts, and unusual characters.
const TOKENS: [&[u8]; 32] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b" ",
    b"\x1b[31m",
    b"\x7f",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"..",
    b"/",
    b"//",
    b"\\",
    b"\"",
    b"'",
    b"@",
    b":",
    b"=",
    b"%00",
    b"%",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"ffff",
    b"[[[[[[[[",
    b"null",
];

impl Chance {
    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }
}

/// Checks a property with the stored inputs and their mutations.
pub(crate) fn check(kept: &[&[u8]], property: impl Fn(&[u8])) {
    run(cases(), kept, property);
}

/// As [`check`], for properties that need files.
pub(crate) fn check_on_disk(kept: &[&[u8]], property: impl Fn(&[u8])) {
    run(cases() / DISK_COST, kept, property);
}

fn cases() -> u64 {
    let wanted = env::var("BBTOKEN_FUZZ_CASES").ok();
    wanted.map_or(CASES, |cases| {
        cases.parse().expect("BBTOKEN_FUZZ_CASES is a number")
    })
}

fn run(cases: u64, kept: &[&[u8]], property: impl Fn(&[u8])) {
    let seed = seed();
    let one = |case: u64, input: &[u8]| {
        let outcome = catch_unwind(AssertUnwindSafe(|| property(input)));
        assert!(
            outcome.is_ok(),
            "case {case} with BBTOKEN_TEST_SEED={seed}: b\"{}\"",
            input.escape_ascii()
        );
    };
    for input in kept {
        one(0, input);
    }
    for case in 1..=cases {
        // A case depends only on its number and the seed. Runs are too short for two seeds to share a case. The
        // multiplier spreads small numbers.
        let number = (seed << 40) + case;
        let mut chance = Chance(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        one(case, &mutation(kept, &mut chance));
    }
}

/// As [`check`], for parsers that only get valid text.
pub(crate) fn check_text(kept: &[&str], property: impl Fn(&str)) {
    let kept: Vec<_> = kept.iter().map(|text| text.as_bytes()).collect();
    check(&kept, |input| property(&String::from_utf8_lossy(input)));
}

/// Expects a text that is safe for a terminal, as every error must be.
#[track_caller]
pub(crate) fn expect_printable(text: &str) {
    assert!(
        !text.contains(crate::failure::is_harmful),
        "it would act on the terminal: {text:?}"
    );
}

fn mutation(kept: &[&[u8]], chance: &mut Chance) -> Vec<u8> {
    let mut input = chance.one_of(kept).to_vec();
    for _ in 0..=chance.below(MAX_CHANGES as usize) {
        change(&mut input, kept, chance);
        input.truncate(MAX_INPUT_BYTES);
    }
    input
}

fn change(input: &mut Vec<u8>, kept: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let range = chance.range(input.len());
    match chance.below(9) {
        0 => input.truncate(at),
        1 => drop(input.drain(range)),
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        3 => input.insert(at, chance.below(256) as u8),
        4 => drop(input.splice(at..at, input[range].to_vec())),
        5 => drop(input.splice(range, chance.one_of(&TOKENS).iter().copied())),
        6 => drop(input.splice(at..at, chance.one_of(&TOKENS).iter().copied())),
        7 => {
            let other = chance.one_of(kept);
            let piece = other[chance.range(other.len())].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let byte = input.get(at).copied().unwrap_or(b'[');
            let count = 1 << chance.below(13);
            input.splice(at..at, std::iter::repeat_n(byte, count));
        }
    }
}

#[test]
fn a_case_is_the_same_each_time_and_cases_differ() {
    let inputs = |kept: &[&[u8]]| {
        let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
        check(kept, |input| {
            seen.borrow_mut().insert(input.to_vec());
        });
        seen.into_inner()
    };
    let kept: [&[u8]; 2] = [b"some=thing", b"[1,2]"];
    let once = inputs(&kept);
    assert!(once.len() > 800, "{}", once.len());
    assert_eq!(once, inputs(&kept));
}

#[test]
#[should_panic(expected = "case ")]
fn an_input_that_breaks_the_property_is_reported() {
    check(&[b"abc"], |input| assert!(!input.contains(&0xff)));
}
