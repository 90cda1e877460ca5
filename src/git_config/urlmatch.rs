//! Finds the most specific `<section>.<url>.<key>` for a URL (git-config(1), `http.<url>.*`).

use percent_encoding::percent_encode_byte;

use super::{entry::Entry, git::GitConfig};
use crate::url::Url;

/// The specificity of a match; greater is more specific (git: `cmp_matches` in urlmatch.c). A setting without a URL
/// matches everything and has the lowest specificity, the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    host_length: usize,
    path_length: usize,
    user: bool,
}

/// Collects the values of a key for a URL, in git's order.
///
/// A setting that is less specific than an earlier one is skipped. The last value wins for keys with one value. Lists
/// (`http.extraHeader`) have all values.
pub(crate) fn values<'c>(
    config: &'c GitConfig,
    section: &str,
    key: &str,
    url: &Url,
) -> Vec<&'c Entry> {
    let entries = config.entries();
    let mut entries = entries
        .filter(|entry| entry.section == section && entry.key == key)
        .peekable();
    // Most keys are not set, and the URL need not be parsed.
    let Some(url) = entries.peek().and_then(|_| Normal::of_url(url.as_str())) else {
        return Vec::new();
    };
    let mut best = Fit::default();
    let mut found = Vec::new();
    for entry in entries {
        let fit = match &entry.subsection {
            None => Some(Fit::default()),
            Some(pattern) => Normal::parse(pattern).and_then(|pattern| fit(&pattern, &url)),
        };
        if let Some(fit) = fit.filter(|fit| *fit >= best) {
            best = fit;
            found.push(entry);
        }
    }
    found
}

/// Tells whether the URL of a setting matches a URL.
pub(crate) fn fits(pattern: &str, url: &Url) -> bool {
    compared(pattern, url, |pattern, url| fit(pattern, url).is_some())
}

/// Tells whether the URL of a setting has the same site as a URL. User and path may differ.
pub(super) fn is_at_site(pattern: &str, url: &Url) -> bool {
    compared(pattern, url, have_one_site)
}

fn compared(pattern: &str, url: &Url, compare: impl Fn(&Normal, &Normal) -> bool) -> bool {
    let both = Normal::parse(pattern).zip(Normal::of_url(url.as_str()));
    both.is_some_and(|(pattern, url)| compare(&pattern, &url))
}

fn have_one_site(pattern: &Normal, url: &Normal) -> bool {
    pattern.scheme == url.scheme && pattern.port == url.port && host_fits(&pattern.host, &url.host)
}

/// Gives the specificity of a pattern, if it matches (git: `match_urls`).
fn fit(pattern: &Normal, url: &Normal) -> Option<Fit> {
    let same_user = pattern.user.is_none() || pattern.user == url.user;
    if !have_one_site(pattern, url) || !same_user {
        return None;
    }
    Some(Fit {
        host_length: pattern.host.len(),
        path_length: path_fit(&pattern.path, &url.path)?,
        user: pattern.user.is_some(),
    })
}

/// Compares label by label. `*` matches one whole label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (mut pattern, mut host) = (pattern.split('.'), host.split('.'));
    loop {
        match (pattern.next(), host.next()) {
            (None, None) => return true,
            (Some(expected), Some(label)) if expected == "*" || expected == label => {}
            _ => return false,
        }
    }
}

/// Gives the length of a path if it is a prefix of the other path up to a slash.
fn path_fit(prefix: &str, path: &str) -> Option<usize> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len() + 1)
}

/// A URL in git's normal form, which differs from that of browsers (git: `url_normalize`).
#[derive(Debug)]
struct Normal {
    scheme: String,
    user: Option<String>,
    host: String,
    /// Empty for the default port of the scheme.
    port: String,
    /// The path, with query and fragment.
    path: String,
}

impl Normal {
    /// Parses the URL of a request, whose host contains no `*`.
    fn of_url(text: &str) -> Option<Self> {
        Normal::parse(text).filter(|url| !url.host.contains('*'))
    }

    /// Parses the URL of a setting, whose host may contain `*`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        if !is_scheme {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, authority) = match authority.split_once('@') {
            Some((user, authority)) => {
                (Some(user.split(':').next().unwrap_or_default()), authority)
            }
            None => (None, authority),
        };
        let (host, port) = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => {
                (&authority[..colon], &authority[colon + 1..])
            }
            _ => (authority, ""),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[:]*".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        Some(Normal {
            user: match user {
                Some(user) => Some(escape(user, "!#$%&'()*+,/:;=?@[]")?),
                None => None,
            },
            host: host.to_ascii_lowercase(),
            port: port_of(&scheme, port)?,
            path: path_of(rest)?,
            scheme,
        })
    }
}

/// Reads a port; empty for the default port of the scheme.
fn port_of(scheme: &str, port: &str) -> Option<String> {
    if port.is_empty() {
        return Some(String::new());
    }
    let digits = port.trim_start_matches('0');
    let number: u16 = digits.parse().ok().filter(|number| *number > 0)?;
    Some(match (scheme, number) {
        ("http", 80) | ("https", 443) => String::new(),
        _ => number.to_string(),
    })
}

/// Resolves `.` and `..` in a path; `None` if it leads above the root.
fn path_of(text: &str) -> Option<String> {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let mut steps: Vec<String> = Vec::new();
    let mut last_is_directory = true;
    for step in path.strip_prefix('/').unwrap_or(path).split('/') {
        let step = escape(step, "/?#")?;
        last_is_directory = matches!(step.as_str(), "." | "..");
        match step.as_str() {
            "." => {}
            ".." => {
                steps.pop()?;
            }
            _ => steps.push(step),
        }
    }
    let slash = if last_is_directory && !steps.is_empty() {
        "/"
    } else {
        ""
    };
    Some(format!(
        "/{}{slash}{}",
        steps.join("/"),
        escape(rest, "/?#")?
    ))
}

/// Normalizes escapes: escapes unsafe characters, and keeps the escapes of characters in `keep`.
fn escape(text: &str, keep: &str) -> Option<String> {
    let mut escaped = String::new();
    let mut bytes = text.bytes();
    while let Some(mut byte) = bytes.next() {
        let was_escaped = byte == b'%';
        if was_escaped {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            byte = u8::from_str_radix(digits, 16).ok()?;
        }
        let is_unsafe = byte <= 0x1f || byte >= 0x7f || b" <>\"%{}|\\^`".contains(&byte);
        if is_unsafe || (was_escaped && keep.as_bytes().contains(&byte)) {
            escaped.push_str(percent_encode_byte(byte));
        } else {
            escaped.push(char::from(byte));
        }
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specificity_is_host_then_path_then_user() {
        let url = Normal::of_url("https://git.example.com/ws/repo.git").expect("it is a URL");
        let fits = |pattern: &str| fit(&Normal::parse(pattern)?, &url);
        assert!(fits("https://git.example.com/ws") > fits("https://git.example.com"));
        assert!(fits("https://git.example.com") > fits("https://*.example.com/ws"));
        assert_eq!(
            fits("https://git.example.com/w"),
            None,
            "a path matches whole steps only"
        );
        assert_eq!(
            fits("http://git.example.com"),
            None,
            "the scheme matches exactly"
        );
        assert_eq!(
            fits("https://git.example.com:444"),
            None,
            "the port matches exactly"
        );
        assert_eq!(
            fits("https://joe@git.example.com"),
            None,
            "a user name must be there"
        );
        assert!(
            fits("https://git.example.com:443/").is_some(),
            "the default port may be written"
        );
    }

    #[test]
    fn any_url_matches_itself_or_nothing() {
        let kept = [
            "https://u:p@*.example.org:443/a/../b?q#f",
            "http://[::1]:80",
            "HTTPS://EXAMPLE.org//./%7e%2F",
            "a+b.c://h",
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            let Some(url) = Normal::of_url(text) else {
                return;
            };
            let pattern = Normal::parse(text).expect("it is a URL without stars, too");
            assert!(fit(&pattern, &url).is_some(), "{url:?}");
            assert!(url.host.len() + url.path.len() <= 3 * text.len() + 1);
        });
    }
}
