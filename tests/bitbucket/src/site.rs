//! Everything the requests share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;

use crate::backend::{self, Backend};
use crate::bitbucket::Edition;
use crate::clock::Clock;
use crate::data_center::{self, Accounts};
use crate::git::Repository;
use crate::journal::Journal;
use crate::lfs::Locks;
use crate::oauth::{Consumer, NewToken, Oauth, Token, TokenKind};
use crate::script::Script;
use crate::settings::Settings;

/// One running Bitbucket, without its sockets.
pub(crate) struct Site {
    pub(crate) edition: Edition,
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) script: Script,
    pub(crate) oauth: Arc<Oauth>,
    /// The accounts of a Data Center.
    pub(crate) accounts: Arc<Accounts>,
    /// Whether this is a mirror: it serves copies and takes no pushes.
    pub(crate) is_mirror: bool,
    pub(crate) backend: Backend,
    /// Counts the releases of held answers.
    pub(crate) releases: watch::Sender<u64>,
    /// What control requests over HTTP must send.
    pub(crate) control_key: String,
    /// Where it is reached, once it listens.
    pub(crate) reached_at: OnceLock<String>,
    pub(crate) locks: Locks,
    pub(crate) git: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) repositories: PathBuf,
    settings: Mutex<Settings>,
    connections: AtomicU64,
}

impl Site {
    pub(crate) fn new(
        edition: Edition,
        git: PathBuf,
        home: PathBuf,
        repositories: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            settings: Mutex::new(Settings::of(&edition)),
            edition,
            clock: Arc::default(),
            journal: Arc::default(),
            script: Script::default(),
            oauth: Arc::default(),
            accounts: Arc::default(),
            is_mirror: false,
            backend: Backend::new(&git, repositories.clone(), home.clone())?,
            releases: watch::Sender::new(0),
            control_key: crate::random::alphanumeric(32),
            reached_at: OnceLock::new(),
            locks: Locks::default(),
            git,
            home,
            repositories,
            connections: AtomicU64::new(0),
        })
    }

    /// Makes this a mirror of another site.
    pub(crate) fn mirrors(&mut self, primary: &Self) {
        self.is_mirror = true;
        self.clock = Arc::clone(&primary.clock);
        self.oauth = Arc::clone(&primary.oauth);
        self.accounts = Arc::clone(&primary.accounts);
        let mut settings = primary.settings();
        settings.data_center.base_url = None;
        self.settings = Mutex::new(settings);
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
            .lock()
            .expect("because no thread panics while it holds the settings")
            .clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(
            &mut self
                .settings
                .lock()
                .expect("because no thread panics while it holds the settings"),
        );
    }

    /// Who signs in.
    pub(crate) fn user(&self) -> String {
        match self.edition {
            Edition::Cloud => "local".to_owned(),
            Edition::DataCenter { .. } => self.settings().data_center.user,
        }
    }

    /// Issues a token of any kind.
    pub(crate) fn issue(&self, wanted: NewToken) -> String {
        let kind = wanted.kind;
        let is_oauth = matches!(kind, TokenKind::Access | TokenKind::Service);
        let lifetime_s = wanted
            .lifetime_s
            .or_else(|| is_oauth.then(|| self.settings().access_token_lifetime_s));
        let (secret, scopes, owner) = match self.edition {
            Edition::Cloud => (kind.secret(), wanted.scopes, self.user()),
            Edition::DataCenter { .. } => (
                data_center::secret(kind),
                data_center::scopes(&wanted.scopes),
                data_center::owner(self, kind),
            ),
        };
        let token = Token {
            kind,
            scopes,
            user: wanted.user.unwrap_or(owner),
            grant: None,
            workspaces: wanted.workspaces,
            expires_at_unix_s: lifetime_s.map(|lifetime_s| self.clock.now_unix_s() + lifetime_s),
            revoked: false,
        };
        self.oauth.known().issue(secret, token)
    }

    pub(crate) fn add_consumer(&self, mut consumer: Consumer) {
        if let Edition::DataCenter { .. } = self.edition {
            consumer.scopes = data_center::scopes(&consumer.scopes);
        }
        self.oauth.add_consumer(consumer);
    }

    /// Reads the name of a repository as this edition does.
    pub(crate) fn repository(&self, workspace: &str, name: &str) -> Option<Repository> {
        match self.edition {
            Edition::Cloud => Repository::new(workspace, name),
            Edition::DataCenter { .. } => data_center::repository(workspace, name),
        }
    }

    /// Where it is reached, or believes that it is.
    pub(crate) fn base_url(&self) -> String {
        let configured = match self.edition {
            Edition::Cloud => None,
            Edition::DataCenter { .. } => self.settings().data_center.base_url,
        };
        configured.unwrap_or_else(|| self.reached_at.get().cloned().unwrap_or_default())
    }

    /// The address that the name of an LFS object is put behind.
    pub(crate) fn lfs_storage(&self, repository: &Repository) -> String {
        let Repository { workspace, slug } = repository;
        let base = self.base_url();
        match self.edition {
            Edition::Cloud => format!("{base}/{workspace}/{slug}.git/info/lfs/storage/"),
            Edition::DataCenter { .. } => {
                format!("{base}/rest/git-lfs/storage/{workspace}/{slug}/")
            }
        }
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn path(&self, repository: &Repository) -> PathBuf {
        self.repositories
            .join(&repository.workspace)
            .join(format!("{}.git", repository.slug))
    }

    pub(crate) fn exists(&self, repository: &Repository) -> bool {
        self.path(repository).is_dir()
    }

    /// Makes an empty bare repository with the features that Bitbucket Cloud offers.
    pub(crate) fn create(&self, repository: &Repository, object_format: &str) -> Result<PathBuf> {
        let path = self.path(repository);
        if path.exists() {
            bail!("cannot create repository '{}': it exists", path.display());
        }
        match object_format {
            "sha1" => lay_out(&path, &format!("{BARE_CONFIG}{REPOSITORY_CONFIG}")),
            other => self.init(&path, other),
        }
        .with_context(|| format!("cannot create repository '{}'", path.display()))?;
        Ok(path)
    }

    fn init(&self, path: &Path, object_format: &str) -> Result<()> {
        let init = ["init", "--quiet", "--bare", "--initial-branch=main"];
        run(self
            .command()
            .args(init)
            .arg(format!("--object-format={object_format}"))
            .arg(path))?;
        let config = path.join("config");
        let text = std::fs::read_to_string(&config)?;
        Ok(std::fs::write(&config, text + REPOSITORY_CONFIG)?)
    }

    fn command(&self) -> Command {
        backend::clean(&self.git, &self.home)
    }
}

/// Makes an empty repository on branch `main`, as gitrepository-layout(5) describes it, with this configuration.
///
/// Every git reads version 0 of that layout, and tests make thousands of repositories: no process is needed for one.
pub fn lay_out(directory: &Path, config: &str) -> Result<()> {
    for below in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        std::fs::create_dir_all(directory.join(below))?;
    }
    std::fs::write(directory.join("HEAD"), "ref: refs/heads/main\n")?;
    Ok(std::fs::write(directory.join("config"), config)?)
}

const BARE_CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
";

/// Push, push options and partial clone are on; nothing works on after an answer, and no time is spent on compression.
const REPOSITORY_CONFIG: &str = "\
[core]
\tcompression = 0
[http]
\treceivepack = true
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
[receive]
\tadvertisePushOptions = true
\tautogc = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
";

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}
