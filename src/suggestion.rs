//! Finds the known word that a user most likely meant by an unknown one.

use crate::{
    failure::quote,
    variables::{self, PREFIX},
};

/// The variables that packagers set for a build.
const OF_BUILD: [&str; 2] = ["BBTOKEN_BUILTIN_CLIENT_ID", "BBTOKEN_BUILTIN_CLIENT_SECRET"];

/// A setting or variable with this program's prefix that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// Its name, for a setting with its file.
    pub(crate) name: String,
    /// The most likely correct name.
    pub(crate) instead: Option<String>,
}

impl Unknown {
    /// Describes it in one sentence, without its value, which may be a secret.
    pub(crate) fn text(&self) -> String {
        match &self.instead {
            Some(known) => format!("{} is unknown; did you mean {known}?", self.name),
            None => format!("{} is unknown and has no effect", self.name),
        }
    }
}

/// Lists the unknown variables of the environment, in alphabetical order.
pub(crate) fn unknown_variables() -> Vec<Unknown> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let is_known =
        |name: &str| variables::ours().any(|known| known == name) || OF_BUILD.contains(&name);
    let unknown = names.filter(|name| !is_known(name)).filter_map(|name| {
        let word = name.strip_prefix(PREFIX)?;
        let known = variables::ours().filter_map(|known| known.strip_prefix(PREFIX));
        let instead = similar(word, known).map(|known| format!("{PREFIX}{known}"));
        Some(Unknown {
            name: quote(&name),
            instead,
        })
    });
    let mut unknown: Vec<_> = unknown.collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

/// Gives those with a suggestion as a text for the end of an error message.
pub(crate) fn doubts(unknown: &[Unknown]) -> String {
    let suggested = unknown.iter().filter(|unknown| unknown.instead.is_some());
    suggested
        .map(|unknown| format!("; {}", unknown.text()))
        .collect()
}

/// Finds the known word that is most similar: with a typing error, or with a word more or less (`--token` for
/// `--with-token`).
pub(crate) fn similar<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let ranked = known
        .into_iter()
        .filter_map(|known| Some((rank(word, known)?, known)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, known)| known)
}

/// Ranks a known word, best first; `None` if it is not similar.
fn rank(word: &str, known: &str) -> Option<(u8, usize)> {
    let last = |word: &str| {
        word.rsplit(['-', '_'])
            .next()
            .unwrap_or("")
            .to_ascii_lowercase()
    };
    let plain = |word: &str| word.replace(['-', '_'], "").to_ascii_lowercase();
    let (is_last, word, known) = (last(word) == last(known), plain(word), plain(known));
    let distance = strsim::osa_distance(&word, &known);
    let rank = match () {
        () if distance <= (word.len() / 4).max(1) => 0,
        () if word.len() < 2 => return None,
        () if known.ends_with(&word) || word.ends_with(&known) => 1,
        () if is_last => 2,
        () if known.starts_with(&word) || word.starts_with(&known) => 3,
        () => return None,
    };
    Some((rank, distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_typing_error_or_a_part_missing_is_similar() {
        let variables: Vec<_> = variables::ours()
            .map(|name| &name[PREFIX.len()..])
            .collect();
        let options = [
            "store",
            "with-token",
            "with-secret",
            "client-id",
            "try",
            "account",
        ];
        let topics = ["config", "environment", "exit-codes", "login", "use"];
        for (word, known, similar_word) in [
            ("SECRET", &variables[..], Some("CLIENT_SECRET")),
            ("TOKEN", &variables, Some("ACCESS_TOKEN")),
            ("API_TOKEN", &variables, Some("ACCESS_TOKEN")),
            ("CLIENTID", &variables, Some("CLIENT_ID")),
            ("TOKEN_FILE", &variables, Some("ACCESS_TOKEN_FILE")),
            ("PROFIEL", &variables, Some("PROFILE")),
            ("PASSWORD", &variables, None),
            ("token", &options, Some("with-token")),
            ("access-token", &options, Some("with-token")),
            ("secret", &options, Some("with-secret")),
            ("sotre", &options, Some("store")),
            ("id", &options, Some("client-id")),
            ("x", &options, None),
            ("", &options, None),
            ("envirment", &topics, Some("environment")),
            ("env", &topics, Some("environment")),
            ("nothing", &topics, None),
        ] {
            assert_eq!(similar(word, known.iter().copied()), similar_word, "{word}");
        }
    }
}
