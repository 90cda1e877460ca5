//! Bitbucket Data Center, below a context path and at an odd port.

mod addresses;
mod answers;
mod attempts;
mod certificates;
mod credential;
mod doctor;
mod lfs;
mod logins;
mod mirror;
mod moving;
mod refreshes;
mod setup;

use bitbucket_local::{NewToken, Options, TokenKind};

use crate::support::{CONTEXT_PATH, Git, Run, World, gits};

/// A Data Center, and a user who has no client.
pub(super) fn data_center(git: Git) -> World {
    let world = World::with(git, Options::data_center(CONTEXT_PATH));
    world.repository("PROJ", "repo");
    world
}

/// The same with the first git.
pub(super) fn one() -> World {
    data_center(gits().remove(0))
}

/// A personal HTTP access token with this permission.
pub(super) fn token(world: &World, scope: &str) -> String {
    world.bitbucket.issue(NewToken {
        scopes: vec![scope.to_owned()],
        ..NewToken::new(TokenKind::Api)
    })
}

/// A command of a user whose configuration alone says where Bitbucket is.
pub(super) fn configured(run: Run) -> Run {
    run.without_client()
        .without("BBTOKEN_BASE_URL")
        .without("BBTOKEN_KIND")
}

/// Logs in as profile `dc` with an HTTP access token.
pub(super) fn log_in(world: &World) {
    let base = world.bitbucket.base_url();
    let login = world.bbtoken(["login", "dc", "--data-center", base, "--with-token"]);
    configured(login).input(&token(world, "REPO_WRITE")).ok();
}
