//! `git bbtoken doctor`: what keeps git and Bitbucket apart, each with its fix.

mod access;
mod files;
mod leftovers;
mod lfs;
mod network;
mod programs;
mod settings;

use super::{Console, arguments, setup};
use crate::{app::App, failure::shell_command, secret::mask};

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
    /// For a public report: fixed words and numbers only.
    public: String,
    /// What to do, as a command or a sentence.
    fix: Option<String>,
    /// Whether `setup` fixes it.
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
            fix: None,
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

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Names a command, each word quoted for the shell, or says the same in words where one cannot be shown.
    fn fix_by(self, command: &[&str], otherwise: impl Into<String>) -> Self {
        let is_open = |word: &&str| mask(word) == *word;
        let shown = shell_command(command).filter(|_| command.iter().all(is_open));
        self.fix(shown.unwrap_or_else(|| otherwise.into()))
    }

    fn mark(&self) -> &'static str {
        match self.level {
            Level::Good => "ok     ",
            Level::Note => "note   ",
            Level::Problem => "problem",
        }
    }

    fn by_setup(mut self) -> Self {
        self.is_for_setup = true;
        self.fix("git bbtoken setup")
    }
}

pub(super) fn run(options: &arguments::Doctor, console: &mut Console<'_>) -> anyhow::Result<u8> {
    let address = options.address.as_deref();
    let mut findings = all(address, console.warn);
    if options.fix && findings.iter().any(|finding| finding.is_for_setup) {
        let consent = arguments::Consent {
            yes: true,
            dry_run: false,
        };
        setup::run(
            &arguments::Setup {
                everywhere: false,
                plain: false,
                consent,
            },
            console,
        )?;
        console.answer("")?;
        findings = all(address, console.warn);
    }
    if options.report {
        report(&findings, console)?;
    } else {
        show(&findings, console)?;
        console.answer("")?;
        console.answer(&summary(&findings))?;
    }
    let is_problem = |finding: &Finding| finding.level == Level::Problem;
    Ok(u8::from(findings.iter().any(is_problem)))
}

/// Runs all checks, from the machine outwards: a later one may need what an earlier one looks at.
fn all(address: Option<&str>, warn: &dyn Fn(&str)) -> Vec<Finding> {
    let mut findings = programs::ours();
    findings.push(programs::git());
    let app = match App::read() {
        Ok(app) => app,
        Err(error) => {
            findings.push(
                Finding::problem("configuration", format!("{error:#}"), "cannot be read")
                    .fix("fix the file or variable that the message names; git itself refuses to work with most of these errors"),
            );
            return findings;
        }
    };
    let (network, is_reachable) = network::check(&app);
    findings.extend(network);
    findings.extend(access::all(&app, address, is_reachable, warn));
    findings.extend(settings::of_repository(&app));
    findings.extend(settings::rewritten(&app));
    findings.push(settings::protocol(&app));
    findings.extend(settings::helper(&app));
    findings.extend(lfs::large_files(&app));
    findings.extend(leftovers::in_configuration(&app));
    findings.extend(leftovers::in_environment());
    findings.extend(files::all(&app));
    findings
}

fn show(findings: &[Finding], console: &mut Console<'_>) -> anyhow::Result<()> {
    for finding in findings {
        let Finding { check, text, .. } = finding;
        console.answer(&format!("{}  {check}: {text}", finding.mark()))?;
        if let Some(fix) = &finding.fix {
            console.answer(&format!("         -> {fix}"))?;
        }
    }
    Ok(())
}

fn report(findings: &[Finding], console: &mut Console<'_>) -> anyhow::Result<()> {
    console.answer(&format!(
        "git-bbtoken {} on {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS
    ))?;
    for finding in findings {
        let Finding { check, public, .. } = finding;
        console.answer(&format!("{}  {check}: {public}", finding.mark()))?;
    }
    Ok(())
}

/// Says in one line what there is to do, since the rest may have scrolled away.
fn summary(findings: &[Finding]) -> String {
    let checks = |level| -> Vec<&str> {
        let of_level = findings.iter().filter(|finding| finding.level == level);
        of_level.map(|finding| finding.check).collect()
    };
    let (mut problems, notes) = (checks(Level::Problem), checks(Level::Note).len());
    let count = problems.len();
    problems.dedup();
    let several = |count, what| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let mut parts = vec![match count {
        0 => "No problem found".to_owned(),
        count => format!("{} ({})", several(count, "problem"), problems.join(", ")),
    }];
    if notes > 0 {
        parts.push(several(notes, "note"));
    }
    let fixable = findings.iter().filter(|finding| finding.is_for_setup);
    match fixable.count() {
        0 => {}
        1 => parts.push("'git bbtoken doctor --fix' fixes one of them".to_owned()),
        count => parts.push(format!("'git bbtoken doctor --fix' fixes {count} of them")),
    }
    parts.join("; ")
}
