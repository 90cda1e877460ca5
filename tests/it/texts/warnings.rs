//! Warnings of `git bbtoken`, and errors that other commands cause, each with its cause.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::SystemTime,
};

use bitbucket_local::{Action, Kind, Recorded, Rule};

use super::{Transcript, is_expected, world};
use crate::{
    needs::needs,
    person::{self, git_bbtoken, manage, person, state},
    support::{Done, Run, World},
};

/// Puts a name in the place of the names of all files in a directory, which hold a fingerprint.
fn without_keys(text: &str, directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("it is a directory");
    let names = entries.flatten().map(|entry| entry.file_name());
    names.fold(text.to_owned(), |text, name| {
        let name = name.to_string_lossy();
        let key = name.split('.').next().unwrap_or("");
        match key.len() {
            32.. => text.replace(key, "FILE"),
            _ => text,
        }
    })
}

/// The only file with this ending in a directory.
fn file(directory: &Path, ending: &str) -> PathBuf {
    let entries = fs::read_dir(directory).expect("it is a directory");
    let mut paths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(ending));
    let path = paths.next().expect("there is one");
    assert_eq!(paths.next(), None, "there is only one");
    path
}

/// Notes what was said in some circumstances.
fn note(said: &mut Transcript<'_>, about: &str, line: &str, done: &Done) {
    said.text.push_str(&format!("# {about}\n"));
    said.note(line, done);
}

/// Asks for a token with the client in the environment.
fn token(said: &mut Transcript<'_>, about: &str, change: impl FnOnce(Run) -> Run) {
    let done = change(said.world.bbtoken(["token"])).done();
    note(said, about, "git bbtoken token", &done);
}

/// Prepares `git bbtoken token` with system calls that fail (strace(1), "Tampering").
fn injected(world: &World, call: &str, injection: &str) -> Run {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:{injection}");
    let run = world.run(Path::new("strace"), ["-f", "-o"]);
    run.arg(world.path("strace"))
        .args(["-e", &trace, "-e", &inject])
        .arg(git_bbtoken())
        .arg("token")
}

/// Waits for a command; what it said on stderr may have been read before.
fn ended(child: Child, earlier: String) -> Done {
    let output = child.wait_with_output().expect("it ends");
    Done {
        shown: "git bbtoken token".to_owned(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: earlier + &String::from_utf8_lossy(&output.stderr),
    }
}

#[test]
fn of_logins() {
    let world = world();
    let mut said = Transcript::new(&world);
    let access_token = world.bitbucket.issue_access_token(&["account"]);
    let answer = format!(
        r#"{{"access_token":"{access_token}","scopes":"account","token_type":"bearer","expires_in":7200}}"#
    );
    let rule = Rule::new(Action::ReplaceBody(answer.into()));
    world.bitbucket.script(rule.kind(Kind::Token));
    person::configure_login(&world, "work", &world.consumer);
    let done = person::log_in(&world, "work").expect(0);
    note(
        &mut said,
        "no refresh token",
        "git bbtoken login work",
        &done,
    );
    is_expected(
        &expect_test::expect_file!["../expected/warnings-login.txt"],
        &said.text,
    );
}

#[test]
fn of_the_cache() {
    needs!("strace");
    let world = world();
    let mut said = Transcript::new(&world);
    world.bbtoken(["token"]).ok();
    let cached = file(&world.cache(), ".json");
    fs::write(&cached, "damaged").expect("it is ours");
    token(&mut said, "a damaged file", |run| run);
    fs::write(&cached, "damaged").expect("it is ours");
    let done = injected(&world, "renameat", "error=EIO").done();
    let about = "a damaged file that cannot be moved";
    note(&mut said, about, "git bbtoken token", &done);
    fs::remove_file(&cached).expect("it is ours");
    let lock = cached.with_extension("lock");
    fs::remove_file(&lock).expect("it is ours");
    fs::create_dir(&lock).expect("the name is free");
    token(&mut said, "a lock that is a directory", |run| run);
    let occupied = world.path("occupied");
    fs::write(&occupied, "a file").expect("the world can be written");
    token(&mut said, "a home that is a file", |run| {
        run.env("BBTOKEN_HOME", &occupied)
    });
    let text = without_keys(&said.text, &world.cache());
    is_expected(
        &expect_test::expect_file!["../expected/warnings-cache.txt"],
        &text,
    );
}

/// Somebody else has the lock, and lets those who wait know that there is no way to the server.
#[test]
fn of_a_server_that_another_command_could_not_reach() {
    let world = world();
    let mut said = Transcript::new(&world);
    world.bbtoken(["token"]).ok();
    let cached = file(&world.cache(), ".json");
    fs::remove_file(&cached).expect("it is ours");
    let path = cached.with_extension("lock");
    let mut lock = fs::File::create(&path).expect("it is ours");
    lock.lock().expect("the lock is free");
    let mut command = world.bbtoken(["token"]).into_command();
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut shown = String::new();
    stderr.read_line(&mut shown).expect("it is text");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
    writeln!(lock, "1 {} unreachable", now.as_secs()).expect("it can be written");
    drop(lock);
    stderr.read_to_string(&mut shown).expect("it is text");
    let done = ended(child, shown);
    note(
        &mut said,
        "another command's failure",
        "git bbtoken token",
        &done,
    );
    is_expected(
        &expect_test::expect_file!["../expected/warnings-unreachable.txt"],
        &said.text,
    );
}

#[test]
fn of_disabled_certificate_checks() {
    let world = world();
    let mut said = Transcript::new(&world);
    let nowhere = |run: Run| {
        run.without("BBTOKEN_BASE_URL")
            .env("https_proxy", "127.0.0.1:1")
    };
    token(&mut said, "GIT_SSL_NO_VERIFY=1", |run| {
        nowhere(run).env("GIT_SSL_NO_VERIFY", "1")
    });
    world
        .git(["config", "--global", "http.sslVerify", "false"])
        .ok();
    token(&mut said, "http.sslVerify = false", nowhere);
    is_expected(
        &expect_test::expect_file!["../expected/warnings-verify.txt"],
        &said.text,
    );
}

#[test]
fn of_renewals() {
    let world = world();
    person(&world);
    let mut said = Transcript::new(&world);
    let forget = || fs::remove_file(file(&world.cache(), ".json")).expect("a token is cached");
    let pending = fs::read_dir(state(&world))
        .expect("a login is kept")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "lock"))
        .expect("it was locked")
        .with_extension("pending");
    forget();
    fs::create_dir(&pending).expect("the name is free");
    let done = manage(&world, ["token"]).done().expect(0);
    note(
        &mut said,
        "a journal that cannot be written",
        "git bbtoken token",
        &done,
    );
    fs::remove_dir(&pending).expect("it is empty");

    // What was made sure of when the refresh began is gone when it ends.
    forget();
    world.bitbucket.clear_requests();
    let hold = Rule::new(Action::Hold).kind(Kind::Token);
    world.bitbucket.script(hold);
    let mut command = manage(&world, ["token"]).into_command();
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let is_held = |requests: &[Recorded]| !requests.is_empty();
    world.bitbucket.wait_for(is_held).expect("it asks");
    let room = file(&state(&world), ".next");
    fs::remove_file(&room).expect("it is ours");
    fs::create_dir(&room).expect("the name is free");
    world.bitbucket.release();
    let done = ended(child, String::new()).expect(0);
    note(
        &mut said,
        "a login that cannot be saved",
        "git bbtoken token",
        &done,
    );
    let text = without_keys(&said.text, &state(&world));
    let room = room.file_name().expect("it has a name").to_string_lossy();
    let unique = room.split('.').skip(1).collect::<Vec<_>>().join(".");
    let text = text.replace(&unique, "UNIQUE.next");
    is_expected(
        &expect_test::expect_file!["../expected/warnings-renewal.txt"],
        &text,
    );
}
