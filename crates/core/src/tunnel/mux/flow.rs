//! Datagrams of a flow, in both directions. What does not fit pushes the oldest out: late datagrams are worth less.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use qanat_wire::tunnel_frame::{Code, MAX_DATAGRAM, MAX_PAYLOAD};

use super::lines::{Ask, Way};
use super::{Mux, Wakes};
use crate::clock::Instant;

/// Datagrams that wait in one direction of a flow.
const MOST_DATAGRAMS: usize = 256;
/// Bytes of them.
const MOST_BYTES: usize = 512 * 1024;

/// Datagrams that wait.
#[derive(Default)]
pub(in super::super) struct Queue {
    datagrams: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A flow.
#[derive(Default)]
pub(super) struct Flow {
    received: Queue,
    queued: Queue,
    /// The datagram that is being sent, and how far.
    sending: Option<(Vec<u8>, usize)>,
    /// The pieces so far of the datagram that is arriving.
    partial: Vec<u8>,
}

impl Queue {
    /// Adds a datagram; the oldest ones make room for it. Returns how many.
    pub(in super::super) fn push(&mut self, datagram: Vec<u8>) -> u64 {
        self.bytes += datagram.len();
        self.datagrams.push_back(datagram);
        let mut dropped = 0;
        while self.datagrams.len() > MOST_DATAGRAMS || self.bytes > MOST_BYTES {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    /// The oldest datagram.
    pub(in super::super) fn pop(&mut self) -> Option<Vec<u8>> {
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
        let rest = self.sending.as_ref().map_or(0, |(datagram, sent)| 1 + datagram.len() - sent);
        rest + self.queued.bytes + self.queued.datagrams.len()
    }

    /// Size of the piece that is sent next.
    pub(super) fn next_piece(&self) -> usize {
        let rest = match (&self.sending, self.queued.datagrams.front()) {
            (Some((datagram, sent)), _) => datagram.len() - sent,
            (None, next) => next.map_or(0, Vec::len),
        };
        rest.min(MAX_PAYLOAD)
    }

    /// Size of the datagram that is received next, if there is one.
    fn next_received(&self) -> Option<usize> {
        self.received.datagrams.front().map(Vec::len)
    }

    /// Adds a piece of a datagram; returns how many datagrams gave way. None if it is larger than one can be.
    pub(super) fn receive(&mut self, piece: &[u8], is_last: bool) -> Option<u64> {
        if self.partial.len() + piece.len() > MAX_DATAGRAM {
            return None;
        }
        self.partial.extend_from_slice(piece);
        Some(if is_last { self.received.push(std::mem::take(&mut self.partial)) } else { 0 })
    }

    /// Gives the next piece that is to be sent, and whether it is the last one of its datagram; returns its size.
    pub(super) fn send(&mut self, write: impl FnOnce(&[u8], bool)) -> usize {
        let next = self.sending.take().or_else(|| Some((self.queued.pop()?, 0)));
        let Some((datagram, sent)) = next else { return 0 };
        let end = datagram.len().min(sent + MAX_PAYLOAD);
        let is_last = end == datagram.len();
        write(&datagram[sent..end], is_last);
        if !is_last {
            self.sending = Some((datagram, end));
        }
        end - sent
    }
}

impl Mux {
    /// Takes a datagram of a flow. After the last one: why there are no more, [`Code::Cancelled`] if it has ended in
    /// order.
    pub(in super::super) fn poll_datagram(
        &mut self,
        cx: &Context<'_>,
        stream: u32,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Poll<Result<Vec<u8>, Code>> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(Err(self.ended.unwrap_or(Code::Cancelled)));
        };
        if let Some(bytes) = state.flow.as_ref().and_then(|flow| flow.next_received()) {
            let ask = Ask { stream, way: Way::Receive, bytes, is_whole: true };
            if self.ended.is_none() && self.limits.pass(ask, state, now).is_none() {
                state.inbound.reading = Some(cx.waker().clone());
                wakes.extend(self.alarm.take());
                return Poll::Pending;
            }
            state.gates.spend(Way::Receive, bytes);
            return Poll::Ready(
                state.flow.as_mut().and_then(|flow| flow.received.pop()).ok_or(Code::Cancelled),
            );
        }
        if let Some(code) = state.broken.or(state.inbound.has_ended.then_some(Code::Cancelled)) {
            return Poll::Ready(Err(code));
        }
        state.inbound.reading = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Queues a datagram of a flow. The oldest ones give way to it; one that is too large is lost.
    pub(in super::super) fn send_datagram(&mut self, stream: u32, datagram: &[u8], wakes: &mut Wakes) {
        self.accept(stream, wakes);
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let Some(flow) = state.flow.as_mut().filter(|_| state.broken.is_none()) else { return };
        if datagram.len() > MAX_DATAGRAM {
            self.dropped += 1;
            return;
        }
        self.dropped += flow.queued.push(datagram.to_vec());
        self.make_ready(stream, wakes);
    }
}
