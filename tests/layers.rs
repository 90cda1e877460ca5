//! Which module may use which. Reads `src/` and fails on a forbidden import.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

#[path = "layers/circles.rs"]
mod circles;

/// Who may use whom; the leaves below may be used by all.
const RULES: [(&str, &[&str]); 36] = [
    ("failure", &[]),
    ("secret", &[]),
    ("trace", &[]),
    ("clock", &[]),
    ("files", &[]),
    ("signals", &[]),
    ("address", &[]),
    ("parent_watch", &[]),
    ("dumps", &[]),
    ("pasted", &[]),
    ("program", &[]),
    ("limits", &[]),
    ("suggestion", &[]),
    ("url", &[]),
    ("variables", &[]),
    ("waiting", &[]),
    ("wrapping", &[]),
    ("git", &[]),
    ("http", &["files"]),
    ("agent", &["files", "http"]),
    ("oauth", &["http", "clock"]),
    ("site", &["address"]),
    ("profile", &["address", "site"]),
    (
        "git_config",
        &["profile", "address", "http", "files", "pasted"],
    ),
    ("lfs", &["git_config", "files", "signals"]),
    (
        "token",
        &["oauth", "profile", "http", "clock", "files", "pasted"],
    ),
    ("transport", &["http", "parent_watch", "clock", "site"]),
    (
        "app",
        &[
            "address",
            "agent",
            "clock",
            "files",
            "git",
            "git_config",
            "http",
            "lfs",
            "oauth",
            "parent_watch",
            "profile",
            "report",
            "site",
            "token",
            "transport",
        ],
    ),
    (
        "helper",
        &[
            "address",
            "app",
            "dumps",
            "git_config",
            "http",
            "lfs",
            "parent_watch",
            "profile",
            "report",
            "transport",
        ],
    ),
    ("setup", &["app", "git", "git_config", "profile"]),
    (
        "doctor",
        &[
            "agent",
            "app",
            "clock",
            "files",
            "git",
            "git_config",
            "http",
            "profile",
            "report",
            "setup",
            "site",
            "token",
        ],
    ),
    (
        "cli",
        &[
            "address",
            "agent",
            "app",
            "clock",
            "doctor",
            "dumps",
            "files",
            "git",
            "git_config",
            "lfs",
            "oauth",
            "pasted",
            "profile",
            "report",
            "setup",
            "site",
            "token",
        ],
    ),
    ("report", &["git_config"]),
    ("lib", &["cli", "helper", "profile"]),
    ("bin/git-remote-bbtoken", &["git_remote_bbtoken"]),
    ("bin/git-bbtoken", &["git_bbtoken"]),
];
/// `inside` is below `tests`, and in no program.
const LEAVES: [&str; 11] = [
    "failure",
    "secret",
    "trace",
    "program",
    "limits",
    "inside",
    "suggestion",
    "url",
    "variables",
    "waiting",
    "wrapping",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Reads all files below `src`.
fn files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("src is readable");
        (path, text)
    };
    files.into_iter().map(read).collect()
}

/// Reads the files below `src` that are not whole files of tests.
fn files_of_code() -> Vec<(PathBuf, String)> {
    let mut files = files();
    files.retain(|(path, _)| !path.ends_with("tests.rs"));
    files
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module a file belongs to: the first directory or file below `src`, a program by its whole path.
fn module_of(path: &Path) -> String {
    let relative = path
        .strip_prefix(source())
        .expect("it was found below src")
        .with_extension("");
    let relative = relative.to_string_lossy().replace('\\', "/");
    if relative.starts_with("bin/") {
        return relative;
    }
    relative.split('/').next().unwrap_or("").to_owned()
}

/// The modules of this crate that a file names behind a prefix (`crate::` or `bbtoken::`), also in groups.
fn used_modules(text: &str, prefix: &str) -> BTreeSet<String> {
    let code: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices(prefix) {
        let line = code[..start].rsplit('\n').next().unwrap_or("");
        let in_text = line.matches('"').count() % 2 == 1;
        if in_text || line.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[start + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(top_level_names(group)),
            None => used.extend(first_name(rest)),
        }
    }
    used
}

fn first_name(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first names of a `{a::b, c::{d, e}}` group whose opening brace is cut off.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(first_name(std::mem::take(&mut item).trim())),
            _ => {}
        }
        if depth == 0 && character != ',' {
            item.push(character);
        }
    }
    names.extend(first_name(item.trim()));
    names
}

#[test]
fn no_module_uses_one_it_must_not_know() {
    let rules: BTreeMap<_, _> = RULES.into_iter().collect();
    let mut seen = BTreeSet::new();
    for (path, text) in files() {
        let module = module_of(&path);
        let allowed = rules
            .get(module.as_str())
            .unwrap_or_else(|| panic!("module '{module}' has no rule"));
        let prefix = if module.starts_with("bin/") {
            "bbtoken::"
        } else {
            "crate::"
        };
        for used in used_modules(&text, prefix) {
            let fine = used == module
                || LEAVES.contains(&used.as_str())
                || allowed.contains(&used.as_str());
            assert!(fine, "{} must not use '{used}'", path.display());
        }
        seen.insert(module);
    }
    let without_file: Vec<_> = rules.keys().filter(|name| !seen.contains(**name)).collect();
    assert!(
        without_file.is_empty(),
        "rules for modules that are not there: {without_file:?}"
    );
}

/// The module path of a file, without the `mod` or `lib` at its end.
fn module_path(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(source()).expect("it was found below src");
    let relative = relative.with_extension("");
    let parts = relative
        .iter()
        .map(|part| part.to_string_lossy().into_owned());
    parts
        .filter(|part| part != "mod" && part != "lib")
        .collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut files = files_of_code();
    files.retain(|(path, _)| !path.starts_with(source().join("bin")));
    let texts = files
        .into_iter()
        .map(|(path, text)| (module_path(&path), text));
    let circles = circles::Crate::new(texts).circles();
    assert!(
        circles.is_empty(),
        "move what they share into a file of its own: {circles:#?}"
    );
}

/// Gives the circles between files of one room.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| {
        let path = path.split("::").map(str::to_owned);
        (path.collect(), (*text).to_owned())
    });
    circles::Crate::new(files).circles()
}

#[test]
fn a_circle_of_imports_is_found() {
    let beside = circles_of(&[
        ("room", "mod a;\nmod b;\nmod c;"),
        (
            "room::a",
            "use super::{b::{self, X}, c};\nfn f() { b::g() }",
        ),
        ("room::b", "fn g() -> char { crate::room::c::h('\"') }"),
        (
            "room::c",
            "use crate::room::a::f as start;\nfn h<'x>() { start() }",
        ),
    ]);
    let expected = [
        "room::a -> room::b",
        "room::b -> room::c",
        "room::c -> room::a",
    ];
    assert_eq!(beside, expected);
    let through_a_name_of_the_room = circles_of(&[
        ("room", "mod a;\nmod b;\npub use a::X;"),
        ("room::a", "use super::b::Y;\nstruct X(Y);"),
        ("room::b", "use super::*;\nfn f(_: super::X) {}"),
    ]);
    assert_eq!(through_a_name_of_the_room.len(), 2);
    let with_the_room = circles_of(&[
        ("room", "mod a;\nfn f() { a::g() }"),
        ("room::a", "use super::f;\nfn g() { f() }"),
    ]);
    assert_eq!(with_the_room, ["room -> room::a", "room::a -> room"]);
}

#[test]
fn imports_in_one_direction_are_no_circle() {
    let found = circles_of(&[
        ("room", "mod a;\nmod b;\npub use b::h;\nfn f() { a::g() }"),
        (
            "room::a",
            "use super::h as start;\nuse super::b;\nfn g() { start(); b::h() }",
        ),
        (
            "room::b",
            "// super::a::g()\nfn h() { \"super::a::g()\"; r#\"super::a::g()\"#; }\n\
             #[cfg(test)]\nmod tests {\n use super::super::a::g; fn t() { g() }\n}",
        ),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn only_report_and_trace_write_to_stderr() {
    for (path, text) in files() {
        let writes = ["stderr()", "eprint", "println!", "print!("]
            .iter()
            .any(|word| text.contains(word));
        let allowed = ["report", "trace"].contains(&module_of(&path).as_str());
        assert!(
            allowed || !writes,
            "{} writes to a terminal",
            path.display()
        );
    }
}

/// Everything else is `pub(crate)` or less, so that the compiler finds code without a user.
#[test]
fn only_the_two_entry_points_are_public() {
    let mut public = Vec::new();
    let programs = source().join("bin");
    for (path, text) in files()
        .iter()
        .filter(|(path, _)| !path.starts_with(&programs))
    {
        let lines = text.lines().map(str::trim_start);
        let of_file = lines.filter(|line| line.starts_with("pub "));
        public.extend(of_file.map(|line| format!("{}: {line}", path.display())));
    }
    let names: Vec<_> = public
        .iter()
        .filter_map(|line| line.split_once("lib.rs: pub fn ")?.1.split('(').next())
        .collect();
    assert_eq!(names, ["git_remote_bbtoken", "git_bbtoken"]);
    assert_eq!(public.len(), 2, "{public:#?}");
}

/// The code of a file in front of its tests.
fn code_of(text: &str) -> &str {
    let tests = text.find("mod tests {").unwrap_or(text.len());
    &text[..tests]
}

#[test]
fn no_file_has_over_400_lines_in_front_of_its_tests() {
    for (path, text) in files_of_code() {
        let lines = code_of(&text).lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

/// Counts the lines of each function, its signature and braces included. A nested function counts twice.
fn function_lengths(code: &str) -> Vec<usize> {
    let lines: Vec<_> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_start = |line: &str| {
        let words = line.split_whitespace();
        let mut words = words.skip_while(|word| word.starts_with("pub") || *word == "const");
        words.next() == Some("fn") && !line.ends_with(';')
    };
    let starts = (0..lines.len()).filter(|at| is_start(lines[*at]));
    let length = |at: usize| {
        let is_end = |line: &&str| line.trim() == "}" && indent(line) == indent(lines[at]);
        1 + lines[at + 1..]
            .iter()
            .position(is_end)
            .map_or(0, |at| at + 1)
    };
    starts.map(length).collect()
}

#[test]
fn functions_are_short_and_no_room_holds_a_fifth_of_the_code() {
    let (mut functions, mut rooms) = (Vec::new(), BTreeMap::new());
    for (path, text) in files_of_code() {
        let code = code_of(&text);
        functions.extend(function_lengths(code));
        *rooms.entry(module_of(&path)).or_insert(0) += code.lines().count();
    }
    functions.sort_unstable();
    let (count, all) = (functions.len(), rooms.values().sum::<usize>());
    assert!(count > 1_000, "the functions are found: {count}");
    let (median, ninth) = (functions[count / 2], functions[count * 9 / 10]);
    assert!(
        median <= 8 && ninth <= 25,
        "median {median}, 90 % within {ninth}"
    );
    let largest = rooms.iter().max_by_key(|(_, lines)| **lines);
    assert!(
        largest.is_some_and(|(_, lines)| lines * 5 < all),
        "{largest:?} of {all}"
    );
}

#[test]
fn only_program_makes_child_processes() {
    for (path, text) in files_of_code() {
        let code = code_of(&text);
        // The command line is defined by another type of this name.
        let is_definition = code.contains("clap::{Command") || code.contains("clap::Command");
        let starts = ["Command::new(", "Process::new(", "open::that"]
            .iter()
            .any(|word| code.contains(word));
        assert!(
            !starts || is_definition || module_of(&path) == "program",
            "{} starts a program; prepare it with 'program::Child', which looks in no work tree",
            path.display()
        );
    }
}

#[test]
fn no_thread_is_started_in_a_way_that_panics() {
    for (path, text) in files() {
        let starts = ["thread::spawn(", "spawn_blocking", "lookup_host"]
            .iter()
            .any(|word| code_of(&text).contains(word));
        assert!(
            !starts,
            "{} must start threads with 'limits', which reports a limit of the system",
            path.display()
        );
    }
}

/// What is written past it is not escaped: git's credential protocol only.
#[test]
fn only_the_console_writes_to_stdout() {
    let mut files = files();
    files.retain(|(path, _)| module_of(path) == "cli" && !path.ends_with("console.rs"));
    let mut uses = 0;
    for (path, text) in files {
        let count = text.matches("console.output").count() + text.matches("stdout()").count();
        // It is made there, from standard output, and handed to git's credential protocol.
        let makes_it = path.ends_with("cli/mod.rs") && text.contains("credential::run(");
        let allowed = if makes_it { 3 } else { 0 };
        assert_eq!(count, allowed, "{}", path.display());
        uses += count;
    }
    assert_eq!(uses, 3);
}

#[test]
fn a_forbidden_import_would_be_seen() {
    let text = "use crate::{\n    http::{Client, Url},\n    transport,\n};\n// crate::cli\nfn f() { crate::token::x(); my_crate::y() }";
    let expected: BTreeSet<String> = ["http", "transport", "token"].map(str::to_owned).into();
    assert_eq!(used_modules(text, "crate::"), expected);
}

#[test]
fn every_section_of_gits_configuration_that_we_read_has_a_row() {
    // A behavior test compares this page with the tables in the code.
    let reference = include_str!("../docs/reference.md");
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let sections = rows.filter_map(|row| Some(row.split_once('`')?.0.split_once('.')?.0));
    let known: BTreeSet<_> = sections.chain(["bbtoken"]).collect();
    let mut read = BTreeSet::new();
    for (_, text) in files() {
        let text: String = text.split_whitespace().collect();
        for start in [
            "last(\"",
            "values(git,\"",
            "values(config,\"",
            "section==\"",
        ] {
            let rest = text.split(start).skip(1);
            let names = rest.filter_map(|rest| rest.split(['"', '.']).next().map(str::to_owned));
            read.extend(names);
        }
    }
    assert!(read.len() > 8, "this test finds what is read: {read:?}");
    let unknown: Vec<_> = read
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "add a row to GIT_KEYS for {unknown:?}");
}
