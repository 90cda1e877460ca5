//! Certificates and handshakes in which TLS libraries differ, compared with git's own https. If the native transport
//! does not support one, git's own transport serves the command. A server that git does not trust stays untrusted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::proxy::{Options, Proxy};

use crate::{
    front::{self, AUTHORITY, Front, Made, Maker, RSA, SERVER, Shown},
    needs::needs,
    support::{Run, World, on_every_git},
};

/// Who carries a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// The native transport.
    Natively,
    /// Git's own transport, where it trusts the server.
    AsGitDoes,
}
use Carried::{AsGitDoes, Natively};

/// One kind of server.
struct Row {
    what: &'static str,
    carried: Carried,
    front: Front,
    trusted: PathBuf,
    settings: Vec<String>,
    host: &'static str,
}

struct Table {
    maker: Maker,
    rows: Vec<Row>,
}

impl Table {
    fn add(&mut self, what: &'static str, carried: Carried, shows: Shown) -> &mut Row {
        let front = Front {
            shows,
            ..Front::default()
        };
        self.rows.push(Row {
            what,
            carried,
            front,
            trusted: self.maker.certificate("root"),
            settings: Vec::new(),
            host: "localhost",
        });
        self.rows.last_mut().expect("it was just added")
    }

    fn made(&mut self, what: &'static str, carried: Carried, made: &Made<'_>) -> &mut Row {
        let name = format!("server-{}", self.rows.len());
        let shows = self.maker.make(&Made {
            name: &name,
            ..*made
        });
        let row = self.add(what, carried, shows);
        if made.issuer.is_none() {
            row.trusted = row.front.shows.chain.clone();
        }
        row
    }
}

/// All that is tried.
fn table(directory: PathBuf) -> Table {
    let server = Made::default;
    let maker = Maker::new(directory);
    maker.authority("between", Some("root"));
    let mut table = Table {
        maker,
        rows: Vec::new(),
    };
    table.made("a certificate as they are", Natively, &server());
    // Certificates.
    let own = Made {
        issuer: None,
        ..server()
    };
    let own_ca = "basicConstraints=critical,CA:TRUE\nsubjectAltName=DNS:localhost\n";
    table.made("its own issuer, and no CA", Natively, &own);
    table.made(
        "its own issuer, and a CA",
        AsGitDoes,
        &Made {
            extensions: own_ca,
            ..own
        },
    );
    let version_1 = Made {
        extensions: "",
        ..server()
    };
    table.made("X.509 version 1", AsGitDoes, &version_1);
    table
        .made("X.509 version 1, not verified", AsGitDoes, &version_1)
        .settings = vec!["http.sslVerify=false".into()];
    table.made(
        "a CA of X.509 version 1 that is its own issuer",
        AsGitDoes,
        &Made {
            issuer: None,
            ..version_1
        },
    );
    table.made(
        "a name in the subject alone",
        AsGitDoes,
        &Made {
            extensions: "basicConstraints=CA:FALSE\n",
            ..server()
        },
    );
    table.made(
        "another name",
        AsGitDoes,
        &Made {
            extensions: "subjectAltName=DNS:other.example\n",
            ..server()
        },
    );
    table.made(
        "an underscore in another name",
        Natively,
        &Made {
            extensions: "subjectAltName=DNS:a_b.example,DNS:localhost\n",
            ..server()
        },
    );
    table.made("an address", Natively, &server()).host = "127.0.0.1";
    table
        .made(
            "an address as a DNS name",
            AsGitDoes,
            &Made {
                extensions: "subjectAltName=DNS:127.0.0.1\n",
                ..server()
            },
        )
        .host = "127.0.0.1";
    table.made(
        "a signature with SHA-1",
        AsGitDoes,
        &Made {
            key: RSA,
            further: &["-sha1"],
            ..server()
        },
    );
    table.made(
        "an RSA key of 1024 bits",
        AsGitDoes,
        &Made {
            key: &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            ..server()
        },
    );
    table.made(
        "a key on P-384",
        Natively,
        &Made {
            key: &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            ..server()
        },
    );
    table.made(
        "a key on P-521",
        AsGitDoes,
        &Made {
            key: &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            ..server()
        },
    );
    table.made(
        "a key of Ed25519",
        Natively,
        &Made {
            key: &["-algorithm", "ED25519"],
            ..server()
        },
    );
    table.made(
        "a key of Ed448",
        AsGitDoes,
        &Made {
            key: &["-algorithm", "ED448"],
            ..server()
        },
    );
    table.made(
        "a key for RSA-PSS alone",
        AsGitDoes,
        &Made {
            key: &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
            ..server()
        },
    );
    table.made(
        "no extended key usage",
        Natively,
        &Made {
            extensions: "subjectAltName=DNS:localhost\n",
            ..server()
        },
    );
    table.made(
        "for clients alone",
        AsGitDoes,
        &Made {
            extensions: "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:localhost\n",
            ..server()
        },
    );
    table.made(
        "for any use",
        AsGitDoes,
        &Made {
            extensions: "extendedKeyUsage=anyExtendedKeyUsage\nsubjectAltName=DNS:localhost\n",
            ..server()
        },
    );
    table.made(
        "a negative serial number",
        Natively,
        &Made {
            further: &["-set_serial", "-5"],
            ..server()
        },
    );
    table.made(
        "a serial number of 0",
        Natively,
        &Made {
            further: &["-set_serial", "0"],
            ..server()
        },
    );
    table.made(
        "an unknown critical extension",
        AsGitDoes,
        &Made {
            extensions: &format!("{SERVER}1.2.3.4=critical,DER:0500\n"),
            ..server()
        },
    );
    table.made(
        "expired",
        AsGitDoes,
        &Made {
            further: &["-days", "-1"],
            ..server()
        },
    );
    // Chains.
    let by_between = Made {
        issuer: Some("between"),
        ..server()
    };
    table.made("an intermediate that is missing", AsGitDoes, &by_between);
    let between = table.maker.certificate("between");
    table
        .made(
            "the intermediate as the only trusted certificate",
            Natively,
            &by_between,
        )
        .trusted = between;
    let both = table.maker.join("both", &["root", "between"]);
    table
        .made(
            "a missing intermediate that is trusted, too",
            Natively,
            &by_between,
        )
        .trusted = both;
    table.maker.make(&Made {
        name: "disordered",
        ..by_between
    });
    let chain = table
        .maker
        .join("disorder", &["disordered", "root", "between", "root"]);
    let key = table.maker.key("disordered");
    table.add("a chain without order", Natively, Shown { chain, key });
    for (name, permitted) in [
        ("permitting", "DNS:localhost"),
        ("excluding", "DNS:example.org"),
    ] {
        table.maker.make(&Made {
            name,
            subject: &format!("/CN=the authority {name}"),
            extensions: &format!("{AUTHORITY}nameConstraints=critical,permitted;{permitted}\n"),
            ..server()
        });
        let leaf = format!("{name}-leaf");
        table.maker.make(&Made {
            name: &leaf,
            issuer: Some(name),
            extensions: "subjectAltName=DNS:localhost\n",
            ..server()
        });
    }
    let chained = |table: &Table, leaf: &str, parts: &[&str]| {
        let chain = table
            .maker
            .join(&format!("{leaf}-chain"), &[&[leaf][..], parts].concat());
        Shown {
            chain,
            key: table.maker.key(leaf),
        }
    };
    let shown = chained(&table, "permitting-leaf", &["permitting"]);
    table.add("a name that its authority may use", Natively, shown);
    let shown = chained(&table, "excluding-leaf", &["excluding"]);
    table.add("a name that its authority may not use", AsGitDoes, shown);
    let mut names = vec!["root".to_owned()];
    for step in 0..8 {
        let name = format!("step-{step}");
        table
            .maker
            .authority(&name, names.last().map(String::as_str));
        names.push(name);
    }
    table.maker.make(&Made {
        name: "far",
        issuer: Some("step-7"),
        ..server()
    });
    let above: Vec<_> = names[1..].iter().rev().map(String::as_str).collect();
    let shown = chained(&table, "far", &above);
    table.add("a long chain", AsGitDoes, shown);
    table
        .made("an authority that is not trusted", AsGitDoes, &server())
        .trusted = table.maker.certificate("step-0");
    // Rustls does not check these; docs/limits.md says so.
    for (what, extensions) in [
        (
            "no use for signatures",
            "keyUsage=keyAgreement\nsubjectAltName=DNS:localhost\n",
        ),
        (
            "an OCSP response promised and none given",
            "tlsfeature=status_request\nsubjectAltName=DNS:localhost\n",
        ),
    ] {
        let made = Made {
            extensions,
            ..server()
        };
        table.made(what, Natively, &made);
    }
    table.maker.make(&Made {
        name: "old-root",
        issuer: None,
        subject: "/CN=the authority old-root",
        extensions: AUTHORITY,
        further: &["-days", "-1"],
        ..server()
    });
    let by_old = Made {
        issuer: Some("old-root"),
        ..server()
    };
    let trusted = table.maker.certificate("old-root");
    table
        .made("an authority that has expired", Natively, &by_old)
        .trusted = trusted;
    // Handshakes.
    let rsa = Made {
        key: RSA,
        ..server()
    };
    for (what, ciphers) in [
        ("RSA key exchange with CBC", "AES128-SHA:@SECLEVEL=0"),
        ("RSA key exchange with GCM", "AES128-GCM-SHA256:@SECLEVEL=0"),
        (
            "finite field Diffie-Hellman",
            "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0",
        ),
        ("CBC alone", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"),
    ] {
        let row = table.made(what, AsGitDoes, &rsa);
        row.front.ciphers = ciphers;
        row.front.max_version = "TLSv1.2";
    }
    table.made("TLS 1.2", Natively, &rsa).front.max_version = "TLSv1.2";
    table.made("TLS 1.1", AsGitDoes, &rsa).front.max_version = "TLSv1.1";
    table.made("TLS 1.0", AsGitDoes, &rsa).front.max_version = "TLSv1";
    table.made("HTTP/2 alone", AsGitDoes, &server()).front.alpn = "h2";
    table
}

/// Prepares git to reach a base URL with what is trusted there.
fn git_at(world: &World, base: &str, trusted: &Path, settings: &[String]) -> Run {
    let none = world.path("no-certificates");
    fs::create_dir_all(&none).expect("the world's directory can be written");
    world
        .git(settings.iter().flat_map(|setting| ["-c", setting]))
        .env("BBTOKEN_BASE_URL", base)
        .env("GIT_SSL_CAINFO", trusted)
        // Else that of the system is trusted, too.
        .env("GIT_SSL_CAPATH", none)
}

#[test]
fn git_serves_a_server_whose_tls_only_git_supports_and_trusts() {
    needs!("node", "openssl", "curl");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let table = table(directory.path().to_owned());
    on_every_git(|world| {
        world.repository("ws", "repo");
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let mut wrong = Vec::new();
        let running = front::start(table.rows.iter().map(|row| &row.front), world);
        for (row, port) in table.rows.iter().zip(&running.ports) {
            let base = format!("https://{}:{port}", row.host);
            let list = |address: &str, setting: String| {
                let _ = fs::remove_dir_all(world.cache());
                git_at(world, &base, &row.trusted, &row.settings)
                    .args(["-c", &setting, "ls-remote", address])
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &token)
                    .env("BBTOKEN_TRACE", "1")
                    .done()
            };
            let gits = list(&format!("{base}/ws/repo.git"), world.with_header(&token));
            let ours = list("bbtoken::ws/repo", "core.x=y".into());
            let is_handed_over = ours.stderr.contains(" hand-over ");
            let is_right = match (row.carried, gits.code) {
                (Natively, _) => ours.code == Some(0) && !is_handed_over,
                (AsGitDoes, Some(0)) => ours.code == Some(0) && is_handed_over,
                // Ours is the only message then.
                (AsGitDoes, _) => {
                    ours.code == Some(128)
                        && !is_handed_over
                        && ours.stderr.matches("error:").count() == 1
                        && ours.stderr.contains("caused by: ")
                }
            };
            if !is_right || ours.stdout != gits.stdout && gits.code == Some(0) {
                wrong.push(format!(
                    "{}: {:?} {}\nbeside git's {:?} {}",
                    row.what, ours.code, ours.stderr, gits.code, gits.stderr
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert_eq!(table.rows.len(), 44, "all of them were tried");
    });
}

/// A server that only git's TLS reaches: what is shown, spoken, and trusted.
fn servers_of_git(maker: &Maker) -> [(&'static str, Front, PathBuf); 3] {
    let server = Made::default;
    let own_ca = maker.make(&Made {
        name: "own-ca",
        issuer: None,
        extensions: "basicConstraints=critical,CA:TRUE\nsubjectAltName=DNS:localhost\n",
        ..server()
    });
    let version_1 = maker.make(&Made {
        name: "version-1",
        extensions: "",
        ..server()
    });
    let rsa = maker.make(&Made {
        name: "rsa",
        key: RSA,
        ..server()
    });
    let root = maker.certificate("root");
    let front = |shows: &Shown| Front {
        shows: shows.clone(),
        ..Front::default()
    };
    [
        (
            "its certificate is a CA certificate, not a server certificate",
            front(&own_ca),
            own_ca.chain.clone(),
        ),
        (
            "its certificate is not an X.509 version 3 certificate",
            front(&version_1),
            root.clone(),
        ),
        (
            "received fatal alert: HandshakeFailure",
            Front {
                ciphers: "AES128-GCM-SHA256:@SECLEVEL=0",
                max_version: "TLSv1.2",
                ..front(&rsa)
            },
            root,
        ),
    ]
}

#[test]
fn a_server_of_gits_tls_is_used_in_full_and_remembered_for_a_day() {
    needs!("node", "openssl", "curl");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let maker = Maker::new(directory.path().to_owned());
    let servers = servers_of_git(&maker);
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (why, front, trusted) in &servers {
            let running = front.start(world);
            let base = format!("https://localhost:{}", running.ports[0]);
            let tree = world.path("tree");
            let _ = (fs::remove_dir_all(world.cache()), fs::remove_dir_all(&tree));
            world.bitbucket.clear_requests();
            let git = || git_at(world, &base, trusted, &[]);
            git()
                .args(["clone", "-q", "bbtoken::ws/repo", "tree"])
                .done()
                .expect(0)
                .quiet();
            assert_eq!(
                world.bitbucket.token_requests().len(),
                1,
                "curl asks for the token: {why}"
            );
            world.commit(&tree, "file", why);
            git()
                .args(["push", "-q"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet();
            assert_eq!(
                world.bitbucket.token_requests().len(),
                1,
                "it is cached: {why}"
            );
            let agents = world.bitbucket.git_requests().into_iter();
            assert!(
                agents
                    .filter_map(|it| it.user_agent)
                    .all(|it| !it.contains("bbtoken")),
                "no request goes past the TLS that failed: {why}"
            );

            let trace = || {
                let list = git().args(["ls-remote", "bbtoken::ws/repo"]);
                let done = list.env("BBTOKEN_TRACE", "1").done().expect(0);
                assert!(
                    done.stderr.contains(&format!("because={why}")),
                    "{}",
                    done.stderr
                );
                done.stderr
            };
            assert!(!trace().contains(" reach"), "it is remembered: {why}");
            let kept = fs::read_dir(world.cache().join("by-git")).expect("it is kept");
            let files: Vec<_> = kept.flatten().map(|file| file.path()).collect();
            let [file] = &files[..] else {
                panic!("one server has one file: {files:?}")
            };
            let text = fs::read_to_string(file).expect("it is there");
            let learned = text
                .split("\"learned_unix_s\":")
                .nth(1)
                .expect("it says when");
            let learned = learned.split(',').next().expect("it is a number");
            let day_before = learned.parse::<u64>().expect("it is a number") - 24 * 3600;
            fs::write(file, text.replace(learned, &day_before.to_string())).expect("it is ours");
            assert!(
                trace().contains(" reach"),
                "it is tried again after a day: {why}"
            );

            let doctor = world
                .bbtoken(["doctor"])
                .env("BBTOKEN_BASE_URL", &base)
                .env("GIT_SSL_CAINFO", trusted)
                .env("GIT_SSL_CAPATH", world.path("no-certificates"))
                .done();
            let expected = format!(
                "the native transport does not support the TLS of 'localhost', so git's own transport and curl are used: {why}"
            );
            assert!(doctor.stdout.contains(&expected), "{doctor:?}");

            let native = git()
                .args(["ls-remote", "bbtoken::ws/repo"])
                .env("BBTOKEN_TRANSPORT", "native");
            native.fails(128).says(&[&format!("caused by: {why}\n")]);
        }
    });
}

#[test]
fn a_server_that_renegotiates_for_a_certificate_of_ours_gets_it() {
    needs!("node", "openssl", "curl");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let maker = Maker::new(directory.path().to_owned());
    let front = Front {
        shows: maker.make(&Made::default()),
        max_version: "TLSv1.2",
        wants_client_of: Some(maker.certificate("root")),
        ..Front::default()
    };
    let own = maker.make(&Made {
        name: "client",
        subject: "/CN=a client",
        extensions: "extendedKeyUsage=clientAuth\n",
        ..Made::default()
    });
    let settings = [
        format!("http.sslCert={}", own.chain.display()),
        format!("http.sslKey={}", own.key.display()),
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        let running = front.start(world);
        let base = format!("https://localhost:{}", running.ports[0]);
        let git = |settings| git_at(world, &base, &maker.certificate("root"), settings);
        git(&settings)
            .args(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        let tree = world.path("tree");
        world.commit(&tree, "file", "two\n");
        git(&settings)
            .args(["push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        let _ = fs::remove_dir_all(world.cache().join("by-git"));
        git(&[])
            .args(["ls-remote", "bbtoken::ws/repo"])
            .fails(128)
            .says(&["caused by: "]);
    });
}

/// Tells whether git's https uses GnuTLS, as Debian's git does.
fn uses_gnutls(world: &World) -> bool {
    let programs = world.git(["--exec-path"]).ok();
    let https = Path::new(programs.trim_end()).join("git-remote-https");
    let libraries = world.run(Path::new("ldd"), [&https]).ok();
    libraries.contains("libcurl-gnutls")
}

#[test]
fn a_token_server_that_curl_refuses_is_reported_with_curls_reason_and_a_provided_token_works() {
    needs!("node", "openssl", "curl");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let maker = Maker::new(directory.path().to_owned());
    let short_key = maker.make(&Made {
        name: "short",
        key: &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        ..Made::default()
    });
    let for_clients = maker.make(&Made {
        name: "for-clients",
        extensions: "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:localhost\n",
        ..Made::default()
    });
    let names: String = (0..4500)
        .map(|number| format!(",DNS:server-{number:05}.example.org"))
        .collect();
    let large = maker.make(&Made {
        name: "large",
        extensions: &format!("subjectAltName=DNS:localhost{names}\n"),
        ..Made::default()
    });
    let usual = maker.make(&Made {
        key: RSA,
        ..Made::default()
    });
    let trusted = maker.certificate("root");
    let servers = [
        (&short_key, "", "EE certificate key too weak"),
        (&for_clients, "", "unsuitable certificate purpose"),
        (&large, "", "excessive message size"),
        (&usual, "TLSv1.1", "SSL routines"),
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        let mut told = 0;
        let token = world.bitbucket.issue_access_token(&["repository"]);
        for (shows, max_version, why) in servers {
            let front = Front {
                shows: shows.clone(),
                max_version,
                ciphers: "DEFAULT:@SECLEVEL=0",
                ..Front::default()
            };
            let running = front.start(world);
            let base = format!("https://localhost:{}", running.ports[0]);
            let list = |address: &str, setting: String| {
                let settings = [setting];
                git_at(world, &base, &trusted, &settings).args(["ls-remote", address])
            };
            let _ = fs::remove_dir_all(world.cache());
            let gits = list(&format!("{base}/ws/repo.git"), world.with_header(&token));
            let gits = gits.done();
            let ours = list("bbtoken::ws/repo", "core.x=y".into()).done();
            // It is git's TLS library that decides.
            if gits.code == Some(0) {
                told += 1;
                let done = ours.expect(128);
                done.says(&[
                    "caused by: cannot make a secure connection to 'localhost'\ncaused by: ",
                    "\ncaused by: curl says: curl: (",
                    why,
                    "if git accepts the server, set BBTOKEN_ACCESS_TOKEN to an access token",
                ]);
                let with_token = list("bbtoken::ws/repo", "core.x=y".into());
                let with_token = with_token
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &token);
                assert_eq!(with_token.done().expect(0).stdout, gits.stdout);
            }
        }
        assert!(
            told > 0 || !uses_gnutls(world),
            "GnuTLS accepts one of them"
        );
    });
}

#[test]
fn a_proxy_of_gits_tls_is_passed_by_git_and_curl() {
    needs!("node", "openssl", "curl");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let maker = Maker::new(directory.path().to_owned());
    let servers = servers_of_git(&maker);
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (why, front, trusted) in &servers {
            let _ = fs::remove_dir_all(world.cache());
            world.bitbucket.clear_requests();
            let proxy = Proxy::start(Options::default()).expect("it starts on loopback");
            let front = Front {
                before_proxy: Some(proxy.port()),
                ..front.clone()
            };
            let running = front.start(world);
            let settings = [
                format!("http.proxy=https://localhost:{}", running.ports[0]),
                format!("http.proxySSLCAInfo={}", trusted.display()),
            ];
            world
                .git(settings.iter().flat_map(|setting| ["-c", setting]))
                .args(["ls-remote", "bbtoken::ws/repo"])
                .done()
                .expect(0)
                .quiet();
            assert_eq!(world.bitbucket.token_requests().len(), 1, "{why}");
            let asked = proxy.asked();
            assert!(
                asked.iter().all(|asked| asked.connected) && asked.len() > 1,
                "{why}"
            );
        }
    });
}
