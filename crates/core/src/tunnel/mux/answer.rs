//! Whether a stream is served, at the side that opened it; and whether it is still wanted, at the side that serves it.

use std::task::{Context, Poll};

use qanat_wire::tunnel_frame::{Code, Scribe};

use super::{Mux, Wakes};

impl Mux {
    /// A stream that the other side opened is served: its target is connected, or answered already.
    pub(in super::super) fn accept(&mut self, stream: u32, wakes: &mut Wakes) {
        if let Some(state) =
            self.streams.get_mut(&stream).filter(|state| !state.is_ours && !state.is_answered)
        {
            state.is_answered = true;
            Scribe(&mut self.control).open_ok(stream);
            self.wake_task(wakes);
        }
    }

    /// Whether the stream was accepted by the other side, once that is known.
    pub(in super::super) fn poll_accepted(
        &mut self,
        cx: &Context<'_>,
        stream: u32,
    ) -> Poll<Result<(), Code>> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(Err(self.ended.unwrap_or(Code::Cancelled)));
        };
        match state.broken {
            Some(code) => Poll::Ready(Err(code)),
            None if state.is_answered => Poll::Ready(Ok(())),
            None => {
                state.inbound.reading = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Why a stream is over, once it has broken.
    pub(in super::super) fn poll_broken(&mut self, cx: &Context<'_>, stream: u32) -> Poll<Code> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(self.ended.unwrap_or(Code::Cancelled));
        };
        if let Some(code) = state.broken {
            return Poll::Ready(code);
        }
        state.inbound.reading = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Why a stream that this side has opened was never accepted, if it has broken before.
    pub(in super::super) fn refusal(&self, stream: u32) -> Option<Code> {
        let state = self.streams.get(&stream)?;
        state.broken.filter(|_| state.is_ours && !state.is_answered)
    }
}
