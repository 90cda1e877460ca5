//! `GIT_TRACE_CURL` and `GIT_CURL_VERBOSE`, in the form of git's own https (git: `curl_trace` in http.c).

use std::{
    ffi::{OsStr, OsString},
    time::{SystemTime, UNIX_EPOCH},
};

use super::target::Target;
use crate::failure::is_harmful;

/// The bytes of a body in one line (git: `curl_dump_data`).
const BYTES_PER_LINE: usize = 60;
/// The column in which the text of a line begins (git: `prepare_trace_line`).
const TEXT_COLUMN: usize = 40;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
}

/// Who may see a header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Everybody.
    Open,
    /// Who sets `GIT_TRACE_REDACT=0`.
    Private,
    /// Never shown, because it contains the token or the client's secret.
    Secret,
}

/// One header line.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// Its name, as written in the trace.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
    /// Who may see the value.
    pub(crate) privacy: Privacy,
}

impl Header {
    /// Formats the line and redacts secret values. The scheme of a credential and the names of cookies stay.
    pub(super) fn shown(&self, redact: bool) -> String {
        let Header {
            name,
            value,
            privacy,
        } = self;
        let shown = match privacy {
            Privacy::Open => value.clone(),
            Privacy::Private if !redact => value.clone(),
            _ if name.eq_ignore_ascii_case("cookie") => without_values(value),
            _ if name.eq_ignore_ascii_case("set-cookie") => {
                let (cookie, attributes) = value.split_once(';').unwrap_or((value, ""));
                let rest = if attributes.is_empty() { "" } else { ";" };
                format!("{}{rest}{attributes}", without_values(cookie))
            }
            _ => match value.split_once(' ') {
                Some((scheme, _)) if name.to_ascii_lowercase().ends_with("authorization") => {
                    format!("{scheme} <redacted>")
                }
                _ => "<redacted>".to_owned(),
            },
        };
        format!("{name}: {shown}")
    }

    /// The length of the line in the request, with its end.
    fn length(&self) -> usize {
        self.name.len() + ": ".len() + self.value.len() + "\r\n".len()
    }
}

fn without_values(cookies: &str) -> String {
    let shown = |cookie: &str| match cookie.split_once('=') {
        Some((name, _)) => format!("{name}=<redacted>"),
        None => "<redacted>".to_owned(),
    };
    let cookies: Vec<_> = cookies.split("; ").map(shown).collect();
    cookies.join("; ")
}

/// The trace that git's variables request.
pub(super) struct Curl {
    target: Target,
    data: bool,
    redact: bool,
    /// Lines have no prefix with time and place (git: `prepare_trace_line` in trace.c).
    is_bare: bool,
}

impl Curl {
    pub(super) fn asked_for(
        variables: &dyn Fn(&str) -> Option<OsString>,
        warn: &dyn Fn(&str),
    ) -> Option<Self> {
        // With any value, it shows the header lines on stderr (git: `http_init`).
        let is_verbose = variables("GIT_CURL_VERBOSE").is_some();
        let value = match is_verbose {
            true => OsString::from("1"),
            false => variables("GIT_TRACE_CURL")?,
        };
        let target = Target::open(&value).unwrap_or_else(|error| {
            warn(&format!("GIT_TRACE_CURL is ignored: {error}"));
            None
        })?;
        let is_bare = variables("GIT_TRACE_BARE")
            .is_some_and(|value| matches!(Target::open(&value), Ok(Some(_))));
        Some(Curl {
            is_bare,
            target,
            data: !is_verbose && variables("GIT_TRACE_CURL_NO_DATA").is_none(),
            redact: !variables("GIT_TRACE_REDACT").is_some_and(|value| is_false(&value)),
        })
    }

    pub(super) fn head(&self, direction: Direction, first: &str, headers: &[Header]) {
        let label = label(direction, "header");
        let mut lines = vec![(first.to_owned(), first.len() + 2)];
        let headers = headers.iter();
        lines.extend(headers.map(|it| (it.shown(self.redact), it.length())));
        lines.push((String::new(), 2));
        match direction {
            // The caller passes a request's head as a whole, and a response's line by line.
            Direction::Sent => {
                let length = lines.iter().map(|(_, length)| length).sum();
                self.lines(
                    std::iter::once(size(&label, length))
                        .chain(lines.iter().map(|(line, _)| labeled(&label, line))),
                );
            }
            Direction::Received => self.lines(
                lines
                    .iter()
                    .flat_map(|(line, length)| [size(&label, *length), labeled(&label, line)]),
            ),
        }
    }

    pub(super) fn body(&self, direction: Direction, bytes: &[u8]) {
        if !self.data {
            return;
        }
        let label = label(direction, "data");
        let rows = bytes.chunks(BYTES_PER_LINE).map(|row| {
            let shown: String = row.iter().copied().map(printable).collect();
            format!("{label}: {shown}")
        });
        self.lines(std::iter::once(size(&label, bytes.len())).chain(rows));
    }

    fn lines(&self, lines: impl Iterator<Item = String>) {
        let start = match self.is_bare {
            true => String::new(),
            false => format!("{:TEXT_COLUMN$}", format!("{} bbtoken", clock())),
        };
        let text: String = lines.map(|line| row(&start, &line)).collect();
        self.target.write(&text);
    }
}

/// Adds the common prefix to a line, and escapes control characters.
fn row(start: &str, line: &str) -> String {
    let line: String = line
        .chars()
        .map(|c| if is_harmful(c) { '.' } else { c })
        .collect();
    format!("{start}{line}\n")
}

/// Tells whether a text is one of git's words for false (git: `git_parse_maybe_bool` in parse.c).
fn is_false(value: &OsStr) -> bool {
    let text = value.to_string_lossy().to_ascii_lowercase();
    matches!(text.as_str(), "" | "false" | "no" | "off") || text.parse() == Ok(0_i64)
}

fn label(direction: Direction, what: &str) -> String {
    match direction {
        Direction::Sent => format!("=> Send {what}"),
        Direction::Received => format!("<= Recv {what}"),
    }
}

/// Adds the label to a header line. The empty line at the end of a head has no blank after the label.
fn labeled(label: &str, line: &str) -> String {
    format!("{label}: {line}").trim_end().to_owned()
}

fn size(label: &str, length: usize) -> String {
    format!("{label}, {length:010} bytes (0x{length:08x})")
}

fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    }
}

/// The local time of day, to the microsecond.
fn clock() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let local = gix::date::Time::now_local_or_utc();
    let second = (local.seconds + i64::from(local.offset)).rem_euclid(86_400);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{:06}",
        now.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str, privacy: Privacy, redact: bool) -> String {
        let header = Header {
            name: name.to_owned(),
            value: value.to_owned(),
            privacy,
        };
        header.shown(redact)
    }

    #[test]
    fn private_values_are_shown_on_demand_and_secrets_never() {
        let cases = [
            (
                "Authorization",
                "Basic abc",
                "Authorization: Basic <redacted>",
            ),
            ("Cookie", "a=1; b=2", "Cookie: a=<redacted>; b=<redacted>"),
            (
                "Set-Cookie",
                "a=1; Path=/",
                "Set-Cookie: a=<redacted>; Path=/",
            ),
            ("X-Key", "abc def", "X-Key: <redacted>"),
        ];
        for (name, value, expected) in cases {
            for (privacy, redact) in [
                (Privacy::Private, true),
                (Privacy::Secret, true),
                (Privacy::Secret, false),
            ] {
                assert_eq!(shown(name, value, privacy, redact), expected);
            }
            assert_eq!(
                shown(name, value, Privacy::Private, false),
                format!("{name}: {value}")
            );
        }
        assert_eq!(shown("Accept", "*/*", Privacy::Open, true), "Accept: */*");
    }

    #[test]
    fn sizes_are_written_as_git_writes_them() {
        assert_eq!(
            size("=> Send header", 2796),
            "=> Send header, 0000002796 bytes (0x00000aec)"
        );
    }

    #[test]
    fn the_secret_of_any_header_is_not_shown() {
        let kept = [
            "",
            "a=1; b",
            "Bearer",
            "x;y",
            "=",
            "; ;",
            "Basic realm=\"x\"",
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            if text.contains("canary") {
                return;
            }
            let one = text.split(';').next().unwrap_or_default();
            for (name, value) in [
                ("Authorization", format!("Bearer {text}canary")),
                ("Proxy-Authorization", format!("Basic canary{text}")),
                ("COOKIE", format!("{text}=canary{one}")),
                ("Set-Cookie", format!("{one}=canary; {text}")),
                ("X-Key", format!("{text}canary{text}")),
            ] {
                let line = shown(name, &value, Privacy::Secret, false);
                assert!(!line.contains("canary"), "{line}");
                let line = row("", &line);
                crate::inside::fuzz::expect_printable(
                    line.strip_suffix('\n').expect("it is a line"),
                );
            }
        });
    }
}
