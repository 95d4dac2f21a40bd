//! Laws of balancing that hold for all weights and keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod balance_fixtures;
mod specs;

use std::collections::HashMap;

use balance_fixtures::{link, peer};
use proptest::prelude::*;
use qanat_core::clock;
use qanat_core::upstream::{Tries, Upstream};
use qanat_plan::{Balance, Peer};

fn choose(upstream: &Upstream, key: &str) -> Option<u16> {
    let picked = upstream.choose(key.as_bytes(), &mut Tries::default(), clock::now())?;
    picked.address.port()
}

fn peers(weights: &[u32]) -> Vec<Peer> {
    weights.iter().zip(1..).map(|(weight, number)| peer(number, *weight)).collect()
}

fn any_balance() -> impl Strategy<Value = Balance> {
    let hash = |consistent| Balance::Hash { key: Vec::new(), consistent };
    prop_oneof![
        Just(Balance::RoundRobin {}),
        Just(Balance::LeastConn {}),
        any::<bool>().prop_map(hash),
        any::<bool>().prop_map(|two| Balance::Random { two }),
    ]
}

fn ring(peers: &[Peer]) -> Upstream {
    link(Balance::Hash { key: Vec::new(), consistent: true }, peers, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cycle_gives_each_peer_its_weight(weights in prop::collection::vec(1_u32..9, 1..6)) {
        let upstream = link(Balance::RoundRobin {}, &peers(&weights), None);
        let mut counts = HashMap::new();
        for _ in 0..weights.iter().sum::<u32>() {
            *counts.entry(choose(&upstream, "").unwrap()).or_insert(0) += 1;
        }
        let shares: Vec<u32> = (1..).take(weights.len()).map(|port: u16| counts[&port]).collect();
        prop_assert_eq!(shares, weights);
    }

    #[test]
    fn down_is_never_picked(
        balance in any_balance(),
        servers in prop::collection::vec((1_u32..5, any::<bool>()), 1..8),
        keys in prop::collection::vec(".{0,12}", 1..40),
    ) {
        let mut peers = peers(&servers.iter().map(|(weight, _)| *weight).collect::<Vec<_>>());
        peers.iter_mut().zip(&servers).for_each(|(peer, (_, down))| peer.down = *down);
        let upstream = link(balance, &peers, None);
        for key in keys {
            let port = choose(&upstream, &key);
            prop_assert_eq!(port.is_none(), upstream.attempts() == 0);
            prop_assert!(port.is_none_or(|port| !peers[usize::from(port) - 1].down));
        }
    }

    #[test]
    fn a_server_that_joins_the_ring_takes_keys_and_moves_no_others(
        weights in prop::collection::vec(1_u32..4, 2..6),
        seed in any::<u32>(),
    ) {
        let all = peers(&weights);
        let (before, after) = (ring(&all[..all.len() - 1]), ring(&all));
        let joined = u16::try_from(all.len()).unwrap();
        let mut moved = 0_u32;
        for number in 0..300 {
            let key = format!("{seed}-{number}");
            let (old, new) = (choose(&before, &key), choose(&after, &key));
            if all.len() > 2 && old != new {
                prop_assert_eq!(new, Some(joined));
                moved += 1;
            }
        }
        let share = 300 * weights[weights.len() - 1] / weights.iter().sum::<u32>();
        prop_assert!(moved <= share * 2 + 20, "{} moved, fair share {}", moved, share);
    }

    #[test]
    fn the_same_key_goes_to_the_same_peer(
        consistent in any::<bool>(),
        weights in prop::collection::vec(1_u32..4, 2..6),
        key in ".{1,20}",
    ) {
        let upstream = link(Balance::Hash { key: Vec::new(), consistent }, &peers(&weights), None);
        let first = choose(&upstream, &key);
        prop_assert!((0..5).all(|_| choose(&upstream, &key) == first));
    }

    #[test]
    fn what_is_dropped_is_not_counted(balance in any_balance(), picks in 0_usize..50) {
        let upstream = link(balance, &peers(&[1, 2, 3]), None);
        let held: Vec<_> = (0..picks)
            .filter_map(|key| upstream.choose(&key.to_le_bytes(), &mut Tries::default(), clock::now()))
            .collect();
        let active = || upstream.snapshot().iter().map(|peer| peer.active as usize).sum::<usize>();
        prop_assert_eq!(active(), held.len());
        drop(held);
        prop_assert_eq!(active(), 0);
    }
}
