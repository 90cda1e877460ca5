//! Control over HTTP.

use serde_json::{Value, json};

use crate::client::{Client, Reply, basic};
use crate::support::{REFS, bitbucket};

fn control(client: &mut Client, key: &str, method: &str, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    client
        .send(method, path, &[("x-local-key", key)], body)
        .expect("because the server answers")
}

#[test]
fn control_needs_its_key() {
    let bitbucket = bitbucket();
    let reply = control(
        &mut Client::http1(&bitbucket),
        "wrong",
        "GET",
        "/_local/requests",
        &Value::Null,
    );
    assert_eq!(reply.status, 403, "another key is refused");
}

#[test]
fn everything_a_demonstration_needs_can_be_done_over_http() {
    let bitbucket = bitbucket();
    let key = bitbucket.control_key();
    let mut client = Client::http1(&bitbucket);
    let mut run = |method: &str, path: &str, body: Value| {
        let reply = control(&mut client, key, method, path, &body);
        assert_eq!(
            reply.status,
            200,
            "{method} {path} {body}: {}",
            reply.text()
        );
        reply.json()
    };
    let made = run(
        "POST",
        "/_local/repositories",
        json!({ "workspace": "ws", "name": "second" }),
    );
    assert_eq!(
        made["path"],
        json!(bitbucket.repository_path("ws", "second")),
        "a repository is made"
    );
    let made = run(
        "POST",
        "/_local/tokens",
        json!({ "kind": "access", "scopes": ["repository"] }),
    );
    let token = basic(
        "x-token-auth",
        made["token"].as_str().expect("because a token was issued"),
    );
    let rule = json!({ "kind": "git", "action": { "answer": { "status": 429, "headers": [["Retry-After", "1"]] } } });
    run("POST", "/_local/script", rule);
    run(
        "POST",
        "/_local/script",
        json!({ "kind": "git", "times": null, "action": { "delay_ms": 1 } }),
    );
    run(
        "POST",
        "/_local/settings",
        json!({ "rotation": false, "scope_field": "scopes" }),
    );
    assert!(
        !bitbucket.settings().rotation,
        "a setting that is named changes"
    );
    assert_eq!(bitbucket.settings().refresh_grace_s, 600, "the others stay");

    run(
        "POST",
        "/_local/settings",
        json!({ "data_center": { "maintenance": true } }),
    );
    run(
        "POST",
        "/_local/settings",
        json!({ "data_center": { "user": "ann" } }),
    );
    let data_center = bitbucket.settings().data_center;
    assert_eq!(
        (data_center.maintenance, data_center.user.as_str()),
        (true, "ann"),
        "so does one of a group"
    );

    let mut git = Client::http1(&bitbucket);
    let statuses = [
        git.get(REFS, Some(&token)).status,
        git.get(REFS, Some(&token)).status,
    ];
    assert_eq!(statuses, [429, 200], "rules and tokens work");
    run("POST", "/_local/revoke", Value::Null);
    assert_eq!(
        git.get(REFS, Some(&token)).status,
        401,
        "tokens are revoked"
    );
    run("POST", "/_local/clock", json!({ "advance_s": 60 }));
    run("POST", "/_local/release", Value::Null);
    run("DELETE", "/_local/script", Value::Null);
    let seen = run("GET", "/_local/requests", Value::Null);
    assert_eq!(
        seen.as_array().map(Vec::len),
        Some(3),
        "only git's requests are recorded: {seen}"
    );
    assert_eq!(seen[0]["status"], 429, "with their status");
    assert_eq!(
        run("GET", "/_local/connections", Value::Null),
        2,
        "connections are counted"
    );
    assert_eq!(
        run("GET", "/_local/refresh-uses", Value::Null),
        json!([]),
        "no refresh token was issued"
    );
    run(
        "POST",
        "/_local/consumers",
        json!(bitbucket_local::Consumer::new_public()),
    );
    run("DELETE", "/_local/requests", Value::Null);
    assert_eq!(
        run("GET", "/_local/requests", Value::Null),
        json!([]),
        "they can be forgotten"
    );
}

#[test]
fn a_broken_control_request_says_what_is_wrong() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let cases = [
        ("/_local/script", json!({ "action": "dance" })),
        ("/_local/settings", json!({ "unknown": 1 })),
        (
            "/_local/repositories",
            json!({ "workspace": "..", "name": "x" }),
        ),
    ];
    for (path, body) in cases {
        let reply = control(&mut client, bitbucket.control_key(), "POST", path, &body);
        assert_eq!(reply.status, 400, "'{path}' refuses {body}");
        assert!(!reply.body.is_empty(), "and says why");
    }
}
