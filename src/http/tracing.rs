//! Writes requests, responses and their times to a trace. Without a trace, none of this runs.

use std::time::Instant;

use hyper::ext::ReasonPhrase;
use reqwest::header::{HeaderName, SET_COOKIE};

use crate::trace::{self, Direction, Header, Privacy};

/// Writes a header name as the client sends it, with a capital at the start of each word.
pub(super) fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect::<Vec<_>>().join("-")
}

/// Traces the head of a request with its `headers`, and the body if it is in memory and not secret.
///
/// `proxy` is set if a proxy forwards the request without CONNECT. It then gets the whole URL (RFC 9112 section 3.2.2)
/// and the value of `Proxy-Authorization`, if there is one.
pub(super) fn request(
    request: &reqwest::Request,
    mut headers: Vec<Header>,
    body: Option<&[u8]>,
    proxy: Option<Option<String>>,
) {
    let (method, url) = (request.method().as_str(), request.url());
    let path = path_of(url);
    trace::event("request", || {
        vec![
            ("method", method.into()),
            ("host", url.host_str().unwrap_or("").into()),
            ("path", path.as_str().into()),
        ]
    });
    let host = url.host_str().unwrap_or("");
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let target = match &proxy {
        Some(_) => format!("{}://{host}{port}{path}", url.scheme()),
        None => path.clone(),
    };
    let first = format!("{method} {target} HTTP/1.1");
    trace::head(Direction::Sent, &first, || {
        let login = proxy.flatten().map(|value| Header {
            name: "Proxy-Authorization".to_owned(),
            value,
            privacy: Privacy::Private,
        });
        headers.splice(0..0, login);
        headers.insert(0, open("Host", format!("{host}{port}")));
        match request.body().map(reqwest::Body::as_bytes) {
            Some(Some(body)) => headers.push(open("Content-Length", body.len().to_string())),
            Some(None) => headers.push(open("Transfer-Encoding", "chunked".into())),
            None => {}
        }
        headers
    });
    if let Some(body) = body {
        trace::body(Direction::Sent, body);
    }
}

fn path_of(url: &reqwest::Url) -> String {
    match url.query() {
        Some(query) if query.starts_with("service=git-") => format!("{}?{query}", url.path()),
        // The query of a token endpoint may contain a secret.
        Some(_) => format!("{}?***", url.path()),
        None => url.path().to_owned(),
    }
}

/// Traces the head of a response.
pub(super) fn answer(began: Instant, answer: &reqwest::Response) {
    let status = answer.status();
    trace::event("answer", || {
        vec![
            ("took_ms", began.elapsed().into()),
            ("status", u64::from(status.as_u16()).into()),
        ]
    });
    if !trace::is_on() {
        return;
    }
    // The library keeps the server's reason phrase only if it is unusual.
    let own = answer.extensions().get::<ReasonPhrase>();
    let reason = match own {
        Some(own) => String::from_utf8_lossy(own.as_bytes()),
        None => status.canonical_reason().unwrap_or("").into(),
    };
    let first = format!("{:?} {} {reason}", answer.version(), status.as_str());
    trace::head(Direction::Received, first.trim_end(), || {
        let lines = answer.headers().iter().map(|(name, value)| Header {
            name: title_case(name),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            privacy: match name {
                &SET_COOKIE => Privacy::Private,
                _ => Privacy::Open,
            },
        });
        lines.collect()
    });
}

fn open(name: &str, value: String) -> Header {
    Header {
        name: name.to_owned(),
        value,
        privacy: Privacy::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_written_as_they_are_sent() {
        for (name, shown) in [
            ("git-protocol", "Git-Protocol"),
            ("te", "Te"),
            ("x--y", "X--Y"),
        ] {
            let name: HeaderName = name.parse().expect("it is a header's name");
            assert_eq!(title_case(&name), shown);
        }
    }
}
