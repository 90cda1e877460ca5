//! Git's settings for requests.

use std::{path::PathBuf, sync::Arc};

use super::{
    proxy::{Proxy, ProxyAuth},
    speed_limit::LowSpeed,
    tls::{ClientCertificate, PinnedKeys},
};
use crate::secret::Secret;

/// The resolved `http.*` settings and environment variables of git.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    /// A file with trusted certificates in PEM form (`http.sslCAInfo`, `GIT_SSL_CAINFO`) instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// A directory whose files hold trusted certificates in PEM form (`http.sslCAPath`, `GIT_SSL_CAPATH`).
    pub(crate) ca_directory: Option<PathBuf>,
    /// The setting that disables certificate checks (`http.sslVerify` false), if there is one.
    pub(crate) unverified_by: Option<String>,
    /// The accepted public keys of the server (`http.pinnedPubkey`).
    pub(crate) pinned_keys: Option<PinnedKeys>,
    /// Whether TLS 1.3 is required (`http.sslVersion`).
    pub(crate) only_tls_1_3: bool,
    /// The client certificate for servers that request one (`http.sslCert`, `http.sslKey`).
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
    /// The proxy for every request; `None` for a direct connection.
    pub(crate) proxy: Option<Proxy>,
    /// The authentication schemes that the proxy may use (`http.proxyAuthMethod`).
    pub(crate) proxy_auth: ProxyAuth,
    /// A file with trusted certificates for an https proxy (`http.proxySSLCAInfo`).
    pub(crate) proxy_ca_file: Option<PathBuf>,
    /// The `User-Agent` header (`http.userAgent`), if it replaces the caller's.
    pub(crate) user_agent: Option<String>,
    /// Further headers for every request (`http.extraHeader`).
    pub(crate) extra_headers: Vec<(String, Secret)>,
    /// The lowest accepted speed of a transfer (`http.lowSpeedLimit`, `http.lowSpeedTime`).
    pub(crate) low_speed: Option<LowSpeed>,
}
