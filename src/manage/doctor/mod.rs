//! `git bbtoken doctor`: what keeps git and Bitbucket apart, each with its mend.

mod checks;

use super::{Console, cli, setup};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    Note,
    Problem,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    /// The check's name.
    check: &'static str,
    level: Level,
    /// For the person.
    text: String,
    /// For the public: made of words of ours and of version numbers only.
    public: String,
    /// What to do, as a command or a sentence.
    mend: Option<String>,
    /// Whether `setup` mends it.
    is_for_setup: bool,
}

impl Finding {
    fn new(
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
            mend: None,
            is_for_setup: false,
        }
    }

    fn good(check: &'static str, text: impl Into<String>, public: impl Into<String>) -> Self {
        Finding::new(check, Level::Good, text, public)
    }

    fn note(check: &'static str, text: impl Into<String>, public: impl Into<String>) -> Self {
        Finding::new(check, Level::Note, text, public)
    }

    fn problem(check: &'static str, text: impl Into<String>, public: impl Into<String>) -> Self {
        Finding::new(check, Level::Problem, text, public)
    }

    fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    fn by_setup(mut self) -> Self {
        self.is_for_setup = true;
        self.mend("git bbtoken setup")
    }
}

pub(super) fn run(options: &cli::Doctor, console: &mut Console<'_>) -> anyhow::Result<u8> {
    let mut findings = checks::all(options.address.as_deref(), console.warn);
    if options.fix && findings.iter().any(|finding| finding.is_for_setup) {
        let consent = cli::Consent {
            yes: true,
            dry_run: false,
        };
        setup::run(
            &cli::Setup {
                everywhere: false,
                plain: false,
                consent,
            },
            console,
        )?;
        console.answer("")?;
        findings = checks::all(options.address.as_deref(), console.warn);
    }
    if options.report {
        console.answer(&format!(
            "git-bbtoken {} on {}",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS
        ))?;
    }
    for finding in &findings {
        let mark = match finding.level {
            Level::Good => "ok     ",
            Level::Note => "note   ",
            Level::Problem => "problem",
        };
        let text = if options.report {
            &finding.public
        } else {
            &finding.text
        };
        console.answer(&format!("{mark}  {}: {text}", finding.check))?;
        if let Some(mend) = finding.mend.as_ref().filter(|_| !options.report) {
            console.answer(&format!("         -> {mend}"))?;
        }
    }
    let problems = findings
        .iter()
        .filter(|finding| finding.level == Level::Problem)
        .count();
    Ok(u8::from(problems > 0))
}
