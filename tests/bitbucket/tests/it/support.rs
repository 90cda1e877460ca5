//! Git, run apart from whatever this machine's user has configured.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::time::Duration;

use bitbucket_local::{Bitbucket, Options};
use tempfile::TempDir;

use crate::client::basic;

pub(crate) const TOKEN: &str = "/site/oauth2/access_token";
pub(crate) const REFS: &str = "/ws/repo.git/info/refs?service=git-upload-pack";
pub(crate) const REFS_TO_PUSH: &str = "/ws/repo.git/info/refs?service=git-receive-pack";

/// Longer than all tests take together, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A server with the empty repository `ws/repo`.
pub(crate) fn bitbucket() -> Bitbucket {
    bitbucket_with(Options::default())
}

pub(crate) fn bitbucket_with(options: Options) -> Bitbucket {
    end_what_hangs();
    let bitbucket = Bitbucket::start(options).expect("because loopback is free");
    bitbucket
        .create_repository("ws", "repo")
        .expect("because it does not exist yet");
    bitbucket
}

/// Ends all tests if one of them hangs; the test harness has named it by then.
fn end_what_hangs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            std::process::exit(101);
        });
    });
}

/// The header that lets git read and write everything.
pub(crate) fn authorization(bitbucket: &Bitbucket) -> String {
    basic(
        "x-token-auth",
        &bitbucket.issue_access_token(&["repository:write"]),
    )
}

/// Every git on the search path and in the list `BBTOKEN_TEST_GITS`.
pub(crate) fn gits() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = std::env::var_os("BBTOKEN_TEST_GITS").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    let programs = std::env::split_paths(&path).map(|directory| directory.join("git"));
    for candidate in std::env::split_paths(&extra).chain(programs) {
        if let Ok(program) = candidate.canonicalize()
            && !found.contains(&program)
        {
            found.push(program);
        }
    }
    assert!(!found.is_empty(), "there must be a git to test with");
    found
}

/// A directory in which one git works with one server.
pub(crate) struct Workplace {
    program: PathBuf,
    directory: TempDir,
    ca_file: PathBuf,
    authorization: String,
    pub(crate) url: String,
}

impl Workplace {
    pub(crate) fn new(bitbucket: &Bitbucket) -> Self {
        Self::with_git(bitbucket, Path::new("git"))
    }

    /// Lets git send this `Authorization` header, or none if it is empty.
    pub(crate) fn sending(bitbucket: &Bitbucket, authorization: &str) -> Self {
        Self {
            authorization: authorization.to_owned(),
            ..Self::new(bitbucket)
        }
    }

    pub(crate) fn with_git(bitbucket: &Bitbucket, program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            directory: tempfile::tempdir().expect("because the temporary directory is writable"),
            ca_file: bitbucket.ca_file().to_owned(),
            authorization: authorization(bitbucket),
            url: bitbucket.repository_url("ws", "repo"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(self.directory.path());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
        ] {
            command.env(name, value);
        }
        for name in [
            "GIT_AUTHOR_NAME",
            "GIT_AUTHOR_EMAIL",
            "GIT_COMMITTER_NAME",
            "GIT_COMMITTER_EMAIL",
        ] {
            command.env(name, "someone@example.com");
        }
        command
            .env("HOME", self.directory.path())
            .env("GIT_SSL_CAINFO", &self.ca_file);
        if !self.authorization.is_empty() {
            command.arg("-c").arg(format!(
                "http.extraHeader=Authorization: {}",
                self.authorization
            ));
        }
        command
            .args(["-c", "init.defaultBranch=main", "-c", "gc.auto=0"])
            .args(arguments);
        command
    }

    pub(crate) fn try_git(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("because git is installed")
    }

    /// Runs git, which must succeed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "git {arguments:?} must succeed: {stderr}"
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Makes the repository `work` with one commit that holds this content.
    pub(crate) fn commit(&self, content: &[u8]) -> String {
        self.git(&["init", "-q", "work"]);
        std::fs::write(self.path("work/file"), content).expect("because the directory exists");
        self.git(&["-C", "work", "add", "file"]);
        self.git(&["-C", "work", "commit", "-q", "-m", "a commit"]);
        self.git(&["-C", "work", "rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self) -> Output {
        self.try_git(&["-C", "work", "push", &self.url, "main"])
    }
}

/// Kills a process that was started in a group of its own, with all that it started.
#[cfg(unix)]
pub(crate) fn kill_group(process: &mut std::process::Child) {
    let group = i32::try_from(process.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let group = group.expect("because it is a process");
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        .expect("because it runs");
    process.wait().expect("because it was started");
}

/// Bytes that no compression makes shorter.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    use ring::rand::SecureRandom as _;
    let mut noise = vec![0; bytes];
    ring::rand::SystemRandom::new()
        .fill(&mut noise)
        .expect("because the system has a random generator");
    noise
}
