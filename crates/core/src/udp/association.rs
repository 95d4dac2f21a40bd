//! One UDP session with a peer: its sockets, what it has counted, and when it is done.

use std::net::SocketAddr;
use std::time::Duration;

use qanat_plan as spec;

use crate::clock::Instant;
use crate::session::Session;
use crate::session::registry::Open;
use crate::udp::close::OwnSocket;
use crate::udp::peer::Peer;
use crate::udp::reply::ReplyPath;
use crate::udp::table::Key;
use crate::upstream::Picked;

/// A session that is proxied.
pub(super) struct Association {
    pub(super) open: Open,
    pub(super) key: Key,
    /// The address of this host that the client's datagrams come to.
    pub(super) local: SocketAddr,
    /// How the client is answered.
    pub(super) reply: ReplyPath,
    pub(super) peer: Peer,
    pub(super) picked: Picked,
    /// Once the listener is closed: a socket of its own towards the client.
    pub(super) own: Option<OwnSocket>,
    pub(super) rules: Rules,
    pub(super) requests: u64,
    pub(super) replies: u64,
    /// When a datagram last passed.
    pub(super) last: Instant,
    /// The time that the table has noted for it.
    pub(super) due: Instant,
}

/// When a session ends, and how large its datagrams are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// `proxy_timeout`.
    pub(super) timeout: Duration,
    /// `proxy_requests`; 0 is no limit.
    pub(super) requests: u64,
    /// `proxy_responses`; none is no limit.
    pub(super) responses: Option<u64>,
    /// `proxy_buffer_size`.
    pub(super) limit: usize,
}

impl Rules {
    pub(super) fn new(proxy: &spec::Proxy) -> Self {
        Self {
            timeout: Duration::from_millis(proxy.timeout_ms),
            requests: proxy.requests.into(),
            responses: proxy.responses.map(u64::from),
            limit: proxy.buffer_size.try_into().unwrap_or(usize::MAX),
        }
    }
}

impl Association {
    /// When it is idle for too long, if nothing passes until then.
    pub(super) fn expires(&self) -> Instant {
        self.last + self.rules.timeout
    }

    /// Whether the client's next datagram begins a new session.
    pub(super) fn is_full(&self) -> bool {
        self.rules.requests > 0 && self.requests >= self.rules.requests
    }

    /// Whether all requests were sent and all replies were seen.
    pub(super) fn is_done(&self) -> bool {
        let may_grow = self.rules.requests > 0 && !self.is_full();
        !may_grow && self.missing_replies() == Some(0) && !self.peer.is_waiting()
    }

    /// How many replies are still expected; none if nobody counts.
    pub(super) fn missing_replies(&self) -> Option<u64> {
        let expected = self.rules.responses?.saturating_mul(self.requests);
        Some(expected.saturating_sub(self.replies))
    }

    /// Books a datagram that the client sent.
    pub(super) fn count_request(&mut self, bytes: usize, now: Instant) {
        self.requests += 1;
        self.last = now;
        book_request(&mut self.open.session, bytes);
    }

    /// Books a datagram that the peer sent.
    pub(super) fn count_reply(&mut self, bytes: usize, now: Instant) {
        if self.replies == 0 {
            self.picked.connected();
        }
        self.replies += 1;
        self.last = now;
        book_reply(&mut self.open.session, bytes, now);
    }
}

/// Counts a datagram that the client sent.
pub(super) fn book_request(session: &mut Session, bytes: usize) {
    session.bytes_received += bytes as u64;
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.bytes_sent += bytes as u64;
    }
}

/// Counts a datagram that the peer sent.
pub(super) fn book_reply(session: &mut Session, bytes: usize, now: Instant) {
    session.bytes_sent += bytes as u64;
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.bytes_received += bytes as u64;
        attempt.first_byte.get_or_insert_with(|| now.saturating_duration_since(attempt.started));
    }
}
