//! Tests each of git's http settings: the helper follows it as git's own https does, or hands over to git.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    reference,
    support::{Run, World, on_every_git},
};

/// A value under which we still work ourselves, and one under which git takes over, where there are such.
type Values = (Option<&'static str>, Option<&'static str>);

/// What is tried of each of git's settings; those that git must have a file or a machine for are in the second list.
const TRIED: [(&str, Values); 44] = [
    ("cookieFile", (Some(""), Some("/dev/null"))),
    ("curloptResolve", (Some(""), Some("-nowhere.invalid:443"))),
    ("delegation", (Some("none"), Some("policy"))),
    ("emptyAuth", (Some("auto"), None)),
    ("extraHeader", (Some("X-Key: value"), None)),
    ("followRedirects", (Some("initial"), Some("false"))),
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
    ("pinnedPubkey", (Some(""), None)),
    ("postBuffer", (Some("1"), None)),
    ("proactiveAuth", (Some("basic"), None)),
    ("proxy", (Some(""), None)),
    ("proxyAuthMethod", (Some("basic"), Some("ntlm"))),
    ("proxySSLCAInfo", (Some(""), None)),
    ("proxySSLCert", (Some(""), Some("/dev/null"))),
    (
        "proxySSLCertPasswordProtected",
        (Some("false"), Some("true")),
    ),
    ("proxySSLKey", (Some(""), Some("/dev/null"))),
    ("retryAfter", (Some("1"), None)),
    ("saveCookies", (Some("false"), Some("true"))),
    ("schannelCheckRevoke", (Some("best-effort"), Some("true"))),
    ("schannelUseSSLCAInfo", (Some("false"), Some("true"))),
    ("sslBackend", (Some("openssl"), Some("gnutls"))),
    ("sslBackend", (Some("OpenSSL"), Some("OpenSSL2"))),
    ("sslCAInfo", (Some(""), None)),
    ("sslCAPath", (Some(""), None)),
    ("sslCert", (Some(""), None)),
    ("sslCertPasswordProtected", (Some("false"), Some("true"))),
    ("sslCertType", (Some("PEM"), Some("DER"))),
    ("sslCipherList", (Some(""), Some("DEFAULT"))),
    ("sslKey", (Some(""), None)),
    ("sslKeyType", (Some("PEM"), Some("DER"))),
    ("sslTry", (Some("true"), None)),
    ("sslVerify", (Some("true"), None)),
    ("sslVersion", (Some("tlsv1.2"), Some("tlsv1.0"))),
    ("userAgent", (Some(""), None)),
    ("version", (Some("HTTP/1.1"), Some("HTTP/9"))),
];

/// Tells whether git's own transport took over, by our word on it.
fn is_handed_over(world: &World, run: Run) -> bool {
    let done = run
        .args(["ls-remote", "bbtoken::ws/repo"])
        .env("BBTOKEN_TRACE", "1")
        // It would override its setting.
        .without("GIT_SSL_CAPATH")
        .done();
    let handed_over = done.stderr.contains(" hand-over ");
    assert!(handed_over || done.code == Some(0), "{}", done.stderr);
    assert_eq!(
        world.bitbucket.token_requests().len(),
        1,
        "one token serves all"
    );
    handed_over
}

#[test]
fn each_of_gits_settings_is_followed_or_handed_over_as_the_table_says() {
    let tried: BTreeSet<_> = TRIED.iter().map(|(name, _)| *name).collect();
    let keys = reference::http_keys();
    let known: BTreeSet<_> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(tried, known, "none is forgotten");
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (name, (ours, gits)) in TRIED {
            let by = |value: &str| {
                let run = world.git(["-c", &format!("http.{name}={value}")]);
                is_handed_over(world, run)
            };
            assert!(!ours.is_some_and(by), "http.{name}={ours:?}");
            assert!(gits.is_none_or(by), "http.{name}={gits:?}");
            let key = keys.iter().find(|key| key.name == name);
            let leaves_some = key.is_some_and(|key| key.treatment.contains("handed to git"));
            assert_eq!(
                gits.is_some(),
                leaves_some,
                "what is left to git is tried: {name}"
            );
        }
    });
}

#[test]
fn variables_stand_for_settings_as_with_git() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        for (variable, value, expected) in [
            ("GIT_SSL_VERSION", "tlsv1.0", true),
            ("GIT_SSL_VERSION", "tlsv1.2", false),
            ("GIT_SSL_CIPHER_LIST", "DEFAULT", true),
            ("GIT_SSL_CERT_PASSWORD_PROTECTED", "1", true),
            ("GIT_SSL_CERT_TYPE", "DER", true),
            ("GIT_SSL_CERT_TYPE", "PEM", false),
            ("GIT_SSL_KEY_TYPE", "ENG", true),
            ("GIT_PROXY_SSL_CERT", "/dev/null", true),
            ("GIT_PROXY_SSL_KEY", "/dev/null", true),
            ("GIT_HTTP_PROXY_AUTHMETHOD", "ntlm", true),
            ("GIT_HTTP_PROXY_AUTHMETHOD", "basic", false),
            ("GIT_HTTP_LOW_SPEED_LIMIT", "1", false),
            ("GIT_HTTP_USER_AGENT", "us/1", false),
        ] {
            let run = world.git(["-c", "core.x=y"]).env(variable, value);
            assert_eq!(is_handed_over(world, run), expected, "{variable}={value}");
        }
    });
}

#[test]
fn a_remotes_proxy_settings_are_judged_as_those_for_all() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        for (method, expected) in [("basic", false), ("anyauth", false), ("ntlm", true)] {
            let setting = format!("remote.origin.proxyAuthMethod={method}");
            let done = world
                .git(["-c", &setting, "ls-remote", "origin"])
                .within(&tree)
                .env("BBTOKEN_TRACE", "1")
                .done();
            let handed_over = done.expect(0).stderr.contains(" hand-over ");
            assert_eq!(handed_over, expected, "{setting}");
        }
    });
}

#[test]
fn gits_own_user_agent_is_used_if_it_is_set() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let agents = |run: Run| {
            world.bitbucket.clear_requests();
            run.args(["ls-remote", "bbtoken::ws/repo"]).ok();
            let requests = world.bitbucket.requests().into_iter();
            requests
                .filter_map(|it| it.user_agent)
                .collect::<BTreeSet<_>>()
        };
        let only = |agent: &str| BTreeSet::from([agent.to_owned()]);
        let setting = ["-c", "http.userAgent=one/1"];
        assert_eq!(agents(world.git(setting)), only("one/1"));
        let run = world.git(setting).env("GIT_HTTP_USER_AGENT", "two/2");
        assert_eq!(agents(run), only("two/2"), "the variable wins");
        world
            .git([
                "-c",
                "http.userAgent=one\ntwo",
                "ls-remote",
                "bbtoken::ws/repo",
            ])
            .fails(128)
            .says(&["error: cannot apply git's http settings\n"]);
    });
}

/// The headers `X-…` of every request that a trace shows, a line each.
fn own_headers(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("the trace was written");
    let sent = text.lines().filter_map(|line| {
        let (_, header) = line.split_once("=> Send header: ")?;
        let is_first = header.starts_with("GET ") || header.starts_with("POST ");
        (is_first || header.starts_with("X-")).then(|| header.to_owned())
    });
    // The token's request is ours alone.
    let mut is_gits = false;
    sent.filter(|header| {
        if !header.starts_with("X-") {
            is_gits = header.contains("/ws/");
        }
        is_gits
    })
    .collect()
}

#[test]
fn further_headers_are_a_list_that_an_empty_value_begins_anew() {
    on_every_git(|world| {
        world.repository("ws", "sub");
        world.repository("ws", "super");
        world
            .git(["config", "--global", "protocol.bbtoken.allow", "always"])
            .ok();
        let tree = world.clone("ws/super", "tree");
        world
            .git(["submodule", "--quiet", "add", "../sub", "sub"])
            .within(&tree)
            .ok();
        world.git(["commit", "-q", "-m", "sub"]).within(&tree).ok();
        world.git(["push", "-q"]).within(&tree).ok();
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let user = format!("https://x-token-auth:{token}@");
        let https = world.bitbucket.repository_url("ws", "super");
        let https = https.replace("https://", &user);
        let header = |value: &str| format!("http.extraHeader={value}");
        for value in ["X-A: 1", "X-B: 2"] {
            world
                .git(["config", "--global", "--add", "http.extraHeader", value])
                .ok();
        }
        let of_host = format!("http.{}/.extraHeader", world.bitbucket.base_url());
        for (settings, expected) in [
            (vec![], &["X-A: 1", "X-B: 2"][..]),
            (vec![header("X-C: 3")], &["X-A: 1", "X-B: 2", "X-C: 3"]),
            (vec![header(""), header("X-C: 3")], &["X-C: 3"]),
            (vec![header("X-C: 3"), header("")], &[]),
            (
                vec![format!("{of_host}=X-D: 4")],
                &["X-A: 1", "X-B: 2", "X-D: 4"],
            ),
        ] {
            let run = |address: &str| {
                let (trace, place) = (world.path("trace"), world.path("copy"));
                let _ = (fs::remove_file(&trace), fs::remove_dir_all(&place));
                let settings = settings.iter().flat_map(|setting| ["-c", setting]);
                world
                    .git(settings)
                    .args(["-c", "http.version=HTTP/1.1", "clone", "-q"])
                    .args(["--recurse-submodules", address])
                    .arg(&place)
                    .without_memory()
                    .env("GIT_TRACE_CURL", &trace)
                    .env("GIT_TRACE_REDACT", "0")
                    .done()
                    .expect(0)
                    .quiet();
                own_headers(&trace)
            };
            let ours = run("bbtoken::ws/super");
            let gits = run(&https);
            let requests = ["super", "sub"].map(|name| {
                let path = world.repository_path("ws", name);
                let get = format!("GET {path}/info/refs?service=git-upload-pack HTTP/1.1");
                let post = format!("POST {path}/git-upload-pack HTTP/1.1");
                [get, post.clone(), post]
            });
            let all: Vec<String> = requests
                .concat()
                .into_iter()
                .flat_map(|first| {
                    std::iter::once(first).chain(expected.iter().map(ToString::to_string))
                })
                .collect();
            assert_eq!(ours, all, "{settings:?}");
            let gits: BTreeSet<_> = gits.iter().filter(|it| it.starts_with("X-")).collect();
            assert!(gits.into_iter().eq(expected), "{settings:?}");
        }
    });
}
