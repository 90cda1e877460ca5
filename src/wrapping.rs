//! Wraps lines at words, because a terminal breaks them inside a word.

use terminal_size::{Height, Width};

/// Lines do not change on a wider terminal.
const MAX_COLUMNS: u16 = 120;
/// A longer beginning of a line is prose.
const MAX_LABEL_BYTES: usize = 20;

/// Wraps the lines of a text for a terminal of this size, if there is one.
pub(crate) fn wrapped(text: &str, terminal: Option<(Width, Height)>) -> String {
    match terminal {
        Some((Width(columns), _)) if columns <= MAX_COLUMNS => {
            let lines = text.split_inclusive('\n');
            lines
                .map(|line| wrapped_line(line, columns.into()))
                .collect()
        }
        _ => text.to_owned(),
    }
}

fn wrapped_line(line: &str, columns: usize) -> String {
    let (label, mut rest) = line.split_at(label_length(line));
    let (mut shown, mut column) = (label.to_owned(), label.chars().count());
    // Otherwise, foreign text could look like a line of its own.
    let margin = column.max(2);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(part_length(rest));
        let end = column + part.trim_end().chars().count();
        if end > columns.max(column) && shown.len() > label.len() {
            shown = format!("{}\n{:margin$}", shown.trim_end(), "");
            column = margin;
        }
        shown.push_str(part);
        column += part.chars().count();
        rest = behind;
    }
    shown
}

/// Gives the length of the indentation and of a label such as `hint: `. The next line continues below the text after
/// it.
fn label_length(line: &str) -> usize {
    let text = line.trim_start_matches(' ');
    let ends = ["-> ", ": ", "  "];
    let ends = ends
        .iter()
        .filter_map(|end| Some(text.find(end)? + end.len()));
    let label = ends.min().filter(|length| *length <= MAX_LABEL_BYTES);
    line.len() - text[label.unwrap_or(0)..].trim_start_matches(' ').len()
}

/// Gives the length of the first word, or of a command to paste. A shell would run the first line of a wrapped command.
fn part_length(text: &str) -> usize {
    let command = text.trim_start_matches(['(', '\'']);
    let start = text.len() - command.len();
    let words: Vec<_> = command.splitn(3, ' ').collect();
    let ends: &[char] = match words[..] {
        [
            "git",
            "bbtoken" | "config" | "clone" | "push" | "lfs" | "remote" | "-c",
            _,
        ]
        | ["export" | "ssh" | "sudo" | "chmod" | "rm", _, ..] => {
            match text[..start].ends_with('\'') {
                true => &['\''],
                false => &[',', ';', '('],
            }
        }
        _ => &[' '],
    };
    let end = start + command.find(ends).unwrap_or(command.len());
    text[end..]
        .find(' ')
        .map_or(text.len(), |space| end + space + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(columns: u16, text: &str) -> String {
        wrapped(text, Some((Width(columns), Height(24))))
    }

    #[test]
    fn a_line_continues_below_its_text() {
        let cases = [
            ("hint: one two three\n", "hint: one two\n      three\n"),
            ("  1  one two three\n", "  1  one two\n     three\n"),
            ("    -> one two three\n", "    -> one two\n       three\n"),
            ("ok ci  one two three\n", "ok ci  one two\n       three\n"),
            ("    one two three four\n", "    one two\n    three four\n"),
            ("one two three four\n", "one two three\n  four\n"),
            (
                "a label that is prose  one two\n",
                "a label that is\n  prose  one\n  two\n",
            ),
            ("\n", "\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(at(15, line), expected);
        }
    }

    #[test]
    fn a_question_keeps_the_space_before_its_answer() {
        assert_eq!(
            at(15, "Keep this login? [y/N]: "),
            "Keep this\n  login? [y/N]: "
        );
        assert_eq!(at(15, "Number of it? : "), "Number of it? : ");
    }

    #[test]
    fn a_word_or_a_command_stays_in_one_line() {
        let cases = [
            (
                "hint: https://bitbucket.org/ now\n",
                "hint: https://bitbucket.org/\n      now\n",
            ),
            (
                "  git config --global a.b c\n",
                "  git config --global a.b c\n",
            ),
            (
                "  git bbtoken setup, for all files\n",
                "  git bbtoken setup,\n  for all files\n",
            ),
            (
                "a label that is prose: git config a.b c; then go\n",
                "a label that is\n  prose:\n  git config a.b c;\n  then go\n",
            ),
            (
                "run 'git config a.b c' or so\n",
                "run\n  'git config a.b c'\n  or so\n",
            ),
            ("so git config a.b c\n", "so\n  git config a.b c\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(at(15, line), expected);
        }
    }

    #[test]
    fn a_wide_terminal_or_none_changes_nothing() {
        let long = "word ".repeat(50);
        assert_eq!(wrapped(&long, None), long);
        assert_eq!(at(121, &long), long);
        assert_ne!(at(120, &long), long);
    }
}
