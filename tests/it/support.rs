//! A world for one test: a Bitbucket on loopback, an empty HOME, and one of the gits of this machine.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
};

use bitbucket_local::{Bitbucket, Consumer, Edition, Options};
use tempfile::TempDir;

pub(crate) use crate::gits::{Git, gits, put_program};
use crate::{
    seeds,
    watch::{self, Watch},
};

/// The user's git configuration at first, as `git config` would write it.
const GITCONFIG: &str = "\
[user]
\tname = Ann Tester
\temail = ann@example.org
[init]
\tdefaultBranch = main
[protocol \"file\"]
\tallow = always
";

/// The path of a Data Center below its host.
pub(crate) const CONTEXT_PATH: &str = "/git/bitbucket";
/// When the first of [`World::commits`] was made: 2023-11-14.
const FIRST_COMMIT_UNIX_S: i64 = 1_700_000_000;

/// Runs a test in a fresh world for every git found.
pub(crate) fn on_every_git(test: impl Fn(&World)) {
    for git in gits() {
        test(&World::new(git));
    }
}

/// A world with `ws/repo`, whose token is cached, and whose advertisement is asked for each time.
pub(crate) fn on_every_git_without_memory(test: impl Fn(&World)) {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let never = ["config", "--global", "bbtoken.rememberAdvertisement", "no"];
        world.git(never).ok();
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        test(world);
    });
}

/// A user with an OAuth client, and the server.
pub(crate) struct World {
    /// The agent of every world, if the tests run with one. It ends first.
    #[cfg(target_os = "linux")]
    agent: OnceLock<crate::agent::whole::Agent>,
    /// The server.
    pub(crate) bitbucket: Bitbucket,
    /// Whether the server is a Data Center.
    is_data_center: bool,
    /// The git that is used.
    pub(crate) git: Git,
    /// The client whose id and secret are in the environment of every command.
    pub(crate) consumer: Consumer,
    /// The time limit.
    pub(crate) watch: Arc<Watch>,
    directory: TempDir,
    /// The user's runtime directory, once a session has begun.
    session: OnceLock<PathBuf>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.watch.ends();
    }
}

impl World {
    /// Starts a Bitbucket as it is by default; a Data Center with the variable `BBTOKEN_TEST_DATA_CENTER`.
    pub(crate) fn new(git: Git) -> Self {
        World::with(git, Options::default())
    }

    /// Starts a Bitbucket of another kind.
    pub(crate) fn with(git: Git, options: Options) -> Self {
        watch::heed_signals();
        let data_center = Options::data_center(CONTEXT_PATH).edition;
        let is_asked_for = std::env::var_os("BBTOKEN_TEST_DATA_CENTER").is_some();
        let options = Options {
            git: options.git.or_else(|| Some(git.program.clone())),
            edition: match is_asked_for {
                true => data_center,
                false => options.edition,
            },
            ..options
        };
        let is_data_center = options.edition != Edition::Cloud;
        let bitbucket = Bitbucket::start(options).expect("the local Bitbucket starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["home", "no-authorities"] {
            fs::create_dir(directory.path().join(name)).expect("it is empty");
        }
        let world = World {
            is_data_center,
            consumer: bitbucket.consumer().clone(),
            bitbucket,
            git,
            watch: Watch::over(directory.path()),
            directory,
            session: OnceLock::new(),
            #[cfg(target_os = "linux")]
            agent: OnceLock::new(),
        };
        fs::write(world.home().join(".gitconfig"), GITCONFIG).expect("the home is empty");
        #[cfg(target_os = "linux")]
        if let Some(agent) = crate::agent::whole::Agent::of(&world) {
            world.agent.get_or_init(|| agent);
        }
        world
    }

    /// Tells whether this is the first git found. With it, tables of what concerns our programs alone are tried in full.
    pub(crate) fn has_first_git(&self) -> bool {
        self.git.program == gits()[0].program
    }

    /// Tells whether the server is a Data Center.
    pub(crate) fn is_data_center(&self) -> bool {
        self.is_data_center
    }

    /// The scheme, host and port of the server, without a context path.
    pub(crate) fn origin(&self) -> &str {
        let base = self.bitbucket.base_url();
        base.strip_suffix(CONTEXT_PATH).unwrap_or(base)
    }

    /// The path of a repository on the server, as requests name it.
    pub(crate) fn repository_path(&self, workspace: &str, name: &str) -> String {
        let url = self.bitbucket.repository_url(workspace, name);
        url[self.origin().len()..].to_owned()
    }

    /// The path of the token endpoint, as requests name it.
    pub(crate) fn token_path(&self) -> String {
        self.bitbucket.token_url()[self.origin().len()..].to_owned()
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The directory of cached tokens.
    pub(crate) fn cache(&self) -> PathBuf {
        self.home().join(".cache/git-remote-bbtoken")
    }

    /// Prepares git, in the world's directory.
    pub(crate) fn git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.run(&self.git.program.clone(), arguments)
    }

    /// Prepares any program with the same environment: nothing is inherited.
    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .env_clear();
        command
            .env("PATH", self.search_path())
            .env("HOME", self.home())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            // A slow machine must not change what is said.
            .env("GIT_PROGRESS_DELAY", "600")
            .env("GIT_SSL_CAINFO", self.bitbucket.ca_file())
            // Without it, curl parses every certificate of /etc/ssl/certs for each connection of git's own transport.
            .env("GIT_SSL_CAPATH", self.path("no-authorities"))
            .env("BBTOKEN_BASE_URL", self.bitbucket.base_url())
            .env("BBTOKEN_CLIENT_ID", &self.consumer.key)
            .env("BBTOKEN_CLIENT_SECRET", &self.consumer.secret);
        if self.is_data_center {
            command.env("BBTOKEN_KIND", "datacenter");
        }
        if let Some(session) = self.session.get() {
            // The agent knows one file with trusted certificates.
            command
                .env("XDG_RUNTIME_DIR", session)
                .env_remove("GIT_SSL_CAPATH");
        }
        self.watch.goes_on();
        Run {
            command,
            watch: Arc::clone(&self.watch),
        }
    }

    /// Gives each further command a runtime directory, as systemd does for a user who logs in.
    #[cfg(unix)]
    pub(crate) fn begin_session(&self) -> &Path {
        self.session.get_or_init(|| {
            let session = self.path("run");
            let made = std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
                .create(&session);
            made.expect("the name is free");
            session
        })
    }

    /// Prepares `git-bbtoken`.
    pub(crate) fn bbtoken<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.run(&helper().with_file_name("git-bbtoken"), arguments)
    }

    /// The user's git configuration.
    pub(crate) fn gitconfig(&self) -> String {
        fs::read_to_string(self.home().join(".gitconfig")).expect("the user has one")
    }

    /// Our two programs first, then this world's git, then the system's tools.
    pub(crate) fn search_path(&self) -> OsString {
        let ours = helper().parent().map(Path::to_owned);
        let git = self.git.program.parent().map(Path::to_owned);
        let system = ["/usr/bin", "/bin"].map(PathBuf::from);
        std::env::join_paths(ours.into_iter().chain(git).chain(system))
            .expect("no path holds a colon")
    }

    /// Makes a repository on the server with one commit on `main`, holding `file`.
    pub(crate) fn repository(&self, workspace: &str, name: &str) -> PathBuf {
        let bare = self
            .bitbucket
            .create_repository(workspace, name)
            .expect("it can be made");
        let seed = self.path(&format!("seed-{workspace}-{name}"));
        seeds::plant(&bare);
        seeds::work_tree(&seed);
        self.git(["reset", "-q", "--hard"]).within(&seed).ok();
        bare
    }

    /// Clones `bbtoken::<address>` into a directory of the world's.
    pub(crate) fn clone(&self, address: &str, directory: &str) -> PathBuf {
        self.git(["clone", "-q", &format!("bbtoken::{address}"), directory])
            .ok();
        self.path(directory)
    }

    /// Makes a repository on the server and clones it.
    pub(crate) fn clone_of_new(&self, workspace: &str, name: &str) -> PathBuf {
        self.repository(workspace, name);
        self.clone(&format!("{workspace}/{name}"), name)
    }

    /// Commits a file's new content in a work tree.
    pub(crate) fn commit(&self, tree: &Path, file: &str, content: impl AsRef<[u8]>) {
        fs::write(tree.join(file), content).expect("the work tree can be written");
        self.git(["add", file]).within(tree).ok();
        self.git(["-c", "maintenance.auto=false", "commit", "-q", "-m", file])
            .within(tree)
            .ok();
    }

    /// Adds commits to the checked out branch, a day apart and each with its own file, faster than one by one.
    pub(crate) fn commits(&self, tree: &Path, count: u32, label: &str) {
        let branch = self
            .git(["symbolic-ref", "HEAD"])
            .within(tree)
            .ok()
            .trim_end()
            .to_owned();
        let mut stream = String::new();
        for number in 0..count {
            let at = FIRST_COMMIT_UNIX_S + i64::from(number) * 86_400;
            let name = format!("{label}-{number}");
            let from = if number == 0 {
                format!("from {branch}^0\n")
            } else {
                String::new()
            };
            stream.push_str(&format!(
                "commit {branch}\ncommitter Ann Tester <ann@example.org> {at} +0000\ndata {length}\n{name}\n\
                 {from}M 100644 inline {name}\ndata {length}\n{name}\n",
                length = name.len()
            ));
        }
        let file = self.path(&format!("stream-{label}"));
        fs::write(&file, stream).expect("the world's directory can be written");
        let mut import = self
            .git(["fast-import", "--quiet"])
            .within(tree)
            .into_command();
        import.stdin(fs::File::open(file).expect("it was just written"));
        assert!(
            import.status().expect("git starts").success(),
            "the commits are well-formed"
        );
        self.git(["reset", "-q", "--hard"]).within(tree).ok();
    }

    /// Brings a work tree's `main` to a bare repository on the server, past the helper.
    pub(crate) fn publish(&self, bare: &Path, tree: &Path) {
        self.git(["push", "-q"])
            .arg(bare)
            .arg("main")
            .within(tree)
            .ok();
    }

    /// Fetches in a work tree, which succeeds and says nothing.
    pub(crate) fn fetch(&self, tree: &Path) {
        self.git(["fetch", "-q"])
            .within(tree)
            .done()
            .expect(0)
            .quiet();
    }

    /// What a revision names in a repository, work tree or bare.
    pub(crate) fn rev(&self, repository: &Path, revision: &str) -> String {
        let id = self
            .git(["rev-parse", "--verify", revision])
            .within(repository)
            .ok();
        id.trim_end().to_owned()
    }

    /// A token in the place of a client, for git's own https.
    pub(crate) fn with_header(&self, token: &str) -> String {
        format!("http.extraHeader=Authorization: Bearer {token}")
    }

    /// The methods and paths of the git requests since they were last cleared, as `GET info/refs`.
    pub(crate) fn git_requests(&self) -> Vec<String> {
        let requests = self.bitbucket.git_requests();
        requests
            .iter()
            .map(|request| {
                let path = request.path.rsplit(".git/").next().unwrap_or("");
                format!("{} {path}", request.method)
            })
            .collect()
    }
}

/// The helper under test.
pub(crate) fn helper() -> PathBuf {
    assert_cmd::cargo::cargo_bin!("git-remote-bbtoken").to_owned()
}

/// Copies a program, for the same reason by another process.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let done = Command::new("cp").args([from, to]).status();
    assert!(done.is_ok_and(|done| done.success()));
}

/// Prepares cargo for the workspace of these tests.
///
/// The variables that cargo has set for them would make it run the build scripts that read these anew.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// A command that is about to run.
pub(crate) struct Run {
    command: Command,
    watch: Arc<Watch>,
}

impl Run {
    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs it in a directory.
    pub(crate) fn within(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Leaves a variable out; without the server's CA, only what the system or a setting trusts remains.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        if name == "GIT_SSL_CAINFO" {
            self.command.env_remove("GIT_SSL_CAPATH");
        }
        self
    }

    /// Lets it read a text.
    pub(crate) fn input(self, text: &str) -> Self {
        self.input_bytes(text.as_bytes())
    }

    /// Lets it read bytes.
    pub(crate) fn input_bytes(mut self, bytes: &[u8]) -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("it can be written");
        file.rewind().expect("it is a file");
        self.command.stdin(file);
        self
    }

    /// Lets it ask the server what it can do, whatever was remembered of that.
    pub(crate) fn without_memory(self) -> Self {
        self.env("BBTOKEN_REMEMBER_ADVERTISEMENT", "false")
    }

    /// Leaves the client out that is in the environment otherwise.
    pub(crate) fn without_client(self) -> Self {
        self.without("BBTOKEN_CLIENT_ID")
            .without("BBTOKEN_CLIENT_SECRET")
    }

    /// Lets another user run it, who is in no group; only root may do that.
    #[cfg(unix)]
    pub(crate) fn by_user(mut self, user: u32) -> Self {
        std::os::unix::process::CommandExt::uid(&mut self.command, user);
        std::os::unix::process::CommandExt::gid(&mut self.command, user);
        self
    }

    /// Gives the command away, to be started in another way.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    pub(crate) fn done(mut self) -> Done {
        let output = self.command.output().expect("the program starts");
        self.watch.goes_on();
        let done = Done {
            shown: format!("{:?}", self.command),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!self.watch.has_bitten(), "it took too long: {done:?}");
        done
    }

    /// Runs it and expects success; gives what it printed on stdout.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.done().expect(0).stdout
    }

    /// Runs it and expects an exit code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Done {
        self.done().expect(code)
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Done {
    /// The command.
    pub(crate) shown: String,
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained of.
    pub(crate) stderr: String,
}

impl Done {
    /// Expects an exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\nstdout: {}\nstderr: {}",
            self.shown,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Expects that it had nothing to complain of.
    #[track_caller]
    pub(crate) fn quiet(self) -> Self {
        assert_eq!(self.stderr, "", "a success is silent: {}", self.shown);
        self
    }

    /// Expects each of some texts in what it complained of.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "'{text}' is missing in: {}",
                self.stderr
            );
        }
    }
}
