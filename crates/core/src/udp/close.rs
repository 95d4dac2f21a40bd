//! After a UDP listener is closed its sessions go on, and the port is free.
//!
//! Each of them gets a socket of its own, bound to the address that the client addressed and connected to the client:
//! the kernel prefers a connected socket, so both directions of just this session use it. It has `SO_REUSEADDR` and
//! `SO_REUSEPORT`: a new listener on this port binds beside it if it sets either, which it has to do while
//! [`is_lingering`] says so. Only sessions for which there is no such socket to be had end with their listener.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};

use crate::sys::datagram::{BATCH, SLOT};
use crate::udp::relay::{End, tokens};
use crate::udp::reply::ReplyPath;
use crate::udp::{ARENA, Arena, UdpListener};

/// How many sockets of sessions without a listener there are, by port.
static LINGERING: Mutex<BTreeMap<u16, usize>> = Mutex::new(BTreeMap::new());

/// Batches of datagrams that are still taken from the socket of a closed listener.
const LAST_BATCHES: usize = 16;

/// Whether sessions of a closed UDP listener still use `port`: who binds to it must set `SO_REUSEADDR` or
/// `SO_REUSEPORT`.
pub fn is_lingering(port: u16) -> bool {
    LINGERING.lock().contains_key(&port)
}

/// The socket of a session whose listener is closed.
pub(super) struct OwnSocket {
    socket: Arc<UdpSocket>,
    /// Let go of after the socket.
    _port: LingeringPort,
}

/// A port that a socket without a listener is bound to, counted while it exists.
struct LingeringPort(u16);

impl LingeringPort {
    fn new(port: u16) -> Self {
        *LINGERING.lock().entry(port).or_default() += 1;
        Self(port)
    }
}

impl OwnSocket {
    /// Binds to `local` beside the listener, which must allow it, and connects to `client`.
    fn new(local: SocketAddr, client: SocketAddr) -> io::Result<Self> {
        let port = LingeringPort::new(local.port());
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&local.into())?;
        socket.connect(&client.into())?;
        Ok(Self { socket: Arc::new(socket.into()), _port: port })
    }
}

impl Drop for LingeringPort {
    fn drop(&mut self) {
        let mut lingering = LINGERING.lock();
        if let Some(count) = lingering.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                lingering.remove(&self.0);
            }
        }
    }
}

impl UdpListener {
    /// Takes what has arrived, gives the open sessions sockets of their own, and lets go of the listener's.
    pub(super) fn close(&mut self) {
        ARENA.with_borrow_mut(|arena| {
            self.receive_rest(arena);
            arena.outbox.flush();
        });
        let Some(receiver) = self.receiver.take() else { return };
        // Another task waits for it from now on.
        self.alarm_at = None;
        let listening = Arc::clone(receiver.get_ref());
        // If it fails, so does binding beside it.
        drop(SockRef::from(&*listening).set_reuse_address(true));
        for index in self.table.indices() {
            if let Err(error) = self.detach(index, &listening) {
                self.end(index, End::Orphaned(error));
            }
        }
        for index in self.handled.as_ref().map(|handled| handled.indices()).unwrap_or_default() {
            if let (Err(_), Some(handled)) = (self.detach(index, &listening), &self.handled) {
                handled.abort(index);
            }
        }
    }

    fn receive_rest(&mut self, arena: &mut Arena) {
        for _ in 0..LAST_BATCHES {
            let Some(receiver) = &self.receiver else { return };
            match arena.received.receive(receiver.get_ref().as_fd(), BATCH) {
                Ok(count) => self.dispatch(arena, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Datagrams may wait behind it.
                Err(_) => {}
            }
        }
    }

    /// Gives a session that answers through the listener's socket one of its own.
    fn detach(&mut self, index: u32, listening: &Arc<UdpSocket>) -> io::Result<()> {
        let (local, reply, own) = if let Some(association) = self.table.get_mut(index) {
            (association.local, &mut association.reply, &mut association.own)
        } else if let Some(ends) = self.handled.as_mut().and_then(|handled| handled.ends(index)) {
            ends
        } else {
            return Ok(());
        };
        let shares = Arc::ptr_eq(&reply.socket, listening);
        let Some(client) = reply.to.filter(|_| shares) else { return Ok(()) };
        let socket = OwnSocket::new(local, client)?;
        self.ready.add(&socket.socket, tokens(index).1)?;
        *reply = ReplyPath { socket: Arc::clone(&socket.socket), to: None, from: None };
        *own = Some(socket);
        Ok(())
    }

    /// Passes on what the client of a session without a listener sent.
    pub(super) fn receive_own(&mut self, index: u32, arena: &mut Arena) {
        let Some(own) = self.own_socket(index) else { return };
        // An error is that of a reply which the client did not take; what it sends later is another matter.
        let received = arena.received.receive_connected(own.as_fd(), 0, BATCH, SLOT);
        let received_error = received.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        let count = received.unwrap_or(0);
        if count == BATCH || received_error {
            self.ready.again(tokens(index).1);
        }
        for slot in 0..count {
            // Its handlers may have left it to the relay meanwhile, with the same index.
            self.forward(index, arena.received.datagram(slot));
            self.keep(index, arena.received.datagram(slot));
        }
    }

    fn own_socket(&mut self, index: u32) -> Option<Arc<UdpSocket>> {
        let own = match self.table.get_mut(index) {
            Some(association) => association.own.as_ref(),
            None => self.handled.as_ref().and_then(|handled| handled.own(index)),
        };
        own.map(|own| Arc::clone(&own.socket))
    }
}
