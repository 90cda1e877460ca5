//! Git LFS: tells git-lfs about a remote while git waits.

use std::time::Duration;

use super::Plan;
use crate::{app::is_new, failure::quote};

/// How long a clone waits for another process that writes to the same configuration.
const CLONE_PATIENCE: Duration = Duration::from_secs(1);

impl Plan {
    /// Tells git-lfs about the remote. Git waits for the helper's answer meanwhile, so it does not write at the same time.
    pub(super) fn wire_lfs(&self, notify: &dyn Fn(&str)) {
        let Some(lfs) = &self.lfs else { return };
        // A clone is made once. Any later command tries again, and 'doctor' tells what git-lfs lacks.
        let is_new = is_new();
        // The first fetch of several remotes at once writes for each of them.
        let patience = if is_new {
            CLONE_PATIENCE
        } else {
            Duration::ZERO
        };
        if let Err(error) = lfs.write(patience)
            && is_new
        {
            notify(&format!(
                "cannot configure git-lfs for remote '{}': {error:#}",
                quote(&self.remote)
            ));
        }
    }
}
