//! Sends small requests with the program `curl` when the library cannot. Git's own https uses libcurl too.
//!
//! curl supports proxies with NTLM, Kerberos or Digest, proxies on a Unix socket, and certificates and TLS features
//! that rustls does not support.
use std::{
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    interface::{Body, Method, Request},
    message::{Line, Messages},
    proxy::{Proxy, ProxyAuth, ProxyLogin, auth::ProxyError},
    resolver::Family,
    settings::Settings,
    transport_error::{Phase, TransportError},
};
use crate::{failure::quote, program, secret::Secret};

/// More than any response to such a request.
const MAX_ANSWER_BYTES: u64 = 2 << 20;
/// The part of curl's messages that is read.
const MAX_WORDS_BYTES: u64 = 4096;
/// curl's exit codes for TLS errors and unusable certificate files (curl(1), "EXIT CODES").
const TLS_EXIT_CODES: [i32; 7] = [35, 51, 58, 60, 77, 83, 90];
/// curl's exit codes for a failed connection to a server or proxy.
const CONNECT_EXIT_CODES: [i32; 4] = [5, 6, 7, 97];
/// curl's exit code for an exceeded time limit.
const TIME_OVER_EXIT_CODE: i32 = 28;

/// The settings for curl.
pub(super) struct Curl<'s> {
    pub(super) settings: &'s Settings,
    /// The only address family, if connections are limited to one.
    pub(super) family: Option<Family>,
}

/// A request that curl can send, with all headers.
pub(super) struct CurlRequest {
    method: Method,
    url: String,
    lines: Vec<Line>,
    text: Option<Secret>,
    time_limit: Duration,
}

/// The error for a request without a response.
pub(super) struct Unanswered {
    /// Whether the proxy requires a login or refused it.
    pub(super) is_for_login: bool,
    pub(super) error: TransportError,
}

impl CurlRequest {
    /// Copies a request with a time limit. curl does not send transfers, which have none.
    pub(super) fn of(
        request: &Request,
        messages: &Messages,
        host: &str,
    ) -> Result<Option<Self>, TransportError> {
        let text = match &request.body {
            Body::Empty => None,
            Body::Secret(text) => (!text.is_empty()).then(|| text.clone()),
            Body::Bytes(_) | Body::Stream(_) => return Ok(None),
        };
        let Some(time_limit) = request.time_limit else {
            return Ok(None);
        };
        Ok(Some(CurlRequest {
            method: request.method,
            url: request.url.to_string(),
            lines: messages.lines(request, host)?,
            text,
            time_limit,
        }))
    }
}

impl Curl<'_> {
    /// Sends a request, through the proxy if there is one. curl reads the request from a pipe, so its arguments show no
    /// secret.
    pub(super) fn send(
        &self,
        request: &CurlRequest,
        login: Option<&ProxyLogin>,
        host: &str,
    ) -> Result<reqwest::Response, Unanswered> {
        let proxy = self.settings.proxy.as_ref();
        let run = Run::of(&self.configuration(request, login)).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => missing(proxy),
                _ => format!("curl cannot be used: {error}"),
            };
            Unanswered {
                is_for_login: false,
                error: TransportError::new(Phase::Connect, host, why).through(proxy),
            }
        })?;
        let answer = (run.exit_code == Some(0))
            .then(|| answer(&run.output))
            .flatten();
        answer.ok_or_else(|| unanswered(&run, proxy, host))
    }

    fn configuration(&self, request: &CurlRequest, login: Option<&ProxyLogin>) -> Secret {
        let mut options = Options::default();
        options.shared(self.settings);
        options.tls(self.settings);
        match self.family {
            Some(Family::Ipv4) => options.word("ipv4"),
            Some(Family::Ipv6) => options.word("ipv6"),
            None => {}
        }
        options.value("url", &request.url);
        options.value("max-time", &request.time_limit.as_secs().max(1).to_string());
        // An empty value keeps curl from reading the proxy variables.
        let proxy = self.settings.proxy.as_ref();
        let proxy = proxy.map(|proxy| proxy.with_login(login));
        options.value("proxy", proxy.as_ref().map_or("", Secret::expose));
        for (name, value, _) in &request.lines {
            let value = String::from_utf8_lossy(value.as_bytes());
            options.value("header", &format!("{name}: {value}"));
        }
        match (&request.text, request.method) {
            (Some(text), _) => options.value("data-raw", text.expose()),
            (None, Method::Post) => options.value("data-raw", ""),
            (None, Method::Get) => {}
        }
        Secret::new(options.0)
    }
}

fn missing(proxy: Option<&Proxy>) -> String {
    let what = match proxy {
        Some(proxy) if proxy.is_on_socket() => "it is on a Unix socket",
        Some(_) => "it accepts only NTLM, Kerberos or Digest",
        None => "the native transport does not support its TLS",
    };
    format!("{what}, so the program curl is needed; install curl")
}

/// Lines of a configuration file (curl(1), "--config").
#[derive(Default)]
struct Options(String);

impl Options {
    fn word(&mut self, name: &str) {
        self.0.push_str(name);
        self.0.push('\n');
    }

    fn value(&mut self, name: &str, value: &str) {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        self.0.push_str(&format!("{name} = \"{value}\"\n"));
    }

    /// Adds what all requests have.
    fn shared(&mut self, settings: &Settings) {
        self.word("silent");
        self.word("show-error");
        self.word("include");
        self.word("suppress-connect-headers");
        self.value("proto", "=https,http");
        self.value("write-out", "%{http_connect}");
        // The caller has already chosen the proxy.
        self.value("noproxy", "");
        self.value("header", "Expect:");
        self.word(match settings.proxy_auth {
            ProxyAuth::Any => "proxy-anyauth",
            ProxyAuth::Basic => "proxy-basic",
            ProxyAuth::Digest => "proxy-digest",
            ProxyAuth::Negotiate => "proxy-negotiate",
            ProxyAuth::Ntlm => "proxy-ntlm",
        });
    }

    fn tls(&mut self, settings: &Settings) {
        let mut file = |name: &str, path: Option<&Path>| {
            if let Some(path) = path {
                self.value(name, &path.to_string_lossy());
            }
        };
        file("cacert", settings.ca_file.as_deref());
        file("capath", settings.ca_directory.as_deref());
        file("proxy-cacert", settings.proxy_ca_file.as_deref());
        if let Some(own) = &settings.client_certificate {
            // curl reads the text after a colon as the password of the key.
            let own_file = own.file.to_string_lossy().replace('\\', "\\\\");
            self.value("cert", &own_file.replace(':', "\\:"));
            if let Some(key) = &own.key_file {
                self.value("key", &key.to_string_lossy());
            }
        }
        if let Some(pinned) = &settings.pinned_keys {
            self.value("pinnedpubkey", &pinned.to_string());
        }
        if settings.unverified_by.is_some() {
            self.word("insecure");
        }
        if settings.only_tls_1_3 {
            self.word("tlsv1.3");
        }
    }
}

/// Explains why curl has no answer.
fn unanswered(run: &Run, proxy: Option<&Proxy>, host: &str) -> Unanswered {
    let is_for_login = run.connect_status() == "407";
    let phase = match run.exit_code {
        Some(code) if TLS_EXIT_CODES.contains(&code) => Phase::Tls,
        Some(TIME_OVER_EXIT_CODE) => Phase::TimeLimit,
        Some(code) if CONNECT_EXIT_CODES.contains(&code) => Phase::Connect,
        _ if run.connect_status() == "200" => Phase::Request,
        // An http proxy did not connect.
        _ if proxy.is_some_and(Proxy::is_http) => Phase::Connect,
        _ => Phase::Request,
    };
    let error = match is_for_login {
        true => TransportError::new(phase, host, ProxyError::WrongLogin),
        false => {
            let words = quote(run.words.lines().next().unwrap_or_default());
            TransportError::new(phase, host, format!("curl says: {words}"))
        }
    };
    Unanswered {
        is_for_login,
        error: error.through(proxy),
    }
}

/// The result of a curl process.
struct Run {
    exit_code: Option<i32>,
    output: Vec<u8>,
    words: String,
}

impl Run {
    fn of(configuration: &Secret) -> io::Result<Self> {
        // The user's .curlrc is for other requests.
        let mut child = program::Child::Curl
            .command("curl")?
            .args(["--disable", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let run = Run::talk(&mut child, configuration);
        if run.is_err() {
            // The process may have ended already.
            let _ = child.kill();
        }
        let exit_code = child.wait()?.code();
        Ok(Run { exit_code, ..run? })
    }

    fn talk(child: &mut Child, configuration: &Secret) -> io::Result<Self> {
        let lost = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut input = child.stdin.take().ok_or_else(lost)?;
        input.write_all(configuration.expose().as_bytes())?;
        drop(input);
        let mut output = Vec::new();
        let stdout = child.stdout.take().ok_or_else(lost)?;
        stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut output)?;
        if output.len() as u64 == MAX_ANSWER_BYTES {
            return Err(io::Error::other("the response is too long"));
        }
        let mut words = String::new();
        let stderr = child.stderr.take().ok_or_else(lost)?;
        // curl writes a line or two, which fit into the pipe.
        let _ = stderr.take(MAX_WORDS_BYTES).read_to_string(&mut words);
        Ok(Run {
            exit_code: None,
            output,
            words,
        })
    }

    /// Gives the proxy's status for CONNECT from the end of the output; `000` if there was none.
    fn connect_status(&self) -> &str {
        let end = self.output.len().saturating_sub(CONNECT_STATUS_BYTES);
        std::str::from_utf8(&self.output[end..]).unwrap_or("")
    }
}

/// The length of a status.
const CONNECT_STATUS_BYTES: usize = 3;

/// Parses the head and body of a response.
fn answer(output: &[u8]) -> Option<reqwest::Response> {
    let mut rest = &output[..output.len().checked_sub(CONNECT_STATUS_BYTES)?];
    loop {
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        // Informational responses come before the final one.
        if (100..200).contains(&status) {
            continue;
        }
        let mut response = ::http::Response::builder().status(status);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            response = response.header(name, value.trim());
        }
        return Some(response.body(rest.to_vec()).ok()?.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_curl() {
        let mut options = Options::default();
        options.value("header", "a: \"b\\c\"\r\nurl = x");
        assert_eq!(options.0, "header = \"a: \\\"b\\\\c\\\"\\r\\nurl = x\"\n");
    }

    #[test]
    fn informational_responses_are_skipped() {
        let output = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 400 Bad Request\r\nA: b\r\nA: c\r\n\r\n{}200";
        let response = answer(output).expect("it is one");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers().get_all("a").iter().count(), 2);
        assert_eq!(response.content_length(), Some(2));
    }

    #[test]
    fn an_incomplete_or_malformed_response_is_rejected() {
        for output in [
            "",
            "000",
            "HTTP/1.1 200 OK\r\n000",
            "x\r\n\r\n000",
            "HTTP/1.1 99999 x\r\n\r\n200",
        ] {
            assert!(answer(output.as_bytes()).is_none(), "{output}");
        }
    }
}
