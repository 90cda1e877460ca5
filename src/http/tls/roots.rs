//! The trusted certificates: the system's, or those in the files that git's settings name.
//!
//! This reads the bundle file directly. The usual way to load the system's roots also reads every file of the
//! certificate directory, and takes longer than the rest of the start. When the server has sent its certificate, the
//! search decodes only those of the about 145 certificates that may have issued it.
use std::{
    fs, io, iter,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use memchr::memmem;
use rustls::{
    DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{bundle, problem::TlsProblem};
use crate::{files::foreign, http::settings::Settings, limits};

/// Verifies server certificates with roots from files.
#[derive(Debug)]
pub(super) struct SystemRoots {
    files: Sources,
    provider: Arc<CryptoProvider>,
    /// A verifier with all roots. If there are many files, another thread loads them.
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

/// Gives the one file with the trusted certificates; `None` if there are several files.
#[cfg(unix)]
pub(super) fn only_file(settings: &Settings) -> Option<PathBuf> {
    Sources::of(settings).only_file().map(Path::to_owned)
}

/// The files and directories with trusted certificates.
#[derive(Clone, Debug)]
struct Sources {
    file: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

impl SystemRoots {
    /// Takes the files of the settings, or the system's bundle. If there is more than one file, starts to read them.
    pub(super) fn new(settings: &Settings, provider: &Arc<CryptoProvider>) -> Arc<Self> {
        let roots = Arc::new(SystemRoots {
            files: Sources::of(settings),
            provider: Arc::clone(provider),
            verifier: OnceLock::new(),
        });
        if roots.files.only_file().is_none() {
            let early = Arc::clone(&roots);
            // Without a thread, the first handshake reads them, which is only slower.
            let _ = limits::start("roots", move || {
                let _ = early.verifier();
            });
        }
        roots
    }

    /// Makes a verifier with only those certificates of the bundle that may have issued one of the server's
    /// certificates.
    fn verifier_for(&self, chain: &[&CertificateDer<'_>]) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(bundle::issuers(self.files.only_file()?, chain)?);
        self.verifier_of(roots).ok()
    }

    fn verifier(&self) -> Result<&WebPkiServerVerifier, Error> {
        match self.verifier.get_or_init(|| self.load()) {
            Ok(verifier) => Ok(verifier),
            Err(message) => {
                let problem = TlsProblem::Roots(message.clone());
                Err(Error::Other(OtherError(Arc::new(problem))))
            }
        }
    }

    fn load(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        let mut roots = RootCertStore::empty();
        self.files.add_to(&mut roots)?;
        if roots.is_empty() {
            return Err(format!(
                "no trusted certificate found in {}",
                self.files.describe()
            ));
        }
        self.verifier_of(roots)
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    fn verifier_of(&self, roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| error.to_string())
    }
}

impl Sources {
    fn of(settings: &Settings) -> Self {
        if settings.ca_file.is_some() || settings.ca_directory.is_some() {
            return Sources {
                file: settings.ca_file.clone(),
                directories: settings.ca_directory.iter().cloned().collect(),
            };
        }
        let found = openssl_probe::probe();
        Sources {
            // The directory contains the same certificates again, one file each.
            directories: if found.cert_file.is_some() {
                Vec::new()
            } else {
                found.cert_dir
            },
            file: found.cert_file,
        }
    }

    fn only_file(&self) -> Option<&Path> {
        self.file.as_deref().filter(|_| self.directories.is_empty())
    }

    fn add_to(&self, roots: &mut RootCertStore) -> Result<(), String> {
        if let Some(file) = &self.file {
            add_file(roots, file).map_err(|error| {
                format!(
                    "cannot read trusted certificates from '{}': {error}",
                    file.display()
                )
            })?;
        }
        for directory in &self.directories {
            let entries = fs::read_dir(directory).map_err(|error| {
                format!(
                    "cannot read the certificate directory '{}': {error}",
                    directory.display()
                )
            })?;
            for entry in entries.flatten() {
                // Such directories contain other files too, which do not matter.
                let _ = add_file(roots, &entry.path());
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let places = self.file.iter().chain(&self.directories);
        let names: Vec<_> = places.map(|path| format!("'{}'", path.display())).collect();
        if names.is_empty() {
            return "the usual places of this system".into();
        }
        names.join(" and ")
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> io::Result<()> {
    let pem = foreign::read(path, foreign::MAX_BYTES)?;
    roots.add_parsable_certificates(certificates(&pem));
    Ok(())
}

/// Finds the certificates in a file as git's TLS libraries do: after a byte order mark or any other text, and with each
/// label that OpenSSL knows.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const LABELS: [&[u8]; 3] = [b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"];
    let after = |text: &[u8], what: &[u8]| Some(memmem::find(text, what)? + what.len());
    let mut found = Vec::new();
    let mut rest = pem;
    while let Some(start) = after(rest, BEGIN) {
        rest = &rest[start..];
        let Some(body) = LABELS
            .iter()
            .find_map(|label| rest.strip_prefix(*label)?.strip_prefix(b"-----"))
        else {
            continue;
        };
        let end = memmem::find(body, b"-----").unwrap_or(body.len());
        let base64: Vec<u8> = body[..end]
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        if let Ok(der) = BASE64.decode(base64) {
            found.push(CertificateDer::from(without_trust(der)));
        }
        rest = &body[end..];
    }
    found
}

/// Removes the trust settings that OpenSSL appends to a certificate (openssl-x509(1), "Trust Settings").
fn without_trust(mut der: Vec<u8>) -> Vec<u8> {
    // A sequence of 256 to 65,535 bytes, as every certificate is (X.690 section 8.1.3).
    if let [0x30, 0x82, high, low, ..] = der[..] {
        der.truncate(4 + usize::from(u16::from_be_bytes([high, low])));
    }
    der
}

impl ServerCertVerifier for SystemRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = iter::once(end_entity).chain(intermediates).collect();
        let verified_by = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        // If the few certificates do not verify it, all certificates decide.
        let quick = self.verifier_for(&chain).map(|few| verified_by(&few));
        if let Some(Ok(verified)) = quick {
            return Ok(verified);
        }
        verified_by(self.verifier()?)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
