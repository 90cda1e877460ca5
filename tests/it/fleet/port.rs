//! Ports that stay with one server, also while it is down.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

/// A free port of 127.0.0.1, kept until this is dropped.
///
/// Its socket is bound and does not listen. Linux then gives the port to no other program that asks for any free port.
/// A server that names the port and sets `SO_REUSEADDR` still gets it (socket(7)).
pub(crate) struct Port {
    /// The number.
    pub(crate) number: u16,
    _kept: OwnedFd,
}

impl Port {
    /// Finds a free port and keeps it.
    pub(crate) fn keep() -> Self {
        let made = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let socket = made.expect("a socket can be made");
        sockopt::set_socket_reuseaddr(&socket, true).expect("it is a TCP socket");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = getsockname(&socket).expect("it is bound");
        let address = SocketAddrV4::try_from(address).expect("it is bound to IPv4");
        Port {
            number: address.port(),
            _kept: socket,
        }
    }
}

#[test]
fn a_kept_port_goes_to_the_server_that_names_it_and_to_no_other() {
    let kept: Vec<_> = (0..50).map(|_| Port::keep()).collect();
    let others: Vec<_> = (0..50)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
        .collect();
    for other in &others {
        let number = other.local_addr().expect("it is bound").port();
        assert!(kept.iter().all(|port| port.number != number));
    }
    // The second time as after a restart, with a connection of the first.
    for _ in 0..2 {
        let address = (Ipv4Addr::LOCALHOST, kept[0].number);
        let listener = TcpListener::bind(address).expect("the port is kept for it");
        TcpStream::connect(address).expect("it listens");
        drop(listener.accept().expect("it was connected to"));
    }
}
