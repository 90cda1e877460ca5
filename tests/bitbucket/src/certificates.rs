//! The certificate authority of one server and the certificate it signs for loopback names.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Names and addresses the certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const SECONDS_PER_YEAR: u64 = 31_556_952;

/// A fresh authority with one certificate for loopback.
pub(crate) struct Certificates {
    /// The authority's certificate, for clients to trust.
    pub(crate) authority_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    pub(crate) fn generate() -> Result<Self> {
        let mut authority = params(Vec::new(), "bitbucket-local test authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().context("cannot make a key for the authority")?;
        let root = authority
            .self_signed(&authority_key)
            .context("cannot sign the authority's certificate")?;

        let mut leaf = params(NAMES.map(str::to_owned).to_vec(), "localhost")?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate().context("cannot make a key for the server")?;
        let issuer = Issuer::new(authority, authority_key);
        let signed = leaf
            .signed_by(&leaf_key, &issuer)
            .context("cannot sign the server's certificate")?;

        Ok(Self {
            authority_pem: root.pem(),
            chain: vec![signed.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
        })
    }

    /// The server side of TLS; offers HTTP/2 by ALPN (RFC 7301) when asked.
    pub(crate) fn server_config(self, http2: bool) -> Result<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot choose TLS versions")?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .context("cannot use the server's certificate")?;
        config.alpn_protocols = if http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(config)
    }
}

/// Parameters valid for a little over a year at most: some platforms refuse certificates that live longer than 825 days.
fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("cannot describe a certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let year = current_year();
    params.not_before = date_time_ymd(year - 1, 12, 1);
    params.not_after = date_time_ymd(year + 1, 1, 31);
    Ok(params)
}

fn current_year() -> i32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i32::try_from(1970 + since / SECONDS_PER_YEAR).unwrap_or(1970)
}
