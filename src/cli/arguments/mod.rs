//! The only definition of the command line. Parser, help, completions and man pages all come from it.

mod options;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::{candidates::profiles, examples};

pub(super) use options::{
    Agent, Chosen, Color, Completions, Consent, Convert, Credential, Doctor, Exec, Login, Logout,
    Man, Profile, Remote, Setup, Shell, Status, Token, Unsetup, Use,
};

/// The widest line of a help text, in columns.
pub(super) const MAX_WIDTH: usize = 90;

/// The end of the help of `git bbtoken`.
const MORE: &str = "\
    'git bbtoken help' and 'git bbtoken help <subcommand>' always work. 'git bbtoken --help' shows a manual page: to \
    install it, run 'git bbtoken man --install' once.\n\n\
    Topics: 'git bbtoken help config', 'environment', 'exit-codes', 'profiles', 'bitbucket', 'json', 'lfs', 'reference'.\n\
    Exit codes: 0 done, 1 failed, 2 usage, 3 not configured, 4 login needed, 5 refused by Bitbucket, 6 network, \
    7 store locked or unreadable.";

/// The topics of `git bbtoken help`.
pub(super) const TOPICS: [&str; 8] = [
    "config",
    "environment",
    "exit-codes",
    "profiles",
    "bitbucket",
    "json",
    "lfs",
    "reference",
];

/// What `git bbtoken` understands.
#[derive(Debug, Parser)]
#[command(
    name = "git-bbtoken",
    bin_name = "git bbtoken",
    display_name = "git-bbtoken",
    version,
    about = "Manage the tokens of git-remote-bbtoken",
    long_about = "Manage the tokens of git-remote-bbtoken\n\n\
        Git itself clones, fetches and pushes: git clone bbtoken::workspace/repository",
    after_help = format!("{}\n{MORE}", examples::shown("git-bbtoken")),
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = MAX_WIDTH
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Print help; -h prints a summary
    #[arg(id = "help", short, long, action = ArgAction::Help, global = true)]
    _help: Option<bool>,
}

/// One subcommand.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set up a profile and log in: by browser, as a client, or with a token
    #[command(
        long_about = "Set up a profile and log in: by browser, as a client, or with a token\n\n\
            On a terminal, login asks for what is missing. In a script, give --with-token alone, or --browser or \
            --client-credentials with --client-id and --with-secret. Login reads the secret or the token from stdin, \
            never from an argument. It writes the profile with 'git config --global', and the secret to the profile's \
            store.\n\n\
            Login saves only what Bitbucket has accepted. A failed login leaves the earlier one in place. To check a \
            token, login reads the repository of --try, or asks Bitbucket for the account. To save a token that login \
            cannot check, give --no-check, or answer the question on a terminal.",
        after_help = examples::shown("git-bbtoken-login")
    )]
    Login(Login),
    /// Remove a profile's login, client secret and cached token from this machine
    #[command(
        long_about = "Remove a profile's login, client secret and cached token from this machine\n\n\
            Logout keeps what another profile also uses, and a login that other machines use. To remove that too, give \
            --shared.",
        after_help = examples::shown("git-bbtoken-logout")
    )]
    Logout(Logout),
    /// Renew a token that many machines share, ahead of its end
    #[command(
        long_about = "Renew a token that many machines share, ahead of its end\n\n\
            Only a profile with the store 'vault' or 'command' has a shared token. Every command renews it when it is \
            due. Run this command every 30 minutes where the jobs read only a copy of the token (storeTokenPath). It \
            renews the token if less than half of its life is left, and updates the copy.",
        after_help = examples::shown("git-bbtoken-renew")
    )]
    Renew(Profile),
    /// Choose the profile that git uses: here, for a workspace, or everywhere
    #[command(
        long_about = "Choose the profile that git uses: here, for a workspace, or everywhere\n\n\
            Without an option, the command chooses the profile for the repository in this directory if its remote is \
            at Bitbucket. Otherwise, it chooses the profile for every repository. It says which setting it has written, and warns if git still uses \
            another profile.",
        after_help = examples::shown("git-bbtoken-use")
    )]
    Use(Use),
    /// Show whose token git uses
    #[command(
        long_about = "Show whose token git uses\n\n\
            The command gets a token if none is cached, and asks Bitbucket for its account. A token from client \
            credentials belongs to the client, not to a user.",
        after_help = examples::shown("git-bbtoken-whoami")
    )]
    Whoami(Chosen),
    /// Show each profile in one line, and how to fix a profile that does not work
    #[command(
        long_about = "Show each profile in one line, and how to fix a profile that does not work\n\n\
            A line shows the profile's account, its workspaces, and how long its login or token is valid. If you cannot \
            use the profile, the line shows why, and the command that fixes this. If there are several profiles, a line \
            marks the one that git uses here. Status makes no request.\n\n\
            Each line starts with a mark: 'ok' or '--', and on most terminals a check mark or a cross.",
        after_help = examples::shown("git-bbtoken-status")
    )]
    Status(Status),
    /// Print a fresh access token for a script
    #[command(long_about = "Print a fresh access token for a script\n\n\
            On a terminal, give --force: the token stays readable there.",
        after_help = examples::shown("git-bbtoken-token")
    )]
    Token(Token),
    /// Run a command with a fresh access token
    #[command(long_about = "Run a command with a fresh access token\n\n\
            The variable BBTOKEN_ACCESS_TOKEN of this command contains the token. With --netrc, a new file contains it \
            instead. Only you can read this file, and exec removes it after the command. If SIGKILL ends exec, the file \
            remains, and the next exec replaces it.\n\n\
            The exit code is that of the command. If a signal ends the command, it is 128 plus the number of the \
            signal.",
        after_help = examples::shown("git-bbtoken-exec")
    )]
    Exec(Exec),
    /// Let git use bbtoken:: addresses, and get tokens for https addresses of Bitbucket
    #[command(after_help = examples::shown("git-bbtoken-setup"))]
    Setup(Setup),
    /// Remove exactly what setup has added
    #[command(after_help = examples::shown("git-bbtoken-unsetup"))]
    Unsetup(Unsetup),
    /// Change the addresses of a repository's remotes
    #[command(subcommand, after_help = examples::shown("git-bbtoken-remote"))]
    Remote(Remote),
    /// Answer git's credential protocol for the configured Bitbucket
    #[command(
        long_about = "Answer git's credential protocol for the configured Bitbucket\n\n\
            After 'git bbtoken setup', git starts this command when it needs a token (see gitcredentials(7)). If \
            Bitbucket refuses a token, git 2.46 and later get a new one within the same command. Older versions of \
            git report the failure, and the next command gets a new token.",
        after_help = examples::shown("git-bbtoken-credential")
    )]
    Credential(Credential),
    /// Find connection problems, and fix them
    #[command(after_help = examples::shown("git-bbtoken-doctor"))]
    Doctor(Doctor),
    /// Print a completion script for a shell
    #[command(after_help = examples::shown("git-bbtoken-completions"))]
    Completions(Completions),
    /// Print the manual page, or install all manual pages
    #[command(after_help = examples::shown("git-bbtoken-man"))]
    Man(Man),
    /// Show or end the agent, which keeps connections open between commands
    #[command(
        subcommand,
        long_about = "Show or end the agent, which keeps connections open between commands\n\n\
            To turn the agent on, run 'git config --global bbtoken.agent auto' or 'git \
            bbtoken setup'. The agent is a process of yours. Git commands then borrow an open connection from it. This saves the two round trips of a \
            new connection. If no agent is running, a command uses its own connection, and starts the agent for the \
            next command. The agent ends when no command has used it for 110 seconds.\n\n\
            The agent holds no token. It keeps no connection through a proxy or with a client certificate. There is no \
            agent on Windows.",
        after_help = examples::shown("git-bbtoken-agent")
    )]
    Agent(Agent),
    /// Print the version, and the version of the helper if it differs
    #[command(after_help = examples::shown("git-bbtoken-version"))]
    Version,
    /// Explain a subcommand or a topic
    #[command(after_help = examples::shown("git-bbtoken-help"))]
    Help {
        /// A subcommand, or: config, environment, exit-codes, profiles, bitbucket, json, lfs, reference
        #[arg(add = ArgValueCandidates::new(explained))]
        topic: Vec<String>,
    },
}

fn explained() -> Vec<CompletionCandidate> {
    let names = explained_names().into_iter();
    names.map(CompletionCandidate::new).collect()
}

/// Names the subcommands and topics that `git bbtoken help` explains.
pub(super) fn explained_names() -> Vec<String> {
    let command = Cli::command();
    let of = clap::Command::get_subcommands;
    let all = of(&command).chain(of(&command).flat_map(of));
    let names = all.map(clap::Command::get_name).chain(TOPICS);
    names.map(str::to_owned).collect()
}

/// Gives the definition itself.
pub(super) fn definition() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::Name;

    /// Gives a command, its subcommands and theirs.
    fn all(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().flat_map(all);
        std::iter::once(command.clone()).chain(below).collect()
    }

    /// Removes the parts of a line that a shell interprets.
    fn arguments(line: &str) -> Vec<String> {
        let start = line.find("git bbtoken").expect("it is an example of ours");
        let line = line[start..].split([')', '|', '<', '>']).next();
        let words = shell_words::split(line.unwrap_or("")).expect("it is a line for a shell");
        words[1..].to_vec()
    }

    #[test]
    fn every_command_shows_two_examples_that_the_command_line_accepts() {
        let commands = all(&definition());
        assert_eq!(commands.len(), 22, "every command is here");
        for mut command in commands {
            let title = command.get_display_name().unwrap_or("").to_owned();
            let short = command.render_help().to_string();
            let long = command.render_long_help().to_string();
            assert!(
                examples::of(&title).len() >= 2,
                "'{title}' has two examples"
            );
            for Name { name, meaning } in examples::of(&title) {
                for help in [&short, &long] {
                    let unwrapped = help.split_whitespace().collect::<Vec<_>>().join(" ");
                    assert!(unwrapped.contains(name), "'{title}' shows '{name}': {help}");
                    assert!(
                        unwrapped.contains(meaning),
                        "'{title}' explains '{name}': {help}"
                    );
                }
                assert!(name.len() + 2 <= MAX_WIDTH, "'{name}' fits a line");
                if let Err(error) = Cli::try_parse_from(arguments(name)) {
                    panic!("the example '{name}' is valid: {error}");
                }
                let is_own = title.split('-').skip(2).all(|word| name.contains(word));
                assert!(is_own, "'{name}' is an example of '{title}'");
            }
        }
    }
}
