//! Keys of git's configuration, compared.

/// Compares keys as git does: section and name without case, the subsection with it.
pub(crate) fn same_key(one: &str, other: &str) -> bool {
    parts(one) == parts(other)
}

pub(super) fn parts(key: &str) -> (String, &str, String) {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let (subsection, name) = rest.rsplit_once('.').unwrap_or(("", rest));
    let [section, name] = [section, name].map(str::to_ascii_lowercase);
    (section, subsection, name)
}
