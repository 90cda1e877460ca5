//! Whether git and its helpers may ask a person.

use super::{GitConfig, Variables, is_true_text};

/// Names the setting that forbids questions (git(1), `GIT_TERMINAL_PROMPT`; git-config(1), `credential.interactive`).
pub(crate) fn no_questions(config: &GitConfig, variables: Variables<'_>) -> Option<String> {
    if variables("GIT_TERMINAL_PROMPT").is_some_and(|value| !is_true_text(&value)) {
        return Some("GIT_TERMINAL_PROMPT".to_owned());
    }
    let entry = config.last("credential", None, "interactive")?;
    let word = entry.value.as_deref()?.to_ascii_lowercase();
    // What git does not know as a boolean, helpers read as a yes.
    let is_no = ["false", "no", "off", "0", "never", ""].contains(&word.as_str());
    is_no.then(|| format!("credential.interactive in {}", entry.origin))
}
