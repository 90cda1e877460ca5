//! Carries git's own protocol between git's pipe and the server (gitremote-helpers(7), gitprotocol-http(5)).
//!
//! Git negotiates. This room only needs to know where a request or response ends. After `connect`, git runs its own
//! fetch-pack and send-pack on the helper's pipe, so git's code handles every option of fetch and push. The helper
//! announces `list` and `fetch` for servers without protocol v2, which git's own helper serves.

mod advertisement;
mod authorizer;
mod cache;
mod fallback;
mod fetch;
mod git;
mod outcome;
mod pktline;
mod push;
mod rpc;
mod session;

pub(crate) use authorizer::Authorizer;
pub(crate) use cache::{AdvertisementCache, Remembered};
pub(crate) use fallback::{forward, stop};
pub(crate) use git::{Git, Service};
pub(crate) use outcome::{Broken, Connected, Stage};
pub(crate) use session::{Reporter, Session};

/// Serves `connect <service>` on a pipe.
///
/// # Errors
///
/// [`Broken`], if the server, the network or git's end of the pipe fails.
pub(crate) fn connect(
    service: Service,
    session: &mut Session<'_>,
    git: &mut Git,
) -> Result<Connected, Broken> {
    match service {
        Service::UploadPack => fetch::serve(session, git),
        Service::ReceivePack => push::serve(session, git).map(|()| Connected::Finished),
    }
}
