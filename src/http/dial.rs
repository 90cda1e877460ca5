//! Opens one connection for the agent: the address, TCP and TLS, as the library does for a command.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service as _;

use super::{settings::Settings, tls};

/// When the kernel looks for a dead peer, as for the library's connections (tcp(7)).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 3;
/// The limit for name resolution, TCP and TLS together. Commands do not wait that long; the next one gets the connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

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
    connector.set_keepalive_interval(Some(KEEP_ALIVE));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    let place = format!("https://{host}:{port}");
    let place = place.parse().map_err(io::Error::other)?;
    let connect = async {
        let tcp = connector.call(place).await.map_err(io::Error::other)?;
        let tls = TlsConnector::from(Arc::new(tls));
        tls.connect(name, tcp.into_inner()).await
    };
    timeout(CONNECT_LIMIT, connect).await?
}
