//! Resolves host names to addresses: IPv4, IPv6, or both.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use tokio::sync::oneshot;

use crate::{limits, trace};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// 32 bits (RFC 791).
    Ipv4,
    /// 128 bits (RFC 8200).
    Ipv6,
}

impl Family {
    /// The wildcard address (INADDR_ANY).
    pub(super) fn any(self) -> IpAddr {
        match self {
            Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn loopback(self) -> IpAddr {
        match self {
            Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
            Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn has(self, address: &SocketAddr) -> bool {
        address.is_ipv4() == (self == Family::Ipv4)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

/// Resolves names, for one address family if it is set, and traces the time.
///
/// The library's own resolver panics if the system cannot start a thread.
pub(super) struct Resolver(pub(super) Option<Family>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let family = self.0;
        Box::pin(async move {
            let mut span = trace::span("resolve");
            let host = name.as_str().to_owned();
            span.note("host", || host.as_str().into());
            let addresses = match family {
                Some(family) => of_family(&host, family).await?,
                None => look_up(&host, 0).await?,
            };
            span.note("addresses", || (addresses.len() as u64).into());
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Looks up a name on its own thread, or on this one if the system cannot start a thread.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (tell, told) = oneshot::channel();
    // As curl does, and RFC 6761 section 6.3. Not every resolver of a system does it.
    let host = if host.ends_with(".localhost") {
        "localhost".to_owned()
    } else {
        host.to_owned()
    };
    limits::start_or_run("resolver", move || {
        let found = (host.as_str(), port).to_socket_addrs();
        // After the time limit, the receiver is gone.
        let _ = tell.send(found.map(Iterator::collect));
    });
    told.await.map_err(io::Error::other)?
}

async fn of_family(host: &str, family: Family) -> io::Result<Vec<SocketAddr>> {
    // localhost always has both families, even if the hosts file differs (RFC 6761 section 6.3). curl does the same.
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(vec![SocketAddr::new(family.loopback(), 0)]);
    }
    let mut addresses = look_up(host, 0).await?;
    addresses.retain(|address| family.has(address));
    match addresses.is_empty() {
        true => Err(io::Error::other(format!(
            "it has no {family} address, and the command line allows no other"
        ))),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, family: Family) -> Result<Vec<SocketAddr>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("the system gives a runtime");
        let found = runtime.block_on(of_family(host, family));
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_below_localhost_is_the_loopback_without_a_question_to_the_system() {
        for (family, address) in [(Family::Ipv4, "127.0.0.1:0"), (Family::Ipv6, "[::1]:0")] {
            let found = found("bitbucket.localhost", family);
            assert_eq!(found, Ok(vec![address.parse().expect("an address")]));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let found = runtime
            .expect("the system gives a runtime")
            .block_on(look_up("bitbucket.localhost", 0));
        let is_local = |address: &SocketAddr| address.ip().is_loopback();
        assert!(found.is_ok_and(|all| all.iter().all(is_local)));
    }

    #[test]
    fn a_missing_address_of_the_family_is_an_error_and_localhost_has_both_families() {
        for (family, other) in [
            (Family::Ipv4, ("::1", Family::Ipv6)),
            (Family::Ipv6, ("127.0.0.1", Family::Ipv4)),
        ] {
            let local = found("localhost", family).expect("this machine has both");
            assert!(local.len() == 1 && family.has(&local[0]) && local[0].ip().is_loopback());
            let (host, its_own) = other;
            assert_eq!(found(host, its_own).map(|found| found.len()), Ok(1));
            assert_eq!(
                found(host, family),
                Err(format!(
                    "it has no {family} address, and the command line allows no other"
                ))
            );
        }
    }
}
