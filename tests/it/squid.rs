//! squid, a usual proxy of companies. It accepts only NTLM, with squid's own `ntlm_fake_auth`, or only Kerberos, with a
//! real key distribution center.

use std::{
    fs,
    io::{BufRead as _, BufReader, Seek as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    needs::needs,
    proxies::helper,
    support::{Done, World, on_every_git},
};

const NTLM: &str = "ntlm /usr/lib/squid/ntlm_fake_auth";

/// A port that was free a moment ago, for programs that take none but one that is named.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// A running squid; dropping it ends it.
struct Squid {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Squid {
    /// Starts it on a port that was free a moment ago; it takes none that is not named. `scheme` is its
    /// authentication scheme, with the program that checks it.
    fn start(world: &World, scheme: &str, environment: &[(&str, PathBuf)]) -> Self {
        (0..5)
            .find_map(|_| Squid::try_start(world, scheme, environment))
            .expect("squid starts; it is in Debian's package squid")
    }

    fn try_start(world: &World, scheme: &str, environment: &[(&str, PathBuf)]) -> Option<Self> {
        // Root's squid is another user, who must get as far as the log.
        let directory = world.path("squid");
        fs::create_dir_all(&directory).expect("the world can be written");
        for (path, mode) in [(world.path(""), 0o755), (directory.clone(), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is the test's");
        }
        let port = free_port();
        let (name, program) = scheme.split_once(' ').expect("a program follows");
        let log = directory.join("access.log");
        let configuration = directory.join("squid.conf");
        let text = format!(
            "http_port 127.0.0.1:{port}\n\
             auth_param {name} program {program}\nauth_param {name} children 2\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n\
             logformat whole %ru %>Hs %un %>h\naccess_log stdio:{} whole\n\
             cache_log /dev/null\npid_filename none\ncache deny all\nshutdown_lifetime 0 seconds\n\
             pinger_enable off\nmax_filedescriptors 256\n",
            log.display()
        );
        fs::write(&configuration, text).expect("the world can be written");
        let mut child = Command::new("/usr/sbin/squid")
            .args(["-N", "-d", "1", "-n", &format!("test{port}"), "-f"])
            .arg(&configuration)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut lines = said.lines().map_while(Result::ok);
        let is_up = lines.any(|line| line.contains("Accepting HTTP Socket connections"));
        // Squid would stop if its output were not read.
        std::thread::spawn(move || lines.for_each(drop));
        let squid = Squid { child, port, log };
        is_up.then_some(squid)
    }

    /// Ends it; gives what it was asked, which it notes when a tunnel ends.
    fn end(mut self) -> String {
        self.stop();
        let text = fs::read_to_string(&self.log).expect("squid writes it");
        text.replace("%20", " ").replace("%0D%0A", "\n")
    }

    fn stop(&mut self) {
        // It takes its shared memory with it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
    }
}

/// Expects that a proxy got a login with one scheme only, and nothing that is meant for the server.
#[track_caller]
fn gets_no_secret(log: &str, scheme: &str) {
    let scheme = format!("Proxy-Authorization: {scheme} ");
    assert!(log.contains(&scheme), "{log}");
    let log = log.to_ascii_lowercase();
    assert!(!log.contains("authorization: basic"), "{log}");
    assert_eq!(
        log.matches("authorization:").count(),
        log.matches("proxy-authorization:").count(),
        "{log}"
    );
}

/// Lists refs without a token in the cache, through the helper and by git's own https.
fn both(world: &World, settings: &[String], environment: &[(&str, PathBuf)]) -> [Done; 2] {
    let _ = fs::remove_dir_all(world.cache());
    let token = world.bitbucket.issue_access_token(&["repository"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let run = |address: &str, header: &str| {
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let run = world
            .git(settings)
            .args(["-c", header, "ls-remote", address]);
        let run = environment
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        run.without_memory().done()
    };
    [
        run("bbtoken::ws/repo", "core.x=y"),
        run(&https, &world.with_header(&token)),
    ]
}

#[test]
fn a_proxy_with_ntlm_only_works_for_token_requests_and_for_git() {
    needs!("/usr/lib/squid/ntlm_fake_auth", "curl");
    on_every_git(|world| {
        world.repository("ws", "repo");
        let squid = Squid::start(world, NTLM, &[]);
        let asking = helper(world, "pass word");
        for (user, helper) in [("ann:pass%20word@", ""), ("ann@", asking.as_str())] {
            for method in ["", "anyauth", "ntlm"] {
                let mut settings =
                    vec![format!("http.proxy=http://{user}127.0.0.1:{}", squid.port)];
                let method = (!method.is_empty()).then(|| format!("http.proxyAuthMethod={method}"));
                settings.extend(method);
                settings.extend((!helper.is_empty()).then(|| helper.to_owned()));
                let [ours, gits] = both(world, &settings, &[]);
                assert_eq!(ours.expect(0).quiet().stdout, gits.expect(0).stdout);
                assert_eq!(world.bitbucket.token_requests().len(), 1, "{settings:?}");
                world.bitbucket.clear_requests();
                if !helper.is_empty() {
                    let said = fs::read_to_string(world.path("helper.log")).expect("it was asked");
                    assert!(
                        said.contains("- store\n") && !said.contains("- erase\n"),
                        "{said}"
                    );
                    fs::remove_file(world.path("helper.log")).expect("it is there");
                }
            }
        }
        let log = squid.end();
        gets_no_secret(&log, "NTLM");
        // For the token, for our git, and for git itself.
        assert_eq!(log.matches(" 200 ").count(), 6 * 3, "{log}");
    });
}

#[test]
fn a_proxy_that_the_chosen_transport_cannot_use_is_reported() {
    needs!("/usr/lib/squid/ntlm_fake_auth");
    on_every_git(|world| {
        world.repository("ws", "repo");
        let squid = Squid::start(world, NTLM, &[]);
        let proxy = format!("http.proxy=http://ann:x@127.0.0.1:{}", squid.port);
        let place = format!("127.0.0.1:{}", squid.port);
        let list = || world.git(["-c", &proxy, "ls-remote", "bbtoken::ws/repo"]);
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let native = list()
            .without_client()
            .env("BBTOKEN_ACCESS_TOKEN", token)
            .env("BBTOKEN_TRANSPORT", "native");
        native.fails(128).says(&[
            &format!("caused by: cannot connect to 'localhost' through proxy '{place}' (http.proxy in the command line)\n"),
            "caused by: the proxy accepts only ntlm, which git's own transport supports and the native transport does not\n",
        ]);
        // Git itself asks for no password where it knows no user.
        let without_user = format!("http.proxy=http://{place}");
        let asking = helper(world, "x");
        world
            .git(["-c", &without_user, "-c", &asking, "ls-remote", "bbtoken::ws/repo"])
            .fails(128)
            .says(&["for git's own transport, put the user name into the proxy's address: http://<user>@<host>:<port>\n"]);
        let _ = fs::remove_dir_all(world.cache());
        let bin = world.path("bin");
        fs::create_dir(&bin).expect("the world can be written");
        let places = world.search_path();
        for program in ["git", "git-remote-bbtoken", "git-bbtoken", "sh"] {
            let mut files = std::env::split_paths(&places).map(|place| place.join(program));
            let file = files.find(|file| file.exists()).expect("it is there");
            std::os::unix::fs::symlink(file, bin.join(program)).expect("it is new");
        }
        assert!(!Path::new(&bin.join("curl")).exists());
        let done = list().env("PATH", &bin).fails(128);
        done.says(&["so the program curl is needed; install curl\n", "hint: "]);
        gets_no_secret(&squid.end(), "NTLM");
    });
}

/// A key distribution center with a user `ann` and the service `HTTP/localhost`, on loopback; dropping it ends it.
struct Kdc {
    child: Child,
    directory: PathBuf,
}

impl Kdc {
    fn start(world: &World) -> Self {
        let directory = world.path("kerberos");
        fs::create_dir(&directory).expect("the world can be written");
        let place = directory.display();
        let port = free_port();
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).expect("the world can be written");
        };
        write(
            "krb5.conf",
            format!(
                "[libdefaults]\ndefault_realm = TEST\ndns_lookup_kdc = false\nrdns = false\n\
                 dns_canonicalize_hostname = false\nudp_preference_limit = 1\n\
                 [realms]\nTEST = {{\nkdc = 127.0.0.1:{port}\n}}\n[domain_realm]\nlocalhost = TEST\n\
                 [logging]\nkdc = STDERR\n"
            ),
        );
        write(
            "kdc.conf",
            format!(
                "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n\
                 [realms]\nTEST = {{\ndatabase_name = {place}/principals\nkey_stash_file = {place}/stash\n}}\n"
            ),
        );
        Kdc::run(
            &directory,
            "/usr/sbin/kdb5_util",
            &["create", "-s", "-r", "TEST", "-P", "x"],
            "",
        );
        let keytab = format!("ktadd -k {place}/keytab HTTP/localhost");
        for query in [
            "addprinc -pw x ann",
            "addprinc -randkey HTTP/localhost",
            &keytab,
        ] {
            Kdc::run(&directory, "/usr/sbin/kadmin.local", &["-q", query], "");
        }
        // Root's squid is another user.
        let all = fs::Permissions::from_mode(0o644);
        fs::set_permissions(directory.join("keytab"), all).expect("it is the test's");
        let mut child = Kdc::command(&directory, "/usr/sbin/krb5kdc")
            .arg("-n")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is in Debian's package krb5-kdc");
        let said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut lines = said.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("commencing operation")),
            "it is up"
        );
        std::thread::spawn(move || lines.for_each(drop));
        Kdc::run(&directory, "kinit", &["ann"], "x\n");
        Kdc { child, directory }
    }

    fn command(directory: &Path, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .envs(Kdc::environment(directory))
            .stdout(Stdio::null());
        command
    }

    fn run(directory: &Path, program: &str, arguments: &[&str], input: &str) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(input.as_bytes())
            .and_then(|()| file.rewind())
            .expect("it can be written");
        let mut command = Kdc::command(directory, program);
        let done = command
            .args(arguments)
            .stdin(file)
            .stderr(Stdio::null())
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "{program} {arguments:?}"
        );
    }

    fn environment(directory: &Path) -> [(&'static str, PathBuf); 4] {
        [
            ("KRB5_CONFIG", directory.join("krb5.conf")),
            ("KRB5_KDC_PROFILE", directory.join("kdc.conf")),
            ("KRB5CCNAME", directory.join("tickets")),
            ("KRB5RCACHENAME", "none:".into()),
        ]
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_proxy_with_kerberos_only_works_for_token_requests_and_for_git() {
    needs!(
        "/usr/lib/squid/ntlm_fake_auth",
        "kinit",
        "/usr/sbin/krb5kdc",
        "/usr/sbin/kadmin.local",
        "curl"
    );
    on_every_git(|world| {
        world.repository("ws", "repo");
        let kdc = Kdc::start(world);
        let environment = Kdc::environment(&kdc.directory);
        let scheme = format!(
            "negotiate /usr/lib/squid/negotiate_kerberos_auth -k {}/keytab -s HTTP/localhost@TEST",
            kdc.directory.display()
        );
        let squid = Squid::start(world, &scheme, &environment);
        for user in ["ann:unused", ":"] {
            for method in ["anyauth", "negotiate"] {
                let settings = [
                    format!("http.proxy=http://{user}@localhost:{}", squid.port),
                    format!("http.proxyAuthMethod={method}"),
                ];
                let [ours, gits] = both(world, &settings, &environment);
                assert_eq!(ours.expect(0).quiet().stdout, gits.expect(0).stdout);
                assert_eq!(world.bitbucket.token_requests().len(), 1, "{settings:?}");
                world.bitbucket.clear_requests();
            }
        }
        let log = squid.end();
        gets_no_secret(&log, "Negotiate");
        assert_eq!(log.matches(" 200 ann@TEST").count(), 4 * 3, "{log}");
    });
}
