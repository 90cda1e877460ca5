//! `git bbtoken`: the management command.

use std::{
    io::{IsTerminal as _, stdin, stdout},
    process::ExitCode,
};

use bbtoken::{
    dumps,
    cli::{self, Console},
    report, trace,
};

fn main() -> ExitCode {
    dumps::forbid();
    trace::start("git-bbtoken", &|name| std::env::var_os(name), &report::warn);
    let outcome = cli::run(
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
    let code = outcome.unwrap_or_else(|error| {
        report::show(&error);
        report::exit_code(&error)
    });
    trace::end(code);
    ExitCode::from(code)
}
