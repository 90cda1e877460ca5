//! Two examples or more for each program and subcommand: help and man pages show them.

use super::names::{Name, list, name};

/// The name of each man page, in the order of the help. Below it, its examples, each with its meaning.
const EXAMPLES: &str = r"
git-remote-bbtoken
  git clone bbtoken::workspace/repository
      Clone a repository
  git remote set-url origin bbtoken::work@workspace/repository
      Use the profile 'work' for a repository that you have
  BBTOKEN_TRACE=1 git ls-remote bbtoken::workspace/repository
      Show each step with its time
git-bbtoken
  git bbtoken login
      Log in; the command asks for what it needs
  git bbtoken status --explain workspace/repository
      Show which profile git uses for a repository, and why
  git bbtoken doctor workspace/repository
      Find out why a clone, fetch or push fails
git-bbtoken-login
  git bbtoken login work --browser --workspace acme
      Log in as yourself for the workspace 'acme'; the command asks for the client
  git bbtoken login ci --client-credentials --client-id KEY --with-secret < secret.txt
      Log in as an OAuth client in a script; the file holds the client's secret
  git bbtoken login me --with-token --account me@example.com < token.txt
      Save an API token of the Atlassian account 'me@example.com'; for an access token, leave out --account
  git bbtoken login dc --data-center https://git.example/bitbucket --with-token
      Log in to a Bitbucket Data Center; the command asks for an HTTP access token
git-bbtoken-logout
  git bbtoken logout work
      Remove the login of the profile 'work', but keep what other profiles use
  git bbtoken logout work --shared
      Also remove what other profiles use
  git bbtoken logout --all
      Remove the logins, secrets and tokens of every profile
git-bbtoken-renew
  git bbtoken renew ci
      Renew the shared token of the profile 'ci' if less than half of its life is left
  */30 * * * * git bbtoken renew ci
      The same every 30 minutes, as a line of crontab(5)
git-bbtoken-use
  git bbtoken use work --workspace acme
      Use the profile 'work' for all repositories of the workspace 'acme'
  git bbtoken use work --here
      Use the profile 'work' for the repository in this directory
git-bbtoken-whoami
  git bbtoken whoami
      Show the account of the profile that git uses in this directory
  git bbtoken whoami --profile work
      Show the account of the profile 'work'
git-bbtoken-status
  git bbtoken status
      Show every profile in one line
  git bbtoken status work --verbose
      Show where each setting of the profile 'work' comes from, and what is stored
  git bbtoken status --explain workspace/repository
      Show which profile git uses for a repository, and why
  git bbtoken status work --json
      Describe the profile 'work' to a script
git-bbtoken-token
  git bbtoken token | some-script
      Give a token to a script that reads it from stdin
  git bbtoken token --json | some-script
      Give the script the user name and the expiry of the token, too
  TOKEN=$(git bbtoken token --profile ci)
      Store a token of the profile 'ci' in a variable of the shell
git-bbtoken-exec
  git bbtoken exec -- ./deploy --quick
      Run a program that reads BBTOKEN_ACCESS_TOKEN
  git bbtoken exec --netrc ~/.netrc -- go mod download
      Run a program that reads ~/.netrc; this file must not exist yet
git-bbtoken-setup
  git bbtoken setup
      Show the settings, ask, and write them
  git bbtoken setup --no-agent
      Do the same, but let no process keep connections open
  sudo git bbtoken setup --system
      Do the same for all users of this machine
  git bbtoken setup --everywhere --dry-run
      Show what would change for https and ssh addresses of Bitbucket
git-bbtoken-unsetup
  git bbtoken unsetup --dry-run
      Show the settings that would be removed
  git bbtoken unsetup --yes
      Remove them without asking
git-bbtoken-remote
  git bbtoken remote convert --dry-run
      Show how the addresses of this repository would change
  git bbtoken remote convert --back
      Change bbtoken:: addresses back to https addresses
git-bbtoken-remote-convert
  git bbtoken remote convert
      Show the new addresses, ask, and write them
  git bbtoken remote convert --below ~/src --dry-run
      Show the new addresses of every repository below ~/src
  git bbtoken remote convert --to cloud --map PROJ=acme --below ~/src
      After the project PROJ has moved to Cloud: use its workspace 'acme' in the clones below ~/src
git-bbtoken-credential
  printf 'protocol=https\nhost=bitbucket.org\n' | git bbtoken credential get
      Print what git gets for Bitbucket, including the token
  git bbtoken credential --profile work capability
      List what the helper supports
git-bbtoken-doctor
  git bbtoken doctor workspace/repository
      Check the configuration, then read the refs of a repository
  git bbtoken doctor --fix
      Fix the problems that are safe to fix
  git bbtoken doctor --json > findings.json
      Write the findings for a script
  git bbtoken doctor --report > report.txt
      Write a report that you can attach to an issue
git-bbtoken-completions
  git bbtoken completions bash > ~/.local/share/bash-completion/completions/git-bbtoken
      Install the completions for bash
  git bbtoken completions fish > ~/.config/fish/conf.d/git-bbtoken.fish
      Install the completions for fish
git-bbtoken-man
  git bbtoken man --install
      Install the pages, so that 'git bbtoken --help' works
  git bbtoken man | man -l -
      Read the first page
git-bbtoken-agent
  git bbtoken agent status
      Show how many connections are open
  git bbtoken agent stop
      Close all connections; the next command starts the agent again
git-bbtoken-agent-status
  git bbtoken agent status
      Show how many connections are open, and how often commands used one again
  git bbtoken agent status --json
      The same for a script
git-bbtoken-agent-stop
  git bbtoken agent stop
      End the agent
  git config --global bbtoken.agent false && git bbtoken agent stop
      Switch the agent off for good
git-bbtoken-version
  git bbtoken version
      Print the versions of both programs if they differ
  git bbtoken version | head -1
      Print only the version of git-bbtoken
git-bbtoken-help
  git bbtoken help login
      Explain the subcommand 'login'
  git bbtoken help environment
      List the environment variables
";

/// Gives the examples on a man page.
pub(super) fn of(page: &str) -> Vec<Name> {
    let below = EXAMPLES.lines().skip_while(|line| *line != page).skip(1);
    let lines = below.take_while(|line| line.starts_with(' '));
    let lines: Vec<_> = lines.map(str::trim).collect();
    let pairs = lines.chunks_exact(2);
    pairs.map(|pair| name(pair[0], pair[1])).collect()
}

/// Shows the examples of a man page as the last part of a help text.
pub(super) fn shown(page: &str) -> String {
    format!("Examples:\n{}", list(&of(page)))
}
