//! The tables of keys, files and exit codes.

use crate::cli::names::{Name, name};

/// `bbtoken.<key>` for every profile, `bbtoken.<profile>.<key>` for one.
pub(in crate::cli) const KEYS: [Name; 32] = [
    name(
        "clientId",
        "the OAuth client's id (Cloud: the consumer's key)",
    ),
    name(
        "grant",
        "how to get tokens: client-credentials (default), authorization-code or token",
    ),
    name(
        "workspace",
        "use the profile for this workspace, at a Data Center for this project; several values are allowed",
    ),
    name(
        "account",
        "for an API token, its e-mail address; for two logins of one client, the account of this login; default: the profile's name",
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
        "kind",
        "the kind of Bitbucket: cloud (default) or datacenter; 'login --data-center' sets it",
    ),
    name(
        "baseUrl",
        "the address of Bitbucket; default https://bitbucket.org; at a Data Center, with the context path",
    ),
    name(
        "mirrorUrl",
        "the address of a mirror of the baseUrl beside it, for fetches; pushes and LFS use baseUrl",
    ),
    name(
        "sshHost",
        "at a Data Center: the host of ssh addresses, if it is not the host of baseUrl, or its port is not 7999",
    ),
    name(
        "scope",
        "the OAuth scopes to ask for, with spaces between them; default: at a Data Center REPO_READ REPO_WRITE, else those of the consumer",
    ),
    name(
        "redirectUri",
        "for a browser login: the redirect URL that is registered for the client; a Data Center needs it",
    ),
    name(
        "tokenUrl",
        "the token endpoint; default <baseUrl>/site/oauth2/access_token, at a Data Center <baseUrl>/rest/oauth2/latest/token",
    ),
    name(
        "authorizeUrl",
        "the page for consent; default <baseUrl>/site/oauth2/authorize, at a Data Center <baseUrl>/rest/oauth2/latest/authorize",
    ),
    name(
        "store",
        "where to store secrets: file (default), keyring, kernel-keyring or memory; login sets it to keyring if the keychain is unlocked; \
         vault (Vault, OpenBao) or command for one login on many machines",
    ),
    name(
        "storePath",
        "with the store vault: the path of the record in a KV version 2 engine, as in secret/bbtoken/ci; \
         if the engine's path has a slash, as in the API: team/kv/data/bbtoken/ci",
    ),
    name(
        "storeUrl",
        "with the store vault: the address of the server; default: BAO_ADDR, VAULT_ADDR; git's http settings apply, \
         and VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY unless http.<url> has the same setting",
    ),
    name(
        "storeNamespace",
        "with the store vault: the namespace; default: BAO_NAMESPACE, VAULT_NAMESPACE",
    ),
    name(
        "storeRole",
        "with the store vault: the role for a login with a JWT; without a role or a JWT, the login is BAO_TOKEN or VAULT_TOKEN, \
         VAULT_ROLE_ID with VAULT_SECRET_ID or VAULT_SECRET_ID_FILE, or ~/.vault-token; \
         Vault Agent on this machine, over http, needs none",
    ),
    name(
        "storeAuthPath",
        "with the store vault: the path of the auth method; default jwt, or approle with VAULT_ROLE_ID",
    ),
    name(
        "storeJwtFile",
        "with the store vault: the absolute path of a file with the JWT; \
         default with storeAuthPath kubernetes: the pod's service account token",
    ),
    name(
        "storeJwtVariable",
        "with the store vault: the name of the variable with the JWT; default: the first that is set of VAULT_ID_TOKEN and \
         BITBUCKET_STEP_OIDC_TOKEN",
    ),
    name(
        "storeTokenPath",
        "with the store vault: the path of a second record for jobs, with the access token only; 'login' and each renewal write it",
    ),
    name(
        "storeCommand",
        "with the store command: a command that reads the record with 'read' and replaces it with 'replace <version>'; \
         after '!', a shell runs it",
    ),
    name(
        "cache",
        "with the store vault or command: where to cache access tokens: memory (default) or file",
    ),
    name(
        "transport",
        "the HTTP transport: auto (default), native, or git for git's own https",
    ),
    name(
        "rememberAdvertisement",
        "remember a server's capabilities for an hour, which saves a request: true (default) or false",
    ),
    name(
        "agent",
        "only as bbtoken.agent: keep connections open between commands: true, false (default), or auto; auto, which setup writes, means true with XDG_RUNTIME_DIR, but not in CI, with sudo, in a systemd service whose errors go to the journal or with the store memory; no effect on Windows",
    ),
    name("profile", "only as bbtoken.profile: the default profile"),
    name(
        "lfs",
        "only as bbtoken.lfs: write the LFS addresses of remotes for git-lfs: true (default) or false",
    ),
    name(
        "addedBySetup",
        "only as bbtoken.addedBySetup: what 'git bbtoken setup' has added to this file, for unsetup",
    ),
];

/// Keys outside `bbtoken.`.
pub(in crate::cli) const OTHER_KEYS: [Name; 1] = [name(
    "remote.<name>.bbtokenProfile",
    "the profile for this remote",
)];

pub(in crate::cli) const ENVIRONMENT_INTRODUCTION: &str = "An empty BBTOKEN_ variable is an error. Variables override git's configuration, with \
one exception: a client or token in a variable does not replace the client or token of a named profile.";

/// Files and directories that the programs read and write.
pub(in crate::cli) const FILES: [Name; 4] = [
    name(
        "~/.cache/git-remote-bbtoken",
        "access tokens, locks and the capabilities of servers; you may delete this directory",
    ),
    name(
        "~/.local/state/git-remote-bbtoken",
        "logins and client secrets of the store 'file'; after you delete this directory, log in again",
    ),
    name(
        "$XDG_RUNTIME_DIR/git-remote-bbtoken",
        "the agent's socket and lock, with bbtoken.agent; without that variable, run-<machine> in the cache directory",
    ),
    name(
        "~/.gitconfig",
        "profiles, as bbtoken.<profile>.<key>; 'git bbtoken login' writes them with 'git config --global'",
    ),
];

pub(in crate::cli) const FILES_INTRODUCTION: &str = "These are the places on Linux. macOS has ~/Library/Caches and \
~/Library/Application Support instead of ~/.cache and ~/.local/state. Windows has 'cache' and 'state' below \
%LOCALAPPDATA%\\git-remote-bbtoken. BBTOKEN_HOME changes them, and on Linux also XDG_CACHE_HOME and XDG_STATE_HOME.";

/// Exit codes of `git bbtoken`.
pub(in crate::cli) const EXIT_CODES: [Name; 11] = [
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
