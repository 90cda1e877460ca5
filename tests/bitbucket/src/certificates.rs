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

/// What is said of a server in its certificate.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The name it is for, in the place of loopback's.
    pub name: Option<String>,
    /// It ended last year.
    pub expired: bool,
}

/// A fresh authority with one certificate for loopback.
pub(crate) struct Certificates {
    /// The authority's certificate, for clients to trust.
    pub(crate) authority_pem: String,
    /// The server's own certificate.
    pub(crate) server_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The server's certificate and its key.
    server_pem: String,
}

/// Makes an authority and a certificate for loopback, for a server of another kind.
///
/// Gives the authority's certificate, and the server's certificate with its key behind it, both as PEM.
///
/// # Errors
///
/// When the system gives no random bytes.
pub fn certificate() -> Result<(String, String)> {
    let made = Certificates::generate()?;
    Ok((made.authority_pem, made.server_pem))
}

impl Certificates {
    pub(crate) fn generate() -> Result<Self> {
        Self::claiming(&Claims::default())
    }

    pub(crate) fn claiming(claims: &Claims) -> Result<Self> {
        let mut authority = params(Vec::new(), "bitbucket-local test authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().context("cannot make a key for the authority")?;
        let root = authority
            .self_signed(&authority_key)
            .context("cannot sign the authority's certificate")?;

        let names = match &claims.name {
            Some(name) => vec![name.clone()],
            None => NAMES.map(str::to_owned).to_vec(),
        };
        let mut leaf = params(names, claims.name.as_deref().unwrap_or("localhost"))?;
        if claims.expired {
            leaf.not_after = date_time_ymd(current_year() - 1, 12, 2);
        }
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate().context("cannot make a key for the server")?;
        let issuer = Issuer::new(authority, authority_key);
        let signed = leaf
            .signed_by(&leaf_key, &issuer)
            .context("cannot sign the server's certificate")?;

        Ok(Self {
            authority_pem: root.pem(),
            server_pem: signed.pem() + &leaf_key.serialize_pem(),
            server_der: signed.der().to_vec(),
            issuer,
            chain: vec![signed.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
        })
    }

    /// A certificate for a client and its key, as PEM.
    pub(crate) fn for_client(&self) -> Result<(String, String)> {
        let mut client = params(Vec::new(), "a client")?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        client.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("cannot make a key for a client")?;
        let signed = client
            .signed_by(&key, &self.issuer)
            .context("cannot sign a client's certificate")?;
        Ok((signed.pem(), key.serialize_pem()))
    }

    /// The certificate with its key, for another kind of configuration.
    pub(crate) fn chain_and_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    /// The server side of TLS; offers HTTP/2 and HTTP/1.1 by ALPN (RFC 7301) as asked.
    pub(crate) fn server_config(self, http2: bool, http1: bool) -> Result<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot choose TLS versions")?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .context("cannot use the server's certificate")?;
        let offers = [(http2, "h2"), (http1, "http/1.1")];
        config.alpn_protocols = offers
            .into_iter()
            .filter(|(is_offered, _)| *is_offered)
            .map(|(_, name)| name.as_bytes().to_vec())
            .collect();
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
