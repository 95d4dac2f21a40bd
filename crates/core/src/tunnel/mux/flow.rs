//! Datagrams of a flow, in both directions. What does not fit pushes the oldest out: late datagrams are worth less.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use qanat_wire::tunnel_frame::{Code, MAX_DATAGRAM};

use super::{Mux, Wakes};

/// Datagrams that wait in one direction of a flow.
const MOST_DATAGRAMS: usize = 256;
/// Bytes of them.
const MOST_BYTES: usize = 512 * 1024;

/// Datagrams that wait.
#[derive(Default)]
pub(super) struct Queue {
    datagrams: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many were pushed out.
    pub(super) dropped: u64,
}

/// A flow.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) received: Queue,
    pub(super) queued: Queue,
    /// The pieces so far of the datagram that is arriving.
    partial: Vec<u8>,
}

impl Queue {
    /// Adds a datagram; the oldest ones make room for it.
    pub(super) fn push(&mut self, datagram: Vec<u8>) {
        self.bytes += datagram.len();
        self.datagrams.push_back(datagram);
        while self.datagrams.len() > MOST_DATAGRAMS || self.bytes > MOST_BYTES {
            self.pop();
            self.dropped += 1;
        }
    }

    /// The oldest datagram.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let datagram = self.datagrams.pop_front()?;
        self.bytes -= datagram.len();
        if self.datagrams.is_empty() {
            self.datagrams = VecDeque::new();
        }
        Some(datagram)
    }
}

impl Flow {
    /// Bytes that wait to be sent, counting each datagram as at least one.
    pub(super) fn backlog(&self) -> usize {
        self.queued.bytes + self.queued.datagrams.len()
    }

    /// Adds a piece of a datagram. False if that makes it larger than a datagram can be.
    pub(super) fn receive(&mut self, piece: &[u8], is_last: bool) -> bool {
        if self.partial.len() + piece.len() > MAX_DATAGRAM {
            return false;
        }
        self.partial.extend_from_slice(piece);
        if is_last {
            self.received.push(std::mem::take(&mut self.partial));
        }
        true
    }
}

#[cfg_attr(not(test), allow(dead_code, reason = "streams alone are opened so far"))]
impl Mux {
    /// Takes a datagram of a flow.
    pub(in super::super) fn poll_datagram(
        &mut self,
        cx: &Context<'_>,
        stream: u32,
    ) -> Poll<Result<Vec<u8>, Code>> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(Err(self.ended.unwrap_or(Code::Cancelled)));
        };
        if let Some(datagram) = state.flow.as_mut().and_then(|flow| flow.received.pop()) {
            return Poll::Ready(Ok(datagram));
        }
        if let Some(code) = state.broken.or(state.inbound.has_ended.then_some(Code::Cancelled)) {
            return Poll::Ready(Err(code));
        }
        state.inbound.reading = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Queues a datagram of a flow. The oldest ones give way to it.
    pub(in super::super) fn send_datagram(&mut self, stream: u32, datagram: Vec<u8>, wakes: &mut Wakes) {
        self.accept(stream, wakes);
        let Some(state) = self.streams.get_mut(&stream) else { return };
        if let Some(flow) = state.flow.as_mut().filter(|_| state.broken.is_none()) {
            flow.queued.push(datagram);
            self.make_ready(stream, wakes);
        }
    }
}
