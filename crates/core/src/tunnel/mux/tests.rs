//! Two ends of a carrier, with bytes that arrive in pieces of any size.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use qanat_wire::tunnel_frame::{Code, Scribe};

use super::{Broken, FULL_WINDOW, Mux, Read, Request, WINDOW, Wakes};
use crate::clock::{self, Instant};

/// Two ends and what is under way between them.
pub(super) struct Pair {
    pub(super) ends: [Mux; 2],
    wires: [VecDeque<u8>; 2],
    /// The time, which passes when a test says so.
    pub(super) now: Instant,
}

pub(super) fn request(service: &str) -> Request {
    Request { is_flow: false, service: service.into(), client: None, local: None, proof: None }
}

pub(super) fn flow(service: &str) -> Request {
    Request { is_flow: true, ..request(service) }
}

pub(super) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Pair {
    pub(super) fn new() -> Self {
        let ends = [Mux::new(true, WINDOW), Mux::new(false, WINDOW)];
        Self { ends, wires: Default::default(), now: clock::now() }
    }

    pub(super) fn open(&mut self, end: usize, request: Request) -> u32 {
        self.ends[end].open(|_| request, &mut Wakes::new()).unwrap()
    }

    pub(super) fn write(&mut self, end: usize, stream: u32, bytes: &[u8]) -> Poll<Result<usize, Code>> {
        self.ends[end].poll_write(&cx(), stream, bytes, &mut Wakes::new())
    }

    pub(super) fn read(&mut self, end: usize, stream: u32, most: usize) -> Result<Vec<u8>, Poll<Code>> {
        let mut into = vec![0; most];
        match self.ends[end].poll_read(&cx(), stream, &mut into, self.now, &mut Wakes::new()) {
            Poll::Ready(Read::Bytes(count)) => {
                into.truncate(count);
                Ok(into)
            }
            Poll::Ready(Read::Broken(code)) => Err(Poll::Ready(code)),
            Poll::Pending => Err(Poll::Pending),
        }
    }

    pub(super) fn datagram(&mut self, end: usize, stream: u32) -> Poll<Result<Vec<u8>, Code>> {
        self.ends[end].poll_datagram(&cx(), stream, self.now, &mut Wakes::new())
    }

    pub(super) fn finish(&mut self, end: usize, stream: u32) {
        self.ends[end].finish(stream, &mut Wakes::new());
    }

    pub(super) fn release(&mut self, end: usize, stream: u32, code: Option<Code>) {
        self.ends[end].release(stream, code, &mut Wakes::new());
    }

    /// Sends up to `most` bytes of one end, and delivers them.
    pub(super) fn carry(&mut self, from: usize, most: usize) -> Result<(), Broken> {
        let mut out = Vec::new();
        let _outcome = self.ends[from].poll_transmit(&cx(), &mut out, 64 * 1024, self.now, &mut Wakes::new());
        self.wires[from].extend(out);
        let bytes = self.wires[from].make_contiguous();
        let arrived = &bytes[..most.min(bytes.len())];
        let used = self.ends[1 - from].receive(arrived, |_| None, &mut Wakes::new())?;
        self.wires[from].drain(..used);
        Ok(())
    }

    pub(super) fn carry_all(&mut self) {
        for _ in 0..200 {
            self.carry(0, usize::MAX).unwrap();
            self.carry(1, usize::MAX).unwrap();
        }
    }

    /// Carries the OPEN over and takes it up.
    pub(super) fn opened(&mut self, service: &str) -> u32 {
        let stream = self.open(0, request(service));
        self.carry_all();
        let (taken, request) = self.ends[1].take_opened().unwrap();
        assert_eq!((taken, &*request.service), (stream, service));
        stream
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Read(usize, usize),
    Carry(usize, usize),
    Finish(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2_usize, proptest::collection::vec(any::<u8>(), 1..40_000)).prop_map(|(end, b)| Step::Write(end, b)),
        4 => (0..2_usize, 1..60_000_usize).prop_map(|(end, most)| Step::Read(end, most)),
        6 => (0..2_usize, 1..70_000_usize).prop_map(|(end, most)| Step::Carry(end, most)),
        1 => (0..2_usize).prop_map(Step::Finish),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever is written arrives, once and in order, and then its end; no more than a window is ever held.
    #[test]
    fn bytes_arrive_whole_and_in_order(steps in steps()) {
        let mut pair = Pair::new();
        let stream = pair.opened("s");
        let mut sent: [Vec<u8>; 2] = Default::default();
        let mut got: [Vec<u8>; 2] = Default::default();
        let mut finished = [false; 2];
        for step in steps {
            match step {
                Step::Write(end, bytes) if !finished[end] => {
                    if let Poll::Ready(written) = pair.write(end, stream, &bytes) {
                        sent[end].extend_from_slice(&bytes[..written.unwrap()]);
                    }
                }
                Step::Write(..) => {}
                Step::Read(end, most) => {
                    if let Ok(bytes) = pair.read(end, stream, most) {
                        got[end].extend(bytes);
                    }
                }
                Step::Carry(from, most) => pair.carry(from, most).unwrap(),
                Step::Finish(end) => {
                    finished[end] = true;
                    pair.finish(end, stream);
                }
            }
            for end in 0..2 {
                prop_assert!(sent[end].len() - got[1 - end].len() <= 2 * FULL_WINDOW as usize);
            }
        }
        for end in 0..2 {
            pair.finish(end, stream);
        }
        for _ in 0..100 {
            pair.carry_all();
            for (end, got) in got.iter_mut().enumerate() {
                if let Ok(bytes) = pair.read(end, stream, 1 << 20) {
                    got.extend(bytes);
                }
            }
        }
        prop_assert_eq!(&sent[0], &got[1]);
        prop_assert_eq!(&sent[1], &got[0]);
        for end in 0..2 {
            prop_assert_eq!(pair.read(end, stream, 1), Ok(Vec::new()));
            pair.release(end, stream, None);
        }
        prop_assert_eq!([pair.ends[0].count(), pair.ends[1].count()], [0, 0]);
        prop_assert_eq!([0, 1].map(|end: usize| pair.ends[end].limits.windows.own()), [0, 0]);
    }

    /// Anything that a broken or hostile side sends ends in an answer, never in a panic or in unbounded memory.
    #[test]
    fn anything_can_arrive(bytes in proptest::collection::vec(any::<u8>(), 0..4000), kinds in proptest::collection::vec(0..17_u8, 64)) {
        let mut mux = Mux::new(true, WINDOW);
        let mut wakes = Wakes::new();
        mux.open(|_| request("s"), &mut wakes);
        let mut frames = Vec::new();
        for (kind, payload) in kinds.iter().zip(bytes.chunks(60)) {
            let stream = payload.first().copied().unwrap_or(0) % 6;
            let length = u8::try_from(payload.len()).unwrap();
            frames.extend_from_slice(&[*kind, 0, 0, length, 0, 0, 0, stream]);
            frames.extend_from_slice(payload);
        }
        drop(mux.receive(&frames, |_| None, &mut wakes));
        let mut out = Vec::new();
        let _outcome = mux.poll_transmit(&cx(), &mut out, 1 << 20, clock::now(), &mut wakes);
    }
}

#[test]
fn first_bytes_ride_in_the_open() {
    let mut pair = Pair::new();
    let stream = pair.open(0, request("s"));
    assert_eq!(pair.write(0, stream, b"hello"), Poll::Ready(Ok(5)));
    pair.carry(0, usize::MAX).unwrap();
    assert!(pair.ends[1].take_opened().is_some());
    assert_eq!(pair.read(1, stream, 10), Ok(b"hello".to_vec()));
}

#[test]
fn a_stream_stops_at_its_window_and_goes_on_when_it_is_read() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    let bytes = vec![7; WINDOW as usize + 1];
    assert_eq!(pair.write(0, stream, &bytes), Poll::Ready(Ok(WINDOW as usize)));
    pair.carry_all();
    assert_eq!(pair.write(0, stream, b"more"), Poll::Pending);
    // The other streams do not stop.
    let other = pair.opened("t");
    assert_eq!(pair.write(0, other, b"x"), Poll::Ready(Ok(1)));
    pair.carry_all();
    assert_eq!(pair.read(1, other, 10), Ok(b"x".to_vec()));
    assert_eq!(pair.read(1, stream, WINDOW as usize).unwrap().len(), WINDOW as usize);
    pair.carry_all();
    assert_eq!(pair.write(0, stream, b"more"), Poll::Ready(Ok(4)));
}

#[test]
fn a_window_grows_while_it_is_what_holds_a_stream_up() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    pair.ends[1].rtt = Duration::from_secs(5);
    let mut read = 0;
    for _ in 0..20 {
        let _outcome = pair.write(0, stream, &vec![1; 1 << 20]);
        pair.carry_all();
        while let Ok(bytes) = pair.read(1, stream, 1 << 20) {
            read += bytes.len();
        }
    }
    assert!(pair.ends[1].streams[&stream].inbound.window > 4 * FULL_WINDOW, "{read} bytes read");
}

#[test]
fn a_reset_breaks_both_directions_and_an_error_answers_an_open() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    pair.ends[1].accept(stream, &mut Wakes::new());
    pair.carry_all();
    assert_eq!(pair.ends[0].poll_accepted(&cx(), stream), Poll::Ready(Ok(())));
    pair.release(1, stream, Some(Code::PeerReset));
    pair.carry_all();
    assert_eq!(pair.read(0, stream, 1), Err(Poll::Ready(Code::PeerReset)));
    assert_eq!(pair.write(0, stream, b"x"), Poll::Ready(Err(Code::PeerReset)));
    let refused = pair.opened("t");
    pair.release(1, refused, Some(Code::DialRefused));
    pair.carry_all();
    assert_eq!(pair.ends[0].poll_accepted(&cx(), refused), Poll::Ready(Err(Code::DialRefused)));
}

#[test]
fn who_reads_no_more_stops_the_sender() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    pair.release(1, stream, None);
    pair.carry_all();
    assert_eq!(pair.read(0, stream, 1), Ok(Vec::new()));
    assert_eq!(pair.write(0, stream, b"late"), Poll::Ready(Ok(4)));
    pair.carry_all();
    assert_eq!(pair.write(0, stream, b"later"), Poll::Ready(Err(Code::Cancelled)));
}

#[test]
fn the_end_of_a_carrier_breaks_its_streams() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    let _outcome = pair.write(1, stream, b"last words");
    pair.carry_all();
    pair.ends[0].end(Code::Silent, &mut Wakes::new());
    assert_eq!(pair.read(0, stream, 20), Ok(b"last words".to_vec()));
    assert_eq!(pair.read(0, stream, 20), Err(Poll::Ready(Code::Silent)));
    pair.release(0, stream, None);
    assert_eq!(pair.ends[0].count(), 0);
    assert!(pair.ends[0].open(|_| request("s"), &mut Wakes::new()).is_none());
}

#[test]
fn nobody_sends_more_than_there_is_credit_for() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    let mut frames = Vec::new();
    Scribe(&mut frames).data(stream, &vec![0; WINDOW as usize + 1]);
    let received = pair.ends[1].receive(&frames, |_| None, &mut Wakes::new());
    assert_eq!(received, Err(Broken::Rule("more bytes than it has credit for")));
}

#[test]
fn streams_take_turns() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..4).map(|_| pair.opened("s")).collect();
    for stream in &streams {
        let _outcome = pair.write(0, *stream, &vec![0; WINDOW as usize]);
    }
    let mut out = Vec::new();
    let _outcome =
        pair.ends[0].poll_transmit(&cx(), &mut out, 4 * 16 * 1024, clock::now(), &mut Wakes::new());
    let left: Vec<_> = streams.iter().map(|stream| pair.ends[0].streams[stream].backlog()).collect();
    assert!(left.iter().all(|one| *one == left[0]), "{left:?}");
}

#[test]
fn streams_and_flows_are_opened_in_the_order_of_their_numbers() {
    let mut pair = Pair::new();
    for end in [0, 1] {
        let numbers = [flow("dns"), request("web"), flow("dns"), request("web")].map(|r| pair.open(end, r));
        pair.carry(end, usize::MAX).unwrap();
        let opened = std::iter::from_fn(|| pair.ends[1 - end].take_opened()).map(|(number, _)| number);
        assert_eq!(opened.collect::<Vec<_>>(), numbers);
    }
}

#[test]
fn datagrams_arrive_whole_and_the_oldest_give_way() {
    let mut pair = Pair::new();
    let stream = pair.open(0, flow("dns"));
    let mut wakes = Wakes::new();
    pair.ends[0].send_datagram(stream, &vec![1; 60_000], &mut wakes);
    pair.ends[0].send_datagram(stream, &[], &mut wakes);
    pair.carry_all();
    assert!(pair.ends[1].take_opened().unwrap().1.is_flow);
    for expected in [vec![1; 60_000], Vec::new()] {
        assert_eq!(pair.datagram(1, stream), Poll::Ready(Ok(expected)));
    }
    for number in 0..300_u32 {
        pair.ends[1].send_datagram(stream, &number.to_be_bytes(), &mut wakes);
    }
    pair.carry_all();
    let Poll::Ready(Ok(first)) = pair.datagram(0, stream) else { panic!() };
    assert_eq!(first, 44_u32.to_be_bytes());
    assert_eq!((pair.ends[0].dropped, pair.ends[1].dropped), (0, 44));
}

#[test]
fn datagrams_have_a_quarter_of_what_streams_would_use() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    let flow = pair.open(0, flow("dns"));
    pair.carry_all();
    let (mut sent, mut out) = ([0; 2], Vec::new());
    for _ in 0..20 {
        let Poll::Ready(Ok(written)) = pair.write(0, stream, &vec![0; WINDOW as usize / 2]) else { panic!() };
        for _ in 0..4 {
            pair.ends[0].send_datagram(flow, &vec![1; 60_000], &mut Wakes::new());
        }
        while pair.ends[0].streams[&stream].backlog() > 0 {
            let before = pair.ends[0].streams[&flow].backlog();
            out.clear();
            let _sent = pair.ends[0].poll_transmit(&cx(), &mut out, 1, clock::now(), &mut Wakes::new());
            sent[1] += before - pair.ends[0].streams[&flow].backlog();
        }
        sent[0] += written;
        let credit = u32::try_from(written).unwrap();
        assert!(pair.ends[0].streams.get_mut(&stream).unwrap().credit(credit, &mut Wakes::new()));
    }
    let share = f64::from(u32::try_from(sent[1]).unwrap()) / f64::from(u32::try_from(sent[0]).unwrap());
    assert!((0.2..0.4).contains(&share), "{sent:?}");
    // Alone they have all of it.
    out.clear();
    let _sent = pair.ends[0].poll_transmit(&cx(), &mut out, 1 << 20, clock::now(), &mut Wakes::new());
    assert_eq!(pair.ends[0].streams[&flow].backlog(), 0);
}

#[test]
fn a_flow_ends_in_order_behind_its_last_datagram() {
    let mut pair = Pair::new();
    let stream = pair.open(0, flow("dns"));
    pair.ends[0].send_datagram(stream, b"last", &mut Wakes::new());
    pair.release(0, stream, None);
    pair.carry_all();
    assert_eq!(pair.datagram(1, stream), Poll::Ready(Ok(b"last".to_vec())));
    assert_eq!(pair.datagram(1, stream), Poll::Ready(Err(Code::Cancelled)));
    pair.release(1, stream, None);
    pair.carry_all();
    assert_eq!([pair.ends[0].count(), pair.ends[1].count()], [0, 0]);
}

#[test]
fn who_leaves_to_another_carrier_takes_streams_that_are_on_their_way() {
    let mut pair = Pair::new();
    pair.ends[0].retire(Duration::MAX, &mut Wakes::new());
    let late = pair.open(1, request("s"));
    pair.carry_all();
    assert_eq!(pair.ends[0].take_opened().map(|(stream, _)| stream), Some(late));
    assert_eq!(pair.ends[1].open(|_| request("s"), &mut Wakes::new()), None);
    // Who stops for good does not.
    let mut pair = Pair::new();
    pair.ends[0].leave(Duration::MAX, &mut Wakes::new());
    pair.open(1, request("s"));
    pair.carry_all();
    assert_eq!(pair.ends[0].take_opened(), None);
}
