//! Settings of the environment: `GIT_CONFIG_COUNT`, and the variable in which git passes `git -c` to its children.

use super::{
    environment::Variables,
    syntax::{Assignment, Name},
};
use crate::failure::{Failure, misconfigured, quote};

/// Reads the settings with their origins, in order of precedence. `git -c` comes last and wins (git:
/// `git_config_from_parameters`).
pub(super) fn read(
    variables: Variables<'_>,
) -> Result<[(&'static str, Vec<Assignment>); 2], Failure> {
    let parameters = variables("GIT_CONFIG_PARAMETERS");
    let parameters = parameters.map(|parameters| unquote_parameters(&parameters.to_string_lossy()));
    Ok([
        ("GIT_CONFIG_COUNT", parsed(counted(variables)?)?),
        (
            "the command line",
            parsed(parameters.transpose()?.unwrap_or_default())?,
        ),
    ])
}

fn parsed(pairs: Vec<Pair>) -> Result<Vec<Assignment>, Failure> {
    let assignment = |(text, value): Pair| match Name::parse(&text) {
        Some(name) => Ok(Assignment { name, value }),
        None => Err(malformed(&text)),
    };
    pairs.into_iter().map(assignment).collect()
}

type Pair = (String, Option<String>);

/// Reads `GIT_CONFIG_COUNT`, `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>` (git-config(1), "ENVIRONMENT").
fn counted(variables: Variables<'_>) -> Result<Vec<Pair>, Failure> {
    let Some(count) = variables("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) else {
        return Ok(Vec::new());
    };
    let count = count.to_string_lossy().parse::<usize>();
    let count = count.map_err(|_| malformed("GIT_CONFIG_COUNT"))?;
    let read = |name: String| match variables(&name) {
        Some(value) => Ok(value.to_string_lossy().into_owned()),
        None => Err(malformed(&name)),
    };
    (0..count)
        .map(|index| {
            let name = read(format!("GIT_CONFIG_KEY_{index}"))?;
            Ok((name, Some(read(format!("GIT_CONFIG_VALUE_{index}"))?)))
        })
        .collect()
}

/// Parses git's quoting of `git -c`: `'key=value'`, or since git 2.30 `'key'='value'`.
fn unquote_parameters(text: &str) -> Result<Vec<Pair>, Failure> {
    let broken = || malformed("GIT_CONFIG_PARAMETERS");
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (first, after) = unquote(rest).ok_or_else(broken)?;
        let (parameter, after) = match after.strip_prefix('=') {
            Some(value) if value.starts_with('\'') => {
                let (value, after) = unquote(value).ok_or_else(broken)?;
                ((first, Some(value)), after)
            }
            Some(after) => ((first, None), after),
            None => match first.split_once('=') {
                Some((key, value)) => ((key.to_owned(), Some(value.to_owned())), after),
                None => ((first, None), after),
            },
        };
        parameters.push(parameter);
        rest = after.trim_start();
    }
    Ok(parameters)
}

/// Parses one single-quoted word. `'\''` and `'\!'` are escaped characters (git: `sq_dequote_step`).
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let end = rest.find('\'')?;
        word.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if !rest.starts_with("\\''") && !rest.starts_with("\\!'") {
            return Some((word, rest));
        }
        word.push_str(&rest[1..2]);
        rest = &rest[3..];
    }
}

fn malformed(name: &str) -> Failure {
    misconfigured(format!(
        "git's configuration in the environment is malformed, at '{}'; fix or unset this variable",
        quote(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_quotings_of_git_are_parsed() {
        let parsed = unquote_parameters(r"'a.b=c d' 'x.y'='it'\''s' 'p.q'= 'r.s' 'u.v'='n'\!'x'")
            .expect("git wrote it");
        let expected = [
            ("a.b", Some("c d")),
            ("x.y", Some("it's")),
            ("p.q", None),
            ("r.s", None),
            ("u.v", Some("n!x")),
        ];
        let parsed: Vec<_> = parsed
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        assert_eq!(parsed, expected);
    }

    #[test]
    fn broken_quoting_is_an_error_not_a_panic() {
        for text in ["'", "a", "'a", "'a'\\''", "'a'='", "''x"] {
            assert!(
                unquote_parameters(text).is_err(),
                "{text} is no quoting of git's"
            );
        }
    }

    #[test]
    fn any_variable_is_parsed_or_refused_without_showing_its_value() {
        let kept = [
            r"'a.b=c d' 'x.y'='it'\''s' 'p.q'= 'r.s' 'u.v'='n'\!'x'",
            "'http.extraheader=Authorization: canary'",
            "'a'\\''",
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            let Ok(pairs) = unquote_parameters(text) else {
                return;
            };
            let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
            let written: Vec<_> = pairs
                .iter()
                .map(|(key, value)| {
                    format!(
                        "{}={}",
                        quote(key),
                        value.as_deref().map_or_else(String::new, quote)
                    )
                })
                .collect();
            assert_eq!(unquote_parameters(&written.join(" ")).ok(), Some(pairs));
            let variables = |name: &str| (name == "GIT_CONFIG_PARAMETERS").then(|| text.into());
            if let Err(failure) = read(&variables) {
                crate::inside::fuzz::expect_printable(&failure.to_string());
            }
        });
    }
}
