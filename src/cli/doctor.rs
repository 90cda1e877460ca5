//! `git bbtoken doctor`: shows connection problems, each with its fix.

use serde_json::json;

use super::{Console, VERSION, arguments, setup};
use crate::doctor::Findings;

pub(super) fn run(options: &arguments::Doctor, console: &mut Console<'_>) -> anyhow::Result<u8> {
    console.color(&options.color);
    let address = options.address.as_deref();
    let mut findings = Findings::of(address);
    if options.fix && findings.is_for_setup() {
        let consent = arguments::Consent {
            yes: true,
            dry_run: false,
        };
        let setup = arguments::Setup {
            everywhere: false,
            plain: false,
            system: false,
            no_agent: true,
            consent,
        };
        setup::run(&setup, console)?;
        console.answer("")?;
        findings = Findings::of(address);
    }
    let lines = match options.report {
        true => findings.report(),
        false => findings.lines(),
    };
    match options.json {
        true => console.answer_json(json!({ "version": VERSION, "findings": findings.json() })),
        false => lines
            .iter()
            .try_for_each(|line| console.answer_marked(line)),
    }?;
    Ok(u8::from(findings.is_problem()))
}
