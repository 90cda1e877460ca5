//! Systems without Unix signals: the console informs both processes of `exec`, and a login ends with git.

use std::{io, process::Child};

/// Runs no cleanup.
pub(super) fn before_end(_act: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

pub(super) fn end_with_parent() -> io::Result<()> {
    Ok(())
}

pub(super) struct Signals;

impl Signals {
    pub(super) fn hold() -> anyhow::Result<Self> {
        Ok(Signals)
    }

    pub(super) fn pass_to(self, _child: &Child) -> io::Result<()> {
        Ok(())
    }
}
