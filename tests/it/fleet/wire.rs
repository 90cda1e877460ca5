//! Requests to OpenBao without any client of ours, so that the expected texts show what the server says.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;

/// Longer than a server that works takes for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens on loopback, and the authority of its certificate, if it speaks TLS.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    pub(crate) trusts: Option<Arc<ClientConfig>>,
}

/// A request that is about to be sent.
pub(crate) struct Request {
    endpoint: Endpoint,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    patience: Duration,
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

impl Endpoint {
    /// The address, as people configure it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.trusts.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Prepares a request for a path below `/v1/`.
    pub(crate) fn request(&self, method: &'static str, path: &str) -> Request {
        Request {
            endpoint: self.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            patience: PATIENCE,
        }
    }
}

impl Request {
    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds the token of the client.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("X-Vault-Token", token)
    }

    /// Adds a body.
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Waits only so long for the answer.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The method, the path, the headers and the body, a line each.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{} /v1/{}\n", self.method, self.path);
        for (name, value) in &self.headers {
            writeln!(text, "{name}: {value}").expect("a string takes all");
        }
        if let Some(body) = &self.body {
            writeln!(text, "{body}").expect("a string takes all");
        }
        text
    }

    /// Sends it to a server that runs.
    #[track_caller]
    pub(crate) fn done(self) -> Answer {
        let shown = format!("{} /v1/{}", self.method, self.path);
        self.attempt()
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Sends it, and expects a status of success.
    #[track_caller]
    pub(crate) fn ok(self) -> Answer {
        let shown = format!("{} /v1/{}", self.method, self.path);
        let answer = self.done();
        let is_success = matches!(answer.status, 200 | 204);
        assert!(is_success, "{shown}: {answer:?}");
        answer
    }

    /// Sends it to a server that may be down.
    pub(crate) fn attempt(self) -> io::Result<Answer> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.endpoint.port))?;
        stream.set_read_timeout(Some(self.patience))?;
        let answer = match &self.endpoint.trusts {
            None => self.exchange(stream)?,
            Some(config) => {
                let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
                let connection = ClientConnection::new(Arc::clone(config), name);
                let connection = connection.map_err(io::Error::other)?;
                self.exchange(StreamOwned::new(connection, stream))?
            }
        };
        Answer::parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// HTTP/1.0: the answer ends with the connection, and has no chunks (RFC 1945).
    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut head = format!("{} /v1/{} HTTP/1.0\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes all");
        }
        write!(head, "Content-Length: {}\r\n\r\n", body.len()).expect("a string takes all");
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
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
