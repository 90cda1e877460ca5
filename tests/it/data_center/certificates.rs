//! A Data Center that asks for a client certificate.

use bitbucket_local::proxy::{Options, Proxy, Speaks};

use super::one;
use crate::support::CONTEXT_PATH;

#[test]
fn a_client_certificate_is_sent_with_token_requests_and_git_requests() {
    let world = one();
    let server = world.origin().replace("https://localhost", "127.0.0.1");
    let front = Proxy::start(Options {
        speaks: Speaks::Server,
        wants_certificate: true,
        opens: Some((server, world.bitbucket.ca_file().to_owned())),
        ..Options::default()
    })
    .expect("it starts on loopback");
    let base = format!("https://localhost:{}{CONTEXT_PATH}", front.port());
    let list = |settings: &[String]| {
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        world
            .git(settings)
            .args(["ls-remote", "-q", "bbtoken::PROJ/repo", "main"])
            .env("BBTOKEN_BASE_URL", &base)
            .env("GIT_SSL_CAINFO", front.ca_file())
    };
    let without = list(&[]).fails(128);
    without.says(&["received fatal alert: CertificateRequired\n"]);
    assert!(world.bitbucket.requests().is_empty());
    let (certificate, key) = front.client_certificate();
    let settings = [
        format!("http.{base}/.sslCert={}", certificate.display()),
        format!("http.{base}/.sslKey={}", key.display()),
    ];
    assert!(list(&settings).ok().ends_with("refs/heads/main\n"));
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}
