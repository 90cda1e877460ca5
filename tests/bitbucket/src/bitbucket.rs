//! The handle that tests hold.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;
use crate::connection;
use crate::data_center;
use crate::git::Repository;
use crate::journal::{Kind, Recorded};
use crate::oauth::{Consumer, NewToken, RefreshUse, TokenKind};
use crate::script::Rule;
use crate::settings::{Consent, LfsLinks, ScopeField, Settings};
use crate::site::Site;

/// How often a free port of IPv4 may turn out to be taken on IPv6.
const PORT_ATTEMPTS: usize = 16;
/// How long dropping waits for the server to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Which Bitbucket is played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edition {
    /// Bitbucket Cloud.
    #[default]
    Cloud,
    /// Bitbucket Data Center.
    DataCenter {
        /// The path that everything is below, such as `/bitbucket`; empty for none.
        context_path: String,
    },
}

/// How a Bitbucket is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which Bitbucket is played. Default: Cloud.
    pub edition: Edition,
    /// HTTPS rather than plain HTTP. Default: true.
    pub tls: bool,
    /// Whether HTTP/2 is offered: by ALPN over TLS, by prior knowledge without. Default: true.
    pub http2: bool,
    /// Whether HTTP/1.1 is offered by ALPN. Default: true.
    pub http1: bool,
    /// Whether to listen on `::1` as well as on `127.0.0.1`. Default: false.
    pub ipv6: bool,
    /// The port. Default: one that is free.
    pub port: Option<u16>,
    /// The git whose `http-backend` serves. Default: `git` on the search path.
    pub git: Option<PathBuf>,
    /// Whether the server knows protocol version 2; else it ignores `Git-Protocol`. Default: true.
    pub protocol_v2: bool,
    /// Where repositories are kept, and stay. Default: a temporary directory.
    pub root: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            edition: Edition::Cloud,
            tls: true,
            http2: true,
            http1: true,
            ipv6: false,
            port: None,
            git: None,
            protocol_v2: true,
            root: None,
        }
    }
}

impl Options {
    /// A Data Center below this context path, such as `/bitbucket`; empty for none.
    pub fn data_center(context_path: &str) -> Self {
        Self {
            edition: Edition::DataCenter {
                context_path: context_path.to_owned(),
            },
            ..Self::default()
        }
    }
}

/// The hash function of a repository's object names ("gitprotocol-v2", object-format).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectFormat {
    /// `sha1`.
    #[default]
    Sha1,
    /// `sha256`.
    Sha256,
}

/// A running Bitbucket; dropping it stops the server and everything it started.
pub struct Bitbucket {
    site: Arc<Site>,
    options: Options,
    consumer: Consumer,
    base_url: String,
    ca_file: PathBuf,
    runtime: Option<Runtime>,
    /// Last, so that the directory outlives what uses it.
    _temporary: TempDir,
}

impl Bitbucket {
    /// Starts a server on loopback, with one private consumer and no repository.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_beside(options, None)
    }

    /// Starts a mirror of this Data Center: it shares its accounts, and serves the repositories as they are copied.
    pub fn start_mirror(&self) -> Result<Self> {
        let options = Options {
            port: None,
            root: None,
            ..self.options.clone()
        };
        Self::start_beside(options, Some(self))
    }

    /// Copies the repositories of a mirror from its primary, as they are now.
    pub fn synchronize_from(&self, primary: &Self) -> Result<()> {
        data_center::copy(&primary.site.repositories, &self.site.repositories)
            .context("cannot copy the repositories")
    }

    fn start_beside(options: Options, primary: Option<&Self>) -> Result<Self> {
        if let Edition::DataCenter { context_path } = &options.edition
            && !context_path.is_empty()
            && (!context_path.starts_with('/') || context_path.ends_with('/'))
        {
            bail!("'{context_path}' is no context path: write it as '/bitbucket'");
        }
        let temporary = tempfile::Builder::new()
            .prefix("bitbucket-local-")
            .tempdir();
        let temporary = temporary.context("cannot make a temporary directory")?;
        let home = temporary.path().join("home");
        let root = options.root.as_deref().unwrap_or(temporary.path());
        let repositories = root.join("repositories");
        for directory in [&home, &repositories] {
            let made = std::fs::create_dir_all(directory);
            made.with_context(|| format!("cannot make directory '{}'", directory.display()))?;
        }
        let repositories =
            std::path::absolute(repositories).context("cannot find the current directory")?;
        let git = options.git.clone().unwrap_or_else(|| PathBuf::from("git"));
        let mut site = Site::new(options.edition.clone(), git, home, repositories)?;
        if let Some(primary) = primary {
            site.mirrors(&primary.site);
        }
        let site = Arc::new(site);
        site.change(|settings| settings.protocol_v2 = options.protocol_v2);
        let consumer = match (primary, &options.edition) {
            (Some(primary), _) => primary.consumer.clone(),
            (None, Edition::Cloud) => Consumer::new_private(),
            (None, Edition::DataCenter { .. }) => data_center::consumer(),
        };
        site.add_consumer(consumer.clone());

        let certificates = Certificates::generate()?;
        let ca_file = temporary.path().join("ca.pem");
        std::fs::write(&ca_file, &certificates.authority_pem)
            .context("cannot write the authority's certificate")?;
        let tls = if options.tls {
            Some(certificates.server_config(options.http2, options.http1)?)
        } else {
            None
        };

        let (port, listeners) = listen(&options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("bitbucket-local")
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the server's threads")?;
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        for listener in listeners {
            runtime.spawn(connection::accept(
                listener,
                acceptor.clone(),
                options.http2,
                Arc::clone(&site),
            ));
        }
        let context_path = match &options.edition {
            Edition::Cloud => "",
            Edition::DataCenter { context_path } => context_path,
        };
        let base_url = if options.tls {
            format!("https://localhost:{port}{context_path}")
        } else {
            format!("http://127.0.0.1:{port}{context_path}")
        };
        site.reached_at.get_or_init(|| base_url.clone());
        Ok(Self {
            site,
            options,
            consumer,
            base_url,
            ca_file,
            runtime: Some(runtime),
            _temporary: temporary,
        })
    }

    /// `https://localhost:PORT`, or `http://127.0.0.1:PORT` without TLS; on Data Center with the context path.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where git finds a repository.
    pub fn repository_url(&self, workspace: &str, name: &str) -> String {
        let slug = name.strip_suffix(".git").unwrap_or(name);
        let below = match self.options.edition {
            Edition::Cloud => "",
            Edition::DataCenter { .. } => "/scm",
        };
        format!("{}{below}/{workspace}/{slug}.git", self.base_url)
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        self.oauth_url("access_token", "token")
    }

    /// The page that asks a user for consent.
    pub fn authorize_url(&self) -> String {
        self.oauth_url("authorize", "authorize")
    }

    fn oauth_url(&self, cloud: &str, data_center: &str) -> String {
        let base_url = &self.base_url;
        match self.options.edition {
            Edition::Cloud => format!("{base_url}/site/oauth2/{cloud}"),
            Edition::DataCenter { .. } => format!("{base_url}/rest/oauth2/latest/{data_center}"),
        }
    }

    /// The certificate of the authority that signed the server's, as PEM.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// What control requests must send as `X-Local-Key`.
    pub fn control_key(&self) -> &str {
        &self.site.control_key
    }

    /// Where the bare repository is, whether it exists or not.
    pub fn repository_path(&self, workspace: &str, name: &str) -> PathBuf {
        let slug = name.strip_suffix(".git").unwrap_or(name);
        let repository = self.site.repository(workspace, name);
        self.site.path(&repository.unwrap_or_else(|| Repository {
            workspace: workspace.to_owned(),
            slug: slug.to_owned(),
        }))
    }

    /// Makes an empty bare repository with initial branch `main`.
    pub fn create_repository(&self, workspace: &str, name: &str) -> Result<PathBuf> {
        self.create_repository_with(workspace, name, ObjectFormat::default())
    }

    /// Makes an empty bare repository with this hash function.
    pub fn create_repository_with(
        &self,
        workspace: &str,
        name: &str,
        format: ObjectFormat,
    ) -> Result<PathBuf> {
        let repository = self.site.repository(workspace, name);
        let repository = repository
            .with_context(|| format!("'{workspace}/{name}' is no name for a repository"))?;
        let format = match format {
            ObjectFormat::Sha1 => "sha1",
            ObjectFormat::Sha256 => "sha256",
        };
        self.site.create(&repository, format)
    }

    /// The consumer that was there from the start: private, may read and write repositories and read the account.
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Adds a consumer, or replaces the one with the same key.
    pub fn add_consumer(&self, consumer: Consumer) {
        self.site.add_consumer(consumer);
    }

    /// Issues an OAuth access token with these scopes, good everywhere.
    pub fn issue_access_token(&self, scopes: &[&str]) -> String {
        self.issue_token(TokenKind::Access, scopes)
    }

    /// Issues a personal API token, `ATATT…`, that may do everything; on Data Center an HTTP access token, `BBDC-…`.
    pub fn issue_api_token(&self) -> String {
        self.issue_token(
            TokenKind::Api,
            &[
                "read:user:bitbucket",
                "read:repository:bitbucket",
                "write:repository:bitbucket",
            ],
        )
    }

    /// Issues a repository, project or workspace access token, `ATCT…`, that may read and write; on Data Center `BBDC-…`.
    pub fn issue_resource_token(&self) -> String {
        self.issue_token(TokenKind::Resource, &["repository", "repository:write"])
    }

    /// Issues a token of any kind with these scopes.
    pub fn issue_token(&self, kind: TokenKind, scopes: &[&str]) -> String {
        self.issue(NewToken {
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..NewToken::new(kind)
        })
    }

    /// Issues a token with exactly these properties.
    pub fn issue(&self, token: NewToken) -> String {
        self.site.issue(token)
    }

    /// How often Basic authentication, or a login in a browser, failed for this account of a Data Center.
    pub fn failed_attempts(&self, user: &str) -> u64 {
        self.site.accounts.failed_attempts(user)
    }

    /// Does what a user does who solves the CAPTCHA: the failed attempts are forgotten.
    pub fn reset_captcha(&self, user: &str) {
        self.site.accounts.forget_failures(user);
    }

    /// Refuses every token issued so far, of every kind; refresh tokens stay good.
    pub fn revoke_access_tokens(&self) {
        self.site.oauth.revoke_tokens();
    }

    /// Refuses every refresh token issued so far.
    pub fn revoke_refresh_tokens(&self) {
        self.site.oauth.revoke_refresh_tokens();
    }

    /// Each refresh token by its fingerprint, and how often it was used.
    pub fn refresh_uses(&self) -> Vec<RefreshUse> {
        self.site.oauth.refresh_uses()
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        self.site.settings()
    }

    /// Changes any of the settings.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.site.change(change);
    }

    /// Sets how long access tokens live that are issued from now on. Default: 7,200 s.
    pub fn set_access_token_lifetime(&self, seconds: u64) {
        self.change_settings(|settings| settings.access_token_lifetime_s = seconds);
    }

    /// Sets how long a refresh token works after its first use. Default: 600 s.
    pub fn set_refresh_grace(&self, seconds: u64) {
        self.change_settings(|settings| settings.refresh_grace_s = seconds);
    }

    /// Sets how long an unused refresh token lives. Default: three months.
    pub fn set_refresh_lifetime(&self, seconds: u64) {
        self.change_settings(|settings| settings.refresh_lifetime_s = seconds);
    }

    /// Sets whether refresh tokens rotate. Default: true.
    pub fn set_rotation(&self, rotation: bool) {
        self.change_settings(|settings| settings.rotation = rotation);
    }

    /// Sets the field that names the scopes. Default: `scope`.
    pub fn set_scope_field(&self, field: ScopeField) {
        self.change_settings(|settings| settings.scope_field = field);
    }

    /// Sets whether token answers leave `expires_in` out. Default: false.
    pub fn set_expires_in_omitted(&self, omitted: bool) {
        self.change_settings(|settings| settings.expires_in_omitted = omitted);
    }

    /// Sets whether PKCE verifiers are checked. Default: true.
    pub fn set_pkce_checked(&self, checked: bool) {
        self.change_settings(|settings| settings.pkce_checked = checked);
    }

    /// Sets what the user does with the consent page. Default: a page asks.
    pub fn set_consent(&self, consent: Consent) {
        self.change_settings(|settings| settings.consent = consent);
    }

    /// Sets how the links to LFS objects are to be used. Default: with the client's own credentials.
    pub fn set_lfs_links(&self, links: LfsLinks) {
        self.change_settings(|settings| settings.lfs_links = links);
    }

    /// Sets the status for a repository that does not exist. Default: 401.
    pub fn set_missing_repository_status(&self, status: u16) {
        self.change_settings(|settings| settings.missing_repository_status = status);
    }

    /// Moves the server's clock forward: tokens and codes age, and the `Date` of answers follows.
    pub fn advance_clock(&self, by: Duration) {
        self.site.clock.advance(by);
    }

    /// Every request since the start or [`Bitbucket::clear_requests`], in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.site.journal.requests()
    }

    /// The requests to the token endpoint.
    pub fn token_requests(&self) -> Vec<Recorded> {
        self.requests_of(Kind::Token)
    }

    /// The requests of git.
    pub fn git_requests(&self) -> Vec<Recorded> {
        self.requests_of(Kind::Git)
    }

    /// The requests of git-lfs.
    pub fn lfs_requests(&self) -> Vec<Recorded> {
        self.requests_of(Kind::Lfs)
    }

    /// Forgets the requests and connections so far.
    pub fn clear_requests(&self) {
        self.site.journal.clear();
    }

    /// How many TCP connections were accepted since the start or [`Bitbucket::clear_requests`].
    pub fn connections(&self) -> u64 {
        self.site.journal.connections()
    }

    /// Blocks until the requests satisfy this; fails after 30 seconds.
    pub fn wait_for(&self, satisfied: impl FnMut(&[Recorded]) -> bool) -> Result<()> {
        self.site.journal.wait_for(satisfied)
    }

    /// Adds a rule; of several that match a request the first added applies.
    pub fn script(&self, rule: Rule) {
        self.site.script.add(rule);
    }

    /// Forgets the rules.
    pub fn clear_script(&self) {
        self.site.script.clear();
    }

    /// How many rules still wait for a request: 0 shows that all of them were used up.
    pub fn rules_left(&self) -> usize {
        self.site.script.left()
    }

    /// Lets the requests go on that are held now.
    pub fn release(&self) {
        self.site.releases.send_modify(|count| *count += 1);
    }

    fn requests_of(&self, kind: Kind) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|recorded| recorded.kind == kind);
        requests
    }
}

impl Drop for Bitbucket {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // On a thread of its own, because a runtime must not be waited for inside another one.
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(SHUTDOWN_PATIENCE)).join();
        debug_assert!(ended.is_ok(), "ending a runtime does not panic");
    }
}

/// Listens on loopback, on the same port of both address families when asked.
fn listen(options: &Options) -> Result<(u16, Vec<TcpListener>)> {
    let wanted = options.port.unwrap_or(0);
    let mut attempts = if wanted == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        let mut listeners = vec![bind((Ipv4Addr::LOCALHOST, wanted).into())?];
        let port = listeners[0]
            .local_addr()
            .context("cannot find the port")?
            .port();
        if !options.ipv6 {
            return Ok((port, listeners));
        }
        attempts -= 1;
        match bind((Ipv6Addr::LOCALHOST, port).into()) {
            Ok(listener) => {
                listeners.push(listener);
                return Ok((port, listeners));
            }
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on '{address}'"))?;
    listener
        .set_nonblocking(true)
        .context("cannot prepare the socket")?;
    Ok(listener)
}
