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
    /// The `BBTOKEN_` and `GIT_` variables that it gets.
    pub gets: &'static str,
}

const ONLY_GITS: &str = "no `BBTOKEN_*`, all `GIT_*`";

/// Every kind of child, with its variables.
pub(crate) const ROWS: [Row; 11] = [
    Row {
        child: Child::Transport,
        programs: "git's own transport; `git ls-remote` of `doctor`",
        gets: "all: it starts the helper to get the token",
    },
    Row {
        child: Child::Git,
        programs: "other git commands, git-lfs, git's credential helpers for a proxy",
        gets: ONLY_GITS,
    },
    Row {
        child: Child::GitElsewhere,
        programs: "git for a submodule, for a repository below a directory, or for one file of configuration",
        gets: "no `BBTOKEN_*`; no variables of the current repository (`git rev-parse --local-env-vars`), except `git -c`",
    },
    Row {
        child: Child::Ours,
        programs: "`git-remote-bbtoken --version` of `doctor` and `version`",
        gets: ONLY_GITS,
    },
    Row {
        child: Child::Login,
        programs: "`git-bbtoken login` of the helper, where git waits for a login",
        gets: "all: it finds the same profile as git",
    },
    Row {
        child: Child::SecretCommand,
        programs: "`clientSecretCommand`, `accessTokenCommand`, `storeCommand`",
        gets: "no `BBTOKEN_*`, and no variables of the repository (`git rev-parse --local-env-vars`); \
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
        gets: "all `GIT_*`, and the `BBTOKEN_*` that this page lists, without secrets; \
               `BBTOKEN_ACCESS_TOKEN` is the fresh token, unless `--netrc` is given",
    },
    Row {
        child: Child::Agent,
        programs: "`git-bbtoken agent run`, with `bbtoken.agent`",
        gets: "no variable at all",
    },
];
