//! HTTP over a connection that another process has opened.

use std::{cell::RefCell, rc::Rc, time::Duration};

use hyper::client::conn::http1::{Builder, SendRequest};
use reqwest::header::{ACCEPT, HOST, HeaderValue};
use tokio::time::{Instant, timeout_at};

use super::{
    client::notice_closed_connections,
    errors::{LenderEnded, classify_inner, is_of_lender},
    interface::{Request, Response},
    message::{Exchange, Incoming, Messages},
    route::MAX_HEADER_LINES,
    transport_error::{Phase, TransportError},
};
use crate::waiting;

/// How much of a response is read before the command sees it, and for how long at most.
const AHEAD_BYTES: usize = 64 * 1024;
const AHEAD_LIMIT: Duration = Duration::from_millis(250);

/// An open connection, and the headers of the requests on it.
pub(crate) struct OpenConnection {
    messages: Messages,
    sender: RefCell<SendRequest<reqwest::Body>>,
    /// How long [`OpenConnection::send`] reads the beginning of a response.
    pub(crate) ahead_limit: Duration,
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
            ahead_limit: AHEAD_LIMIT,
        })
    }

    /// Sends a request and waits for the head of the response. Call [`OpenConnection::is_closed`] before.
    ///
    /// # Errors
    ///
    /// As [`super::HttpClient::send`]. [`Phase::Connect`] if the connection had ended before the request was sent.
    pub(crate) fn send(&self, request: Request) -> Result<Response, TransportError> {
        let exchange = self.messages.exchange(&request);
        let request = self
            .messages
            .start(request, &exchange, Duration::ZERO, None)?;
        let _wait = waiting::on(&exchange.host);
        let answer = self.exchange(request, &exchange)?;
        let mut incoming = self.messages.finish(exchange, answer);
        incoming.read_ahead(self.ahead_limit)?;
        Ok(incoming.into())
    }

    fn exchange(
        &self,
        request: reqwest::Request,
        exchange: &Exchange,
    ) -> Result<reqwest::Response, TransportError> {
        let Exchange {
            host, speed_limit, ..
        } = exchange;
        let request = in_origin_form(request)
            .map_err(|error| TransportError::new(Phase::Connect, host, error.to_string()))?;
        let mut sender = self.sender.borrow_mut();
        let answer = speed_limit.enforce(sender.try_send_request(request));
        let answer = self.messages.runtime.block_on(answer);
        let answer = answer.map_err(|slow| TransportError::new(Phase::TimeLimit, host, slow))?;
        match answer {
            Ok(answer) => Ok(answer.map(reqwest::Body::wrap).into()),
            Err(mut error) => {
                let is_unsent = error.take_message().is_some();
                let error = error.into_error().into();
                Err(classify_inner(error, is_unsent, host, Phase::Request))
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
    fn read_ahead(&mut self, limit: Duration) -> Result<(), TransportError> {
        let (answer, ahead) = (&mut self.answer, &mut self.ahead);
        self.runtime.block_on(async {
            let (until, mut bytes) = (Instant::now() + limit, 0);
            while bytes < AHEAD_BYTES
                && let Ok(chunk) = timeout_at(until, answer.chunk()).await
            {
                bytes += match &chunk {
                    Ok(Some(chunk)) => chunk.len(),
                    Err(error) if is_of_lender(error) => {
                        let host = &self.exchange.host;
                        return Err(TransportError::new(Phase::Request, host, LenderEnded));
                    }
                    // The body ends here.
                    Ok(None) | Err(_) => AHEAD_BYTES,
                };
                ahead.push_back(chunk);
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
