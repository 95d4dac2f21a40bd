//! What a stream has to pass before its bytes go on: its own limit, and those of its service, tunnel and peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smallvec::SmallVec;

use super::limit::{Bucket, Grant};
use super::lines::{Ask, Lines, Way};
use crate::clock::Instant;

/// The limits of something in both directions, each with the bytes of all who share it.
#[derive(Debug, Default)]
pub(in super::super) struct Both {
    send: Arc<Bucket>,
    receive: Arc<Bucket>,
}

/// The limits of a service on this side: of all of its streams together, and of each.
#[derive(Debug, Default)]
pub(in super::super) struct ServiceRates {
    pub(in super::super) together: Both,
    each: [AtomicU64; 2],
}

/// The limits of whatever a carrier belongs to.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct CarrierRates {
    pub(in super::super) tunnel: Arc<Both>,
    pub(in super::super) peer: Arc<Both>,
}

/// One direction of a stream that is limited, or was.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The limit of this stream alone.
    own: Arc<Bucket>,
    /// What was passed already, the stream's own limit first.
    grants: SmallVec<[Grant; 4]>,
    /// The line in which it waits.
    line: Option<usize>,
}

/// The gates of a stream. Streams without limits have none.
#[derive(Debug, Default)]
pub(super) struct Gates {
    service: Option<Arc<ServiceRates>>,
    gates: [Option<Box<Gate>>; 2],
}

impl Both {
    /// The limit of one direction.
    pub(in super::super) fn of(&self, way: Way) -> &Arc<Bucket> {
        match way {
            Way::Send => &self.send,
            Way::Receive => &self.receive,
        }
    }

    /// Changes both rates; true if one of them was another.
    pub(in super::super) fn set(&self, send: u64, receive: u64, now: Instant) -> bool {
        let sends = self.send.set_rate(send, now);
        self.receive.set_rate(receive, now) || sends
    }
}

impl ServiceRates {
    /// Changes the rates of each stream; true if one of them was another.
    pub(in super::super) fn set_each(&self, send: u64, receive: u64) -> bool {
        let was_sent = self.each[Way::Send as usize].swap(send, Relaxed);
        let was_received = self.each[Way::Receive as usize].swap(receive, Relaxed);
        (was_sent, was_received) != (send, receive)
    }

    fn each(&self, way: Way) -> u64 {
        self.each[way as usize].load(Relaxed)
    }
}

impl Gates {
    /// The stream is one of this service.
    pub(super) fn belong(&mut self, service: Arc<ServiceRates>) {
        self.service = Some(service);
    }

    /// Whether the stream waits in a line.
    pub(super) fn waits(&self, way: Way) -> bool {
        self.gates[way as usize].as_ref().is_some_and(|gate| gate.line.is_some())
    }

    /// Whether nothing limits the stream.
    pub(super) fn is_free(&self, way: Way, carrier: &CarrierRates) -> bool {
        let is_free = |both: &Both| both.of(way).rate() == 0;
        self.gates[way as usize].is_none()
            && self.service.as_ref().is_none_or(|rates| rates.each(way) == 0 && is_free(&rates.together))
            && is_free(&carrier.tunnel)
            && is_free(&carrier.peer)
    }

    /// How many of the bytes that are asked for may go now. None if the stream waits in a line.
    pub(super) fn pass(
        &mut self,
        ask: Ask,
        carrier: &CarrierRates,
        lines: &mut Lines,
        now: Instant,
    ) -> Option<usize> {
        if ask.bytes == 0 || self.is_free(ask.way, carrier) {
            return Some(ask.bytes);
        }
        let service = self.service.get_or_insert_default();
        let gate = self.gates[ask.way as usize].get_or_insert_default();
        if gate.line.is_some() {
            return None;
        }
        gate.own.set_rate(service.each(ask.way), now);
        if ask.is_whole && gate.granted() < ask.bytes {
            // It was for something smaller, which is gone.
            gate.grants.clear();
        }
        let levels =
            [&gate.own, service.together.of(ask.way), carrier.tunnel.of(ask.way), carrier.peer.of(ask.way)];
        for bucket in &levels[gate.grants.len()..] {
            let granted = gate.grants.iter().map(Grant::bytes).min().unwrap_or(usize::MAX);
            let ask = Ask { bytes: ask.bytes.min(granted), ..ask };
            let taken = if lines.has(bucket) { 0 } else { bucket.take(ask.bytes, ask.least(bucket), now) };
            if taken == 0 {
                gate.line = Some(lines.join(bucket, ask, now));
                return None;
            }
            gate.grants.push(Grant::new(bucket, taken));
        }
        Some(gate.granted().min(ask.bytes))
    }

    /// So many bytes have gone.
    pub(super) fn spend(&mut self, way: Way, bytes: usize) {
        if let Some(gate) = &mut self.gates[way as usize] {
            gate.grants.drain(..).for_each(|grant| grant.spend(bytes));
        }
    }

    /// The stream is first in its line, and may go on.
    pub(super) fn go_on(&mut self, way: Way, grant: Grant) {
        if let Some(gate) = &mut self.gates[way as usize] {
            gate.line = None;
            gate.grants.push(grant);
        }
    }

    /// The rates of the service have changed; those of the stream follow.
    pub(super) fn follow(&mut self, now: Instant) {
        let Some(service) = &self.service else { return };
        for way in [Way::Send, Way::Receive] {
            if let Some(gate) = &self.gates[way as usize] {
                gate.own.set_rate(service.each(way), now);
            }
        }
    }

    /// The stream is gone.
    pub(super) fn leave(&self, stream: u32, lines: &mut Lines) {
        for line in self.gates.iter().flatten().filter_map(|gate| gate.line) {
            lines.leave(line, stream);
        }
    }
}

impl Gate {
    /// Bytes that may go as far as was asked.
    fn granted(&self) -> usize {
        self.grants.iter().map(Grant::bytes).min().unwrap_or(usize::MAX)
    }
}
