//! Tables of names with their meanings: settings, variables, exit codes and examples.

/// A setting, variable, exit code or command line, and what it means.
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
}

pub(super) const fn name(name: &'static str, meaning: &'static str) -> Name {
    Name { name, meaning }
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
