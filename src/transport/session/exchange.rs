//! Sends one request: with the credential, and again when that is safe and may help.

use std::{fmt, time::Instant};

use anyhow::Context as _;

use super::{refusal::Refusal, repeat::Repeat, state::Session};
use crate::{
    clock::{Clock as _, SystemClock},
    http::{Body, Phase, Request, Response, TransportError, Trouble},
    secret::Secret,
    transport::git::Service,
};

/// The error if there is no credential.
#[derive(Debug)]
pub(in crate::transport) struct NoCredential(String);

impl fmt::Display for NoCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Session<'_> {
    /// Sends a request with the credential. Replaces a refused credential once, and retries temporary failures.
    pub(super) fn exchange(
        &mut self,
        repeat: Repeat<'_>,
        service: Service,
        make: &dyn Fn() -> anyhow::Result<Request>,
    ) -> anyhow::Result<Response> {
        let mut is_replaced = false;
        loop {
            let mut response = match self.send(repeat, service, make)? {
                Ok(response) => response,
                Err(error) => {
                    let trouble = Trouble::of_connection(&error)
                        .filter(|_| !self.is_prefetch || error.phase == Phase::Connect);
                    if repeat.is_allowed_after(&error) && self.is_tried_again(trouble) {
                        continue;
                    }
                    return Err(self.lost(error, repeat));
                }
            };
            self.last_answer = Instant::now();
            let status = response.status;
            if let 200..=399 = status {
                return Ok(response);
            }
            let trouble = Trouble::of_status(&response, self.host())
                .filter(|_| !self.is_prefetch || matches!(status, 429 | 503));
            let refusal = Refusal::read(&mut response, self.host());
            if status == 401 && !is_replaced && self.replace_credential(service)? {
                is_replaced = true;
                continue;
            }
            if repeat.is_allowed_after_status(status) && self.is_tried_again(trouble) {
                continue;
            }
            return Err(self.refused_or_lost(refusal, repeat, service));
        }
    }

    /// Makes the error for a refusal.
    fn refused_or_lost(
        &self,
        refusal: Refusal,
        repeat: Repeat<'_>,
        service: Service,
    ) -> anyhow::Error {
        // A gateway sends these when it lost the response of the server behind it. A gateway that is only busy names a
        // pause.
        let may_be_lost = match refusal.status {
            503 => refusal.retry_after.is_none(),
            status => matches!(status, 500 | 502 | 504..),
        };
        let error = self.refused(refusal, service);
        match may_be_lost && repeat.may_be_done() {
            true => self.unknown(error),
            false => error,
        }
    }

    /// Waits before a retry, with a message, unless the retries are used up.
    fn is_tried_again(&mut self, trouble: Option<Trouble>) -> bool {
        let Some(trouble) = trouble else {
            return false;
        };
        let Some(pause) = self.retries.pause(&trouble) else {
            return false;
        };
        if let Some((reporter, line)) = self.reporter.zip(pause.line) {
            (reporter.warn)(&line);
        }
        let _armed = self.watch.arm();
        SystemClock.wait(pause.span);
        true
    }

    /// Runs a prefetch. It is retried only after failures that would affect any request.
    pub(in crate::transport) fn prefetching<T>(
        &mut self,
        attempt: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.is_prefetch = true;
        let outcome = attempt(self);
        self.is_prefetch = false;
        outcome
    }

    /// Waits before a retry if a response broke off before git had seen any of it.
    pub(in crate::transport) fn is_asked_again(&mut self, error: &anyhow::Error) -> bool {
        self.is_tried_again(Trouble::inside(error))
    }

    fn replace_credential(&mut self, service: Service) -> anyhow::Result<bool> {
        let replaced = self.authorizer.refused();
        replaced.with_context(|| NoCredential(self.cannot(service)))
    }

    /// Sends a request, and sends it again at once if the server had closed the kept connection.
    fn send(
        &mut self,
        repeat: Repeat<'_>,
        service: Service,
        make: &dyn Fn() -> anyhow::Result<Request>,
    ) -> anyhow::Result<Result<Response, TransportError>> {
        let authorization = self.authorization(service)?;
        let _armed = self.watch.arm();
        let attempt = || -> anyhow::Result<Result<Response, TransportError>> {
            let mut request = make()?;
            self.tell_of_post(service, &request);
            request.authorization = Some(authorization.clone());
            Ok(self.http.send(request))
        };
        match attempt()? {
            Err(error) if matches!(repeat, Repeat::Safe) && error.phase == Phase::Request => {
                attempt()
            }
            answer => Ok(answer),
        }
    }

    fn authorization(&mut self, service: Service) -> anyhow::Result<Secret> {
        let authorization = self.authorizer.authorization();
        authorization.with_context(|| NoCredential(self.cannot(service)))
    }

    /// Reports the size of a POST at a high verbosity (git: `post_rpc` in remote-curl.c).
    fn tell_of_post(&self, service: Service, request: &Request) {
        let Some(reporter) = self.reporter.filter(|reporter| reporter.verbosity > 1) else {
            return;
        };
        let is_compressed = request
            .headers
            .iter()
            .any(|(name, _)| *name == "Content-Encoding");
        let what = match &request.body {
            // A gzip file ends with the length of its content (RFC 1952 section 2.3.1).
            Body::Bytes(bytes) if is_compressed => match bytes.last_chunk() {
                Some(length) => {
                    let length = u32::from_le_bytes(*length);
                    format!("gzip {length} to {} bytes", bytes.len())
                }
                None => return,
            },
            Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Body::Stream(_) => "chunked".to_owned(),
            Body::Empty | Body::Secret(_) => return,
        };
        (reporter.say)(&format!("POST {} ({what})\n", service.name()));
    }
}
