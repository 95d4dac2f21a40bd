//! What the other side's frames do to the streams.

use std::time::Duration;

use qanat_wire::tunnel_frame::{Code, Frame, FrameError, Open, Progress, Scribe, decode};

use super::state::{Fin, State};
use super::{CONTROL_LIMIT, MOST_STREAMS, Mux, Request, Wakes};

/// What the other side did that ends the carrier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Broken {
    /// Its bytes are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It broke the rules of the protocol.
    #[error("{0}")]
    Rule(&'static str),
    /// It refuses the carrier.
    #[error("refused: {}", .0.name())]
    Refused(Code),
}

impl Mux {
    /// Takes frames in; returns how many of the bytes were whole frames. `pong` gets the answers to pings.
    pub(in super::super) fn receive(
        &mut self,
        bytes: &[u8],
        mut pong: impl FnMut(u64) -> Option<Duration>,
        wakes: &mut Wakes,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        while let Progress::Complete { stream, frame, consumed } = decode(&bytes[used..])? {
            used += consumed;
            self.frames.received += u64::from(!matches!(frame, Frame::Ping(_)));
            match frame {
                Frame::Pong(number) => self.rtt = pong(number).unwrap_or(self.rtt),
                // Its sender can do without an answer, whatever stream it is about.
                Frame::Unknown(_) => {}
                frame if stream == 0 => self.receive_control(&frame)?,
                Frame::Open(open) => self.receive_open(stream, &open)?,
                frame => self.receive_for(stream, &frame, wakes)?,
            }
            if self.control.len() > CONTROL_LIMIT {
                return Err(Broken::Rule("it asks and does not listen"));
            }
        }
        if !self.control.is_empty() {
            self.wake_task(wakes);
        }
        Ok(used)
    }

    fn receive_control(&mut self, frame: &Frame<'_>) -> Result<(), Broken> {
        match frame {
            Frame::Ping(number) => Scribe(&mut self.control).pong(*number),
            Frame::GoAway(_) => self.is_leaving = true,
            Frame::Refuse(code) => return Err(Broken::Refused(*code)),
            Frame::Hello(_) => return Err(Broken::Rule("a second HELLO")),
            Frame::Offer(service) => self.offers.receive(service, true),
            Frame::Withdraw(service) => self.offers.receive(service, false),
            _ => {}
        }
        Ok(())
    }

    fn receive_open(&mut self, stream: u32, open: &Open<'_>) -> Result<(), Broken> {
        if stream % 2 == self.next % 2 || stream <= self.highest {
            return Err(Broken::Rule("a number of a stream that is not its to use"));
        }
        self.highest = stream;
        let is_closed = self.is_leaving && !self.takes_latecomers;
        if is_closed || self.streams.len() >= MOST_STREAMS {
            let code = if is_closed { Code::Stopping } else { Code::Limit };
            Scribe(&mut self.control).open_error(stream, code);
            return Ok(());
        }
        let request = Request {
            is_flow: open.is_flow,
            service: open.service.into(),
            client: open.client,
            local: open.local,
            proof: open.proof,
        };
        let mut state =
            State::opened(request, self.their_window, if open.is_flow { &[] } else { open.early });
        if let Some(flow) = state.flow.as_mut().filter(|_| !open.early.is_empty()) {
            flow.receive(open.early, true);
        }
        self.insert(stream, state);
        self.opened.push_back(stream);
        Ok(())
    }

    fn receive_for(&mut self, stream: u32, frame: &Frame<'_>, wakes: &mut Wakes) -> Result<(), Broken> {
        let is_ours = stream % 2 == self.next % 2;
        if stream > self.highest && !(is_ours && stream < self.next) {
            return Err(Broken::Rule("a frame for a stream that was never opened"));
        }
        let Some(state) = self.streams.get_mut(&stream) else {
            // It has ended here: whoever still sends learns of it.
            if matches!(frame, Frame::Data(_) | Frame::Datagram(..)) {
                Scribe(&mut self.control).reset(stream, Code::Cancelled);
            }
            return Ok(());
        };
        match frame {
            Frame::OpenOk if is_ours => {
                state.is_answered = true;
                self.tally.opening.note(state.began.elapsed());
                wakes.extend(state.inbound.reading.take());
            }
            Frame::Data(bytes) => return self.receive_bytes(stream, bytes, wakes),
            Frame::Fin => {
                state.end(wakes);
                if state.is_released && state.outbound.fin == Fin::Sent {
                    self.remove(stream);
                }
            }
            Frame::Reset(code) | Frame::OpenError(code) => {
                if matches!(frame, Frame::Reset(_)) && state.broken.is_none() {
                    self.tally.reset.count(*code);
                }
                state.break_with(*code, wakes);
                if state.is_released {
                    self.remove(stream);
                }
            }
            Frame::Window(credit) => {
                if !state.credit(*credit, wakes) {
                    return Err(Broken::Rule("more credit than there can be"));
                }
                self.make_ready(stream, wakes);
            }
            Frame::Datagram(piece, is_last) => {
                let Some(flow) = &mut state.flow else { return Err(Broken::Rule("a datagram in a stream")) };
                let Some(dropped) = flow.receive(piece, *is_last) else {
                    return Err(Broken::Rule("a datagram that is too large"));
                };
                self.dropped += dropped;
                wakes.extend(state.inbound.reading.take());
            }
            _ => return Err(Broken::Rule("a frame out of place")),
        }
        Ok(())
    }

    fn receive_bytes(&mut self, stream: u32, bytes: &[u8], wakes: &mut Wakes) -> Result<(), Broken> {
        let Some(state) = self.streams.get_mut(&stream) else { return Ok(()) };
        if state.inbound.has_ended || state.flow.is_some() {
            return Err(Broken::Rule("bytes after their end"));
        }
        if state.broken.is_some() {
            return Ok(());
        }
        if !state.receive(bytes, wakes) {
            return Err(Broken::Rule("more bytes than it has credit for"));
        }
        if state.is_released {
            // Nobody reads any more.
            self.break_off(stream, Code::Cancelled);
        }
        Ok(())
    }
}
