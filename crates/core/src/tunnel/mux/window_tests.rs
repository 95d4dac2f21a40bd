//! Limits of memory: how far windows grow, and what they share; and what is counted.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use qanat_wire::tunnel_frame::Code;

use super::limit_tests::service;
use super::tests::Pair;
use super::{Budget, CarrierRates, FULL_WINDOW, WINDOW, Wakes};

/// Reads all of what one stream sends until its window has grown as far as it does.
fn fill(pair: &mut Pair, stream: u32) -> u32 {
    pair.ends[1].rtt = Duration::from_secs(5);
    for _ in 0..40 {
        let _full = pair.write(0, stream, &vec![1; 1 << 20]);
        pair.carry_all();
        pair.drain(1, stream);
    }
    pair.ends[1].streams[&stream].inbound.window
}

#[test]
fn windows_grow_no_further_than_tunnel_and_node_allow() {
    let most = 4 * u64::from(FULL_WINDOW);
    for is_tunnel in [true, false] {
        let (tight, wide) = (Arc::new(Budget::new(most)), Arc::new(Budget::new(u64::MAX)));
        let budgets = if is_tunnel { (&tight, &wide) } else { (&wide, &tight) };
        // Two carriers share them.
        let mut pairs = [Pair::new(), Pair::new()];
        for pair in &mut pairs {
            let budgets = (Arc::clone(budgets.0), Arc::clone(budgets.1));
            pair.ends[1].belong(CarrierRates::default(), budgets);
        }
        let stream = pairs[0].opened("s");
        assert!(fill(&mut pairs[0], stream) >= 2 * FULL_WINDOW);
        let late = pairs[1].opened("late");
        let lower = fill(&mut pairs[1], late);
        assert!(tight.used() <= most + u64::from(WINDOW));
        let last = pairs[1].opened("last");
        // A stream that comes then still has its share, and no more.
        tight.limit(0);
        assert_eq!(fill(&mut pairs[1], last), WINDOW);
        assert!(lower < 4 * FULL_WINDOW);
        drop(pairs);
        assert_eq!((tight.used(), wide.used()), (0, 0));
    }
}

#[test]
fn windows_of_streams_that_have_ended_are_free_again() {
    let budget = Arc::new(Budget::new(u64::MAX));
    let mut pair = Pair::new();
    pair.ends[1].belong(CarrierRates::default(), (Arc::clone(&budget), Arc::clone(&budget)));
    let stream = pair.opened("s");
    assert_eq!(budget.used(), 2 * u64::from(WINDOW));
    pair.ends[1].end(Code::Removed, &mut Wakes::new());
    pair.release(1, stream, None);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_happens_is_counted() {
    let mut pair = Pair::new();
    let stream = pair.opened("s");
    let _written = pair.write(0, stream, &vec![0; WINDOW as usize]);
    pair.carry_all();
    assert_eq!(pair.write(0, stream, b"more"), Poll::Pending);
    let load = pair.ends[0].load();
    assert_eq!((load.window_stalls, load.throttled, load.queued), (1, 0, 0));
    assert!(load.frames_sent >= 5);
    assert_eq!(load.frames_sent, pair.ends[1].load().frames_received);
    let rates = service(1, 0, pair.now);
    pair.limit(0, stream, &rates);
    pair.drain(1, stream);
    pair.carry_all();
    let _written = pair.write(0, stream, &vec![0; 60_000]);
    pair.carry_all();
    let load = pair.ends[0].load();
    assert_eq!((load.throttled, load.throttled_now), (1, 1));
}
