//! `no_proxy`: the hosts without a proxy, as libcurl reads it (curl: `Curl_check_noproxy`).

use std::net::IpAddr;

use crate::url::Url;

/// Matches `*`, or a list of hosts, domains, addresses and networks (`10.0.0.0/8`).
///
/// # Deviation
///
/// An IPv6 address may have brackets or be a network. libcurl compares it as text.
pub(super) fn is_exempt(list: &str, url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    // `*` means all hosts only if it is alone.
    if list == "*" {
        return true;
    }
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| match address {
            Some(address) => is_in_network(address, entry),
            None => is_in_domain(&host, entry),
        })
}

fn is_in_domain(host: &str, entry: &str) -> bool {
    let domain = entry.strip_prefix('.').unwrap_or(entry);
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let above = host.strip_suffix(&domain);
    !domain.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Compares the leading bits. Without a number, or with 0, it compares all bits.
fn is_in_network(address: IpAddr, entry: &str) -> bool {
    let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(network) = network.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return false;
    };
    let bits: u32 = bits.parse().unwrap_or(0);
    let shift = |all: u32| match bits {
        0 => Some(0),
        bits => all.checked_sub(bits),
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => shift(32)
            .is_some_and(|shift| u32::from(address) >> shift == u32::from(network) >> shift),
        (IpAddr::V6(address), IpAddr::V6(network)) => shift(128)
            .is_some_and(|shift| u128::from(address) >> shift == u128::from(network) >> shift),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_as_in_curl() {
        let cases: [(&str, &[&str], &[&str]); 4] = [
            (
                "https://git.example.com/x",
                &[
                    "*",
                    "example.com",
                    ".example.com",
                    "a,git.example.com",
                    "a b example.com",
                    "EXAMPLE.com.",
                ],
                &[
                    "",
                    ",",
                    ".",
                    "ample.com",
                    "xgit.example.com",
                    "example.org",
                    "*.example.com",
                ],
            ),
            (
                "https://10.1.2.3/x",
                &[
                    "*",
                    "10.1.2.3",
                    "10.0.0.0/8",
                    "10.1.2.3/32",
                    "10.0.0.0/1",
                    "x, 10.1.0.0/16",
                ],
                &[
                    "10.1.2.4",
                    "11.0.0.0/8",
                    "10.1.2.0/x",
                    "1.2.3",
                    "10.1.2.2/32",
                    "::/0",
                ],
            ),
            (
                "https://[fd00::1]/x",
                &["fd00::1", "[fd00::1]", "fd00::/8", "f000::/4"],
                &["fd00::2", "fe00::/8", "0.0.0.0/0"],
            ),
            (
                "https://localhost/x",
                &["localhost", ".localhost"],
                &["127.0.0.1", "host"],
            ),
        ];
        for (url, matching, other) in cases {
            let url = Url::parse(url).expect("it is a URL");
            for list in matching {
                assert!(is_exempt(list, &url), "{list} {url}");
            }
            for list in other {
                assert!(!is_exempt(list, &url), "{list} {url}");
            }
        }
    }
}
