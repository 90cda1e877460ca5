//! Names with their meanings, for the help, the manual pages and the reference.

use crate::variables::VARIABLES;

/// A setting, variable, exit code or command line, and what it means.
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
}

pub(super) const fn name(name: &'static str, meaning: &'static str) -> Name {
    Name { name, meaning }
}

/// Gives the environment variables.
pub(super) fn variables() -> Vec<Name> {
    let variables = VARIABLES.iter();
    variables.map(|(its, meaning)| name(its, meaning)).collect()
}

/// Shows a table as text.
pub(super) fn list<'n>(names: impl IntoIterator<Item = &'n Name>) -> String {
    let mut text = String::new();
    for Name { name, meaning } in names {
        entry(&mut text, name, meaning);
    }
    text
}

/// Adds a name and, below it, its meaning.
pub(super) fn entry(text: &mut String, name: &str, meaning: &str) {
    text.push_str(&format!("  {name}\n      {meaning}\n"));
}
