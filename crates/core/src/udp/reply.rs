//! The way back to the client: from the address that it addressed, many datagrams with one system call.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};

use socket2::{Domain, Socket, Type};

use crate::sys::datagram::{self, BATCH, Batch};

/// How a client is answered.
#[derive(Clone)]
pub(super) struct ReplyPath {
    /// The listener's socket, one bound to the original destination, or one connected to the client.
    pub(super) socket: Arc<UdpSocket>,
    /// The client; none if the socket is connected to it.
    pub(super) to: Option<SocketAddr>,
    /// The source address, where the socket itself does not tell.
    pub(super) from: Option<IpAddr>,
}

/// Sockets bound to the original destinations of mesh sessions; each lives as long as a session uses it.
#[derive(Default)]
pub(super) struct OriginalSockets {
    sockets: HashMap<SocketAddr, Weak<UdpSocket>>,
    /// Number of entries at which those without a socket are swept out.
    sweep_at: usize,
    /// A failure has been reported.
    pub(super) has_failed: bool,
}

impl OriginalSockets {
    /// The socket that sends from `address`.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` without `CAP_NET_ADMIN`.
    pub(super) fn get(&mut self, address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        if let Some(socket) = self.sockets.get(&address).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        if self.sockets.len() >= self.sweep_at {
            self.sockets.retain(|_, socket| socket.strong_count() > 0);
            self.sweep_at = (self.sockets.len() * 2).max(BATCH);
        }
        let socket = Arc::new(bind_transparent(address)?);
        self.sockets.insert(address, Arc::downgrade(&socket));
        Ok(socket)
    }
}

/// Not connected: TPROXY would prefer a connected socket to the listener, and its datagrams would end here.
fn bind_transparent(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    datagram::set_transparent(&socket, address.is_ipv6())?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Datagrams that wait for the end of the batch.
#[derive(Default)]
pub(super) struct Outbox {
    batch: Batch,
    /// The socket of each filled slot.
    sockets: Vec<Arc<UdpSocket>>,
}

impl Outbox {
    /// Sends a copy of `bytes`.
    pub(super) fn push(&mut self, path: &ReplyPath, bytes: &[u8]) {
        self.make_room();
        self.batch.put(self.sockets.len(), bytes);
        self.address(path);
    }

    /// Receives at most `want` datagrams of at most `limit` bytes from a peer and sends them on. Calls `count` with
    /// the size of each. Fewer than asked for means that the peer's socket is empty.
    ///
    /// # Errors
    /// The system's, of receiving.
    pub(super) fn relay(
        &mut self,
        peer: BorrowedFd<'_>,
        path: &ReplyPath,
        want: usize,
        limit: usize,
        mut count: impl FnMut(usize),
    ) -> io::Result<usize> {
        if BATCH - self.sockets.len() < want {
            self.flush();
        }
        let received = self.batch.receive_connected(peer, self.sockets.len(), want, limit)?;
        for _ in 0..received {
            count(self.batch.length(self.sockets.len()));
            self.address(path);
        }
        Ok(received)
    }

    /// Sends everything. A datagram that the system does not take is lost, as it would be on the way.
    pub(super) fn flush(&mut self) {
        let mut first = 0;
        while let Some(socket) = self.sockets.get(first) {
            let same = self.sockets[first..].iter().take_while(|other| Arc::ptr_eq(socket, other)).count();
            match self.batch.send(socket.as_fd(), first, first + same) {
                Ok(sent) => first += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => first += 1,
            }
        }
        self.sockets.clear();
    }

    fn make_room(&mut self) {
        if self.sockets.len() == BATCH {
            self.flush();
        }
    }

    fn address(&mut self, path: &ReplyPath) {
        let slot = self.sockets.len();
        match path.to {
            Some(to) => self.batch.address(slot, to, path.from),
            None => self.batch.address_connected(slot),
        }
        self.sockets.push(Arc::clone(&path.socket));
    }
}
