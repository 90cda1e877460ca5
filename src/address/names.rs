//! The names of workspaces, repositories and profiles.

/// Restores the braces of a `{uuid}`, which browsers escape.
pub(crate) fn with_braces(part: &str) -> String {
    part.replace("%7B", "{")
        .replace("%7b", "{")
        .replace("%7D", "}")
        .replace("%7d", "}")
}

/// Tells whether Bitbucket allows a slug or `{uuid}`. Refuses `.`, `..` and texts that look like an option.
pub(crate) fn is_slug(part: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.{}".contains(c);
    (1..=255).contains(&part.len())
        && !part.starts_with('-')
        && part.chars().any(|c| c != '.')
        && !part.contains("..")
        && part.chars().all(is_allowed)
}

/// The description of valid profile names for messages.
pub(crate) const PROFILE_NAME_RULE: &str =
    "use letters, digits, '.', '_' and '-', and begin with a letter or a digit";

/// Tells whether a profile may have this name: letters, digits, `.`, `_` and `-`, not starting with a dash.
pub(crate) fn is_profile_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with(['-', '.'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
