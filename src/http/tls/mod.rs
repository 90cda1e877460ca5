//! TLS by rustls with *ring*. It trusts the certificates that the system trusts.

mod bundle;
mod client_certificate;
mod pinned_keys;
mod problem;
mod roots;
mod trust;

use std::sync::Arc;

use rustls::{
    ALL_VERSIONS, ClientConfig, Error, SupportedProtocolVersion,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, ring},
    version::TLS13,
};

use super::settings::Settings;
use crate::trace;
use roots::SystemRoots;
use trust::Trust;

pub(crate) use client_certificate::ClientCertificate;
pub(crate) use pinned_keys::PinnedKeys;
pub(crate) use problem::TlsProblem;

/// The versions if TLS 1.3 is required.
static TLS_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// Builds the TLS configuration.
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
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Settings {
    /// Gives the file with the trusted certificates, or `None` for the system's, if connections need nothing else: no
    /// proxy, no client certificate, no exception from the checks.
    #[cfg(unix)]
    pub(crate) fn only_roots(&self) -> Option<Option<std::path::PathBuf>> {
        let is_plain = self.proxy.is_none()
            && self.client_certificate.is_none()
            && self.unverified_by.is_none()
            && self.pinned_keys.is_none()
            && !self.only_tls_1_3;
        if !is_plain {
            return None;
        }
        let is_named = self.ca_file.is_some() || self.ca_directory.is_some();
        if cfg!(target_os = "macos") && !is_named {
            return Some(None);
        }
        roots::only_file(self).map(Some)
    }
}

/// Adds pinned keys, a proxy's own authorities and disabled checks to the usual verifier, if the settings have any.
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

/// Uses the verifier of the operating system, unless git's settings name certificate files.
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
