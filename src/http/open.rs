//! HTTP over a connection that another process has opened.

use std::{cell::RefCell, rc::Rc, time::Duration};

use hyper::client::conn::http1::{Builder, SendRequest};
use reqwest::header::{ACCEPT, HOST, HeaderValue};
use tokio::time::{Instant, timeout_at};

use super::{
    Phase, Request, Response, TransportError,
    errors::{classify, classify_open, is_of_lender},
    message::{Exchange, Incoming, Messages},
    pool::notice_closed_connections,
    route::MAX_HEADER_LINES,
};
use crate::waiting;

/// How much of a response is read before the command sees it, and for how long.
const AHEAD_BYTES: usize = 64 * 1024;
const AHEAD_LIMIT: Duration = Duration::from_millis(250);

/// An open connection, and the headers of the requests on it.
pub(crate) struct OpenConnection {
    messages: Messages,
    sender: RefCell<SendRequest<reqwest::Body>>,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// The connection had ended before. The server saw nothing of the request.
    Unsent(TransportError),
    /// The server may have seen the request.
    Lost(TransportError),
}

impl OpenConnection {
    /// Prepares HTTP on a connection. It has the limits of [`super::Client`].
    ///
    /// # Errors
    ///
    /// If the library refuses, which it never does for HTTP/1.1.
    pub(crate) fn new<C>(messages: Messages, connection: C) -> hyper::Result<Self>
    where
        C: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let runtime = Rc::clone(&messages.runtime);
        let sender = runtime.block_on(async {
            let (sender, driver) = Builder::new()
                .title_case_headers(true)
                .max_headers(MAX_HEADER_LINES)
                .allow_obsolete_multiline_headers_in_responses(true)
                .allow_spaces_after_header_name_in_responses(true)
                .ignore_invalid_headers_in_responses(true)
                .handshake(connection)
                .await?;
            tokio::spawn(driver);
            hyper::Result::Ok(sender)
        })?;
        Ok(OpenConnection {
            messages,
            sender: RefCell::new(sender),
        })
    }

    /// Sends a request and waits for the head of the response. Call [`OpenConnection::is_closed`] before.
    ///
    /// # Errors
    ///
    /// If there is none, and whether the request was sent.
    pub(crate) fn send(&self, request: Request) -> Result<Response, Unanswered> {
        let exchange = self.messages.exchange(&request);
        let request = self
            .messages
            .start(request, &exchange, Duration::ZERO, None)
            .map_err(Unanswered::Lost)?;
        let _wait = waiting::on(&exchange.host);
        let answer = self.exchange(request, &exchange)?;
        let mut incoming = self.messages.finish(exchange, answer);
        incoming.read_ahead().map_err(Unanswered::Lost)?;
        Ok(incoming.into())
    }

    fn exchange(
        &self,
        request: reqwest::Request,
        exchange: &Exchange,
    ) -> Result<reqwest::Response, Unanswered> {
        let Exchange { host, pace, .. } = exchange;
        let unsendable = |error: &dyn std::error::Error| {
            let error = TransportError::new(Phase::Connect, host, error.to_string());
            Unanswered::Lost(error)
        };
        let request = in_origin_form(request).map_err(|error| unsendable(error.as_ref()))?;
        let mut sender = self.sender.borrow_mut();
        let answer = pace.keep(sender.try_send_request(request));
        let answer = self.messages.runtime.block_on(answer);
        match answer {
            Ok(Ok(answer)) => Ok(answer.map(reqwest::Body::wrap).into()),
            Ok(Err(mut error)) => {
                let is_unsent = error.take_message().is_some();
                let error = classify_open(error.into_error(), host);
                Err(match is_unsent {
                    true => Unanswered::Unsent(error),
                    false => Unanswered::Lost(error),
                })
            }
            Err(slow) => {
                let error = TransportError::new(Phase::TimeLimit, host, slow);
                Err(Unanswered::Lost(error))
            }
        }
    }

    /// Tells whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        let runtime = &self.messages.runtime;
        runtime.block_on(notice_closed_connections());
        self.sender.borrow().is_closed()
    }

    /// Tells whether the last response was read, and the server expects another request.
    pub(crate) fn is_idle(&self) -> bool {
        self.messages.runtime.block_on(async {
            notice_closed_connections().await;
            self.sender.borrow().is_ready()
        })
    }
}

impl Incoming {
    /// Reads the beginning of the body, before git has seen any of it. If the lender ends meanwhile, there was no
    /// response, and the request may be repeated.
    fn read_ahead(&mut self) -> Result<(), TransportError> {
        let Incoming {
            runtime,
            answer,
            ahead,
            exchange,
            ..
        } = self;
        runtime.block_on(async {
            let (until, mut bytes) = (Instant::now() + AHEAD_LIMIT, 0);
            while bytes < AHEAD_BYTES
                && let Ok(chunk) = timeout_at(until, answer.chunk()).await
            {
                match chunk {
                    Err(error) if is_of_lender(&error) => {
                        return Err(classify(error, &exchange.host, None, Phase::Request));
                    }
                    Ok(Some(chunk)) => {
                        bytes += chunk.len();
                        ahead.push_back(Ok(Some(chunk)));
                    }
                    end => {
                        ahead.push_back(end);
                        break;
                    }
                }
            }
            Ok(())
        })
    }
}

/// Gives a request the form for its server (RFC 9112 section 3.2.1), with the headers that the library's client adds.
fn in_origin_form(
    request: reqwest::Request,
) -> Result<http::Request<reqwest::Body>, Box<dyn std::error::Error>> {
    let mut request: http::Request<reqwest::Body> = request.try_into()?;
    let host = request.uri().authority().map(|it| it.as_str().to_owned());
    let host = HeaderValue::try_from(host.unwrap_or_default())?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Into::into).unwrap_or_default();
    request.headers_mut().entry(HOST).or_insert(host);
    let any = HeaderValue::from_static("*/*");
    request.headers_mut().entry(ACCEPT).or_insert(any);
    Ok(request)
}
