//! Reads responses of the token endpoint: a token (RFC 6749 section 5.1), a refusal (section 5.2), or neither.

use serde_json::{Map, Value};

use super::error::{Error, Refusal};
use crate::{failure::quote, http::Response, secret::Secret};

/// The assumed lifetime of a token without `expires_in`: half of Bitbucket's documented lifetime.
///
/// If it is too long, the server refuses one request, and the token is replaced. If it is too short, it costs a token
/// request.
const ASSUMED_LIFETIME_S: u64 = 3600;

/// A token response.
#[derive(Clone, Debug)]
pub(crate) struct TokenAnswer {
    /// The access token, of any length.
    pub(crate) access_token: Secret,
    /// The refresh token, which replaces the one that was sent (RFC 6749 section 6).
    pub(crate) refresh_token: Option<Secret>,
    /// The time of the request by the local clock, which is the start of the token's life.
    pub(crate) asked_at_unix_s: u64,
    /// The lifetime in seconds.
    pub(crate) lifetime_s: u64,
    /// The scopes, if the response has them.
    pub(crate) scopes: Vec<String>,
}

/// Classifies a response by status and body. Errors contain only the two fields of RFC 6749 from the body.
///
/// Only an OAuth error body counts as a refusal. Any other error comes from a gateway in front of the endpoint.
pub(super) fn read(
    response: &Response,
    body: &Secret,
    asked_at_unix_s: u64,
) -> Result<TokenAnswer, Error> {
    let status = response.status;
    let fields = match serde_json::from_str(body.expose()) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    let refusal = fields.as_ref().and_then(|fields| refusal(status, fields));
    match (status, fields, refusal) {
        (429 | 502..=504, _, refusal) => Err(Error::Busy {
            status,
            retry_after_s: response.retry_after().map(|span| span.as_secs()),
            said: refusal.map(|refusal| refusal.description),
        }),
        (200..=299, Some(fields), _) if fields.contains_key("access_token") => {
            match other_type(&fields) {
                Some(kind) => Err(Error::OtherType(kind)),
                None => token(&fields, asked_at_unix_s).map_err(|why| unusable(status, why)),
            }
        }
        (500.., _, Some(refusal)) => Err(Error::Failed(refusal)),
        (200..=299 | 400..=406 | 408..=499, _, Some(refusal)) => {
            Err(match refusal.error.as_str() {
                "server_error" | "temporarily_unavailable" => Error::Failed(refusal),
                _ => Error::Refused(refusal),
            })
        }
        (300..=399, _, _) => Err(unusable(
            status,
            "a redirect, which the helper never follows for a token request",
        )),
        (200..=299, Some(_), _) => Err(unusable(status, "a JSON object without an access token")),
        (_, Some(_), _) => Err(unusable(status, "a JSON object that is not an OAuth error")),
        (_, None, _) => Err(unusable(status, describe(response, body))),
    }
}

/// Gives the type of a token if it is not `bearer`, because a client must not use an unknown type (RFC 6749 section
/// 7.1). A token without a type counts as a bearer token.
fn other_type(fields: &Map<String, Value>) -> Option<String> {
    match fields.get("token_type")? {
        Value::String(kind) if kind.eq_ignore_ascii_case("bearer") => None,
        Value::String(kind) => Some(quote(kind)),
        _ => Some("(not a string)".to_owned()),
    }
}

fn token(fields: &Map<String, Value>, asked_at_unix_s: u64) -> Result<TokenAnswer, &'static str> {
    let access_token = Secret::new(text(fields, "access_token"));
    let refresh_token = Secret::new(text(fields, "refresh_token"));
    // Bitbucket's `scope` was `scopes` before 2026.
    let scopes = ["scope", "scopes"]
        .map(|name| text(fields, name))
        .into_iter()
        .find(|list| !list.is_empty());
    if access_token.is_empty() {
        return Err("an empty access token");
    }
    // RFC 6749 appendix A.12 and A.17. A line end would inject a field into git's credential protocol.
    let is_token = |token: &Secret| token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(&access_token) || !is_token(&refresh_token) {
        return Err("a token with invalid characters");
    }
    Ok(TokenAnswer {
        access_token,
        refresh_token: (!refresh_token.is_empty()).then_some(refresh_token),
        asked_at_unix_s,
        lifetime_s: lifetime_s(fields),
        scopes: scopes
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}

/// Reads `expires_in`: a number, or a string of digits, as some servers send.
fn lifetime_s(fields: &Map<String, Value>) -> u64 {
    let seconds = match fields.get("expires_in") {
        Some(Value::Number(number)) => number.as_f64().map(|seconds| seconds.max(0.0) as u64),
        Some(Value::String(digits)) => digits.parse().ok(),
        _ => None,
    };
    seconds.unwrap_or(ASSUMED_LIFETIME_S)
}

/// The error codes of a token endpoint (RFC 6749 section 5.2), and those of section 4.1.2.1 that servers use there, too.
const CODES: [&str; 9] = [
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Reads an error body (RFC 6749 section 5.2). Gateways and frameworks have other values in `error`.
fn refusal(status: u16, fields: &Map<String, Value>) -> Option<Refusal> {
    let error = text(fields, "error");
    CODES.contains(&error.as_str()).then(|| Refusal {
        status,
        error,
        description: text(fields, "error_description"),
    })
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned()
}

fn unusable(status: u16, why: impl Into<String>) -> Error {
    Error::Unusable {
        status,
        why: why.into(),
    }
}

/// Describes a response that is not JSON.
fn describe(response: &Response, body: &Secret) -> String {
    if body.is_empty() {
        return "an empty body".into();
    }
    match response.header("content-type") {
        Some(kind) if kind.starts_with("application/json") => {
            "a body that is not complete JSON".into()
        }
        Some(kind) => format!("'{}' instead of JSON", quote(kind)),
        None => "a body that is not JSON".into(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::http::{ResponseBody, TransportError};

    struct NoBody;
    impl ResponseBody for NoBody {
        fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok(None)
        }
    }

    fn answer(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Result<TokenAnswer, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("the case's header is one"));
        }
        read(
            &Response::new(status, map, Box::new(NoBody)),
            &Secret::new(body),
            1_000,
        )
    }

    #[test]
    fn old_and_new_field_names_are_read_and_unknown_ones_ignored() {
        for name in ["scope", "scopes"] {
            let body = format!(
                r#"{{"access_token":"t","expires_in":7200,"{name}":"repository account","state":"x","n":[1]}}"#
            );
            let token = answer(200, &[], &body).expect("it is a token");
            assert_eq!((token.lifetime_s, token.scopes.len()), (7200, 2));
        }
    }

    #[test]
    fn a_missing_or_odd_lifetime_is_no_error() {
        let cases = [
            ("", 3600),
            (r#","expires_in":"60""#, 60),
            (r#","expires_in":-5"#, 0),
            (r#","expires_in":null"#, 3600),
        ];
        for (field, expected) in cases {
            let token = answer(200, &[], &format!(r#"{{"access_token":"t"{field}}}"#))
                .expect("it is a token");
            assert_eq!(token.lifetime_s, expected, "{field}");
        }
    }

    #[test]
    fn a_response_that_is_neither_token_nor_refusal_is_unusable() {
        type Header = (&'static str, &'static str);
        let cases: [(u16, &[Header], &str); 8] = [
            (200, &[("content-type", "text/html")], "<html>canary</html>"),
            (
                200,
                &[("content-type", "application/json")],
                r#"{"access_token":"can"#,
            ),
            (200, &[], ""),
            (200, &[], r#"{"access_token":""}"#),
            (200, &[], r#"{"access_token":"a\nquit=1"}"#),
            (
                200,
                &[],
                r#"{"access_token":"a","refresh_token":"b\u0000"}"#,
            ),
            (302, &[("location", "https://evil.example/")], ""),
            (500, &[("content-type", "text/html")], "<html>"),
        ];
        for (status, headers, body) in cases {
            let error = answer(status, headers, body).expect_err("it is no token");
            assert!(
                matches!(error, Error::Unusable { .. }),
                "{status} {body}: {error}"
            );
            assert!(!error.to_string().contains("can"), "{error}");
        }
    }

    #[test]
    fn a_refusal_keeps_the_endpoints_two_fields() {
        let error = answer(
            400,
            &[],
            r#"{"error":"unauthorized_client","error_description":"Invalid OAuth client credentials"}"#,
        );
        assert_eq!(
            error.expect_err("it is a refusal").to_string(),
            "the token endpoint answered 400, unauthorized_client: Invalid OAuth client credentials"
        );
    }

    #[test]
    fn only_an_error_body_of_oauth_is_a_refusal() {
        let bodies = [
            "",
            "<html>",
            "Forbidden",
            "{}",
            "[]",
            r#"{"error":""}"#,
            r#"{"error":403}"#,
            r#"{"error":{"message":"no","code":403}}"#,
            r#"{"status":403,"error":"Forbidden","path":"/token"}"#,
            r#"{"message":"Forbidden"}"#,
            r#"{"error_description":"no"}"#,
        ];
        for status in [400, 401, 403, 404, 407] {
            for body in bodies {
                let error = answer(status, &[], body).expect_err("it is no token");
                assert!(matches!(error, Error::Unusable { .. }), "{body}: {error}");
            }
        }
        assert_eq!(bodies.len(), 11);
        for status in [400, 401, 403] {
            let error = answer(status, &[], r#"{"error":"invalid_grant"}"#);
            let error = error.expect_err("it is no token");
            assert!(matches!(error, Error::Refused(_)), "{error}");
        }
    }

    #[test]
    fn a_server_failure_in_oauth_format_is_quoted_and_is_not_a_refusal() {
        let error = answer(400, &[], r#"{"error":"temporarily_unavailable"}"#);
        assert!(matches!(error, Err(Error::Failed(_))), "{error:?}");
        let body = r#"{"error":"server_error","error_description":"the database is away"}"#;
        let error = answer(500, &[], body).expect_err("it is no token");
        assert!(matches!(error, Error::Failed(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "the token endpoint answered 500, server_error: the database is away"
        );
        let error = answer(503, &[("retry-after", "7")], body).expect_err("it is no token");
        assert_eq!(
            error.to_string(),
            "the token endpoint answered 503 and asks to wait 7 seconds: the database is away"
        );
    }

    #[test]
    fn a_token_of_another_type_is_not_used() {
        for kind in [r#""Bearer""#, r#""bearer""#, r#""BEARER""#] {
            let body = format!(r#"{{"access_token":"t","token_type":{kind}}}"#);
            assert!(answer(200, &[], &body).is_ok(), "{kind}");
        }
        for (kind, shown) in [
            (r#""mac""#, "mac"),
            (r#""DPoP""#, "DPoP"),
            (r#""""#, ""),
            ("null", "(not a string)"),
        ] {
            let body = format!(r#"{{"access_token":"t","token_type":{kind}}}"#);
            let error = answer(200, &[], &body).expect_err("it is no bearer token");
            assert_eq!(
                error.to_string(),
                format!(
                    "the token endpoint returned a token of type '{shown}' instead of 'bearer'"
                )
            );
        }
    }

    #[test]
    fn a_retry_date_is_measured_by_the_servers_clock() {
        let dates = [
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
        ];
        let error = answer(503, &dates, "").expect_err("it is no token");
        let expected = "the token endpoint answered 503 and asks to wait 30 seconds";
        assert_eq!(error.to_string(), expected);
        let error = answer(503, &dates[1..], "").expect_err("it is no token");
        assert_eq!(
            error.to_string(),
            "the token endpoint answered 503, not available"
        );
    }

    #[test]
    fn a_busy_endpoint_tells_how_long_to_wait() {
        let error = answer(429, &[("retry-after", "7")], "").expect_err("it is no token");
        assert!(
            matches!(
                error,
                Error::Busy {
                    status: 429,
                    retry_after_s: Some(7),
                    ..
                }
            ),
            "{error:?}"
        );
    }

    const CANARY: &str = "canary-4f1c";

    fn body_of(name: &str, value: &str) -> String {
        format!(r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}","{name}":{value}}}"#)
    }

    #[test]
    fn any_response_is_a_token_or_an_error_without_secrets() {
        let kept = [
            body_of("expires_in", "7200"),
            body_of("expires_in", "1e300"),
            body_of("expires_in", "-0.5E+3"),
            body_of(
                "scope",
                r#"[true,false,null,{"a":[]},"\ud83d\ude00\/\b\f"]"#,
            ),
            body_of("scopes", r#""repository account""#),
            body_of("error", r#""invalid_grant""#),
            body_of("error_description", r#""no \u001b[31m""#),
            format!(r#"{{"error":"{}"}}"#, "\u{1b}".repeat(300)),
            format!("<html>{CANARY}</html>"),
        ];
        let kept: Vec<_> = kept.iter().map(String::as_str).collect();
        crate::inside::fuzz::check_text(&kept, |body| {
            for (status, kind) in [
                (200, "application/json"),
                (200, "text/html"),
                (400, "application/json"),
                (401, "text/html"),
                (503, "text/plain"),
            ] {
                match answer(status, &[("content-type", kind)], body) {
                    Ok(token) => assert!(token.access_token.expose().len() <= body.len()),
                    Err(error) => {
                        let text = error.to_string();
                        crate::inside::fuzz::expect_printable(&text);
                        assert!(text.chars().count() < 3_000, "{text}");
                        let is_its_word = match &error {
                            Error::Refused(refusal) | Error::Failed(refusal) => {
                                refusal.to_string().contains(CANARY)
                            }
                            Error::Busy { said, .. } => said.is_some(),
                            Error::OtherType(_) => true,
                            Error::Unusable { .. } | Error::Transport(_) => false,
                        };
                        assert!(!text.contains(CANARY) || is_its_word, "{text}");
                    }
                }
            }
        });
    }

    #[test]
    fn any_retry_after_value_of_a_busy_endpoint_is_a_number_or_ignored() {
        let kept = [
            "7",
            "0",
            "-1",
            "18446744073709551615",
            "Wed, 21 Oct 2015 07:28:30 GMT",
            "Wednesday, 21-Oct-15 07:28:30 GMT",
            "Wed Oct 21 07:28:30 2015",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ];
        crate::inside::fuzz::check_text(&kept, |text| {
            let Ok(value) = text.parse::<reqwest::header::HeaderValue>() else {
                return;
            };
            for date in kept {
                let mut headers = HeaderMap::new();
                headers.insert("retry-after", value.clone());
                headers.insert("date", date.parse().expect("it is one"));
                let response = Response::new(503, headers, Box::new(NoBody));
                let error = read(&response, &Secret::new(""), 1_000).expect_err("it is no token");
                crate::inside::fuzz::expect_printable(&error.to_string());
            }
        });
    }
}
