//! The credential helpers that git asks for a site, in git's order, and which of them is ours.

use std::path::Path;

use crate::{
    app,
    git_config::{self, Entry, Scope},
    program,
    url::Url,
};

/// A chain of helpers, for one part of a site: git asks the first one first and tells all of them what worked.
#[derive(Debug, Default)]
pub(crate) struct Chain<'e>(pub(crate) Vec<&'e Entry>);

impl<'e> Chain<'e> {
    /// Reads the chains of a site: the one for all of it, then one for each path and user that a setting names.
    pub(crate) fn all(entries: &[&'e Entry], site: &Url) -> Vec<Self> {
        let mut urls = vec![site.clone()];
        for entry in entries.iter().filter(|entry| is_helper(entry)) {
            let url = entry
                .subsection
                .as_deref()
                .and_then(|own| within(site, own));
            urls.extend(url.filter(|url| !urls.contains(url)));
        }
        urls.iter().map(|url| Chain::of(entries, url)).collect()
    }

    /// Reads the chain for one URL; an empty value starts the list anew (gitcredentials(7)).
    fn of(entries: &[&'e Entry], url: &Url) -> Self {
        let mut chain = Vec::new();
        for entry in entries.iter().filter(|entry| is_helper(entry)) {
            if !is_for(entry, url) {
                continue;
            }
            match helper(entry) {
                "" => chain.clear(),
                _ => chain.push(*entry),
            }
        }
        Chain(chain)
    }

    /// Finds our place in it.
    pub(crate) fn position(&self) -> Option<usize> {
        self.0.iter().position(|entry| is_ours(helper(entry)))
    }

    /// Tells whether no other helper gets a token.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.iter().all(|entry| is_ours(helper(entry)))
    }
}

/// Gives a setting that takes effect after everything that `setup` can write and keeps us from answering alone: it is
/// in a repository's file, or given to one command.
pub(crate) fn beyond_setup<'e>(entries: &[&'e Entry], site: &Url) -> Option<&'e Entry> {
    let later: Vec<_> = entries
        .iter()
        .copied()
        .filter(|entry| !matches!(entry.scope, Scope::System | Scope::Global))
        .collect();
    let chains = Chain::all(&later, site);
    let is_reset = |entry: &&&Entry| is_helper(entry) && is_for(entry, site);
    let reset = later.iter().find(is_reset).copied();
    let reset = reset.filter(|_| chains[0].0.is_empty());
    let others = chains.into_iter().flat_map(|chain| chain.0);
    let mut others = others.filter(|entry| !is_ours(helper(entry)));
    others.next().or(reset)
}

/// Gives the value of a helper's setting.
pub(crate) fn helper(entry: &Entry) -> &str {
    entry.value.as_deref().unwrap_or("")
}

pub(crate) fn is_helper(entry: &Entry) -> bool {
    entry.section == "credential" && entry.key == "helper"
}

/// Tells whether a helper's setting is in force for a site or a part of it.
pub(crate) fn is_about(entry: &Entry, site: &Url) -> bool {
    match entry.subsection.as_deref() {
        None => true,
        Some(own) => is_for(entry, site) || within(site, own).is_some(),
    }
}

fn is_for(entry: &Entry, url: &Url) -> bool {
    match entry.subsection.as_deref() {
        None => true,
        Some(own) => git_config::url_fits(own, url) || is_partly(own, url),
    }
}

/// Gives the part of a site that a setting's URL names.
fn within(site: &Url, own: &str) -> Option<Url> {
    let parsed = Url::parse(own).ok()?;
    let mut url = site.clone();
    url.set_path(parsed.path());
    url.set_username(parsed.username()).ok()?;
    git_config::url_fits(own, &url).then_some(url)
}

/// Tells whether `example.com` or `https://` fits, which git takes as well (git: `match_partial_url`).
fn is_partly(own: &str, url: &Url) -> bool {
    let site = app::site(url);
    site.strip_suffix(own)
        .is_some_and(|scheme| scheme.ends_with("://"))
        || own == format!("{}://", url.scheme())
}

/// Tells whether a helper is ours, however the user wrote it.
pub(crate) fn is_ours(helper: &str) -> bool {
    let quotes = ['\'', '"', '!', ';'];
    helper.split_whitespace().any(|word| {
        let word = word.trim_matches(quotes);
        let program = word.rsplit(['/', '\\']).next().unwrap_or(word);
        word == "bbtoken" || matches!(program, "git-bbtoken" | "git-bbtoken.exe")
    })
}

/// Tells whether the program of one of our helpers is gone, and names it.
pub(crate) fn missing_program(helper: &str) -> Option<String> {
    let line = helper.strip_prefix('!').unwrap_or(helper);
    let words = shell_words::split(line).ok()?;
    let program = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["git", "bbtoken", ..] => "git-bbtoken",
        [program, ..] => program,
        [] => return None,
    };
    let path = Path::new(program);
    let name = path.file_stem()?.to_str()?;
    // What else a shell may be given is not ours to judge.
    if name != "git-bbtoken" {
        return None;
    }
    let is_there = if path.is_absolute() {
        path.is_file()
    } else {
        path.components().count() > 1 || !program::all(name).is_empty()
    };
    (!is_there).then(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_ours_by_its_program_and_not_by_the_path_of_a_file() {
        let ours = [
            "!git bbtoken credential",
            "!git -c x=y bbtoken credential",
            "!'/my programs/git-bbtoken' credential",
            "!\"C:/Program Files/x/git-bbtoken.exe\" credential --profile work",
            "!f() { git-bbtoken credential \"$@\"; }; f",
            "bbtoken",
        ];
        let others = [
            "store --file=/home/ann/bbtoken/stored",
            "store --file /x/git-bbtoken.d/stored",
            "!/opt/bbtoken/bin/other get",
            "manager",
        ];
        assert!(ours.iter().all(|helper| is_ours(helper)));
        assert!(!others.iter().any(|helper| is_ours(helper)));
    }
}
