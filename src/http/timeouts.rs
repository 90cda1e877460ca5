//! Limits the time to connect: 15 seconds if nothing accepts TCP connections, else as long as git waits. Traces it too.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, select, select_ok};
use tokio::{net::TcpStream, time::timeout};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::resolver::look_up;
use crate::trace;

/// The time limits for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// After this time, a probe checks whether the host accepts TCP connections. A dead network then fails in seconds.
    until_probe: Duration,
    /// The limit for the probe.
    probe: Duration,
    /// The limit for TCP, proxy and TLS together (libcurl: `DEFAULT_CONNECT_TIMEOUT`, which git does not change).
    pub(super) all: Duration,
}

pub(super) const LIMITS: Limits = Limits {
    until_probe: Duration::from_secs(10),
    probe: Duration::from_secs(5),
    all: Duration::from_secs(300),
};

/// The connection exceeded its time limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConnectTimeout(Duration);

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the connection took longer than {} seconds",
            self.0.as_secs()
        )
    }
}

impl std::error::Error for ConnectTimeout {}

/// Waits for a connection.
///
/// The library does not report whether TCP or a later step is slow. The probe, a second connection to the same address,
/// finds out.
pub(super) async fn wait<T>(
    connecting: impl Future<Output = T> + Unpin,
    hop: &Hop,
    limits: Limits,
) -> Result<T, ConnectTimeout> {
    let mut connecting = connecting;
    if let Ok(connected) = timeout(limits.until_probe, &mut connecting).await {
        return Ok(connected);
    }
    let probe = Box::pin(timeout(limits.probe, hop.accepts()));
    connecting = match select(connecting, probe).await {
        Either::Left((connected, _)) => return Ok(connected),
        Either::Right((Ok(true), connecting)) => connecting,
        Either::Right(_) => return Err(ConnectTimeout(limits.until_probe + limits.probe)),
    };
    let rest = limits.all.saturating_sub(limits.until_probe);
    let connected = timeout(rest, connecting).await;
    connected.map_err(|_| ConnectTimeout(limits.all))
}

/// The target of TCP connections: host and port of the server or proxy. Set before each request.
#[derive(Clone, Debug, Default)]
pub(super) struct Hop(Arc<Mutex<(String, u16)>>);

impl Hop {
    pub(super) fn set(&self, host: &str, port: u16) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (place.0.as_str(), place.1) != (host, port) {
            *place = (host.to_owned(), port);
        }
    }

    /// Tells whether an address of the target accepts a connection.
    async fn accepts(&self) -> bool {
        let (host, port) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Ok(addresses) = look_up(host.trim_matches(['[', ']']), port).await else {
            return false;
        };
        let attempts: Vec<_> = addresses
            .into_iter()
            .map(|it| Box::pin(TcpStream::connect(it)))
            .collect();
        !attempts.is_empty() && select_ok(attempts).await.is_ok()
    }
}

/// Applies the limits to the library's connector, and traces the time: name resolution, TCP, proxy and TLS together.
pub(super) fn layer<S>(hop: Hop) -> impl Layer<S, Service = TimeLimited<S>> + Clone {
    layer_fn(move |inner| TimeLimited {
        inner,
        hop: hop.clone(),
    })
}

/// A connector with the limits.
#[derive(Clone)]
pub(super) struct TimeLimited<S> {
    inner: S,
    hop: Hop,
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, R> Service<R> for TimeLimited<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Connecting<S::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = Box::pin(self.inner.call(request));
        let hop = self.hop.clone();
        let mut span = trace::span("connect");
        Box::pin(async move {
            let connected = match wait(connecting, &hop, LIMITS).await {
                Ok(connected) => connected,
                // The library treats this error kind as a timeout.
                Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late).into()),
            };
            span.note("ok", || if connected.is_ok() { "yes" } else { "no" }.into());
            connected
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use super::*;

    const SOON: Limits = Limits {
        until_probe: Duration::from_millis(10),
        probe: Duration::from_secs(60),
        all: Duration::from_secs(600),
    };

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("the system gives one").block_on(work)
    }

    fn hop(port: u16) -> Hop {
        let hop = Hop::default();
        hop.set("127.0.0.1", port);
        hop
    }

    #[test]
    fn an_accepted_connection_may_take_as_long_as_git_allows() {
        assert_eq!(LIMITS.all, Duration::from_secs(300));
        assert_eq!(LIMITS.until_probe + LIMITS.probe, Duration::from_secs(15));
        run(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port is free");
            let port = listener.local_addr().expect("it is bound").port();
            // The listener accepts the probe first. Without a probe, this test would never end.
            let connecting = Box::pin(async { listener.accept().await.is_ok() });
            assert_eq!(wait(connecting, &hop(port), SOON).await, Ok(true));
        });
    }

    #[test]
    fn a_connection_that_nothing_accepts_fails_early() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            listener.local_addr().expect("it is bound").port()
        };
        let late = run(wait(pending::<()>(), &hop(port), SOON));
        assert_eq!(late, Err(ConnectTimeout(SOON.until_probe + SOON.probe)));
    }

    #[test]
    fn an_accepted_connection_that_never_completes_ends_at_the_overall_limit() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let limits = Limits {
            all: Duration::from_millis(20),
            ..SOON
        };
        let late = run(wait(pending::<()>(), &hop(port), limits));
        assert_eq!(late, Err(ConnectTimeout(limits.all)));
    }

    #[test]
    fn a_fast_connection_needs_no_probe() {
        let made: Ready<u8> = ready(7);
        assert_eq!(run(wait(made, &Hop::default(), SOON)), Ok(7));
    }
}
