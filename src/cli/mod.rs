//! `git bbtoken …`: for people, and for git's credential protocol.

mod agent;
mod arguments;
mod candidates;
mod completions;
mod console;
mod credential;
mod doctor;
mod examples;
mod help;
mod help_text;
mod login;
mod logout;
mod manpath;
mod manual;
mod names;
mod reference;
mod remote;
mod renew;
mod setup;
#[cfg_attr(not(unix), path = "signals_elsewhere.rs")]
mod signals;
mod status;
mod style;
mod token;
mod use_profile;
mod version;
mod whoami;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, stdin, stdout},
    process::ExitCode,
};

use clap::{
    Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    dumps,
    failure::{Failure, Kind, is_closed_pipe},
    report,
    secret::mask_name,
    suggestion::similar,
    trace,
};
use arguments::{Cli, Command};

pub(crate) use console::Console;
use console::VERSION;
use style::Style;

/// Runs the management command on this process's arguments and streams.
pub(crate) fn main() -> ExitCode {
    dumps::forbid();
    trace::start("git-bbtoken", &|name| std::env::var_os(name), &report::warn);
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(ended) = agent::become_agent(&arguments) {
        return ExitCode::from(u8::from(ended.is_err()));
    }
    let outcome = run(
        arguments,
        &mut Console {
            is_interactive: stdin().is_terminal() && report::is_shown_on_a_terminal(),
            is_output_a_terminal: stdout().is_terminal(),
            style: Style::PLAIN,
            input: &mut stdin().lock(),
            output: &mut stdout().lock(),
            say: &report::say,
        },
    );
    let code = outcome.unwrap_or_else(|error| {
        report::show(&error);
        report::exit_code(&error)
    });
    trace::end(code);
    ExitCode::from(code)
}

/// Runs one subcommand; `arguments` begin with the program's name. Gives the exit code. For `exec`, this is the
/// command's own.
///
/// # Errors
///
/// If the subcommand fails. `report` has the exit code for the error.
fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> anyhow::Result<u8> {
    run_one(arguments, console).map_err(|error| {
        let written = error.downcast_ref::<io::Error>();
        let is_pipe = written.is_some_and(is_closed_pipe);
        // Only writing the answer gives an error without context, as in `git bbtoken status | head -1`.
        if is_pipe && error.chain().count() == 1 {
            return error.context(Failure::new(
                Kind::NoMessage,
                "the reader closed standard output",
            ));
        }
        error
    })
}

fn run_one(arguments: Vec<OsString>, console: &mut Console<'_>) -> anyhow::Result<u8> {
    let command = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli.command,
        Err(error) => {
            return answer_or_refuse(masked(suggested(error, &arguments)), console);
        }
    };
    // Git starts 'credential', and its user sees git's own progress.
    if !matches!(command, Command::Credential(_)) {
        report::announce_waits();
    }
    match command {
        Command::Exec(options) => return token::exec(&options),
        Command::Doctor(options) => return doctor::run(&options, console),
        Command::Login(options) => login::run(&options, console),
        Command::Renew(options) => renew::run(&options, console),
        Command::Logout(options) => logout::run(&options, console),
        Command::Use(options) => use_profile::run(&options, console),
        Command::Whoami(options) => whoami::run(&options, console),
        Command::Status(options) => status::run(&options, console),
        Command::Token(options) => token::print(&options, console),
        Command::Setup(options) => setup::run(&options, console),
        Command::Unsetup(options) => setup::undo(&options, console),
        Command::Remote(arguments::Remote::Convert(options)) => remote::convert(&options, console),
        Command::Credential(arguments::Credential { profile, action }) => credential::run(
            profile.name.as_deref(),
            &action,
            console.input,
            console.output,
        ),
        Command::Completions(options) => completions::run(&options, console),
        Command::Man(options) => manual::run(&options, console),
        Command::Agent(options) => agent::run(&options, console),
        Command::Version => version::run(console),
        Command::Help { topic } => help::run(&topic, console),
    }?;
    Ok(0)
}

/// Shows help and version, which the parser gives as errors. Reports any other error.
fn answer_or_refuse(error: clap::Error, console: &mut Console<'_>) -> anyhow::Result<u8> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            console.print(&text)?;
            Ok(0)
        }
        _ => {
            // Git handles '--help' itself and looks for a manual page.
            let text = text
                .trim_end()
                .replace("try '--help'", "try 'git bbtoken help'");
            Err(Failure::new(Kind::Usage, text.strip_prefix("error: ").unwrap_or(&text)).into())
        }
    }
}

/// Suggests the option that the user most likely meant. The parser's own suggestion compares letters only.
fn suggested(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let Some(word) = word.strip_prefix("--") else {
        return error;
    };
    let mut command = &arguments::definition();
    for argument in arguments {
        command = command.find_subcommand(argument).unwrap_or(command);
    }
    let options = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    let similar = similar(word, options.filter_map(clap::Arg::get_long));
    if let (Some(option), ErrorKind::UnknownArgument) = (similar, error.kind()) {
        let option = ContextValue::String(format!("--{option}"));
        let usage = ContextValue::StyledStr(command.clone().render_usage());
        error.insert(ContextKind::SuggestedArg, option);
        error.insert(ContextKind::Usage, usage);
        error.remove(ContextKind::Suggested);
    }
    error
}

/// Masks possible secrets in the words of the command line that the parser repeats.
fn masked(mut error: clap::Error) -> clap::Error {
    let kinds = [
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::InvalidSubcommand,
    ];
    for kind in kinds {
        let Some(ContextValue::String(word)) = error.get(kind) else {
            continue;
        };
        // An unexpected word may be a secret of any form.
        let is_foreign = error.kind() == ErrorKind::UnknownArgument && !word.starts_with('-');
        let shown = match is_foreign {
            true => "***".to_owned(),
            false => mask_name(word),
        };
        error.insert(kind, ContextValue::String(shown));
    }
    error
}
