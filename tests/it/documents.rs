//! The documents: generates `docs/troubleshooting.md` from the expected texts, and checks links, subcommands and names.
//!
//! `UPDATE_EXPECT=1 cargo test --test it -- documents` writes the generated part of the page.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use expect_test::expect_file;

use crate::help::COMMANDS;

/// The part of the page above this line stays unchanged.
const MARK: &str = "<!-- Generated from tests/it/expected by tests/it/documents.rs. Change the messages, not this part. -->\n";

/// A part of the page: its heading, the expected texts in it, and the fix for a message that names none.
struct Topic {
    heading: &'static str,
    files: &'static [&'static str],
    fix: &'static str,
}

const TOPICS: [Topic; 10] = [
    Topic {
        heading: "Getting a token",
        files: &["errors-endpoint", "warnings-unreachable"],
        fix: "Wait. The command continues when the other process ends.",
    },
    Topic {
        heading: "Settings and variables",
        files: &["errors-settings", "warnings-verify"],
        fix: "Correct the setting or variable that the message names. `git bbtoken status --verbose` shows where each setting comes from.",
    },
    Topic {
        heading: "Keys, secrets and tokens in the wrong place",
        files: &["errors-secrets"],
        fix: "Compare the variables with the table in [Getting started](getting-started.md).",
    },
    Topic {
        heading: "Bitbucket or a proxy refuses the request",
        files: &["errors-refused"],
        fix: "Run `git bbtoken doctor <workspace>/<repository>`.",
    },
    Topic {
        heading: "A transfer ends early",
        files: &["errors-relayed"],
        fix: "Run the command again. The lines above the message show what git or the server reported.",
    },
    Topic {
        heading: "Logins and stores",
        files: &["errors-stored", "errors-touched", "warnings-login"],
        fix: "Log in again with `git bbtoken login <profile>`.",
    },
    Topic {
        heading: "A login that many machines share",
        files: &["errors-shared", "errors-shared-settings"],
        fix: "Correct what the message names, at the store or in the settings. Ask the person who runs the store for a policy or a role.",
    },
    Topic {
        heading: "Addresses, repositories and programs",
        files: &["errors-places"],
        fix: "Correct what the last line of the message names. Then run the command again.",
    },
    Topic {
        heading: "The command line of git bbtoken",
        files: &["errors-usage"],
        fix: "Run `git bbtoken help <subcommand>` to see the options.",
    },
    Topic {
        heading: "Warnings about the cache and the store",
        files: &["warnings-cache", "warnings-renewal"],
        fix: "The command has worked. Make the named file or directory writable, or remove it.",
    },
];

/// Fixes for messages that name none, by a part of the message that the system or another program wrote.
const ADVICE: [(&str, &str); 11] = [
    (
        "You may not have access to this repository",
        "Check the name of the repository, and that the client or token may read it.",
    ),
    (
        "'nonsense'",
        "Let git start the helper: `git clone bbtoken::workspace/repo`.",
    ),
    (
        "File exists (os error 17)",
        "Name a file that does not exist yet.",
    ),
    (
        "could not lock config file",
        "Another git command is writing this file. If no git command runs, remove the file that ends with `.lock`.",
    ),
    (
        "bad config line",
        "Correct this line of the file in an editor.",
    ),
    (
        "'remote-bbtoken' is not a git command",
        "Put the directory of `git-remote-bbtoken` on your `PATH`. See [Install](install.md).",
    ),
    (
        "absolute directory of PATH",
        "Install the program, or add its directory to `PATH` as an absolute path.",
    ),
    (
        "'/no/such/program'",
        "Check the name of the command behind `--`, and that you may run it.",
    ),
    (
        "under maintenance",
        "The server gave this reason. Try again later.",
    ),
    (
        "write manual pages",
        "Name a directory in which you may write.",
    ),
    (
        "no refresh token",
        "This login works for two hours at most. Then log in again.",
    ),
];

/// A fix inside a message follows `;` or `:` and begins with one of these.
const IMPERATIVES: [&str; 19] = [
    "add", "change", "check", "choose", "compare", "correct", "fix", "give", "install", "log",
    "make", "name", "put", "remove", "run", "save", "set", "unset", "use",
];

/// A message as the page shows it: the lines to recognize it by, and what to do.
struct Message {
    heading: String,
    shown: String,
    fix: String,
}

/// Messages with one heading: groups of texts with one fix.
struct Section {
    topic: usize,
    heading: String,
    groups: Vec<(String, Vec<String>)>,
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_of_errors_is_made_from_the_expected_texts() {
    let page = read(&top().join("docs/troubleshooting.md"));
    let (kept, _) = page.split_once(MARK).expect("the page has the mark");
    let generated = generated();
    let headings = generated.lines().filter(|line| line.starts_with("### "));
    let count = headings.count();
    assert!(count >= 60, "the messages were found: {count}");
    let updates = std::env::var_os("UPDATE_EXPECT").is_some() && std::env::var_os("CI").is_some();
    assert!(!updates, "CI never writes a document");
    expect_file!["../../docs/troubleshooting.md"].assert_eq(&format!("{kept}{MARK}{generated}"));
}

#[test]
fn every_file_of_messages_is_on_the_page_of_errors() {
    let on_page: BTreeSet<_> = TOPICS
        .iter()
        .flat_map(|topic| topic.files)
        .copied()
        .collect();
    let files = fs::read_dir(top().join("tests/it/expected")).expect("the texts are there");
    let files: BTreeSet<_> = files
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with("errors-") || name.starts_with("warnings-"))
        .collect();
    assert!(files.iter().map(String::as_str).eq(on_page), "{files:?}");
}

fn generated() -> String {
    let mut sections = Vec::new();
    let mut unused: Vec<_> = ADVICE.iter().map(|(part, _)| *part).collect();
    for (index, topic) in TOPICS.iter().enumerate() {
        for file in topic.files {
            let text = read(&top().join(format!("tests/it/expected/{file}.txt")));
            for message in messages(&text, topic.fix, &mut unused) {
                place(&mut sections, index, message);
            }
        }
    }
    assert!(
        unused.is_empty(),
        "no message needs this advice: {unused:?}"
    );
    let mut page = String::new();
    for (index, topic) in TOPICS.iter().enumerate() {
        writeln!(page, "\n## {}", topic.heading).expect("a string takes all");
        for section in sections
            .iter()
            .filter(|section: &&Section| section.topic == index)
        {
            writeln!(page, "\n### `{}`", section.heading).expect("a string takes all");
            for (fix, texts) in &section.groups {
                let texts = texts.join("\n\n");
                write!(page, "\n```text\n{texts}\n```\n\n{fix}\n").expect("a string takes all");
            }
        }
    }
    page
}

fn place(sections: &mut Vec<Section>, topic: usize, message: Message) {
    let index = sections
        .iter()
        .position(|section| section.heading == message.heading)
        .unwrap_or_else(|| {
            sections.push(Section {
                topic,
                heading: message.heading.clone(),
                groups: Vec::new(),
            });
            sections.len() - 1
        });
    let groups = &mut sections[index].groups;
    match groups.iter_mut().find(|(fix, _)| *fix == message.fix) {
        Some((_, texts)) if texts.contains(&message.shown) => {}
        Some((_, texts)) => texts.push(message.shown),
        None => groups.push((message.fix, vec![message.shown])),
    }
}

/// The messages of one expected text: each begins with `error:` or `warning:` and may have `remote:` lines above it.
fn messages(text: &str, usual_fix: &str, unused: &mut Vec<&'static str>) -> Vec<Message> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut before = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("! ") else {
            open = false;
            before.clear();
            continue;
        };
        let line = named(line);
        let is_first = line.starts_with("error: ") || line.starts_with("warning: ");
        if is_first && !line.starts_with("error: failed to push some refs") {
            let mut block = std::mem::take(&mut before);
            block.push(line);
            blocks.push(block);
            open = true;
        } else if line.starts_with("remote: ") {
            before.push(line);
        } else if open
            && ["caused by: ", "hint: ", "  tip: ", "  <", "  ["]
                .iter()
                .any(|start| line.starts_with(start))
        {
            blocks.last_mut().expect("a message is open").push(line);
        } else if !line.is_empty() {
            open = false;
        }
    }
    let made = blocks.iter().map(|block| message(block, usual_fix, unused));
    made.collect()
}

fn message(block: &[String], usual_fix: &str, unused: &mut Vec<&'static str>) -> Message {
    let is_fix =
        |line: &&String| line.starts_with("hint: ") || line.trim_start().starts_with("tip: ");
    let shown: Vec<_> = block.iter().filter(|line| !is_fix(line)).cloned().collect();
    let shown = shown.join("\n");
    let first = block.iter().find(|line| !line.starts_with("remote: "));
    let (_, first) = first
        .and_then(|line| line.split_once(": "))
        .expect("a message has a first line");
    let (_, last) = shown.rsplit_once('\n').unwrap_or(("", first));
    let mut fixes = Vec::new();
    let inside = [fix_inside(first), fix_inside(last)];
    if let Some((_, fix)) = inside.into_iter().flatten().next() {
        fixes.push(sentence(fix));
    }
    for line in block.iter().filter(is_fix) {
        let (_, fix) = line.split_once(": ").expect("a hint has a colon");
        fixes.push(sentence(fix));
    }
    if fixes.is_empty() {
        let advice = ADVICE.iter().find(|(part, _)| shown.contains(part));
        unused.retain(|part| advice.is_none_or(|(used, _)| used != part));
        fixes.push(advice.map_or(usual_fix, |(_, fix)| fix).to_owned());
    }
    let heading = fix_inside(first).map_or(first, |(head, _)| head);
    let ends = ["; ", ": cannot ", " (looked in "];
    let heading = ends.iter().fold(heading, |heading, end| {
        heading.split(end).next().unwrap_or(heading)
    });
    Message {
        heading: heading.trim_end_matches(':').to_owned(),
        shown,
        fix: format!("**Fix:** {}", fixes.join(" ")),
    }
}

/// Splits a message in front of an instruction.
fn fix_inside(message: &str) -> Option<(&str, &str)> {
    let starts = message.match_indices([';', ':']).map(|(index, _)| index);
    starts
        .filter_map(|index| Some((&message[..index], message[index + 1..].strip_prefix(' ')?)))
        .find(|(_, rest)| {
            let word = rest.split(|c: char| !c.is_ascii_lowercase()).next();
            // "; to use it, run …" is an instruction as well.
            word.is_some_and(|word| IMPERATIVES.contains(&word) || word == "to")
        })
}

/// Makes a hint a sentence of the page: quoted commands become code, and nothing else looks like HTML.
fn sentence(hint: &str) -> String {
    let hint = hint.split(": cannot ").next().unwrap_or(hint);
    let is_name = hint.starts_with("bbtoken.") || hint.starts_with("http.");
    let mut text = String::new();
    for (index, part) in hint.split("'git ").enumerate() {
        let (command, rest) = if index == 0 {
            ("", part)
        } else {
            part.split_once('\'').unwrap_or((part, ""))
        };
        if index > 0 {
            write!(text, "`git {command}`").expect("a string takes all");
        }
        text.push_str(&rest.replace('<', "\\<").replace('*', "\\*"));
    }
    if !is_name && let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let stop = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{text}{stop}")
}

/// Puts names that a user knows in the place of those of the tests.
fn named(line: &str) -> String {
    let mut line = line.to_owned();
    for (from, to) in [
        ("https://BITBUCKET", "https://bitbucket.org"),
        ("'localhost'", "'bitbucket.org'"),
        ("'KEY'", "'<key>'"),
        ("/WORLD/home/.gitconfig", "~/.gitconfig"),
        ("/WORLD/gitconfig", "~/.gitconfig"),
        ("/WORLD/home/", "~/"),
        ("/WORLD/tree/", ""),
        ("/WORLD/", "/path/to/"),
        ("FILE.UNIQUE", "<file>"),
        ("/FILE", "/<file>"),
        ("PORT", "<port>"),
        ("/PROGRAMS/", "/path/to/"),
        (
            "the profiles are: work",
            "use one of the profiles that the hint lists",
        ),
        (
            "the profiles are: a",
            "use one of the profiles that the hint lists",
        ),
        ("'locked'", "'<file>'"),
        ("ws/", "workspace/"),
        ("'ws'", "'workspace'"),
        ("evil.example", "git.example"),
    ] {
        line = line.replace(from, to);
    }
    for profile in [
        "environment",
        "a",
        "me",
        "bot",
        "ci",
        "work",
        "wrok",
        "nobody",
    ] {
        for (before, after) in [
            ("profile '", "'"),
            ("bbtoken.", "."),
            ("bbtoken login ", "'"),
        ] {
            let name = format!("{before}{profile}{after}");
            line = line.replace(&name, &format!("{before}<profile>{after}"));
        }
    }
    line
}

/// Every document, with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for directory in ["", "docs", "docs/ci"] {
        let entries = fs::read_dir(top().join(directory)).expect("the directory is there");
        let paths = entries.flatten().map(|entry| entry.path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(found.len() >= 13, "the documents were found: {found:?}");
    let texts = found.into_iter().map(|path| {
        let text = read(&path);
        (path, text)
    });
    texts.collect()
}

/// The anchor that sites make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

/// Prose without blocks of code.
fn prose(text: &str) -> String {
    let parts = text.split("```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readme_has_at_most_130_lines() {
    let lines = read(&top().join("README.md")).lines().count();
    assert!(lines <= 130, "{lines} lines");
}

#[test]
fn every_entry_of_the_changelog_has_one_line() {
    let text = read(&top().join("CHANGELOG.md"));
    let versions = text.lines().skip_while(|line| !line.starts_with("## ["));
    let mut count = 0;
    for line in versions.filter(|line| !line.is_empty()) {
        let is_entry = line.starts_with("- ");
        assert!(
            is_entry || line.starts_with('#'),
            "an entry goes on: {line}"
        );
        let columns = line.chars().count();
        assert!(columns <= 120, "{columns} columns: {line}");
        count += usize::from(is_entry);
    }
    assert!(count >= 100, "the entries were found: {count}");
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    for (path, text) in documents() {
        for link in prose(&text)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let directory = path.parent().expect("a file has a directory");
            let target = if file.is_empty() {
                path.clone()
            } else {
                directory.join(file)
            };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !heading.is_empty() {
                let target = prose(&read(&target));
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#')) == heading),
                    "{}: {link} has no such heading",
                    path.display()
                );
            }
            count += 1;
        }
    }
    assert!(count >= 40, "the links were found: {count}");
}

#[test]
fn every_subcommand_in_the_documents_exists() {
    let mut count = 0;
    for (path, text) in documents() {
        // Expected errors show mistyped subcommands on purpose.
        let text = text.split(MARK).next().unwrap_or(&text);
        for rest in text.split("git bbtoken ").skip(1) {
            let end = |c: char| !c.is_ascii_lowercase();
            let word = rest.split(end).next().unwrap_or("");
            assert!(
                word.is_empty() || COMMANDS.contains(&word),
                "{}: there is no 'git bbtoken {word}'",
                path.display()
            );
            count += usize::from(!word.is_empty());
        }
    }
    assert!(count >= 60, "the subcommands were found: {count}");
}

#[test]
fn every_variable_in_the_documents_is_in_the_reference() {
    let reference = read(&top().join("docs/reference.md"));
    let known: BTreeSet<_> = variables(&reference).collect();
    assert!(known.len() >= 12, "the variables were found: {known:?}");
    // Those of a packager are read when the programs are built.
    let entry = read(&top().join("src/bin/git-bbtoken.rs"));
    let known = &known | &variables(&entry).collect();
    for (path, text) in documents() {
        for variable in variables(&text) {
            // A pattern such as BBTOKEN_* names no variable.
            let is_known =
                known.contains(variable) || variable.ends_with('_') || variable.contains("_TEST_");
            assert!(is_known, "{}: {variable}", path.display());
        }
    }
}

fn variables(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.starts_with("BBTOKEN_"))
}

#[test]
fn each_message_of_an_outage_on_the_page_of_fleets_is_one_of_the_programs() {
    let page = read(&top().join("docs/fleet.md"));
    let section = page.split("## When the store is down").nth(1);
    let section = section.expect("the page has the section");
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let sources = crate::inspect::files(&top().join("src"));
    let sources: Vec<_> = sources
        .into_values()
        .map(|text| String::from_utf8(text).expect("a source is text"))
        .collect();
    let mut count = 0;
    for row in rows {
        let said = row.trim_end_matches('|').rsplit('|').next();
        let said = said.unwrap_or_default().split('`').skip(1).step_by(2);
        // Names and numbers stand in the place of what differs.
        let part = |c: char| c.is_ascii_digit() || "…',".contains(c);
        for part in said.flat_map(|text| text.split(part)) {
            let part = part.trim();
            if part.len() >= 10 {
                let is_there = sources.iter().any(|source| source.contains(part));
                assert!(is_there, "no message has '{part}'");
                count += 1;
            }
        }
    }
    assert!(count >= 10, "the messages were found: {count}");
}
