//! URLs, and those to which a credential may be sent.

pub(crate) use reqwest::Url;

/// Tells whether a credential may be sent to a URL: https to any host, or http to this machine.
pub(crate) fn may_carry_credentials(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Tells whether a URL's host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_https_or_to_this_machine() {
        let cases = [
            ("https://bitbucket.org/x", true),
            ("http://localhost:8080/x", true),
            ("http://127.3.2.1/x", true),
            ("http://[::1]:1/x", true),
            ("http://bitbucket.org/x", false),
            ("http://localhost.evil.org/x", false),
            ("http://127.evil.org/x", false),
            ("ftp://localhost/x", false),
        ];
        for (url, allowed) in cases {
            let url = Url::parse(url).expect("the case is a URL");
            assert_eq!(may_carry_credentials(&url), allowed, "{url}");
        }
        assert_eq!(cases.len(), 8);
    }
}
