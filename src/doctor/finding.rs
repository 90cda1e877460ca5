//! The result of a check.

use crate::{failure::shell_command, report, secret::mask, site::Level};

impl Level {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Level::Good => "ok",
            Level::Note => "note",
            Level::Problem => "problem",
        }
    }
}

/// The result of a check.
#[derive(Debug)]
pub(super) struct Finding {
    /// The check's name.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// For the person.
    pub(super) text: String,
    /// The text for a public report: only fixed words and numbers.
    pub(super) public: String,
    /// The fix, as a command or a sentence.
    pub(super) fix: Option<String>,
    /// Whether `setup` fixes it.
    pub(super) is_for_setup: bool,
}

impl Finding {
    pub(super) fn new(
        check: &'static str,
        level: Level,
        text: impl Into<String>,
        public: impl Into<String>,
    ) -> Self {
        Finding {
            check,
            level,
            text: text.into(),
            public: public.into(),
            fix: None,
            is_for_setup: false,
        }
    }

    pub(super) fn good(
        check: &'static str,
        text: impl Into<String>,
        public: impl Into<String>,
    ) -> Self {
        Finding::new(check, Level::Good, text, public)
    }

    pub(super) fn note(
        check: &'static str,
        text: impl Into<String>,
        public: impl Into<String>,
    ) -> Self {
        Finding::new(check, Level::Note, text, public)
    }

    pub(super) fn problem(
        check: &'static str,
        text: impl Into<String>,
        public: impl Into<String>,
    ) -> Self {
        Finding::new(check, Level::Problem, text, public)
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(report::for_this_user(&fix.into()));
        self
    }

    /// Adds a fix as [`shown_or`] gives it.
    pub(super) fn fix_by(self, command: &[&str], otherwise: impl Into<String>) -> Self {
        self.fix(shown_or(command, otherwise))
    }

    pub(super) fn line(&self, text: &str) -> String {
        format!("{:7}  {}: {text}", self.level.mark(), self.check)
    }

    pub(super) fn by_setup(mut self) -> Self {
        self.is_for_setup = true;
        self.fix("git bbtoken setup")
    }
}

/// Gives a command with each word quoted for the shell, or a sentence if a word cannot be shown.
pub(super) fn shown_or(command: &[&str], otherwise: impl Into<String>) -> String {
    let is_open = |word: &&str| mask(word) == *word;
    let shown = shell_command(command).filter(|_| command.iter().all(is_open));
    shown.unwrap_or_else(|| otherwise.into())
}
