//! One carrier as a machine without I/O: frames in, frames out, and the streams between.
//!
//! Nothing here waits or blocks. What cannot go on leaves a waker; whoever made it possible gets the wakers back in
//! [`Wakes`] and wakes them once the lock around this is released. Memory is bounded: a stream holds no more than its
//! window in each direction, control frames no more than [`CONTROL_LIMIT`].

mod answer;
mod budget;
mod flow;
mod gate;
mod limit;
mod limits;
mod lines;
mod load;
mod offers;
mod receive;
mod state;
mod transmit;
mod turns;

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod window_tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use qanat_wire::tunnel_frame::{Code, Scribe};
use smallvec::SmallVec;

pub(super) use self::budget::Budget;
pub(super) use self::flow::Queue;
pub(super) use self::gate::{Both, CarrierRates, ServiceRates};
use self::limits::Limits;
use self::lines::Way;
use self::load::Frames;
use self::offers::Offers;
pub(super) use self::receive::Broken;
use self::state::{Fin, State};
use self::turns::Turns;
use super::tally::Tally;
use crate::clock::Instant;

/// Bytes that a new stream may send before it gets more credit: its share even where windows do not grow any more.
pub(super) const WINDOW: u32 = 64 * 1024;
/// The window of a stream that is in use, if there is room for it.
const FULL_WINDOW: u32 = 256 * 1024;
/// The largest window that a stream grows to.
const LARGEST_WINDOW: u32 = 16 * 1024 * 1024;
/// Windows of all streams of a tunnel together grow no further than this.
pub(super) const WINDOWS: u64 = 64 * 1024 * 1024;
/// Bytes that a stream may have waiting for the carrier, whatever credit it has.
const QUEUE: usize = 512 * 1024;
/// Control frames that may wait: more means that the other side asks and does not listen.
const CONTROL_LIMIT: usize = 256 * 1024;
/// Streams that the other side may have open on one carrier.
pub(super) const MOST_STREAMS: usize = 65_536;

/// Tasks to be woken.
pub(super) type Wakes = SmallVec<[Waker; 4]>;

/// What is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) is_flow: bool,
    pub(super) service: Arc<str>,
    pub(super) client: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) proof: Option<[u8; 32]>,
}

/// The streams of a carrier.
pub(super) struct Mux {
    /// The number of the stream that this side opens next.
    next: u32,
    /// The highest number that the other side has used.
    highest: u32,
    streams: HashMap<u32, State>,
    /// Streams that have something to send, in turn.
    turns: Turns,
    /// Control frames, which go before everything else.
    control: Vec<u8>,
    /// Credit that the other side gives to new streams.
    their_window: u32,
    /// What holds streams back.
    limits: Limits,
    /// Streams that the other side has opened and nobody has taken up.
    opened: VecDeque<u32>,
    /// Why the carrier is over.
    ended: Option<Code>,
    /// The other side opens no more streams, or takes no more.
    is_leaving: bool,
    /// It still takes what the other side opens before it learns that this one leaves.
    takes_latecomers: bool,
    /// The task that sends.
    task: Option<Waker>,
    /// The same one, for when limits let a stream go on.
    alarm: Option<Waker>,
    /// How long a ping takes.
    pub(super) rtt: Duration,
    /// Datagrams that were pushed out of queues.
    pub(super) dropped: u64,
    frames: Frames,
    offers: Offers,
    /// What comes of streams, for the whole tunnel.
    pub(super) tally: Arc<Tally>,
}

/// What reading from a stream gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes; none at the end.
    Bytes(usize),
    /// It has broken.
    Broken(Code),
}

impl Mux {
    /// A carrier without streams; `their_window` is what the other side's HELLO says.
    pub(super) fn new(is_dialler: bool, their_window: u32) -> Self {
        Self {
            next: if is_dialler { 1 } else { 2 },
            highest: 0,
            streams: HashMap::new(),
            turns: Turns::default(),
            control: Vec::new(),
            their_window,
            limits: Limits::default(),
            opened: VecDeque::new(),
            ended: None,
            is_leaving: false,
            takes_latecomers: false,
            task: None,
            alarm: None,
            rtt: Duration::ZERO,
            dropped: 0,
            frames: Frames::default(),
            offers: Offers::default(),
            tally: Arc::default(),
        }
    }

    /// Opens a stream. None if the carrier takes no more.
    pub(super) fn open(&mut self, request: impl FnOnce(u32) -> Request, wakes: &mut Wakes) -> Option<u32> {
        if self.ended.is_some() || self.is_leaving {
            return None;
        }
        let stream = self.next;
        // Numbers are not used twice: a carrier that has used them all up takes no more.
        self.next = stream.checked_add(2)?;
        let state = State::opening(request(stream), self.their_window);
        self.insert(stream, state);
        self.make_ready(stream, wakes);
        Some(stream)
    }

    /// Why the carrier is over, if it is.
    pub(super) fn ended(&self) -> Option<Code> {
        self.ended
    }

    /// Whether new streams can be opened.
    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none() && !self.is_leaving
    }

    /// How many streams there are.
    pub(super) fn count(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.control.len()
            + self.turns.iter().filter_map(|id| self.streams.get(id)).map(State::backlog).sum::<usize>()
    }

    /// The next stream that the other side has opened, with what it asks for.
    pub(super) fn take_opened(&mut self) -> Option<(u32, Request)> {
        while let Some(stream) = self.opened.pop_front() {
            let request = self.streams.get_mut(&stream).and_then(|state| state.request.take());
            if let Some(request) = request {
                return Some((stream, *request));
            }
        }
        None
    }

    /// Takes bytes of a stream, as many as there are and `into` holds.
    pub(super) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        stream: u32,
        into: &mut [u8],
        now: Instant,
        wakes: &mut Wakes,
    ) -> Poll<Read> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(Read::Broken(self.ended.unwrap_or(Code::Cancelled)));
        };
        let ask = state.ask_to_receive(stream, into.len());
        // Nobody lets a stream go on once the carrier has ended.
        let passed = if self.ended.is_some() { Some(ask.bytes) } else { self.limits.pass(ask, state, now) };
        let Some(most) = passed else {
            state.inbound.reading = Some(cx.waker().clone());
            wakes.extend(self.alarm.take());
            return Poll::Pending;
        };
        let count = state.take(&mut into[..most]);
        if count > 0 {
            state.gates.spend(Way::Receive, count);
            self.give_credit(stream, wakes);
            return Poll::Ready(Read::Bytes(count));
        }
        if let Some(code) = state.broken {
            return Poll::Ready(Read::Broken(code));
        }
        if state.inbound.has_ended || into.is_empty() {
            return Poll::Ready(Read::Bytes(0));
        }
        state.inbound.reading = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Queues bytes of a stream, as many as its credit allows.
    pub(super) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        stream: u32,
        bytes: &[u8],
        wakes: &mut Wakes,
    ) -> Poll<Result<usize, Code>> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Poll::Ready(Err(self.ended.unwrap_or(Code::Cancelled)));
        };
        if let Some(code) = state.broken {
            return Poll::Ready(Err(code));
        }
        if state.outbound.fin != Fin::No {
            return Poll::Ready(Err(Code::Cancelled));
        }
        let count = state.queue(bytes);
        if count == 0 && !bytes.is_empty() {
            let is_first = state.outbound.writing.replace(cx.waker().clone()).is_none();
            self.frames.stalls += u64::from(is_first && state.is_out_of_credit());
            return Poll::Pending;
        }
        self.accept(stream, wakes);
        self.make_ready(stream, wakes);
        Poll::Ready(Ok(count))
    }

    /// Ends the bytes of a stream; what is queued still goes.
    pub(super) fn finish(&mut self, stream: u32, wakes: &mut Wakes) {
        if let Some(state) = self.streams.get_mut(&stream)
            && state.outbound.fin == Fin::No
        {
            state.outbound.fin = Fin::Wanted;
            self.make_ready(stream, wakes);
        }
    }

    /// Whoever had the stream lets go of it. With a code it is broken; otherwise what is queued still goes, and the
    /// other side is told that nobody reads any more.
    pub(super) fn release(&mut self, stream: u32, code: Option<Code>, wakes: &mut Wakes) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        state.is_released = true;
        if state.broken.is_some() || state.is_over() {
            self.remove(stream);
            return;
        }
        match code {
            Some(code) => {
                self.break_off(stream, code);
                self.wake_task(wakes);
            }
            None => self.finish(stream, wakes),
        }
    }

    /// Says RESET, or `OPEN_ERROR` to a stream that was never accepted, and forgets the stream.
    fn break_off(&mut self, stream: u32, code: Code) {
        let Some(state) = self.streams.get(&stream) else { return };
        // An OPEN that was not sent needs no answer.
        if state.request.is_none() || !state.is_ours {
            let mut scribe = Scribe(&mut self.control);
            if state.is_ours || state.is_answered {
                scribe.reset(stream, code);
                self.tally.reset.count(code);
            } else {
                scribe.open_error(stream, code);
            }
        }
        self.remove(stream);
    }

    /// Breaks all streams: the carrier is over.
    pub(super) fn end(&mut self, code: Code, wakes: &mut Wakes) {
        self.ended.get_or_insert(code);
        for state in self.streams.values_mut() {
            if state.broken.is_none() {
                self.tally.reset.count(code);
            }
            state.break_with(code, wakes);
        }
        let released = self.streams.iter().filter(|(_, state)| state.is_released);
        let released: Vec<_> = released.map(|(stream, _)| *stream).collect();
        for stream in released {
            self.remove(stream);
        }
        self.limits.lines.clear();
        self.turns.clear();
        self.opened.clear();
        self.wake_task(wakes);
    }

    /// Breaks the streams that are meant, by their service and whether this side has opened them.
    pub(super) fn reset_streams(
        &mut self,
        code: Code,
        is_meant: impl Fn(&str, bool) -> bool,
        wakes: &mut Wakes,
    ) {
        for (stream, state) in &mut self.streams {
            if state.broken.is_none() && is_meant(&state.service, state.is_ours) {
                state.break_with(code, wakes);
                self.tally.reset.count(code);
                Scribe(&mut self.control).reset(*stream, code);
            }
        }
        self.wake_task(wakes);
    }

    /// Leaves to another carrier: as [`Self::leave`], but streams that are on their way are taken.
    pub(super) fn retire(&mut self, patience: Duration, wakes: &mut Wakes) {
        self.leave(patience, wakes);
        self.takes_latecomers = true;
    }

    /// No more streams are opened or taken.
    pub(super) fn leave(&mut self, patience: Duration, wakes: &mut Wakes) {
        self.takes_latecomers = false;
        if !self.is_leaving && self.ended.is_none() {
            self.is_leaving = true;
            Scribe(&mut self.control).go_away(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX));
            self.wake_task(wakes);
        }
    }

    fn insert(&mut self, stream: u32, state: State) {
        self.limits.windows.add(state.inbound.window);
        self.streams.insert(stream, state);
    }

    fn remove(&mut self, stream: u32) {
        if let Some(state) = self.streams.remove(&stream) {
            self.limits.windows.sub(state.inbound.window);
            state.gates.leave(stream, &mut self.limits.lines);
        }
    }

    /// Lets the other side send more, once a good part of the window has been read.
    fn give_credit(&mut self, stream: u32, wakes: &mut Wakes) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let windows = &mut self.limits.windows;
        let Some(credit) = state.regain(self.rtt, |more| windows.grow(more)) else { return };
        Scribe(&mut self.control).window(stream, credit);
        self.wake_task(wakes);
    }

    /// Gives a stream its place in the turn.
    fn make_ready(&mut self, stream: u32, wakes: &mut Wakes) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        if !state.outbound.is_ready && state.wants_to_send() {
            state.outbound.is_ready = true;
            self.turns.push(stream, state.takes_turn_as_flow());
        }
        self.wake_task(wakes);
    }

    /// Lets the task that sends look again.
    pub(super) fn wake_task(&mut self, wakes: &mut Wakes) {
        wakes.extend(self.task.take());
    }
}
