//! Whole answers: text, JSON, HTML and redirects.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::reply::Payload;

/// An answer of the site, before rules have changed it.
pub(crate) type Answer = Response<Payload>;

pub(crate) fn text(status: StatusCode, text: &str) -> Answer {
    whole(status, "text/plain", text.to_owned())
}

pub(crate) fn json(status: StatusCode, value: &Value) -> Answer {
    whole(status, "application/json", value.to_string())
}

/// An HTML page; `body` is HTML, `title` is text.
pub(crate) fn html(status: StatusCode, title: &str, body: &str) -> Answer {
    let title = escape(title);
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - Bitbucket</title></head>\n\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    );
    whole(status, "text/html; charset=utf-8", page)
}

pub(crate) fn redirect(location: &str) -> Answer {
    let mut answer = empty(StatusCode::FOUND);
    let location =
        HeaderValue::from_str(location).expect("because a serialized URL is printable ASCII");
    answer.headers_mut().insert(LOCATION, location);
    answer
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Payload::Whole(None));
    *answer.status_mut() = status;
    answer
}

/// Text made safe for HTML, also inside a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn whole(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Payload::Whole(Some(Bytes::from(body))));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
