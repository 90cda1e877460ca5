//! TCP connections: accepting, TLS, and closing them at a moment of our choice.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use hyper::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::exchange;
use crate::reply::DRIP_PAUSE;
use crate::script::Then;
use crate::site::Site;

/// HTTP/2 flow control: large enough that a pack is not paced by window updates.
const HTTP2_WINDOW_BYTES: u32 = 4 << 20;
const HTTP2_FRAME_BYTES: u32 = 64 << 10;

/// Accepts connections until the runtime ends.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    http2: bool,
    site: Arc<Site>,
) {
    let listener = TcpListener::from_std(listener)
        .expect("because the runtime runs and the socket is non-blocking");
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            // Out of file descriptors, or the peer is gone already: others must get their turn.
            tokio::task::yield_now().await;
            continue;
        };
        site.journal.connected();
        let number = site.next_connection();
        tokio::spawn(serve(stream, number, tls.clone(), http2, Arc::clone(&site)));
    }
}

async fn serve(
    stream: TcpStream,
    number: u64,
    tls: Option<TlsAcceptor>,
    http2: bool,
    site: Arc<Site>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (stream, alpn) = match tls {
        None => (Stream::Plain(stream), None),
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let alpn = stream
                .get_ref()
                .1
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned());
            (Stream::Tls(Box::new(stream)), alpn)
        }
    };
    let connection = Arc::new(Connection::new(number, alpn));
    let wire = TokioIo::new(Wire {
        stream,
        connection: Arc::clone(&connection),
        saying: None,
    });
    let service =
        service_fn(|request| exchange::serve(Arc::clone(&site), Arc::clone(&connection), request));
    let server = server(http2);
    let mut served = pin!(server.serve_connection(wire, service));
    let driven = poll_fn(|cx| {
        connection.polled(cx.waker());
        served.as_mut().poll(cx)
    });
    tokio::select! {
        // How a connection ended is the client's business; the requests on it are recorded.
        _ = driven => {}
        () = connection.killed.notified() => {}
    }
}

fn server(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http2()
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES);
    if http2 { server } else { server.http1_only() }
}

/// One TCP connection, as its requests see it.
pub(crate) struct Connection {
    /// Counts from 1 over the life of the server.
    pub(crate) number: u64,
    /// The protocol that TLS agreed on.
    pub(crate) alpn: Option<String>,
    killed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ending: Ending,
    /// Whether it ends by a reset.
    is_reset: bool,
    /// Whether answers are driven by other tasks than the connection, as they are over HTTP/2.
    multiplexed: bool,
    /// What is said at the next flush, past the server's library.
    words: Option<Words>,
    /// Wakes the task that drives the connection.
    driver: Option<Waker>,
}

/// Bytes that go out as they are.
struct Words {
    left: Bytes,
    last_line: Bytes,
    then: Then,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Whether and when a connection ends.
#[derive(Clone, Copy, Default)]
enum Ending {
    #[default]
    Stay,
    /// When the driver has been polled once more: it may be about to flush without what is to be written.
    Asked(Manner),
    /// At the next flush.
    Due(Manner),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Without TLS's good-bye.
    Cut,
    /// As it should be.
    Close,
}

impl Connection {
    fn new(number: u64, alpn: Option<String>) -> Self {
        Self {
            number,
            alpn,
            killed: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Drops the connection at once.
    pub(crate) fn kill(&self) {
        self.killed.notify_one();
    }

    /// Drops the connection, without TLS's good-bye, as soon as what was written is flushed.
    pub(crate) fn cut_when_flushed(&self) {
        self.end(Manner::Cut);
    }

    /// Closes the connection properly as soon as what was written is flushed.
    pub(crate) fn close_when_flushed(&self) {
        self.end(Manner::Close);
    }

    /// Makes whatever ends the connection reset it.
    pub(crate) fn reset_when_dropped(&self) {
        self.state().is_reset = true;
    }

    /// Says that requests of this version come on the connection.
    pub(crate) fn carries(&self, version: Version) {
        self.state().multiplexed = version == Version::HTTP_2;
    }

    /// Puts words on the connection as they are, while the request that is under way is never answered.
    pub(crate) fn say(&self, words: Bytes, then: Then) {
        let mut state = self.state();
        state.is_reset |= then == Then::Reset;
        let mut ends = words.iter().rev().skip(1);
        let length = 1 + ends.position(|byte| *byte == b'\n').unwrap_or(0);
        state.words = Some(Words {
            last_line: words.slice(words.len() - length..),
            left: words,
            then,
            pause: None,
        });
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
    }

    fn end(&self, manner: Manner) {
        let mut state = self.state();
        state.ending = if state.multiplexed {
            Ending::Asked(manner)
        } else {
            Ending::Due(manner)
        };
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
    }

    /// Notes that the connection's task is polled.
    fn polled(&self, waker: &Waker) {
        let mut state = self.state();
        if let Ending::Asked(manner) = state.ending {
            state.ending = Ending::Due(manner);
        }
        if !state
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(waker))
        {
            state.driver = Some(waker.clone());
        }
    }

    fn due(&self) -> Option<Manner> {
        match self.state().ending {
            Ending::Due(manner) => Some(manner),
            Ending::Stay | Ending::Asked(_) => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("because no thread panics while it holds the state")
    }
}

/// The byte stream of a connection, which ends where [`Connection`] says so.
struct Wire {
    stream: Stream,
    connection: Arc<Connection>,
    saying: Option<Words>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls a method of whichever stream there is.
macro_rules! on_stream {
    ($wire:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $wire.stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl Wire {
    /// Says what is to be said past the server's library; ready when the connection ends with it.
    fn poll_say(&mut self, words: &mut Words, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(pause) = &mut words.pause {
                ready!(pause.as_mut().poll(cx));
                words.pause = None;
            }
            if !words.left.is_empty() {
                let is_dripping = words.then == Then::Drip;
                let length = if is_dripping { 1 } else { words.left.len() };
                let said = ready!(on_stream!(self, poll_write, cx, &words.left[..length]))?;
                words.left.advance(said);
                if is_dripping {
                    ready!(on_stream!(self, poll_flush, cx))?;
                    words.pause = Some(Box::pin(sleep(DRIP_PAUSE)));
                }
                continue;
            }
            ready!(on_stream!(self, poll_flush, cx))?;
            match words.then {
                Then::Close => ready!(on_stream!(self, poll_shutdown, cx))?,
                Then::Cut | Then::Reset => {}
                // The client's end is what ends it.
                Then::Stall | Then::Drip => return Poll::Pending,
                Then::Repeat => {
                    words.left = words.last_line.clone();
                    continue;
                }
            }
            return Poll::Ready(Err(ended_by_rule()));
        }
    }
}

fn ended_by_rule() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "a rule closes this connection",
    )
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.connection.state().is_reset {
            let socket = match &self.stream {
                Stream::Plain(stream) => stream,
                Stream::Tls(stream) => stream.get_ref().0,
            };
            // A socket that is gone already is as good.
            let _ = socket.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(on_stream!(self, poll_flush, cx))?;
        if self.saying.is_none() {
            let words = self.connection.state().words.take();
            self.saying = words;
        }
        if let Some(mut words) = self.saying.take() {
            let said = self.poll_say(&mut words, cx);
            self.saying = Some(words);
            return said;
        }
        match self.connection.due() {
            None => return Poll::Ready(Ok(())),
            Some(Manner::Close) => ready!(on_stream!(self, poll_shutdown, cx))?,
            Some(Manner::Cut) => {}
        }
        Poll::Ready(Err(ended_by_rule()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_shutdown, cx)
    }
}
