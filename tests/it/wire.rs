//! Requests over HTTP without any client of ours.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;

/// A server, and the authorities that its certificate is checked with, if it speaks TLS.
pub(crate) struct Server<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) trusts: Option<Arc<ClientConfig>>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Trusts one authority alone.
pub(crate) fn trusting(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(authority).expect("it was just written");
    roots.add(authority).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("because ring has every default version");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

impl Server<'_> {
    /// Sends a request and reads the answer. It is an error if nothing comes for longer than `patience`.
    ///
    /// The request must be one of HTTP/1.0: its answer ends with the connection, and has no chunks (RFC 1945).
    pub(crate) fn answer(self, request: &str, patience: Duration) -> io::Result<Answer> {
        let stream = TcpStream::connect((self.host, self.port))?;
        stream.set_read_timeout(Some(patience))?;
        let answer = match self.trusts {
            None => exchange(stream, request)?,
            Some(config) => {
                let name = ServerName::try_from(self.host.to_owned()).map_err(io::Error::other)?;
                let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
                exchange(StreamOwned::new(connection, stream), request)?
            }
        };
        Answer::parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Answer {
            status,
            headers: headers.collect(),
            body: body.trim_end().to_owned(),
        })
    }

    /// A header, by its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A text in the body, by its JSON pointer (RFC 6901).
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("'{pointer}' is missing in {self:?}"))
            .to_owned()
    }
}
