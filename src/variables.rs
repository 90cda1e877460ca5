//! The environment variables that the programs follow. They override git's configuration.

/// The prefix of this program's variables.
pub(crate) const PREFIX: &str = "BBTOKEN_";

/// Lists this program's variables.
pub(crate) fn ours() -> impl Iterator<Item = &'static str> {
    let names = VARIABLES.iter().map(|(name, _)| *name);
    names.filter(|name| name.starts_with(PREFIX))
}

/// The variables, with their meanings. A row may have several names.
pub(crate) const VARIABLES: [(&str, &str); 33] = [
    ("BBTOKEN_PROFILE", "the profile to use"),
    (
        "BBTOKEN_CLIENT_ID",
        "the OAuth client's id (Cloud: the consumer's key)",
    ),
    (
        "BBTOKEN_CLIENT_SECRET",
        "the client's secret; without BBTOKEN_CLIENT_ID, the secret of a configured client without clientSecretCommand",
    ),
    (
        "BBTOKEN_CLIENT_SECRET_FILE",
        "the absolute path of a file with the client's secret",
    ),
    (
        "BBTOKEN_ACCESS_TOKEN",
        "an access token or API token, instead of a client",
    ),
    (
        "BBTOKEN_ACCESS_TOKEN_FILE",
        "the absolute path of a file with an access token or API token",
    ),
    (
        "BBTOKEN_KIND",
        "the kind of Bitbucket: cloud (default) or datacenter",
    ),
    (
        "BBTOKEN_BASE_URL",
        "the address of Bitbucket; default https://bitbucket.org; at a Data Center, with the context path",
    ),
    (
        "BBTOKEN_SCOPE",
        "the OAuth scopes to ask for, with spaces between them",
    ),
    ("BBTOKEN_TOKEN_URL", "the token endpoint, as tokenUrl"),
    (
        "BBTOKEN_AUTHORIZE_URL",
        "the page for consent, as authorizeUrl",
    ),
    (
        "BBTOKEN_TRANSPORT",
        "auto (default), native, or git for git's own https",
    ),
    (
        "BBTOKEN_REMEMBER_ADVERTISEMENT",
        "true (default), or false to ask the server for its capabilities every time",
    ),
    (
        "BBTOKEN_STORE",
        "the store of every profile: file, keyring, kernel-keyring, vault, command, or memory to write nothing",
    ),
    (
        "BBTOKEN_STORE_PATH",
        "storePath of every profile; with BBTOKEN_STORE, the record is a profile, even without a configuration",
    ),
    ("BBTOKEN_STORE_URL", "storeUrl of every profile"),
    ("BBTOKEN_STORE_NAMESPACE", "storeNamespace of every profile"),
    ("BBTOKEN_STORE_ROLE", "storeRole of every profile"),
    ("BBTOKEN_STORE_AUTH_PATH", "storeAuthPath of every profile"),
    ("BBTOKEN_STORE_JWT_FILE", "storeJwtFile of every profile"),
    (
        "BBTOKEN_STORE_JWT_VARIABLE",
        "storeJwtVariable of every profile",
    ),
    (
        "BBTOKEN_STORE_TOKEN_PATH",
        "storeTokenPath of every profile",
    ),
    (
        "BBTOKEN_STORE_COMMAND",
        "storeCommand of every profile; with BBTOKEN_STORE, the record is a profile, even without a configuration",
    ),
    ("BBTOKEN_CACHE", "cache of every profile"),
    (
        "BBTOKEN_HOME",
        "one directory for all files; default: the user's cache and state directories",
    ),
    (
        "BBTOKEN_TRACE",
        "write a trace to stderr: 1 for each step with its time, 2 also for header lines; add ',json' for JSON, or \
         ',/absolute/path' to write to a file; no secret is shown",
    ),
    (
        "GIT_TRACE_CURL, GIT_CURL_VERBOSE",
        "git's own traces of requests and responses, with GIT_TRACE_CURL_NO_DATA and GIT_TRACE_REDACT; the token is never shown",
    ),
    (
        "GIT_SMART_HTTP",
        "0 turns the smart protocol off: git's own transport reads the repository's files, if the server allows it",
    ),
    (
        "GIT_TERMINAL_PROMPT",
        "0 forbids questions, as 'credential.interactive=false' does: the helper asks for no login, unlocks no keychain and \
         starts no askpass or browser; without it, the helper asks if a login is missing, stderr is a terminal and git is in the foreground",
    ),
    (
        "CI",
        "any value except 'false' or an empty one means that no person can answer: the helper asks for no login, and a login does not choose the keychain",
    ),
    (
        "BROWSER",
        "the browser for a login: commands with '%s' for the page, separated by ':' (';' on Windows), or 'none'; run without a shell",
    ),
    (
        "GIT_PROGRESS_DELAY",
        "the seconds after which 'git bbtoken' says what it waits for, as git does for its progress; default 1",
    ),
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "NO_COLOR with any value and CLICOLOR=0 turn colors off, CLICOLOR_FORCE=1 turns them on without a terminal; \
         --color overrides them; TERM=dumb turns off colors and symbols",
    ),
];
