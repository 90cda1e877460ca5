//! The tables and texts of `git bbtoken help` and `docs/reference.md`.

mod tables;
mod texts;

use std::fmt::Write as _;

use super::{
    arguments::{self, MAX_WIDTH},
    help_text::{of_command, wrapped},
    names::{Name, entry, list, variables},
};
use crate::{
    git_config::{BBTOKEN_KEYS, FromRepository, GIT_KEYS, HTTP_KEYS, REMOTE_KEYS, Row},
    program::ROWS,
};
use tables::{KEYS, OTHER_KEYS};
use texts::{BITBUCKET, HTTP_INTRODUCTION, JSON, LFS, PROFILES, PROGRAMS};

pub(super) use tables::{ENVIRONMENT_INTRODUCTION, EXIT_CODES, FILES, FILES_INTRODUCTION};

/// Explains a topic in lines that fit the terminal; `None` if there is no such topic.
pub(super) fn topic(topic: &str) -> Option<String> {
    let text = match topic {
        "config" => config(),
        "environment" => format!("{ENVIRONMENT_INTRODUCTION}\n\n{}", list(&variables())),
        "exit-codes" => list(&EXIT_CODES),
        "profiles" => PROFILES.to_owned(),
        "bitbucket" => BITBUCKET.to_owned(),
        "json" => JSON.to_owned(),
        "lfs" => LFS.to_owned(),
        // Do not wrap the reference: it is a Markdown file with tables.
        "reference" => return Some(page()),
        _ => return None,
    };
    Some(wrapped(&text, None))
}

fn config() -> String {
    let mut text =
        "bbtoken.<key> applies to every profile, bbtoken.<profile>.<key> to one. A repository's own configuration \
         may set only the keys with *, as bbtoken.<key>. It can select a profile, but it cannot define one.\n\n"
            .to_owned();
    for Name { name, meaning } in &KEYS {
        let is_followed = matches!(
            of_repository(&BBTOKEN_KEYS, name),
            Some(FromRepository::Followed(_))
        );
        let star = if is_followed { "*" } else { "" };
        entry(&mut text, &format!("{name}{star}"), meaning);
    }
    text.push('\n');
    text.push_str(&list(&OTHER_KEYS));
    text
}

fn of_repository(rows: &[Row], key: &str) -> Option<FromRepository> {
    let row = rows.iter().find(|row| row.name == key);
    row.map(|row| row.from_repository)
}

const KEYS_INTRODUCTION: &str = "\n## Git configuration\n\n`bbtoken.<key>` applies to every profile, \
`bbtoken.<profile>.<key>` to one.\n";

/// The meaning of git's own keys.
const OF_GIT: &str = "a setting of git";

/// Writes everything as the page `docs/reference.md`.
fn page() -> String {
    let head = "# Reference\n\n`git bbtoken help reference` prints this page.\n";
    let variables = variables();
    let files = FILES.iter().map(code_row);
    let codes = EXIT_CODES
        .iter()
        .map(|Name { name, meaning }| [(*name).to_owned(), (*meaning).to_owned()]);
    let programs = ROWS
        .iter()
        .map(|(_, programs, gets)| [(*programs).to_owned(), (*gets).to_owned()]);
    [
        head.to_owned(),
        keys(),
        format!("\n## Environment\n\n{ENVIRONMENT_INTRODUCTION}\n"),
        table("| variable | meaning |", variables.iter().map(code_row)),
        format!("\n## Files\n\n{FILES_INTRODUCTION}\n"),
        table("| path | what |", files),
        http(),
        PROGRAMS.to_owned(),
        table(
            "| program | `BBTOKEN_*` and `GIT_*` variables that it gets |",
            programs,
        ),
        "\n## Exit codes\n".to_owned(),
        table("| code | meaning |", codes),
        texts(),
        commands(),
    ]
    .concat()
}

/// Writes a table below its head.
fn table<const N: usize>(head: &str, rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = format!("\n{head}\n|{}\n", " --- |".repeat(N));
    for row in rows {
        let cells = row.map(|cell| cell.replace('|', "\\|"));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

fn code_row(Name { name, meaning }: &Name) -> [String; 2] {
    [format!("`{name}`"), (*meaning).to_owned()]
}

fn keys() -> String {
    let row = |name: &str, meaning: &str, local| [format!("`{name}`"), meaning.to_owned(), local];
    let ours = KEYS.iter().map(|Name { name, meaning }| {
        let local = of_repository(&BBTOKEN_KEYS, name).map(FromRepository::shown);
        row(name, meaning, local.unwrap_or_default())
    });
    let of_profile = row(
        "<profile>.<key>",
        "one of the keys above, for one profile",
        "refused: a repository must not define or change a profile".to_owned(),
    );
    let of_remotes = REMOTE_KEYS.iter().map(|key| {
        let name = format!("remote.<name>.{}", key.name);
        let meaning = OTHER_KEYS.iter().find(|other| other.name == name);
        let meaning = meaning.map_or(OF_GIT, |other| other.meaning);
        row(&name, meaning, key.from_repository.shown())
    });
    let of_git = GIT_KEYS
        .iter()
        .map(|key| row(key.name, OF_GIT, key.from_repository.shown()));
    let rows = ours.chain([of_profile]).chain(of_remotes).chain(of_git);
    let head = "| key | meaning | in a repository's own configuration |";
    format!("{KEYS_INTRODUCTION}{}", table(head, rows))
}

fn http() -> String {
    let head = "| key | in the native transport | in a repository's own configuration | remarks |";
    let rows = HTTP_KEYS.iter().map(|key| {
        [
            format!("`http.{}`", key.name),
            key.treatment.shown().to_owned(),
            key.from_repository.shown(),
            key.note.to_owned(),
        ]
    });
    format!("{HTTP_INTRODUCTION}{}", table(head, rows))
}

fn texts() -> String {
    let texts = [
        ("Profiles", PROFILES),
        ("At Bitbucket", BITBUCKET),
        ("Git LFS", LFS),
        ("JSON", JSON),
    ];
    let shown = texts.map(|(title, text)| {
        let text = wrapped(text, Some(MAX_WIDTH));
        format!("\n## {title}\n\n```text\n{text}```\n")
    });
    shown.concat()
}

fn commands() -> String {
    let mut text = "\n## Commands\n".to_owned();
    for command in arguments::definition().get_subcommands() {
        let name = command.get_name();
        let help = of_command(&[name], Some(MAX_WIDTH)).unwrap_or_default();
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        let help = help.join("\n");
        let _ = write!(text, "\n### git bbtoken {name}\n\n```text\n{help}\n```\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_says_what_a_repository_may_do_with_it() {
        let rows: BTreeSet<_> = BBTOKEN_KEYS.iter().map(|row| row.name).collect();
        let keys: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(rows, keys);
    }
}
