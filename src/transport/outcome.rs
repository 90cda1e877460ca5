//! How a connection ends.

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
    pub(crate) stage: Stage,
    /// The error.
    pub(crate) error: anyhow::Error,
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
    pub(super) fn at(stage: Stage) -> impl Fn(anyhow::Error) -> Broken {
        move |error| Broken { stage, error }
    }
}
