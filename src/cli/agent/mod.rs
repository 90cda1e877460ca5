//! `git bbtoken agent`: shows and ends the keep-alive agent, and runs it.

#[cfg(any(not(unix), test))]
mod elsewhere;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use elsewhere::{become_agent, end, run};
#[cfg(unix)]
pub(super) use unix::{become_agent, end, run};
