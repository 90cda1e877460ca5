//! The settings that the reference lists, as `git bbtoken help reference` prints them.

use std::process::Command;

use crate::support::helper;

/// One setting.
pub(crate) struct Key {
    /// The last part of the key; for a setting of git without a table of its own, the whole key.
    pub(crate) name: String,
    /// For an http setting, whether the native transport supports it.
    pub(crate) treatment: String,
    /// What a repository's own configuration may do with it.
    pub(crate) from_repository: FromRepository,
}

/// The permission for a setting in a repository's own configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromRepository {
    Followed,
    FollowedInPart,
    FollowedOverHttps,
    Refused,
}

impl FromRepository {
    fn parse(cell: &str) -> Self {
        let known = [
            ("followed: ", FromRepository::Followed),
            ("followed in part: ", FromRepository::FollowedInPart),
            ("followed over https; ", FromRepository::FollowedOverHttps),
            ("refused: ", FromRepository::Refused),
        ];
        let found = known.into_iter().find(|(start, _)| cell.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no permission begins as '{cell}'"))
            .1
    }
}

/// Every `bbtoken.<key>`.
pub(crate) fn bbtoken_keys() -> Vec<Key> {
    keys("Git configuration", |name| {
        (!name.contains('.')).then_some(name)
    })
}

/// Every `remote.<name>.<key>`.
pub(crate) fn remote_keys() -> Vec<Key> {
    keys("Git configuration", |name| {
        name.strip_prefix("remote.<name>.")
    })
}

/// Every other setting of git, but for `http.<key>`.
pub(crate) fn git_keys() -> Vec<Key> {
    keys("Git configuration", |name| {
        let is_other = !["remote.", "<profile>."]
            .iter()
            .any(|start| name.starts_with(start));
        (is_other && name.contains('.')).then_some(name)
    })
}

/// Every `http.<key>`.
pub(crate) fn http_keys() -> Vec<Key> {
    keys("Git's http settings", |name| name.strip_prefix("http."))
}

/// Reads the table below a title. `wanted` gives the part of a name that is compared, if the key counts.
fn keys(title: &str, wanted: impl Fn(&str) -> Option<&str>) -> Vec<Key> {
    let printed = Command::new(helper().with_file_name("git-bbtoken"))
        .args(["help", "reference"])
        .env_clear()
        .output()
        .expect("the program starts");
    let page = String::from_utf8(printed.stdout).expect("it is text");
    let mut sections = page.split("\n## ");
    let title = format!("{title}\n");
    let section = sections.find(|section| section.starts_with(&title));
    let section = section.unwrap_or_else(|| panic!("the reference has '{title}'"));
    let key = |line: &str| {
        let (name, cells) = line.strip_prefix("| `")?.split_once("` | ")?;
        let mut cells = cells.split(" | ");
        Some(Key {
            name: wanted(name)?.to_owned(),
            treatment: cells.next()?.to_owned(),
            from_repository: FromRepository::parse(cells.next()?),
        })
    };
    let keys: Vec<_> = section.lines().filter_map(key).collect();
    assert!(!keys.is_empty(), "the table is found");
    keys
}
