//! The errors of a session, with their kinds.

use std::io;

use super::{redirect::Unfollowed, refusal::Refusal, repeat::Repeat, state::Session};
use crate::{
    failure::{Failure, Kind, quote},
    http::{Phase, TransportError},
    transport::git::Service,
    url::Url,
};

impl Session<'_> {
    /// Names the failed operation.
    pub(super) fn cannot(&self, service: Service) -> String {
        let doing = match service {
            Service::ReceivePack => "push to",
            Service::UploadPack => "read",
        };
        format!("cannot {doing} repository '{}'", self.name)
    }

    /// Gives the repository's address for hints.
    fn address(&self) -> String {
        let profile = self.asked_profile.map(|name| format!("{name}@"));
        format!("{}{}", profile.unwrap_or_default(), self.name)
    }

    /// Makes the error for a refusal. Shows the server's lines separately, as git does (git: `show_http_message` in
    /// remote-curl.c), but not for a prefetch.
    pub(super) fn refused(&self, mut refusal: Refusal, service: Service) -> anyhow::Error {
        let address = self.address();
        let renewal = self.authorizer.renewal();
        let product = self.authorizer.product();
        let kind = refusal.kind(service, &address, product, renewal);
        if let Some(reporter) = self.reporter.filter(|_| !self.is_prefetch) {
            for line in refusal.take_lines() {
                (reporter.say)(&format!("remote: {line}\n"));
            }
        }
        let (cannot, profile) = (self.cannot(service), self.authorizer.identity());
        let message = format!("{cannot} with profile '{profile}'");
        anyhow::anyhow!("{refusal}").context(Failure::new(kind, message))
    }

    /// Makes the error for a failed connection.
    pub(super) fn unreachable(&self, error: TransportError) -> anyhow::Error {
        let message = format!("cannot reach repository '{}'", self.name);
        let failure = Failure::new(error.kind(), message);
        anyhow::Error::new(error).context(failure)
    }

    /// Makes the error for a request without a response.
    pub(super) fn lost(&self, error: TransportError, repeat: Repeat<'_>) -> anyhow::Error {
        match (error.phase, repeat) {
            (Phase::Connect | Phase::Tls, _) | (_, Repeat::Safe) => self.unreachable(error),
            (_, Repeat::Never { .. }) if repeat.may_be_done() => self.unknown(error.into()),
            (_, Repeat::Never { .. }) => {
                let host = error.host.clone();
                let message = format!(
                    "the push to '{}' was interrupted before it was complete; nothing was changed on the server",
                    self.name
                );
                anyhow::Error::new(error).context(Failure::new(Kind::Unreachable { host }, message))
            }
        }
    }

    /// Makes the error for a push that may have succeeded although its response was lost or not usable.
    pub(in crate::transport) fn unknown(&self, error: anyhow::Error) -> anyhow::Error {
        let message = format!(
            "the response to the push to '{}' was lost: the server may or may not have done the push",
            self.name
        );
        error.context(Failure::new(Kind::PushUnknown, message))
    }

    /// Makes the error for a redirect that a setting forbids, as for git's own https.
    pub(super) fn unfollowed(&self, place: &Url, ban: &str) -> anyhow::Error {
        let place = quote(place.as_str());
        let message = format!("cannot use repository '{}'", self.name);
        anyhow::anyhow!("it redirects to '{place}', but {ban} forbids redirects")
            .context(Failure::new(Kind::Misconfigured, message))
    }

    /// Makes the error for a push option that the server does not support (git: `send_pack`).
    pub(in crate::transport) fn unsupported(&self, capability: &str) -> anyhow::Error {
        let what = match capability {
            "atomic" => "--atomic push",
            _ => "push options",
        };
        let message = format!("{}: nothing was sent", self.cannot(Service::ReceivePack));
        anyhow::anyhow!("the receiving end does not support {what}")
            .context(Failure::new(Kind::Refused, message))
    }

    /// Makes the error for a response that does not come from a git server.
    pub(in crate::transport) fn not_git(&self, why: &str) -> anyhow::Error {
        self.not_git_but(Kind::NotGit, why)
    }

    fn not_git_but(&self, kind: Kind, why: &str) -> anyhow::Error {
        let (name, host) = (&self.name, self.host());
        let message =
            format!("cannot use repository '{name}': '{host}' did not answer as a git server");
        anyhow::anyhow!("{why}").context(Failure::new(kind, message))
    }

    /// Makes the error for a redirect to another place.
    pub(super) fn astray(&self, unfollowed: &Unfollowed) -> anyhow::Error {
        let kind = match unfollowed {
            Unfollowed::Elsewhere(_) => self.authorizer.product().on_redirect(),
            Unfollowed::NoRepository(_) => Kind::NotGit,
        };
        self.not_git_but(kind, &unfollowed.to_string())
    }

    /// Makes the error for an `ERR ` message instead of a ref advertisement.
    pub(in crate::transport) fn told(&self, said: &[u8]) -> anyhow::Error {
        let said = String::from_utf8_lossy(said);
        let lines: Vec<_> = said.lines().map(str::trim).collect();
        let said = quote(&lines.join(" "));
        let (name, profile) = (&self.name, self.authorizer.identity());
        let message = format!("cannot use repository '{name}' with profile '{profile}'");
        let product = self.authorizer.product();
        let kind = product.meaning_of_words(&said, &self.address());
        anyhow::anyhow!("'{}' says: {said}", self.host()).context(Failure::new(kind, message))
    }

    /// Makes the error for a response without pkt-lines.
    pub(in crate::transport) fn no_pkt_line(&self) -> anyhow::Error {
        self.not_git("a pkt-line in its answer has no valid length")
    }

    /// Makes the error for unreadable pkt-lines.
    pub(in crate::transport) fn bad_packet(&self, error: io::Error) -> anyhow::Error {
        match error.kind() {
            io::ErrorKind::InvalidData => self.no_pkt_line(),
            _ => self.bad_answer(error),
        }
    }

    /// Makes the error for a response that broke off.
    pub(in crate::transport) fn bad_answer(&self, why: impl Into<anyhow::Error>) -> anyhow::Error {
        let (name, host) = (&self.name, self.host().to_owned());
        let message = format!("the response of '{host}' for repository '{name}' is incomplete");
        why.into()
            .context(Failure::new(Kind::Unreachable { host }, message))
    }
}
