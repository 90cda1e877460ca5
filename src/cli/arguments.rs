//! The one definition of the command line: parser, help, completions and man pages all come from it.

use std::{ffi::OsStr, path::PathBuf};

use clap::{
    Arg, ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::{candidates::profiles, examples};

/// The widest line of a help text, in columns.
pub(super) const MAX_WIDTH: usize = 90;

/// What the help of `git bbtoken` says at its end.
const MORE: &str = "\
    'git bbtoken help' and 'git bbtoken help <subcommand>' always work. 'git bbtoken --help' shows a manual page: run \
    'git bbtoken man --install' once before.\n\n\
    Topics: 'git bbtoken help config', 'environment', 'exit-codes', 'profiles', 'bitbucket', 'json', 'lfs', 'reference'.\n\
    Exit codes: 0 done, 1 failed, 2 usage, 3 not configured, 4 login needed, 5 refused by Bitbucket, 6 network, \
    7 store locked or unreadable.";

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
            Logout keeps what another profile also uses. To remove that too, give --shared.",
        after_help = examples::shown("git-bbtoken-logout")
    )]
    Logout(Logout),
    /// Choose the profile that git uses: here, for a workspace, or everywhere
    #[command(
        long_about = "Choose the profile that git uses: here, for a workspace, or everywhere\n\n\
            Without an option, the command chooses the profile for the repository here if its remote is at Bitbucket, \
            and otherwise for every repository. It says which setting it has written, and warns if git still uses \
            another profile.",
        after_help = examples::shown("git-bbtoken-use")
    )]
    Use(Use),
    /// Show whose token git uses
    #[command(
        long_about = "Show whose token git uses\n\n\
            The command gets a token if none is cached, and asks Bitbucket for its account. A client's own token \
            belongs to the OAuth consumer.",
        after_help = examples::shown("git-bbtoken-whoami")
    )]
    Whoami(Chosen),
    /// Show each profile in one line, and how to fix it
    #[command(
        long_about = "Show each profile in one line, and how to fix it\n\n\
            A line shows the profile's account, its workspaces, and how long its login or token is valid. If you cannot \
            use the profile, the line shows why, and the command that fixes this. Status makes no request.\n\n\
            Each line starts with a mark: 'ok' or '--', and on most terminals a check mark or a cross.",
        after_help = examples::shown("git-bbtoken-status")
    )]
    Status(Status),
    /// Print a fresh access token for a script
    #[command(long_about = "Print a fresh access token for a script\n\n\
            On a terminal, the token would stay readable. There, the command needs --force.",
        after_help = examples::shown("git-bbtoken-token")
    )]
    Token(Token),
    /// Run a command with a fresh access token
    #[command(long_about = "Run a command with a fresh access token\n\n\
            Only this command gets the token, in its variable BBTOKEN_ACCESS_TOKEN. With --netrc, the token is in a \
            file instead. Only you can read this file, and exec removes it afterwards. If SIGKILL ends exec, the file \
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
    /// Print the version, and that of the helper if it is another one
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

#[derive(Debug, Args)]
pub(super) struct Profile {
    /// The profile [default: the one that git uses in this directory]
    #[arg(id = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Logout {
    #[command(flatten)]
    pub(super) profile: Profile,
    /// Also remove what other profiles use
    #[arg(long)]
    pub(super) shared: bool,
    /// Log every profile out
    #[arg(long, conflicts_with_all = ["profile", "shared"])]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Use this profile [default: the one that git uses in this directory]
    #[arg(long = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("kind").multiple(false))]
pub(super) struct Login {
    /// The profile to create, or to log in to again; 'default' if there is none yet
    #[arg(value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(super) profile: Option<String>,
    /// Log in as yourself, in a browser
    #[arg(long, group = "kind")]
    pub(super) browser: bool,
    /// Log in as the OAuth client itself, without a user: for CI and servers
    #[arg(long, group = "kind")]
    pub(super) client_credentials: bool,
    /// Read a token from stdin: an access token, or an API token with scopes
    #[arg(long, group = "kind")]
    pub(super) with_token: bool,
    /// The client's id (Bitbucket: the consumer's key)
    #[arg(long, value_name = "id")]
    pub(super) client_id: Option<String>,
    /// Read the client's secret from stdin, one line
    #[arg(long, conflicts_with = "with_token")]
    pub(super) with_secret: bool,
    /// Use the profile for this workspace; repeat the option for more workspaces
    #[arg(long = "workspace", value_name = "workspace")]
    pub(super) workspaces: Vec<String>,
    /// The account to log in to, if you use one client with two accounts
    #[arg(long, value_name = "name")]
    pub(super) account: Option<String>,
    /// Where to store secrets: file, keyring or kernel-keyring
    #[arg(long, value_name = "store", value_parser = Known(&["file", "keyring", "kernel-keyring"]), hide_possible_values = true)]
    pub(super) store: Option<String>,
    /// Print the address of the login page, and ask for the address where the browser ends
    #[arg(long, conflicts_with_all = ["client_credentials", "with_token"])]
    pub(super) no_browser: bool,
    /// Listen for the browser on this port of 127.0.0.1
    #[arg(long, value_name = "number", conflicts_with_all = ["no_browser", "client_credentials", "with_token"])]
    pub(super) port: Option<u16>,
    /// Wait at most this long for the login in the browser
    #[arg(long, value_name = "seconds", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400),
        conflicts_with_all = ["no_browser", "client_credentials", "with_token"])]
    pub(super) timeout: u64,
    /// Save the token or the client's secret without a check
    #[arg(long, conflicts_with_all = ["browser", "no_browser", "port", "repository"])]
    pub(super) no_check: bool,
    /// Use this profile for every address without a profile
    #[arg(long = "default", conflicts_with = "workspaces")]
    pub(super) is_default: bool,
    /// Do not offer to set up git
    #[arg(long)]
    pub(super) no_setup: bool,
    /// The repository for which git waits; the helper gives it
    #[arg(long, hide = true, value_name = "address", conflicts_with_all = ["repository", "no_check"])]
    pub(super) for_git: Option<String>,
    /// Check the login with this repository, first without git and then with git
    #[arg(long = "try", value_name = "workspace/repository")]
    pub(super) repository: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").multiple(false))]
pub(super) struct Use {
    /// The profile to use
    #[arg(value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(super) profile: String,
    /// Use it for this workspace, and no other profile
    #[arg(long, value_name = "workspace", group = "place")]
    pub(super) workspace: Option<String>,
    /// Use it for the repository here
    #[arg(long, group = "place")]
    pub(super) here: bool,
    /// Use it for every repository for which nothing else selects a profile
    #[arg(long, group = "place")]
    pub(super) global: bool,
}

#[derive(Debug, Args)]
pub(super) struct Only {
    /// Show only this profile
    #[arg(id = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Color {
    /// Color the marks: auto (on a terminal), always or never
    #[arg(
        long = "color",
        value_name = "when",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(super) choice: ColorChoice,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) profile: Only,
    /// Also show the source of each setting, and what is stored
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// Print JSON; 'git bbtoken help json' describes it
    #[arg(long, conflicts_with = "verbose")]
    pub(super) json: bool,
    /// Show which profile git uses for an address, and why
    #[arg(long, value_name = "address", conflicts_with_all = ["profile", "json", "verbose"])]
    pub(super) explain: Option<String>,
    #[command(flatten)]
    pub(super) color: Color,
}

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(flatten)]
    pub(super) profile: Chosen,
    /// Print JSON with the token, its user name and its expiry; 'git bbtoken help json' describes it
    #[arg(long)]
    pub(super) json: bool,
    /// Print the token even on a terminal
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    pub(super) profile: Chosen,
    /// Write the token to this new file in .netrc format, instead of a variable
    #[arg(long, value_name = "file")]
    pub(super) netrc: Option<PathBuf>,
    /// The command and its arguments, after '--'
    #[arg(last = true, required = true, value_name = "command")]
    pub(super) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Write without asking
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Show the changes, and write nothing
    #[arg(long, short = 'n', conflicts_with = "yes")]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Setup {
    /// Use bbtoken:: for every https and ssh address of Bitbucket, in every repository
    #[arg(long)]
    pub(super) everywhere: bool,
    /// Use https for bbtoken:: addresses, for tools that do not support remote helpers
    #[arg(long, conflicts_with = "everywhere")]
    pub(super) plain: bool,
    /// Write to the system's git configuration, for all users of this machine
    #[arg(long)]
    pub(super) system: bool,
    #[command(flatten)]
    pub(super) consent: Consent,
}

#[derive(Debug, Args)]
pub(super) struct Unsetup {
    /// Remove what 'setup --system' has added
    #[arg(long)]
    pub(super) system: bool,
    #[command(flatten)]
    pub(super) consent: Consent,
}

#[derive(Debug, Subcommand)]
pub(super) enum Remote {
    /// Change the Bitbucket addresses of remotes and submodules to bbtoken:: addresses
    #[command(
        long_about = "Change the Bitbucket addresses of remotes and submodules to bbtoken:: addresses\n\n\
            The command changes the configuration of the repository here and of its submodules, and shows each change \
            first. '.gitmodules' is committed, so a change there is a change for everybody: give --submodules for it.",
        after_help = examples::shown("git-bbtoken-remote-convert")
    )]
    Convert(Convert),
}

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Change bbtoken:: addresses to https addresses
    #[arg(long)]
    pub(super) back: bool,
    /// Also change '.gitmodules', for everybody who clones this repository
    #[arg(long)]
    pub(super) submodules: bool,
    /// Change every repository below this directory
    #[arg(long, value_name = "directory")]
    pub(super) below: Option<PathBuf>,
    #[command(flatten)]
    pub(super) consent: Consent,
}

#[derive(Debug, Args)]
pub(super) struct Credential {
    #[command(flatten)]
    pub(super) profile: Chosen,
    /// get, store, erase or capability; others are ignored, as git requires
    #[arg(value_parser = Known(&["get", "store", "erase", "capability"]), hide_possible_values = true)]
    pub(super) action: String,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A repository to read as a test
    #[arg(value_name = "address")]
    pub(super) address: Option<String>,
    /// Fix the problems that are safe to fix
    #[arg(long)]
    pub(super) fix: bool,
    /// Print a report that is safe to publish, without your names, addresses and paths
    #[arg(long, conflicts_with = "fix")]
    pub(super) report: bool,
    /// Print JSON; 'git bbtoken help json' describes it
    #[arg(long, conflicts_with_all = ["fix", "report"])]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) color: Color,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write all pages to a directory of yours that man searches
    #[arg(long)]
    pub(super) install: bool,
    /// Write all pages to this directory
    #[arg(long, value_name = "directory", conflicts_with = "install")]
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell: bash, zsh, fish or powershell
    #[arg(hide_possible_values = true)]
    pub(super) shell: Shell,
    /// What to offer for the word with this number, counted from 0; the shell's script asks
    #[arg(long, hide = true)]
    pub(super) at: Option<usize>,
    /// The words of the line
    #[arg(last = true, hide = true)]
    pub(super) words: Vec<std::ffi::OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

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

/// Words that completions offer; whether another one is wrong is decided where it is used.
#[derive(Clone)]
struct Known(&'static [&'static str]);

impl TypedValueParser for Known {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
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

    /// Takes what a shell reads for itself off a line.
    fn arguments(line: &str) -> Vec<String> {
        let start = line.find("git bbtoken").expect("it is an example of ours");
        let line = line[start..].split([')', '|', '<', '>']).next();
        let words = shell_words::split(line.unwrap_or("")).expect("it is a line for a shell");
        words[1..].to_vec()
    }

    #[test]
    fn every_command_shows_two_examples_that_the_command_line_accepts() {
        let commands = all(&definition());
        assert_eq!(commands.len(), 18, "every command is here");
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
