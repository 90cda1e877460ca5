//! `git bbtoken`: the management command.

use std::process::ExitCode;

use bbtoken::{manage, report};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match manage::run(
        &arguments,
        &mut std::io::stdin().lock(),
        &mut std::io::stdout().lock(),
        &report::warn,
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::show(&error);
            ExitCode::from(report::exit_code(&error))
        }
    }
}
