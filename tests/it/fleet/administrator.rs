//! An administrator logs in once, for all machines: what the commands say, and what they leave in OpenBao.

use serde_json::json;

use super::bao::Bao;
use crate::{
    needs::needs,
    person,
    support::{Done, Run, World, gits},
};

/// Lets a command use the server with a token.
fn at(bao: &Bao, run: Run, token: &str) -> Run {
    run.env("VAULT_ADDR", bao.address(0))
        .env("VAULT_TOKEN", token)
}

/// The command of a job, which has a JWT and two settings.
pub(super) fn job(bao: &Bao, world: &World, words: &[&str]) -> Run {
    as_job(bao, world, world.bbtoken(words.iter().copied()))
}

/// Gives a command what a job has: a JWT and two settings.
pub(super) fn as_job(bao: &Bao, world: &World, run: Run) -> Run {
    let run = run.without_client();
    run.env("VAULT_ADDR", bao.address(0))
        .env("BBTOKEN_STORE", "vault")
        .env("BBTOKEN_STORE_PATH", "secret/bbtoken/ci")
        .env("BBTOKEN_STORE_ROLE", "ci")
        .env("VAULT_ID_TOKEN", bao.job())
        .env("HOME", world.path("runner"))
}

/// Logs in by a browser.
pub(super) fn log_in(bao: &Bao, world: &World, token: &str) -> Done {
    let words = [
        "login",
        "ci",
        "--browser",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
        "--no-setup",
    ];
    let run = world
        .bbtoken(words)
        .args(["--store", "vault", "--store-path", "secret/bbtoken/ci"]);
    let run = at(bao, run.without_client(), token).input(&world.consumer.secret);
    person::log_in_by(world, run)
}

#[test]
fn one_login_serves_all_machines_until_it_is_removed() {
    needs!("programs/openbao");
    let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
    log_in(&bao, &world, &bao.root).expect(0).says(&[
        "path \"secret/data/bbtoken/ci\" { capabilities = [\"create\", \"read\", \"update\"] }",
        "vault write auth/jwt/role/bbtoken-ci -",
        "BBTOKEN_STORE=vault",
        "BBTOKEN_STORE_PATH=secret/bbtoken/ci",
    ]);
    let metadata = bao.admin("GET", "secret/metadata/bbtoken/ci").ok();
    assert_eq!(metadata.json()["data"]["max_versions"], json!(2));
    world.bitbucket.clear_requests();
    job(&bao, &world, &["token"]).ok();
    assert_eq!(
        world.bitbucket.token_requests().len(),
        0,
        "the login's token is shared"
    );
    let found = job(&bao, &world, &["doctor"]).done().stdout;
    for said in [
        "as role 'ci' of 'auth/jwt'",
        "the record may be read and written",
        "has the login of Local User (local)",
    ] {
        assert!(found.contains(said), "'{said}' is missing in: {found}");
    }
    // A runner that removes its own data does not remove the shared login.
    job(&bao, &world, &["logout", "--all"]).ok();
    job(&bao, &world, &["logout"]).ok();
    job(&bao, &world, &["token"]).ok();
    job(&bao, &world, &["logout", "--shared"])
        .fails(7)
        .says(&["path \"secret/destroy/bbtoken/ci\" { capabilities = [\"update\"] }"]);
    let logout = at(
        &bao,
        world.bbtoken(["logout", "ci", "--shared"]).without_client(),
        &bao.root,
    );
    assert!(logout.ok().contains("shared login"));
    job(&bao, &world, &["token"])
        .fails(4)
        .says(&["there is no shared login"]);
    let versions = bao.admin("GET", "secret/metadata/bbtoken/ci").ok().json();
    let versions = versions["data"]["versions"]
        .as_object()
        .expect("there are some")
        .clone();
    assert!(
        versions
            .values()
            .all(|version| version["destroyed"] == json!(true)),
        "{versions:?}"
    );
    log_in(&bao, &world, &bao.root).expect(0);
    job(&bao, &world, &["token"]).ok();
}

#[test]
fn a_login_that_could_not_be_kept_begins_no_browser() {
    needs!("programs/openbao");
    let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
    let reader = bao.log_in("reader");
    let login = |path: &str, token: &str| {
        let words = [
            "login",
            "ci",
            "--browser",
            "--client-id",
            &world.consumer.key,
            "--with-secret",
            "--store",
            "vault",
        ];
        let run = world
            .bbtoken(words)
            .args(["--store-path", path, "--port", "0"]);
        at(&bao, run.without_client(), token)
            .input(&world.consumer.secret)
            .done()
    };
    let job = bao.log_in("ci");
    let gone = json!({ "options": { "cas": 0 }, "data": { "password": "of another program" } });
    bao.set("secret/data/other", gone);
    for (path, token, said) in [
        (
            "secret/bbtoken/ci",
            &reader,
            "the policy lacks: path \"secret/data/bbtoken/ci\"",
        ),
        ("old/bbtoken/ci", &job, "the engine 'old' is KV version 1"),
        (
            "short/bbtoken/ci",
            &bao.root,
            "the store removes the record",
        ),
        (
            "secret/other",
            &bao.root,
            "it is not a login of this program's version",
        ),
        (
            "secret/bbtoken/ci",
            &"s.wrong".to_owned(),
            "permission denied",
        ),
    ] {
        let done = login(path, token);
        assert_ne!(done.code, Some(0), "{path}");
        done.says(&[said]);
        if said.contains("lacks") {
            done.says(&["cannot keep a login in "]);
        }
        assert!(
            !done.stdout.contains("http"),
            "no page is shown: {}",
            done.stdout
        );
        assert!(!world.gitconfig().contains("vault"), "nothing is written");
    }
    assert!(
        world.bitbucket.requests().is_empty(),
        "Bitbucket is not asked"
    );
}

#[test]
fn jobs_read_a_copy_that_another_machine_renews() {
    needs!("programs/openbao");
    let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
    let copy = |run: Run| run.env("BBTOKEN_STORE_TOKEN_PATH", "secret/bbtoken/ci-token");
    let words = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
        "--no-setup",
    ];
    let run = world
        .bbtoken(words)
        .args(["--store", "vault", "--store-path", "secret/bbtoken/ci"]);
    let run = copy(at(&bao, run.without_client(), &bao.root)).input(&world.consumer.secret);
    run.done().expect(0).says(&[
        "path \"secret/data/bbtoken/ci-token\" { capabilities = [\"read\"] }",
        "vault write auth/jwt/role/bbtoken-ci-jobs -",
        "\"token_policies\":\"bbtoken-ci-jobs\"",
    ]);
    let renew = || {
        copy(at(
            &bao,
            world.bbtoken(["renew", "ci"]).without_client(),
            &bao.root,
        ))
    };
    renew().done().expect(0).quiet();
    let policy = "path \"secret/data/bbtoken/ci-token\" { capabilities = [\"read\"] }";
    bao.set("sys/policies/acl/reader", json!({ "policy": policy }));
    let read = |word: &str| {
        job(&bao, &world, &[word])
            .env("BBTOKEN_STORE_PATH", "secret/bbtoken/ci-token")
            .env("BBTOKEN_STORE_ROLE", "reader")
    };
    read("token").ok();
    let found = read("doctor").done().stdout;
    assert!(
        found.contains("the record may be read\n") && !found.contains("problem  store"),
        "{found}"
    );
    let stored = bao.admin("GET", "secret/data/bbtoken/ci-token").ok().body;
    assert!(
        !stored.contains(&world.consumer.secret) && stored.contains("\"client_secret\":null"),
        "{stored}"
    );
    world.bitbucket.clear_requests();
    renew().ok();
    assert_eq!(
        world.bitbucket.token_requests().len(),
        0,
        "more than half of its life is left"
    );
    bao.admin("DELETE", "secret/data/bbtoken/ci-token").ok();
    renew().ok();
    read("token").ok();
    // A machine that may not write the copy says so, and has its token.
    let run = copy(at(
        &bao,
        world.bbtoken(["renew", "ci"]).without_client(),
        &bao.log_in("ci"),
    ));
    run.done()
        .expect(0)
        .says(&["was renewed, but its copy for jobs was not"]);
}
