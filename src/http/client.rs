//! The reqwest client: one runtime on the calling thread, HTTP/1.1, no redirects.

use super::{
    Family, HttpClient, ProxyLogins, Request, Response, Settings, TransportError,
    curl::CurlRequest, message::Messages, pool::Pool,
};
use crate::waiting;

/// A connection pool, and the runtime that drives it while a call waits.
pub struct Client {
    messages: Messages,
    pool: Pool,
}

impl Client {
    /// Prepares a client without connecting. `user_agent` applies if the settings have none.
    ///
    /// # Errors
    ///
    /// If a setting is invalid (a proxy that is not a URL, a malformed header) or the system cannot provide a runtime.
    pub fn new(settings: &Settings, user_agent: &str) -> anyhow::Result<Self> {
        let messages = Messages::new(settings, user_agent)?;
        Ok(Client {
            pool: Pool::new(settings, &messages)?,
            messages,
        })
    }

    /// Sets the source of proxy logins.
    #[must_use]
    pub fn with_proxy_logins(mut self, logins: Box<dyn ProxyLogins>) -> Self {
        self.pool.set_logins(logins);
        self
    }

    /// Limits new connections to one address family.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn keep_to(&mut self, family: Family) -> anyhow::Result<()> {
        self.pool.keep_to(family)
    }

    /// Gives the TLS error for which curl sent a request instead of the library, if that happened.
    pub fn reason_for_curl(&self) -> Option<String> {
        self.pool.reason_for_curl()
    }
}

impl HttpClient for Client {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let Client { messages, pool } = self;
        let exchange = messages.exchange(&request);
        let for_curl = CurlRequest::of(&request, messages, &exchange.host)?;
        let proxy = pool.forwarding(&request.url);
        let request = messages.start(request, &exchange, pool.patience(), proxy)?;
        let _wait = waiting::on(&exchange.host);
        let answer = pool.send(request, for_curl.as_ref(), &exchange)?;
        Ok(messages.finish(exchange, answer).into())
    }
}
