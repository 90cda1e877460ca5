//! Parses git's configuration files (git-config(1), "SYNTAX").
//!
//! Git's reader is the only definition of the grammar. `tests/inside/config.rs` compares this parser with it.
//! gix-config 0.62 differs from git in two ways: it refuses a value that ends in a carriage return without a line feed,
//! and accepts `key # comment`. It needs about 120,000 instructions for 20 lines, a tenth of a warm command.

use super::text::Text;

/// A setting from a file, a command line or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: Name,
    /// `None` for a name without `=`.
    pub(super) value: Option<String>,
}

/// The parts of a setting's name. Section and key are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// Empty for a key before the first section of a file.
    pub(super) section: Text,
    pub(super) subsection: Option<Text>,
    pub(super) key: Text,
}

impl Name {
    /// Parses `section.key` or `section.subsection.key` (git: `git_config_parse_key`); `None` if it is invalid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, key) = text.rsplit_once('.')?;
        let (section, subsection) = match base.split_once('.') {
            Some((section, subsection)) => (section, Some(subsection)),
            None => (base, None),
        };
        let is_section = !section.is_empty() && section.bytes().all(is_key_byte);
        let is_key =
            key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.bytes().all(is_key_byte);
        let is_subsection = !subsection.is_some_and(|subsection| subsection.contains('\n'));
        (is_section && is_key && is_subsection).then(|| Name {
            section: section.to_ascii_lowercase().as_str().into(),
            subsection: subsection.map(Text::from),
            key: key.to_ascii_lowercase().as_str().into(),
        })
    }
}

/// Tells whether git allows a byte in a section or key: letters, digits and `-`.
fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Tells whether git treats a byte as blank.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The reason why a file was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Git refuses the line with this number.
    Line(usize),
    /// The file has too many settings.
    TooMany,
}

/// Reads all settings of a file, at most `max_settings`.
pub(super) fn parse(text: &[u8], max_settings: usize) -> Result<Vec<Assignment>, Stop> {
    let mut reader = Reader {
        rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
        line: 1,
        at_end: false,
    };
    let mut settings = Vec::new();
    let mut section = Name::default();
    loop {
        let line = reader.line;
        match reader.next() {
            b'\n' if reader.at_end => return Ok(settings),
            byte if is_space(byte) => {}
            b'#' | b';' => reader.skip_line(),
            b'[' => section = Name::of_section(&reader.section().ok_or(Stop::Line(line))?),
            byte if byte.is_ascii_alphabetic() => {
                let (key, value) = reader.setting(byte).ok_or(Stop::Line(line))?;
                if settings.len() == max_settings {
                    return Err(Stop::TooMany);
                }
                settings.push(section.assignment(&key, value));
            }
            _ => return Err(Stop::Line(line)),
        }
    }
}

impl Name {
    /// Takes a section's name, with the subsection after its first dot. There is no key yet.
    fn of_section(name: &[u8]) -> Self {
        let mut parts = name.splitn(2, |byte| *byte == b'.').map(text);
        Name {
            section: parts.next().unwrap_or_default(),
            subsection: parts.next(),
            key: Text::default(),
        }
    }

    /// Sets a key of this section.
    fn assignment(&self, key: &[u8], value: Option<Vec<u8>>) -> Assignment {
        Assignment {
            name: Name {
                section: self.section.clone(),
                subsection: self.subsection.clone(),
                key: text(key),
            },
            value: value.map(|value| match String::from_utf8(value) {
                Ok(value) => value,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
        }
    }
}

fn text(bytes: &[u8]) -> Text {
    String::from_utf8_lossy(bytes).as_ref().into()
}

/// Reads byte by byte. CR LF counts as one line end, and so does the end of the file.
struct Reader<'t> {
    rest: &'t [u8],
    line: usize,
    at_end: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        let byte = match self.rest {
            [] => {
                self.at_end = true;
                return b'\n';
            }
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                b'\n'
            }
            [byte, rest @ ..] => {
                self.rest = rest;
                *byte
            }
        };
        self.line += usize::from(byte == b'\n');
        byte
    }

    fn skip_line(&mut self) {
        while self.next() != b'\n' {}
    }

    /// Reads a section header after its `[`: `name]`, `name.subsection]` in lower case, or `name "subsection"]`.
    fn section(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                b']' if name.is_empty() => return None,
                b']' => return Some(name),
                byte if self.at_end || byte == b'\n' => return None,
                byte if is_space(byte) => break,
                byte if is_key_byte(byte) || byte == b'.' => name.push(byte.to_ascii_lowercase()),
                _ => return None,
            }
        }
        name.push(b'.');
        loop {
            match self.next() {
                b'"' => break,
                byte if is_space(byte) && byte != b'\n' => {}
                _ => return None,
            }
        }
        loop {
            let byte = match self.next() {
                b'"' => break,
                b'\\' => self.next(),
                byte => byte,
            };
            if byte == b'\n' {
                return None;
            }
            name.push(byte);
        }
        (self.next() == b']').then_some(name)
    }

    /// Reads a key that starts with `first`, and its value.
    fn setting(&mut self, first: u8) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut key = vec![first.to_ascii_lowercase()];
        let mut byte = self.next();
        while is_key_byte(byte) {
            key.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while matches!(byte, b' ' | b'\t') {
            byte = self.next();
        }
        match byte {
            b'\n' => Some((key, None)),
            b'=' => Some((key, Some(self.value()?))),
            _ => None,
        }
    }

    /// Reads a value without surrounding blanks and quotes. A comment ends it.
    ///
    /// # Deviation
    ///
    /// Blanks inside a value stay unchanged, as in git 2.45 and later. Older versions replace each with a space.
    fn value(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let mut quoted = false;
        // The start of trailing blanks, which are removed if nothing follows.
        let mut blank_from = None;
        loop {
            let byte = self.next();
            match byte {
                b'\n' if quoted => return None,
                b'\n' => break,
                byte if is_space(byte) && !quoted => {
                    if !value.is_empty() {
                        blank_from.get_or_insert(value.len());
                        value.push(byte);
                    }
                    continue;
                }
                b'#' | b';' if !quoted => {
                    self.skip_line();
                    break;
                }
                b'"' => quoted = !quoted,
                b'\\' => match self.next() {
                    b'\n' => {}
                    b't' => value.push(b'\t'),
                    b'b' => value.push(b'\x08'),
                    b'n' => value.push(b'\n'),
                    byte @ (b'\\' | b'"') => value.push(byte),
                    _ => return None,
                },
                byte => value.push(byte),
            }
            blank_from = None;
        }
        value.truncate(blank_from.unwrap_or(value.len()));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any test has.
    const ENOUGH: usize = 1000;

    fn shown(text: &str) -> Result<Vec<String>, Stop> {
        let settings = parse(text.as_bytes(), ENOUGH)?;
        let show = |setting: Assignment| {
            let Name {
                section,
                subsection,
                key,
            } = setting.name;
            format!("{section}|{subsection:?}|{key}={:?}", setting.value)
        };
        Ok(settings.into_iter().map(show).collect())
    }

    #[test]
    fn sections_keys_and_values_are_parsed() {
        let text = "[A]K\n[a.B] k = 1 # c\n[a \"B\\\"\"]\nk = \" x \" y \\\n z ;\n";
        let expected = [
            r#"a|None|k=None"#,
            r#"a|Some("b")|k=Some("1")"#,
            r#"a|Some("B\"")|k=Some(" x  y  z")"#,
        ];
        assert_eq!(shown(text), Ok(expected.map(str::to_owned).into()));
    }

    #[test]
    fn the_error_has_the_number_of_the_invalid_line() {
        for (text, line) in [
            ("[a", 1),
            ("[a]\nk v\n", 2),
            ("[a]\n\nk = \"x\n", 3),
            ("[a]\n\n\n9 = x", 4),
        ] {
            assert_eq!(shown(text), Err(Stop::Line(line)), "{text:?}");
        }
    }

    #[test]
    fn the_number_of_settings_is_limited() {
        let text = b"[a]\nb\nc\n";
        assert_eq!(parse(text, 2).map(|settings| settings.len()), Ok(2));
        assert_eq!(parse(text, 1), Err(Stop::TooMany));
    }

    #[test]
    fn names_of_the_command_line_are_checked() {
        let name = Name::parse("A.b.C.Key").expect("it is one");
        assert_eq!(
            (name.section.as_str(), name.key.as_str()),
            ("a", "key"),
            "section and key are in lower case"
        );
        assert_eq!(name.subsection.as_deref(), Some("b.C"));
        for text in ["", "a", ".k", "a.", "a_b.k", "a.2k", "a.k_x", "a.b\nc.k"] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
    }

    /// Formats settings for git.
    fn write(settings: &[Assignment]) -> String {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = String::new();
        for Assignment { name, value } in settings {
            match (&name.subsection, name.section.as_str()) {
                (Some(subsection), section) => {
                    text.push_str(&format!("[{section} \"{}\"]\n", escape(subsection)))
                }
                (None, "") => {}
                (None, section) => text.push_str(&format!("[{section}]\n")),
            }
            text.push_str(&name.key);
            if let Some(value) = value {
                let value = escape(value).replace('\n', "\\n").replace('\u{8}', "\\b");
                text.push_str(&format!(" = \"{value}\""));
            }
            text.push('\n');
        }
        text
    }

    #[test]
    fn any_file_is_parsed_and_can_be_written_back_or_has_an_error_with_a_line() {
        let kept = [
            "[A]K\n[a.B] k = 1 # c\n[a \"B\\\"\"]\nk = \" x \" y \\\n z ;\n",
            "\u{feff}[http \"https://x/\"]\n\textraHeader = a: b\r\n\textraHeader =\r\n",
            "k = v\n[s]\nk = \\t\\b\\n\\\\\\\"\n",
            "[s \"a\\\nb\"]\n[s]\nk=\"",
            "[include]\n\tpath = ~/x\n[includeIf \"gitdir/i:**/\"]\n\tpath = y\n",
        ];
        crate::inside::fuzz::check_text(&kept, |text| match parse(text.as_bytes(), text.len()) {
            Ok(settings) => {
                let held: usize = settings
                    .iter()
                    .map(|s| s.name.key.len() + s.value.as_ref().map_or(0, String::len))
                    .sum();
                assert!(held <= 3 * text.len(), "{held}");
                let written = write(&settings);
                assert_eq!(parse(written.as_bytes(), settings.len()), Ok(settings));
            }
            Err(Stop::TooMany) => panic!("each setting has a character"),
            Err(Stop::Line(line)) => assert!(line <= text.matches('\n').count() + 1, "line {line}"),
        });
    }
}
