//! The subcommand where there is no agent.

use std::ffi::OsString;

use crate::cli::{Console, arguments};

pub(crate) fn run(_options: &arguments::Agent, console: &mut Console<'_>) -> anyhow::Result<()> {
    console.answer("there is no agent on this system; the setting bbtoken.agent has no effect")
}

pub(crate) fn end(_console: &Console<'_>) {}

pub(crate) fn become_agent(_arguments: &[OsString]) -> Option<anyhow::Result<()>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_agent_the_subcommand_says_that_its_setting_has_no_effect() {
        let arguments = ["git-bbtoken", "agent", "run", "/", "{}"].map(OsString::from);
        assert!(
            become_agent(&arguments).is_none(),
            "this process becomes none"
        );
        for options in [
            arguments::Agent::Status { json: false },
            arguments::Agent::Status { json: true },
            arguments::Agent::Stop,
        ] {
            let mut output = Vec::new();
            let mut console = Console {
                input: &mut std::io::empty(),
                output: &mut output,
                say: &|said| panic!("nothing is said: {said}"),
                is_interactive: false,
                is_output_a_terminal: false,
                style: crate::cli::style::Style::PLAIN,
            };
            end(&console);
            run(&options, &mut console).expect("it is an answer");
            let shown = String::from_utf8(output).expect("it is text");
            assert!(
                shown.ends_with("the setting bbtoken.agent has no effect\n"),
                "{shown}"
            );
        }
    }
}
