//! Reads error responses: the status and the server's message.

use std::{fmt, time::Duration};

use crate::{
    failure::{Kind, Renewal, quote},
    http::Response,
    site::{Answer, Product},
    transport::git::Service,
};

/// The part of an error response that is read.
const MAX_BYTES: usize = 4096;

/// An error status with the server's message.
#[derive(Debug)]
pub(super) struct Refusal {
    host: String,
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    words: Words,
}

/// The server's message, escaped for a terminal.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// No message for users.
    None,
    /// Lines of text.
    Lines(Vec<String>),
    /// The message of a JSON object.
    Message(String),
    /// An HTML page, with its title.
    Page(Option<String>),
}

impl Refusal {
    /// Reads the error response of a host. A truncated body is good enough.
    pub(super) fn read(response: &mut Response, host: &str) -> Self {
        // Always read the body, so that the pool can reuse the connection.
        let body = response.read_body(MAX_BYTES).unwrap_or_default();
        Refusal {
            host: host.to_owned(),
            status: response.status,
            retry_after: response.retry_after(),
            words: Words::of(response.header("content-type").unwrap_or(""), &body),
        }
    }

    /// Takes the lines of text, to show them separately.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        match std::mem::replace(&mut self.words, Words::None) {
            Words::Lines(lines) => lines,
            other => {
                self.words = other;
                Vec::new()
            }
        }
    }

    /// Finds the error kind, which decides the hint. `address` is the repository's; `renewal` replaces the token.
    pub(super) fn kind(
        &self,
        service: Service,
        address: &str,
        product: Product,
        renewal: Option<Renewal>,
    ) -> Kind {
        product.meaning(Answer {
            status: self.status,
            host: &self.host,
            said: self.words.to_string().to_lowercase(),
            is_page: matches!(self.words, Words::Page(_)),
            is_push: service == Service::ReceivePack,
            address,
            renewal,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            407 => write!(f, "a proxy on the way to '{}' answered 407", self.host),
            status => write!(f, "'{}' answered {status}", self.host),
        }?;
        if let (429 | 503, Some(seconds @ 1..)) =
            (self.status, self.retry_after.map(|wait| wait.as_secs()))
        {
            write!(f, " and asks to wait {seconds} seconds")?;
        }
        match &self.words {
            Words::None => Ok(()),
            Words::Page(_) => write!(f, " with {}", self.words),
            words => write!(f, ": {words}"),
        }
    }
}

impl Words {
    fn of(content_type: &str, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let content_type = content_type.split(';').next().unwrap_or("").trim();
        match content_type.to_ascii_lowercase().as_str() {
            "text/plain" => Words::lines(&text),
            "application/json" => message(body).map_or(Words::None, Words::Message),
            "text/html" => Words::Page(title(&text)),
            _ => Words::None,
        }
    }

    fn lines(text: &str) -> Self {
        match text.trim() {
            "" => Words::None,
            text => Words::Lines(text.lines().map(quote).collect()),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::None => Ok(()),
            Words::Lines(lines) => f.write_str(&lines.join(" ")),
            Words::Message(message) => f.write_str(message),
            Words::Page(Some(title)) => write!(f, "a page titled '{title}'"),
            Words::Page(None) => f.write_str("a page without a title"),
        }
    }
}

/// Finds the message in a JSON error. Bitbucket uses `{"error": {"message": …}}` (REST API, "Standardized error
/// responses"), gateways use the others.
fn message(body: &[u8]) -> Option<String> {
    let object: serde_json::Value = serde_json::from_slice(body).ok()?;
    let places = ["/error/message", "/message", "/error_description", "/error"];
    let said = places
        .iter()
        .find_map(|place| object.pointer(place)?.as_str());
    said.map(quote).filter(|said| !said.is_empty())
}

/// Finds the title of a page, which shows where the page comes from.
pub(super) fn title(page: &str) -> Option<String> {
    // This changes ASCII only, so byte positions stay the same.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(quote(&page[start..end])).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_for_users_is_read_from_a_body() {
        let cases = [
            (
                "text/plain; charset=utf-8",
                "\n one\ntwo\u{1b}[0m\n\n",
                "one two\\u{1b}[0m",
            ),
            ("text/plain", " \n", ""),
            (
                "application/json",
                r#"{"type":"error","error":{"message":"no\nway"}}"#,
                "no\\u{a}way",
            ),
            ("application/json", r#"{"message":"m","error":"e"}"#, "m"),
            ("application/json", r#"{"error":"e"}"#, "e"),
            ("application/json", r#"{"error":{"message":7}}"#, ""),
            ("application/json", r#"{"error":"#, ""),
            (
                "text/html",
                "<TITLE>\n Sign in </TITLE>",
                "a page titled 'Sign in'",
            ),
            ("text/html", "<title></title>", "a page without a title"),
            ("application/octet-stream", "canary", ""),
            ("", "canary", ""),
        ];
        for (kind, body, shown) in cases {
            assert_eq!(
                Words::of(kind, body.as_bytes()).to_string(),
                shown,
                "{body}"
            );
        }
        assert_eq!(cases.len(), 11);
    }

    #[test]
    fn any_message_of_a_server_is_short_and_printable() {
        let kept = [
            "\n one\ntwo\u{1b}[0m\n\n",
            r#"{"error":{"message":"no\nway \u001b[2J"}}"#,
            r#"{"message":"m","error_description":"e","error":7}"#,
            "<html><TITLE lang=x>\n Sign in </TITLE><title></title>",
            "<title/\u{130}></title",
            "Your IP address is not on the allowlist",
        ];
        crate::inside::fuzz::check_text(&kept, |body| {
            for kind in ["text/plain; x", "Application/JSON", "text/html", "x/y"] {
                let cut = &body.as_bytes()[..body.len().min(MAX_BYTES)];
                let words = Words::of(kind, cut);
                let shown = words.to_string();
                crate::inside::fuzz::expect_printable(&shown);
                assert!(shown.chars().count() <= 8 * MAX_BYTES, "{shown}");
                let mut refusal = Refusal {
                    host: "h".into(),
                    status: 403,
                    retry_after: None,
                    words,
                };
                refusal.kind(Service::ReceivePack, "ws/repo", Product::Cloud, None);
                for line in refusal.take_lines() {
                    crate::inside::fuzz::expect_printable(&line);
                }
            }
        });
    }
}
