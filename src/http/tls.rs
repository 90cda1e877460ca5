//! TLS by rustls on *ring*, trusting what the system trusts, with roots that are read while the name is resolved.
//!
//! The bundle file is read directly: asking for "the system's roots" in the usual way also reads every file of
//! the certificate directory, which costs more than the whole rest of a start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustls::{
    ALL_VERSIONS, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    version::TLS13,
};

use super::{Settings, trust::Trust};
use crate::trace;

/// The versions where nothing below 1.3 will do.
static TLS_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// Makes the TLS configuration and starts to read the trusted certificates on a thread of their own.
pub(super) fn config(settings: &Settings) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let usual = verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(if settings.only_tls_1_3 {
            TLS_1_3
        } else {
            ALL_VERSIONS
        })?
        .dangerous()
        .with_custom_certificate_verifier(trust(settings, usual, &provider));
    let mut config = match &settings.client_certificate {
        Some(own) => builder.with_client_auth_cert(own.chain(), own.key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Puts what the settings want beside trusted certificates before the usual verifier, where they want anything.
fn trust(
    settings: &Settings,
    usual: Arc<dyn ServerCertVerifier>,
    provider: &Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    let proxy = settings.proxy.as_ref().and_then(|proxy| {
        let roots = Settings {
            ca_file: Some(settings.proxy_ca_file.clone()?),
            ..Settings::default()
        };
        let verifier: Arc<dyn ServerCertVerifier> = SystemRoots::new(&roots, provider);
        Some((proxy.host()?, verifier))
    });
    let is_plain =
        proxy.is_none() && settings.pinned_keys.is_none() && settings.unverified_by.is_none();
    if is_plain && !trace::is_on() {
        return usual;
    }
    Arc::new(Trust {
        usual,
        proxy,
        anybody: settings.unverified_by.is_some(),
        pinned: settings.pinned_keys.clone(),
    })
}

#[cfg(not(any(target_os = "macos", windows)))]
fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    Ok(SystemRoots::new(settings, provider))
}

/// Asks the operating system unless git's settings name files of their own.
#[cfg(any(target_os = "macos", windows))]
fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if settings.ca_file.is_some() || settings.ca_directory.is_some() {
        return Ok(SystemRoots::new(settings, provider));
    }
    Ok(Arc::new(rustls_platform_verifier::Verifier::new(
        Arc::clone(provider),
    )?))
}

/// Verifies with roots from files, which are parsed once, at the first use or on the side thread before it.
#[derive(Debug)]
struct SystemRoots {
    files: Sources,
    provider: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

/// Where trusted certificates are read from.
#[derive(Clone, Debug)]
struct Sources {
    file: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

impl SystemRoots {
    fn new(settings: &Settings, provider: &Arc<CryptoProvider>) -> Arc<Self> {
        let roots = Arc::new(SystemRoots {
            files: Sources::of(settings),
            provider: Arc::clone(provider),
            verifier: OnceLock::new(),
        });
        let early = Arc::clone(&roots);
        // Without a thread the first handshake reads them: slower, not wrong.
        let _ = thread::Builder::new().name("roots".into()).spawn(move || {
            early.verifier.get_or_init(|| early.load());
        });
        roots
    }

    fn verifier(&self) -> Result<&WebPkiServerVerifier, Error> {
        match self.verifier.get_or_init(|| self.load()) {
            Ok(verifier) => Ok(verifier),
            Err(message) => Err(Error::General(message.clone())),
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
            // The directory holds the same certificates once more, one file each.
            directories: if found.cert_file.is_some() {
                Vec::new()
            } else {
                found.cert_dir
            },
            file: found.cert_file,
        }
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
                // Such directories hold other things, too; what is not a certificate is passed over.
                let _ = add_file(roots, &entry.path());
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self
            .file
            .iter()
            .chain(&self.directories)
            .map(|path| format!("'{}'", path.display()))
            .collect();
        if names.is_empty() {
            return "the usual places of this system".into();
        }
        names.join(" and ")
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> io::Result<()> {
    let pem = fs::read(path)?;
    match plain_certificates(&pem) {
        Some(certificates) => roots.add_parsable_certificates(certificates),
        None => {
            let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
            roots.add_parsable_certificates(certificates)
        }
    };
    Ok(())
}

/// Reads a bundle in which every certificate is as it should be; `None` leaves the file to the library.
///
/// The library's decoder takes the same time for every input, as private keys need it. For a system's bundle of public
/// certificates that was most of the helper's start.
fn plain_certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let text = std::str::from_utf8(pem).ok()?;
    let mut encoded = Vec::new();
    let sections = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let certificates = sections.map(|section| {
        let (body, _) = section.split_once("-----END CERTIFICATE-----")?;
        encoded.clear();
        for line in body.lines() {
            encoded.extend_from_slice(line.trim_ascii().as_bytes());
        }
        BASE64.decode(&encoded).ok().map(CertificateDer::from)
    });
    certificates.collect()
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
        self.verifier()?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_bundle_is_read_as_the_library_reads_it() {
        const ONE: &str =
            "-----BEGIN CERTIFICATE-----\nAAECAwQF\nBgcI\n-----END CERTIFICATE-----\n";
        const KEY: &str = "-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n";
        let by_the_library = |text: &str| -> Vec<CertificateDer<'static>> {
            let found = CertificateDer::pem_slice_iter(text.as_bytes());
            found.filter_map(Result::ok).collect()
        };
        let plain = [
            String::new(),
            "# no certificate\n".to_owned(),
            ONE.to_owned(),
            format!("# first\n{ONE}\n# second\n{KEY}{ONE}"),
            ONE.replace('\n', "\r\n"),
        ];
        for (text, count) in plain.iter().zip([0, 0, 1, 2, 1]) {
            let found = plain_certificates(text.as_bytes()).expect("it is plain");
            assert_eq!(found, by_the_library(text), "{text}");
            assert_eq!(found.len(), count, "{text}");
        }
        for text in [ONE.replace("AAEC", "A*EC"), ONE.replace("END", "EMD")] {
            assert_eq!(plain_certificates(text.as_bytes()), None, "{text}");
        }
    }
}
