//! The reqwest client: one runtime on the calling thread, HTTP/1.1, no redirects. Sends requests with the login of a
//! proxy, and hands over to curl if necessary.

use std::{
    cell::{Cell, OnceCell, RefCell},
    error::Error,
    time::Duration,
};

use super::{
    curl::{Curl, CurlRequest, Unanswered},
    errors::{UnsupportedAuth, classify, refused_by_curl},
    interface::{HttpClient, Request, Response},
    message::{Exchange, Messages},
    proxy::{
        Proxy, ProxyAuth, ProxyLogin, ProxyLogins,
        auth::{self, AuthSchemes, ProxyError},
    },
    resolver::Family,
    route::Route,
    settings::Settings,
    timeouts::LIMITS,
    transport_error::{Phase, TransportError},
};
use crate::{trace, url::Url, waiting};

/// The turns that the runtime gets to notice a closed connection: one to see the socket, one for the connection to read
/// the end, and one to spare.
const LOOKS: usize = 3;

/// A connection pool, and the runtime that drives it while a call waits.
pub(crate) struct Client {
    messages: Messages,
    route: Route,
    /// The authentication schemes of the proxy, once they are known.
    auth_schemes: OnceCell<AuthSchemes>,
    /// The status with which the proxy refused to connect, if it is known.
    refused_with: OnceCell<Option<u16>>,
    settings: Settings,
    /// The TLS error for which curl sent a request.
    reason_for_curl: RefCell<Option<String>>,
    logins: Option<Box<dyn ProxyLogins>>,
    /// The login for the proxy, tried or accepted.
    login: RefCell<Option<ProxyLogin>>,
    is_login_judged: Cell<bool>,
    client: RefCell<reqwest::Client>,
}

impl HttpClient for Client {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let exchange = self.messages.exchange(&request);
        let for_curl = CurlRequest::of(&request, &self.messages, &exchange.host)?;
        let proxy = self.forwarding(&request.url);
        let request = self
            .messages
            .start(request, &exchange, self.patience(), proxy)?;
        let _wait = waiting::on(&exchange.host);
        let answer = self.answer(request, for_curl.as_ref(), &exchange)?;
        Ok(self.messages.finish(exchange, answer).into())
    }
}

impl Client {
    /// Tells whether the client follows these settings.
    pub(crate) fn follows(&self, settings: &Settings) -> bool {
        self.settings == *settings
    }

    /// Prepares a client without connecting. `user_agent` applies if the settings have none. `family` is the only address
    /// family, if connections are limited to one.
    ///
    /// # Errors
    ///
    /// If a setting is invalid (a proxy that is not a URL, a malformed header) or the system cannot provide a runtime.
    pub(crate) fn new(
        settings: &Settings,
        user_agent: &str,
        family: Option<Family>,
    ) -> anyhow::Result<Self> {
        let messages = Messages::new(settings, user_agent)?;
        let route = Route::new(settings, &messages.user_agent, family)?;
        let client = route.client(None)?;
        Ok(Client {
            messages,
            settings: settings.clone(),
            reason_for_curl: RefCell::default(),
            route,
            auth_schemes: OnceCell::new(),
            refused_with: OnceCell::new(),
            logins: None,
            login: RefCell::default(),
            is_login_judged: Cell::new(false),
            client: RefCell::new(client),
        })
    }

    /// Sets the source of proxy logins.
    #[must_use]
    pub(crate) fn with_proxy_logins(mut self, logins: Box<dyn ProxyLogins>) -> Self {
        self.logins = Some(logins);
        self
    }

    /// Gives the extra time for an exchange through a proxy: as long as git waits for the connection.
    fn patience(&self) -> Duration {
        match self.proxy() {
            Some(_) => LIMITS.all,
            None => Duration::ZERO,
        }
    }

    /// For a trace: tells whether a proxy forwards requests to a URL without CONNECT, and with which login.
    fn forwarding(&self, url: &Url) -> Option<Option<String>> {
        let proxy = self.proxy()?;
        let is_carried = url.scheme() == "http" && proxy.is_http();
        is_carried.then(|| proxy.basic(self.login.borrow().as_ref()))
    }

    /// Gives the TLS error for which curl sent a request instead of the library, if that happened.
    pub(crate) fn reason_for_curl(&self) -> Option<String> {
        self.reason_for_curl.borrow().clone()
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.route.proxy.as_ref()
    }

    /// Sends a request. If the library's TLS fails, curl sends `for_curl`, a copy of the request.
    fn answer(
        &self,
        request: reqwest::Request,
        for_curl: Option<&CurlRequest>,
        exchange: &Exchange,
    ) -> Result<reqwest::Response, TransportError> {
        let answer = match self.proxy() {
            Some(proxy) => self.send_through(proxy, request, for_curl, exchange),
            None => self.attempt(request, exchange),
        };
        match (answer, for_curl) {
            (Err(error), Some(for_curl)) if error.is_of_tls() || error.is_connected_for_git() => {
                self.retry_by_curl(for_curl, &exchange.host, error)
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
        let answer = self.ask_curl(for_curl, host);
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

    /// Sends a request through a proxy. If the proxy needs a scheme that the library lacks, curl sends `for_curl`, a
    /// copy of the request.
    fn send_through(
        &self,
        proxy: &Proxy,
        request: reqwest::Request,
        for_curl: Option<&CurlRequest>,
        exchange: &Exchange,
    ) -> Result<reqwest::Response, TransportError> {
        let host = &exchange.host;
        match proxy.unknown_kind() {
            Some(kind) if for_curl.is_none() || !proxy.is_on_socket() => {
                let why = format!("only git's own transport supports {kind}");
                return Err(self.unconnected(host, why));
            }
            None if !self.is_for_curl(proxy) => {}
            _ => return self.send_by_curl(for_curl, host, &AuthSchemes::default()),
        }
        // Like curl, send a password in clear text only after the proxy has offered Basic.
        if proxy.has_user() && !self.auth_schemes(request.url()).has_basic() {
            return self.send_by_curl(for_curl, host, self.auth_schemes(request.url()));
        }
        if proxy.lacks_password() && self.login.borrow().is_none() {
            self.log_in(host)?;
        }
        self.send_by_library(request, for_curl, exchange)
    }

    /// Sends a request by the library. If the proxy requires a login, sends it again: the server has not seen it yet.
    fn send_by_library(
        &self,
        request: reqwest::Request,
        for_curl: Option<&CurlRequest>,
        exchange: &Exchange,
    ) -> Result<reqwest::Response, TransportError> {
        let host = &exchange.host;
        let url = request.url().clone();
        let again = request.try_clone();
        let mut answer = self
            .attempt(request, exchange)
            .map_err(|error| self.with_status(error, &url, host));
        if wants_login(&answer) {
            let auth_schemes = self.auth_schemes(&url);
            if !auth_schemes.has_basic() {
                return self.send_by_curl(for_curl, host, auth_schemes);
            }
            if let Some(request) = again.filter(|_| self.may_ask()) {
                self.log_in(host)?;
                answer = self.attempt(request, exchange);
            }
        }
        self.judge_login(match &answer {
            Ok(_) => Some(true),
            // Otherwise the network failed.
            Err(_) => wants_login(&answer).then_some(false),
        });
        answer
    }

    /// Adds the status with which a proxy refused to connect. It decides about a retry.
    fn with_status(&self, error: TransportError, url: &Url, host: &str) -> TransportError {
        let Some(proxy) = self.proxy().filter(|_| error.is_refused_by_proxy()) else {
            return error;
        };
        let login = self.login.borrow();
        let ask = || auth::status(proxy, url, login.as_ref());
        match self.refused_with.get_or_init(ask) {
            // The proxy accepts connections now.
            None | Some(200) => error,
            Some(status) => self.unconnected(host, ProxyError::Refused(*status)),
        }
    }

    /// Tells whether the library cannot or must not use the proxy.
    fn is_for_curl(&self, proxy: &Proxy) -> bool {
        proxy.is_socks_4_with_user() || proxy.is_http() && !self.settings.proxy_auth.allows_basic()
    }

    /// Gives the proxy's authentication schemes. Asks the proxy only if curl could use another scheme than Basic.
    fn auth_schemes(&self, url: &Url) -> &AuthSchemes {
        self.auth_schemes.get_or_init(|| match self.proxy() {
            Some(proxy) if self.settings.proxy_auth == ProxyAuth::Any => auth::ask(proxy, url),
            _ => AuthSchemes::default(),
        })
    }

    /// Sends by curl what the library cannot send, or fails if curl cannot either.
    fn send_by_curl(
        &self,
        for_curl: Option<&CurlRequest>,
        host: &str,
        auth_schemes: &AuthSchemes,
    ) -> Result<reqwest::Response, TransportError> {
        let for_curl = for_curl.filter(|_| !auth_schemes.is_unknown());
        let (Some(for_curl), Some(proxy)) = (for_curl, self.proxy()) else {
            let other = UnsupportedAuth {
                schemes: auth_schemes.to_string(),
                is_unknown: auth_schemes.is_unknown(),
                has_user: self.proxy().is_some_and(Proxy::has_user),
            };
            return Err(self.unconnected(host, other));
        };
        if proxy.lacks_password() && self.login.borrow().is_none() {
            self.ask_for_login(host)?;
        }
        let mut answer = self.ask_curl(for_curl, host);
        if answer.as_ref().is_err_and(|it| it.is_for_login) && self.may_ask() {
            self.ask_for_login(host)?;
            answer = self.ask_curl(for_curl, host);
        }
        self.judge_login(match &answer {
            Ok(_) => Some(true),
            Err(unanswered) => unanswered.is_for_login.then_some(false),
        });
        answer.map_err(|Unanswered { error, .. }| error)
    }

    fn ask_curl(&self, request: &CurlRequest, host: &str) -> Result<reqwest::Response, Unanswered> {
        let curl = Curl {
            settings: &self.settings,
            family: self.route.family,
        };
        curl.send(request, self.login.borrow().as_ref(), host)
    }

    fn attempt(
        &self,
        request: reqwest::Request,
        Exchange {
            host, speed_limit, ..
        }: &Exchange,
    ) -> Result<reqwest::Response, TransportError> {
        self.route.notice_hop(request.url());
        let client = self.client.borrow().clone();
        // Created inside the runtime, because time limits need its clock.
        let answer = self.messages.runtime.block_on(async {
            notice_closed_connections().await;
            speed_limit.enforce(client.execute(request)).await
        });
        answer
            .map_err(|slow| TransportError::new(Phase::TimeLimit, host, slow))?
            .map_err(|error| classify(error, host, self.proxy(), Phase::Request))
    }

    /// Makes the error for a proxy that does not connect.
    fn unconnected(
        &self,
        host: &str,
        why: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> TransportError {
        TransportError::new(Phase::Connect, host, why).through(self.proxy())
    }

    /// Tells whether to ask for a login: there is a source of logins, and no login yet.
    fn may_ask(&self) -> bool {
        let has_login = self.proxy().is_some_and(Proxy::has_login);
        self.logins.is_some() && !has_login && self.login.borrow().is_none()
    }

    fn ask_for_login(&self, host: &str) -> Result<(), TransportError> {
        let (Some(logins), Some(proxy)) = (&self.logins, self.proxy()) else {
            return Ok(());
        };
        let login = logins.ask(&proxy.user());
        let login = login.ok_or_else(|| self.unconnected(host, ProxyError::NoLogin))?;
        self.login.replace(Some(login));
        Ok(())
    }

    /// Asks for a login, and gives it to the library.
    fn log_in(&self, host: &str) -> Result<(), TransportError> {
        self.ask_for_login(host)?;
        let client = self.route.client(self.login.borrow().as_ref());
        let client = client.map_err(|error| self.unconnected(host, error.to_string()))?;
        self.client.replace(client);
        Ok(())
    }

    /// Reports once that the proxy accepted the login, or that it refused this one, if that is known.
    fn judge_login(&self, is_right: Option<bool>) {
        let Some(is_right) = is_right else { return };
        if let (Some(logins), Some(proxy)) = (&self.logins, self.proxy())
            && let Some(login) = &*self.login.borrow()
            && !self.is_login_judged.replace(is_right)
        {
            logins.tell(&proxy.user(), login, is_right);
        }
        if !is_right && self.login.take().is_some() {
            // The next request asks again, and does not send the refused login.
            if let Ok(client) = self.route.client(None) {
                self.client.replace(client);
            }
        }
    }
}

/// Tells whether a proxy requires a login or refused it.
fn wants_login(answer: &Result<reqwest::Response, TransportError>) -> bool {
    let error = answer.as_ref().err();
    error.is_some_and(TransportError::wants_proxy_login)
}

/// Lets the runtime check its sockets, which it does not do between calls. A connection that the server has closed
/// then leaves the pool, and cannot lose a request that must not be sent twice.
pub(super) async fn notice_closed_connections() {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        rc::Rc,
    };

    use super::*;
    use crate::{http::ProxyUser, secret::Secret};

    /// Gives a wrong login, and remembers the questions and the verdicts.
    struct Wrong(Rc<RefCell<Vec<&'static str>>>);

    impl ProxyLogins for Wrong {
        fn ask(&self, _: &ProxyUser) -> Option<ProxyLogin> {
            self.0.borrow_mut().push("asked");
            Some(ProxyLogin {
                user: "ann".into(),
                password: Secret::new("wrong"),
            })
        }

        fn tell(&self, _: &ProxyUser, _: &ProxyLogin, is_right: bool) {
            let verdict = if is_right { "right" } else { "wrong" };
            self.0.borrow_mut().push(verdict);
        }
    }

    #[test]
    fn a_refused_proxy_login_is_not_sent_by_the_next_request() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let place = listener.local_addr().expect("it is bound");
        let proxy = std::thread::Builder::new().spawn(move || {
            let mut logins = 0;
            for stream in listener.incoming() {
                let mut stream = stream.expect("the client connects");
                let lines = BufReader::new(stream.try_clone().expect("it is open")).lines();
                let lines: Vec<_> = lines
                    .map_while(|line| line.ok().filter(|line| !line.is_empty()))
                    .collect();
                if lines.first().is_some_and(|line| line.starts_with("END")) {
                    break;
                }
                let is_login = |line: &String| line.to_ascii_lowercase().starts_with("proxy-auth");
                logins += usize::from(lines.iter().any(is_login));
                let answer = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).expect("it reads");
            }
            logins
        });
        let proxy = proxy.expect("there is room for a thread");
        let settings = Settings {
            proxy: Some(Proxy::new(format!("http://{place}"), "http.proxy")),
            ..Settings::default()
        };
        let told = Rc::default();
        let client = Client::new(&settings, "test", None).expect("the settings are right");
        let client = client.with_proxy_logins(Box::new(Wrong(Rc::clone(&told))));
        for _ in 0..2 {
            let url = Url::parse("https://bitbucket.example/").expect("it is a URL");
            client.send(Request::get(url)).err().expect("it is refused");
        }
        assert_eq!(*told.borrow(), ["asked", "wrong", "asked", "wrong"]);
        let mut end = std::net::TcpStream::connect(place).expect("it listens");
        end.write_all(b"END\r\n\r\n").expect("it reads");
        let logins = proxy.join().expect("it does not panic");
        assert_eq!(logins % 2, 0, "{logins}: both requests are alike");
    }
}
