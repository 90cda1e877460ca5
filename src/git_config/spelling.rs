//! The spelling of keys in messages: git stores them in lower case, and its manual has capitals.

use super::{entry::Entry, http::HTTP_KEYS, repository::BBTOKEN_KEYS};

/// Keys of other sections with capitals that appear in messages.
const SPELLINGS: [&str; 4] = [
    "bbtokenProfile",
    "insteadOf",
    "pushInsteadOf",
    "useHttpPath",
];

impl Entry {
    /// Gives the whole key as users write it.
    pub(crate) fn name(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("{}.{subsection}.{}", self.section, self.documented_key()),
            None if self.section.is_empty() => self.key.to_string(),
            None => format!("{}.{}", self.section, self.documented_key()),
        }
    }

    /// Gives the whole key and its place, for messages.
    pub(crate) fn with_origin(&self) -> String {
        format!("{} in {}", self.name(), self.origin)
    }

    /// Gives the last part of the key with its documented capitals.
    fn documented_key(&self) -> &str {
        let of_http = HTTP_KEYS.iter().map(|key| key.name);
        // Some http keys are also keys of a remote.
        let of_http = of_http.filter(|_| ["http", "remote"].contains(&self.section.as_str()));
        let ours = BBTOKEN_KEYS.iter().map(|row| row.name);
        let ours = ours.filter(|_| self.section == "bbtoken");
        let mut known = ours.chain(SPELLINGS).chain(of_http);
        let found = known.find(|name| name.eq_ignore_ascii_case(&self.key));
        found.unwrap_or(&self.key)
    }
}
