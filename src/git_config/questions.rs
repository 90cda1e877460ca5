//! Decides whether git and its helpers may ask the user.

use super::{entry::is_true_text, environment::Variables, git::GitConfig};

/// Gives the setting that forbids questions (git(1), `GIT_TERMINAL_PROMPT`; git-config(1), `credential.interactive`).
pub(crate) fn no_questions(config: &GitConfig, variables: Variables<'_>) -> Option<String> {
    if variables("GIT_TERMINAL_PROMPT").is_some_and(|value| !is_true_text(&value)) {
        return Some("GIT_TERMINAL_PROMPT".to_owned());
    }
    let entry = config.last("credential", None, "interactive")?;
    let word = entry.value.as_deref()?.to_ascii_lowercase();
    // Helpers treat a value that is not a boolean as true.
    let is_no = ["false", "no", "off", "0", "never", ""].contains(&word.as_str());
    is_no.then(|| format!("credential.interactive in {}", entry.origin))
}
