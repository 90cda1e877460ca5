//! Whether a request may be sent again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::http::{Phase, TransportError};

/// Whether a request may be sent again if its response was lost.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport) enum Repeat<'a> {
    /// The request only reads.
    Safe,
    /// The server may have executed the request, once `sent` is true.
    Never {
        /// Whether the client has sent the whole request.
        sent: &'a AtomicBool,
        /// Whether the request is still in memory, and can be sent again if the server has certainly not executed it.
        is_kept: bool,
    },
}

impl Repeat<'_> {
    /// Tells whether the server may have executed the request without confirming it.
    pub(super) fn may_be_done(self) -> bool {
        matches!(self, Repeat::Never { sent, .. } if sent.load(Ordering::SeqCst))
    }

    pub(super) fn is_allowed_after(self, error: &TransportError) -> bool {
        match self {
            Repeat::Safe => true,
            Repeat::Never { is_kept, .. } => is_kept && error.phase == Phase::Connect,
        }
    }

    pub(super) fn is_allowed_after_status(self, status: u16) -> bool {
        match self {
            Repeat::Safe => true,
            Repeat::Never { is_kept, .. } => is_kept && status == 429,
        }
    }
}
