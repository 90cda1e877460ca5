//! Carries git's own protocol between git's pipe and the server (gitremote-helpers(7), gitprotocol-http(5)).
//!
//! Git negotiates; nothing here understands more of the protocol than where a request or an answer ends.
//! `connect` makes git run its own fetch-pack and send-pack on our pipe, so that every option of fetch and push is
//! git's code; `list` and `fetch` are announced for servers that cannot do protocol v2, which git's own helper serves.

mod advertisement;
mod archive;
mod body;
mod cache;
mod fallback;
mod fetch;
mod git;
mod pktline;
mod push;
mod rpc;
mod session;

use crate::secret::Secret;

pub(crate) use cache::{AdvertisementCache, Remembered};
pub(crate) use fallback::forward;
pub(crate) use fallback::stop;
pub(crate) use git::{Command, Git, Service};
pub(crate) use session::{Reporter, Session};

/// Gives the credential for the git server, and hears when the server does not take it.
///
/// The relay knows no more of tokens than this.
pub(crate) trait Authorizer {
    /// Gives the value of the `Authorization` header for the next request.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    fn authorization(&mut self) -> anyhow::Result<Secret>;

    /// Hears that the server refused the last value (status 401); true if another one is worth a try.
    ///
    /// # Errors
    ///
    /// When another one should be had and could not.
    fn refused(&mut self) -> anyhow::Result<bool>;

    /// Tells who is asking, for messages: the profile's name.
    fn identity(&self) -> &str;
}

/// How a connection ended that did not break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    /// Git has what it wanted.
    Finished,
    /// The server cannot do protocol v2 and git has not been answered: `git-remote-https` has to serve it.
    NotVersion2,
}

/// A connection that broke, and how far git had been answered: that decides how git can be told.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What git has seen.
    pub stage: Stage,
    /// What happened.
    pub error: anyhow::Error,
}

/// What git had seen when a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing: git prints nothing of its own when the helper ends now.
    Connecting,
    /// No byte of the answer it waits for: an `ERR ` pkt-line makes git show our message as its own.
    BeforeAnswer,
    /// A part of an answer, or a push: the pipe can only be closed.
    InAnswer,
    /// No byte of the report of a push: git gets one that reports nothing, and ends as over https.
    BeforeReport {
        /// The report goes by a side band (gitprotocol-pack(5), "Packfile Data").
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
/// [`Broken`], when the server, the network or git's end of the pipe gives up.
pub(crate) fn connect(
    service: Service,
    session: &mut Session<'_>,
    git: &mut Git,
) -> Result<Connected, Broken> {
    match service {
        Service::UploadPack => fetch::serve(session, git),
        Service::ReceivePack => push::serve(session, git).map(|()| Connected::Finished),
        Service::UploadArchive => archive::serve(session, git),
    }
}
