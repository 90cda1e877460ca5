//! `git bbtoken renew`: renews a shared token ahead of its end, and its copy for jobs.

use super::{Console, arguments};
use crate::{
    app::App,
    clock::span,
    failure::{quote, usage},
};

pub(super) fn run(options: &arguments::Profile, console: &mut Console<'_>) -> anyhow::Result<()> {
    let identity = App::read()?.used(options.name.as_deref())?;
    let profile = &identity.profile;
    if profile.shared.is_none() {
        return Err(usage(&format!(
            "profile '{profile}' has no shared login: only a profile with the store 'vault' or 'command' needs 'renew'"
        )));
    }
    let state = identity.tokens().renew()?;
    let told = state.token.map(|token| {
        format!(
            "The token of profile '{profile}' is valid for {}; '{}' got it {} ago.",
            span(token.left_s),
            quote(&token.by),
            span(token.age_s)
        )
    });
    told.map_or(Ok(()), |told| console.answer(&told))
}
