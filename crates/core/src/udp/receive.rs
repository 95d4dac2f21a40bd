//! From the listener's socket to the peers: datagrams of known sessions go straight on.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::Duration;

use qanat_plan::Level;
use tokio::time::sleep_until;

use crate::error::describe;
use crate::sys::datagram::{BATCH, Envelope};
use crate::udp::relay::End;
use crate::udp::reply::Outbox;
use crate::udp::table::Key;
use crate::udp::{Arena, UdpListener};

/// Datagrams that a batch asks for at least: little to prepare, and room for a second one.
const FEWEST: usize = 4;

/// How long receiving rests after the system has refused it: short, since clients wait, and long enough for the system
/// to find memory.
const RETRY: Duration = Duration::from_millis(10);

/// What is known of a datagram before its session is found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) envelope: Envelope,
    /// The address of this host that it came to.
    pub(super) local: SocketAddr,
    pub(super) key: Key,
}

impl UdpListener {
    /// Receives a batch and hands it on. True if there may be more.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, arena: &mut Arena) -> bool {
        if !self.has_rested(cx) {
            return false;
        }
        let Some(receiver) = &self.receiver else { return false };
        let Poll::Ready(Ok(mut guard)) = receiver.poll_read_ready(cx) else { return false };
        let want = self.want.max(FEWEST);
        let count = match arena.received.receive(receiver.get_ref().as_fd(), want) {
            Ok(count) => {
                if count < want {
                    // Whatever comes from now on is a new event.
                    guard.clear_ready();
                }
                count
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                guard.clear_ready();
                // Asked once more, the event loop knows whom to wake.
                return true;
            }
            Err(error) => {
                // Still ready: what waits is no new event, and must not wait for one.
                drop(guard);
                self.rest(&error);
                return true;
            }
        };
        self.want = (count * 2).min(BATCH);
        self.dispatch(arena, count);
        true
    }

    /// Hands the first `count` datagrams to their sessions.
    pub(super) fn dispatch(&mut self, arena: &mut Arena, count: usize) {
        let Arena { received, outbox } = arena;
        for slot in 0..count {
            let Some(envelope) = received.envelope(slot) else { continue };
            let arrival = self.arrival(envelope);
            self.deliver(&arrival, received.datagram(slot), outbox);
        }
    }

    /// Hands a datagram to its session, or begins one with it.
    pub(super) fn deliver(&mut self, arrival: &Arrival, datagram: &[u8], outbox: &mut Outbox) {
        if let Some(index) = self.table.find(&arrival.key) {
            return self.forward(index, datagram);
        }
        match self.handled.as_ref().and_then(|handled| handled.find(&arrival.key)) {
            Some(index) => self.keep(index, datagram),
            None => self.open(arrival, datagram, outbox),
        }
    }

    fn arrival(&self, envelope: Envelope) -> Arrival {
        let local = match envelope.local {
            Some(ip) => SocketAddr::new(ip, self.address.port()),
            None => self.address,
        };
        Arrival { envelope, local, key: Key::new(envelope.client, envelope.original.unwrap_or(local)) }
    }

    /// Sends a client's datagram to the peer of its session. If the peer's socket is full, the datagram is lost.
    pub(super) fn forward(&mut self, index: u32, datagram: &[u8]) {
        let now = self.now;
        let Some(association) = self.table.get_mut(index) else { return };
        let datagram = datagram.get(..association.rules.limit).unwrap_or(datagram);
        match association.peer.send(datagram) {
            Ok(_) => association.count_request(datagram.len(), now),
            Err(error) if is_lost(&error) => association.count_request(0, now),
            Err(error) => return self.end(index, End::Broken("send() failed", error)),
        }
        self.after_request(index);
    }

    /// A session may have had its last request, and may need no reply.
    pub(super) fn after_request(&mut self, index: u32) {
        let Some(association) = self.table.get_mut(index) else { return };
        if association.is_done() {
            self.end(index, End::Done);
        } else if association.is_full() {
            self.table.unlist(index);
        }
    }

    /// Receives nothing for a moment, because of `error`.
    fn rest(&mut self, error: &io::Error) {
        self.retry = Some(Box::pin(sleep_until(self.now + RETRY)));
        if self.deaf.is_due(self.now) {
            let message = format!("recvmmsg() on {} failed ({})", self.id, describe(error));
            self.worker.shared.plan.load().settings.error_log.write(Level::Alert, &message);
        }
    }

    /// Whether it may receive. If not yet, the task of `cx` is woken when it may.
    fn has_rested(&mut self, cx: &mut Context<'_>) -> bool {
        if self.retry.as_mut().is_some_and(|retry| retry.as_mut().poll(cx).is_pending()) {
            return false;
        }
        self.retry = None;
        true
    }
}

/// The datagram could not be sent, and the next one may be.
pub(super) fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE | libc::EINTR))
}
