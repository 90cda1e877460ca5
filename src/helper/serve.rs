//! Serves git with a plan: with the native transport, or hands over to git's own.

use super::{HandOver, Plan};
use crate::{
    parent_watch::Watch,
    report,
    transport::{self, AdvertisementCache, Broken, Connected, Git, Reporter, Service, Stage},
};

/// Serves git's commands on a pipe; gives the exit code of a helper that took over. After an error, `again` may make
/// another plan. Git has seen nothing of the first one.
///
/// # Errors
///
/// [`Broken`] says how much of the response git has seen.
pub(super) fn serve(
    plan: anyhow::Result<Plan>,
    again: &dyn Fn(&anyhow::Error) -> Option<anyhow::Result<Plan>>,
    git: &mut Git,
) -> Result<u8, Broken> {
    // Git shows an error only as an answer to `connect`.
    let Some(service) = git.next_command().map_err(connecting)? else {
        return Ok(0);
    };
    match serve_plan(plan, service, git) {
        Err(Broken {
            stage: Stage::Connecting,
            error,
        }) => match again(&error) {
            Some(plan) => serve_plan(plan, service, git),
            None => Err(connecting(error)),
        },
        served => served,
    }
}

fn connecting(error: anyhow::Error) -> Broken {
    Broken {
        stage: Stage::Connecting,
        error,
    }
}

fn serve_plan(plan: anyhow::Result<Plan>, service: Service, git: &mut Git) -> Result<u8, Broken> {
    let mut plan = plan.map_err(connecting)?;
    if let (Some(refusal), false) = (plan.fetch_refusal.take(), service == Service::ReceivePack) {
        return Err(connecting(refusal.into()));
    }
    if let Some(family) = git.family() {
        plan.keep_to(family);
    }
    plan.wire_lfs();
    let watch = Watch::default();
    let mut authorizer = plan.identity_for(service).authorizer(&watch);
    let cache = plan.advertisement_cache();
    let session = plan.session(service, &mut authorizer, &watch);
    let mut session = session.map_err(connecting)?;
    session.reporter = Some(Reporter {
        warn: &report::warn,
        say: &report::say,
        verbosity: git.verbosity(),
    });
    session.push_protocol = plan.protocol.of_push();
    session.cache = cache.as_ref().map(|cache| cache as &dyn AdvertisementCache);
    let is_for_git = plan.is_for_git(service);
    let connected = match is_for_git {
        true => Connected::NotVersion2,
        false => plan.connect(service, &mut session, git)?,
    };
    if connected == Connected::Finished {
        return Ok(0);
    }
    let code = transport::forward(git, || {
        if is_for_git {
            plan.probe(service, &mut session)?;
            plan.tell_of_submodules(service);
        }
        plan.git_helper(service, &session.repository, HandOver::Forwarded)
    });
    Ok(u8::try_from(code.map_err(connecting)?).unwrap_or(1))
}
