//! The table of programs in the reference.

use super::child::Child;

const ONLY_GITS: &str = "no `BBTOKEN_*`, all `GIT_*`";
const NEITHER: &str = "no `BBTOKEN_*` and no `GIT_*`";

/// Every kind of child: its programs, and the `BBTOKEN_` and `GIT_` variables that they get. The tests compare each row
/// with what the child gets.
pub(crate) const ROWS: [(Child, &str, &str); 11] = [
    (
        Child::Transport,
        "git's own transport; `git ls-remote` of `doctor`",
        "all: it starts the helper to get the token",
    ),
    (
        Child::Git,
        "other git commands, git-lfs, git's credential helpers for a proxy",
        ONLY_GITS,
    ),
    (
        Child::GitElsewhere,
        "git for a submodule, for a repository below a directory, or for one file of configuration",
        "no `BBTOKEN_*`; no variables of the current repository (`git rev-parse --local-env-vars`), except `git -c`",
    ),
    (
        Child::Ours,
        "`git-remote-bbtoken --version` of `doctor` and `version`",
        ONLY_GITS,
    ),
    (
        Child::Login,
        "`git-bbtoken login` of the helper, where git waits for a login",
        "all: it finds the same profile as git",
    ),
    (
        Child::SecretCommand,
        "`clientSecretCommand`, `accessTokenCommand`, `storeCommand`",
        "no `BBTOKEN_*`, and no variables of the repository (`git rev-parse --local-env-vars`); \
               it runs in the home directory",
    ),
    (
        Child::Curl,
        "curl",
        "no `BBTOKEN_*` and no `GIT_*`; the request comes through a pipe",
    ),
    (Child::Browser, "a browser", NEITHER),
    (
        Child::Manual,
        "`manpath`, for `git bbtoken man --install`",
        NEITHER,
    ),
    (
        Child::Exec,
        "the command of `git bbtoken exec`",
        "all `GIT_*`, and the `BBTOKEN_*` that this page lists, without secrets; \
               `BBTOKEN_ACCESS_TOKEN` is the fresh token, unless `--netrc` is given",
    ),
    (
        Child::Agent,
        "`git-bbtoken agent run`, with `bbtoken.agent`",
        "no variable at all",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_child_is_in_the_table() {
        // A new kind of child fails to compile here until it is counted.
        let number = |child| match child {
            Child::Transport => 0,
            Child::Git => 1,
            Child::GitElsewhere => 2,
            Child::Ours => 3,
            Child::Login => 4,
            Child::SecretCommand => 5,
            Child::Curl => 6,
            Child::Browser => 7,
            Child::Manual => 8,
            Child::Exec => 9,
            Child::Agent => 10,
        };
        let numbers = ROWS.iter().map(|(child, ..)| number(*child));
        assert!(numbers.eq(0..ROWS.len()));
    }
}
