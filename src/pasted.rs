//! Cleans pasted text: removes what editors, shells and Windows put around it.

use std::fmt;

use zeroize::Zeroizing;

use crate::{failure::is_harmful, secret::Secret};

/// The reason why a text cannot be used. Its message follows "the client secret".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing is left.
    Empty,
    /// The bytes are neither UTF-8 nor UTF-16.
    NotText,
    /// There is a quote at one end only.
    Quote,
    /// It contains a space or a line end.
    SeveralWords,
    /// It contains a control character, or one that no key, secret or token has.
    Character,
    /// It is a line of a settings file, a JSON document, the name of a variable or a mask.
    NotItself,
    /// It ends with an escaped line end, as in JSON or from `echo -n 'x\n'`.
    Escape,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Empty => "is empty",
            Flaw::NotText => "is not text: save it as UTF-8",
            Flaw::Quote => "has a quote at one end only: remove it",
            Flaw::SeveralWords => {
                "contains more than one word: remove the space or line break inside"
            }
            Flaw::Character => {
                "contains a character that keys, secrets and tokens never contain: copy it again"
            }
            Flaw::NotItself => {
                "is not the value itself, but a setting, a variable's name, JSON or a mask: copy the value alone"
            }
            Flaw::Escape => {
                "ends in a backslash and a letter, which stand for a line end or a tab: remove them"
            }
        })
    }
}

/// Cleans a text.
///
/// Removes a byte order mark, spaces of any kind and line ends around it, and pairs of quotes (`docker --env-file`
/// keeps them). Reads UTF-16 (PowerShell 5 writes it).
///
/// # Errors
///
/// A [`Flaw`], which never contains any of the text.
pub(crate) fn text(bytes: &[u8]) -> Result<Secret, Flaw> {
    let text = decode(bytes)?;
    let inner = unquote(bare(&text))?;
    if inner.is_empty() {
        return Err(Flaw::Empty);
    }
    Ok(Secret::new(inner))
}

/// Cleans a text that must be one word, as [`text`] does.
///
/// # Errors
///
/// As [`text`], and if it contains characters that secrets and tokens do not have.
pub(crate) fn word(bytes: &[u8]) -> Result<Secret, Flaw> {
    let word = text(bytes)?;
    check(word.expose())?;
    Ok(word)
}

/// Checks that a secret or a token is one word of printable ASCII.
///
/// # Errors
///
/// The [`Flaw`].
pub(crate) fn check(word: &str) -> Result<(), Flaw> {
    if word.contains(char::is_whitespace) {
        return Err(Flaw::SeveralWords);
    }
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::Character);
    }
    check_value(word)
}

/// Refuses a text that contains or describes a secret instead of being one.
fn check_value(text: &str) -> Result<(), Flaw> {
    let starts = ["BBTOKEN_", "{", "${", "$(", "{{"];
    let is_start = |start: &&str| text.starts_with(start);
    if starts.iter().any(is_start) || text.chars().all(|c| c == '*') || is_placeholder(text) {
        return Err(Flaw::NotItself);
    }
    // Another server's secret may contain a backslash, but probably not before its last letter.
    let escapes = [r"\n", r"\r", r"\t"];
    match escapes.iter().any(|escape| text.ends_with(escape)) {
        true => Err(Flaw::Escape),
        false => Ok(()),
    }
}

/// Tells whether a text is `$NAME` or `%NAME%`, which no shell replaced, or `<name>` of a document.
fn is_placeholder(text: &str) -> bool {
    let between = |start, end| text.strip_prefix(start)?.strip_suffix(end);
    let variable = between("$", "").or_else(|| between("%", "%"));
    let is_of_name = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit();
    variable.is_some_and(|name| name.chars().all(is_of_name)) || between("<", ">").is_some()
}

/// Checks a client id. Ids of other servers may contain spaces and other letters.
///
/// # Errors
///
/// If it is empty, and for control characters, invisible characters and unusual spaces.
pub(crate) fn check_id(id: &str) -> Result<(), Flaw> {
    if bare(id).is_empty() {
        return Err(Flaw::Empty);
    }
    let is_space = |c: char| c.is_whitespace() && c != ' ';
    if id.contains(|c: char| is_space(c) || is_harmful(c)) {
        return Err(Flaw::Character);
    }
    let is_quoted = id.starts_with(['"', '\'', '\u{201c}', '\u{2018}']);
    match is_quoted {
        true => Err(Flaw::NotItself),
        false => check_value(id),
    }
}

/// Removes spaces, line ends, byte order marks and invisible characters at both ends.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\0'))
}

fn unquote(text: &str) -> Result<&str, Flaw> {
    for quote in ['"', '\'', '`'] {
        match (text.strip_prefix(quote), text.strip_suffix(quote)) {
            (None, None) => {}
            (Some(rest), Some(_)) if text.len() > 1 => {
                return unquote(bare(&rest[..rest.len() - quote.len_utf8()]));
            }
            _ => return Err(Flaw::Quote),
        }
    }
    Ok(text)
}

fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, Flaw> {
    let (first, second) = (bytes.first(), bytes.get(1));
    let units = match (first, second) {
        (Some(0xff), Some(0xfe)) => Some(utf16(&bytes[2..], u16::from_le_bytes)),
        (Some(0xfe), Some(0xff)) => Some(utf16(&bytes[2..], u16::from_be_bytes)),
        // Without a byte order mark: in UTF-16, every second byte of ASCII text is zero.
        (Some(1..), Some(0)) => Some(utf16(bytes, u16::from_le_bytes)),
        (Some(0), Some(1..)) => Some(utf16(bytes, u16::from_be_bytes)),
        _ => None,
    };
    let text = match units {
        Some(units) => String::from_utf16(&Zeroizing::new(units)).ok(),
        None => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    text.map(Zeroizing::new).ok_or(Flaw::NotText)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u16> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|pair| unit([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_freed_of_what_stands_around_it() {
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let cases: [&[u8]; 16] = [
            b"s3cret",
            b"'\"s3cret\"'",
            b"\"\"s3cret\"\"\n",
            b" s3cret\r\n",
            b"s3cret\n\n",
            b"\"s3cret\"",
            b"'s3cret'\r\n",
            b"\" s3cret \"",
            "\u{feff}s3cret\n".as_bytes(),
            "\u{a0}s3cret\u{a0}".as_bytes(),
            "\u{200b}s3cret\u{2003}".as_bytes(),
            &utf16("\u{feff}s3cret\r\n", u16::to_le_bytes),
            &utf16("\u{feff}s3cret\r\n", u16::to_be_bytes),
            &utf16("s3cret\r\n", u16::to_le_bytes),
            &utf16("s3cret", u16::to_be_bytes),
            &utf16("\u{feff}\"s3cret\"\r\n", u16::to_le_bytes),
        ];
        for case in cases {
            assert_eq!(word(case), Ok(Secret::new("s3cret")), "{case:?}");
        }
    }

    #[test]
    fn an_ambiguous_value_is_named() {
        let cases: [(&[u8], Flaw); 19] = [
            (b"$BBTOKEN_SECRET", Flaw::NotItself),
            (b"%BBTOKEN_SECRET%", Flaw::NotItself),
            (b"<secret>", Flaw::NotItself),
            (b"'\"\"'", Flaw::Empty),
            (b"'\"s3cret'", Flaw::Quote),
            (b"", Flaw::Empty),
            (b" \r\n", Flaw::Empty),
            (b"\"\"", Flaw::Empty),
            (b"\"s3cret", Flaw::Quote),
            (b"s3cret'", Flaw::Quote),
            (b"\"", Flaw::Quote),
            (b"two words", Flaw::SeveralWords),
            (b"two\nlines", Flaw::SeveralWords),
            ("s3\u{a0}cret".as_bytes(), Flaw::SeveralWords),
            ("s\u{e9}cret".as_bytes(), Flaw::Character),
            (b"s3\x1bcret", Flaw::Character),
            (b"s3\xffcret", Flaw::NotText),
            (br"s3cret\n", Flaw::Escape),
            (br#""s3cret\t""#, Flaw::Escape),
        ];
        for (case, flaw) in cases {
            assert_eq!(word(case), Err(flaw), "{case:?}");
        }
    }

    #[test]
    fn a_client_id_may_hold_spaces_and_letters_and_nothing_invisible() {
        assert_eq!(check_id("app:one%41+two \u{fc}"), Ok(()));
        for id in ["", " ", "\u{200b}"] {
            assert_eq!(check_id(id), Err(Flaw::Empty), "{id:?}");
        }
        for id in ["a\u{a0}b", "a\tb", "a\u{200b}b", "a\u{1b}b"] {
            assert_eq!(check_id(id), Err(Flaw::Character), "{id:?}");
        }
    }

    #[test]
    fn any_bytes_are_a_word_or_a_flaw() {
        let kept: [&[u8]; 4] = [
            b"\"s3cret\"\r\n",
            b"\xff\xfes\x003\x00",
            b"\xef\xbb\xbfa",
            b"\xfe\xff\xd8\x00",
        ];
        crate::inside::fuzz::check(&kept, |bytes| {
            if let Ok(word) = word(bytes) {
                assert!(word.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        });
    }
}
