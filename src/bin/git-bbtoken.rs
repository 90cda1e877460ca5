//! `git bbtoken`: the management command.

use std::{
    io::{IsTerminal as _, stdin, stdout},
    process::ExitCode,
};

use bbtoken::{
    manage::{self, Console},
    report,
};

fn main() -> ExitCode {
    let outcome = manage::run(
        std::env::args_os().collect(),
        &mut Console {
            is_interactive: stdin().is_terminal() && report::is_shown_on_a_terminal(),
            is_output_a_terminal: stdout().is_terminal(),
            input: &mut stdin().lock(),
            output: &mut stdout().lock(),
            say: &report::say,
            warn: &report::warn,
        },
    );
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report::show(&error);
            ExitCode::from(report::exit_code(&error))
        }
    }
}
