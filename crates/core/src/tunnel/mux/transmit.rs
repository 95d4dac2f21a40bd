//! What goes out next: control frames first, then a frame of each stream in turn.

use std::task::{Context, Poll};

use qanat_wire::tunnel_frame::{MAX_PAYLOAD, Open, Scribe, fits_open};

use super::state::{Fin, State};
use super::{Mux, Wakes};

impl Mux {
    /// Appends frames to `out`, until it holds about `most` bytes or there is nothing to send. Pending means that there
    /// was nothing; the task is woken when there is.
    pub(in super::super) fn poll_transmit(
        &mut self,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
        most: usize,
        wakes: &mut Wakes,
    ) -> Poll<()> {
        let before = out.len();
        out.append(&mut self.control);
        while out.len() < most {
            let Some(stream) = self.ready.pop_front() else { break };
            let Some(state) = self.streams.get_mut(&stream) else { continue };
            state.outbound.is_ready = false;
            send(stream, state, out, wakes);
            if state.wants_to_send() {
                state.outbound.is_ready = true;
                self.ready.push_back(stream);
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

/// One frame of a stream, with its OPEN before or its FIN after it.
fn send(stream: u32, state: &mut State, out: &mut Vec<u8>, wakes: &mut Wakes) {
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
            None => state.send(fits_open(), open, wakes),
            Some(_) => open(&[]),
        }
    } else if let Some(flow) = state.flow.as_mut() {
        flow.send(|piece, is_last| Scribe(out).datagram_piece(stream, piece, is_last));
    } else if state.has_bytes() {
        state.send(MAX_PAYLOAD, |bytes| Scribe(out).data(stream, bytes), wakes);
    }
    if state.outbound.fin == Fin::Wanted
        && state.is_sent()
        && state.flow.as_ref().is_none_or(|flow| flow.backlog() == 0)
    {
        state.outbound.fin = Fin::Sent;
        Scribe(out).fin(stream);
    }
}
