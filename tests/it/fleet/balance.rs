//! One address for all nodes, as a load balancer gives it: it hands each connection to the next node that listens.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A running balancer; dropping it ends it.
pub(crate) struct Balancer {
    /// Its port of 127.0.0.1.
    pub(crate) port: u16,
    is_over: Arc<AtomicBool>,
    listening: Option<thread::JoinHandle<()>>,
}

impl Balancer {
    /// Starts it before nodes with these ports.
    pub(crate) fn before(nodes: Vec<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let is_over = Arc::new(AtomicBool::new(false));
        let listening = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                for (number, client) in listener.incoming().flatten().enumerate() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let turns = nodes.iter().cycle().skip(number).take(nodes.len());
                    let node = turns
                        .filter_map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).ok())
                        .next();
                    // Without a node, the client sees that its connection ends.
                    if let Some(node) = node {
                        let _ = pass(&client, &node);
                    }
                }
            }
        });
        Balancer {
            port,
            is_over,
            listening: Some(listening),
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that listens.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(listening) = self.listening.take() {
            listening.join().expect("it does not panic");
        }
    }
}

fn pass(client: &TcpStream, node: &TcpStream) -> io::Result<()> {
    for (from, to) in [(client, node), (node, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            // A node that is killed ends the connection of its client, too.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
