//! Adds to the usual certificate check: pinned keys, a proxy's own authorities, and checks that a setting disables.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::pinned_keys::PinnedKeys;
use crate::trace;

/// The verifier for settings that change the usual check.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) usual: Arc<dyn ServerCertVerifier>,
    /// The name of an https proxy, with the verifier for its certificate.
    pub(super) proxy: Option<(String, Arc<dyn ServerCertVerifier>)>,
    pub(super) anybody: bool,
    pub(super) pinned: Option<PinnedKeys>,
}

impl Trust {
    fn is_proxy(&self, name: &ServerName<'_>) -> Option<&Arc<dyn ServerCertVerifier>> {
        let (proxy, verifier) = self.proxy.as_ref()?;
        let proxy = proxy.trim_start_matches('[').trim_end_matches(']');
        name.to_str()
            .eq_ignore_ascii_case(proxy)
            .then_some(verifier)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut span = trace::span("certificate");
        span.note("host", || server_name.to_str().as_ref().into());
        let verify = |by: &Arc<dyn ServerCertVerifier>| {
            by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        // Only the name distinguishes proxy and server. If both have the same name, either verifier is enough.
        if let Some(by) = self.is_proxy(server_name)
            && let Ok(verified) = verify(by)
        {
            return Ok(verified);
        }
        let verified = match self.anybody {
            true => ServerCertVerified::assertion(),
            false => verify(&self.usual)?,
        };
        match &self.pinned {
            Some(pinned) => pinned.check(end_entity).map(|()| verified),
            None => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
