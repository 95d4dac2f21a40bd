//! Limits of bandwidth, with a clock that tests move.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use qanat_wire::tunnel_frame::{Code, MAX_PAYLOAD};

use super::limit::{Bucket, Grant, Turn, burst};
use super::lines::Way;
use super::tests::{Pair, flow, request};
use super::{Both, Budget, CarrierRates, Mux, ServiceRates, WINDOW, Wakes};
use crate::clock::{self, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);
const KIB: u64 = 1024;

impl Pair {
    /// Time passes; what is limited goes on.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            end.poll_due(Waker::noop(), self.now, &mut Wakes::new());
        }
        for _ in 0..3 {
            self.carry(0, usize::MAX).unwrap();
            self.carry(1, usize::MAX).unwrap();
        }
    }

    /// Writes all that is taken and reads all that has come, for so many milliseconds; returns the bytes read.
    fn run(&mut self, from: usize, stream: u32, milliseconds: u32) -> u64 {
        let mut read = 0;
        for _ in 0..milliseconds {
            let _full = self.write(from, stream, &vec![7; 64 * 1024]);
            self.pass(MILLISECOND);
            read += self.drain(1 - from, stream);
        }
        read
    }

    pub(super) fn drain(&mut self, end: usize, stream: u32) -> u64 {
        let mut read = 0;
        while let Ok(bytes) = self.read(end, stream, 1 << 20) {
            if bytes.is_empty() {
                break;
            }
            read += bytes.len() as u64;
        }
        read
    }

    pub(super) fn limit(&mut self, end: usize, stream: u32, rates: &Arc<ServiceRates>) {
        self.ends[end].limit(stream, Arc::clone(rates));
    }

    fn review(&mut self, end: usize) {
        self.ends[end].review_limits(self.now, &mut Wakes::new());
    }
}

pub(super) fn service(send: u64, receive: u64, now: Instant) -> Arc<ServiceRates> {
    let rates = Arc::new(ServiceRates::default());
    rates.together.set(send, receive, now);
    rates
}

/// Whether bytes are what a rate gives in so many milliseconds, and a burst at most above that.
fn is_rate(bytes: u64, rate: u64, milliseconds: u64) -> bool {
    let expected = rate * milliseconds / 1000;
    (expected * 8 / 10..=expected + burst(rate)).contains(&bytes)
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Reserve(usize),
    Refund(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..40_000_usize).prop_map(Step::Take),
        3 => (1..40_000_usize).prop_map(Step::Reserve),
        1 => (0..40_000_usize).prop_map(Step::Refund),
        4 => (0..200_000_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Whoever takes, waits with a ticket, or gives back: no more goes than the rate and one burst.
    #[test]
    fn no_more_goes_than_the_rate_and_a_burst(rate in 1..50_000_000_u64, steps in steps()) {
        let began = clock::now();
        let bucket = Arc::new(Bucket::default());
        bucket.set_rate(rate, began);
        let mut now = began;
        let mut gone = 0_u64;
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Take(bytes) => gone += bucket.take(bytes, 1, now) as u64,
                Step::Reserve(bytes) => waiting.push((bucket.reserve(bytes, now), bytes)),
                Step::Refund(bytes) => {
                    let taken = bucket.take(bytes, 1, now);
                    Grant::new(&bucket, taken).spend(taken / 2);
                    gone += taken as u64 / 2;
                }
                Step::Wait(microseconds) => now += Duration::from_micros(microseconds),
            }
            waiting.retain(|(ticket, bytes)| {
                let is_due = bucket.turn(*ticket, now) == Turn::Now;
                gone += if is_due { *bytes as u64 } else { 0 };
                !is_due
            });
            let passed = now.duration_since(began).as_nanos();
            let most = u128::from(rate) * passed / 1_000_000_000 + u128::from(burst(rate));
            prop_assert!(u128::from(gone) <= most + 1, "{gone} of {most}");
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Streams of one service on two carriers share its rate, and neither has to wait for ever.
    #[test]
    fn carriers_share_a_rate(rate in (8 * KIB)..(4096 * KIB)) {
        let mut pairs = [Pair::new(), Pair::new()];
        let rates = service(rate, 0, pairs[0].now);
        let streams = pairs.each_mut().map(|pair| {
            let stream = pair.opened("s");
            pair.limit(0, stream, &rates);
            stream
        });
        let mut read = [0; 2];
        for _ in 0..600 {
            for (index, pair) in pairs.iter_mut().enumerate() {
                read[index] += pair.run(0, streams[index], 5);
            }
        }
        prop_assert!(is_rate(read[0] + read[1], rate, 3000), "{read:?} at {rate}");
        prop_assert!(read[0].min(read[1]) * 3 > read[0].max(read[1]), "{read:?} at {rate}");
    }
}

#[test]
fn a_ticket_is_void_when_the_rate_changes() {
    let (bucket, now) = (Bucket::default(), clock::now());
    bucket.set_rate(1, now);
    assert_eq!(bucket.take(64 * 1024, 1, now), MAX_PAYLOAD);
    assert_eq!(bucket.take(1, 1, now), 0);
    let ticket = bucket.reserve(1000, now);
    assert_eq!(bucket.turn(ticket, now), Turn::At(now + Duration::from_secs(1000)));
    bucket.set_rate(1_000_000, now);
    assert_eq!(bucket.turn(ticket, now), Turn::Void);
    // What was promised of the old rate is no debt.
    let ticket = bucket.reserve(1000, now);
    assert_eq!(bucket.turn(ticket, now), Turn::At(now + MILLISECOND));
}

#[test]
fn what_is_sent_and_what_is_received_have_limits_of_their_own() {
    for way in [Way::Send, Way::Receive] {
        let mut pair = Pair::new();
        let rate = 100 * KIB;
        let rates = if way == Way::Send { service(rate, 0, pair.now) } else { service(0, rate, pair.now) };
        let stream = pair.opened("s");
        pair.limit(0, stream, &rates);
        let from = usize::from(way == Way::Receive);
        let read = pair.run(from, stream, 2000);
        assert!(is_rate(read, rate, 2000), "{way:?}: {read}");
        // The other direction is free.
        assert!(pair.run(1 - from, stream, 100) > 2000 * KIB);
    }
}

#[test]
fn the_narrowest_of_all_limits_counts() {
    for (narrow, name) in ["stream", "service", "tunnel", "peer"].iter().enumerate() {
        let mut pair = Pair::new();
        let rate = |level| if level == narrow { 50 * KIB } else { 200 * KIB };
        let rates = service(rate(1), 0, pair.now);
        rates.set_each(rate(0), 0);
        let carrier = CarrierRates::default();
        carrier.tunnel.set(rate(2), 0, pair.now);
        carrier.peer.set(rate(3), 0, pair.now);
        let budget = || Arc::new(Budget::new(u64::MAX));
        pair.ends[0].belong(carrier, (budget(), budget()));
        let stream = pair.opened("s");
        pair.limit(0, stream, &rates);
        let read = pair.run(0, stream, 3000);
        assert!(is_rate(read, 50 * KIB, 3000), "{name}: {read}");
    }
}

#[test]
fn a_limited_service_does_not_hold_up_another_one() {
    let mut pair = Pair::new();
    let rates = service(10 * KIB, 0, pair.now);
    let limited: Vec<_> = (0..20).map(|_| pair.opened("limited")).collect();
    for stream in &limited {
        pair.limit(0, *stream, &rates);
        let _full = pair.write(0, *stream, &vec![1; 60_000]);
    }
    let free = pair.opened("free");
    let read = pair.run(0, free, 1000);
    assert!(read > 20_000 * KIB, "{read}");
    let read: Vec<_> = limited.iter().map(|stream| pair.drain(1, *stream)).collect();
    assert!(is_rate(read.iter().sum(), 10 * KIB, 1000), "{read:?}");
    // They take turns: after the burst nobody has had a second turn before everybody had a first.
    assert!(read.iter().filter(|bytes| **bytes > 0).count() > 10, "{read:?}");
}

#[test]
fn a_change_is_felt_at_once() {
    let mut pair = Pair::new();
    let rates = service(1, 0, pair.now);
    let stream = pair.opened("s");
    pair.limit(0, stream, &rates);
    pair.run(0, stream, 100);
    assert_eq!(pair.run(0, stream, 500), 0);
    rates.together.set(1000 * KIB, 0, pair.now);
    pair.review(0);
    assert!(is_rate(pair.run(0, stream, 500), 1000 * KIB, 500));
    rates.together.set(10 * KIB, 0, pair.now);
    pair.review(0);
    pair.run(0, stream, 100);
    assert!(pair.run(0, stream, 1000) <= 11 * KIB);
    rates.together.set(0, 0, pair.now);
    rates.set_each(20 * KIB, 0);
    pair.review(0);
    assert!(is_rate(pair.run(0, stream, 1000), 20 * KIB, 1000));
    rates.set_each(0, 0);
    pair.review(0);
    assert!(pair.run(0, stream, 100) > 2000 * KIB);
}

#[test]
fn a_stream_that_is_held_back_ends_in_order() {
    let mut pair = Pair::new();
    let rates = service(10 * KIB, 10 * KIB, pair.now);
    let stream = pair.opened("s");
    pair.limit(0, stream, &rates);
    assert_eq!(pair.write(0, stream, &vec![1; 40_000]), Poll::Ready(Ok(40_000)));
    pair.finish(0, stream);
    pair.release(0, stream, None);
    let mut read = 0;
    for _ in 0..5000 {
        pair.pass(MILLISECOND);
        match pair.read(1, stream, 1 << 20) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => read += bytes.len(),
            Err(Poll::Pending) => {}
            Err(Poll::Ready(code)) => panic!("{code:?}"),
        }
    }
    assert_eq!(read, 40_000);
    pair.release(1, stream, None);
    pair.carry_all();
    assert_eq!([0, 1].map(|end: usize| pair.ends[end].count()), [0, 0]);
}

#[test]
fn a_stream_that_is_held_back_can_be_reset() {
    let mut pair = Pair::new();
    let rates = service(KIB, 0, pair.now);
    let streams: Vec<_> = (0..3).map(|_| pair.opened("s")).collect();
    for stream in &streams {
        pair.limit(0, *stream, &rates);
        let _full = pair.write(0, *stream, &vec![1; 60_000]);
    }
    pair.carry_all();
    for stream in &streams[..2] {
        pair.release(0, *stream, Some(Code::PeerReset));
    }
    pair.carry_all();
    for stream in &streams[..2] {
        pair.drain(1, *stream);
        assert_eq!(pair.read(1, *stream, 1), Err(Poll::Ready(Code::PeerReset)));
    }
    assert_eq!(pair.ends[0].load().throttled_now, 1);
    // Those who come and go use up nothing of what the third one waits for.
    let before = pair.drain(1, streams[2]);
    for _ in 0..100 {
        let stream = pair.opened("s");
        pair.limit(0, stream, &rates);
        let _full = pair.write(0, stream, &[1; 1000]);
        pair.pass(MILLISECOND);
        pair.release(0, stream, Some(Code::PeerReset));
    }
    pair.pass(Duration::from_millis(1900));
    let read = before + pair.drain(1, streams[2]);
    assert!(read >= KIB, "{read}");
}

#[test]
fn the_end_of_a_carrier_lets_everybody_go() {
    let mut pair = Pair::new();
    let rates = service(0, 1, pair.now);
    let stream = pair.opened("s");
    pair.limit(0, stream, &rates);
    let _full = pair.write(1, stream, &vec![1; 40_000]);
    pair.pass(MILLISECOND);
    let burst = pair.drain(0, stream);
    assert_eq!(pair.read(0, stream, 1), Err(Poll::Pending));
    pair.ends[0].end(Code::Silent, &mut Wakes::new());
    assert_eq!(burst + pair.drain(0, stream), 40_000);
    assert_eq!(pair.read(0, stream, 1), Err(Poll::Ready(Code::Silent)));
}

#[test]
fn control_frames_are_never_held() {
    let mut pair = Pair::new();
    let carrier = CarrierRates::default();
    carrier.tunnel.set(1, 1, pair.now);
    let budget = || Arc::new(Budget::new(u64::MAX));
    pair.ends[0].belong(carrier, (budget(), budget()));
    let stream = pair.opened("s");
    let _full = pair.write(0, stream, &vec![1; 60_000]);
    pair.carry_all();
    // An OPEN, its answer and a reset go through.
    let other = pair.open(0, request("t"));
    pair.carry_all();
    assert!(pair.ends[1].take_opened().is_some());
    pair.release(0, other, Some(Code::PeerReset));
    pair.carry_all();
    assert_eq!(pair.read(1, other, 1), Err(Poll::Ready(Code::PeerReset)));
}

#[test]
fn datagrams_above_the_limit_are_lost_the_oldest_first() {
    for receives in [false, true] {
        let mut pair = Pair::new();
        let rate = 100 * KIB;
        let rates = if receives { service(0, rate, pair.now) } else { service(rate, 0, pair.now) };
        let stream = pair.open(0, flow("dns"));
        pair.limit(0, stream, &rates);
        let from = usize::from(receives);
        pair.carry_all();
        let mut got = Vec::new();
        for number in 0..2000_u32 {
            let mut datagram = vec![0; 1000];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            pair.ends[from].send_datagram(stream, &datagram, &mut Wakes::new());
            pair.pass(MILLISECOND);
            while let Poll::Ready(Ok(datagram)) = pair.datagram(1 - from, stream) {
                assert_eq!(datagram.len(), 1000);
                got.push(u32::from_be_bytes(datagram[..4].try_into().unwrap()));
            }
        }
        assert!(got.is_sorted(), "in order");
        assert!(is_rate(got.len() as u64 * 1000, rate, 2000), "{}", got.len());
        assert!(*got.last().unwrap() > 1700, "the newest are those that go");
        assert!(pair.ends[0].dropped > 1000, "the others are counted");
    }
}

#[test]
fn large_datagrams_pass_a_small_limit() {
    let mut pair = Pair::new();
    let rates = service(20 * KIB, 20 * KIB, pair.now);
    let stream = pair.open(0, flow("dns"));
    pair.limit(0, stream, &rates);
    for from in [0, 1] {
        pair.ends[from].send_datagram(stream, &vec![1; 60_000], &mut Wakes::new());
        let mut passed = 0;
        let datagram = loop {
            pair.pass(10 * MILLISECOND);
            passed += 10;
            assert!(passed < 5000);
            if let Poll::Ready(Ok(datagram)) = pair.datagram(1 - from, stream) {
                break datagram;
            }
        };
        assert_eq!(datagram.len(), 60_000);
        assert!(passed > 1500, "{passed} ms");
    }
}

#[test]
fn nothing_that_has_no_limit_costs_memory() {
    assert!(std::mem::size_of::<super::gate::Gates>() <= 24);
    let both = Both::default();
    assert_eq!(both.of(Way::Send).rate(), 0);
    assert!(Mux::new(true, WINDOW).limits.lines.due().is_none());
}
