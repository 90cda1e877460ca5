//! The client certificate for servers that request one: `http.sslCert` and `http.sslKey`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use crate::files::foreign;

/// A certificate with its key. `Debug` does not print the key.
#[derive(Debug, PartialEq)]
pub(crate) struct ClientCertificate {
    /// The chain, with the certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The file of the certificate.
    pub(in crate::http) file: PathBuf,
    /// The file of the key, if it is not the certificate's file.
    pub(in crate::http) key_file: Option<PathBuf>,
}

impl ClientCertificate {
    /// Reads a certificate and its key from PEM files. Both may be in the certificate's file (curl: `--cert`).
    ///
    /// `None` for other file formats and for a key with a password, which curl may support.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. The message names it.
    pub(crate) fn read(certificate: &Path, key: Option<&Path>) -> io::Result<Option<Arc<Self>>> {
        let pem = foreign::read_named(certificate)?;
        let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
        let private_key = match key {
            Some(path) => PrivateKeyDer::from_pem_slice(&foreign::read_named(path)?),
            None => PrivateKeyDer::from_pem_slice(&pem),
        };
        Ok(match (chain, private_key) {
            (Ok(chain), Ok(private_key)) if !chain.is_empty() => {
                Some(Arc::new(ClientCertificate {
                    chain,
                    key: private_key,
                    file: certificate.to_owned(),
                    key_file: key.map(Path::to_owned),
                }))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_with_a_password_and_other_file_formats_are_left_to_curl() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path
        };
        let block = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        let certificate = file("certificate", &block("CERTIFICATE"));
        let open = file("open", &block("PRIVATE KEY"));
        let locked = file("locked", &block("ENCRYPTED PRIVATE KEY"));
        let der = file("der", "0");
        let is_ours = |certificate: &Path, key: Option<&Path>| {
            let read = ClientCertificate::read(certificate, key);
            read.expect("both can be read").is_some()
        };
        assert!(is_ours(&certificate, Some(&open)));
        assert!(!is_ours(&certificate, Some(&locked)));
        assert!(!is_ours(&certificate, None));
        assert!(!is_ours(&der, Some(&open)));
        let missing = ClientCertificate::read(&directory.path().join("missing"), None);
        assert!(
            missing
                .expect_err("it is not there")
                .to_string()
                .contains("missing")
        );
    }
}
