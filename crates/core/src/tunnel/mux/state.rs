//! One stream of a carrier: what was received and not read, what was written and not sent, and the credit for both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use qanat_wire::tunnel_frame::{Code, MAX_PAYLOAD};

use super::flow::Flow;
use super::gate::Gates;
use super::lines::{Ask, Way};
use super::{FULL_WINDOW, LARGEST_WINDOW, QUEUE, Request, WINDOW, Wakes};
use crate::clock::{self, Instant};

/// How far a stream has come with saying that its bytes have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    No,
    Wanted,
    Sent,
}

pub(super) struct State {
    /// This side has opened it.
    pub(super) is_ours: bool,
    pub(super) service: Arc<str>,
    pub(super) began: Instant,
    /// Still to be sent, or still to be taken up.
    pub(super) request: Option<Box<Request>>,
    /// The OPEN was answered, by whichever side had to.
    pub(super) is_answered: bool,
    /// Nobody holds the stream any more.
    pub(super) is_released: bool,
    pub(super) broken: Option<Code>,
    /// Datagrams instead of bytes.
    pub(super) flow: Option<Box<Flow>>,
    pub(super) gates: Gates,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
}

/// What the other side sends.
pub(super) struct Inbound {
    /// Bytes that were not read.
    received: VecDeque<u8>,
    pub(super) has_ended: bool,
    /// What it may still send.
    granted: u32,
    /// What was read of it since credit was last given back.
    consumed: u32,
    pub(super) window: u32,
    regained: Instant,
    pub(super) reading: Option<Waker>,
}

/// What this side sends.
pub(super) struct Outbound {
    /// Bytes that were not sent.
    queued: VecDeque<u8>,
    credit: u32,
    pub(super) fin: Fin,
    pub(super) writing: Option<Waker>,
    /// It has its place in the turn.
    pub(super) is_ready: bool,
}

impl State {
    /// A stream that this side opens.
    pub(super) fn opening(request: Request, credit: u32) -> Self {
        Self::new(true, request, credit)
    }

    /// A stream that the other side has opened, with its first bytes.
    pub(super) fn opened(request: Request, credit: u32, early: &[u8]) -> Self {
        let mut state = Self::new(false, request, credit);
        state.inbound.granted =
            state.inbound.granted.saturating_sub(u32::try_from(early.len()).unwrap_or(u32::MAX));
        state.inbound.received.extend(early);
        state
    }

    fn new(is_ours: bool, request: Request, credit: u32) -> Self {
        Self {
            is_ours,
            service: Arc::clone(&request.service),
            began: clock::now(),
            flow: request.is_flow.then(Box::default),
            request: Some(Box::new(request)),
            is_answered: false,
            is_released: false,
            broken: None,
            gates: Gates::default(),
            inbound: Inbound {
                received: VecDeque::new(),
                has_ended: false,
                granted: WINDOW,
                consumed: 0,
                window: WINDOW,
                regained: clock::now(),
                reading: None,
            },
            outbound: Outbound {
                queued: VecDeque::new(),
                credit,
                fin: Fin::No,
                writing: None,
                is_ready: false,
            },
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outbound.queued.len() + self.flow.as_ref().map_or(0, |flow| flow.backlog())
    }

    /// Whether both sides have said all that they had to say.
    pub(super) fn is_over(&self) -> bool {
        self.inbound.has_ended && self.outbound.fin == Fin::Sent
    }

    /// Whether a frame of it could go out now.
    pub(super) fn wants_to_send(&self) -> bool {
        self.broken.is_none()
            && (!self.gates.waits(Way::Send) || self.is_to_be_opened())
            && (self.is_to_be_opened()
                || (!self.outbound.queued.is_empty() && self.outbound.credit > 0)
                || self.flow.as_ref().is_some_and(|flow| flow.backlog() > 0)
                || (self.outbound.fin == Fin::Wanted && self.outbound.queued.is_empty()))
    }

    /// What it would send next, of its bytes or datagrams.
    pub(super) fn ask_to_send(&self, stream: u32) -> Ask {
        let (bytes, is_whole) = match &self.flow {
            Some(flow) => (flow.next_piece(), true),
            None => (self.outbound.queued.len().min(MAX_PAYLOAD).min(self.outbound.credit as usize), false),
        };
        Ask { stream, way: Way::Send, bytes, is_whole }
    }

    /// What a reader that has room for `most` bytes would get.
    pub(super) fn ask_to_receive(&self, stream: u32, most: usize) -> Ask {
        Ask { stream, way: Way::Receive, bytes: most.min(self.inbound.received.len()), is_whole: false }
    }

    /// Whether its turn is that of a flow. An OPEN waits with those of streams: they go out in the order of their
    /// numbers, which only grow.
    pub(super) fn takes_turn_as_flow(&self) -> bool {
        self.flow.is_some() && !self.is_to_be_opened()
    }

    /// Whether its OPEN is still to be sent.
    pub(super) fn is_to_be_opened(&self) -> bool {
        self.is_ours && self.request.is_some()
    }

    /// Adds bytes that arrived. False if there was no credit for them.
    pub(super) fn receive(&mut self, bytes: &[u8], wakes: &mut Wakes) -> bool {
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Some(granted) = self.inbound.granted.checked_sub(count) else { return false };
        self.inbound.granted = granted;
        // Nobody will read them: they only use up credit.
        if !self.is_released {
            self.inbound.received.extend(bytes);
            wakes.extend(self.inbound.reading.take());
        }
        true
    }

    /// The other side's bytes have ended.
    pub(super) fn end(&mut self, wakes: &mut Wakes) {
        self.inbound.has_ended = true;
        wakes.extend(self.inbound.reading.take());
    }

    /// Nothing more comes or goes. What was received before can still be read.
    pub(super) fn break_with(&mut self, code: Code, wakes: &mut Wakes) {
        self.broken.get_or_insert(code);
        self.outbound.queued = VecDeque::new();
        wakes.extend(self.inbound.reading.take());
        wakes.extend(self.outbound.writing.take());
    }

    /// Moves received bytes out.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.inbound.received.len());
        let (front, back) = self.inbound.received.as_slices();
        let in_front = count.min(front.len());
        into[..in_front].copy_from_slice(&front[..in_front]);
        into[in_front..count].copy_from_slice(&back[..count - in_front]);
        self.inbound.received.drain(..count);
        if self.inbound.received.is_empty() {
            // An idle stream owns no memory.
            self.inbound.received = VecDeque::new();
        }
        self.inbound.consumed =
            self.inbound.consumed.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        count
    }

    /// The credit to give back now, if it is worth a frame. The window grows, if `grow` lets it, when a whole one was
    /// read in about the time that credit takes to arrive: then the window is what holds it up.
    pub(super) fn regain(&mut self, rtt: Duration, grow: impl FnOnce(u32) -> bool) -> Option<u32> {
        if self.inbound.consumed < self.inbound.window / 2 || self.inbound.has_ended || self.broken.is_some()
        {
            return None;
        }
        let now = clock::now();
        let is_short = now.duration_since(self.inbound.regained) < rtt.saturating_mul(2);
        let wanted = match self.inbound.window {
            window if window < FULL_WINDOW => FULL_WINDOW - window,
            window if is_short => window.min(LARGEST_WINDOW - window),
            _ => 0,
        };
        let grown = if wanted > 0 && grow(wanted) { wanted } else { 0 };
        self.inbound.regained = now;
        self.inbound.window += grown;
        let credit = self.inbound.consumed + grown;
        self.inbound.granted += credit;
        self.inbound.consumed = 0;
        Some(credit)
    }

    /// Queues bytes, as many as there is credit and room for; returns how many.
    pub(super) fn queue(&mut self, bytes: &[u8]) -> usize {
        let limit = QUEUE.min(self.outbound.credit as usize);
        let count = bytes.len().min(limit.saturating_sub(self.outbound.queued.len()));
        self.outbound.queued.extend(&bytes[..count]);
        count
    }

    /// More credit. False if it is more than there can be.
    pub(super) fn credit(&mut self, more: u32, wakes: &mut Wakes) -> bool {
        let Some(credit) = self.outbound.credit.checked_add(more) else { return false };
        self.outbound.credit = credit;
        wakes.extend(self.outbound.writing.take());
        true
    }

    /// Hands the next bytes, at most `most`, to `send`; returns how many.
    pub(super) fn send(&mut self, most: usize, send: impl FnOnce(&[u8]), wakes: &mut Wakes) -> usize {
        let count = self.outbound.queued.len().min(most).min(self.outbound.credit as usize);
        let (front, _) = self.outbound.queued.as_slices();
        if count > front.len() {
            self.outbound.queued.make_contiguous();
        }
        send(&self.outbound.queued.as_slices().0[..count]);
        self.outbound.queued.drain(..count);
        self.outbound.credit = self.outbound.credit.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        if self.outbound.queued.is_empty() {
            self.outbound.queued = VecDeque::new();
        }
        wakes.extend(self.outbound.writing.take());
        count
    }

    /// Whether bytes wait that may be sent now.
    pub(super) fn has_bytes(&self) -> bool {
        !self.outbound.queued.is_empty() && self.outbound.credit > 0
    }

    /// Whether it is credit that lets it queue no more.
    pub(super) fn is_out_of_credit(&self) -> bool {
        self.outbound.credit as usize <= self.outbound.queued.len()
    }

    /// Whether all bytes were sent.
    pub(super) fn is_sent(&self) -> bool {
        self.outbound.queued.is_empty()
    }
}
