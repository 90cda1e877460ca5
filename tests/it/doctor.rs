//! `doctor`: each finding with its fix, the automatic fixes, and the public report.

use std::{fs, time::Duration};

use bitbucket_local::proxy::{Options, Proxy};

use crate::{
    needs::needs,
    support::{World, gits, put_program},
};

fn world() -> World {
    World::new(gits().remove(0))
}

#[test]
fn a_healthy_setup_has_no_problem() {
    let world = world();
    world.repository("ws", "repo");
    world.bbtoken(["setup", "--yes"]).ok();
    let shown = world
        .bbtoken(["doctor", "ws/repo"])
        .done()
        .expect(0)
        .quiet()
        .stdout;
    for text in [
        "ok       programs: git-remote-bbtoken 0.1.0 in '",
        "ok       git: version 2.",
        "ok       name: 'localhost' has ",
        "ok       connection: 'localhost' accepts connections on port ",
        "ok       certificate: 'localhost' answers with a trusted certificate",
        "ok       clock: correct",
        "ok       profile: 'environment' (client-credentials), because BBTOKEN_CLIENT_ID is set",
        "ok       store: 'file' can be read",
        "ok       token: scopes account, repository, repository:write; expires in ",
        "ok       account: unknown: the token belongs to the client, not to a person",
        "ok       repository: 'ws/repo' can be read",
        "ok       submodules: bbtoken:: addresses are allowed everywhere",
        "ok       credential helper: the helper alone answers for https://localhost:",
        "\n\nNo problem found",
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    let rest = shown.replace("No problem found", "");
    assert!(!rest.contains("problem"), "{shown}");
}

#[test]
fn fix_mends_what_setup_can() {
    let world = world();
    let found = world.bbtoken(["doctor"]).ok();
    assert_eq!(
        found.matches("-> git bbtoken setup\n").count(),
        2,
        "{found}"
    );
    let fixed = world.bbtoken(["doctor", "--fix"]).ok();
    assert!(
        fixed.contains("+ protocol.bbtoken.allow = always"),
        "what is written is shown: {fixed}"
    );
    let found = world.bbtoken(["doctor"]).ok();
    assert_eq!(
        found.matches("-> git bbtoken setup\n").count(),
        0,
        "{found}"
    );
}

#[test]
fn problems_are_found_with_their_mends() {
    let world = world();
    let finds = |run: crate::support::Run, texts: &[&str]| {
        let shown = run.fails(1).stdout;
        for text in texts {
            assert!(shown.contains(text), "'{text}' in {shown}");
        }
    };
    finds(
        world.bbtoken(["doctor"]).without_client(),
        &[
            "problem  profile: no OAuth client and no token is configured\n         -> git bbtoken login",
        ],
    );
    finds(
        world.bbtoken(["doctor"]).env("PATH", "/usr/bin"),
        &[
            "problem  programs: git-remote-bbtoken is not on your PATH",
            "-> put the directory with both programs on PATH",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_CLIENT_SECRET", "wrong")
            .env("BBTOKEN_HOME", world.path("fresh")),
        &[
            "problem  token: cannot get a token for profile 'environment'",
            "-> correct the BBTOKEN_* variables, which override every profile",
        ],
    );
    finds(
        world.bbtoken(["doctor", "ws/missing"]),
        &[
            "problem  repository: cannot read repository 'ws/missing' with profile 'environment'",
            "-> check the address",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_BASE_URL", "https://localhost:1"),
        &[
            "problem  connection: cannot connect to 'localhost' on port 1: ",
            "-> a firewall may block it; if this network has a proxy: git config --global http.proxy <address>",
            "note     token: not checked, because Bitbucket cannot be reached",
            "\n\n1 problem (connection); ",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_BASE_URL", "https://nowhere.invalid"),
        &[
            "problem  name: cannot resolve 'nowhere.invalid': ",
            "-> check that you are online",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_BASE_URL", "https://nowhere.invalid")
            .env("https_proxy", "http://joe:canary@127.0.0.1:1"),
        &[
            "ok       proxy: connections go through '127.0.0.1:1', set by https_proxy",
            "problem  connection: cannot connect to '127.0.0.1' on port 1: ",
            "-> start the proxy, or correct https_proxy",
        ],
    );
    finds(
        world.bbtoken(["doctor"]).without("GIT_SSL_CAINFO"),
        &[
            "problem  certificate: the certificate of 'localhost' is not signed by a CA that this machine trusts\n         -> if a proxy in your network decrypts secure connections, ask for its CA certificate: git config --global http.sslCAInfo <file>",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("GIT_ALLOW_PROTOCOL", "https:ssh"),
        &[
            "problem  submodules: git refuses every bbtoken:: address, because GIT_ALLOW_PROTOCOL does not list it",
            "-> export GIT_ALLOW_PROTOCOL=\"$GIT_ALLOW_PROTOCOL:bbtoken\"",
        ],
    );
    world
        .git(["config", "--global", "protocol.bbtoken.allow", "never"])
        .ok();
    world
        .git([
            "config",
            "--global",
            "url.https://bitbucket.org/.insteadOf",
            "bbtoken::",
        ])
        .ok();
    world.bitbucket.advance_clock(Duration::from_secs(7_200));
    finds(
        world.bbtoken(["doctor"]),
        &[
            "problem  submodules: git refuses every bbtoken:: address: protocol.bbtoken.allow is 'never' in ",
            "-> git config --global protocol.bbtoken.allow always",
            "problem  addresses: url.https://bitbucket.org/.insteadOf in ",
            "problem  clock: it is off by ",
            "-> set the clock of this machine",
        ],
    );
}

#[test]
fn without_a_home_directory_a_fix_names_variables() {
    let world = world();
    let doctor = || {
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_HOME", world.path("b"))
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "protocol.bbtoken.allow")
            .env("GIT_CONFIG_VALUE_0", "user")
    };
    let fix = "-> export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_1=protocol.bbtoken.allow GIT_CONFIG_VALUE_1=always\n";
    let first = fix.replace('1', "0").replace("COUNT=2", "COUNT=1");
    for (run, fix) in [
        (doctor().without("HOME"), fix),
        (doctor().env("HOME", world.path("gone")), fix),
        (doctor().without("HOME").without("GIT_CONFIG_COUNT"), &first),
    ] {
        let shown = run.done().expect(0).stdout;
        assert!(shown.contains(fix), "{shown}");
    }
}

#[test]
fn a_remote_that_git_lfs_cannot_follow_is_found_with_its_mend() {
    needs!("git-lfs");
    let world = world();
    world.repository("ws", "repo");
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    world
        .git(["remote", "add", "origin", "bbtoken::ws/repo"])
        .within(&tree)
        .ok();
    world.commit(&tree, ".gitattributes", LARGE);
    world.commit(&tree, "large.bin", "large");
    // Or a look at the repository would be its first use.
    world.git(["config", "--global", "bbtoken.lfs", "no"]).ok();
    let shown = world.bbtoken(["doctor"]).within(&tree).fails(1).stdout;
    let expected = "problem  git-lfs: it is installed, but git does not call it\n         -> git lfs install && git lfs pull\n";
    assert!(shown.contains(expected), "{shown}");
    world.git(["lfs", "install"]).ok();
    let shown = world.bbtoken(["doctor"]).within(&tree).fails(1).stdout;
    let url = format!("{}/ws/repo.git/info/lfs", world.bitbucket.base_url());
    let fix = "git config --global bbtoken.lfs true && git bbtoken setup";
    let expected = format!(
        "problem  git-lfs: it cannot use remote.origin.url = bbtoken::ws/repo\n         -> {fix}\n"
    );
    assert!(shown.contains(&expected), "{shown}");
    world
        .run(std::path::Path::new("sh"), ["-c", &format!("{fix} --yes")])
        .within(&tree)
        .ok();
    world.bbtoken(["unsetup", "--yes"]).ok();
    let shown = world.bbtoken(["doctor"]).within(&tree).ok();
    let good = "ok       git-lfs: remote.origin.lfsurl sets a separate address";
    assert!(shown.contains(good), "{shown}");

    // An address of the user's own has an access mode of its own.
    std::fs::remove_dir_all(tree.join(".git")).expect("it is the test's");
    world.git(["init", "-q", "tree"]).ok();
    world
        .git(["remote", "add", "origin", "bbtoken::ws/repo"])
        .within(&tree)
        .ok();
    world.git(["add", "."]).within(&tree).ok();
    world
        .git(["config", "remote.origin.lfsurl", &url])
        .within(&tree)
        .ok();
    let shown = world.bbtoken(["doctor"]).within(&tree).ok();
    let fix = format!("git config lfs.{url}.access basic");
    assert!(shown.contains(&format!("         -> {fix}\n")), "{shown}");
    world
        .run(std::path::Path::new("sh"), ["-c", &fix])
        .within(&tree)
        .ok();
    let shown = world.bbtoken(["doctor"]).within(&tree).ok();
    assert!(shown.contains(good), "{shown}");
}

/// Attributes of what is kept in git-lfs.
const LARGE: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

#[cfg(unix)]
#[test]
fn files_in_git_lfs_without_git_lfs_are_found_with_their_mend() {
    let world = world();
    world.repository("ws", "repo");
    let programs = world.path("programs");
    std::fs::create_dir(&programs).expect("the name is free");
    std::os::unix::fs::symlink(&world.git.program, programs.join("git")).expect("it is empty");
    let doctor = |place: &std::path::Path| {
        world
            .bbtoken(["doctor"])
            .within(place)
            .env("PATH", &programs)
            .fails(1)
            .stdout
    };
    let of_user = world.home().join(".config/git/attributes");
    // Wherever git reads that a file is kept there.
    for place in [
        ".gitattributes",
        "deep/er/.gitattributes",
        ".git/info/attributes",
        "user's",
    ] {
        let tree = world.clone("ws/repo", "tree");
        let deep = tree.join("deep/er");
        std::fs::create_dir_all(&deep).expect("the names are free");
        world.commit(&tree, "deep/er/large.bin", "large");
        let shown = doctor(&tree);
        assert!(!shown.contains("git-lfs: "), "nothing is in it: {shown}");
        let attributes = if place == "user's" {
            of_user.clone()
        } else {
            tree.join(place)
        };
        std::fs::create_dir_all(attributes.parent().expect("it has one")).expect("it can be made");
        std::fs::write(attributes, LARGE).expect("it can be written");
        let expected = "problem  git-lfs: this repository stores files in git-lfs, which is not installed: you see only small pointer files\n         -> install git-lfs, then: git lfs install && git lfs pull\n";
        for place in [&tree, &deep] {
            let shown = doctor(place);
            assert!(shown.contains(expected), "{shown}");
        }
        std::fs::remove_dir_all(&tree).expect("it is the test's");
    }
}

#[test]
fn doctor_names_settings_that_cause_problems() {
    needs!("faketime");
    let world = world();
    let finds = |run: crate::support::Run, texts: &[&str]| {
        let shown = run.done().stdout;
        for text in texts {
            assert!(shown.contains(text), "'{text}' in {shown}");
        }
    };
    let doctor = || world.bbtoken(["doctor"]);
    let global = |key: &str, value: &str| {
        world.git(["config", "--global", key, value]).ok();
    };
    finds(
        doctor().env("GIT_SSL_NO_VERIFY", "1"),
        &[
            "problem  certificate: GIT_SSL_NO_VERIFY disables the check: anyone on the network can read every token\n         -> unset GIT_SSL_NO_VERIFY; ",
        ],
    );
    finds(
        doctor().env("GIT_SSL_CIPHER_LIST", "NORMAL"),
        &[
            "note     transport: git's own transport is used, which is slower, because of GIT_SSL_CIPHER_LIST\n",
        ],
    );
    finds(
        doctor().env("GIT_SSL_CAINFO", "/nowhere"),
        &[
            "problem  certificate: cannot make a secure connection to 'localhost': cannot read trusted certificates from '/nowhere': No such file or directory (os error 2)\n         -> fix the setting; ",
        ],
    );
    finds(
        world
            .run(std::path::Path::new("faketime"), ["2090-01-01"])
            .arg(assert_cmd::cargo::cargo_bin!("git-bbtoken"))
            .arg("doctor"),
        &[
            "problem  certificate: the certificate of 'localhost' has expired, by this machine's clock\n         -> set the clock",
        ],
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write as _;
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    finds(
        doctor().env("BBTOKEN_BASE_URL", format!("https://127.0.0.1:{port}")),
        &["problem  connection: the server that answers for '127.0.0.1' does not speak TLS\n"],
    );
    global(
        "url.git@elsewhere:.insteadOf",
        &format!("{}/", world.bitbucket.base_url()),
    );
    finds(
        doctor(),
        &["note     addresses: url.git@elsewhere:.insteadOf in "],
    );
    finds(
        doctor()
            .without("HOME")
            .env("BBTOKEN_HOME", world.path("b")),
        &["ok       profile: 'environment'"],
    );
    global("bbtoken.work.clientId", "x");
    global("bbtoken.work.grant", "client-credentials");
    global("bbtoken.work.pushProfile", "nobody");
    finds(
        doctor().without_client(),
        &[
            "problem  profile: bbtoken.work.pushProfile in ",
            " names profile 'nobody', which does not exist\n",
        ],
    );
    global("bbtoken.odd.grant", "magic");
    finds(
        doctor(),
        &[
            "note     profile: 'odd' cannot be used: ",
            "-> fix it, or remove it: git config --global --remove-section bbtoken.odd\n",
        ],
    );
    std::fs::write(world.home().join(".gitconfig"), "[core\n").expect("it is the world's");
    finds(
        doctor(),
        &["problem  configuration: ", "1 problem (configuration)"],
    );
}

#[cfg(unix)]
#[test]
fn an_unreadable_store_gets_a_fix_for_its_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = world();
    let login = [
        "login",
        "ci",
        "--client-credentials",
        "--client-id",
        &world.consumer.key,
        "--with-secret",
    ];
    let secret = &world.consumer.secret;
    world.bbtoken(login).without_client().input(secret).ok();
    for kept in crate::person::state(&world)
        .read_dir()
        .expect("it is there")
    {
        let path = kept.expect("it is there").path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    }
    let fix = |store: &str| {
        let doctor = world.bbtoken(["doctor"]).without_client();
        let shown = doctor.env("BBTOKEN_STORE", store).done().stdout;
        let (_, fix) = shown.split_once("problem  store: ").expect("it is found");
        let (_, fix) = fix.split_once("-> ").expect("it has a fix");
        fix.lines().next().unwrap_or("").to_owned()
    };
    assert_eq!(
        fix("file"),
        "fix what the message names, or set BBTOKEN_HOME to another directory of yours"
    );
    // There is no keychain here.
    assert_eq!(
        fix("keyring"),
        "unlock the store, or choose another one: git config --global bbtoken.ci.store file"
    );
}

#[cfg(unix)]
#[test]
fn words_of_another_program_are_no_advice_of_ours() {
    let world = world();
    world.repository("ws", "repo");
    let other = world.path("other");
    std::fs::create_dir(&other).expect("the world can be written");
    let program = other.join("git-remote-bbtoken");
    let script = "#!/bin/sh\necho 'error: made up' >&2\necho 'hint: run this' >&2\nexit 1\n";
    put_program(&program, script);
    let path = world.search_path().into_string().expect("it is text");
    let doctor = world.bbtoken(["doctor", "ws/repo"]);
    let doctor = doctor.env("PATH", format!("{}:{path}", other.display()));
    let shown = doctor.fails(1).stdout;
    let words = "problem  repository: cannot read 'bbtoken::ws/repo': made up\n         -> check the address";
    assert!(
        shown.contains(words) && !shown.contains("-> run this"),
        "only the helper itself gives advice: {shown}"
    );
}

#[test]
fn programs_that_do_not_belong_together_are_found() {
    let world = world();
    let old = world.path("old");
    std::fs::create_dir(&old).expect("the world can be written");
    let program = old.join("git-remote-bbtoken");
    put_program(&program, "#!/bin/sh\necho git-remote-bbtoken 0.0.1\n");
    let path = world.search_path().into_string().expect("it is text");
    let (old, program) = (old.display(), program.display());
    let doctor = |path: String| world.bbtoken(["doctor"]).env("PATH", path);
    let shown = doctor(format!("{old}:{path}")).fails(1).stdout;
    for text in [
        format!("problem  programs: '{program}' has another version than git-bbtoken\n"),
        format!(
            "problem  programs: '{old}/git-bbtoken' is missing; without it, git's own https gets no token\n"
        ),
    ] {
        assert!(shown.contains(&text), "'{text}' in {shown}");
    }
    let shown = doctor(format!("{path}:{old}")).ok();
    let text = format!(
        "note     programs: '{program}' has another version; programs with another PATH may use it\n         -> remove it\n"
    );
    assert!(shown.contains(&text), "'{text}' in {shown}");
}

#[test]
fn a_failing_proxy_is_named_with_its_setting() {
    let world = world();
    let login = Some(("ann".to_owned(), "pass".to_owned()));
    let proxy = Proxy::start(Options {
        login,
        ..Options::default()
    })
    .expect("a proxy starts on loopback");
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let set = |key: &str, value: &str| {
        world.git(["config", "--global", key, value]).ok();
    };
    set("http.proxy", &url);
    let shown = world.bbtoken(["doctor"]).fails(1).stdout;
    let place = url.trim_start_matches("http://");
    let text = format!("ok       proxy: connections go through '{place}', set by http.proxy in ");
    assert!(shown.contains(&text), "{shown}");
    let text = "the proxy wants a user name and password, and git has none for it\n";
    let fix = "         -> store the proxy's user and password in one of git's credential helpers";
    assert!(shown.contains(text) && shown.contains(fix), "{shown}");
    // What the helpers give to a fetch they give to doctor and to the question whose token it is.
    set(
        &format!("credential.{url}.helper"),
        "!f() { test \"$1\" = get && printf 'username=ann\\npassword=pass\\n'; }; f",
    );
    let shown = world.bbtoken(["doctor"]).ok();
    assert!(
        shown.contains("ok       certificate: 'localhost' answers with a trusted certificate"),
        "{shown}"
    );
    let token = world.bitbucket.issue_access_token(&["account"]);
    let shown = world
        .bbtoken(["doctor"])
        .without_client()
        .env("BBTOKEN_ACCESS_TOKEN", &token)
        .ok();
    assert!(
        shown.contains("ok       account: Local User (local)"),
        "{shown}"
    );
}

#[test]
fn a_token_that_is_refused_everywhere_is_named_with_the_login() {
    let world = world();
    world.repository("ws", "repo");
    let login = world.bbtoken(["login", "bot", "--with-token", "--no-check"]);
    login.without_client().input("ATCTTrevoked").ok();
    let doctor = world.bbtoken(["doctor", "bot@ws/repo"]).without_client();
    let shown = doctor.done().stdout;
    assert!(
        shown.contains(
            "Bitbucket refuses the token: make a new one and run 'git bbtoken login bot'\n"
        ),
        "the fix replaces the token: {shown}"
    );
    world
        .git(["ls-remote", "bbtoken::bot@ws/repo"])
        .fails(128)
        .says(&["the token is wrong, revoked or expired (then make a new one and run 'git bbtoken login bot')"]);
}

#[test]
fn in_a_clone_its_own_repository_is_tried() {
    let world = world();
    let clone = world.clone_of_new("ws", "repo");
    let shown = world.bbtoken(["doctor"]).within(&clone).ok();
    assert!(
        shown.contains("ok       repository: 'origin' can be read\n"),
        "{shown}"
    );
    world
        .git(["remote", "set-url", "origin", "bbtoken::ws/gone"])
        .within(&clone)
        .ok();
    let shown = world.bbtoken(["doctor"]).within(&clone).fails(1).stdout;
    assert!(
        shown.contains("problem  repository: cannot read 'origin': "),
        "{shown}"
    );
}

#[test]
fn other_credential_helpers_are_named_by_their_program_alone() {
    let world = world();
    let site = format!("credential.{}.helper", world.bitbucket.base_url());
    let add = |key: &str, helper: &str| {
        world.git(["config", "--global", "--add", key, helper]).ok();
    };
    add("credential.helper", "!f() { echo password=canary; }; f");
    add(&site, "!git bbtoken credential");
    let shown = world.bbtoken(["doctor"]).ok();
    let before = "note     credential helper: git asks a shell command for https://localhost:";
    assert!(
        shown.contains(before)
            && shown.contains(" before the helper; it may return an old password\n"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
    world
        .git(["config", "--global", "--unset", "credential.helper"])
        .ok();
    add(&site, "store --file canary");
    let shown = world.bbtoken(["doctor"]).ok();
    assert!(
        shown.contains("credential helper: 'store' also gets the tokens for https://localhost:"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_report_holds_nothing_of_the_user() {
    let world = world();
    world
        .git([
            "config",
            "--global",
            "bbtoken.canaryname.clientId",
            "canaryid",
        ])
        .ok();
    world
        .git(["config", "--global", "credential.helper", "canaryhelper"])
        .ok();
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    world
        .git([
            "remote",
            "add",
            "origin",
            "https://canaryuser:canarypassword@bitbucket.org/canaryws/repo",
        ])
        .within(&tree)
        .ok();
    let run = world
        .bbtoken(["doctor", "--report", "canaryname@canaryws/canaryrepo"])
        .without_client();
    let done = run
        .env("BBTOKEN_BASE_URL", "https://localhost:1/canarypath")
        .within(&tree)
        .fails(1);
    let report = done.stdout;
    for part in [
        "canary",
        "localhost",
        world.home().to_str().expect("it is text"),
        "/",
    ] {
        assert!(!report.contains(part), "'{part}' in {report}");
    }
    let first = format!("git-bbtoken {} on linux\n", env!("CARGO_PKG_VERSION"));
    assert!(
        report.starts_with(&first)
            && report.contains("problem  connection: refused or not answered"),
        "{report}"
    );
}

#[test]
fn json_has_every_finding_that_the_lines_show() {
    let world = world();
    let unknown = "bbtoken::nobody@ws/repo";
    let lines = world.bbtoken(["doctor", unknown]).fails(1).stdout;
    let json = world.bbtoken(["doctor", "--json", unknown]).fails(1).stdout;
    let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(value["version"], 1);
    let findings = value["findings"].as_array().expect("it is a list");
    let text = |finding: &serde_json::Value, field: &str| {
        let text = finding.get(field)?.as_str().expect("it is text");
        Some(text.to_owned())
    };
    let mut shown = String::new();
    for finding in findings {
        let field = |name: &str| text(finding, name).expect("every finding has it");
        let (level, check) = (field("level"), field("check"));
        shown.push_str(&format!("{level:7}  {check}: {}\n", field("text")));
        let fix = text(finding, "fix");
        shown.extend(fix.map(|fix| format!("         -> {fix}\n")));
    }
    let (all, summary) = lines.split_once("\n\n").expect("a summary follows");
    assert_eq!(shown.trim_end(), all);
    assert!(
        summary.contains("problem") && shown.contains("problem  profile: "),
        "{lines}"
    );
    assert!(findings.iter().any(|finding| finding.get("fix").is_none()));
}

#[test]
fn an_endpoint_that_is_busy_is_not_blamed_on_the_address_or_the_login() {
    use bitbucket_local::{Kind, Rule};
    for status in [429, 503] {
        let world = world();
        world.repository("ws", "repo");
        let busy = || Rule::answer(status).header("Retry-After", "3600");
        world.bitbucket.script(busy().kind(Kind::Git).forever());
        let shown = world.bbtoken(["doctor", "ws/repo"]).fails(1).stdout;
        let (_, rest) = shown
            .split_once("problem  repository: ")
            .expect("it is found");
        assert!(
            rest.contains("-> Bitbucket is busy or asks for fewer requests; try again"),
            "{shown}"
        );
        assert!(!rest.contains("check the address"), "{shown}");
    }
    for status in [429, 503] {
        let world = world();
        let busy = Rule::answer(status).header("Retry-After", "3600");
        world.bitbucket.script(busy.kind(Kind::Token).forever());
        let shown = world.bbtoken(["doctor", "ws/repo"]).fails(1).stdout;
        let (_, rest) = shown.split_once("problem  token: ").expect("it is found");
        let fix = rest.lines().nth(1).expect("it has a fix");
        assert_eq!(
            fix.trim(),
            "-> the problem is not on this machine: try again in a few minutes"
        );
    }
}

/// A fault that doctor finds, made by commands, and variables that stay set.
struct Fault {
    name: &'static str,
    made_by: &'static str,
}

/// Faults with a fix that is a command. `BASE` is the server, `HOST` its host and port.
const FAULTS: [Fault; 21] = [
    Fault {
        name: "no setup",
        made_by: ":",
    },
    Fault {
        name: "helper before setup",
        made_by: "git config --global credential.helper store",
    },
    Fault {
        name: "helper after setup",
        made_by: "git bbtoken setup --yes && git config --global credential.helper store",
    },
    Fault {
        name: "helper of the site",
        made_by: "git bbtoken setup --yes && git config --global --add credential.BASE.helper store",
    },
    Fault {
        name: "helper of a path",
        made_by: "git bbtoken setup --yes && git config --global credential.BASE/ws.helper store",
    },
    Fault {
        name: "helper of the repository",
        made_by: "git bbtoken setup --yes && git config credential.helper store",
    },
    Fault {
        name: "no helper in the repository",
        made_by: "git bbtoken setup --yes && git config credential.helper ''",
    },
    Fault {
        name: "helper of the work tree",
        made_by: "git bbtoken setup --yes && git config extensions.worktreeConfig true && git config --worktree credential.helper store",
    },
    Fault {
        name: "helper whose program is gone",
        made_by: "git config --global credential.BASE.helper \"!'/gone/git-bbtoken' credential\"",
    },
    Fault {
        name: "allowed for the user alone",
        made_by: "git config --global protocol.bbtoken.allow user",
    },
    Fault {
        name: "never allowed",
        made_by: "git config --global protocol.bbtoken.allow never",
    },
    Fault {
        name: "never allowed by a general setting",
        made_by: "git config --global protocol.allow never && git config --global protocol.https.allow always",
    },
    Fault {
        name: "never allowed in the repository",
        made_by: "git config protocol.bbtoken.allow never",
    },
    Fault {
        name: "always allowed in the repository alone",
        made_by: "git config protocol.bbtoken.allow always",
    },
    Fault {
        name: "rewritten elsewhere",
        made_by: "git config --global url.git@elsewhere:.insteadOf BASE/ && git config --global --add url.git@elsewhere:.insteadOf other:",
    },
    Fault {
        name: "ours rewritten elsewhere",
        made_by: "git config url.git@elsewhere:.insteadOf bbtoken::",
    },
    Fault {
        name: "header with a token",
        made_by: "git config --global http.BASE/.extraHeader 'Authorization: Bearer x'",
    },
    Fault {
        name: "header with a token in the repository",
        made_by: "git config http.extraHeader 'Authorization: Basic x'",
    },
    Fault {
        name: "password in an address",
        made_by: "git remote add origin https://ann:word@HOST/ws/repo.git",
    },
    Fault {
        name: "password in git's store",
        made_by: "echo https://ann:word@bitbucket.org >\"$HOME/.git-credentials\"",
    },
    Fault {
        name: "a profile that cannot be used",
        made_by: "git config --global bbtoken.odd.grant magic",
    },
];

/// Gives each finding with its fix, where that is a command: what it is alternative to, or followed by, is prose.
fn fixes(shown: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = shown.lines().peekable();
    while let Some(finding) = lines.next() {
        let fix = lines
            .peek()
            .and_then(|line| line.trim().strip_prefix("-> "));
        let Some(fix) = fix else { continue };
        let fix = fix.split_once("or: ").map_or(fix, |(_, command)| command);
        let fix = fix.replace("; then: ", " && ");
        let fix = fix.split("; ").next().unwrap_or_default();
        let is_command = ["git ", "printf "]
            .iter()
            .any(|start| fix.starts_with(start));
        if is_command && !fix.contains('<') && !fix.contains("git bbtoken login") {
            // A person would say yes.
            let fix = ["setup", "remote convert"]
                .iter()
                .fold(fix.to_owned(), |fix, command| {
                    fix.replace(
                        &format!("git bbtoken {command}"),
                        &format!("git bbtoken {command} --yes"),
                    )
                });
            found.push((finding.to_owned(), fix));
        }
    }
    found
}

#[test]
fn every_fix_that_can_be_run_removes_its_finding() {
    crate::support::on_every_git(|world| {
        let base = world.bitbucket.base_url();
        let host = base.trim_start_matches("https://");
        let first = world.gitconfig();
        for Fault { name, made_by } in &FAULTS {
            fs::write(world.home().join(".gitconfig"), &first).expect("the home is ours");
            let _ = fs::remove_file(world.home().join(".git-credentials"));
            let tree = world.path(name);
            world.git(["init", "-q"]).arg(&tree).ok();
            let sh = |line: &str| {
                let line = line.replace("BASE", base).replace("HOST", host);
                world
                    .run(std::path::Path::new("sh"), ["-ec", &line])
                    .within(&tree)
                    .ok()
            };
            sh(made_by);
            let doctor = || world.bbtoken(["doctor"]).within(&tree).done().stdout;
            let shown = doctor();
            let found = fixes(&shown);
            assert!(!found.is_empty(), "'{name}' is found: {shown}");
            for (_, fix) in &found {
                sh(fix);
            }
            let after = doctor();
            for (finding, fix) in &found {
                assert!(
                    !after.contains(finding),
                    "'{name}': '{fix}' leaves: {finding}\n{after}"
                );
            }
            let left = fixes(&after);
            assert!(left.is_empty(), "'{name}' has another fix then: {left:?}");
        }
    });
}
