//! `http.<url>.<key>`: which setting is the most specific for a URL (git-config(1), "http.<url>.*").

use super::git::{Entry, GitConfig};
use crate::http::Url;

/// How well a setting's URL fits; greater is more specific (git: `cmp_matches` in urlmatch.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    host_length: usize,
    path_length: usize,
    user: bool,
}

/// A setting without a URL fits everything and yields to every other.
const GENERAL: Fit = Fit {
    host_length: 0,
    path_length: 0,
    user: false,
};

/// Collects the values of an `http` key that hold for a URL, in the order in which git would meet them.
///
/// A setting that is less specific than an earlier one is passed over; the last value wins for keys that hold one,
/// and lists (`http.extraHeader`) are all of them.
pub(super) fn values<'c>(config: &'c GitConfig, key: &str, url: &Url) -> Vec<&'c Entry> {
    let mut best = GENERAL;
    let mut found = Vec::new();
    for entry in config
        .entries()
        .filter(|entry| entry.section == "http" && entry.key == key)
    {
        let fit = match &entry.subsection {
            None => GENERAL,
            Some(pattern) => match fit(pattern, url) {
                Some(fit) => fit,
                None => continue,
            },
        };
        if fit >= best {
            best = fit;
            found.push(entry);
        }
    }
    found
}

fn fit(pattern: &str, url: &Url) -> Option<Fit> {
    let pattern = Url::parse(pattern).ok()?;
    if pattern.scheme() != url.scheme()
        || pattern.port_or_known_default() != url.port_or_known_default()
    {
        return None;
    }
    if !pattern.username().is_empty() && pattern.username() != url.username() {
        return None;
    }
    let host = pattern.host_str()?;
    if !host_fits(host, url.host_str()?) {
        return None;
    }
    Some(Fit {
        host_length: host.len(),
        path_length: path_fit(pattern.path(), url.path())?,
        user: !pattern.username().is_empty(),
    })
}

/// Compares label by label; `*` stands for one whole label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (mut pattern, mut host) = (pattern.split('.'), host.split('.'));
    loop {
        match (pattern.next(), host.next()) {
            (None, None) => return true,
            (Some(expected), Some(label))
                if expected == "*" || expected.eq_ignore_ascii_case(label) => {}
            _ => return false,
        }
    }
}

/// Gives the length of a path that is the other's beginning, up to a slash.
fn path_fit(prefix: &str, path: &str) -> Option<usize> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specificity_is_host_then_path_then_user() {
        let url = Url::parse("https://git.example.com/ws/repo.git").expect("it is a URL");
        let fits = |pattern: &str| fit(pattern, &url);
        assert!(fits("https://git.example.com/ws") > fits("https://git.example.com"));
        assert!(fits("https://git.example.com") > fits("https://*.example.com/ws"));
        assert_eq!(
            fits("https://git.example.com/w"),
            None,
            "a path matches whole steps only"
        );
        assert_eq!(
            fits("http://a.example.com"),
            None,
            "the scheme matches exactly"
        );
        assert_eq!(
            fits("https://git.example.com:444"),
            None,
            "the port matches exactly"
        );
        assert_eq!(
            fits("https://joe@a.example.com"),
            None,
            "a user name must be there"
        );
        assert!(
            fits("https://git.example.com:443/").is_some(),
            "the default port may be written"
        );
    }
}
