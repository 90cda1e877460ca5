//! Finds forgotten messages. Each message in the source has an expected text or an assertion, or is in
//! `expected/not-shown.txt` with the reason why no test shows it.

use std::{collections::BTreeSet, fs, path::Path};

/// What a message stands behind.
const HEADS: [&str; 12] = [
    "Failure::new(",
    "usage(",
    "misconfigured(",
    "unusable(",
    "refuse(",
    "anyhow!(",
    "bail!(",
    "context(",
    "no_git(",
    "change(",
    "let message =",
    "warn)(",
];
/// Shorter ones are names and words within a message.
const SHORTEST: usize = 8;
/// As much of a message, in an assertion, is that message.
const ENOUGH: usize = 15;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it is text")
}

/// Reads every file below a directory whose name ends so, but for unit tests that have a file of their own.
fn files(directory: &Path, ending: &str, into: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .expect("it is a directory")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, ending, into);
        } else if path.to_string_lossy().ends_with(ending) && !path.ends_with("tests.rs") {
            into.push(read(&path));
        }
    }
}

/// Takes tests and comments out of a source file, and joins texts that go over several lines.
fn code(source: &str) -> String {
    // Characters that are no parentheses and no quotes here.
    let source = ["'\"'", "'('", "')'", "'{'", "'}'", "'['", "']'"]
        .iter()
        .fold(source.to_owned(), |source, odd| source.replace(odd, "' '"));
    let source = source.split("\nmod tests {").next().unwrap_or("");
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    joined(&lines.collect::<Vec<_>>().join("\n"))
}

fn joined(source: &str) -> String {
    let mut parts = source.split("\\\n");
    let mut text = parts.next().unwrap_or("").to_owned();
    for part in parts {
        text.push_str(part.trim_start());
    }
    text
}

/// Gives the texts between the parentheses that are open at the start.
fn texts_within(code: &str, ends_with_statement: bool) -> Vec<&str> {
    let mut texts = Vec::new();
    let (mut depth, mut start, mut is_escaped) = (0, None, false);
    for (at, character) in code.char_indices() {
        match (start, character) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(begun), '"') => {
                texts.push(&code[begun..at]);
                start = None;
            }
            (Some(_), _) => {}
            (None, '"') => start = Some(at + 1),
            (None, '(' | '{' | '[') => depth += 1,
            (None, ')' | '}' | ']') if depth == 0 => break,
            (None, ')' | '}' | ']') => depth -= 1,
            (None, ';') if ends_with_statement && depth == 0 => break,
            (None, _) => {}
        }
    }
    texts
}

/// Finds the messages of a source file.
fn messages(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for head in HEADS {
        for (at, _) in code.match_indices(head) {
            let is_word = code[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            if head.starts_with(|c: char| c.is_ascii_lowercase()) && is_word {
                continue;
            }
            let inside = &code[at + head.len()..];
            let texts = texts_within(inside, head.starts_with("let"));
            let is_message = |text: &&&str| text.len() >= SHORTEST && text.contains(' ');
            found.extend(
                texts
                    .iter()
                    .filter(is_message)
                    .map(|text| (*text).to_owned()),
            );
        }
    }
    found
}

/// Tells whether a line holds all that stands between a message's placeholders, in this order.
fn shows(line: &str, message: &str) -> bool {
    let mut rest = line;
    let message = message.replace("\\\"", "\"");
    message.split('{').enumerate().all(|(index, part)| {
        let fixed = match index {
            0 => part,
            _ => part.split_once('}').map_or("", |(_, fixed)| fixed),
        };
        match rest.find(fixed) {
            Some(at) => {
                rest = &rest[at + fixed.len()..];
                true
            }
            None => false,
        }
    })
}

#[test]
fn every_message_has_an_expected_text_or_an_assertion() {
    let mut sources = Vec::new();
    files(&root().join("src"), ".rs", &mut sources);
    let mut shown = Vec::new();
    files(&root().join("tests/it/expected"), ".txt", &mut shown);
    let not_shown = read(&root().join("tests/it/expected/not-shown.txt"));
    shown.retain(|text| *text != not_shown);
    let reasons: BTreeSet<_> = not_shown
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let messages: BTreeSet<_> = sources
        .iter()
        .flat_map(|source| messages(&code(source)))
        .collect();
    assert!(messages.len() > 150, "they are found: {}", messages.len());
    let mut tests = Vec::new();
    for directory in ["tests/it", "tests/inside"] {
        files(&root().join(directory), ".rs", &mut tests);
    }
    let tests = joined(&tests.join("\n"));
    // Every second part of a line is a text, or the rest of the line is passed over.
    let asserted: BTreeSet<_> = tests
        .lines()
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| text.len() >= ENOUGH && text.contains(' '))
        .collect();
    let shown = shown.join("\n") + &tests;
    let is_shown = |message: &str| {
        asserted.iter().any(|text| message.contains(text))
            || shown.lines().any(|line| shows(line, message))
    };
    let forgotten: Vec<_> = messages
        .iter()
        .filter(|message| !reasons.contains(message.as_str()) && !is_shown(message))
        .collect();
    assert!(
        forgotten.is_empty(),
        "no test shows these messages: {forgotten:#?}"
    );
    let stale: Vec<_> = reasons
        .iter()
        .filter(|reason| !messages.contains(**reason) || is_shown(reason))
        .collect();
    assert!(
        stale.is_empty(),
        "these are gone or shown by now; take them out of not-shown.txt: {stale:#?}"
    );
}

#[test]
fn a_message_is_found_and_compared_by_what_is_fixed_in_it() {
    let code = code(
        "fn f() {\n    Failure::new(K, format!(\"no {} of \\\n        '{x}' here\", 1)) // \"not this one\"\n}\n",
    );
    let found: Vec<_> = messages(&code).into_iter().collect();
    assert_eq!(found, ["no {} of '{x}' here"]);
    assert!(shows("error: no key of 'work' here", &found[0]));
    assert!(!shows("error: no key of 'work' there", &found[0]));
}
