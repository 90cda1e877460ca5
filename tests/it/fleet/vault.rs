//! The store `vault` on the real OpenBao: logins, rights, engines that cannot be used, and standbys.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::{
    bao::Bao,
    machines::{all_succeed, on_machines},
    mounts::{NAMESPACE, RECORD, now_unix_s},
    node::until,
    proxy::Proxy,
};
use crate::{
    needs::needs,
    support::{Run, World, gits},
};

const READ: &str = "read secret/data/bbtoken/ci";

/// The settings of each job.
fn with_store(run: Run, url: &str) -> Run {
    run.without_client()
        .env("BBTOKEN_STORE", "vault")
        .env("BBTOKEN_STORE_PATH", "secret/bbtoken/ci")
        .env("VAULT_ADDR", url)
}

/// Logs in the client of a world as an administrator does.
fn log_in(world: &World, bao: &Bao) -> Run {
    let key = &world.consumer.key;
    let login = ["login", "ci", "--client-credentials", "--client-id", key];
    let run = world.bbtoken(login).arg("--with-secret").arg("--no-setup");
    with_store(run, &bao.address(0))
        .env("VAULT_TOKEN", &bao.root)
        .input(&world.consumer.secret)
}

fn token(world: &World, bao: &Bao) -> Run {
    with_store(world.bbtoken(["token"]), &bao.address(0))
}

/// A job of the CI service.
fn job(world: &World, bao: &Bao) -> Run {
    let run = token(world, bao).env("BBTOKEN_STORE_ROLE", "ci");
    run.env("VAULT_ID_TOKEN", bao.job())
}

fn world() -> World {
    World::new(gits().remove(0))
}

impl Bao {
    /// The content of the record.
    pub(super) fn content(&self) -> Value {
        let answer = self.admin("GET", RECORD).ok().json();
        let content = answer.pointer("/data/data");
        content.expect("there is a record").clone()
    }

    /// Changes the record as an administrator would.
    pub(super) fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut content = self.content();
        change(&mut content);
        self.set(RECORD, json!({ "data": content }));
    }
}

#[test]
fn each_way_to_log_in_leads_to_the_same_token() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    let shared = bao.content()["access"]["token"].clone();
    let jwt = world.path("jwt");
    fs::write(&jwt, bao.job() + "\n").expect("the world can be written");
    let [role_id, secret_id] = bao.app_role();
    let secret_file = world.path("secret-id");
    fs::write(&secret_file, &secret_id).expect("the world can be written");
    let (with_role, with_token) = (job(&world, &bao), bao.log_in("ci"));
    let by_file = token(&world, &bao)
        .env("BBTOKEN_STORE_ROLE", "ci")
        .env("BBTOKEN_STORE_JWT_FILE", &jwt);
    let as_pod = token(&world, &bao)
        .env("BBTOKEN_STORE_ROLE", "ci")
        .env("BBTOKEN_STORE_JWT_FILE", &jwt)
        .env("BBTOKEN_STORE_AUTH_PATH", "kubernetes");
    let in_pipelines = token(&world, &bao)
        .env("BBTOKEN_STORE_ROLE", "ci")
        .env("BITBUCKET_STEP_OIDC_TOKEN", bao.job());
    let as_app = token(&world, &bao)
        .env("VAULT_ROLE_ID", &role_id)
        .env("VAULT_SECRET_ID", &secret_id);
    let as_app_by_file = token(&world, &bao)
        .env("VAULT_ROLE_ID", &role_id)
        .env("VAULT_SECRET_ID_FILE", &secret_file);
    let ready = token(&world, &bao).env("BAO_TOKEN", with_token);
    for run in [
        with_role,
        by_file,
        as_pod,
        in_pipelines,
        as_app,
        as_app_by_file,
        ready,
    ] {
        assert_eq!(run.ok().trim_end(), shared);
    }
    let of_person = world.home().join(".vault-token");
    fs::write(&of_person, bao.log_in("ci")).expect("the world can be written");
    fs::set_permissions(&of_person, fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert_eq!(token(&world, &bao).ok().trim_end(), shared);
    fs::remove_file(&of_person).expect("it is there");
    let proxy = Proxy::start(&bao);
    let by_proxy = token(&world, &bao).env("VAULT_ADDR", proxy.url());
    assert_eq!(by_proxy.ok().trim_end(), shared);
    let requests = world.bitbucket.token_requests().len();
    assert_eq!(
        requests, 2,
        "one at the login for its check, and one for all"
    );
}

#[test]
fn a_namespace_has_records_and_logins_of_its_own() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    let within = |run: Run| run.env("BAO_NAMESPACE", NAMESPACE);
    within(log_in(&world, &bao)).done().expect(0);
    within(job(&world, &bao)).ok();
    let elsewhere = job(&world, &bao).fails(4);
    elsewhere.says(&["there is no shared login in 'secret/bbtoken/ci' of"]);
}

#[test]
fn a_refused_login_is_explained() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    let ended = bao.issuer.token(now_unix_s() - 600);
    let elsewhere = bao
        .issuer
        .token_for("https://other.example", now_unix_s() + 600);
    for (change, words) in [
        (
            ("VAULT_ID_TOKEN", ended.as_str()),
            "400: error validating token: invalid expiration",
        ),
        (
            ("VAULT_ID_TOKEN", &elsewhere),
            "400: error validating token: invalid audience",
        ),
        (
            ("BBTOKEN_STORE_ROLE", "none"),
            "400: role \"none\" could not be found",
        ),
        (
            ("BBTOKEN_STORE_AUTH_PATH", "none"),
            "403: permission denied",
        ),
    ] {
        let done = job(&world, &bao).env(change.0, change.1).fails(7);
        done.says(&["error: cannot log in as role '", words]);
        assert!(!done.stderr.contains(&ended), "no error shows a token");
    }
    let [role_id, _] = bao.app_role();
    let wrong = token(&world, &bao)
        .env("VAULT_ROLE_ID", role_id)
        .env("VAULT_SECRET_ID", "wrong");
    let wrong = wrong.fails(7);
    wrong.says(&[
        "cannot log in as the AppRole of 'auth/approle'",
        "400: invalid role or secret ID",
    ]);
    let denied = job(&world, &bao).env("BBTOKEN_STORE_PATH", "secret/bbtoken/other");
    denied.fails(7).says(&[
        "403: permission denied; the policy of role 'ci' of 'auth/jwt' lacks: \
         path \"secret/data/bbtoken/other\" { capabilities = [\"read\"] }",
    ]);
}

#[test]
fn a_command_logs_in_to_its_store_once() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    for words in [&["doctor"][..], &["renew", "ci"]] {
        let before = bao.asked().len();
        bao.set("auth/approle/role/ci", json!({ "secret_id_num_uses": 1 }));
        let [role_id, secret_id] = bao.app_role();
        let once = with_store(world.bbtoken(words), &bao.address(0))
            .env("BBTOKEN_STORE_TOKEN_PATH", "secret/bbtoken/ci-token")
            .env("VAULT_ROLE_ID", role_id)
            .env("VAULT_SECRET_ID", secret_id);
        let done = once.done();
        let said = done.stdout + &done.stderr;
        assert!(!said.contains("cannot log in"), "{said}");
        let asked = bao.asked().split_off(before);
        let count = |request: &str| asked.iter().filter(|it| *it == request).count();
        let (logins, reads) = (count("update auth/approle/login"), count(READ));
        assert!(logins == 1 && reads >= 1, "{words:?}: {asked:?}\n{said}");
    }
    let copy = format!("{READ}-token");
    assert!(bao.asked().contains(&copy), "renew asks for both records");
}

#[test]
fn a_job_that_may_only_read_uses_the_token_and_never_renews_it() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    let reader = || job(&world, &bao).env("BBTOKEN_STORE_ROLE", "reader");
    reader().ok();
    let requests = world.bitbucket.token_requests().len();
    bao.change(|record| record["access"] = Value::Null);
    reader().fails(7).says(&[
        "can be read but not written",
        ", so nothing was requested from Bitbucket",
        "the policy of role 'reader' of 'auth/jwt' lacks: path \"secret/data/bbtoken/ci\"",
    ]);
    assert_eq!(world.bitbucket.token_requests().len(), requests);
    job(&world, &bao).ok();
    assert_eq!(world.bitbucket.token_requests().len(), requests + 1);
    reader().ok();
}

#[test]
fn a_deleted_record_can_be_written_again() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    bao.admin("DELETE", RECORD).ok();
    job(&world, &bao)
        .fails(4)
        .says(&["there is no shared login"]);
    log_in(&world, &bao).done().expect(0);
    job(&world, &bao).ok();
}

#[test]
fn an_engine_without_versions_is_refused() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    let login = log_in(&world, &bao).env("BBTOKEN_STORE_PATH", "old/bbtoken/ci");
    login.fails(7).says(&["the engine 'old' is KV version 1"]);
    let nothing = bao.admin("GET", "old/data/bbtoken/ci").done();
    assert_eq!(nothing.status, 404, "no secret is written there");
    bao.set("old/data/bbtoken/ci", json!({ "data": { "a": 1 } }));
    let old = job(&world, &bao).env("BBTOKEN_STORE_PATH", "old/bbtoken/ci");
    old.fails(7).says(&["the engine 'old' is KV version 1"]);
}

#[test]
fn a_sealed_server_is_waited_for() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::one());
    log_in(&world, &bao).done().expect(0);
    bao.seal(0);
    let mut waiting = job(&world, &bao).into_command();
    let errors = world.path("errors");
    let file = fs::File::create(&errors).expect("the world can be written");
    let mut child = waiting
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("it starts");
    let said = || fs::read_to_string(&errors).expect("it is text");
    until("it says what it waits for", || {
        said()
            .contains("waiting for the shared login: cannot log in as role 'ci'")
            .then_some(())
    });
    assert!(said().contains("503: Vault is sealed"), "{}", said());
    bao.unseal(0);
    assert!(child.wait().expect("it ends").success(), "{}", said());
}

#[test]
fn a_renewal_over_three_nodes_is_one_request() {
    needs!("programs/openbao");
    let (world, bao) = (world(), Bao::three());
    let trusting = |run: Run| run.env("VAULT_CACERT", bao.ca_file());
    let leader = bao.leader();
    let at = |run: Run, node: usize| trusting(run).env("VAULT_ADDR", bao.address(node));
    at(log_in(&world, &bao), leader).done().expect(0);
    let untrusted = job(&world, &bao).fails(6);
    untrusted.says(&["cannot make a secure connection to '127.0.0.1'"]);
    let doctor = with_store(world.bbtoken(["doctor"]), "").env("VAULT_TOKEN", &bao.root);
    let found = at(doctor, (leader + 1) % 3).done().stdout;
    assert!(found.contains("store: a standby answers"), "{found}");
    let requests = world.bitbucket.token_requests().len();
    for renewal in 1..=3 {
        let mut content = bao.nodes[leader]
            .request("GET", RECORD)
            .token(&bao.root)
            .ok()
            .json();
        let mut content = content
            .pointer_mut("/data/data")
            .expect("it is there")
            .take();
        content["access"] = Value::Null;
        let change = bao.nodes[leader].request("POST", RECORD).token(&bao.root);
        change.body(json!({ "data": content })).ok();
        let jobs = on_machines(&world, 0..12, 6, |machine, _: &Path| {
            at(job(&world, &bao), (leader + machine) % 3)
        });
        all_succeed(&jobs);
        let asked = world.bitbucket.token_requests().len() - requests;
        assert_eq!(asked, renewal, "one for each renewal");
    }
}
