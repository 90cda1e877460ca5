//! The table of programs in the reference.

use super::Child;

/// A row of the table in the reference.
pub(crate) struct Row {
    /// The child.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the tests compare the row with what the child gets"
        )
    )]
    pub child: Child,
    /// The programs.
    pub programs: &'static str,
    /// Which of our variables and git's it gets.
    pub gets: &'static str,
}

const NO_SECRETS: &str =
    "all but `BBTOKEN_CLIENT_SECRET`, `BBTOKEN_ACCESS_TOKEN` and their `_FILE` forms";

/// Every child, with what it gets.
pub(crate) const ROWS: [Row; 9] = [
    Row {
        child: Child::Transport,
        programs: "git's own transport; `git ls-remote` of `doctor`",
        gets: "all: it starts our helper to get the token",
    },
    Row {
        child: Child::Git,
        programs: "other git commands, git-lfs, git's credential helpers for a proxy",
        gets: NO_SECRETS,
    },
    Row {
        child: Child::Ours,
        programs: "`git-remote-bbtoken --version` of `doctor` and `version`",
        gets: NO_SECRETS,
    },
    Row {
        child: Child::Login,
        programs: "`git-bbtoken login` of the helper, where git waits for a login",
        gets: "all: it finds the same profile as git",
    },
    Row {
        child: Child::SecretCommand,
        programs: "`clientSecretCommand`, `accessTokenCommand`",
        gets: "neither those secrets nor the variables of the repository (`git rev-parse --local-env-vars`); \
               it runs in the home directory",
    },
    Row {
        child: Child::Curl,
        programs: "curl",
        gets: "no `BBTOKEN_*` and no `GIT_*`; the request comes through a pipe",
    },
    Row {
        child: Child::Browser,
        programs: "a browser",
        gets: "no `BBTOKEN_*` and no `GIT_*`",
    },
    Row {
        child: Child::Manual,
        programs: "`manpath`, for `git bbtoken man --install`",
        gets: "no `BBTOKEN_*` and no `GIT_*`",
    },
    Row {
        child: Child::Exec,
        programs: "the command of `git bbtoken exec`",
        gets: "all but those secrets; `BBTOKEN_ACCESS_TOKEN` is the fresh token, unless `--netrc` is given",
    },
];
