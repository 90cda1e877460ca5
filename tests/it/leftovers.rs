//! Old secrets that earlier instructions left on a machine: `doctor` finds them in each place, names the fix, and shows
//! no secret.

use std::{fs, path::Path};

use crate::{
    needs::needs,
    support::{Run, World, gits},
};

/// A part of every secret that is planted.
const CANARY: &str = "canary7";

/// A user who has followed every advice there was, with a repository to show for it.
struct Old {
    world: World,
}

impl Old {
    fn new() -> Self {
        let old = Old {
            world: World::new(gits().remove(0)),
        };
        old.world.git(["init", "-q", "tree"]).ok();
        old
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.world.path(file);
        let directory = path.parent().expect("it has one");
        fs::create_dir_all(directory).expect("the world can be written");
        fs::write(path, text.replace("CANARY", CANARY)).expect("the world can be written");
    }

    fn config(&self, scope: &str, key: &str, value: &str) {
        let (key, value) = (
            key.replace("CANARY", CANARY),
            value.replace("CANARY", CANARY),
        );
        self.world
            .git(["config", scope, "--add", &key, &value])
            .within(self.world.path("tree"))
            .ok();
    }

    fn doctor(&self, arguments: &[&str]) -> Run {
        let run = self.world.bbtoken(["doctor"]).args(arguments);
        run.within(self.world.path("tree"))
    }

    /// Runs `doctor` and expects findings, and none of the secrets.
    #[track_caller]
    fn finds(&self, texts: &[&str]) {
        let done = self.doctor(&[]).done();
        for text in texts {
            let home = self.world.home().display().to_string();
            let text = text.replace("HOME", &home);
            assert!(done.stdout.contains(&text), "'{text}' in {}", done.stdout);
        }
        assert!(!done.stdout.contains(CANARY), "{}", done.stdout);
        assert!(!done.stderr.contains(CANARY), "{}", done.stderr);
    }

    #[track_caller]
    fn finds_nothing(&self) {
        let shown = self.doctor(&[]).ok();
        assert!(!shown.contains(" secrets: "), "{shown}");
    }
}

#[test]
fn secrets_in_addresses_are_found_and_turned_by_the_command_that_is_named() {
    let old = Old::new();
    old.world.repository("ws", "repo");
    let remote = |name: &str, url: &str| old.config("--local", &format!("remote.{name}.url"), url);
    remote("a", "https://joe:ATBBCANARYxyz@bitbucket.org/ws/repo");
    remote("b", "https://x-token-auth:CANARY@bitbucket.org/ws/repo");
    remote("c", "https://ATCTTCANARYxyz@bitbucket.org/ws/repo");
    remote("d", "https://elsewhere:fine@example.org/ws/repo");
    old.config(
        "--local",
        "remote.a.pushurl",
        "https://joe:ATATTCANARYxyz@bitbucket.org/ws/repo",
    );
    old.write(
        "tree/.gitmodules",
        "[submodule \"s\"]\n\tpath = s\n\turl = https://joe:CANARY@bitbucket.org/ws/sub\n",
    );
    old.finds(&[
        "problem  secrets: remote.a.url in ",
        " contains an app password, which no longer works: https://***@bitbucket.org/ws/repo\n         -> git bbtoken remote convert; then revoke it at Bitbucket\n",
        " contains a password or token: https://x-token-auth:***@bitbucket.org/ws/repo\n",
        " contains an access token: https://***@bitbucket.org/ws/repo\n",
        " contains an API token: https://***@bitbucket.org/ws/repo\n",
        "problem  secrets: submodule.s.url in ",
        "-> git bbtoken remote convert --submodules; then revoke it at Bitbucket\n",
        "5 problems (secrets)",
    ]);
    let shown = old
        .world
        .bbtoken(["remote", "convert", "--submodules", "--yes"])
        .env("BBTOKEN_BASE_URL", "https://bitbucket.org")
        .within(old.world.path("tree"))
        .ok();
    assert!(!shown.contains(CANARY), "{shown}");
    old.finds_nothing();
}

#[test]
fn secrets_in_settings_are_found_with_their_place_and_the_command_that_removes_them() {
    let old = Old::new();
    let global = |key: &str, value: &str| old.config("--global", key, value);
    global("http.extraHeader", "Authorization: Bearer CANARY");
    global(
        "http.https://bitbucket.org/.extraHeader",
        "AUTHORIZATION: basic CANARY",
    );
    global(
        "http.https://example.org/.extraHeader",
        "Authorization: Bearer fine",
    );
    global(
        "url.https://x-token-auth:CANARY@bitbucket.org/.insteadOf",
        "https://bitbucket.org/",
    );
    global(
        "credential.https://joe:CANARY@bitbucket.org.username",
        "joe",
    );
    global(
        "credential.helper",
        "!f() { echo password=ATBBCANARYxyz; }; f",
    );
    global(
        "alias.clone-it",
        "!curl -H \"oauth_token=CANARY\" https://bitbucket.org/",
    );
    old.config(
        "--local",
        "lfs.url",
        "https://joe:CANARY@bitbucket.org/ws/repo/info/lfs",
    );
    old.write("tree/.git/modules/lib/deep/HEAD", "ref: refs/heads/main\n");
    old.write(
        "tree/.git/modules/lib/deep/config",
        "[remote \"origin\"]\n\turl = https://joe:CANARY@bitbucket.org/ws/deep\n",
    );
    old.write(
        "tree/.git/modules/lib/deep/modules/inner/HEAD",
        "ref: refs/heads/main\n",
    );
    old.write(
        "tree/.git/modules/lib/deep/modules/inner/config",
        "[remote \"origin\"]\n\turl = https://joe:CANARY@bitbucket.org/ws/inner\n",
    );
    old.config(
        "--local",
        "remote.old.url",
        "hg::https://joe:CANARY@bitbucket.org/ws/old",
    );
    old.finds(&[
        "problem  secrets: http.extraHeader in HOME/.gitconfig contains an Authorization header",
        "-> git config --file HOME/.gitconfig --unset-all http.extraHeader '^[Aa][Uu][Tt][Hh]'; then revoke it at Bitbucket\n",
        "problem  secrets: http.https://bitbucket.org/.extraHeader in HOME/.gitconfig contains an Authorization header",
        "problem  secrets: url.https://x-token-auth:***@bitbucket.org/.insteadOf in HOME/.gitconfig contains a password or token\n         -> remove it from HOME/.gitconfig; then revoke it at Bitbucket\n",
        "problem  secrets: credential.https://***@bitbucket.org.username in HOME/.gitconfig contains a password or token\n",
        "problem  secrets: credential.helper in HOME/.gitconfig contains an app password, which no longer works\n         -> remove it from HOME/.gitconfig; ",
        "problem  secrets: alias.clone-it in HOME/.gitconfig contains OAuth 1 keys, which Bitbucket does not accept for git over https\n",
        "problem  secrets: lfs.url in ",
        "/.git/modules/lib/deep/config contains a password or token: https://***@bitbucket.org/ws/deep\n",
        "/modules/inner/config contains a password or token: https://***@bitbucket.org/ws/inner\n",
        " contains a password or token: hg::https://***@bitbucket.org/ws/old\n         -> remove it from ",
        "10 problems (secrets)",
    ]);
}

#[test]
fn files_of_other_programs_are_read_for_bitbucket_alone() {
    let old = Old::new();
    old.write("home/.netrc", "machine example.org login a password fine\n");
    old.write("home/.git-credentials", "https://a:fine@example.org\n");
    old.finds_nothing();
    // A password that should have been encoded.
    old.write(
        "home/.git-credentials",
        "https://joe:CANARY/x@bitbucket.org\n",
    );
    old.finds(&["'HOME/.git-credentials' contains, for 'bitbucket.org', a password"]);
    old.write(
        "home/.netrc",
        "machine example.org login a password b\nmachine api.bitbucket.org\n  login joe\n  password ATBBCANARYxyz\n",
    );
    old.write(
        "home/.git-credentials",
        "https://a:b@example.org\nhttps://joe:CANARY@bitbucket.org\nhttps://x:ATATTCANARYxyz%3D1@bitbucket.org\n",
    );
    old.finds(&[
        "problem  secrets: 'HOME/.netrc' contains, for 'api.bitbucket.org', an app password, which no longer works; git sends it",
        "-> remove the lines of 'machine api.bitbucket.org' from 'HOME/.netrc', then run: git bbtoken setup",
        "problem  secrets: 'HOME/.git-credentials' contains, for 'bitbucket.org', a password or token, in plain text",
    ]);
    let fix = "printf 'protocol=https\\nhost=bitbucket.org\\n\\n' | git credential-store --file HOME/.git-credentials erase";
    let home = old.world.home().display().to_string();
    let shown = old.doctor(&[]).done().stdout;
    let fix = fix.replace("HOME", &home);
    assert!(shown.contains(&fix), "'{fix}' in {shown}");
    old.world.run(Path::new("sh"), ["-c", &fix]).ok();
    let left = fs::read_to_string(old.world.home().join(".git-credentials"));
    assert_eq!(left.expect("it is there"), "https://a:b@example.org\n");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_opened() {
    needs!("strace");
    let old = Old::new();
    for name in [".netrc", ".git-credentials"] {
        let path = old.world.home().join(name);
        old.world.run(Path::new("mkfifo"), [path]).ok();
    }
    let program = assert_cmd::cargo::cargo_bin!("git-bbtoken");
    // Who opens a pipe wakes the program behind it.
    let log = old.world.path("log");
    let strace = old.world.run(
        Path::new("strace"),
        ["-f", "-qq", "-e", "trace=openat", "-o"],
    );
    let shown = strace.arg(&log).arg(program).arg("doctor").ok();
    assert!(!shown.contains(" secrets: "), "{shown}");
    let opened = fs::read_to_string(log).expect("strace wrote it");
    assert!(opened.contains("/.gitconfig\""), "{opened}");
    for name in [".netrc", ".git-credentials"] {
        assert!(!opened.contains(&format!("/{name}\"")), "{opened}");
    }
}

#[test]
fn no_secret_that_is_found_is_printed_by_any_command() {
    let old = Old::new();
    let secret = format!("ATBB{CANARY}xyz");
    let url = "https://joe:CANARY@bitbucket.org/ws/repo";
    old.config("--local", "remote.origin.url", url);
    old.config(
        "--global",
        "http.extraHeader",
        "Authorization: Bearer CANARY",
    );
    old.config(
        "--global",
        "url.https://CANARY:x-oauth-basic@bitbucket.org/.insteadOf",
        "bbtoken::",
    );
    old.config("--global", "http.proxy", "http://joe:CANARY@127.0.0.1:1");
    old.config("--global", "bbtoken.work.accessTokenCommand", "echo CANARY");
    old.config("--global", "credential.helper", "!echo password=CANARY");
    old.write(
        "home/.netrc",
        "machine bitbucket.org login joe password CANARY\n",
    );
    old.write(
        "home/.git-credentials",
        "https://joe:CANARY@bitbucket.org\n",
    );
    old.write(
        "tree/.gitmodules",
        &format!("[submodule \"s\"]\n\tpath = s\n\turl = {url}\n"),
    );
    for arguments in [
        &["doctor"][..],
        &["doctor", "origin"],
        &["doctor", "--report"],
        &["doctor", "--json", "origin"],
        &["doctor", "--report", "origin"],
        &["doctor", "--fix"],
        &["status"],
        &["status", "--verbose"],
        &["status", "--json"],
        &["remote", "convert", "--dry-run"],
        &["setup", "--dry-run"],
    ] {
        let run = old.world.bbtoken(arguments.iter().copied());
        let done = run
            .env("SOME_PASSWORD", &secret)
            .env("BBTOKEN_TRACE", "2")
            .within(old.world.path("tree"))
            .done();
        assert!(
            !done.stdout.contains(CANARY) && !done.stderr.contains(CANARY),
            "{arguments:?}: {}{}",
            done.stdout,
            done.stderr
        );
        if arguments.contains(&"--report") {
            let place = old.world.path("");
            assert!(!done.stdout.contains(place.to_str().expect("it is text")));
        }
    }
}
