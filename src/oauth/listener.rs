//! The loopback listener for the callback of an authorization (RFC 8252 section 7.3): 127.0.0.1 only, two paths.
//!
//! A browser starts at the second path, which redirects to the authorization server once. Other users of the machine
//! can see the arguments of a browser, and this keeps the request with its state out of them.
//!
//! Other connections (a port scan, a slow client, a request of another page, a wrong state) get an error or are closed.
//! They neither end nor fake the login.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::authorization::{Authorization, Callback, random};
use crate::{limits, secret::Secret, url::Url};

/// The path of the callback.
const PATH: &str = "/callback";
/// The time limit for a client to send its request.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// The longest head of a request. It may contain the cookies of every other program on 127.0.0.1, because cookies
/// ignore ports (RFC 6265 section 8.5).
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The limit of open requests. A further connection replaces the oldest, so that open connections cannot block the
/// browser.
const MAX_CLIENTS: usize = 32;

/// A port on this machine that waits for the callback of a browser.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    pages: Pages,
    redirect_uri: String,
}

/// The pages at the port.
#[derive(Debug)]
struct Pages {
    address: SocketAddr,
    /// The path of the start page.
    start: Secret,
    is_used: AtomicBool,
    /// The path of the callback.
    callback: String,
}

/// The final page in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The login succeeded.
    Done,
    /// Bitbucket or git refused the login.
    Failed,
    /// The terminal asks the user first.
    Asked,
}

/// A browser that delivered the callback and waits for a page.
#[derive(Debug)]
pub(crate) struct Visitor {
    stream: TcpStream,
    /// The code, or the reason for its absence.
    pub(crate) outcome: Result<Secret, String>,
}

impl Listener {
    /// Binds a port on 127.0.0.1; 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// If the port is taken.
    pub(crate) fn bind(port: u16) -> anyhow::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot listen on port {port} of 127.0.0.1; give another --port, or omit it")
        })?;
        let address = socket.local_addr()?;
        Ok(Listener {
            redirect_uri: format!("http://{address}{PATH}"),
            socket,
            pages: Pages {
                address,
                start: Secret::new(format!("/start/{}", random()?.expose())),
                is_used: AtomicBool::new(false),
                callback: PATH.to_owned(),
            },
        })
    }

    /// Waits for exactly this redirect URI, which was registered. [`is_of_listener`] of it is true.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub(crate) fn bind_for(redirect_uri: &str) -> anyhow::Result<Self> {
        let url = Url::parse(redirect_uri)?;
        let mut listener = Listener::bind(url.port_or_known_default().unwrap_or(80))?;
        listener.pages.callback = url.path().to_owned();
        redirect_uri.clone_into(&mut listener.redirect_uri);
        Ok(listener)
    }

    /// Gives the page to open in a browser on this machine. It redirects to the authorization server once.
    pub(crate) fn start_page(&self) -> Secret {
        let Pages { address, start, .. } = &self.pages;
        Secret::new(format!("http://{address}{}", start.expose()))
    }

    /// Gives the callback to request. Bitbucket ignores the port of a loopback address.
    pub(crate) fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the browser with the callback; `None` after the time limit.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn wait(
        self,
        authorization: &Arc<Authorization>,
        limit: Duration,
    ) -> io::Result<Option<Visitor>> {
        let (sender, receiver) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let address = self.pages.address;
        let accepting = limits::start("logins", {
            let (authorization, over) = (Arc::clone(authorization), Arc::clone(&over));
            let pages = Arc::new(self.pages);
            move || accept(&self.socket, &pages, &authorization, &sender, &over)
        })?;
        let visitor = receiver.recv_timeout(limit).ok();
        over.store(true, Ordering::SeqCst);
        // This connection wakes the thread, which then notices the end and closes the port.
        let _ = TcpStream::connect_timeout(&address, CLIENT_LIMIT);
        let _ = accepting.join();
        Ok(visitor)
    }
}

/// Tells whether a listener on this machine can be at a redirect URI.
pub(crate) fn is_of_listener(redirect_uri: &str) -> bool {
    let url = Url::parse(redirect_uri).ok();
    url.is_some_and(|url| {
        url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "localhost"))
    })
}

impl Visitor {
    /// Shows the result in the browser.
    pub(crate) fn show(mut self, shown: Shown) {
        let (title, text) = match shown {
            Shown::Done => (
                "Logged in",
                "git has what it needs. You can close this page.",
            ),
            Shown::Failed => (
                "Not logged in",
                "Bitbucket or git refused this login. The terminal says what to do next.",
            ),
            Shown::Asked => (
                "Almost done",
                "This may not be the account that you expect. Answer the question in the terminal.",
            ),
        };
        // The browser may have closed the connection.
        let _ = answer(&mut self.stream, "200 OK", title, text);
    }
}

/// Serves each connection on its own thread, until the end.
fn accept(
    socket: &TcpListener,
    pages: &Arc<Pages>,
    authorization: &Arc<Authorization>,
    sender: &mpsc::Sender<Visitor>,
    over: &AtomicBool,
) {
    let mut clients = VecDeque::new();
    for stream in socket.incoming() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream.map(Arc::new) else {
            continue;
        };
        make_room(&mut clients);
        clients.push_back(Arc::downgrade(&stream));
        let (authorization, sender) = (Arc::clone(authorization), sender.clone());
        let pages = Arc::clone(pages);
        limits::start_or_run("login", move || {
            if let Some(visitor) = receive(stream, &pages, &authorization) {
                // After the first callback, the receiver is gone.
                let _ = sender.send(visitor);
            }
        });
    }
}

/// Closes the oldest connections without a complete request, if there are too many.
fn make_room(clients: &mut VecDeque<Weak<TcpStream>>) {
    clients.retain(|client| client.strong_count() > 0);
    while clients.len() >= MAX_CLIENTS {
        if let Some(oldest) = clients.pop_front().and_then(|client| client.upgrade()) {
            // The client may have closed the connection already.
            let _ = oldest.shutdown(Shutdown::Both);
        }
    }
}

/// Reads one request. Only a callback with the correct state becomes a visitor.
fn receive(
    stream: Arc<TcpStream>,
    pages: &Pages,
    authorization: &Authorization,
) -> Option<Visitor> {
    let head = read_head(&stream)?;
    // From here on, a further connection cannot replace this one.
    let mut stream = Arc::into_inner(stream)?;
    let asked = target(&head, pages.address);
    if asked.is_some_and(|(path, _)| Secret::new(path) == pages.start) {
        let _ = begin(&mut stream, pages, authorization);
        return None;
    }
    let of_callback = asked.filter(|(path, _)| *path == pages.callback);
    let Some((_, query)) = of_callback else {
        let explanation = "This port waits for a login of git.";
        let _ = answer(&mut stream, "404 Not Found", "Nothing here", explanation);
        return None;
    };
    let outcome = match authorization.read(query) {
        Callback::Code(code) => Ok(code),
        Callback::Denied(why) => Err(why),
        Callback::Foreign => {
            let explanation = "This page does not belong to the login that git waits for. Start again from the terminal.";
            let _ = answer(
                &mut stream,
                "400 Bad Request",
                "Not this login",
                explanation,
            );
            return None;
        }
    };
    Some(Visitor { stream, outcome })
}

/// Redirects the browser to the authorization server, once.
fn begin(stream: &mut TcpStream, pages: &Pages, authorization: &Authorization) -> io::Result<()> {
    if pages.is_used.swap(true, Ordering::SeqCst) {
        let explanation = "You opened this page before. Continue there, or open the address that the terminal shows.";
        return answer(stream, "410 Gone", "Opened already", explanation);
    }
    let location = format!("302 Found\r\nLocation: {}", authorization.url);
    answer(stream, &location, "To Bitbucket", "One moment.")
}

/// Reads the head of a request within a time limit, even if it arrives byte by byte.
fn read_head(mut stream: &TcpStream) -> Option<String> {
    let deadline = Instant::now() + CLIENT_LIMIT;
    head_of(|block| {
        let left = deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        stream.read(block).ok()
    })
}

/// Reads the head of a request up to the empty line. `read` gives the next bytes, and none at the end.
fn head_of(mut read: impl FnMut(&mut [u8]) -> Option<usize>) -> Option<String> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut block = [0; 4096];
    while head.len() < MAX_HEAD_BYTES {
        let length = read(&mut block).filter(|length| *length > 0)?;
        // The empty line may have started in the previous block.
        let unseen = head.len().saturating_sub(END.len());
        head.extend_from_slice(&block[..length]);
        let is_end = |window: &[u8]| window == END;
        if let Some(end) = head[unseen..].windows(END.len()).position(is_end) {
            head.truncate(unseen + end);
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
    }
    None
}

/// Gives path and query of a GET to this address. Another `Host` is a sign of DNS rebinding.
fn target(head: &str, address: SocketAddr) -> Option<(&str, &str)> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut hosts = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = hosts.next().map(|(_, value)| value.trim())?;
    // A request must have exactly one `Host` (RFC 9112 section 3.2).
    let is_ours = hosts.next().is_none()
        && (host == address.to_string() || host == format!("localhost:{}", address.port()));
    (method == "GET" && is_ours).then_some((path, query))
}

/// Answers with a page.
fn answer(stream: &mut TcpStream, status: &str, title: &str, text: &str) -> io::Result<()> {
    let page = page(title, text);
    stream.set_write_timeout(Some(CLIENT_LIMIT))?;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n{page}",
        page.len()
    )?;
    stream.flush()
}

fn page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em}}</style></head>\
         <body><h1>{title}</h1><p>{text}</p></body></html>"
    )
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::url::Url;

    fn authorization(listener: &Listener) -> Arc<Authorization> {
        let url = Url::parse("https://bitbucket.org/site/oauth2/authorize").expect("it is a URL");
        Arc::new(
            Authorization::new(&url, "client", Some(listener.redirect_uri()), None)
                .expect("there is chance"),
        )
    }

    fn state(authorization: &Authorization) -> String {
        let pairs = authorization.url.query_pairs();
        pairs
            .into_owned()
            .find(|(name, _)| name == "state")
            .map(|(_, value)| value)
            .expect("the request has a state")
    }

    fn send(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("the listener listens");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn hostile_requests_neither_end_nor_fake_a_login() {
        let listener = Listener::bind(0).expect("a port is free");
        let (address, authorization) = (listener.pages.address, authorization(&listener));
        let state = state(&authorization);
        let waiting = thread::spawn({
            let authorization = Arc::clone(&authorization);
            move || listener.wait(&authorization, Duration::from_secs(600))
        });
        // During the whole test, a slow client never completes its request.
        let _slow = TcpStream::connect(address).expect("the listener listens");
        let get = |target: &str, host: &str| {
            send(
                address,
                &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            )
        };
        let own = address.to_string();
        assert!(
            get(
                &format!("/callback?code=evil&state={state}"),
                "evil.example"
            )
            .starts_with("HTTP/1.1 404")
        );
        assert!(get(&format!("/other?code=evil&state={state}"), &own).starts_with("HTTP/1.1 404"));
        assert!(get("/callback?code=evil&state=guess", &own).starts_with("HTTP/1.1 400"));
        assert!(get("/callback?error=access_denied", &own).starts_with("HTTP/1.1 400"));
        assert!(
            send(address, "\r\n\r\n").is_empty()
                || send(address, "POST /callback HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404")
        );
        let browser = thread::spawn(move || {
            send(
                address,
                &format!(
                    "GET /callback?code=good&state={state} HTTP/1.1\r\nHost: {address}\r\n\r\n"
                ),
            )
        });
        let visitor = waiting
            .join()
            .expect("it does not panic")
            .expect("the system gives threads")
            .expect("the browser came");
        assert_eq!(visitor.outcome.as_ref().map(Secret::expose), Ok("good"));
        visitor.show(Shown::Failed);
        let shown = browser.join().expect("it does not panic");
        assert!(shown.contains("refused this login"), "{shown}");
        assert!(
            TcpStream::connect(address).is_err(),
            "the port is closed once the answer is there"
        );
    }

    #[test]
    fn the_start_page_redirects_once_and_only_for_its_secret_path() {
        let listener = Listener::bind(0).expect("a port is free");
        let (address, authorization) = (listener.pages.address, authorization(&listener));
        let page = listener.start_page();
        let path = page.expose().strip_prefix(&format!("http://{address}"));
        let path = path.expect("it is this listener's").to_owned();
        assert!(
            !authorization.url.as_str().contains(&path) && path.len() > 43,
            "the path is a secret of its own"
        );
        let waiting = thread::spawn({
            let authorization = Arc::clone(&authorization);
            move || listener.wait(&authorization, Duration::from_secs(30))
        });
        let get = move |path: &str, host: &str| {
            send(
                address,
                &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            )
        };
        let own = address.to_string();
        for (path, host) in [
            ("/start/", own.as_str()),
            ("/start/guess", &own),
            (&path, "evil.example"),
        ] {
            let answer = get(path, host);
            assert!(
                answer.starts_with("HTTP/1.1 404") && !answer.contains("Location"),
                "{answer}"
            );
        }
        let answer = get(&path, &own);
        let location = format!("\r\nLocation: {}\r\n", authorization.url);
        assert!(
            answer.starts_with("HTTP/1.1 302") && answer.contains(&location),
            "{answer}"
        );
        let answer = get(&path, &own);
        assert!(
            answer.starts_with("HTTP/1.1 410") && !answer.contains("state="),
            "{answer}"
        );
        let callback = format!("/callback?code=good&state={}", state(&authorization));
        let browser = thread::spawn(move || get(&callback, &address.to_string()));
        let visitor = waiting.join().expect("it does not panic");
        let visitor = visitor.expect("the system gives threads");
        visitor.expect("the browser came").show(Shown::Done);
        browser.join().expect("it does not panic");
    }

    #[test]
    fn the_wait_for_a_browser_ends_at_its_time_limit() {
        let listener = Listener::bind(0).expect("a port is free");
        let authorization = authorization(&listener);
        let visitor = listener.wait(&authorization, Duration::ZERO);
        assert!(visitor.expect("the system gives threads").is_none());
    }

    /// Gives the head of an input that arrives in pieces of this size.
    fn head_in_steps(mut bytes: &[u8], step: usize) -> Option<String> {
        head_of(|block| {
            let step = step.min(block.len());
            bytes.read(&mut block[..step]).ok()
        })
    }

    #[test]
    fn the_head_ends_at_the_empty_line_for_every_piece_size() {
        let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(8200));
        let kept: [&[u8]; 6] = [
            b"GET /callback?code=c&state=s HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\nrest",
            b"\r\n\r\n",
            b"GET / HTTP/1.0\n\n",
            b"\r\r\n\r\r\n\r\n",
            b"\xff\r\n\r",
            long.as_bytes(),
        ];
        crate::inside::fuzz::check(&kept, |input| {
            let end = input.windows(4).position(|window| window == b"\r\n\r\n");
            let expected = end.map(|end| String::from_utf8_lossy(&input[..end]).into_owned());
            for step in [1, 3, 4, 4095, 4096] {
                let found = head_in_steps(input, step);
                // The number of bytes beyond the limit depends on the pieces.
                let is_long = end.is_some_and(|end| end + 4 > MAX_HEAD_BYTES);
                assert!(
                    found == expected || is_long && found.is_none(),
                    "in steps of {step}"
                );
            }
        });
    }

    #[test]
    fn a_head_without_an_end_is_read_up_to_the_limit_only() {
        let mut read_bytes = 0;
        let found = head_of(|block| {
            block.fill(b'c');
            read_bytes += block.len();
            Some(block.len())
        });
        assert_eq!((found, read_bytes), (None, MAX_HEAD_BYTES));
    }

    #[test]
    fn no_request_without_the_state_is_a_login() {
        let listener = Listener::bind(0).expect("a port is free");
        let (address, authorization) = (listener.pages.address, authorization(&listener));
        let state = state(&authorization);
        let get = |query: &str| format!("GET /callback?{query} HTTP/1.1\r\nHost: {address}");
        let good = get(&format!("code=good&state={state}"));
        let kept = [
            good.clone(),
            get(&format!("error=no%1b&error_description=%00&state={state}")),
            get("code=x&state=y"),
            get("%"),
            format!("GET http://{address}/callback HTTP/1.1\r\nhost:{address}\r\nHost : x"),
        ];
        let kept: Vec<_> = kept.iter().map(String::as_str).collect();
        let codes = std::cell::Cell::new(0);
        crate::inside::fuzz::check_text(&kept, |head| {
            let Some((PATH, query)) = target(head, address) else {
                return;
            };
            match authorization.read(query) {
                Callback::Foreign => {}
                // The URL parser drops blanks inside a URL (URL standard, "basic URL parser"). No case here has
                // escapes.
                _ if !head.replace(['\t', '\r', '\n'], "").contains(&state) => {
                    panic!("a callback without its state was believed")
                }
                Callback::Denied(why) => crate::inside::fuzz::expect_printable(&why),
                Callback::Code(code) => {
                    assert!(!code.is_empty());
                    codes.set(codes.get() + 1);
                }
            }
        });
        assert!(codes.get() > 1, "some cases come through: {}", codes.get());
    }
}
