//! Sends requests over the library's connections, with the login of a proxy, and hands over to curl if necessary.

use std::{
    cell::{Cell, OnceCell, RefCell},
    time::Duration,
};

use reqwest::header::HeaderValue;
use tokio::runtime::Runtime;

use super::{
    Family, Phase, Proxy, ProxyAuth, ProxyLogin, ProxyLogins, Settings, TransportError, Url,
    curl::{Curl, CurlRequest, Unanswered},
    errors::{
        ProxyRefused, UnsupportedAuth, classify, is_connected_for_git, is_of_tls,
        is_refused_by_proxy, refused_by_curl, wants_proxy_login,
    },
    proxy::auth::{self, Offer, ProxyLoginNeeded},
    route::Route,
    speed_limit::Pace,
    timeouts::LIMITS,
};
use crate::trace;

/// The turns that the runtime gets to notice a closed connection: one to see the socket, one for the connection to read
/// the end, and one to spare.
const LOOKS: usize = 3;

/// The connections of one client.
pub(super) struct Pool {
    route: Route,
    proxy_auth: ProxyAuth,
    /// The authentication schemes of the proxy, once they are known.
    offer: OnceCell<Offer>,
    /// The status with which the proxy refused to connect, if it is known.
    refused_with: OnceCell<Option<u16>>,
    settings: Settings,
    /// Replaces the library for proxies and servers that the library does not support.
    curl: OnceCell<Curl>,
    /// The TLS error for which curl sent a request.
    reason_for_curl: RefCell<Option<String>>,
    logins: Option<Box<dyn ProxyLogins>>,
    /// The login for the proxy, tried or accepted.
    login: RefCell<Option<ProxyLogin>>,
    is_login_judged: Cell<bool>,
    client: RefCell<reqwest::Client>,
}

impl Pool {
    pub(super) fn new(settings: &Settings, user_agent: &HeaderValue) -> anyhow::Result<Self> {
        let route = Route::new(settings, user_agent)?;
        let client = route.client(None)?;
        Ok(Pool {
            settings: settings.clone(),
            curl: OnceCell::new(),
            reason_for_curl: RefCell::default(),
            route,
            proxy_auth: settings.proxy_auth,
            offer: OnceCell::new(),
            refused_with: OnceCell::new(),
            logins: None,
            login: RefCell::default(),
            is_login_judged: Cell::new(false),
            client: RefCell::new(client),
        })
    }

    pub(super) fn set_logins(&mut self, logins: Box<dyn ProxyLogins>) {
        self.logins = Some(logins);
    }

    /// Limits new connections to one address family.
    pub(super) fn keep_to(&mut self, family: Family) -> anyhow::Result<()> {
        self.route.family = Some(family);
        self.curl = OnceCell::new();
        let client = self.route.client(self.login.borrow().as_ref())?;
        self.client.replace(client);
        Ok(())
    }

    /// Gives the current client of the library for a request to a URL.
    pub(super) fn client(&self, url: &Url) -> reqwest::Client {
        self.route.notice_hop(url);
        self.client.borrow().clone()
    }

    /// Gives the extra time for an exchange through a proxy: as long as git waits for the connection.
    pub(super) fn patience(&self) -> Duration {
        match self.route.proxy {
            Some(_) => LIMITS.all,
            None => Duration::ZERO,
        }
    }

    /// For a trace: tells whether a proxy forwards requests to a URL without CONNECT, and with which login.
    pub(super) fn forwarding(&self, url: &Url) -> Option<Option<String>> {
        let proxy = self.route.proxy.as_ref()?;
        let is_carried = url.scheme() == "http" && proxy.is_http();
        is_carried.then(|| proxy.basic(self.login.borrow().as_ref()))
    }

    /// Gives the TLS error for which curl sent a request, if that happened.
    pub(super) fn reason_for_curl(&self) -> Option<String> {
        self.reason_for_curl.borrow().clone()
    }

    fn curl(&self) -> &Curl {
        self.curl.get_or_init(|| {
            let mut curl = Curl::new(&self.settings);
            let family = self.route.family.into_iter();
            family.for_each(|it| curl.keep_to(it));
            curl
        })
    }

    /// Tells whether curl may support the proxy although the library does not.
    fn may_use_curl(&self) -> bool {
        self.route.proxy.as_ref().is_some_and(|proxy| {
            proxy.is_http() || proxy.is_socks_4_with_user() || proxy.is_on_socket()
        })
    }

    /// Sends a request. If the library's TLS fails, curl sends `for_curl`, a copy of the request.
    pub(super) fn send(
        &self,
        runtime: &Runtime,
        request: reqwest::Request,
        for_curl: Option<&CurlRequest>,
        pace: &Pace,
        host: &str,
    ) -> Result<reqwest::Response, TransportError> {
        match (
            self.send_by_library(runtime, request, for_curl, pace, host),
            for_curl,
        ) {
            (Err(error), Some(for_curl)) if is_of_tls(&error) || is_connected_for_git(&error) => {
                self.retry_by_curl(for_curl, host, error)
            }
            (answer, _) => answer,
        }
    }

    /// Sends by curl, which checks certificates by the same settings. If curl fails too, the library's error comes first.
    fn retry_by_curl(
        &self,
        for_curl: &CurlRequest,
        host: &str,
        error: TransportError,
    ) -> Result<reqwest::Response, TransportError> {
        let proxy = self.route.proxy.as_ref();
        let login = self.login.borrow();
        let answer = self.curl().send(for_curl, proxy, login.as_ref(), host);
        match answer.map_err(|unanswered| unanswered.error) {
            Ok(answer) => {
                let why = error.reason();
                trace::event("curl", || vec![("because", why.as_str().into())]);
                self.reason_for_curl.replace(Some(why));
                Ok(answer)
            }
            Err(other) if other.phase == Phase::Tls => Err(refused_by_curl(error, &other)),
            Err(other) if other.phase == Phase::Connect => Err(error),
            Err(other) => Err(other),
        }
    }

    /// Sends a request by the library. If the proxy requires a login, sends it again: the server has not seen it yet.
    /// If the proxy needs a scheme that the library lacks, curl sends `for_curl`, a copy of the request.
    fn send_by_library(
        &self,
        runtime: &Runtime,
        request: reqwest::Request,
        for_curl: Option<&CurlRequest>,
        pace: &Pace,
        host: &str,
    ) -> Result<reqwest::Response, TransportError> {
        if let Some(kind) = self.route.unknown_proxy() {
            if for_curl.is_some() && self.may_use_curl() {
                return self.send_by_curl(for_curl, host, &Offer::default());
            }
            let why = format!("only git's own transport supports {kind}");
            return Err(
                TransportError::new(Phase::Connect, host, why).through(self.route.proxy.as_ref())
            );
        }
        if self
            .route
            .proxy
            .as_ref()
            .is_some_and(|proxy| self.is_for_curl(proxy))
        {
            return self.send_by_curl(for_curl, host, &Offer::default());
        }
        let url = request.url().clone();
        // Like curl, send a password in clear text only after the proxy has offered Basic.
        if self.route.proxy.as_ref().is_some_and(Proxy::has_user) && !self.offer(&url).has_basic() {
            return self.send_by_curl(for_curl, host, self.offer(&url));
        }
        if self.route.proxy.as_ref().is_some_and(Proxy::lacks_password)
            && self.login.borrow().is_none()
        {
            self.ask_for_login(host)?;
            self.use_login(host)?;
        }
        let again = request.try_clone();
        let answer = self
            .attempt(runtime, request, pace, host)
            .map_err(|error| self.with_status(error, &url, host));
        if answer.as_ref().is_err_and(wants_proxy_login) {
            let offer = self.offer(&url);
            if !offer.has_basic() {
                return self.send_by_curl(for_curl, host, offer);
            }
            if let Some(request) = again.filter(|_| self.may_ask()) {
                self.ask_for_login(host)?;
                self.use_login(host)?;
                let answer = self.attempt(runtime, request, pace, host);
                self.judge_login(was_login_taken(&answer));
                return answer;
            }
        }
        self.judge_login(was_login_taken(&answer));
        answer
    }

    /// Adds the status with which a proxy refused to connect. It decides about a retry.
    fn with_status(&self, error: TransportError, url: &Url, host: &str) -> TransportError {
        let Some(proxy) = self
            .route
            .proxy
            .as_ref()
            .filter(|_| is_refused_by_proxy(&error))
        else {
            return error;
        };
        let login = self.login.borrow();
        let ask = || auth::status(proxy, url, login.as_ref());
        match self.refused_with.get_or_init(ask) {
            // The proxy accepts connections now.
            None | Some(200) => error,
            Some(status) => TransportError::new(Phase::Connect, host, ProxyRefused(*status))
                .through(Some(proxy)),
        }
    }

    /// Tells whether the library cannot or must not use the proxy.
    fn is_for_curl(&self, proxy: &Proxy) -> bool {
        proxy.is_socks_4_with_user() || proxy.is_http() && !self.proxy_auth.allows_basic()
    }

    /// Gives the proxy's authentication schemes. Asks the proxy only if curl could use another scheme than Basic.
    fn offer(&self, url: &Url) -> &Offer {
        self.offer.get_or_init(|| match &self.route.proxy {
            Some(proxy) if self.proxy_auth == ProxyAuth::Any && self.may_use_curl() => {
                auth::ask(proxy, url)
            }
            _ => Offer::default(),
        })
    }

    /// Sends by curl what the library cannot send, or fails if curl cannot either.
    fn send_by_curl(
        &self,
        for_curl: Option<&CurlRequest>,
        host: &str,
        offer: &Offer,
    ) -> Result<reqwest::Response, TransportError> {
        let for_curl = for_curl.filter(|_| !offer.is_unknown());
        let (Some(for_curl), Some(proxy)) = (for_curl, &self.route.proxy) else {
            let other = UnsupportedAuth {
                ways: offer.to_string(),
                is_unknown: offer.is_unknown(),
                has_user: self.route.proxy.as_ref().is_some_and(Proxy::has_user),
            };
            let error = TransportError::new(Phase::Connect, host, other);
            return Err(error.through(self.route.proxy.as_ref()));
        };
        if proxy.lacks_password() && self.login.borrow().is_none() {
            self.ask_for_login(host)?;
        }
        let login = || self.login.borrow();
        let ask_curl = || {
            self.curl()
                .send(for_curl, Some(proxy), login().as_ref(), host)
        };
        let mut answer = ask_curl();
        if answer.as_ref().is_err_and(|it| it.is_for_login) && self.may_ask() {
            self.ask_for_login(host)?;
            answer = ask_curl();
        }
        self.judge_login(match &answer {
            Ok(_) => Some(true),
            Err(unanswered) => unanswered.is_for_login.then_some(false),
        });
        answer.map_err(|Unanswered { error, .. }| error)
    }

    fn attempt(
        &self,
        runtime: &Runtime,
        request: reqwest::Request,
        pace: &Pace,
        host: &str,
    ) -> Result<reqwest::Response, TransportError> {
        let client = self.client(request.url());
        // Created inside the runtime, because time limits need its clock.
        let answer = runtime.block_on(async {
            notice_closed_connections().await;
            pace.keep(client.execute(request)).await
        });
        answer
            .map_err(|slow| TransportError::new(Phase::TimeLimit, host, slow))?
            .map_err(|error| classify(error, host, self.route.proxy.as_ref(), Phase::Request))
    }

    /// Tells whether to ask for a login: there is a source of logins, and no login yet.
    fn may_ask(&self) -> bool {
        let has_login = self.route.proxy.as_ref().is_some_and(Proxy::has_login);
        self.logins.is_some() && !has_login && self.login.borrow().is_none()
    }

    fn ask_for_login(&self, host: &str) -> Result<(), TransportError> {
        let (Some(logins), Some(proxy)) = (&self.logins, &self.route.proxy) else {
            return Ok(());
        };
        let login = logins.ask(&proxy.user()).ok_or_else(|| {
            TransportError::new(Phase::Connect, host, ProxyLoginNeeded::NoneKnown)
                .through(Some(proxy))
        })?;
        self.login.replace(Some(login));
        Ok(())
    }

    /// Gives the library the login for the proxy.
    fn use_login(&self, host: &str) -> Result<(), TransportError> {
        let login = self.login.borrow();
        let client = self.route.client(login.as_ref());
        let client = client.map_err(|error| {
            TransportError::new(Phase::Connect, host, error.to_string())
                .through(self.route.proxy.as_ref())
        })?;
        self.client.replace(client);
        Ok(())
    }

    /// Reports once whether the proxy accepted the login, if that is known.
    fn judge_login(&self, is_right: Option<bool>) {
        if let (Some(logins), Some(proxy), Some(login), Some(is_right)) = (
            &self.logins,
            &self.route.proxy,
            &*self.login.borrow(),
            is_right,
        ) && !self.is_login_judged.replace(true)
        {
            logins.tell(&proxy.user(), login, is_right);
        }
    }
}

/// Tells whether a proxy accepted a login; `None` if the network failed.
fn was_login_taken(answer: &Result<reqwest::Response, TransportError>) -> Option<bool> {
    match answer {
        Ok(_) => Some(true),
        Err(error) => wants_proxy_login(error).then_some(false),
    }
}

/// Lets the runtime check its sockets, which it does not do between calls. A connection that the server has closed
/// then leaves the pool, and cannot lose a request that must not be sent twice.
pub(super) async fn notice_closed_connections() {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
    }
}
