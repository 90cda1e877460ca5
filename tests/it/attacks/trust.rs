//! A repository's own configuration selects a profile. It cannot define a profile, change the trusted certificates or
//! redirect a secret.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{
    Action, Kind, Rule,
    proxy::{Options, Proxy},
};

use crate::{
    reference::{self, FromRepository},
    support::{Done, Run, World, gits, on_every_git},
};

/// A repository with a remote; the token is not cached.
fn repository(world: &World) -> PathBuf {
    world.repository("ws", "repo");
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let add = ["remote", "add", "origin", "bbtoken::ws/repo"];
    world.git(add).within(&tree).ok();
    tree
}

fn set(world: &World, tree: &Path, key: &str, value: &str) {
    world.git(["config", key, value]).within(tree).ok();
}

fn unset(world: &World, tree: &Path, key: &str) {
    world.git(["config", "--unset-all", key]).within(tree).ok();
}

fn list(world: &World, tree: &Path) -> Run {
    let run = world.git(["ls-remote", "origin"]).within(tree);
    // It would override its setting.
    run.without("GIT_SSL_CAPATH")
}

/// Expects a refusal that names a setting and the user's own one, before anything was sent.
#[track_caller]
fn is_refused(world: &World, done: &Done, key: &str, own: &str) {
    is_refused_in(".git/config", world, done, key, own);
}

#[track_caller]
fn is_refused_in(file: &str, world: &World, done: &Done, key: &str, own: &str) {
    done.says(&[
        &format!("{key} in {file} is refused: a repository must not "),
        "; remove it from that file; to use it anyway, make it your own setting: git config --global ",
        own,
    ]);
    assert!(
        world.bitbucket.requests().is_empty(),
        "nothing is sent where {key} is refused"
    );
}

#[test]
fn each_bbtoken_key_of_a_repository_is_followed_or_refused_as_its_row_says() {
    let keys = reference::bbtoken_keys();
    on_every_git(|world| {
        let tree = repository(world);
        let ran = world.path("ran");
        let value = |name: &str| match name {
            "clientSecretCommand" | "accessTokenCommand" | "storeCommand" => {
                format!("!touch '{}'", ran.display())
            }
            "baseUrl" | "tokenUrl" | "authorizeUrl" | "storeUrl" => {
                "https://evil.example".to_owned()
            }
            "grant" => "token".to_owned(),
            "store" => "memory".to_owned(),
            "transport" => "native".to_owned(),
            "rememberAdvertisement" | "lfs" => "false".to_owned(),
            "profile" => "environment".to_owned(),
            _ => "planted".to_owned(),
        };
        for row in &keys {
            for key in [
                format!("bbtoken.{}", row.name),
                format!("bbtoken.work.{}", row.name),
                format!("bbtoken.environment.{}", row.name),
            ] {
                world.bitbucket.clear_requests();
                set(world, &tree, &key, &value(&row.name));
                let is_common = key.matches('.').count() == 1;
                match row.from_repository {
                    FromRepository::Followed if is_common => {
                        list(world, &tree).ok();
                    }
                    _ => {
                        is_refused(world, &list(world, &tree).fails(128), &key, &key);
                    }
                }
                assert!(!ran.exists(), "no program of a repository's choice runs");
                unset(world, &tree, &key);
            }
        }
    });
    let followed = keys
        .iter()
        .filter(|row| row.from_repository == FromRepository::Followed);
    let followed: BTreeSet<_> = followed.map(|row| row.name.as_str()).collect();
    let expected = ["lfs", "profile", "rememberAdvertisement", "transport"];
    assert_eq!(followed, BTreeSet::from(expected));
}

#[test]
fn a_repository_selects_only_a_profile_that_its_user_has_defined() {
    let world = &World::new(gits().remove(0));
    let tree = repository(world);
    for key in ["bbtoken.profile", "remote.origin.bbtokenProfile"] {
        set(world, &tree, key, "planted");
        let done = list(world, &tree).without_client().fails(128);
        done.says(&["names profile 'planted', which does not exist", key]);
        assert!(world.bitbucket.requests().is_empty());
        unset(world, &tree, key);
    }
    world
        .git(["config", "--global", "bbtoken.mine.clientId"])
        .arg(&world.consumer.key)
        .ok();
    world
        .git(["config", "--global", "bbtoken.other.clientId", "other"])
        .ok();
    for key in ["bbtoken.profile", "remote.origin.bbtokenProfile"] {
        set(world, &tree, key, "mine");
        list(world, &tree).without("BBTOKEN_CLIENT_ID").ok();
        unset(world, &tree, key);
    }
}

#[test]
fn commands_for_people_name_what_a_repository_must_not_set() {
    let world = &World::new(gits().remove(0));
    let tree = repository(world);
    set(world, &tree, "bbtoken.work.store", "file");
    let key = "bbtoken.work.store";
    for (arguments, code) in [
        (&["status"][..], 3),
        (&["login", "work", "--client-credentials"], 3),
        (&["doctor"], 1),
    ] {
        let done = world.bbtoken(arguments).within(&tree).done().expect(code);
        let said = format!("{}{}", done.stdout, done.stderr);
        let own = "make it your own setting: git config --global bbtoken.work.store file";
        assert!(said.contains(key) && said.contains(own), "{said}");
    }
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn the_credential_helper_is_silent_for_other_hosts_whatever_a_repository_sets() {
    on_every_git(|world| {
        let tree = repository(world);
        set(world, &tree, "bbtoken.baseUrl", "https://evil.example");
        set(world, &tree, "http.sslVerify", "false");
        let ask = |host: &str| {
            let request = format!("protocol=https\nhost={host}\npath=ws/repo.git\n\n");
            world
                .bbtoken(["credential", "get"])
                .within(&tree)
                .env("GIT_DIR", ".git")
                .input(&request)
                .done()
        };
        for host in ["evil.example", "github.com"] {
            assert_eq!(ask(host).expect(0).quiet().stdout, "", "{host}");
        }
        let ours = world.bitbucket.base_url().replace("https://", "");
        let done = ask(&ours);
        assert_eq!(done.stdout, "quit=1\n");
        is_refused(world, &done, "bbtoken.baseUrl", "bbtoken.baseUrl <value>");
        unset(world, &tree, "bbtoken.baseUrl");
        let done = ask(&ours);
        assert_eq!(done.stdout, "quit=1\n");
        is_refused(world, &done, "http.sslVerify", ".sslVerify <value>");
    });
}

/// A value that is followed, and one that is refused, where there are such.
type Values = (Option<&'static str>, Option<&'static str>);

/// What is tried of each http key in a repository's own configuration.
const TRIED: [(&str, Values); 43] = [
    ("cookieFile", (None, Some("/dev/null"))),
    ("curloptResolve", (None, Some("localhost:1:127.0.0.1"))),
    ("delegation", (Some("none"), Some("always"))),
    ("emptyAuth", (Some("auto"), None)),
    (
        "extraHeader",
        (Some("X-Key: value"), Some("Content-Length: 9")),
    ),
    ("followRedirects", (Some("initial"), None)),
    ("keepAliveCount", (Some("3"), None)),
    ("keepAliveIdle", (Some("9"), None)),
    ("keepAliveInterval", (Some("9"), None)),
    ("lowSpeedLimit", (Some("1"), None)),
    ("lowSpeedTime", (Some("9"), None)),
    ("maxRequests", (Some("2"), None)),
    ("maxRetries", (Some("2"), None)),
    ("maxRetryTime", (Some("9"), None)),
    ("minSessions", (Some("1"), None)),
    ("noEPSV", (Some("true"), None)),
    ("pinnedPubkey", (None, Some("sha256//AAAA"))),
    ("postBuffer", (Some("1"), None)),
    ("proactiveAuth", (Some("basic"), None)),
    ("proxy", (Some(""), Some("http://ann\\n@127.0.0.1:1"))),
    ("proxyAuthMethod", (None, Some("basic"))),
    ("proxySSLCAInfo", (None, Some("ca.pem"))),
    ("proxySSLCert", (None, Some("/dev/null"))),
    ("proxySSLCertPasswordProtected", (None, Some("true"))),
    ("proxySSLKey", (None, Some("/dev/null"))),
    ("retryAfter", (Some("1"), None)),
    ("saveCookies", (Some("false"), Some("true"))),
    ("schannelCheckRevoke", (Some("true"), Some("false"))),
    ("schannelUseSSLCAInfo", (None, Some("false"))),
    ("sslBackend", (None, Some("gnutls"))),
    ("sslCAInfo", (None, Some("ca.pem"))),
    ("sslCAPath", (None, Some("."))),
    ("sslCert", (None, Some("cert.pem"))),
    ("sslCertPasswordProtected", (None, Some("true"))),
    ("sslCertType", (None, Some("PEM"))),
    ("sslCipherList", (None, Some("ALL"))),
    ("sslKey", (None, Some("key.pem"))),
    ("sslKeyType", (None, Some("ENG"))),
    ("sslTry", (Some("true"), None)),
    ("sslVerify", (Some("true"), Some("false"))),
    ("sslVersion", (None, Some("tlsv1.0"))),
    ("userAgent", (Some("one/1"), Some("one/1\\nHost: evil"))),
    ("version", (Some("HTTP/1.1"), None)),
];

#[test]
fn each_http_key_of_a_repository_is_followed_or_refused_as_its_row_says() {
    let tried: BTreeSet<_> = TRIED.iter().map(|(name, _)| *name).collect();
    let keys = reference::http_keys();
    let known: BTreeSet<_> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(tried, known, "no key is forgotten");
    on_every_git(|world| {
        let tree = repository(world);
        list(world, &tree).ok();
        let base = world.bitbucket.base_url().to_owned();
        for key in &keys {
            let mut tried = TRIED.iter();
            let (_, (followed, refused)) = tried
                .find(|(name, _)| *name == key.name)
                .expect("each is tried");
            let (is_followed, is_refusable) = match key.from_repository {
                FromRepository::Followed | FromRepository::FollowedOverHttps => {
                    (true, refused.is_some())
                }
                FromRepository::FollowedInPart => (true, true),
                FromRepository::Refused => (false, true),
            };
            assert_eq!(
                (followed.is_some(), refused.is_some()),
                (is_followed, is_refusable),
                "http.{} is tried by its row",
                key.name
            );
            let name = format!("http.{}", key.name);
            let own = format!("http.{base}/.{} <value>", key.name);
            if let Some(value) = followed {
                set(world, &tree, &name, value);
                list(world, &tree).ok();
                unset(world, &tree, &name);
            }
            for transport in ["native", "git"].iter().filter(|_| refused.is_some()) {
                let value = refused.unwrap_or_default().replace("\\n", "\n");
                set(world, &tree, &name, &value);
                world.bitbucket.clear_requests();
                let done = list(world, &tree).env("BBTOKEN_TRANSPORT", transport);
                is_refused(world, &done.fails(128), &name, &own);
                unset(world, &tree, &name);
            }
        }
        refused_anywhere(world, &tree);
        // A key that a later git may know.
        set(world, &tree, "http.sslKeyLog", "log");
        let done = list(world, &tree).fails(128);
        done.says(&["http.sslkeylog in .git/config is refused: a repository must not set http keys that this version does not know"]);
    });
}

/// Expects that each key is refused for one URL, in a work tree's file, and in a file that the repository's includes.
fn refused_anywhere(world: &World, tree: &Path) {
    let base = world.bitbucket.base_url().to_owned();
    set(world, tree, "extensions.worktreeConfig", "true");
    set(world, tree, "include.path", "extra");
    for (key, (_, refused)) in TRIED {
        let Some(value) = refused else { continue };
        let value = value.replace("\\n", "\n");
        let own = format!("http.{base}/.{key} <value>");
        let common = format!("http.{key}");
        let of_url = format!("http.{base}/.{key}");
        for (file, name) in [
            ("config", &of_url),
            ("config.worktree", &common),
            ("extra", &common),
        ] {
            let git = tree.join(".git");
            let change = |change: &str| {
                let set = world.git(["config", "--file"]).arg(git.join(file));
                set.args([change, name])
            };
            change("--add").arg(&value).ok();
            world.bitbucket.clear_requests();
            let done = list(world, tree).fails(128);
            is_refused_in(&format!(".git/{file}"), world, &done, name, &own);
            change("--unset-all").ok();
        }
    }
    unset(world, tree, "include.path");
    unset(world, tree, "extensions.worktreeConfig");
}

/// What is tried of each `remote.<name>.<key>` in a repository's own configuration.
const TRIED_OF_REMOTE: [(&str, Values); 7] = [
    ("bbtokenProfile", (Some("environment"), Some("planted"))),
    (
        "url",
        (
            Some("bbtoken::ws/repo"),
            Some("bbtoken::https://evil.example/ws/repo"),
        ),
    ),
    ("pushurl", (Some("bbtoken::https://evil.example/x/y"), None)),
    ("lfsurl", (Some("https://evil.example/lfs"), None)),
    ("lfspushurl", (Some("https://evil.example/lfs"), None)),
    ("proxy", (Some(""), Some("http://ann\\n@127.0.0.1:1"))),
    ("proxyAuthMethod", (None, Some("basic"))),
];

#[test]
fn each_key_of_a_repositorys_remote_is_followed_or_refused_as_its_row_says() {
    let tried: BTreeSet<_> = TRIED_OF_REMOTE.iter().map(|(name, _)| *name).collect();
    let keys = reference::remote_keys();
    let known: BTreeSet<_> = keys.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(tried, known, "no key is forgotten");
    for row in &keys {
        let is_refused = row.from_repository == FromRepository::Refused;
        assert_eq!(is_refused, row.name == "proxyAuthMethod", "{}", row.name);
    }
    on_every_git(|world| {
        let tree = repository(world);
        for (key, (followed, refused)) in TRIED_OF_REMOTE {
            let key = format!("remote.origin.{key}");
            if let Some(value) = followed {
                set(world, &tree, &key, value);
                list(world, &tree).ok();
            }
            for transport in ["native", "git"].iter().filter(|_| refused.is_some()) {
                let value = refused.unwrap_or_default().replace("\\n", "\n");
                set(world, &tree, &key, &value);
                world.bitbucket.clear_requests();
                let done = list(world, &tree).env("BBTOKEN_TRANSPORT", transport);
                let done = done.fails(128);
                if key.contains("proxy") {
                    done.says(&[&format!("{key} in .git/config is refused")]);
                }
                assert!(world.bitbucket.requests().is_empty(), "{key}");
            }
            match key.as_str() {
                "remote.origin.url" => set(world, &tree, &key, "bbtoken::ws/repo"),
                _ => unset(world, &tree, &key),
            }
        }
    });
}

/// What is tried of each of git's other keys: its row, the key, and values.
const TRIED_OF_GIT: [(&str, &str, &[&str]); 18] = [
    (
        "core.repositoryFormatVersion",
        "core.repositoryFormatVersion",
        &["0"],
    ),
    (
        "extensions.worktreeConfig",
        "extensions.worktreeConfig",
        &["true"],
    ),
    ("include.path", "include.path", &["planted"]),
    (
        "includeIf.<condition>.path",
        "includeIf.gitdir:/.path",
        &["planted"],
    ),
    ("protocol.version", "protocol.version", &["0", "1"]),
    (
        "protocol.<scheme>.allow",
        "protocol.http.allow",
        &["always", "never"],
    ),
    (
        "credential.interactive",
        "credential.interactive",
        &["true", "false"],
    ),
    ("credential.<url>.helper", "credential.helper", &["!RAN; :"]),
    (
        "branch.<name>.remote",
        "branch.main.remote",
        &["origin", "bbtoken::https://evil.example/x/y"],
    ),
    ("lfs.url", "lfs.url", &["https://evil.example/lfs"]),
    ("lfs.pushurl", "lfs.pushurl", &["https://evil.example/lfs"]),
    (
        "lfs.<url>.access",
        "lfs.https://evil.example/.access",
        &["none"],
    ),
    ("filter.lfs.<key>", "filter.lfs.process", &["RAN"]),
    ("submodule.active", "submodule.active", &["."]),
    (
        "submodule.<name>.url",
        "submodule.x.url",
        &["bbtoken::https://evil.example/x/y", "RAN"],
    ),
    ("submodule.<name>.active", "submodule.x.active", &["true"]),
    (
        "submodule.<name>.update",
        "submodule.x.update",
        &["checkout"],
    ),
    (
        "url.<base>.insteadOf",
        "url.bbtoken::https://evil.example/.insteadOf",
        &["https://other.example/"],
    ),
];

#[test]
fn no_other_key_of_a_repository_starts_a_program_or_leads_elsewhere() {
    let tried: BTreeSet<_> = TRIED_OF_GIT.iter().map(|(row, ..)| *row).collect();
    let keys = reference::git_keys();
    let known: BTreeSet<_> = keys.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(tried, known, "no key is forgotten");
    on_every_git(|world| {
        let tree = repository(world);
        let ran = world.path("ran");
        let planted = "[bbtoken]\n\tbaseUrl = https://evil.example\n";
        fs::write(tree.join(".git/planted"), planted).expect("it is ours");
        for (_, key, values) in TRIED_OF_GIT {
            for value in values {
                let value = value.replace("RAN", &format!("touch '{}'", ran.display()));
                let before = world
                    .git(["config", "--get", key])
                    .within(&tree)
                    .done()
                    .stdout;
                set(world, &tree, key, &value);
                world.bitbucket.clear_requests();
                if value == "planted" {
                    let done = list(world, &tree).fails(128);
                    done.says(&["bbtoken.baseUrl in .git/planted is refused"]);
                    assert!(world.bitbucket.requests().is_empty(), "{key}");
                } else {
                    let _ = fs::remove_dir_all(world.cache());
                    list(world, &tree).ok();
                    assert_eq!(world.bitbucket.token_requests().len(), 1, "{key}");
                }
                assert!(!ran.exists(), "{key} starts no program");
                match before.trim_end() {
                    "" => unset(world, &tree, key),
                    before => set(world, &tree, key, before),
                }
            }
        }
    });
}

#[test]
fn a_setting_of_the_users_for_bitbucket_overrides_a_repositorys_for_every_host() {
    on_every_git(|world| {
        let tree = repository(world);
        let base = world.bitbucket.base_url().to_owned();
        let ca = world.bitbucket.ca_file().display().to_string();
        set(world, &tree, "http.sslCAInfo", "planted.pem");
        let list = || list(world, &tree).without("GIT_SSL_CAINFO");
        list().fails(128).says(&["http.sslCAInfo in .git/config"]);
        // This is what the error advises.
        let own = format!("http.{base}/.sslCAInfo");
        world.git(["config", "--global", &own, &ca]).ok();
        list().ok();
        // A setting for another path is met after a redirect, by another transport.
        let other = format!("http.{base}/ws/renamed.sslVerify");
        set(world, &tree, &other, "false");
        list().fails(128).says(&[&other]);
        unset(world, &tree, &other);
        set(
            world,
            &tree,
            "http.https://other.example/.sslVerify",
            "false",
        );
        list().ok();
    });
}

/// A repository whose own configuration sends everything through a proxy that opens TLS with an authority of its own.
struct Intercepted {
    tree: PathBuf,
    proxy: Proxy,
}

fn intercepted(world: &World) -> Intercepted {
    let ca = world.bitbucket.ca_file().to_owned();
    let place = world
        .bitbucket
        .base_url()
        .replace("https://localhost", "127.0.0.1");
    let proxy = Proxy::start(Options {
        opens: Some((place, ca.clone())),
        ..Options::default()
    });
    let proxy = proxy.expect("a proxy starts on loopback");
    let tree = repository(world);
    let planted = tree.join("ca.pem");
    fs::copy(proxy.ca_file(), &planted).expect("it can be copied");
    world
        .git(["config", "--global", "http.sslCAInfo"])
        .arg(ca)
        .ok();
    set(
        world,
        &tree,
        "http.sslCAInfo",
        &planted.display().to_string(),
    );
    let address = format!("http://127.0.0.1:{}", proxy.port());
    set(world, &tree, "http.proxy", &address);
    Intercepted { tree, proxy }
}

#[test]
fn a_proxy_and_an_authority_of_a_repository_see_no_secret() {
    on_every_git(|world| {
        let Intercepted { tree, proxy } = intercepted(world);
        let https = world.bitbucket.repository_url("ws", "repo");
        world.bbtoken(["setup", "--yes"]).ok();
        let runs = [
            list(world, &tree),
            list(world, &tree).env("BBTOKEN_TRANSPORT", "git"),
            world.git(["fetch", "bbtoken::ws/repo"]).within(&tree),
            world
                .git(["-c", "protocol.version=0", "fetch"])
                .within(&tree),
        ];
        for run in runs {
            let done = run.without("GIT_SSL_CAINFO").fails(128);
            done.says(&["http.sslCAInfo in .git/config is refused"]);
        }
        for arguments in [
            &["doctor"][..],
            &["status"],
            &[
                "login",
                "me",
                "--client-credentials",
                "--client-id",
                "x",
                "--with-secret",
            ],
        ] {
            let run = world
                .bbtoken(arguments)
                .within(&tree)
                .input("canary-secret\n");
            let done = run.without("GIT_SSL_CAINFO").done();
            let said = format!("{}{}", done.stdout, done.stderr);
            assert!(
                !said.contains("' answers with a trusted certificate")
                    && said.contains("http.sslCAInfo in "),
                "{said}"
            );
        }
        assert_eq!(proxy.asked(), [], "the proxy is not even connected to");
        assert!(world.bitbucket.requests().is_empty());
        // Git's own https trusts it, and gets no token from us.
        let fetch = world.git(["fetch", &https]).within(&tree);
        let done = fetch.without("GIT_SSL_CAINFO").fails(128);
        done.says(&["http.sslCAInfo in .git/config is refused"]);
        assert!(world.bitbucket.token_requests().is_empty());
        let authorized = |user: &Option<String>| user.is_some();
        let requests = world.bitbucket.git_requests();
        assert!(!requests.iter().any(|request| authorized(&request.user)));
    });
}

#[test]
fn git_credential_fill_gives_no_token_where_a_repository_opens_tls() {
    on_every_git(|world| {
        let Intercepted { tree, proxy } = intercepted(world);
        world.bbtoken(["setup", "--yes"]).ok();
        let below = tree.join("below");
        fs::create_dir(&below).expect("the world can be written");
        let host = world.bitbucket.base_url().replace("https://", "");
        // With its path, as git-lfs asks, and without one.
        let requests = ["path=ws/repo.git/info/lfs\n", ""];
        let requests = requests.map(|path| format!("protocol=https\nhost={host}\n{path}\n"));
        let fill = |directory: &Path, request: &str| {
            let run = world.git(["credential", "fill"]).within(directory);
            let run = run.without("GIT_DIR").without("GIT_SSL_CAINFO");
            run.env("GIT_TERMINAL_PROMPT", "0").input(request)
        };
        let planted = tree.join("ca.pem").display().to_string();
        for (key, value) in [("http.sslCAInfo", &*planted), ("http.sslVerify", "false")] {
            set(world, &tree, key, value);
            for directory in [&tree, &below] {
                for request in &requests {
                    let done = fill(directory, request).fails(128);
                    done.says(&[&format!("{key} in "), " is refused: a repository must not "]);
                    assert_eq!(done.stdout, "", "a refusal gives no token");
                }
            }
            unset(world, &tree, key);
        }
        assert_eq!(proxy.asked(), [], "the proxy is not even connected to");
        assert!(world.bitbucket.requests().is_empty(), "nothing is sent");
        // Without these settings it gives one, so it was they that kept it back.
        unset(world, &tree, "http.proxy");
        assert!(fill(&tree, &requests[0]).ok().contains("password="));
    });
}

#[test]
fn a_repositorys_proxy_carries_git_and_never_a_token_request() {
    on_every_git(|world| {
        let tree = repository(world);
        let proxy = Proxy::start(Options::default()).expect("a proxy starts on loopback");
        let address = format!("http://127.0.0.1:{}", proxy.port());
        set(world, &tree, "http.userAgent", "planted/1");
        for key in ["http.proxy", "remote.origin.proxy"] {
            let _ = fs::remove_dir_all(world.cache());
            world.bitbucket.clear_requests();
            let before = proxy.asked().len();
            set(world, &tree, key, &address);
            list(world, &tree).done().expect(0).quiet();
            assert_eq!(proxy.asked().len() - before, 1, "git's connection alone");
            let tokens = world.bitbucket.token_requests();
            assert_eq!(tokens.len(), 1);
            let agent = tokens[0].user_agent.as_deref().unwrap_or_default();
            assert!(!agent.contains("planted"), "{agent}");
            let requests = world.bitbucket.git_requests();
            let agents = requests.iter().filter_map(|it| it.user_agent.as_deref());
            assert!(agents.eq(requests.iter().map(|_| "planted/1")));
            // The token's endpoint is not reached: the proxy may be why.
            let _ = fs::remove_dir_all(world.cache());
            let lost = Rule::new(Action::CloseWithoutAnswer).kind(Kind::Token);
            world.bitbucket.script(lost.forever());
            let done = list(world, &tree).fails(128);
            done.says(&[
                &format!("the token request does not use {key} in .git/config"),
                "set it yourself: git config --global http.proxy <address>",
            ]);
            world.bitbucket.clear_script();
            unset(world, &tree, key);
        }
        let doctor = world.bbtoken(["doctor"]).within(&tree).done().stdout;
        let note = "note     repository: this repository sets http.userAgent in ";
        assert!(doctor.contains(note), "{doctor}");
    });
}

#[test]
fn a_repositorys_settings_that_do_not_affect_the_route_cost_no_connection() {
    let world = &World::new(gits().remove(0));
    let tree = repository(world);
    let count = || {
        let _ = fs::remove_dir_all(world.cache());
        let before = world.bitbucket.connections();
        list(world, &tree).ok();
        world.bitbucket.connections() - before
    };
    assert_eq!(count(), 1);
    set(world, &tree, "http.postBuffer", "524288000");
    set(world, &tree, "http.maxRequests", "9");
    assert_eq!(count(), 1, "one client serves both");
    set(world, &tree, "http.userAgent", "own/1");
    assert_eq!(count(), 2, "the token request has a separate client");
}

#[test]
fn over_plain_http_a_repository_has_no_proxy() {
    let world = &World::with(
        gits().remove(0),
        bitbucket_local::Options {
            tls: false,
            ..bitbucket_local::Options::default()
        },
    );
    let tree = repository(world);
    let proxy = Proxy::start(Options::default()).expect("a proxy starts on loopback");
    let address = format!("http://127.0.0.1:{}", proxy.port());
    for key in ["http.proxy", "remote.origin.proxy"] {
        set(world, &tree, key, &address);
        let done = list(world, &tree).fails(128);
        is_refused(world, &done, key, "/.proxy <value>");
        assert_eq!(proxy.asked(), []);
        unset(world, &tree, key);
    }
}

#[test]
fn a_credential_helper_of_a_repository_is_not_asked_for_a_proxy() {
    on_every_git(|world| {
        let tree = repository(world);
        let proxy = Proxy::start(Options {
            login: Some(("ann".into(), "secret".into())),
            ..Options::default()
        });
        let proxy = proxy.expect("a proxy starts on loopback");
        let ran = world.path("ran");
        let helper = format!("!touch '{}'; :", ran.display());
        set(world, &tree, "credential.helper", &helper);
        let address = format!("http://127.0.0.1:{}", proxy.port());
        world
            .git(["config", "--global", "http.proxy", &address])
            .ok();
        let done = list(world, &tree).fails(128);
        done.says(&["the proxy wants a user name and password, and git has none for it"]);
        assert!(!ran.exists(), "no helper of a repository's choice runs");
    });
}
