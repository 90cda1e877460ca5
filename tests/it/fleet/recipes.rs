//! The page docs/fleet.md and its recipes, as written, with the real OpenBao. The tests sign the JWTs of the CI services.

use std::{cell::RefCell, fs, path::Path};

use serde_json::{Value, json};

use super::{bao::Bao, jwt::AUDIENCE, mounts::now_unix_s};
use crate::{
    hostile::Server,
    needs::needs,
    person,
    recipes::{script, yaml_of},
    support::{Run, World, gits},
};

/// The address of the store in the documents.
const STORE: &str = "https://vault.example:8200";

fn text(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::read_to_string(directory.join(name)).expect("the document is there")
}

/// The first block of the page that contains some words.
fn block(words: &str) -> String {
    let page = text("fleet.md");
    let blocks = page.split("```").skip(1).step_by(2);
    let mut blocks = blocks.filter_map(|block| block.split_once('\n'));
    let found = blocks.find(|(_, block)| block.contains(words));
    found.expect("the page has the block").1.to_owned()
}

/// A store as the page describes it, with a login for all machines.
struct Shared {
    bao: Bao,
    world: World,
}

impl Shared {
    /// Sets it up with the commands of the page, for a CI service whose JWTs have this claim.
    fn new(claim: &str) -> Self {
        let (bao, world) = (Bao::one(), World::new(gits().remove(0)));
        world.repository("acme", "library");
        bao.admin("DELETE", "sys/auth/jwt").ok();
        let programs = world.path("store-programs");
        fs::create_dir(&programs).expect("the world can be written");
        std::os::unix::fs::symlink(super::node::program(), programs.join("vault")).expect("new");
        fs::write(world.path("key.pem"), bao.issuer.public_key())
            .expect("the world can be written");
        let shared = Shared { bao, world };
        shared.set_up(claim);
        shared
    }

    fn set_up(&self, claim: &str) {
        let script = block("vault auth enable jwt");
        let script = script
            .replace(
                "oidc_discovery_url=https://gitlab.example",
                &format!(
                    "jwt_validation_pubkeys=@{}",
                    self.world.path("key.pem").display()
                ),
            )
            .replace("project_path", claim);
        self.shell(&script).done().expect(0);
    }

    /// Runs lines of a document as the administrator of the store.
    fn shell(&self, lines: &str) -> Run {
        let lines = lines.replace(STORE, &self.bao.address(0));
        let path = self.world.search_path();
        let path = [self.world.path("store-programs").into_os_string(), path].join(":".as_ref());
        self.world
            .run("sh".as_ref(), ["-ec", &lines, "sh"])
            .without_client()
            .env("PATH", path)
            .env("VAULT_ADDR", self.bao.address(0))
            .env("VAULT_TOKEN", &self.bao.root)
    }

    /// Logs in with the command of the page. Gives what it prints.
    fn log_in(&self) -> String {
        self.log_in_on(|run| run)
    }

    /// The same on a machine.
    fn log_in_on(&self, machine: impl FnOnce(Run) -> Run) -> String {
        let lines = block("git bbtoken login ci --browser");
        let line = lines.lines().last().expect("it has lines");
        let line = line.replace("<key>", &self.world.consumer.key) + r#" --no-setup "$@""#;
        let run = machine(self.shell(&line)).input(&self.world.consumer.secret);
        let done = person::log_in_by(&self.world, run).expect(0);
        done.stdout + &done.stderr
    }

    /// Runs the commands that a login has printed, for the jobs with a claim.
    fn do_as(&self, said: &str, claim: &str) {
        let commands: Vec<_> = said
            .lines()
            .filter_map(|line| line.strip_prefix("  echo "))
            .map(|command| format!("echo {command}\n"))
            .collect();
        assert!(commands.len() >= 2, "a policy and a role: {said}");
        let commands = commands.concat();
        let commands = commands
            .replace("<audience>", AUDIENCE)
            .replace("<claim>", claim)
            .replace("<value>", "acme/app");
        self.shell(&commands).done().expect(0);
    }

    /// A JWT of a job, with one claim of its CI service.
    fn jwt(&self, claim: &str, value: &str) -> String {
        let mut claims = json!({
            "sub": "job-7", "aud": AUDIENCE, "iat": now_unix_s(), "exp": now_unix_s() + 300
        });
        claims[claim] = json!(value);
        self.bao.issuer.signed(&claims)
    }

    /// Runs lines of a document in a job, which knows nothing but these variables.
    fn job(&self, lines: &str, variables: &Value) -> Run {
        let directory =
            tempfile::tempdir_in(self.world.path("")).expect("the world can be written");
        let mut run = self
            .shell(lines)
            .without("VAULT_TOKEN")
            .without("VAULT_ADDR");
        for (name, value) in variables.as_object().into_iter().flatten() {
            let value = value.as_str().expect("it is a text");
            run = run.env(name, value.replace(STORE, &self.bao.address(0)));
        }
        let directory = directory.keep();
        run.env("HOME", directory.join("home")).within(directory)
    }

    /// Expects that only jobs with the claim clone; `run` makes a job of a JWT.
    #[track_caller]
    fn only_jobs_with(&self, claim: &str, run: impl Fn(&str) -> Run) {
        self.world.bitbucket.clear_requests();
        run(&self.jwt(claim, "acme/app")).done().expect(0);
        let tokens = self.world.bitbucket.token_requests().len();
        assert_eq!(tokens, 0, "the shared token is used");
        let other = run(&self.jwt(claim, "other/app")).done();
        assert_ne!(other.code, Some(0));
        other.says(&["cannot log in as role 'bbtoken-ci' of 'auth/jwt'"]);
    }
}

/// Gives the variables with another one.
fn with(variables: &Value, name: &str, value: &str) -> Value {
    let mut variables = variables.clone();
    variables[name] = json!(value);
    variables
}

#[test]
fn every_recipe_of_a_fleet_is_run_here() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet");
    let entries = fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.ends_with(".sh"))
        .collect();
    names.sort();
    let expected = [
        "Jenkinsfile",
        "bitbucket-pipelines.yml",
        "github-actions.yml",
        "gitlab-ci.yml",
        "kubernetes.yaml",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_page_of_fleets_shows_commands_that_work_and_what_they_say() {
    needs!("programs/openbao");
    let shared = Shared::new("project_path");
    let said = shared.log_in();
    for line in block("Profile 'ci' is logged in").lines() {
        let line = line.replace("Build Bot (build-bot)", "Local User (local)");
        let line = line.replace(STORE, &shared.bao.address(0));
        assert!(said.contains(&line), "'{line}' is missing in: {said}");
    }
    shared.do_as(&said, "project_path");
    let jwt = shared.jwt("project_path", "acme/app");
    let settings = block("export BBTOKEN_STORE=vault");
    let clone = settings.replace("workspace/repo", "acme/library");
    let token = json!({ "VAULT_ID_TOKEN": jwt });
    shared.job(&clone, &token).done().expect(0);
    let doctor = clone.replace("clone bbtoken::", "bbtoken doctor ");
    let found = shared.job(&doctor, &token).done().stdout;
    for line in block("ok       store: logged in").lines() {
        let line = line.replace(STORE, &shared.bao.address(0));
        let line = line.replace("Build Bot (build-bot)", "Local User (local)");
        let line = line.split(" for 1 h").next().unwrap_or_default();
        assert!(found.contains(line), "'{line}' is missing in: {found}");
    }
}

#[test]
fn jobs_read_the_copy_of_another_machine_as_the_page_says() {
    needs!("programs/openbao");
    let shared = Shared::new("project_path");
    let [laptop, machine] = ["laptop", "machine"].map(|name| shared.world.path(name));
    for home in [&laptop, &machine] {
        fs::create_dir(home).expect("the world can be written");
    }
    let home = |run: Run| run.env("HOME", &laptop);
    let first = block("bbtoken.ci.storeTokenPath");
    home(shared.shell(&first)).done().expect(0);
    let said = shared.log_in_on(home);
    shared.do_as(&said, "project_path");
    // The machine that renews knows nothing but the settings of the page, and has a token with the policy.
    let token = shared
        .shell("vault token create -policy=bbtoken-ci -no-default-policy -field=token")
        .ok();
    let settings = block("bbtoken.ci.storeUrl");
    let crontab = block("git bbtoken renew ci");
    let renew = crontab.split("* * * * ").nth(1).expect("it has a command");
    let renew = shared
        .shell(&(settings + renew))
        .without("VAULT_ADDR")
        .env("VAULT_TOKEN", token.trim())
        .env("HOME", machine);
    let renewed = renew.ok();
    assert!(
        renewed.contains("The token of profile 'ci' is valid for"),
        "{renewed}"
    );
    let jwt = shared.jwt("project_path", "acme/app");
    let settings = block("export BBTOKEN_STORE=vault");
    let settings = settings.replace("ROLE=bbtoken-ci", "ROLE=bbtoken-ci-jobs");
    let settings = settings.replace("git clone bbtoken::workspace/repo", "git bbtoken token");
    let variables = json!({ "VAULT_ID_TOKEN": jwt });
    let copy = settings.replace("/ci ", "/ci-token ");
    assert_ne!(copy, settings);
    shared.job(&copy, &variables).done().expect(0);
    let login = shared.job(&settings, &variables).done();
    assert_eq!(login.code, Some(7), "{}", login.stderr);
    login.says(&["permission denied"]);
}

#[test]
fn jobs_of_gitlab_use_a_shared_login() {
    needs!("programs/openbao", "programs/venv");
    let shared = Shared::new("project_path");
    shared.log_in();
    let job = &yaml_of(&shared.world, &text("fleet/gitlab-ci.yml"))["build"];
    assert_eq!(job["id_tokens"]["VAULT_ID_TOKEN"]["aud"], AUDIENCE);
    shared.only_jobs_with("project_path", |jwt| {
        let variables = with(&job["variables"], "VAULT_ID_TOKEN", jwt);
        shared.job(&script(&job["script"]), &variables)
    });
}

#[test]
fn jobs_of_github_use_a_shared_login() {
    needs!("programs/openbao", "programs/venv", "curl", "jq");
    let shared = Shared::new("repository");
    shared.log_in();
    let recipe = yaml_of(&shared.world, &text("fleet/github-actions.yml"));
    assert_eq!(recipe["permissions"]["id-token"], "write");
    let job = &recipe["jobs"]["build"];
    let services = RefCell::new(Vec::new());
    shared.only_jobs_with("repository", |jwt| {
        let body = json!({ "value": jwt }).to_string();
        let service = Server::answering(format!("HTTP/1.0 200 OK\r\n\r\n{body}"));
        let url = format!("http://127.0.0.1:{}/token?api-version=2.0", service.port());
        services.borrow_mut().push(service);
        let variables = with(&job["env"], "ACTIONS_ID_TOKEN_REQUEST_URL", &url);
        let variables = with(&variables, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a-token");
        shared.job(&script(&job["steps"][0]["run"]), &variables)
    });
    let asked = services.borrow()[0].asked().concat();
    for part in [
        &format!("GET /token?api-version=2.0&audience={AUDIENCE} "),
        "Authorization: bearer a-token\r\n",
    ] {
        assert!(asked.contains(part), "'{part}' is missing in: {asked}");
    }
}

#[test]
fn steps_of_bitbucket_pipelines_use_a_shared_login() {
    needs!("programs/openbao", "programs/venv");
    let shared = Shared::new("repositoryUuid");
    shared.log_in();
    let recipe = yaml_of(&shared.world, &text("fleet/bitbucket-pipelines.yml"));
    let step = &recipe["pipelines"]["default"][0]["step"];
    assert_eq!(step["oidc"], "true");
    shared.only_jobs_with("repositoryUuid", |jwt| {
        let variables = json!({ "BITBUCKET_STEP_OIDC_TOKEN": jwt });
        shared.job(&script(&step["script"]), &variables)
    });
}

#[test]
fn builds_of_jenkins_use_a_shared_login() {
    needs!("programs/openbao");
    let shared = Shared::new("sub");
    shared.log_in();
    let recipe = text("fleet/Jenkinsfile");
    let lines = recipe.split("'''").nth(1).expect("it has a script");
    let settings = recipe
        .lines()
        .filter_map(|line| line.trim().split_once(" = "));
    let settings = settings.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('\''))));
    let settings = Value::Object(settings.collect());
    assert_eq!(settings.as_object().map(serde_json::Map::len), Some(4));
    let temporary = shared.world.path("workspace@tmp").display().to_string();
    let settings = with(&settings, "WORKSPACE_TMP", &temporary);
    shared.only_jobs_with("sub", |jwt| {
        shared.job(lines, &with(&settings, "VAULT_ID_TOKEN", jwt))
    });
}

#[test]
fn pods_of_kubernetes_use_a_shared_login() {
    needs!("programs/openbao", "programs/venv");
    let shared = Shared::new("project_path");
    shared.log_in();
    let recipe = text("fleet/kubernetes.yaml");
    let [enable, configure, role] = recipe
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .collect::<Vec<_>>()[..]
    else {
        panic!("three commands")
    };
    // The harness has JWTs at this path.
    shared.bao.admin("DELETE", "sys/auth/kubernetes").ok();
    let account = "system:serviceaccount:default:build";
    let issuer = "https://kubernetes.default.svc";
    let cluster = Server::answering(review(account, issuer));
    let configure = configure.replace(issuer, &format!("http://127.0.0.1:{}", cluster.port()));
    // A store outside of the cluster names the CA. There is no TLS here, so any certificate does.
    let ca_file = shared.world.bitbucket.ca_file().display().to_string();
    let outside = format!("{configure} disable_local_ca_jwt=true kubernetes_ca_cert=@{ca_file}");
    let lines = [enable, &outside, role].join("\n");
    shared.shell(&lines).done().expect(0);

    let jwt = shared.world.path("service-account");
    let claims = json!({
        "sub": account, "aud": [issuer], "iat": now_unix_s(), "exp": now_unix_s() + 300,
        "kubernetes.io": {
            "namespace": "default", "serviceaccount": { "name": "build", "uid": "u-1" }
        },
    });
    fs::write(&jwt, shared.bao.issuer.signed(&claims)).expect("the world can be written");
    let job = yaml_of(&shared.world, &recipe);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "build");
    let container = &pod["containers"][0];
    let variables = container["env"].as_array().expect("it has variables");
    let variables = variables.iter().map(|it| {
        let name = it["name"].as_str().expect("it has a name");
        (name.to_owned(), it["value"].clone())
    });
    let variables = with(
        &Value::Object(variables.collect()),
        "BBTOKEN_STORE_JWT_FILE",
        &jwt.display().to_string(),
    );
    let lines = script(&container["args"]).replace("/tmp/library", "library");
    shared.job(&lines, &variables).done().expect(0);
    assert!(!cluster.asked().is_empty(), "the store asks the cluster");
}

/// The answer of a cluster that knows an account (Kubernetes: TokenReview).
fn review(account: &str, audience: &str) -> String {
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "status": {
            "authenticated": true, "audiences": [audience],
            "user": { "username": account, "uid": "u-1" },
        },
    });
    format!("HTTP/1.0 201 Created\r\nContent-Type: application/json\r\n\r\n{body}")
}
