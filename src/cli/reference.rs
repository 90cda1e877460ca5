//! Every key, variable and exit code in one table each: `git bbtoken help` and `docs/reference.md` are made of them.

use std::fmt::Write as _;

use super::{
    arguments::{self, MAX_WIDTH},
    help_text::{of_command, wrapped},
    names::{Name, entry, list, name},
};
use crate::{
    git_config::{BBTOKEN_KEYS, FromRepository, GIT_KEYS, HTTP_KEYS, REMOTE_KEYS, Row},
    program::ROWS,
};

/// `bbtoken.<key>` for every profile, `bbtoken.<profile>.<key>` for one.
pub(super) const KEYS: [Name; 16] = [
    name(
        "clientId",
        "the OAuth client's id (Bitbucket: the consumer's key)",
    ),
    name(
        "grant",
        "how to get tokens: client-credentials (default), authorization-code or token",
    ),
    name(
        "workspace",
        "use the profile for this workspace; several values are allowed",
    ),
    name(
        "account",
        "the account of the login, if one client serves two accounts; default: the profile's name",
    ),
    name(
        "pushProfile",
        "the profile to use for pushes instead of this one",
    ),
    name(
        "clientSecretCommand",
        "a command that prints the client's secret; after '!', a shell runs it",
    ),
    name(
        "accessTokenCommand",
        "a command that prints an access token or API token",
    ),
    name(
        "baseUrl",
        "the address of Bitbucket; default https://bitbucket.org",
    ),
    name(
        "tokenUrl",
        "the token endpoint; default <baseUrl>/site/oauth2/access_token",
    ),
    name(
        "authorizeUrl",
        "the page for consent; default <baseUrl>/site/oauth2/authorize",
    ),
    name(
        "store",
        "where to store secrets: file (default), keyring, kernel-keyring or memory",
    ),
    name(
        "transport",
        "the HTTP transport: auto (default), native, or git for git's own https",
    ),
    name(
        "rememberAdvertisement",
        "remember a server's capabilities for an hour, which saves a request: true (default) or false",
    ),
    name("profile", "only as bbtoken.profile: the default profile"),
    name(
        "lfs",
        "only as bbtoken.lfs: write the LFS addresses of remotes for git-lfs: true (default) or false",
    ),
    name(
        "addedBySetup",
        "only as bbtoken.addedBySetup: what 'git bbtoken setup' has added, for unsetup",
    ),
];

/// Keys outside `bbtoken.`.
pub(super) const OTHER_KEYS: [Name; 1] = [name(
    "remote.<name>.bbtokenProfile",
    "the profile for this remote",
)];

/// Environment variables; they win over git's configuration.
pub(super) const VARIABLES: [Name; 18] = [
    name("BBTOKEN_PROFILE", "the profile to use"),
    name(
        "BBTOKEN_CLIENT_ID",
        "the OAuth client's id (Bitbucket: the consumer's key)",
    ),
    name(
        "BBTOKEN_CLIENT_SECRET",
        "the client's secret; without BBTOKEN_CLIENT_ID, for a configured client that has no clientSecretCommand",
    ),
    name(
        "BBTOKEN_CLIENT_SECRET_FILE",
        "the absolute path of a file with the client's secret",
    ),
    name(
        "BBTOKEN_ACCESS_TOKEN",
        "an access token or API token, instead of a client",
    ),
    name(
        "BBTOKEN_ACCESS_TOKEN_FILE",
        "the absolute path of a file with an access token or API token",
    ),
    name(
        "BBTOKEN_BASE_URL",
        "the address of Bitbucket; default https://bitbucket.org",
    ),
    name(
        "BBTOKEN_TOKEN_URL",
        "the token endpoint; default <base>/site/oauth2/access_token",
    ),
    name(
        "BBTOKEN_AUTHORIZE_URL",
        "the page for consent; default <base>/site/oauth2/authorize",
    ),
    name(
        "BBTOKEN_TRANSPORT",
        "auto (default), native, or git for git's own https",
    ),
    name(
        "BBTOKEN_REMEMBER_ADVERTISEMENT",
        "true (default), or false to ask the server for its capabilities every time",
    ),
    name(
        "BBTOKEN_STORE",
        "file (default), keyring, kernel-keyring, or memory to write nothing",
    ),
    name(
        "BBTOKEN_HOME",
        "one directory for all files; default: the user's cache and state directories",
    ),
    name(
        "BBTOKEN_TRACE",
        "write a trace to stderr: 1 for each step with its time, 2 also for header lines; add ',json' for JSON, or \
         ',/absolute/path' to write to a file; no secret is shown",
    ),
    name(
        "GIT_TRACE_CURL, GIT_CURL_VERBOSE",
        "git's own traces of requests and responses, with GIT_TRACE_CURL_NO_DATA and GIT_TRACE_REDACT; the token is never shown",
    ),
    name(
        "GIT_SMART_HTTP",
        "0 turns the smart protocol off: git's own transport reads the repository's files, if the server allows it",
    ),
    name(
        "GIT_TERMINAL_PROMPT",
        "0 forbids questions, as 'credential.interactive=false' does: the helper unlocks no keychain and starts no askpass or browser",
    ),
    name(
        "BROWSER",
        "the browser for a login: commands with '%s' for the page, separated by ':' (';' on Windows), or 'none'; run without a shell",
    ),
];

pub(super) const ENVIRONMENT_INTRODUCTION: &str = "An empty variable is an error. Variables override git's configuration, with \
one exception: a client or token in a variable does not replace that of a named profile.";

/// Files and directories that we read and write.
pub(super) const FILES: [Name; 3] = [
    name(
        "~/.cache/git-remote-bbtoken",
        "access tokens, locks and the capabilities of servers; you may delete this directory",
    ),
    name(
        "~/.local/state/git-remote-bbtoken",
        "logins and client secrets of the store 'file'; after you delete this directory, log in again",
    ),
    name(
        "~/.gitconfig",
        "profiles, as bbtoken.<profile>.<key>; 'git bbtoken login' writes them with 'git config --global'",
    ),
];

pub(super) const FILES_INTRODUCTION: &str = "These are the places on Linux. macOS has ~/Library/Caches and \
~/Library/Application Support instead of ~/.cache and ~/.local/state, and Windows has %LOCALAPPDATA%. BBTOKEN_HOME, \
XDG_CACHE_HOME and XDG_STATE_HOME change them.";

/// Exit codes of `git bbtoken`.
pub(super) const EXIT_CODES: [Name; 11] = [
    name("0", "done"),
    name("1", "failed"),
    name("2", "usage: the command line or an address is wrong"),
    name("3", "not configured"),
    name("4", "login needed, or the client was refused"),
    name("5", "refused by Bitbucket: scope or access"),
    name("6", "network"),
    name("7", "store locked or unreadable"),
    name("126", "'git bbtoken exec' cannot run the command"),
    name("127", "'git bbtoken exec' does not find the command"),
    name(
        "128",
        "git-remote-bbtoken failed; git's own helpers use the same code",
    ),
];

const HTTP_INTRODUCTION: &str = "
## Git's http settings

They apply as for https: `http.<key>`, `http.<url>.<key>` by the longest match, and `remote.<name>.proxy`. Git's variables
override them. If `bbtoken.transport` is `auto`, settings that the native transport does not support are handed to git's own
transport. So is every key that is not in this table. Git's own transport gets the same token, but follows no redirects.

Requests for tokens cannot be handed over. If a request for a token fails, the error names each setting that it did not
follow. If only git supports the certificate or TLS of a server or proxy, git's own transport serves it for a day, and
curl requests tokens.

The column *in a repository's own configuration* is about `.git/config` and the files that it includes, and about requests to
the git server. Requests with a client's secret, a refresh token or an authorization code, and proxy logins, follow your own
settings only: those of the system, your own files, `git -c` and the environment.
";

const PROFILES: &str = "\
A profile is a named client or token. The first of these that applies selects it:

  1. profile@ in the address: bbtoken::work@workspace/repository
  2. remote.<name>.bbtokenProfile
  3. BBTOKEN_PROFILE
  4. a client or token in the environment
  5. the workspace in the address, if it is the 'workspace' of a profile
  6. bbtoken.profile
  7. the only profile, or the profile named 'default'

For an address with a host, such as https://bitbucket.org/workspace/repository, git uses only profiles whose baseUrl is \
that site. It is an error if 1, 2 or 3 names a profile of another site, or if there is no profile for the site.

All commands use the same profile in the same directory. Without an address, they use the profile of the remote that git \
fetches from: the branch's remote, the only remote, or origin.

A repository's own configuration can select a profile that you have defined, but it cannot define one. If another \
profile names a profile as its pushProfile, git fetches with it only if you typed its name. A name in the address of a \
submodule or in a setting of the repository (also credential.username and url.<base>.insteadOf) is not typed. A name in \
the address of a remote counts as typed, because a clone saves the address there. In an unpacked archive, read \
'git remote -v' before you fetch.

A named profile is used as you defined it. A client or token in the environment is used only if the profile has neither. Other variables, such as BBTOKEN_BASE_URL and BBTOKEN_STORE, apply to every profile.

'git bbtoken status --explain <address>' shows the profile and the reason.
";

const BITBUCKET: &str = "\
Create an OAuth client once, in the workspace that owns it:

  https://bitbucket.org/<workspace>/workspace/settings/api
  (Workspace settings, OAuth consumers, Add consumer)

  Name
      any
  Callback URL
      http://127.0.0.1/callback
  This is a private consumer
      tick it for client credentials (CI, servers)
  Permissions
      Repositories: Read to fetch, Write to push; Account: Read to show the account of a login

Bitbucket then shows a key and a secret: the client's id and secret. Bitbucket's terms and OAuth's: consumer = \
client, key = client id, secret = client secret, permission = scope.

You can also use a token: an access token of a repository, project or workspace (its settings, Access tokens), or an \
API token with scopes (https://id.atlassian.com/manage-profile/security/api-tokens).
";

const JSON: &str = "\
'git bbtoken status --json' prints one object. New versions may add fields. If a field changes its meaning, 'version' increases.

  version: 1
  base_url: where Bitbucket is
  profiles[]: in alphabetical order
    name
    problem: why it cannot be used; the fields below are then absent
    grant: client-credentials, authorization-code or token
    client_id: absent for a token; cut if it looks like a secret
    account: the account of the login
    workspaces[]: the workspaces of the profile
    store: file, keyring, kernel-keyring or memory
    settings[]: key, value, origin; of a command, only the program
    access_token: absent if none is cached
      fingerprint: first 8 hexadecimal digits of its SHA-256
      scopes[]
      got_at, expires_at: seconds since 1970-01-01T00:00:00Z
      expires_in_s: negative after the token has expired
    login: a login by browser; absent without one
      fingerprint, scopes[]
      refreshed_at: seconds since 1970-01-01T00:00:00Z
    owner: the account of the login or token; absent if Bitbucket did not name it
      name
      told_at: seconds since 1970-01-01T00:00:00Z
    client_secret: fingerprint of the secret in the store; absent without one
    ready_token: fingerprint of the access token or API token in the store; absent without one
    store_problem: why the store could not be read; absent if it was
";

/// How programs are started.
const PROGRAMS: &str = "
## Programs that are started

The helper and `git bbtoken` look for programs only in the absolute directories of `PATH`, because an empty or relative entry would lead into the work tree. \
Each program gets a `PATH` with these directories only, except the command of `exec`. For the same reason, no program gets a \
variable that names a relative file for curl or its libraries, for example `CURL_CA_BUNDLE`, `OPENSSL_CONF` or `SSLKEYLOGFILE`.
";

/// What is done for git-lfs.
const LFS: &str = "\
git-lfs does not support remote helpers. If git-lfs is installed, a clone adds these missing settings to the new \
repository. 'git bbtoken setup' adds them to the current repository. A fetch or a push adds them if the repository uses \
git-lfs: its git directory has 'lfs', or a .gitattributes file at the top of the work tree names the filter.

  remote.<name>.lfsurl
      the repository's LFS endpoint, over https
  remote.<name>.lfspushurl
      the same for pushes, if they have another address or profile
  lfs.<site>/.access
      basic: git-lfs asks for credentials at once, because Bitbucket answers 403 instead of 401
  credential.<endpoint>
      git asks 'git bbtoken credential' for this endpoint; not needed after 'git bbtoken setup'

The user name 'bbtoken' or 'bbtoken+<profile>' marks the addresses that the helper wrote. If the address of the remote \
changes, also with 'git remote set-url', the helper changes them, too. It never changes your own addresses, lfs.url, or a \
remote that pushes to another site. To turn this off, run 'git config --global bbtoken.lfs false'.

Push to a remote by its name, because git-lfs refuses to push to an address. An lfs.url in a repository's .lfsconfig \
overrides these settings. To use a remote.<name>.lfsurl there, set bbtoken.lfs to false.
";

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

/// Explains a topic, in lines that fit the terminal; `None` if there is none of this name.
pub(super) fn topic(topic: &str) -> Option<String> {
    let text = match topic {
        "config" => config(),
        "environment" => format!("{ENVIRONMENT_INTRODUCTION}\n\n{}", list(&VARIABLES)),
        "exit-codes" => list(&EXIT_CODES),
        "profiles" => PROFILES.to_owned(),
        "bitbucket" => BITBUCKET.to_owned(),
        "json" => JSON.to_owned(),
        "lfs" => LFS.to_owned(),
        // Markdown is for a file: its tables have no lines to break.
        "reference" => return Some(page()),
        _ => return None,
    };
    Some(wrapped(&text, None))
}

fn config() -> String {
    let mut text =
        "bbtoken.<key> applies to every profile, bbtoken.<profile>.<key> to one. A repository's own configuration \
         may set only the keys with *, as bbtoken.<key>. It can select a profile, but it cannot define one.\n\n"
            .to_owned();
    for Name { name, meaning } in &KEYS {
        let is_followed = matches!(
            of_repository(&BBTOKEN_KEYS, name),
            Some(FromRepository::Followed(_))
        );
        let star = if is_followed { "*" } else { "" };
        entry(&mut text, &format!("{name}{star}"), meaning);
    }
    text.push('\n');
    text.push_str(&list(&OTHER_KEYS));
    text
}

fn of_repository(rows: &[Row], key: &str) -> Option<FromRepository> {
    let row = rows.iter().find(|row| row.name == key);
    row.map(|row| row.from_repository)
}

/// Writes everything as the page `docs/reference.md`.
fn page() -> String {
    let mut page = "# Reference\n\n\
         Made by `git bbtoken help reference`; a test compares the two.\n\n\
         ## Git configuration\n\n\
         `bbtoken.<key>` applies to every profile, `bbtoken.<profile>.<key>` to one.\n\n\
         | key | meaning | in a repository's own configuration |\n| --- | --- | --- |\n"
        .to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    // Writing to a string cannot fail.
    for Name { name, meaning } in &KEYS {
        let local = of_repository(&BBTOKEN_KEYS, name).map(FromRepository::shown);
        let local = local.unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {} | {local} |", cell(meaning));
    }
    page.push_str("| `<profile>.<key>` | one of these for one profile | refused: a repository must not define or change a profile |\n");
    for row in &REMOTE_KEYS {
        let name = format!("remote.<name>.{}", row.name);
        let meaning = OTHER_KEYS.iter().find(|key| key.name == name);
        let meaning = meaning.map_or("a setting of git", |key| key.meaning);
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} |",
            cell(meaning),
            row.from_repository.shown()
        );
    }
    for row in &GIT_KEYS {
        let local = row.from_repository.shown();
        let _ = writeln!(page, "| `{}` | a setting of git | {local} |", row.name);
    }
    let _ = write!(page, "\n## Environment\n\n{ENVIRONMENT_INTRODUCTION}\n");
    page.push_str("\n| variable | meaning |\n| --- | --- |\n");
    for Name { name, meaning } in &VARIABLES {
        let _ = writeln!(page, "| `{name}` | {} |", cell(meaning));
    }
    let _ = write!(page, "\n## Files\n\n{FILES_INTRODUCTION}\n");
    page.push_str("\n| path | what |\n| --- | --- |\n");
    for Name { name, meaning } in &FILES {
        let _ = writeln!(page, "| `{name}` | {} |", cell(meaning));
    }
    page.push_str(HTTP_INTRODUCTION);
    page.push_str("\n| key | in the native transport | in a repository's own configuration | |\n| --- | --- | --- | --- |\n");
    for key in &HTTP_KEYS {
        let _ = writeln!(
            page,
            "| `http.{}` | {} | {} | {} |",
            key.name,
            key.treatment.shown(),
            key.from_repository.shown(),
            cell(key.note)
        );
    }
    page.push_str(PROGRAMS);
    page.push_str(
        "\n| program | `BBTOKEN_*` and `GIT_*` variables that it gets |\n| --- | --- |\n",
    );
    for row in &ROWS {
        let _ = writeln!(page, "| {} | {} |", row.programs, cell(row.gets));
    }
    page.push_str("\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n");
    for Name { name, meaning } in &EXIT_CODES {
        let _ = writeln!(page, "| {name} | {} |", cell(meaning));
    }
    for (title, text) in [
        ("Profiles", PROFILES),
        ("At Bitbucket", BITBUCKET),
        ("Git LFS", LFS),
        ("Status as JSON", JSON),
    ] {
        let text = wrapped(text, Some(MAX_WIDTH));
        let _ = write!(page, "\n## {title}\n\n```text\n{text}```\n");
    }
    page.push_str("\n## Commands\n");
    for command in arguments::definition().get_subcommands() {
        let help = of_command(&[command.get_name()], Some(MAX_WIDTH)).unwrap_or_default();
        let help = help.lines().map(str::trim_end).collect::<Vec<_>>();
        let help = help.join("\n");
        let _ = write!(
            page,
            "\n### git bbtoken {}\n\n```text\n{help}\n```\n",
            command.get_name()
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_says_what_a_repository_may_do_with_it() {
        let rows: BTreeSet<_> = BBTOKEN_KEYS.iter().map(|row| row.name).collect();
        let keys: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(rows, keys);
    }
}
