//! What failures, limits and changes of an upstream do to the choice of peers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod balance_fixtures;
mod specs;

use std::time::Duration;

use balance_fixtures::{link, peer};
use qanat_core::clock::{self, Instant};
use qanat_core::upstream::{Health, Picked, Tries, Upstream};
use qanat_plan::{Balance, Peer};

fn round_robin(peers: &[Peer]) -> Upstream {
    link(Balance::RoundRobin {}, peers, None)
}

fn pick(upstream: &Upstream, now: Instant) -> Option<Picked> {
    upstream.choose(b"key", &mut Tries::default(), now)
}

fn port(picked: &Picked) -> u16 {
    picked.address.port().unwrap()
}

fn picks(upstream: &Upstream, count: usize, now: Instant) -> Vec<u16> {
    (0..count).map(|_| port(&pick(upstream, now).unwrap())).collect()
}

#[test]
fn one_probe_per_fail_timeout() {
    let upstream = round_robin(&[peer(1, 1), peer(2, 1)]);
    let start = clock::now();
    assert!(pick(&upstream, start).unwrap().failed_at(start));
    let within = start + Duration::from_secs(10);
    assert_eq!(picks(&upstream, 4, within), [2, 2, 2, 2]);
    let after = within + Duration::from_millis(1);
    let mut again = (0..4).map(|_| pick(&upstream, after).unwrap()).collect::<Vec<_>>();
    let probes = again.iter_mut().filter(|picked| port(picked) == 1).collect::<Vec<_>>();
    assert_eq!(probes.len(), 1);
    for probe in probes {
        assert!(probe.failed_at(after));
    }
    assert_eq!(picks(&upstream, 3, after + Duration::from_secs(10)), [2, 2, 2]);
}

#[test]
fn a_successful_probe_brings_the_peer_back() {
    let upstream = round_robin(&[peer(1, 1), peer(2, 1)]);
    let start = clock::now();
    assert!(pick(&upstream, start).unwrap().failed_at(start));
    let later = start + Duration::from_secs(11);
    // Failures have shrunk its weight: its turn comes late.
    (0..4).for_each(|_| pick(&upstream, later).unwrap().connected());
    assert_eq!(upstream.snapshot().iter().map(|peer| peer.fails).sum::<u32>(), 0);
    let mut again = picks(&upstream, 4, later);
    again.sort_unstable();
    assert_eq!(again, [1, 1, 2, 2]);
}

#[test]
fn failures_add_up_within_fail_timeout_only() {
    let twice = Peer { max_fails: 2, ..peer(1, 1) };
    let upstream = round_robin(&[twice, Peer { down: true, ..peer(2, 1) }]);
    let start = clock::now();
    assert!(!pick(&upstream, start).unwrap().failed_at(start));
    pick(&upstream, start).unwrap().connected();
    assert_eq!(upstream.snapshot()[0].fails, 1, "a success within the period clears nothing");
    let later = start + Duration::from_secs(11);
    pick(&upstream, later).unwrap().connected();
    assert_eq!(upstream.snapshot()[0].fails, 0);
    assert!(!pick(&upstream, later).unwrap().failed_at(later));
    assert!(pick(&upstream, later).unwrap().failed_at(later));
    assert!(pick(&upstream, later).is_none());
}

#[test]
fn a_single_peer_is_never_given_up() {
    let upstream = round_robin(&[peer(1, 1)]);
    for _ in 0..5 {
        assert!(!pick(&upstream, clock::now()).unwrap().failed());
    }
    assert_eq!(upstream.snapshot()[0].fails, 0);
}

#[test]
fn a_session_tries_each_peer_once() {
    let backup = Peer { backup: true, ..peer(3, 1) };
    for peers in [vec![peer(1, 1)], vec![peer(1, 1), peer(2, 9), backup]] {
        let upstream = round_robin(&peers);
        let mut tries = Tries::default();
        let mut ports: Vec<u16> = std::iter::from_fn(|| upstream.choose(b"", &mut tries, clock::now()))
            .map(|picked| port(&picked))
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, (1..=peers.len()).map(|n| u16::try_from(n).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn more_peers_than_fit_a_machine_word() {
    let peers: Vec<Peer> = (1..=150).map(|number| peer(number, 1)).collect();
    let upstream = round_robin(&peers);
    let mut tries = Tries::default();
    let ports = std::iter::from_fn(|| upstream.choose(b"", &mut tries, clock::now()));
    assert_eq!(ports.map(|picked| port(&picked)).collect::<std::collections::BTreeSet<_>>().len(), 150);
}

#[test]
fn max_conns_counts_open_connections() {
    for peers in [vec![Peer { max_conns: 2, ..peer(1, 1) }], vec![Peer { max_conns: 1, ..peer(1, 1) }; 2]] {
        let upstream = round_robin(&peers);
        let first = pick(&upstream, clock::now()).unwrap();
        let second = pick(&upstream, clock::now()).unwrap();
        assert!(pick(&upstream, clock::now()).is_none());
        drop(first);
        assert!(pick(&upstream, clock::now()).is_some());
        drop(second);
    }
}

#[test]
fn down_is_never_picked_nor_counted() {
    let upstream = round_robin(&[Peer { down: true, ..peer(1, 1) }]);
    assert!(pick(&upstream, clock::now()).is_none());
    assert_eq!(upstream.attempts(), 0);
}

#[test]
fn of_two_random_peers_the_less_loaded() {
    let upstream = link(Balance::Random { two: true }, &[peer(1, 1), peer(2, 1)], None);
    let held: Vec<Picked> = (0..40).map(|_| pick(&upstream, clock::now()).unwrap()).collect();
    let first = held.iter().filter(|picked| port(picked) == 1).count();
    assert!((19..=21).contains(&first), "{first} of 40");
}

#[test]
fn peers_that_stay_keep_their_state() {
    let old = round_robin(&[peer(1, 1), peer(2, 1), peer(3, 1)]);
    let now = clock::now();
    let held = [pick(&old, now).unwrap(), pick(&old, now).unwrap()];
    let mut failing = pick(&old, now).unwrap();
    assert!(failing.failed_at(now));
    drop(failing);
    let new = link(Balance::LeastConn {}, &[peer(3, 1), peer(2, 1), peer(4, 1)], Some(&old));
    let seen = new.snapshot();
    let of = |port: &str| seen.iter().find(|peer| peer.address.ends_with(port)).unwrap();
    assert_eq!((of(":3").state, of(":3").fails), (Health::Unavailable, 1));
    assert_eq!((of(":2").active, of(":2").selected), (1, 1));
    assert_eq!((of(":4").active, of(":4").state), (0, Health::Up));
    assert_eq!(picks(&new, 2, now), [4, 4]);
    drop(held);
    let active = new.snapshot().iter().map(|peer| peer.active).sum::<u32>();
    assert_eq!(active, 0, "connections of the old one end in the new one too");
}

#[test]
fn a_bad_address_is_refused() {
    let bad = Peer { address: "db:5432".to_owned(), ..peer(1, 1) };
    let error = Upstream::link(&specs::upstream("u", vec![bad]), None).err().unwrap();
    assert_eq!(error.message, "invalid address \"db:5432\"");
}
