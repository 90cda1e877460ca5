//! Opens one connection for the agent: the address, TCP and TLS, as the library does for a command.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service as _;

use super::{Settings, tls};

/// When the kernel looks for a dead peer: first after this time, then in shorter intervals (tcp(7)).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;
/// A command that waits for the agent connects by itself soon after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects to a server whose certificate the authorities in `roots` vouch for, or the system without it.
///
/// # Errors
///
/// If it cannot be reached or verified.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    roots: Option<PathBuf>,
) -> io::Result<TlsStream<TcpStream>> {
    let settings = Settings {
        ca_file: roots,
        ..Settings::default()
    };
    let tls = tls::config(&settings).map_err(io::Error::other)?;
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    let place = format!("https://{host}:{port}");
    let place = place.parse().map_err(io::Error::other)?;
    let tcp = connector.call(place).await.map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(tls))
        .connect(name, tcp.into_inner())
        .await
}
