//! Adds to the usual certificate check: pinned keys, a proxy's own authorities, and checks that a setting disables.

use std::{fmt, io, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{
        CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, pem::PemObject as _,
    },
    server::ParsedCertificate,
};

use crate::trace;

/// The accepted public keys of a server (curl: `CURLOPT_PINNEDPUBLICKEY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedKeys(
    /// SHA-256 digests of keys in DER form (RFC 5280, SubjectPublicKeyInfo).
    Vec<Vec<u8>>,
);

impl PinnedKeys {
    /// Reads one or more `sha256//<base64>`, separated by `;`. `None` for any other text.
    pub fn of_digests(value: &str) -> Option<Self> {
        value.starts_with("sha256//").then(|| {
            let digests = value.split(';').map(|part| {
                let digest = part.trim().strip_prefix("sha256//").unwrap_or_default();
                // An invalid digest matches no key.
                BASE64.decode(digest).unwrap_or_default()
            });
            PinnedKeys(digests.collect())
        })
    }

    /// Reads a key from a PEM or DER file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = super::read_file(path)?;
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
        let key = key.map_or(bytes, |key| key.as_ref().to_vec());
        Ok(PinnedKeys(vec![digest(&SHA256, &key).as_ref().to_vec()]))
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let found = digest(&SHA256, key.as_ref());
        if self.0.iter().any(|pinned| pinned == found.as_ref()) {
            return Ok(());
        }
        Err(Error::General(
            "the server's public key is not listed in http.pinnedPubkey".into(),
        ))
    }
}

/// Formats the keys for curl.
impl fmt::Display for PinnedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digests = self.0.iter();
        let words = digests.map(|digest| format!("sha256//{}", BASE64.encode(digest)));
        f.write_str(&words.collect::<Vec<_>>().join(";"))
    }
}

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

/// Windows could not check revocation: `CERT_E_REVOCATION_FAILURE`, `CRYPT_E_NO_REVOCATION_CHECK` and
/// `CRYPT_E_REVOCATION_OFFLINE`.
const REVOCATION_UNKNOWN: [&str; 3] = ["-2146762482", "-2146885614", "-2146885613"];
const NO_REVOCATION_CHECK: &str = "Windows could not check whether its certificate was revoked; http.schannelCheckRevoke=false skips this check \
     in git's own transport, and http.sslBackend=openssl with a CA file in http.sslCAInfo skips it everywhere";

/// Why TLS made no connection, where this crate has better words than rustls, or acts on the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsProblem {
    Expired,
    NotValidYet,
    OtherHost,
    UnknownIssuer,
    /// The files with the trusted certificates cannot be used, for this reason.
    Roots(String),
    /// The server sent something else than TLS; the text is from rustls.
    NotTls(String),
    Other(String),
}

impl TlsProblem {
    pub(in crate::http) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::InvalidCertificate(error) => return TlsProblem::of_certificate(error),
            Error::InvalidMessage(_) => TlsProblem::NotTls(error.to_string()),
            Error::General(text) => TlsProblem::Other(text.clone()),
            Error::Other(OtherError(error)) => error.downcast_ref::<TlsProblem>()?.clone(),
            _ => return None,
        })
    }

    fn of_certificate(error: &CertificateError) -> Option<Self> {
        use webpki::Error::{
            CaUsedAsEndEntity, UnsupportedCertVersion, UnsupportedCriticalExtension,
        };
        let other = match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                return Some(TlsProblem::Expired);
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                return Some(TlsProblem::NotValidYet);
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                return Some(TlsProblem::OtherHost);
            }
            // `BadSignature` means an authority with the same name and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                return Some(TlsProblem::UnknownIssuer);
            }
            CertificateError::Revoked => "its certificate was revoked",
            CertificateError::Other(OtherError(error)) => match error.downcast_ref() {
                Some(CaUsedAsEndEntity) => {
                    "its certificate is a CA certificate, not a server certificate"
                }
                Some(UnsupportedCertVersion) => {
                    "its certificate is not an X.509 version 3 certificate"
                }
                Some(UnsupportedCriticalExtension) => {
                    "its certificate has a critical extension that the native transport does not know"
                }
                Some(_) => return None,
                None => return Some(TlsProblem::of_system(&error.to_string())),
            },
            _ => return None,
        };
        Some(TlsProblem::Other(other.to_owned()))
    }

    /// Takes the text of the system's verifier, which ends with a code of the system.
    fn of_system(text: &str) -> Self {
        let is_about = |code: &&str| text.ends_with(&format!("(os error {code})"));
        TlsProblem::Other(match REVOCATION_UNKNOWN.iter().any(is_about) {
            true => NO_REVOCATION_CHECK.to_owned(),
            false => format!("the system does not accept its certificate: {text}"),
        })
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsProblem::Expired => "its certificate has expired",
            TlsProblem::NotValidYet => "its certificate is not valid yet",
            TlsProblem::OtherHost => "its certificate is for another host",
            TlsProblem::UnknownIssuer => "its certificate is not signed by a trusted CA",
            TlsProblem::Roots(text) | TlsProblem::NotTls(text) | TlsProblem::Other(text) => text,
        })
    }
}

impl std::error::Error for TlsProblem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_check_that_fails_names_the_settings_that_skip_it() {
        let said = |text: &str| {
            let inner: Box<dyn std::error::Error + Send + Sync> = text.into();
            let error = CertificateError::Other(OtherError(Arc::from(inner)));
            let problem = TlsProblem::of(&Error::InvalidCertificate(error));
            problem.expect("it has words").to_string()
        };
        for code in REVOCATION_UNKNOWN {
            let text = said(&format!("some text (os error {code})"));
            for setting in [
                "http.schannelCheckRevoke=false",
                "http.sslBackend=openssl",
                "http.sslCAInfo",
            ] {
                assert!(text.contains(setting), "{code}: {text}");
            }
        }
        assert_eq!(
            said("the root is expired (os error -1)"),
            "the system does not accept its certificate: the root is expired (os error -1)"
        );
    }
}
