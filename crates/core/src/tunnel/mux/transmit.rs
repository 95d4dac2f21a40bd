//! What goes out next: control frames first, then a frame of each stream in turn.

use std::task::{Context, Poll};

use qanat_wire::tunnel_frame::{HEADER, Open, Scribe, fits_open};

use super::limits::Limits;
use super::lines::Way;
use super::state::{Fin, State};
use super::{Mux, Wakes};
use crate::clock::Instant;

impl Mux {
    /// Appends frames to `out`, until it holds about `most` bytes or there is nothing to send. Pending means that there
    /// was nothing; the task is woken when there is.
    pub(in super::super) fn poll_transmit(
        &mut self,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
        most: usize,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Poll<()> {
        let before = out.len();
        self.let_go(now, wakes);
        out.append(&mut self.control);
        self.offers.send(out);
        self.frames.sent += frames_in(&out[before..]);
        while out.len() < most {
            let Some(stream) = self.turns.pop() else { break };
            let Some(state) = self.streams.get_mut(&stream) else { continue };
            state.outbound.is_ready = false;
            let Some(allowed) = allowed(stream, state, &mut self.limits, now) else { continue };
            let start = out.len();
            let sent = send(stream, state, allowed, out, wakes);
            state.gates.spend(Way::Send, sent);
            self.turns.sent(out.len() - start, state.flow.is_some());
            self.frames.sent += frames_in(&out[start..]);
            if state.wants_to_send() {
                state.outbound.is_ready = true;
                self.turns.push(stream, state.takes_turn_as_flow());
            } else if state.is_released && (state.is_over() || state.broken.is_some()) {
                self.remove(stream);
            }
        }
        if out.len() > before {
            return Poll::Ready(());
        }
        self.task = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// How many bytes of a stream may go in a frame. None if it is held back.
fn allowed(stream: u32, state: &mut State, limits: &mut Limits, now: Instant) -> Option<usize> {
    if state.is_to_be_opened() {
        // The OPEN itself waits for nothing.
        return Some(if limits.is_free(state) { fits_open() } else { 0 });
    }
    limits.pass(state.ask_to_send(stream), state, now)
}

/// How many frames these whole frames are.
fn frames_in(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let [_, _, high, low, ..] = bytes {
        let length = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        bytes = bytes.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// One frame of a stream, with its OPEN before or its FIN after it; returns how many of its bytes it has.
fn send(stream: u32, state: &mut State, allowed: usize, out: &mut Vec<u8>, wakes: &mut Wakes) -> usize {
    let mut sent = 0;
    if state.is_to_be_opened()
        && let Some(request) = state.request.take()
    {
        let mut open = |early: &[u8]| {
            let open = Open {
                is_flow: request.is_flow,
                service: &request.service,
                client: request.client,
                local: request.local,
                proof: request.proof,
                early,
            };
            Scribe(out).open(stream, &open);
        };
        match state.flow.as_mut() {
            None => sent = state.send(allowed, open, wakes),
            Some(_) => open(&[]),
        }
    } else if let Some(flow) = state.flow.as_mut() {
        sent = flow.send(|piece, is_last| Scribe(out).datagram_piece(stream, piece, is_last));
    } else if state.has_bytes() {
        sent = state.send(allowed, |bytes| Scribe(out).data(stream, bytes), wakes);
    }
    if state.outbound.fin == Fin::Wanted
        && state.is_sent()
        && state.flow.as_ref().is_none_or(|flow| flow.backlog() == 0)
    {
        state.outbound.fin = Fin::Sent;
        Scribe(out).fin(stream);
    }
    sent
}
