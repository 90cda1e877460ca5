//! Carries git's own protocol between git's pipe and the server (gitremote-helpers(7), gitprotocol-http(5)).
//!
//! Git negotiates. This room only needs to know where a request or response ends. After `connect`, git runs its own
//! fetch-pack and send-pack on the helper's pipe, so git's code handles every option of fetch and push. The helper
//! announces `list` and `fetch` for servers without protocol v2, which git's own helper serves.

mod advertisement;
mod cache;
mod fallback;
mod fetch;
mod git;
mod pktline;
mod push;
mod rpc;
mod session;

use crate::{failure::Renewal, secret::Secret, site::Product};

pub(crate) use cache::{AdvertisementCache, Remembered};
pub(crate) use fallback::{forward, stop};
pub(crate) use git::{Git, Service};
pub(crate) use session::{Reporter, Session};

/// Gives the credential for the git server, and replaces one that the server refused.
///
/// The transport knows nothing else about tokens.
pub(crate) trait Authorizer {
    /// Gives the value of the `Authorization` header for the next request.
    ///
    /// # Errors
    ///
    /// If there is no credential.
    fn authorization(&mut self) -> anyhow::Result<Secret>;

    /// Reports that the server refused the last value (status 401). True if there is a new value.
    ///
    /// # Errors
    ///
    /// If the replacement fails.
    fn refused(&mut self) -> anyhow::Result<bool>;

    /// Gives the profile's name for messages.
    fn identity(&self) -> &str;

    /// Gives the kind of Bitbucket, which decides the meaning of answers.
    fn product(&self) -> Product;

    /// Says how to replace the credential, if only the user can make a new one.
    fn renewal(&self) -> Option<Renewal>;
}

/// The result of a connection that did not break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    /// Git has the complete response.
    Finished,
    /// The server does not support protocol v2, and git has seen nothing: `git-remote-https` has to serve git.
    NotVersion2,
}

/// A broken connection. How much git has seen decides how to report the error.
#[derive(Debug)]
pub(crate) struct Broken {
    /// The part of the response that git has seen.
    pub stage: Stage,
    /// The error.
    pub error: anyhow::Error,
}

/// The part of a response that git had seen when the connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing. If the helper ends now, git prints no error of its own.
    Connecting,
    /// Nothing of the current response. An `ERR ` pkt-line makes git show the helper's message as its own.
    BeforeAnswer,
    /// A part of a response or of a push. The helper can only close the pipe.
    InAnswer,
    /// Nothing of the report of a push. Git gets an empty report and ends as it does over https.
    BeforeReport {
        /// Whether the report uses a side band (gitprotocol-pack(5), "Packfile Data").
        by_side_band: bool,
    },
    /// The server's own error, which git has shown.
    Told,
}

impl Broken {
    fn at(stage: Stage) -> impl Fn(anyhow::Error) -> Broken {
        move |error| Broken { stage, error }
    }
}

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
