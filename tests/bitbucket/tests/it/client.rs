//! A blocking HTTP client that shows how an answer ended.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitbucket_local::Bitbucket;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use url::Url;

/// One connection.
pub(crate) struct Client {
    runtime: Runtime,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer as far as it came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as HTTP says it must.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("because the answer is JSON")
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Client {
    pub(crate) fn http1(bitbucket: &Bitbucket) -> Self {
        Self::open(bitbucket.base_url(), bitbucket.ca_file(), "http/1.1")
    }

    pub(crate) fn http2(bitbucket: &Bitbucket) -> Self {
        Self::open(bitbucket.base_url(), bitbucket.ca_file(), "h2")
    }

    pub(crate) fn open(base_url: &str, ca_file: &Path, alpn: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("because the system lets us make a runtime");
        let base_url = Url::parse(base_url).expect("because it is a URL");
        let port = base_url.port().expect("because it names a port");
        let sender = runtime.block_on(async {
            let tcp = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
            let tcp = tcp.expect("because the server listens");
            let stream: Box<dyn Stream> = if base_url.scheme() == "https" {
                Box::new(encrypt(tcp, ca_file, alpn).await)
            } else {
                Box::new(tcp)
            };
            connect(stream, alpn).await
        });
        Self { runtime, sender }
    }

    pub(crate) fn get(&mut self, path: &str, authorization: Option<&str>) -> Reply {
        self.send("GET", path, &headers(authorization), "")
            .expect("because the server answers")
    }

    pub(crate) fn post_form(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Reply {
        self.try_post_form(path, authorization, form)
            .expect("because the server answers")
    }

    pub(crate) fn try_post_form(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Result<Reply, hyper::Error> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut headers = headers(authorization);
        headers.push(("content-type", "application/x-www-form-urlencoded"));
        self.send("POST", path, &headers, body)
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, hyper::Error> {
        let over_http2 = matches!(self.sender, Sender::Http2(_));
        let uri = if over_http2 {
            format!("https://localhost{path}")
        } else {
            path.to_owned()
        };
        let mut request = Request::builder().method(method).uri(uri);
        if !over_http2 {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body.into()))
            .expect("because the request is well-formed");
        self.runtime.block_on(async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => sender.send_request(request).await?,
            };
            Ok(receive(response).await)
        })
    }
}

async fn encrypt(tcp: TcpStream, ca_file: &Path, alpn: &str) -> impl Stream + use<> {
    let mut roots = RootCertStore::empty();
    let authority =
        CertificateDer::from_pem_file(ca_file).expect("because the server wrote its authority");
    roots.add(authority).expect("because it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("because ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").expect("because it is a name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await;
    stream.expect("because the certificate is good for 'localhost'")
}

async fn connect(stream: Box<dyn Stream>, alpn: &str) -> Sender {
    let io = TokioIo::new(stream);
    if alpn == "h2" {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
            .await
            .expect("because h2 was agreed on");
        tokio::spawn(connection);
        Sender::Http2(sender)
    } else {
        let (sender, connection) = http1::handshake(io)
            .await
            .expect("because the connection is open");
        tokio::spawn(connection);
        Sender::Http1(sender)
    }
}

async fn receive(response: Response<hyper::body::Incoming>) -> Reply {
    let (parts, mut incoming) = response.into_parts();
    let mut reply = Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: Vec::new(),
        whole: true,
    };
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => reply
                .body
                .extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => {
                reply.whole = false;
                break;
            }
        }
    }
    reply
}

fn headers(authorization: Option<&str>) -> Vec<(&'static str, &str)> {
    authorization
        .map(|value| ("authorization", value))
        .into_iter()
        .collect()
}

pub(crate) fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
}

pub(crate) fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}
