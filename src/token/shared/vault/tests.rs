//! Tests the meaning of each answer, with a server that gives prepared answers.

use std::{cell::RefCell, collections::VecDeque};

use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::*;
use crate::{
    http::{Body, HttpClient, Method, Phase, Request, Response, ResponseBody, TransportError},
    profile::{Jwt, RecordPath, Vault},
    url::Url,
};

/// An answer, or the phase in which the exchange ends.
type Answered = Result<(u16, &'static [(&'static str, &'static str)], String), Phase>;

/// A server with prepared answers, which notes the requests.
#[derive(Default)]
struct Server {
    answers: RefCell<VecDeque<Answered>>,
    requests: RefCell<Vec<String>>,
}

struct Text(Option<Bytes>);

impl ResponseBody for Text {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.take())
    }
}

impl HttpClient for Server {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let Body::Secret(body) = &request.body else {
            panic!("bodies are secret");
        };
        assert_eq!(request.time_limit, Some(Duration::from_secs(10)));
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let token = request.authorization.as_ref().map_or("-", Secret::expose);
        let mut line = format!("{method} {} {token}", request.url.path());
        for (name, value) in &request.headers {
            if name.starts_with("X-") && *name != "X-Vault-Request" {
                line.push_str(&format!(" {name}: {value}"));
            }
        }
        let headers: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
        assert!(headers.contains(&"X-Vault-Request"), "{line}");
        if !body.is_empty() {
            line.push(' ');
            line.push_str(body.expose());
        }
        self.requests.borrow_mut().push(line);
        let answer = self.answers.borrow_mut().pop_front();
        let (status, headers, body) = answer
            .expect("there is an answer for each request")
            .map_err(|phase| TransportError::new(phase, "vault", "by the test"))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("it is a value"));
        }
        Ok(Response::new(
            status,
            map,
            Box::new(Text(Some(body.into()))),
        ))
    }
}

const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
const DENIED: &str = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
const SEALED: &str = r#"{"errors":["Vault is sealed"]}"#;

fn answered(status: u16, body: impl Into<String>) -> Answered {
    Ok((status, &[DATE], body.into()))
}

fn logged_in() -> Answered {
    answered(200, r#"{"auth":{"client_token":"b.T"}}"#)
}

fn content(version: u64) -> Answered {
    let body = format!(r#"{{"data":{{"data":{{"a":1}},"metadata":{{"version":{version}}}}}}}"#);
    answered(200, body)
}

fn written(version: u64) -> Answered {
    let body = format!(r#"{{"data":{{"version":{version}}}}}"#);
    Ok((200, &[("x-vault-index", "i7")], body))
}

fn vault(role: Option<&str>, url: &str) -> Vault {
    let path = |path: &str| RecordPath {
        mount: "team/kv".into(),
        path: path.into(),
    };
    Vault {
        url: Url::parse(url).expect("it is one"),
        namespace: None,
        record: path("bbtoken/ci"),
        token_record: Some(path("bbtoken/token")),
        role: role.map(str::to_owned),
        auth_path: None,
        jwt: None,
    }
}

/// Runs a test on a record of a server with these answers and variables. Gives its result and the requests.
fn with<R>(
    vault: &Vault,
    given: &[(&str, &str)],
    answers: Vec<Answered>,
    run: impl FnOnce(&VaultRecord<'_>) -> R,
) -> (R, Vec<String>) {
    let server = Server::default();
    server.answers.borrow_mut().extend(answers);
    let variables = |name: &str| {
        let found = given.iter().find(|(of, _)| *of == name);
        let none = (name == "HOME").then(|| "/does/not/exist".into());
        found.map(|(_, value)| value.into()).or(none)
    };
    let session = VaultSession::default();
    let record = VaultRecord::new(vault, &vault.record, &server, &variables, &session);
    let result = run(&record);
    assert!(
        server.answers.borrow().is_empty(),
        "each answer is asked for"
    );
    (result, server.requests.into_inner())
}

fn https() -> Vault {
    vault(Some("ci"), "https://vault.example/base/")
}

const JWT: [(&str, &str); 1] = [("VAULT_ID_TOKEN", "eyJ.x.y")];
const TOKEN: [(&str, &str); 1] = [("VAULT_TOKEN", "s.T")];
const APP_ROLE: [(&str, &str); 2] = [("VAULT_ROLE_ID", "id"), ("VAULT_SECRET_ID", "secret")];

/// Names a result in one line.
fn shown<T: std::fmt::Debug>(result: Result<T, Trouble>) -> String {
    match result {
        Ok(result) => format!("{result:?}"),
        Err(Trouble::Overtaken) => "overtaken".to_owned(),
        Err(Trouble::Lost { why, .. }) => format!("lost: {why:#}"),
        Err(Trouble::Unusable(why)) => format!("unusable: {why:#}"),
    }
}

fn read(record: &VaultRecord<'_>) -> String {
    shown(record.read().map(|seen| {
        let text = seen.record.as_ref().map_or("none", Secret::expose);
        format!("{} {text}", seen.version.0)
    }))
}

fn write(record: &VaultRecord<'_>) -> String {
    let version = Version("3".into());
    shown(
        record
            .replace(&version, &Secret::new("{}"))
            .map(|new| new.0),
    )
}

#[test]
fn a_login_a_read_and_a_write_are_one_request_each() {
    let vault = Vault {
        namespace: Some("team".into()),
        ..https()
    };
    let answers = vec![logged_in(), content(3), written(4), content(4)];
    let ((), requests) = with(&vault, &JWT, answers, |record| {
        let seen = record.read().expect("it is there");
        assert_eq!(seen.store_time_unix_s, Some(784_111_777));
        let new = record.replace(&seen.version, &Secret::new(r#"{"b":2}"#));
        assert_eq!(new.expect("it is written"), Version("4".into()));
        assert_eq!(read(record), r#""4 {\"a\":1}""#);
    });
    let path = "/base/v1/team/kv/data/bbtoken/ci Bearer b.T X-Vault-Namespace: team";
    let expected = [
        r#"POST /base/v1/auth/jwt/login - X-Vault-Namespace: team {"jwt":"eyJ.x.y","role":"ci"}"#
            .to_owned(),
        format!("GET {path}"),
        format!(r#"POST {path} {{"options":{{"cas":3}},"data":{{"b":2}}}}"#),
        format!("GET {path} X-Vault-Index: i7 X-Vault-Inconsistent: forward-active-node"),
    ];
    assert_eq!(requests, expected);
}

#[test]
fn each_answer_to_a_read_has_its_meaning() {
    let cases: [(Answered, &str); 20] = [
        (content(3), r#""3 {\"a\":1}""#),
        (answered(404, r#"{"errors":[]}"#), r#""0 none""#),
        (
            answered(404, r#"{"data":{"data":null,"metadata":{"version":5}}}"#),
            r#""5 none""#,
        ),
        (
            answered(200, r#"{"data":{"a":1}}"#),
            "unusable: *vault kv enable-versioning team/kv",
        ),
        (
            answered(200, "<html>"),
            "unusable: *200 with a body that is not Vault's JSON; a proxy",
        ),
        (
            answered(200, "{}"),
            "unusable: *200 with JSON that is not Vault's",
        ),
        (answered(200, ""), "unusable: *200 with an empty body"),
        (answered(404, "<html>"), "unusable: *404 with"),
        (
            answered(404, r#"{"errors":["no handler"]}"#),
            "unusable: *404: no handler",
        ),
        (answered(403, "<html>"), "unusable: *403 with"),
        (
            answered(403, DENIED),
            r#"unusable: *403: permission denied; the token of VAULT_TOKEN has ended, or its policy lacks: path "team/kv/data/bbtoken/ci" { capabilities = ["read"] }"#,
        ),
        (answered(302, ""), "unusable: *302, a redirect"),
        (answered(307, ""), "lost: *307, a redirect"),
        (answered(412, r#"{"errors":[]}"#), "overtaken"),
        (
            answered(429, r#"{"errors":["quota\u001b"]}"#),
            r"lost: *429: quota\u{1b}",
        ),
        (answered(503, SEALED), "lost: *503: Vault is sealed"),
        (answered(502, "<html>"), "lost: *502 with"),
        (
            Err(Phase::TimeLimit),
            "lost: *'vault' did not answer in time",
        ),
        (Err(Phase::Answer), "lost: *was cut off"),
        (
            Err(Phase::Tls),
            "unusable: *cannot make a secure connection",
        ),
    ];
    for (answer, expected) in cases {
        let (found, _) = with(&https(), &TOKEN, vec![answer], read);
        let (start, part) = expected.split_once('*').unwrap_or((expected, ""));
        assert!(
            found.starts_with(start) && found.contains(part),
            "{found} for {expected}"
        );
        let is_named = found.contains(
            "cannot read the shared login 'team/kv/bbtoken/ci' of 'https://vault.example/base': ",
        );
        assert_eq!(is_named, expected.contains('*'), "{found}");
    }
}

#[test]
fn each_answer_to_a_write_has_its_meaning() {
    const CAS: &str = "check-and-set parameter did not match the current version";
    let cases: [(Answered, &str); 9] = [
        (written(4), r#""4""#),
        (written(3), "unusable: *200 with JSON that is not Vault's"),
        (answered(204, ""), "unusable: *is KV version 1"),
        (
            answered(400, format!(r#"{{"errors":["{CAS}"]}}"#)),
            "overtaken",
        ),
        (
            answered(400, r#"{"errors":["other"]}"#),
            "unusable: *400: other",
        ),
        (answered(403, DENIED), "unusable: *403: permission denied"),
        (
            answered(
                500,
                r#"{"errors":["local node not active but active cluster node not found"]}"#,
            ),
            "lost: *500: local node",
        ),
        (Err(Phase::Request), "lost: *closed the connection"),
        (answered(413, "{}"), "unusable: *413"),
    ];
    for (answer, expected) in cases {
        let answers = vec![content(3), answer];
        let (found, _) = with(&https(), &TOKEN, answers, |record| {
            read(record);
            write(record)
        });
        let (start, part) = expected.split_once('*').unwrap_or((expected, ""));
        assert!(
            found.starts_with(start) && found.contains(part),
            "{found} for {expected}"
        );
    }
}

#[test]
fn an_older_version_is_not_believed() {
    let answers = vec![
        content(3),
        content(2),
        answered(404, r#"{"errors":[]}"#),
        content(3),
    ];
    let (found, _) = with(&https(), &TOKEN, answers, |record| {
        [read(record), read(record), read(record), read(record)]
    });
    assert_eq!(
        found.map(|it| it == "overtaken"),
        [false, true, true, false]
    );
}

#[test]
fn a_pause_that_the_server_asks_for_is_limited() {
    let headers: &[(&str, &str)] = &[("retry-after", "99999999999999999999")];
    let answers = vec![Ok((429, headers, "{}".to_owned()))];
    let (found, _) = with(&https(), &TOKEN, answers, |record| record.read());
    let Err(Trouble::Lost { retry_after, .. }) = found else {
        panic!("it is busy");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(3600)));
}

#[test]
fn a_refused_token_is_replaced_once_by_a_login_with_a_jwt() {
    let denied = || answered(403, DENIED);
    let answers = vec![logged_in(), denied(), logged_in(), content(3)];
    let (found, requests) = with(&https(), &JWT, answers, read);
    assert_eq!((found.as_str(), requests.len()), (r#""3 {\"a\":1}""#, 4));
    let answers = vec![logged_in(), denied(), logged_in(), denied()];
    let (found, _) = with(&https(), &JWT, answers, read);
    assert!(
        found.contains("the policy of role 'ci' of 'auth/jwt' lacks: path"),
        "{found}"
    );
    let (found, _) = with(&https(), &APP_ROLE, vec![logged_in(), denied()], read);
    assert!(
        found.contains("the policy of the AppRole of 'auth/approle' lacks"),
        "{found}"
    );
}

/// Gives another record with the server, the login and the variables of this one.
fn sibling<'v>(record: &VaultRecord<'v>) -> VaultRecord<'v> {
    let wire::Wire { vault, http, .. } = record.wire;
    let copy = vault.token_record.as_ref().expect("it is set");
    VaultRecord::new(vault, copy, http, record.variables, record.session)
}

#[test]
fn all_records_of_a_command_use_one_login() {
    let denied = || answered(403, DENIED);
    let answers = vec![logged_in(), content(3), content(1)];
    let ((), requests) = with(&https(), &APP_ROLE, answers, |record| {
        assert_eq!(read(record), r#""3 {\"a\":1}""#);
        let copy = sibling(record);
        assert_eq!(read(&copy), r#""1 {\"a\":1}""#, "each has its versions");
    });
    assert_eq!(requests.len(), 3);
    let refused = vec![answered(400, r#"{"errors":["invalid role or secret ID"]}"#)];
    let ((), requests) = with(&https(), &APP_ROLE, refused, |record| {
        assert_eq!(read(record), read(&sibling(record)), "the answer is final");
    });
    assert_eq!(requests.len(), 1);
    let answers = vec![logged_in(), denied(), logged_in(), content(3), denied()];
    let ((), _) = with(&https(), &JWT, answers, |record| {
        assert_eq!(read(record), r#""3 {\"a\":1}""#);
        let second = read(&sibling(record));
        assert!(second.contains("the policy of role 'ci'"), "{second}");
    });
}

#[test]
fn a_denied_request_names_the_rights_that_it_needs() {
    for (ask, rights) in [
        (read as fn(&VaultRecord<'_>) -> String, r#"["read"]"#),
        (write, r#"["create", "read", "update"]"#),
    ] {
        let (found, _) = with(&https(), &TOKEN, vec![answered(403, DENIED)], ask);
        let rule = format!(r#"path "team/kv/data/bbtoken/ci" {{ capabilities = {rights} }}"#);
        assert!(found.contains(&rule), "{found}");
    }
}

/// Inspects a store with these answers for the rights and the engine.
fn inspected(rights: Answered, engine: &str) -> String {
    let nothing = || answered(403, DENIED);
    let answers = vec![
        rights,
        answered(200, engine),
        nothing(),
        nothing(),
        answered(429, "{}"),
    ];
    let server = Server::default();
    server.answers.borrow_mut().extend(answers);
    let (vault, session) = (https(), VaultSession::default());
    let variables = |name: &str| (name == "VAULT_TOKEN").then(|| "s.T".into());
    let record = VaultRecord::new(&vault, &vault.record, &server, &variables, &session);
    match record.inspect() {
        Ok(found) => format!("{:?} {:?}", found.facts, found.problems),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn an_inspection_says_only_what_the_store_told() {
    const KV_2: &str = r#"{"data":{"type":"kv","options":{"version":"2"}}}"#;
    let denied = || answered(403, DENIED);
    let found = inspected(denied(), KV_2);
    assert!(found.contains("the rights are unknown"), "{found}");
    assert!(found.contains("a standby answers"), "{found}");
    assert!(found.ends_with(" []"), "it is not a problem: {found}");
    for (engine, expected) in [
        (
            r#"{"data":{"type":"kv","options":null}}"#,
            "the engine 'team/kv' is KV version 1",
        ),
        (
            r#"{"data":{"type":"transit","options":null}}"#,
            r"the engine 'team/kv' is of the type 'transit', not KV version 2",
        ),
    ] {
        let found = inspected(denied(), engine);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn a_login_that_may_have_arrived_is_repeated_only_with_a_jwt() {
    let refused = r#"{"errors":["invalid role or secret ID"]}"#;
    type Case = (fn() -> Answered, bool, bool);
    let cases: [Case; 10] = [
        (|| Err(Phase::Request), true, false),
        (|| Err(Phase::TimeLimit), true, false),
        (|| answered(502, "<html>"), true, false),
        (|| answered(412, r#"{"errors":[]}"#), true, false),
        (
            || answered(500, r#"{"errors":["internal error"]}"#),
            true,
            false,
        ),
        (
            || answered(500, r#"{"errors":["local node not active"]}"#),
            true,
            true,
        ),
        (|| answered(503, SEALED), true, true),
        (|| answered(307, ""), true, true),
        (|| answered(429, r#"{"errors":[]}"#), true, true),
        (|| answered(200, r#"{"auth":null}"#), false, false),
    ];
    for (answer, with_jwt, with_app_role) in cases {
        for (given, is_repeated) in [(&JWT[..], with_jwt), (&APP_ROLE[..], with_app_role)] {
            let mut answers = vec![answer()];
            if is_repeated {
                answers.extend([logged_in(), content(3)]);
            }
            let (found, _) = with(&https(), given, answers, |record| {
                let first = read(record);
                (first, read(record))
            });
            let start = if is_repeated { "lost: " } else { "unusable: " };
            assert!(found.0.starts_with(start), "{found:?}");
            assert_eq!(found.1.starts_with('"'), is_repeated, "{found:?}");
        }
    }
    for given in [&JWT[..], &APP_ROLE[..]] {
        let ((), requests) = with(&https(), given, vec![answered(400, refused)], |record| {
            let (first, second) = (read(record), read(record));
            assert!(first.contains("400: invalid role or secret ID"), "{first}");
            assert_eq!(first, second, "the answer is final");
        });
        assert_eq!(requests.len(), 1);
    }
}

#[test]
fn the_first_login_that_is_there_is_used() {
    let all = [&JWT[..], &[("BAO_TOKEN", "s.B")], &TOKEN, &APP_ROLE].concat();
    let path = "/v1/auth/";
    for (skip, role, expected) in [
        (0, Some("ci"), "POST /base/v1/auth/jwt/login"),
        (0, None, "GET /base/v1/team/kv/data/bbtoken/ci Bearer s.B"),
        (
            2,
            Some("ci"),
            "GET /base/v1/team/kv/data/bbtoken/ci Bearer s.T",
        ),
        (3, Some("ci"), "POST /base/v1/auth/approle/login"),
    ] {
        let vault = vault(role, "https://vault.example/base");
        let answers = match expected.contains(path) {
            true => vec![logged_in(), content(3)],
            false => vec![content(3)],
        };
        let (_, requests) = with(&vault, &all[skip..], answers, read);
        assert!(requests[0].starts_with(expected), "{requests:?}");
    }
    let (found, _) = with(&https(), &[], Vec::new(), read);
    assert!(
        found.contains("role 'ci' needs a JWT in VAULT_ID_TOKEN or"),
        "{found}"
    );
    let agent = vault(None, "http://127.0.0.1:8100");
    let (_, requests) = with(&agent, &[], vec![content(3)], read);
    assert_eq!(requests, ["GET /v1/team/kv/data/bbtoken/ci -"]);
    let (found, _) = with(&agent, &[], vec![answered(403, DENIED)], read);
    assert!(
        found.contains("403: permission denied; there is no login to the store: set storeRole"),
        "{found}"
    );
}

#[test]
fn a_jwt_comes_from_the_place_that_the_settings_name() {
    let given = [("MINE", "eyJ.mine.y"), JWT[0]];
    let own = Vault {
        jwt: Some(Jwt::Variable("MINE".into())),
        auth_path: Some("gitlab/jwt".into()),
        ..https()
    };
    let (_, requests) = with(&own, &given, vec![logged_in(), content(3)], read);
    assert!(
        requests[0].starts_with(r#"POST /base/v1/auth/gitlab/jwt/login - {"jwt":"eyJ.mine.y""#),
        "{requests:?}"
    );
    let missing = Vault {
        jwt: Some(Jwt::File("/does/not/exist".into())),
        ..https()
    };
    let (found, _) = with(&missing, &JWT, Vec::new(), read);
    assert!(
        found.contains("role 'ci' needs the file '/does/not/exist'"),
        "{found}"
    );
    let several = [("VAULT_ID_TOKEN", "two words")];
    let (found, _) = with(&https(), &several, Vec::new(), read);
    assert!(
        found.contains("the login to the store in VAULT_ID_TOKEN contains more than one word"),
        "{found}"
    );
}

#[test]
fn any_answer_is_a_record_or_an_error_in_one_line() {
    let kept = [
        r#"{"data":{"data":{"a":1},"metadata":{"version":3}}}"#,
        r#"{"data":{"version":4},"errors":["a\nb\u001b[31m", 7]}"#,
        r#"{"auth":{"client_token":"b.T\n"}}"#,
        r#"{"data":{"data":[],"metadata":{"version":-1}}}"#,
    ];
    crate::inside::fuzz::check_text(&kept, |text| {
        for status in [200, 400, 403, 404, 503] {
            let answers = vec![answered(status, text), content(3)];
            let server = Server::default();
            server.answers.borrow_mut().extend(answers);
            let (vault, variables) = (https(), |name: &str| {
                (name == "VAULT_TOKEN").then(|| "s.T".into())
            });
            let session = VaultSession::default();
            let record = VaultRecord::new(&vault, &vault.record, &server, &variables, &session);
            let (first, second) = (
                record.read(),
                record.replace(&Version("0".into()), &Secret::new("{}")),
            );
            for trouble in [first.err(), second.err()].into_iter().flatten() {
                if let Trouble::Lost { why, .. } | Trouble::Unusable(why) = trouble {
                    crate::inside::fuzz::expect_printable(&format!("{why:#}"));
                }
            }
        }
    });
}
