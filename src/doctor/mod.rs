//! Finds connection problems, and the fix for each.

mod access;
#[cfg(unix)]
mod agent;
mod exposed;
mod files;
mod finding;
mod leftovers;
mod lfs;
mod network;
mod programs;
mod settings;
mod shared;
mod site;

use serde_json::{Value, json};

use crate::{app::App, site::Level};
use finding::Finding;

pub(crate) use programs::other_helper;

/// What all checks found.
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Runs all checks for an address, or for the repository in this directory, from this machine to the server.
    pub(crate) fn of(address: Option<&str>) -> Self {
        let mut findings = programs::ours();
        findings.push(programs::git());
        match App::read() {
            Ok(app) => findings.extend(of_configuration(&app, address)),
            Err(error) => findings.push(unreadable(&error)),
        }
        Findings(findings)
    }

    /// Tells whether `setup` fixes a finding.
    pub(crate) fn is_for_setup(&self) -> bool {
        self.0.iter().any(|finding| finding.is_for_setup)
    }

    /// Tells whether a finding is a problem.
    pub(crate) fn is_problem(&self) -> bool {
        let mut findings = self.0.iter();
        findings.any(|finding| finding.level == Level::Problem)
    }

    /// Gives the lines for the user, with a summary at the end, because earlier lines may have scrolled away.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for finding in &self.0 {
            lines.push(finding.line(&finding.text));
            lines.extend(finding.fix.iter().map(|fix| format!("         -> {fix}")));
        }
        lines.extend([String::new(), summary(&self.0)]);
        lines
    }

    /// Gives the findings for a script.
    pub(crate) fn json(&self) -> Value {
        let findings = self.0.iter().map(|finding| {
            let mut fields = json!({
                "check": finding.check,
                "level": finding.level.mark(),
                "text": finding.text,
            });
            if let Some(fix) = &finding.fix {
                fields["fix"] = json!(fix);
            }
            fields
        });
        findings.collect()
    }

    /// Gives the lines for a public report.
    pub(crate) fn report(&self) -> Vec<String> {
        let system = std::env::consts::OS;
        let version = format!("git-bbtoken {} on {system}", env!("CARGO_PKG_VERSION"));
        let line = |finding: &Finding| finding.line(&finding.public);
        [version]
            .into_iter()
            .chain(self.0.iter().map(line))
            .collect()
    }
}

/// Runs the checks that need git's configuration. A later check may need the object of an earlier one.
fn of_configuration(app: &App, address: Option<&str>) -> Vec<Finding> {
    let address = address.or_else(|| access::remote(app));
    let found = access::identity(app, address);
    let profile = found.as_ref().ok().map(|(identity, _)| &identity.profile);
    let (mut findings, is_reachable) = network::check(app, profile);
    // The next checks may start an agent, or replace one that does not answer.
    #[cfg(unix)]
    findings.extend(agent::check(app));
    findings.extend(access::all(app, address, found, is_reachable));
    findings.extend(settings::unknown(app));
    findings.extend(settings::of_repository(app));
    findings.extend(settings::rewritten(app));
    findings.push(settings::protocol(app));
    findings.extend(settings::helper(app));
    findings.extend(lfs::check(app));
    findings.extend(leftovers::in_configuration(app));
    findings.extend(files::all(app));
    findings
}

fn unreadable(error: &anyhow::Error) -> Finding {
    Finding::problem("configuration", format!("{error:#}"), "cannot be read")
        .fix("fix the file or variable that the message names; git itself refuses to work with most of these errors")
}

/// Gives a summary in one line.
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
