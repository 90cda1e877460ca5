//! What may stand between a client and a server: proxies of several kinds, and servers with certificates of several kinds.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::{Certificates, Claims};

/// The longest head of a request to a proxy.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The protocol that the proxy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP with CONNECT (RFC 9110 section 9.3.6).
    #[default]
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 4, with 4a's names.
    Socks4,
    /// SOCKS 5 (RFC 1928, RFC 1929).
    Socks5,
    /// TLS, as if it were the server itself.
    Server,
}

/// How a proxy is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What it speaks.
    pub speaks: Speaks,
    /// The user's name and password it wants.
    pub login: Option<(String, String)>,
    /// It refuses every connection.
    pub refuses: bool,
    /// The authentication scheme that it names in the place of Basic.
    pub scheme: Option<String>,
    /// How long it takes to connect somebody.
    pub takes: Duration,
    /// The statuses of its first answers. It connects only with those of success.
    pub fails_with: Vec<u16>,
    /// More lines of the head of its answers.
    pub head: String,
    /// The server behind it and a file with whom to trust there: what passes is opened, with its own authority.
    pub opens: Option<(String, PathBuf)>,
    /// What its own certificate says.
    pub claims: Claims,
    /// It wants a certificate of its own authority from clients ([`Proxy::client_certificate`]).
    pub wants_certificate: bool,
    /// It knows no TLS 1.3.
    pub only_tls_1_2: bool,
    /// It listens on `::1` instead of 127.0.0.1.
    pub ipv6: bool,
}

/// What a client said to a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The host and port to connect to; a host that the client has resolved is an address.
    pub target: String,
    /// All that was said up to there, as it came.
    pub said: Vec<u8>,
    /// Whether it was connected.
    pub connected: bool,
}

/// A running proxy; dropping it stops it.
pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    server_certificate: PathBuf,
    directory: TempDir,
    runtime: Option<Runtime>,
}

struct Inner {
    options: Options,
    acceptor: TlsAcceptor,
    connector: Option<TlsConnector>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A stream of whichever kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Proxy {
    /// Starts a proxy on loopback.
    pub fn start(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("proxy-").tempdir();
        let directory = directory.context("cannot make a temporary directory")?;
        let certificates = Certificates::claiming(&options.claims)?;
        let write = |name: &str, text: &[u8]| -> Result<PathBuf> {
            let path = directory.path().join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write '{name}'"))?;
            Ok(path)
        };
        write("ca.pem", certificates.authority_pem.as_bytes())?;
        let server_certificate = write("server.der", &certificates.server_der)?;
        let (certificate, key) = certificates.for_client()?;
        write("client.pem", certificate.as_bytes())?;
        write("client-key.pem", key.as_bytes())?;

        let address: IpAddr = match options.ipv6 {
            true => Ipv6Addr::LOCALHOST.into(),
            false => Ipv4Addr::LOCALHOST.into(),
        };
        let listener = std::net::TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let asked = Arc::default();
        let inner = Arc::new(Inner {
            acceptor: acceptor(&certificates, &options)?,
            connector: options
                .opens
                .as_ref()
                .map(|(_, ca)| connector(ca))
                .transpose()?,
            asked: Arc::clone(&asked),
            options,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.spawn(accept(listener, inner));
        Ok(Self {
            port,
            asked,
            server_certificate,
            directory,
            runtime: Some(runtime),
        })
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What clients have asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Its own certificate, in DER form.
    pub fn server_certificate(&self) -> &Path {
        &self.server_certificate
    }

    /// A certificate that its authority has signed for a client, and the key to it, as PEM.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let at = |name: &str| self.directory.path().join(name);
        (at("client.pem"), at("client-key.pem"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn acceptor(certificates: &Certificates, options: &Options) -> Result<TlsAcceptor> {
    let versions: &[&rustls::SupportedProtocolVersion] = match options.only_tls_1_2 {
        true => &[&rustls::version::TLS12],
        false => rustls::ALL_VERSIONS,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = match options.wants_certificate {
        true => {
            let roots = roots(certificates.authority_pem.as_bytes())?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        false => builder.with_no_client_auth(),
    };
    let (chain, key) = certificates.chain_and_key();
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector(ca: &Path) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(&std::fs::read(ca)?)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

async fn accept(listener: std::net::TcpListener, inner: Arc<Inner>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _peer)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        // How a connection ends is the client's business; what it asked for is recorded.
        tokio::spawn(async move { inner.serve(stream).await });
    }
}

impl Inner {
    async fn serve(&self, stream: TcpStream) -> IoResult<()> {
        let mut stream: Box<dyn Stream> = match self.options.speaks {
            Speaks::Https | Speaks::Server => Box::new(self.acceptor.accept(stream).await?),
            Speaks::Http | Speaks::Socks4 | Speaks::Socks5 => Box::new(stream),
        };
        let mut asked = Asked::default();
        let is_allowed = match self.options.speaks {
            Speaks::Http | Speaks::Https => self.connect(&mut stream, &mut asked).await,
            Speaks::Socks4 => self.socks4(&mut stream, &mut asked).await,
            Speaks::Socks5 => self.socks(&mut stream, &mut asked).await,
            Speaks::Server => {
                self.record(&mut asked, true);
                Ok(true)
            }
        };
        if !is_allowed? {
            return Ok(());
        }
        match &self.options.opens {
            Some((server, _)) => {
                let mut inside: Box<dyn Stream> = match self.options.speaks {
                    Speaks::Server => stream,
                    _ => Box::new(self.acceptor.accept(stream).await?),
                };
                let outside = TcpStream::connect(server).await?;
                let name = ServerName::try_from("localhost").map_err(Error::other)?;
                let connector = self.connector.as_ref().ok_or(ErrorKind::Unsupported)?;
                let mut outside = connector.connect(name, outside).await?;
                copy_bidirectional(&mut inside, &mut outside).await?;
            }
            None => {
                let mut outside = TcpStream::connect(&asked.target).await?;
                copy_bidirectional(&mut stream, &mut outside).await?;
            }
        }
        Ok(())
    }

    fn asked_so_far(&self) -> usize {
        let all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.len()
    }

    /// Keeps what was asked, before it is answered.
    fn record(&self, asked: &mut Asked, connected: bool) {
        asked.connected = connected;
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked.clone());
    }

    /// Answers CONNECT requests until one is granted or refused; true if the client is to be connected.
    async fn connect(&self, stream: &mut Box<dyn Stream>, asked: &mut Asked) -> IoResult<bool> {
        loop {
            asked.said.clear();
            while !asked.said.ends_with(b"\r\n\r\n") && asked.said.len() < MAX_HEAD_BYTES {
                asked.said.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&asked.said).into_owned();
            let mut words = head.split(' ');
            let is_connect = words.next() == Some("CONNECT");
            asked.target = words.next().unwrap_or("").to_owned();
            let scheme = self.options.scheme.as_deref();
            let scheme = scheme.unwrap_or("Basic realm=\"proxy\"");
            let unauthorized = format!(
                "407 Proxy Authentication Required\r\nProxy-Authenticate: {scheme}\r\nContent-Length: 0\r\n"
            );
            let failure = self.options.fails_with.get(self.asked_so_far());
            let failure =
                failure.map(|status| format!("{status} Failure\r\nContent-Length: 0\r\n"));
            let answer = match &self.options.login {
                _ if !is_connect => "405 Method Not Allowed\r\nContent-Length: 0\r\n",
                // Who does not know what is wanted asks first, and again on the same connection.
                Some(login) if !has_login(&head, login) => &unauthorized,
                _ if failure.is_some() => failure.as_deref().unwrap_or_default(),
                _ if self.options.refuses => "403 Forbidden\r\nContent-Length: 0\r\n",
                _ => "200 Connection established\r\n",
            };
            self.record(asked, answer.starts_with('2'));
            tokio::time::sleep(self.options.takes).await;
            let answer = format!("HTTP/1.1 {answer}{}\r\n", self.options.head);
            stream.write_all(answer.as_bytes()).await?;
            if !answer.contains(" 407 ") {
                return Ok(asked.connected);
            }
        }
    }

    /// Reads the request of SOCKS 4, or of 4a, whose address is `0.0.0.x` before a name; true if the client is to be
    /// connected. The login's name is the user, who has no password there.
    async fn socks4(&self, stream: &mut Box<dyn Stream>, asked: &mut Asked) -> IoResult<bool> {
        let request = read(stream, 8, asked).await?;
        let port = u16::from_be_bytes([request[2], request[3]]);
        let user = read_to_nul(stream, asked).await?;
        let host = match request[4..8] {
            [0, 0, 0, mark] if mark != 0 => read_to_nul(stream, asked).await?,
            [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_string(),
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        asked.target = format!("{host}:{port}");
        let is_known = self
            .options
            .login
            .as_ref()
            .is_none_or(|(name, _)| *name == user);
        let connects = is_known && !self.options.refuses;
        self.record(asked, connects);
        let status = if connects { 90 } else { 91 };
        stream.write_all(&[0, status, 0, 0, 0, 0, 0, 0]).await?;
        Ok(connects)
    }

    /// Reads the greeting, the login and the request of SOCKS 5; true if the client is to be connected.
    async fn socks(&self, stream: &mut Box<dyn Stream>, asked: &mut Asked) -> IoResult<bool> {
        const BY_PASSWORD: u8 = 2;
        const DOMAIN_NAME: u8 = 3;
        const IPV6: u8 = 4;
        let greeting = read(stream, 2, asked).await?;
        let methods = read(stream, usize::from(greeting[1]), asked).await?;
        match &self.options.login {
            Some(_) if !methods.contains(&BY_PASSWORD) => {
                self.record(asked, false);
                stream.write_all(&[5, 0xff]).await?;
                return Ok(false);
            }
            Some((user, password)) => {
                stream.write_all(&[5, BY_PASSWORD]).await?;
                let length = read(stream, 2, asked).await?[1];
                let given = read(stream, usize::from(length), asked).await?;
                let length = read(stream, 1, asked).await?[0];
                let secret = read(stream, usize::from(length), asked).await?;
                let is_right = given == user.as_bytes() && secret == password.as_bytes();
                if !is_right {
                    self.record(asked, false);
                }
                stream.write_all(&[1, u8::from(!is_right)]).await?;
                if !is_right {
                    return Ok(false);
                }
            }
            None => stream.write_all(&[5, 0]).await?,
        }
        let request = read(stream, 4, asked).await?;
        let host = match request[3] {
            DOMAIN_NAME => {
                let length = read(stream, 1, asked).await?[0];
                let name = read(stream, usize::from(length), asked).await?;
                String::from_utf8_lossy(&name).into_owned()
            }
            IPV6 => {
                let bytes: [u8; 16] = read(stream, 16, asked)
                    .await?
                    .try_into()
                    .unwrap_or_default();
                format!("[{}]", Ipv6Addr::from(bytes))
            }
            _ => {
                let bytes: [u8; 4] = read(stream, 4, asked).await?.try_into().unwrap_or_default();
                Ipv4Addr::from(bytes).to_string()
            }
        };
        let port = read(stream, 2, asked).await?;
        asked.target = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
        self.record(asked, !self.options.refuses);
        let status = u8::from(self.options.refuses) * 2;
        stream
            .write_all(&[5, status, 0, 1, 127, 0, 0, 1, 0, 0])
            .await?;
        Ok(!self.options.refuses)
    }
}

async fn read(stream: &mut Box<dyn Stream>, length: usize, asked: &mut Asked) -> IoResult<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    asked.said.extend(&bytes);
    Ok(bytes)
}

async fn read_to_nul(stream: &mut Box<dyn Stream>, asked: &mut Asked) -> IoResult<String> {
    let mut text = Vec::new();
    loop {
        match read(stream, 1, asked).await?[0] {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            byte => text.push(byte),
        }
    }
}

fn has_login(head: &str, (user, password): &(String, String)) -> bool {
    let expected = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
    head.lines().any(|line| {
        let header = line.split_once(": ");
        header.is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == expected
        })
    })
}
