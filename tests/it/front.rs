//! A TLS server by another author in front of the local Bitbucket, and all kinds of certificates, made by OpenSSL.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::World;

/// What a server shows and speaks.
#[derive(Clone, Default)]
pub(crate) struct Front {
    /// The certificate that it shows, with those of its issuers.
    pub(crate) shows: Shown,
    /// OpenSSL's list of ciphers, if not all.
    pub(crate) ciphers: &'static str,
    /// The newest version of TLS, if not 1.3.
    pub(crate) max_version: &'static str,
    /// What it speaks inside of TLS, if not HTTP/1.1 (RFC 7301).
    pub(crate) alpn: &'static str,
    /// The port of a proxy behind it, in the place of the Bitbucket.
    pub(crate) before_proxy: Option<u16>,
    /// It renegotiates for a client's certificate of this authority once it has read a request.
    pub(crate) wants_client_of: Option<PathBuf>,
}

/// A certificate with its chain, and its key.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// Running servers; dropping this ends them.
pub(crate) struct Running {
    child: Child,
    /// The port of each on loopback.
    pub(crate) ports: Vec<u16>,
}

impl Front {
    /// Starts it before the world's Bitbucket.
    pub(crate) fn start(&self, world: &World) -> Running {
        start([self], world)
    }
}

/// Starts servers before the world's Bitbucket, in one process.
pub(crate) fn start<'a>(fronts: impl IntoIterator<Item = &'a Front>, world: &World) -> Running {
    let url = world.bitbucket.base_url();
    let port = url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok());
    let port = port.expect("the server has a port");
    let or = |text: &'static str, other: &'static str| if text.is_empty() { other } else { text };
    let told = fronts.into_iter().map(|front| {
        json!({
            "cert": front.shows.chain,
            "key": front.shows.key,
            "ciphers": front.ciphers,
            "maxVersion": or(front.max_version, "TLSv1.3"),
            "alpn": or(front.alpn, "http/1.1"),
            "clients": front.wants_client_of,
            "proxy": front.before_proxy,
            "port": port,
            "trusts": world.bitbucket.ca_file(),
        })
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/front.js");
    let mut child = Command::new("node")
        .arg(script)
        .arg(Value::from_iter(told).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let output = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .expect("it is text");
    let ports = serde_json::from_str(&line).expect("it tells their ports");
    Running { child, ports }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes certificates in a directory.
pub(crate) struct Maker {
    directory: PathBuf,
}

/// What is put into a certificate.
pub(crate) struct Made<'a> {
    pub(crate) name: &'a str,
    /// Whose key signs it; its own if there is none.
    pub(crate) issuer: Option<&'a str>,
    /// What `openssl genpkey` makes a key by.
    pub(crate) key: &'a [&'a str],
    pub(crate) subject: &'a str,
    /// Lines of extensions (x509v3_config(5)); without any it is of version 1.
    pub(crate) extensions: &'a str,
    /// Further arguments of `openssl x509`.
    pub(crate) further: &'a [&'a str],
}

/// A key that everybody supports.
pub(crate) const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
/// What a server's certificate says as a rule.
pub(crate) const SERVER: &str = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";
/// What an authority's certificate says as a rule.
pub(crate) const AUTHORITY: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";

impl Default for Made<'_> {
    fn default() -> Self {
        Made {
            name: "server",
            issuer: Some("root"),
            key: EC,
            subject: "/CN=localhost",
            extensions: SERVER,
            further: &[],
        }
    }
}

impl Maker {
    /// Makes an authority, `root`, to begin with.
    pub(crate) fn new(directory: PathBuf) -> Self {
        fs::create_dir_all(&directory).expect("the world's directory can be written");
        let maker = Maker { directory };
        maker.authority("root", None);
        maker
    }

    /// The file of a certificate.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    /// The file of a key.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// Makes an authority.
    pub(crate) fn authority(&self, name: &str, issuer: Option<&str>) {
        self.make(&Made {
            name,
            issuer,
            subject: &format!("/CN=the authority {name}"),
            extensions: AUTHORITY,
            ..Made::default()
        });
    }

    /// Makes a key and a certificate.
    pub(crate) fn make(&self, made: &Made<'_>) -> Shown {
        let (key, request) = (self.key(made.name), self.directory.join("request"));
        let certificate = self.certificate(made.name);
        self.openssl("genpkey", |it| it.args(made.key).arg("-out").arg(&key));
        self.openssl("req", |it| {
            it.args(["-new", "-subj", made.subject, "-key"])
                .arg(&key)
                .arg("-out")
                .arg(&request)
        });
        let extensions = self.directory.join("extensions");
        fs::write(&extensions, made.extensions).expect("it can be written");
        self.openssl("x509", |it| {
            it.args(["-req", "-days", "30", "-in"])
                .arg(&request)
                .arg("-out")
                .arg(&certificate);
            match made.issuer {
                Some(issuer) => it
                    .arg("-CA")
                    .arg(self.certificate(issuer))
                    .arg("-CAkey")
                    .arg(self.key(issuer)),
                None => it.arg("-signkey").arg(&key),
            };
            if !made.extensions.is_empty() {
                it.arg("-extfile").arg(&extensions);
            }
            it.args(made.further)
        });
        Shown {
            chain: certificate,
            key,
        }
    }

    /// Joins certificates to one file.
    pub(crate) fn join(&self, name: &str, parts: &[&str]) -> PathBuf {
        let texts = parts
            .iter()
            .map(|part| fs::read_to_string(self.certificate(part)).expect("it was made"));
        let joined = self.certificate(name);
        fs::write(&joined, texts.collect::<String>()).expect("it can be written");
        joined
    }

    fn openssl(&self, command: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) {
        let mut openssl = Command::new("openssl");
        arguments(openssl.arg(command)).current_dir(&self.directory);
        let output = openssl.output().expect("openssl starts");
        assert!(
            output.status.success(),
            "{openssl:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
