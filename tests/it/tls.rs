//! Git's TLS settings for trust and client certificates, compared with git's own https.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bitbucket_local::{
    Claims, Options as Server,
    proxy::{Options, Proxy, Speaks},
};
use rustls::{pki_types::CertificateDer, server::ParsedCertificate};

use crate::{
    needs::needs,
    support::{Done, World, gits, on_every_git},
};

/// Starts a server of another kind before the world's.
fn front(world: &World, options: Options) -> Proxy {
    let server = world.bitbucket.base_url();
    let server = server.replace("https://localhost", "127.0.0.1");
    let opens = Some((server, world.bitbucket.ca_file().to_owned()));
    let options = Options {
        speaks: Speaks::Server,
        opens,
        ..options
    };
    Proxy::start(options).expect("it starts on loopback")
}

/// Lists refs at a base URL through the helper and through git's https, with settings.
fn both(world: &World, base: &str, ca: &std::path::Path, settings: &[&str]) -> [Done; 2] {
    let _ = fs::remove_dir_all(world.cache());
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let run = |address: &str, setting: &str| {
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        world
            .git(settings)
            .args(["-c", setting, "ls-remote", address])
            .env("BBTOKEN_BASE_URL", base)
            .env("GIT_SSL_CAINFO", ca)
            .env("GIT_SSL_CAPATH", world.path("no-directory"))
            .done()
    };
    fs::create_dir_all(world.path("no-directory")).expect("the world's directory can be written");
    [
        run("bbtoken::ws/repo", "core.x=y"),
        run(&format!("{base}/ws/repo.git"), &world.with_header(&token)),
    ]
}

/// Expects that both work, ours without git's help.
#[track_caller]
fn work(world: &World, base: &str, ca: &std::path::Path, settings: &[&str]) {
    world.bitbucket.clear_requests();
    let [ours, gits] = both(world, base, ca, settings);
    assert_eq!(ours.expect(0).quiet().stdout, gits.expect(0).stdout);
    let agents = world.bitbucket.git_requests();
    let agent = agents[0].user_agent.clone().unwrap_or_default();
    assert!(
        agent.contains("git-remote-bbtoken"),
        "{settings:?} is followed natively"
    );
}

/// Expects that neither works, and that we say why.
#[track_caller]
fn fail(world: &World, base: &str, ca: &std::path::Path, settings: &[&str], why: &str) {
    let [ours, gits] = both(world, base, ca, settings);
    gits.expect(128);
    let ours = ours.expect(128);
    ours.says(&[&format!("caused by: {why}"), "hint: "]);
    let errors = ours
        .stderr
        .lines()
        .filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "one error: {}", ours.stderr);
}

fn base(front: &Proxy) -> String {
    format!("https://localhost:{}", front.port())
}

#[test]
fn an_invalid_certificate_is_reported_with_the_reason() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let expired = Claims {
            expired: true,
            ..Claims::default()
        };
        let foreign = Claims {
            name: Some("elsewhere.example".into()),
            ..Claims::default()
        };
        for (claims, why) in [
            (expired, "its certificate has expired\n"),
            (foreign, "its certificate is for another host\n"),
        ] {
            let front = front(
                world,
                Options {
                    claims,
                    ..Options::default()
                },
            );
            fail(world, &base(&front), &front.ca_file(), &[], why);
        }
        let front = front(world, Options::default());
        let why = "its certificate is not signed by a trusted CA\n";
        fail(world, &base(&front), world.bitbucket.ca_file(), &[], why);
        assert!(world.bitbucket.requests().is_empty(), "nothing was sent");
    });
}

#[test]
fn a_server_that_wants_a_certificate_of_ours_gets_it() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let front = front(
            world,
            Options {
                wants_certificate: true,
                ..Options::default()
            },
        );
        let (certificate, key) = front.client_certificate();
        let base = base(&front);
        let cert = format!("http.sslCert={}", certificate.display());
        let key = format!("http.sslKey={}", key.display());
        work(world, &base, &front.ca_file(), &[&cert, &key]);

        let both_in_one = world.path("both.pem");
        let text = [certificate, front.client_certificate().1]
            .map(|file| fs::read_to_string(file).expect("it is there"));
        fs::write(&both_in_one, text.concat()).expect("the world's directory can be written");
        let one = format!("http.{base}/.sslCert={}", both_in_one.display());
        work(world, &base, &front.ca_file(), &[&one]);

        fail(
            world,
            &base,
            &front.ca_file(),
            &[],
            "received fatal alert: CertificateRequired\n",
        );
        let missing = world.path("missing.pem");
        let [ours, _] = both(
            world,
            &base,
            &front.ca_file(),
            &[&format!("http.sslCert={}", missing.display())],
        );
        ours.expect(128).says(&[&format!(
            "cannot apply http.sslCert: cannot read '{}'",
            missing.display()
        )]);
    });
}

#[test]
fn cas_are_read_from_a_directory_and_a_file_without_one_is_an_error() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let directory = world.path("authorities");
        fs::create_dir(&directory).expect("the world's directory can be written");
        fs::copy(world.bitbucket.ca_file(), directory.join("any-name.pem"))
            .expect("it can be copied");
        fs::write(directory.join("README"), "no certificate").expect("it can be written");
        let run = |key: &str, value: &std::path::Path| {
            let _ = fs::remove_dir_all(world.cache());
            world
                .git(["-c", &format!("http.{key}={}", value.display())])
                .args(["ls-remote", "bbtoken::ws/repo"])
                .without("GIT_SSL_CAINFO")
                .done()
        };
        run("sslCAPath", &directory).expect(0).quiet();
        let empty = directory.join("README");
        run("sslCAInfo", &empty).expect(128).says(&[&format!(
            "no trusted certificate found in '{}'\n",
            empty.display()
        )]);
        let missing = directory.join("missing");
        run("sslCAInfo", &missing).expect(128).says(&[&format!(
            "caused by: cannot read trusted certificates from '{}': ",
            missing.display()
        )]);
    });
}

#[test]
fn a_file_of_authorities_is_read_as_gits_libraries_read_it() {
    needs!("openssl");
    on_every_git(|world| {
        world.repository("ws", "repo");
        let pem = fs::read_to_string(world.bitbucket.ca_file()).expect("it is there");
        let labeled = |label: &str| pem.replace(" CERTIFICATE", &format!(" {label}CERTIFICATE"));
        let trusted = std::process::Command::new("openssl")
            .args(["x509", "-trustout", "-addtrust", "serverAuth", "-in"])
            .arg(world.bitbucket.ca_file())
            .output()
            .expect("openssl starts");
        let trusted = String::from_utf8(trusted.stdout).expect("it is text");
        assert!(trusted.contains("BEGIN TRUSTED CERTIFICATE"), "{trusted}");
        let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let mut is_openssl = false;
        for (what, text) in [
            ("a byte order mark", format!("\u{feff}{pem}")),
            ("lines of Windows", pem.replace('\n', "\r\n")),
            (
                "text between",
                format!("# ours\nsubject=x\n\n{pem}\n# end\n{pem}"),
            ),
            ("an older label", labeled("X509 ")),
            ("another label, without trust", labeled("TRUSTED ")),
            ("trust behind it", trusted),
            ("a key before it", format!("{other}{pem}")),
            ("an end without a line end", pem.trim_end().to_owned()),
        ] {
            let file = world.path("authorities.pem");
            fs::write(&file, text).expect("the world's directory can be written");
            let base = world.bitbucket.base_url().to_owned();
            let [ours, gits] = both(world, &base, &file, &[]);
            let is_read = gits.code == Some(0);
            match what {
                // Only OpenSSL reads what it writes behind a certificate itself.
                "trust behind it" => is_openssl = is_read,
                "another label, without trust" => {}
                // Only GnuTLS passes over a key that it cannot decode.
                "a key before it" if is_openssl => {}
                _ => assert!(is_read, "git reads a file with {what}: {}", gits.stderr),
            }
            assert_eq!(ours.code, Some(0), "{what}: {}", ours.stderr);
            assert!(ours.stderr.is_empty(), "{what}: {}", ours.stderr);
        }
    });
}

#[test]
fn a_missing_ca_file_or_directory_is_an_error_if_it_is_one_for_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let (base, ca) = (world.bitbucket.base_url(), world.bitbucket.ca_file());
        let missing = world.path("missing");
        for (file, settings) in [
            (&*missing, &[][..]),
            (&*missing, &["http.sslVerify=false"]),
            (ca, &["http.proxySSLCAInfo=/nowhere/ca.pem"]),
        ] {
            let [ours, gits] = both(world, base, file, settings);
            assert_eq!(
                ours.code, gits.code,
                "{settings:?}: {ours:?} beside {gits:?}"
            );
        }
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let list = |address: &str, setting: &str| {
            let run = world.git(["-c", setting, "ls-remote", address]);
            run.env("GIT_SSL_CAPATH", &missing).done()
        };
        let gits = list(&format!("{base}/ws/repo.git"), &world.with_header(&token));
        let ours = list("bbtoken::ws/repo", "core.x=y");
        assert_eq!(ours.code, gits.code, "{ours:?} beside {gits:?}");
    });
}

#[test]
fn a_server_with_a_pinned_key_is_known_by_it() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let front = front(world, Options::default());
        let der = CertificateDer::from(fs::read(front.server_certificate()).expect("it is there"));
        let key = ParsedCertificate::try_from(&der)
            .expect("it is a certificate")
            .subject_public_key_info();
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_ref());
        let digest = BASE64.encode(digest.as_ref());
        let file = world.path("key.der");
        fs::write(&file, key.as_ref()).expect("the world's directory can be written");
        let (base, ca) = (base(&front), front.ca_file());
        let other = BASE64.encode([0; 32]);
        for right in [
            format!("sha256//{digest}"),
            format!("sha256//{other};sha256//{digest}"),
            file.display().to_string(),
        ] {
            work(world, &base, &ca, &[&format!("http.pinnedPubkey={right}")]);
        }
        let wrong = format!("http.pinnedPubkey=sha256//{other}");
        fail(
            world,
            &base,
            &ca,
            &[&wrong],
            "the server's public key is not listed in http.pinnedPubkey\n",
        );
    });
}

#[test]
fn the_minimum_version_of_tls_is_followed() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let front = front(
            world,
            Options {
                only_tls_1_2: true,
                ..Options::default()
            },
        );
        let (base, ca) = (base(&front), front.ca_file());
        work(world, &base, &ca, &["http.sslVersion=tlsv1.2"]);
        fail(
            world,
            &base,
            &ca,
            &["http.sslVersion=tlsv1.3"],
            "received fatal alert: ProtocolVersion\n",
        );
        work(
            world,
            world.bitbucket.base_url(),
            world.bitbucket.ca_file(),
            &["http.sslVersion=tlsv1.3"],
        );
    });
}

#[test]
fn disabled_certificate_checks_cause_a_warning_each_time() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let front = front(world, Options::default());
        let place = format!("localhost:{}", front.port());
        let ca = world.bitbucket.ca_file();
        let [ours, gits] = both(world, &base(&front), ca, &["http.sslVerify=false"]);
        gits.expect(0);
        let ours = ours.expect(0);
        assert_eq!(
            ours.stderr,
            format!(
                "warning: http.sslVerify disables the certificate check for '{place}': a server that impersonates it gets the token\n"
            )
        );
        let why = "its certificate is not signed by a trusted CA\n";
        fail(world, &base(&front), ca, &[], why);
    });
}

#[test]
fn verification_of_bitbucket_org_is_never_given_up_by_a_setting_for_all() {
    on_every_git(|world| {
        let proxy = Proxy::start(Options {
            refuses: true,
            ..Options::default()
        });
        let proxy = proxy.expect("a proxy starts on loopback");
        let run = |setting: &str| {
            world
                .git(["-c", setting, "ls-remote", "bbtoken::ws/repo"])
                .without("BBTOKEN_BASE_URL")
                .env("https_proxy", format!("127.0.0.1:{}", proxy.port()))
                .fails(128)
        };
        run("http.sslVerify=false").says(&[
            "error: http.sslVerify in the command line would disable certificate checks for bitbucket.org, so that another server could take the token; ",
            "to disable the checks all the same: git config --global http.https://bitbucket.org/.sslVerify false\n",
        ]);
        assert!(proxy.asked().is_empty(), "the helper opened no connection");
        run("http.https://bitbucket.org/.sslVerify=false")
            .says(&["warning: http.https://bitbucket.org/.sslVerify disables the certificate check for 'bitbucket.org': "]);
        assert_eq!(proxy.asked().len(), 2, "the second time for the status");
    });
}

#[test]
fn a_server_is_reached_by_ipv6() {
    for git in gits() {
        let options = Server {
            ipv6: true,
            ..Server::default()
        };
        let world = World::with(git, options);
        world.repository("ws", "repo");
        let base = world.bitbucket.base_url().replace("localhost", "[::1]");
        work(&world, &base, world.bitbucket.ca_file(), &[]);
    }
}

#[test]
fn a_server_that_offers_http_2_alone_is_left_to_gits_own_transport() {
    needs!("curl");
    for git in gits() {
        let options = bitbucket_local::Options {
            http1: false,
            ..bitbucket_local::Options::default()
        };
        let world = World::with(git, options);
        world.repository("ws", "repo");
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let list = || {
            world
                .git(["ls-remote", "-q", "bbtoken::ws/repo"])
                .without_client()
                .env("BBTOKEN_ACCESS_TOKEN", &token)
        };
        let refs = list().done().expect(0).quiet().stdout;
        assert!(refs.contains("refs/heads/main"), "{refs}");
        let asked = world.bitbucket.git_requests();
        assert!(
            asked
                .iter()
                .all(|request| request.http_version == "HTTP/2.0")
        );
        let done = list().env("BBTOKEN_TRANSPORT", "native").fails(128);
        done.says(&[
            "caused by: it offers only HTTP/2, and the native transport needs HTTP/1.1\n",
            "hint: enable HTTP/1.1 on 'localhost' or on the gateway in front of it",
        ]);
        for blamed in ["certificate", "sslCAInfo", "trying again"] {
            assert!(!done.stderr.contains(blamed), "{}", done.stderr);
        }
        // Its token endpoint is asked by curl.
        let list = world.git(["ls-remote", "-q", "bbtoken::ws/repo"]);
        assert_eq!(list.done().expect(0).quiet().stdout, refs);
    }
}
