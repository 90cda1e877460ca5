//! The kinds of errors, by what the user should do next.
//!
//! A [`Failure`] is the link in an [`anyhow::Error`] chain that carries a [`Kind`]; `report` turns the kind into a hint
//! and an exit code. No other module knows hints or exit codes.

use std::{fmt, io};

/// The kind of an error, by what the user can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no profile for the address, and the environment contains no client and no token.
    NotConfigured,
    /// No profile is for the site that the address names.
    NoProfileForSite {
        /// Its base URL, without a slash at the end.
        site: String,
    },
    /// A setting is missing or malformed, or comes from an untrusted place. The text says which.
    Misconfigured,
    /// The named profile does not exist.
    UnknownProfile {
        /// Its name, if a profile may have it.
        name: Option<String>,
        /// The existing profiles, in alphabetical order.
        known: Vec<String>,
    },
    /// The address does not name a Bitbucket repository.
    BadAddress,
    /// The host of the address is not configured.
    UnknownHost {
        /// The base URL that it would have at a Data Center, if the address shows it.
        base: Option<String>,
    },
    /// The profile has no valid login or token, and the user must log in.
    LoginNeeded {
        /// The profile to log in.
        profile: String,
    },
    /// The token endpoint does not accept the client.
    ClientRefused {
        /// The fix at the client's page, as one imperative sentence.
        remedy: String,
    },
    /// The repository is missing, or the token has no access to it. Bitbucket does not say which (status 401 or 404).
    AccessRefused {
        /// The repository's address, for `git bbtoken doctor`.
        address: String,
        /// How to replace a token that the user made, if the server may have refused the token itself (status 401).
        renewal: Option<Renewal>,
    },
    /// The site refused for a reason of its own kind.
    SiteRefused {
        /// What to do.
        remedy: String,
    },
    /// The site is there, but cannot serve git now.
    SiteUnavailable {
        /// What to do.
        remedy: String,
    },
    /// An app password was sent (status 410, or the `ATBB` prefix): Bitbucket removed them in July 2026.
    AppPassword,
    /// The value for a token is another secret: consumer key and secret, a header, OAuth 1.
    WrongSecret {
        /// What to use instead.
        remedy: &'static str,
    },
    /// The server asked to come back later (status 429 or 503).
    Busy,
    /// The server failed (status 500 and above).
    ServerFailed {
        /// The host, without port.
        host: String,
    },
    /// The request is larger than the server accepts (status 413).
    TooLarge,
    /// The server refused with its own message, and there is no hint.
    Refused,
    /// The server refused the token of a push that cannot be sent twice. The new token is cached now.
    PushAgain,
    /// The host could not be reached or the connection broke.
    Unreachable {
        /// The host, without port.
        host: String,
    },
    /// The server's certificate is not trusted.
    Untrusted {
        /// The host, without port.
        host: String,
        /// Whether curl refused a server that git's own TLS may accept.
        is_of_curl: bool,
    },
    /// The server supports only HTTP/2 (RFC 7301), which git's own transport supports.
    OnlyHttp2 {
        /// The host, without port.
        host: String,
    },
    /// The response is neither git's protocol nor OAuth's, for example from a captive portal or a sign-on page.
    NotGit,
    /// The response to a push was lost. The server may or may not have executed the push.
    PushUnknown,
    /// A store or a lock on this machine cannot be used.
    StoreUnusable,
    /// The login that many machines share is missing or has ended.
    SharedLoginNeeded {
        /// The command that makes a new one.
        login: String,
    },
    /// A store that many machines share cannot be used.
    SharedStoreUnusable,
    /// Other users have access to a file or directory of a store.
    StoreExposed {
        /// The fix, as one imperative sentence.
        remedy: String,
    },
    /// The user stopped at a question.
    Unanswered,
    /// No message is needed: git closed its end of the pipe, or the helper shows its own message.
    NoMessage,
    /// The command line was wrong.
    Usage,
    /// The program does not exist.
    NoProgram,
    /// The program exists but cannot be executed.
    NotExecutable,
}

/// How to replace a token that the user made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// What to do, as one imperative sentence.
    pub(crate) remedy: String,
    /// The profile that has the token in its store, where a login replaces it.
    pub(crate) stored: Option<String>,
}

/// A link of an error chain, with its kind.
///
/// The message says what failed. It never contains a secret or a raw response body.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What kind of remedy fits.
    pub(crate) kind: Kind,
    message: String,
}

impl Failure {
    /// Creates a failure. The kind decides the hint and the exit code.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
        }
    }
}

/// Creates the error for a wrong use of the command line.
pub(crate) fn usage(why: &str) -> anyhow::Error {
    Failure::new(Kind::Usage, why).into()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Makes the error for a setting that is missing or malformed, or comes from an untrusted place.
pub(crate) fn misconfigured(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Misconfigured, message)
}

/// Finds the kind of an error, which is that of the outermost [`Failure`] in its chain.
pub(crate) fn kind(error: &anyhow::Error) -> Option<&Kind> {
    error
        .downcast_ref::<Failure>()
        .or_else(|| error.chain().find_map(|link| link.downcast_ref()))
        .map(|failure| &failure.kind)
}

/// Tells whether the reader of our output has ended. Windows has a second error for that (`ERROR_PIPE_NOT_CONNECTED`).
pub(crate) fn is_closed_pipe(error: &io::Error) -> bool {
    const PIPE_NOT_CONNECTED: i32 = 233;
    error.kind() == io::ErrorKind::BrokenPipe
        || cfg!(windows) && error.raw_os_error() == Some(PIPE_NOT_CONNECTED)
}

/// Shortens an untrusted text for a message: one line, control characters escaped, 200 characters at most.
///
/// Messages use it for texts of servers, addresses and values of settings.
pub(crate) fn quote(text: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    let text = text.trim();
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => one_line(&text[..end]) + "…",
        None => one_line(text),
    }
}

/// Escapes characters that control a terminal, and line ends.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, is_harmful)
}

/// Escapes characters that control a terminal, but not line ends.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |character| character != '\n' && is_harmful(character))
}

/// Escapes characters that control a terminal in JSON. JSON itself escapes only the first 32 characters (RFC 8259
/// section 7).
pub(crate) fn printable_json(json: &str) -> String {
    let mut shown = String::new();
    for character in json.chars() {
        if character == '\n' || !is_harmful(character) {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match is_bad(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Quotes any text as one word of a POSIX shell (POSIX, "Single-Quotes").
pub(crate) fn quote_for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes a command for a shell, with each word quoted; `None` if a word contains characters that control a terminal.
pub(crate) fn shell_command(words: &[&str]) -> Option<String> {
    let is_plain = |word: &&str| !word.contains(is_harmful);
    words.iter().all(is_plain).then(|| shell_words::join(words))
}

/// Tells whether a character controls a terminal or changes the display of the rest of a line: control, bidirectional
/// and invisible characters, and line separators (Unicode's categories Cc, Cf, Zl and Zp, without those that scripts
/// need).
pub(crate) fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_outermost_kind_decides() {
        let error = Err::<(), _>(Failure::new(Kind::Busy, "inner"))
            .context(Failure::new(Kind::NotGit, "outer"))
            .expect_err("it was made as an error");
        assert_eq!(kind(&error), Some(&Kind::NotGit));
    }

    #[test]
    fn a_kind_is_found_under_plain_context() {
        let error = Err::<(), _>(Failure::new(Kind::Busy, "inner"))
            .context("outer")
            .expect_err("it was made as an error");
        assert_eq!(kind(&error), Some(&Kind::Busy));
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(
            quote("a\u{1b}[31mb\nc\u{202e}"),
            "a\\u{1b}[31mb\\u{a}c\\u{202e}"
        );
    }

    #[test]
    fn a_command_to_paste_holds_its_words_and_nothing_that_acts_on_a_terminal() {
        let command = |word| shell_command(&["git", "config", word]);
        assert_eq!(command("a.b").as_deref(), Some("git config a.b"));
        assert_eq!(
            command("$(x) `y`").as_deref(),
            Some("git config '$(x) `y`'")
        );
        for word in ["a\nb", "a\u{1b}[2J", "a\u{202e}b"] {
            assert_eq!(command(word), None);
        }
    }

    #[test]
    fn a_quoted_text_is_one_word_of_a_shell() {
        assert_eq!(quote_for_shell("a'b $(c)"), r"'a'\''b $(c)'");
        crate::inside::fuzz::check_text(&["", "a'b", "$(x)`y`\\\"!\n", "-x", "''"], |text| {
            let words = shell_words::split(&quote_for_shell(text));
            assert_eq!(words.ok(), Some(vec![text.to_owned()]));
        });
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quote(&"x".repeat(500)).chars().count(), 201);
    }

    #[test]
    fn a_quoted_text_is_short_and_printable() {
        crate::inside::fuzz::check_text(
            &[
                "a\u{1b}[31mb\nc\u{202e}",
                "\u{9b}31m",
                "\u{e000}",
                "\u{61c}\u{2028}",
            ],
            |text| {
                let quoted = quote(text);
                crate::inside::fuzz::expect_printable(&quoted);
                assert!(quoted.chars().count() <= 200 * "\\u{10ffff}".len() + 1);
            },
        );
    }
}
