//! Every exchange that the shared store relies on, as the real OpenBao answers it. A version with other words fails here.
//!
//! `UPDATE_EXPECT=1 cargo test --test it -- fleet::` writes the texts again.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use expect_test::{ExpectFile, expect_file};
use serde_json::{Value, json};

use super::{
    bao::Bao,
    mounts::{NAMESPACE, RECORD, now_unix_s},
    node::{Node, Storage, until},
    proxy::Proxy,
    transcript::Transcript,
    wire::Request,
};
use crate::{needs::needs, texts::is_expected};

/// A node, and what is said with it.
struct Talk {
    bao: Bao,
    said: Transcript,
}

impl Talk {
    fn new() -> Self {
        let bao = Bao::one();
        let mut said = Transcript::default();
        said.name(bao.root.clone(), "ROOT");
        Talk { bao, said }
    }

    fn ask(&self, method: &'static str, path: &str) -> Request {
        self.bao.nodes[0].request(method, path)
    }

    /// A token of a job, shown as `JOB`.
    fn job(&mut self) -> String {
        let token = self.bao.log_in("ci");
        self.said.name(token.clone(), "JOB");
        token
    }

    fn get(&mut self, what: &str, token: &str, path: &str) {
        let request = self.ask("GET", path).token(token);
        self.said.note(what, request);
    }

    fn health(&mut self, what: &str) {
        let request = self.ask("GET", "sys/health");
        self.said.note(what, request);
    }

    fn post(&mut self, what: &str, token: &str, path: &str, body: Value) {
        let request = self.ask("POST", path).token(token).body(body);
        self.said.note(what, request);
    }

    #[track_caller]
    fn is_expected(&self, expected: &ExpectFile) {
        is_expected(expected, &self.said.text);
    }
}

fn record(cas: u64, refresh_token: &str) -> Value {
    json!({"options": {"cas": cas}, "data": {"refresh_token": refresh_token}})
}

#[test]
fn records_and_versions() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let job = &talk.job();
    talk.get("nothing was ever written", job, RECORD);
    talk.post("the first version", job, RECORD, record(0, "R1"));
    talk.get("it is read", job, RECORD);
    talk.post("there is one already", job, RECORD, record(0, "R2"));
    talk.post("the second version", job, RECORD, record(1, "R2"));
    talk.post("by an old version", job, RECORD, record(1, "R3"));
    talk.post("by no version yet", job, RECORD, record(7, "R3"));
    let without = json!({"data": {"refresh_token": "R3"}});
    talk.post("without a version", job, RECORD, without.clone());

    let root = &talk.bao.root.clone();
    let metadata = &RECORD.replace("/data/", "/metadata/");
    let rules = json!({"cas_required": true, "max_versions": 2});
    talk.post("rules of the record", root, metadata, rules);
    talk.post("now a version must be named", job, RECORD, without);
    talk.get("what is known of the record", root, metadata);
    let delete = talk.ask("DELETE", RECORD).token(root);
    talk.said.note("deleted, softly", delete);
    talk.get("a deleted version", job, RECORD);
    talk.post("it is not the first", job, RECORD, record(0, "R4"));
    talk.post("it is the next", job, RECORD, record(3, "R4"));
    let destroy = RECORD.replace("/data/", "/destroy/");
    talk.post("destroyed", root, &destroy, json!({"versions": [4]}));
    talk.get("a destroyed version", job, RECORD);
    let delete = talk.ask("DELETE", metadata).token(root);
    talk.said.note("deleted with all versions", delete);
    talk.get("as if nothing was ever written", job, RECORD);
    talk.is_expected(&expect_file!["../expected/openbao-records.txt"]);
}

#[test]
fn other_mounts() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let job = &talk.job();
    let old = "old/data/bbtoken/ci";
    talk.post("no versions here", job, old, record(0, "R1"));
    talk.post("the condition is data", job, old, record(0, "R2"));
    talk.get("no version in the answer", job, old);
    let short = "short/data/bbtoken/ci";
    talk.post("a version with an end", job, short, record(0, "R1"));
    until("the version has ended", || {
        let answer = talk.ask("GET", short).token(job).done();
        (answer.status == 404).then_some(())
    });
    talk.get("a version that ended", job, short);
    let root = &talk.bao.root.clone();
    talk.get("no such mount", root, "none/data/bbtoken/ci");
    talk.get("no mount for a job", job, "none/data/bbtoken/ci");
    for (what, mount) in [
        ("a mount with versions", "secret"),
        ("a mount without versions", "old"),
        ("no such mount", "none"),
    ] {
        let path = format!("sys/internal/ui/mounts/{mount}/bbtoken/ci");
        talk.get(what, job, &path);
    }
    talk.is_expected(&expect_file!["../expected/openbao-mounts.txt"]);
}

#[test]
fn refusals_and_rights() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let job = &talk.job();
    let reader = &talk.bao.log_in("reader");
    talk.said.name(reader.clone(), "READER");
    talk.get("a record of others", job, "secret/data/bbtoken/other");
    talk.post("may only read", reader, RECORD, record(0, "R1"));
    talk.get("a token that never was", "s.none", RECORD);
    let ask = talk.ask("GET", RECORD);
    talk.said.note("no token", ask);
    let short_lived = json!({"policies": ["job"], "ttl": "1s"});
    let request = talk.ask("POST", "auth/token/create").body(short_lived);
    let ended = request.token(&talk.bao.root).ok();
    let ended = ended.text("/auth/client_token");
    talk.said.name(ended.clone(), "ENDED");
    until("the token has ended", || {
        let answer = talk.ask("GET", RECORD).token(&ended).done();
        (answer.status == 403).then_some(())
    });
    talk.get("a token that has ended", &ended, RECORD);
    for (what, token) in [("rights of a job", job), ("rights of a reader", reader)] {
        let paths = json!({"paths": [RECORD, "secret/data/bbtoken/other"]});
        talk.post(what, token, "sys/capabilities-self", paths);
    }
    talk.is_expected(&expect_file!["../expected/openbao-refusals.txt"]);
}

#[test]
fn logins() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let now = now_unix_s();
    let good = talk.bao.job();
    let ended = talk.bao.issuer.token(now - 3600);
    let elsewhere = talk
        .bao
        .issuer
        .token_for("https://other.example", now + 3600);
    let forged = super::jwt::Issuer::new().token(now + 3600);
    let cases = [
        ("a job logs in", "jwt", "ci", &good, "JWT"),
        ("as Kubernetes", "kubernetes", "ci", &good, "JWT"),
        ("it has ended", "jwt", "ci", &ended, "ENDED"),
        ("for another audience", "jwt", "ci", &elsewhere, "ELSEWHERE"),
        ("signed by another key", "jwt", "ci", &forged, "FORGED"),
        ("no such role", "jwt", "none", &good, "JWT"),
        ("no such mount", "none", "ci", &good, "JWT"),
    ];
    for (what, mount, role, jwt, name) in cases {
        talk.said.name(jwt.clone(), name);
        let login = json!({"role": role, "jwt": jwt});
        let request = talk.ask("POST", &format!("auth/{mount}/login")).body(login);
        talk.said.note(what, request);
    }
    talk.is_expected(&expect_file!["../expected/openbao-logins.txt"]);
}

#[test]
fn logins_of_an_app_role() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let [role, secret] = talk.bao.app_role();
    talk.said.name(role.clone(), "ROLE");
    talk.said.name(secret.clone(), "SECRET");
    let mut log_in = |what: &str, secret: &str| {
        let login = json!({"role_id": role, "secret_id": secret});
        let request = talk.ask("POST", "auth/approle/login").body(login);
        talk.said.note(what, request)
    };
    log_in("an AppRole logs in", &secret);
    log_in("a wrong secret", "wrong");
    for _ in 0..4 {
        log_in("again", "wrong");
    }
    log_in("the role is locked", "wrong");
    log_in("also for the right secret", &secret);
    talk.is_expected(&expect_file!["../expected/openbao-app-role.txt"]);
}

#[test]
fn other_ways_to_a_record() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let job = &talk.job();
    talk.post("a record", job, RECORD, record(0, "R1"));
    let wrapped = talk.ask("GET", RECORD).token(job);
    let wrapped = talk
        .said
        .note("wrapped", wrapped.header("X-Vault-Wrap-TTL", "60s"));
    let wrapping = wrapped.text("/wrap_info/token");
    talk.said.name(wrapping.clone(), "WRAPPING");
    for what in ["unwrapped", "unwrapped once more"] {
        let request = talk.ask("POST", "sys/wrapping/unwrap").token(&wrapping);
        talk.said.note(what, request);
    }
    let login = talk.ask("GET", RECORD);
    let login = login.header("X-Vault-Inline-Auth-Path", "auth/jwt/login");
    let jwt = talk.bao.job();
    let inline = |name: &str, value: &str| {
        let parameter = json!({"key": name, "value": value}).to_string();
        URL_SAFE_NO_PAD.encode(parameter)
    };
    let (role, jwt) = (inline("role", "ci"), inline("jwt", &jwt));
    talk.said.name(jwt.clone(), "INLINE");
    let login = login
        .header("X-Vault-Inline-Auth-Parameter-1", &role)
        .header("X-Vault-Inline-Auth-Parameter-2", &jwt);
    talk.said.note("a login and a read at once", login);
    talk.is_expected(&expect_file!["../expected/openbao-ways.txt"]);
}

#[test]
fn namespaces() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let login = json!({"role": "ci", "jwt": talk.bao.job()});
    talk.said.name(login["jwt"].as_str().unwrap_or(""), "JWT");
    let login = talk.ask("POST", "auth/jwt/login").body(login);
    let login = login.header("X-Vault-Namespace", NAMESPACE);
    let answer = talk.said.note("a login in a namespace", login);
    let of_team = answer.text("/auth/client_token");
    talk.said.name(of_team.clone(), "TEAM");
    let path = format!("{NAMESPACE}/{RECORD}");
    talk.post("its path", &of_team, &path, record(0, "R1"));
    for namespace in [NAMESPACE, "none"] {
        let request = talk.ask("GET", RECORD).token(&of_team);
        let request = request.header("X-Vault-Namespace", namespace);
        talk.said
            .note(&format!("the header for '{namespace}'"), request);
    }
    talk.get("a record outside of it", &of_team, RECORD);
    talk.is_expected(&expect_file!["../expected/openbao-namespaces.txt"]);
}

#[test]
fn states_of_a_node() {
    needs!("programs/openbao");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let new = Node::start(directory.path().join("node"), &Storage::Memory, None);
    let mut talk = Talk::new();
    for path in ["sys/health", RECORD] {
        talk.said.note("not initialized", new.request("GET", path));
    }
    let job = &talk.job();
    talk.health("it works");
    talk.bao.limit(RECORD, 1, "60s");
    talk.get("one request a minute", job, RECORD);
    talk.get("one more", job, RECORD);
    talk.bao.seal(0);
    talk.health("sealed");
    talk.get("a read of a sealed node", job, RECORD);
    let login = json!({"role": "ci", "jwt": "JWT"});
    let login = talk.ask("POST", "auth/jwt/login").body(login);
    talk.said.note("a login to a sealed node", login);
    talk.bao.unseal(0);
    talk.health("unsealed");
    talk.is_expected(&expect_file!["../expected/openbao-states.txt"]);
}

#[test]
fn a_proxy_that_logs_in_itself() {
    needs!("programs/openbao");
    let mut talk = Talk::new();
    let proxy = Proxy::start(&talk.bao);
    talk.said
        .note("a read without the header", proxy.request("GET", RECORD));
    let with_header = |request: Request| request.header("X-Vault-Request", "true");
    let read = with_header(proxy.request("GET", RECORD));
    talk.said.note("nothing was ever written", read);
    for cas in [0, 0] {
        let write = with_header(proxy.request("POST", RECORD));
        talk.said.note("a write", write.body(record(cas, "R1")));
    }
    talk.is_expected(&expect_file!["../expected/openbao-proxy.txt"]);
}
