//! Real proxies between the helper and Bitbucket, compared with git's own https.

use std::{fs, thread, time::Duration};
#[cfg(unix)]
use std::{
    io,
    net::{Shutdown, TcpStream},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
};

use bitbucket_local::proxy::{Asked, Options, Proxy, Speaks};

use crate::{
    needs::needs,
    support::{Done, World, gits, on_every_git, put_program},
};

const ANN: (&str, &str) = ("ann", "pass word");

fn proxy(options: Options) -> Proxy {
    Proxy::start(options).expect("a proxy starts on loopback")
}

fn login() -> Option<(String, String)> {
    Some((ANN.0.to_owned(), ANN.1.to_owned()))
}

/// Lists refs through the helper and through git's https, with a setting; without a token in the cache.
fn both(world: &World, settings: &[&str]) -> [Done; 2] {
    let _ = fs::remove_dir_all(world.cache());
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let run = |address: &str, setting: &str| {
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        world
            .git(settings)
            .args(["-c", setting, "ls-remote", address])
            .done()
    };
    [
        run("bbtoken::ws/repo", "core.x=y"),
        run(&https, &world.with_header(&token)),
    ]
}

/// Expects that both worked and gives what the proxy was asked for by us.
#[track_caller]
fn work(world: &World, proxy: &Proxy, settings: &[&str]) -> Vec<Asked> {
    let [ours, gits] = both(world, settings);
    let refs = ours.expect(0).quiet().stdout;
    assert_eq!(refs, gits.expect(0).stdout);
    assert!(refs.contains("refs/heads/main"));
    let asked = proxy.asked();
    let connected = asked.iter().filter(|asked| asked.connected).count();
    assert!(connected >= 2, "each went through the proxy: {asked:?}");
    asked
}

fn host(world: &World) -> String {
    world.bitbucket.base_url().replace("https://", "")
}

/// Expects that a proxy got nothing that was meant for the server.
fn got_no_secret(world: &World, asked: &[Asked]) {
    for asked in asked {
        let said = String::from_utf8_lossy(&asked.said);
        for line in said.lines() {
            assert!(
                !line.to_ascii_lowercase().starts_with("authorization"),
                "{said}"
            );
        }
        assert!(
            !said.contains(&world.consumer.secret[..20]) && said.len() < 1000,
            "{said}"
        );
    }
}

#[test]
fn an_http_proxy_connects_us_and_gets_no_token() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options::default());
        let asked = work(
            world,
            &proxy,
            &[&format!("http.proxy=http://127.0.0.1:{}", proxy.port())],
        );
        got_no_secret(world, &asked);
        let said = String::from_utf8_lossy(&asked[0].said).into_owned();
        assert!(
            said.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", host(world))),
            "{said}"
        );
    });
}

#[test]
fn a_proxys_password_is_taken_from_its_address() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            login: login(),
            ..Options::default()
        });
        let port = proxy.port();
        let asked = work(
            world,
            &proxy,
            &[&format!(
                "http.proxy=http://ann:pass%20word@127.0.0.1:{port}"
            )],
        );
        got_no_secret(world, &asked);
    });
}

/// A credential helper that knows a password, and notes its input.
pub(crate) fn helper(world: &World, password: &str) -> String {
    let script = world.path("helper");
    let log = world.path("helper.log");
    let text = format!(
        "#!/bin/sh\n{{ echo \"- $1\"; cat; }} >>'{}'\n[ \"$1\" != get ] || printf 'username=ann\\npassword={password}\\n'\n",
        log.display()
    );
    fs::write(&script, text).expect("the world's directory can be written");
    format!("credential.helper=!sh '{}'", script.display())
}

#[test]
fn the_helper_asks_for_a_proxys_password_as_git_does() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            login: login(),
            ..Options::default()
        });
        let port = proxy.port();
        let helper = helper(world, "pass word");
        let log = world.path("helper.log");
        for user in ["ann@", "%61nn@", ""] {
            let setting = format!("http.proxy=http://{user}127.0.0.1:{port}");
            let [ours, _] = both(world, &[&setting, &helper]);
            ours.expect(0).quiet();
            let said = fs::read_to_string(&log).expect("the helper was asked");
            let place = format!("protocol=http\nhost=127.0.0.1:{port}\n");
            assert!(
                said.starts_with("- get\n") && said.contains(&place),
                "{said}"
            );
            let asked = said.split("- store\n").next().unwrap_or_default();
            let is_named = asked.contains("username=ann\n");
            assert_eq!(is_named, !user.is_empty(), "{said}");
            let stored = said
                .split("- store\n")
                .nth(1)
                .expect("git reports that the password is right");
            assert!(
                stored.contains("username=ann\npassword=pass word\n"),
                "{said}"
            );
            assert!(!said.contains("bitbucket"), "{said}");
            fs::remove_file(&log).expect("it is there");
        }
        got_no_secret(world, &proxy.asked());
    });
}

#[test]
fn a_wrong_proxy_password_is_reported_and_removed() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            login: login(),
            ..Options::default()
        });
        let place = format!("127.0.0.1:{}", proxy.port());
        let helper = helper(world, "wrong");
        let [ours, gits] = both(world, &[&format!("http.proxy=http://{place}"), &helper]);
        gits.expect(128);
        let ours = ours.expect(128);
        ours.says(&[
            &format!("caused by: cannot connect to 'localhost' through proxy '{place}' (http.proxy in the command line)\n"),
            "caused by: the proxy wants another user name and password",
        ]);
        let said = fs::read_to_string(world.path("helper.log")).expect("the helper was asked");
        assert!(said.contains("- erase\n"), "{said}");
        assert!(world.bitbucket.requests().is_empty());
    });
}

#[test]
fn without_a_terminal_a_missing_proxy_login_is_an_error() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            login: login(),
            ..Options::default()
        });
        let [ours, gits] = both(
            world,
            &[&format!("http.proxy=http://127.0.0.1:{}", proxy.port())],
        );
        gits.expect(128);
        ours.expect(128).says(&[
            "caused by: the proxy wants a user name and password, and git has none for it\n",
        ]);
    });
}

#[test]
fn a_socks_proxy_resolves_names_where_the_setting_says() {
    needs!("curl");
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (speaks, scheme, login_in_url, login, resolved_there) in [
            (Speaks::Socks4, "socks4", "", None, false),
            (Speaks::Socks4, "socks", "", None, false),
            (Speaks::Socks4, "socks4a", "", None, true),
            (Speaks::Socks4, "socks4a", "ann:x@", login(), true),
            (Speaks::Socks5, "socks5", "", None, false),
            (Speaks::Socks5, "socks5h", "", None, true),
            (Speaks::Socks5, "socks5h", "ann:pass%20word@", login(), true),
        ] {
            for (ipv6, host) in [(false, "127.0.0.1"), (true, "[::1]")] {
                let proxy = proxy(Options {
                    speaks,
                    login: login.clone(),
                    ipv6,
                    ..Options::default()
                });
                let setting = format!(
                    "http.proxy={scheme}://{login_in_url}{host}:{}",
                    proxy.port()
                );
                let asked = work(world, &proxy, &[&setting]);
                for asked in &asked {
                    assert_eq!(
                        asked.target.starts_with("localhost:"),
                        resolved_there,
                        "{scheme} {}",
                        asked.target
                    );
                }
                got_no_secret(world, &asked);
            }
        }
    });
}

#[test]
fn an_http_proxy_is_reached_on_ipv6() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            ipv6: true,
            login: login(),
            ..Options::default()
        });
        for scheme in ["http://", ""] {
            let setting = format!("http.proxy={scheme}ann:pass%20word@[::1]:{}", proxy.port());
            got_no_secret(world, &work(world, &proxy, &[&setting]));
        }
    });
}

#[test]
fn a_socks_proxy_that_refuses_is_named() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for options in [
            Options {
                speaks: Speaks::Socks5,
                login: login(),
                ..Options::default()
            },
            Options {
                speaks: Speaks::Socks5,
                refuses: true,
                ..Options::default()
            },
        ] {
            let proxy = proxy(options);
            let place = format!("127.0.0.1:{}", proxy.port());
            let [ours, gits] = both(world, &[&format!("http.proxy=socks5h://ann:x@{place}")]);
            gits.expect(128);
            ours.expect(128).says(&[&format!(
                "through proxy '{place}' (http.proxy in the command line)\n"
            )]);
        }
    });
}

#[test]
fn a_proxy_behind_tls_is_trusted_by_its_own_authority() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            speaks: Speaks::Https,
            login: login(),
            ..Options::default()
        });
        let setting = format!(
            "http.proxy=https://ann:pass%20word@127.0.0.1:{}",
            proxy.port()
        );
        let ca = format!("http.proxySSLCAInfo={}", proxy.ca_file().display());
        let asked = work(world, &proxy, &[&setting, &ca]);
        got_no_secret(world, &asked);
        let [ours, gits] = both(world, &[&setting]);
        gits.expect(128);
        ours.expect(128)
            .says(&["its certificate is not signed by a trusted CA\n"]);
    });
}

#[test]
fn a_proxy_that_opens_what_passes_is_trusted_by_a_setting_alone() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let server = host(world).replace("localhost", "127.0.0.1");
        let opens = Some((server, world.bitbucket.ca_file().to_owned()));
        let proxy = proxy(Options {
            opens,
            ..Options::default()
        });
        let setting = format!("http.proxy=http://127.0.0.1:{}", proxy.port());
        let run = |ca: &std::path::Path| {
            let _ = fs::remove_dir_all(world.cache());
            world
                .git(["-c", &setting, "ls-remote", "bbtoken::ws/repo"])
                .without("GIT_SSL_CAINFO")
                .env("GIT_SSL_CAINFO", ca)
                .done()
        };
        run(&proxy.ca_file()).expect(0).quiet();
        run(world.bitbucket.ca_file()).expect(128).says(&[
            "caused by: cannot make a secure connection to 'localhost' through proxy '127.0.0.1:",
            "caused by: its certificate is not signed by a trusted CA\n",
            "hint: if a network proxy replaces the certificate of 'localhost', set http.sslCAInfo",
        ]);
    });
}

#[test]
fn a_proxy_that_refuses_or_is_dead_is_named_with_the_setting_it_comes_from() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            refuses: true,
            ..Options::default()
        });
        let place = format!("127.0.0.1:{}", proxy.port());
        let [ours, gits] = both(world, &[&format!("http.proxy={place}")]);
        gits.expect(128);
        ours.expect(128).says(&[
            &format!("caused by: cannot connect to 'localhost' through proxy '{place}' (http.proxy in the command line)\n"),
            "caused by: the proxy refused to connect to the server: it answered 403\n",
        ]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let place = listener.local_addr().expect("it has one").to_string();
        drop(listener);
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (variable, scheme) in [("https_proxy", "http"), ("all_proxy", "socks5h")] {
            world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env(variable, format!("{scheme}://{place}"))
                .fails(128)
                .says(&[&format!(
                    "cannot connect to 'localhost' through proxy '{place}' ({variable})\n"
                )]);
        }
        assert!(!world.bitbucket.requests().is_empty());
    });
}

#[test]
fn a_remotes_own_proxy_wins_and_an_empty_one_is_none() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        let proxy = proxy(Options::default());
        let dead = Options {
            refuses: true,
            ..Options::default()
        };
        let other = Proxy::start(dead).expect("a proxy starts on loopback");
        world
            .git(["config", "--global", "http.proxy"])
            .arg(format!("127.0.0.1:{}", other.port()))
            .ok();
        world.git(["fetch", "-q"]).within(&tree).fails(128);
        world
            .git(["config", "remote.origin.proxy"])
            .arg(format!("127.0.0.1:{}", proxy.port()))
            .within(&tree)
            .ok();
        world.fetch(&tree);
        assert_eq!(proxy.asked().len(), 1);
        world
            .git(["config", "remote.origin.proxy", ""])
            .within(&tree)
            .ok();
        world.fetch(&tree);
        assert_eq!(proxy.asked().len(), 1, "there was none");
    });
}

/// Lists of hosts without a proxy, of the forms that people write.
const EXEMPT: [&str; 31] = [
    "",
    ",",
    "*",
    "**",
    "*,x",
    "x,*",
    "localhost",
    "LOCALHOST",
    "localhost.",
    ".localhost",
    "*.localhost",
    "local",
    "host",
    "x,localhost",
    "x, localhost",
    "x,,localhost",
    " localhost ",
    "x;localhost",
    "127.0.0.1",
    "127.0.0.2",
    "127.0.0.0/8",
    "127.0.0.0/31",
    "127.0.0.1/32",
    "0.0.0.0/0",
    "127.0.0.1/33",
    "127.0.0",
    ".0.0.1",
    "::1",
    "[::1]",
    "::/0",
    "::1/128",
];

#[test]
fn hosts_that_are_exempt_are_reached_directly_as_by_git() {
    let world = World::new(crate::support::gits().remove(0));
    world.repository("ws", "repo");
    // The proxy wants a password that git does not have. So git and the helper connect to it only once.
    let proxy = proxy(Options {
        login: Some(("user".into(), "password".into())),
        ..Options::default()
    });
    let base = world.bitbucket.base_url();
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let port = base.rsplit(':').next().expect("it has a port");
    let (mut exempt, mut differ) = (0, Vec::new());
    for host in ["localhost", "127.0.0.1", "127.0.0.2", "[::1]"] {
        let base = format!("https://{host}:{port}");
        let with_port = [format!("{host}:{port}"), format!("x,{host}")];
        let lists = EXEMPT
            .into_iter()
            .chain(with_port.iter().map(String::as_str));
        for (number, list) in lists.enumerate() {
            // By whether the proxy is asked, since not every host answers.
            let through = |address: &str, setting: &str| {
                let before = proxy.asked().len();
                let variable = if number % 2 == 0 {
                    "no_proxy"
                } else {
                    "NO_PROXY"
                };
                world
                    .git(["-c", setting, "ls-remote", address])
                    .without_client()
                    .env("BBTOKEN_ACCESS_TOKEN", &token)
                    .env("BBTOKEN_BASE_URL", &base)
                    .env("https_proxy", format!("127.0.0.1:{}", proxy.port()))
                    .env(variable, list)
                    .done();
                proxy.asked().len() > before
            };
            let ours = through("bbtoken::ws/repo", "core.x=y");
            let gits = through(&format!("{base}/ws/repo.git"), &world.with_header(&token));
            // libcurl compares IPv6 addresses as text, whatever its manual says; `[::1]` and `::1/128` mean something.
            let is_meant = host == "[::1]" && list.contains("::1") && !ours;
            if ours != gits && !is_meant {
                differ.push(format!("'{list}' for {host}: git's proxy is asked: {gits}"));
            }
            exempt += usize::from(!gits);
        }
    }
    assert_eq!(differ, Vec::<String>::new());
    assert!((20..100).contains(&exempt), "{exempt} of 132");
}

/// Lets a proxy be reached by a socket at a path, too.
#[cfg(unix)]
fn on_socket(proxy: &Proxy, path: &Path) {
    let listener = UnixListener::bind(path).expect("the path is free");
    let port = proxy.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let proxy = TcpStream::connect(("127.0.0.1", port)).expect("it is there");
            let (client, proxy) = (Arc::new(client), Arc::new(proxy));
            let (to_client, from_proxy) = (Arc::clone(&client), Arc::clone(&proxy));
            // The first side that ends also ends the other one.
            thread::spawn(move || {
                let _ = io::copy(&mut &*client, &mut &*proxy);
                let _ = proxy.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = io::copy(&mut &*from_proxy, &mut &*to_client);
                let _ = to_client.shutdown(Shutdown::Write);
            });
        }
    });
}

/// Asks for a token that nothing has kept.
#[cfg(unix)]
fn manage_without_token(world: &World, setting: &str) -> Done {
    fs::remove_dir_all(world.cache()).expect("it is there");
    world.git(["-c", setting, "bbtoken", "token"]).done()
}

/// Since this version git hands such a proxy on to libcurl.
#[cfg(unix)]
const PROXIES_ON_SOCKETS: (u32, u32) = (2, 47);

#[cfg(unix)]
#[test]
fn a_proxy_on_a_unix_socket_is_used_by_git_and_never_bypassed() {
    needs!("curl");
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            speaks: Speaks::Socks5,
            ..Options::default()
        });
        let socket = world.path("socket");
        on_socket(&proxy, &socket);
        let setting = format!("http.proxy=socks5h://localhost{}", socket.display());
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let https = world.bitbucket.repository_url("ws", "repo");
        let list = |address: &str, header: &str| {
            world
                .git(["-c", &setting, "-c", header, "ls-remote", address])
                .without_client()
                .env("BBTOKEN_ACCESS_TOKEN", &token)
                .done()
        };
        let ours = list("bbtoken::ws/repo", "core.x=y");
        let gits = list(&https, &world.with_header(&token));
        assert_eq!((ours.code, &ours.stdout), (gits.code, &gits.stdout));
        let is_known = world.git.version >= PROXIES_ON_SOCKETS;
        assert_eq!(ours.code == Some(0), is_known, "{}", ours.stderr);
        let asked = proxy.asked();
        assert_eq!(asked.len(), if is_known { 2 } else { 0 });
        got_no_secret(world, &asked);

        // A token is asked for by curl, whatever git can do.
        let token = world.git(["-c", &setting, "bbtoken", "token"]).ok();
        assert!(token.len() > 1000, "it is one");
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        let asked = proxy.asked().split_off(asked.len());
        assert!(matches!(&asked[..], [asked] if asked.connected));
        got_no_secret(world, &asked);

        world.bitbucket.clear_requests();
        let nowhere = world.path("nowhere");
        let nowhere = format!("http.proxy=socks5h://localhost{}", nowhere.display());
        let done = manage_without_token(world, &nowhere);
        assert_eq!(done.code, Some(6));
        let through = |setting: &str| {
            let place = setting.rsplit_once("//").expect("it is an address").1;
            format!("through proxy '{place}' (http.proxy in the command line)\n")
        };
        done.says(&[
            "caused by: cannot connect to 'localhost' ",
            &through(&nowhere),
            "caused by: curl says: ",
        ]);
        let native = world
            .git(["-c", &setting, "ls-remote", "bbtoken::ws/repo"])
            .env("BBTOKEN_TRANSPORT", "native")
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .without_client()
            .fails(128);
        native.says(&[
            &through(&setting),
            "caused by: only git's own transport supports a proxy on a Unix socket\n",
        ]);
        assert!(
            world.bitbucket.requests().is_empty(),
            "the helper does not bypass the proxy"
        );
    });
}

#[cfg(unix)]
#[test]
fn no_program_asks_for_a_proxy_s_password_where_questions_are_forbidden() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let login = Some(("ann".to_owned(), "pass".to_owned()));
        let options = Options {
            login,
            ..Options::default()
        };
        let proxy = Proxy::start(options).expect("a proxy starts on loopback");
        let url = format!("http://ann@127.0.0.1:{}", proxy.port());
        world.git(["config", "--global", "http.proxy", &url]).ok();
        let asked = world.path("asked");
        let program = world.path("ask");
        let text = format!("#!/bin/sh\necho x >>'{}'\necho pass\n", asked.display());
        put_program(&program, text);
        let list = |transport: &str| {
            world
                .git(["-c", &format!("bbtoken.transport={transport}")])
                .args(["ls-remote", "bbtoken::ws/repo"])
                .env("GIT_ASKPASS", &program)
        };
        for transport in ["native", "git"] {
            list(transport).fails(128);
            let never = ["config", "--global", "credential.interactive", "never"];
            world.git(never).ok();
            list(transport).without("GIT_TERMINAL_PROMPT").fails(128);
            assert!(!asked.exists(), "no program asks: {transport}");
            let unset = ["config", "--global", "--unset", "credential.interactive"];
            world.git(unset).ok();
            list(transport).without("GIT_TERMINAL_PROMPT").ok();
            assert!(
                asked.exists(),
                "the program asks if questions are allowed: {transport}"
            );
            std::fs::remove_file(&asked).expect("it is there");
        }
    });
}

#[test]
fn a_proxy_with_a_scheme_that_git_lacks_is_reported_with_the_scheme() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let proxy = proxy(Options {
            login: login(),
            scheme: Some("Bearer".to_owned()),
            ..Options::default()
        });
        let token = world.bitbucket.issue_access_token(&["repository"]);
        for user in ["", "ann:x@"] {
            let setting = format!("http.proxy=http://{user}127.0.0.1:{}", proxy.port());
            let list = || world.git(["-c", &setting, "ls-remote", "bbtoken::ws/repo"]);
            let with_token = list().without_client().env("BBTOKEN_ACCESS_TOKEN", &token);
            for run in [list(), with_token] {
                let done = run.fails(128);
                done.says(&[
                    "caused by: the proxy accepts only bearer, which git does not support; ask its administrator for Basic, Digest, NTLM or Negotiate\n",
                ]);
                for wrong in [
                    "put the user name",
                    "git's own transport",
                    "another user name",
                ] {
                    assert!(!done.stderr.contains(wrong), "{}", done.stderr);
                }
            }
        }
    });
}

#[test]
fn a_proxy_has_more_time_to_connect_than_a_dead_network() {
    let git = gits().into_iter().last().expect("there is one");
    let world = World::new(git);
    world.repository("ws", "repo");
    // Without a proxy that accepts connections, the helper gives up after 15 seconds.
    let proxy = proxy(Options {
        takes: Duration::from_secs(17),
        ..Options::default()
    });
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let header = world.with_header(&token);
    let setting = format!("http.proxy=http://127.0.0.1:{}", proxy.port());
    let list = |address: &str, header: &str| {
        let run = world.git(["-c", &setting, "-c", header, "ls-remote", address]);
        run.without_client()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .done()
            .expect(0)
            .stdout
    };
    let (ours, gits) = thread::scope(|scope| {
        let gits = scope.spawn(|| list(&https, &header));
        let ours = list("bbtoken::ws/repo", "core.x=y");
        (ours, gits.join().expect("git works"))
    });
    assert_eq!(ours, gits, "the helper is as patient as git");
    assert!(ours.contains("refs/heads/main"), "{ours}");
}

#[test]
fn a_proxy_that_refuses_connect_for_good_is_named_without_a_retry() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (status, is_repeated) in [
            (401, false),
            (403, false),
            (404, false),
            (407, false),
            (502, true),
        ] {
            let proxy = proxy(Options {
                fails_with: vec![status; 20],
                ..Options::default()
            });
            let place = format!("127.0.0.1:{}", proxy.port());
            let done = world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env("https_proxy", &place)
                .fails(128);
            let told =
                format!("cannot connect to 'localhost' through proxy '{place}' (https_proxy)\n");
            done.says(&[&told, "caused by: the proxy "]);
            if status != 407 {
                done.says(&[&format!("it answered {status}\n")]);
            }
            assert_eq!(
                done.stderr.contains("trying again"),
                is_repeated,
                "{}",
                done.stderr
            );
            let most = if is_repeated { 5 } else { 2 };
            assert!(
                (1..=most).contains(&proxy.asked().len()),
                "{status}: {:?}",
                proxy.asked()
            );
        }
    });
}

#[test]
fn a_proxy_that_refuses_a_known_user_is_named_with_its_status_without_a_retry() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (status, is_repeated) in [(400, false), (401, false), (403, false), (502, true)] {
            let proxy = proxy(Options {
                login: login(),
                fails_with: vec![status; 20],
                ..Options::default()
            });
            let place = format!("127.0.0.1:{}", proxy.port());
            let done = world
                .git(["ls-remote", "bbtoken::ws/repo"])
                .env("https_proxy", format!("http://ann:pass%20word@{place}"))
                .fails(128);
            done.says(&[&format!("it answered {status}\n")]);
            let has_retried = done.stderr.contains("trying again");
            assert_eq!(has_retried, is_repeated, "{}", done.stderr);
        }
    });
}

#[test]
fn a_proxy_that_connects_in_a_way_only_curl_accepts_is_used_by_git_and_curl() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let long = format!("X-Filler: {}\r\n", "0".repeat(400)).repeat(60);
        for (status, head) in [(201, ""), (204, ""), (200, long.as_str())] {
            let proxy = proxy(Options {
                fails_with: vec![status; 20],
                head: head.to_owned(),
                ..Options::default()
            });
            let setting = format!("http.proxy=http://127.0.0.1:{}", proxy.port());
            let [ours, gits] = both(world, &[&setting]);
            let gits = gits.expect(0);
            assert_eq!(ours.expect(0).stdout, gits.stdout, "{status}");
        }
    });
}
