//! Git LFS: configures git-lfs for a remote while git waits.

use std::time::Duration;

use super::Plan;
use crate::{app::is_new, failure::quote, report};

/// The time that a clone waits for another process that writes to the same configuration.
const CLONE_PATIENCE: Duration = Duration::from_secs(1);

impl Plan {
    /// Configures git-lfs for the remote. Git waits for the helper meanwhile, so it does not write at the same time.
    pub(super) fn wire_lfs(&self) {
        let Some(lfs) = &self.lfs else { return };
        // A clone happens only once, so it waits for the lock. A later command does not wait: the next one tries again.
        let is_new = is_new();
        // The first fetch of several remotes at once writes for each of them.
        let patience = match is_new {
            true => CLONE_PATIENCE,
            false => Duration::ZERO,
        };
        if let Err(error) = lfs.write(patience)
            && is_new
        {
            report::warn(&format!(
                "cannot configure git-lfs for remote '{}': {error:#}",
                quote(&self.remote)
            ));
        }
    }
}
