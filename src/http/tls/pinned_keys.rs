//! The accepted public keys of a server: `http.pinnedPubkey`.

use std::{fmt, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::digest::{SHA256, digest};
use rustls::{
    Error,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject as _},
    server::ParsedCertificate,
};

use crate::files::foreign;

/// The accepted public keys of a server (curl: `CURLOPT_PINNEDPUBLICKEY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinnedKeys(
    /// SHA-256 digests of keys in DER form (RFC 5280, SubjectPublicKeyInfo).
    Vec<Vec<u8>>,
);

impl PinnedKeys {
    /// Reads one or more `sha256//<base64>`, separated by `;`. `None` for any other text.
    pub(crate) fn of_digests(value: &str) -> Option<Self> {
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
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = foreign::read_named(path)?;
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
        let key = key.map_or(bytes, |key| key.as_ref().to_vec());
        Ok(PinnedKeys(vec![digest(&SHA256, &key).as_ref().to_vec()]))
    }

    pub(super) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
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
