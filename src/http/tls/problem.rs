//! Why TLS made no connection, in words for the user.

use std::fmt;

use rustls::{CertificateError, Error, OtherError};

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
    use std::sync::Arc;

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
