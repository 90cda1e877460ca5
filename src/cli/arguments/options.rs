//! The options of each subcommand.

use std::path::PathBuf;

use clap::{Args, ColorChoice, Subcommand, ValueEnum, builder::PossibleValue};
use clap_complete::engine::ArgValueCandidates;

use super::{examples, profiles};
use crate::site::Product;

impl ValueEnum for Product {
    fn value_variants<'a>() -> &'a [Self] {
        &[Product::Cloud, Product::DataCenter]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Profile {
    /// The profile [default: the one that git uses in this directory]
    #[arg(id = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Logout {
    #[command(flatten)]
    pub(in crate::cli) profile: Profile,
    /// Also remove what other profiles or machines use
    #[arg(long)]
    pub(in crate::cli) shared: bool,
    /// Log every profile out
    #[arg(long, conflicts_with_all = ["profile", "shared"])]
    pub(in crate::cli) all: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Chosen {
    /// Use this profile [default: the one that git uses in this directory]
    #[arg(long = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("kind").multiple(false))]
pub(in crate::cli) struct Login {
    /// The profile to create, or to log in to again; 'default' if there is none yet
    #[arg(value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(in crate::cli) profile: Option<String>,
    /// Log in as yourself, in a browser
    #[arg(long, group = "kind")]
    pub(in crate::cli) browser: bool,
    /// Log in as the OAuth client itself, without a user: for CI and servers
    #[arg(long, group = "kind")]
    pub(in crate::cli) client_credentials: bool,
    /// Read a token from stdin: an access token, or an API token with scopes
    #[arg(long, group = "kind")]
    pub(in crate::cli) with_token: bool,
    /// The client's id (Cloud: the consumer's key)
    #[arg(long, value_name = "id")]
    pub(in crate::cli) client_id: Option<String>,
    /// Read the client's secret from stdin, one line
    #[arg(long, conflicts_with = "with_token")]
    pub(in crate::cli) with_secret: bool,
    /// Use the profile for this workspace, at a Data Center for this project; repeat the option for more
    #[arg(long = "workspace", value_name = "workspace")]
    pub(in crate::cli) workspaces: Vec<String>,
    /// For an API token: the e-mail address of your Atlassian account. With one client and two accounts: the account to log in to
    #[arg(long, value_name = "name")]
    pub(in crate::cli) account: Option<String>,
    /// Where to store secrets: file, keyring or kernel-keyring; vault or command to share the login with other machines
    #[arg(long, value_name = "store", value_parser = ["file", "keyring", "kernel-keyring", "vault", "command"], ignore_case = true, hide_possible_values = true)]
    pub(in crate::cli) store: Option<String>,
    /// Log in to the Bitbucket Data Center at this base URL: the part of its addresses before '/projects'
    #[arg(long, value_name = "url")]
    pub(in crate::cli) data_center: Option<String>,
    /// For a browser login at a Data Center: exactly the redirect URL that the administrator registered
    #[arg(long, value_name = "url", conflicts_with_all = ["client_credentials", "with_token", "port"])]
    pub(in crate::cli) redirect_uri: Option<String>,
    /// The path of the record in Vault or OpenBao, as in 'secret/bbtoken/ci'
    #[arg(long, value_name = "path")]
    pub(in crate::cli) store_path: Option<String>,
    /// Print the address of the login page, and ask for the address that the browser shows at the end
    #[arg(long, conflicts_with_all = ["client_credentials", "with_token"])]
    pub(in crate::cli) no_browser: bool,
    /// Listen for the browser on this port of 127.0.0.1
    #[arg(long, value_name = "number", conflicts_with_all = ["no_browser", "client_credentials", "with_token"])]
    pub(in crate::cli) port: Option<u16>,
    /// Wait at most this long for the login in the browser
    #[arg(long, value_name = "seconds", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400),
        conflicts_with_all = ["no_browser", "client_credentials", "with_token"])]
    pub(in crate::cli) timeout: u64,
    /// Save the token or the client's secret without a check
    #[arg(long, conflicts_with_all = ["browser", "no_browser", "port", "repository"])]
    pub(in crate::cli) no_check: bool,
    /// Use this profile for every address without a profile
    #[arg(long = "default", conflicts_with = "workspaces")]
    pub(in crate::cli) is_default: bool,
    /// Do not offer to set up git
    #[arg(long)]
    pub(in crate::cli) no_setup: bool,
    /// The repository for which git waits; the helper gives it
    #[arg(long, hide = true, value_name = "address", conflicts_with_all = ["repository", "no_check"])]
    pub(in crate::cli) for_git: Option<String>,
    /// Check the login with this repository, first without git and then with git
    #[arg(long = "try", value_name = "workspace/repository")]
    pub(in crate::cli) repository: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").multiple(false))]
pub(in crate::cli) struct Use {
    /// The profile to use
    #[arg(value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(in crate::cli) profile: String,
    /// Use this profile for the workspace. Other profiles lose this workspace
    #[arg(long, value_name = "workspace", group = "place")]
    pub(in crate::cli) workspace: Option<String>,
    /// Use it for the repository in this directory
    #[arg(long, group = "place")]
    pub(in crate::cli) here: bool,
    /// Use it for every address for which nothing else selects a profile
    #[arg(long, group = "place")]
    pub(in crate::cli) global: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Only {
    /// Show only this profile
    #[arg(id = "profile", value_name = "profile", add = ArgValueCandidates::new(profiles))]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Color {
    /// Color the marks: auto (on a terminal), always or never
    #[arg(
        long = "color",
        value_name = "when",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(in crate::cli) choice: ColorChoice,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    pub(in crate::cli) profile: Only,
    /// Also show the source of each setting, and what is stored
    #[arg(long, short)]
    pub(in crate::cli) verbose: bool,
    /// Print JSON; 'git bbtoken help json' describes it
    #[arg(long, conflicts_with = "verbose")]
    pub(in crate::cli) json: bool,
    /// Show which profile git uses for an address, and why
    #[arg(long, value_name = "address", conflicts_with_all = ["profile", "json", "verbose"])]
    pub(in crate::cli) explain: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) color: Color,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Token {
    #[command(flatten)]
    pub(in crate::cli) profile: Chosen,
    /// Print JSON with the token, its user name and its expiry; 'git bbtoken help json' describes it
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print the token even on a terminal
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Exec {
    #[command(flatten)]
    pub(in crate::cli) profile: Chosen,
    /// Write the token to this new file in .netrc format, instead of a variable
    #[arg(long, value_name = "file")]
    pub(in crate::cli) netrc: Option<PathBuf>,
    /// The command and its arguments, after '--'
    #[arg(last = true, required = true, value_name = "command")]
    pub(in crate::cli) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Consent {
    /// Write without asking
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    /// Show the changes, and write nothing
    #[arg(long, short = 'n', conflicts_with = "yes")]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Setup {
    /// Use bbtoken:: for every https and ssh address of Bitbucket, in every repository
    #[arg(long)]
    pub(in crate::cli) everywhere: bool,
    /// Use https for bbtoken:: addresses, for tools that do not support remote helpers
    #[arg(long, conflicts_with = "everywhere")]
    pub(in crate::cli) plain: bool,
    /// Write to the system's git configuration, for all users of this machine
    #[arg(long)]
    pub(in crate::cli) system: bool,
    /// Do not turn on the agent, which keeps connections open between commands
    #[arg(long)]
    pub(in crate::cli) no_agent: bool,
    #[command(flatten)]
    pub(in crate::cli) consent: Consent,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Unsetup {
    /// Remove what 'setup --system' has added
    #[arg(long)]
    pub(in crate::cli) system: bool,
    #[command(flatten)]
    pub(in crate::cli) consent: Consent,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Remote {
    /// Change the Bitbucket addresses of remotes and submodules to bbtoken:: addresses
    #[command(
        long_about = "Change the Bitbucket addresses of remotes and submodules to bbtoken:: addresses\n\n\
            The command changes the configuration of the repository in this directory and of its submodules, and shows \
            each change first. A change of the committed '.gitmodules' affects all users of the repository, so it needs \
            --submodules.",
        after_help = examples::shown("git-bbtoken-remote-convert")
    )]
    Convert(Convert),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Convert {
    /// Change bbtoken:: addresses to https addresses, and remove the helper's settings for git-lfs and profiles
    #[arg(long)]
    pub(in crate::cli) back: bool,
    /// Change the addresses of repositories that have moved between Data Center and Cloud. The kind is where they are now: cloud or datacenter. Needs --map
    #[arg(
        long,
        value_name = "kind",
        value_enum,
        ignore_case = true,
        hide_possible_values = true,
        requires = "maps",
        conflicts_with = "back"
    )]
    pub(in crate::cli) to: Option<Product>,
    /// With --to: a project of the repositories, and its new workspace; repeat the option for more projects
    #[arg(
        long = "map",
        id = "maps",
        value_name = "PROJECT=workspace",
        requires = "to"
    )]
    pub(in crate::cli) maps: Vec<String>,
    /// Also change '.gitmodules', for everybody who clones this repository
    #[arg(long)]
    pub(in crate::cli) submodules: bool,
    /// Change every repository below this directory
    #[arg(long, value_name = "directory")]
    pub(in crate::cli) below: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) consent: Consent,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Credential {
    #[command(flatten)]
    pub(in crate::cli) profile: Chosen,
    /// get, store, erase or capability; others are ignored, as git requires
    pub(in crate::cli) action: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// A repository to read as a test
    #[arg(value_name = "address")]
    pub(in crate::cli) address: Option<String>,
    /// Fix the problems that are safe to fix
    #[arg(long)]
    pub(in crate::cli) fix: bool,
    /// Print a report that is safe to publish, without your names, addresses and paths
    #[arg(long, conflicts_with = "fix")]
    pub(in crate::cli) report: bool,
    /// Print JSON; 'git bbtoken help json' describes it
    #[arg(long, conflicts_with_all = ["fix", "report"])]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) color: Color,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Man {
    /// Write all pages to a directory of yours that man searches
    #[arg(long)]
    pub(in crate::cli) install: bool,
    /// Write all pages to this directory
    #[arg(long, value_name = "directory", conflicts_with = "install")]
    pub(in crate::cli) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Completions {
    /// The shell: bash, zsh, fish or powershell
    #[arg(hide_possible_values = true)]
    pub(in crate::cli) shell: Shell,
    /// What to offer for the word with this number, counted from 0; the shell's script asks
    #[arg(long, hide = true)]
    pub(in crate::cli) at: Option<usize>,
    /// The words of the line
    #[arg(last = true, hide = true)]
    pub(in crate::cli) words: Vec<std::ffi::OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// What to do with the agent.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Agent {
    /// Show the agent's connections
    #[command(after_help = examples::shown("git-bbtoken-agent-status"))]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End the agent; commands that use it finish first
    #[command(after_help = examples::shown("git-bbtoken-agent-stop"))]
    Stop,
}
