//! Balancers for handlers: their sequences, and laws that hold for all members and keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use qanat_core::address::Address;
use qanat_core::balance::load::Load;
use qanat_core::balance::members::{
    Least, Maglev, Member, Method, Placement, RandomTwo, Ring, Roster, Smooth, Stepping, TooManyPoints,
};

/// A member at a port of its own; so tests that run at the same time count in different places.
fn member(net: u8, number: usize, weight: u32) -> Member {
    let name = format!("127.{net}.0.1:{}", number + 1000);
    let load = Load::of(&Address::parse(&name).unwrap());
    Member { name: name.into(), weight, load }
}

fn members(net: u8, weights: &[u32]) -> Vec<Member> {
    weights.iter().enumerate().map(|(number, weight)| member(net, number, *weight)).collect()
}

fn roster(method: impl Method + 'static, members: Vec<Member>) -> Roster {
    let mut roster = Roster::new(Box::new(method));
    roster.replace(members).unwrap();
    roster
}

/// The names of the first turns: a, b, c …
fn turns(roster: &mut Roster, count: usize) -> String {
    let letter = |index: Option<usize>| index.map_or('-', |index| char::from(b"abcdefgh"[index]));
    (0..count).map(|_| letter(roster.pick(b"", |_| false))).collect()
}

fn owner(roster: &mut Roster, key: &str) -> Option<Arc<str>> {
    roster.pick(key.as_bytes(), |_| false).map(|index| Arc::clone(&roster.members()[index].name))
}

fn nginx_ring() -> Ring {
    Ring::new(Placement::Nginx, 160)
}

#[test]
fn smooth_turns_are_spread_and_classic_ones_come_in_rounds() {
    assert_eq!(turns(&mut roster(Smooth::default(), members(1, &[5, 1, 1])), 14), "aabacaaaabacaa");
    assert_eq!(turns(&mut roster(Stepping::default(), members(1, &[5, 1, 1])), 14), "aaaaabcaaaaabc");
    assert_eq!(turns(&mut roster(Stepping::default(), members(1, &[4, 2])), 6), "aabaab");
    assert_eq!(turns(&mut roster(Stepping::default(), members(1, &[1, 0, 1])), 4), "acac");
}

#[test]
fn turns_go_on_after_a_change() {
    for method in [Box::new(Smooth::default()) as Box<dyn Method>, Box::new(Stepping::default())] {
        let mut roster = Roster::new(method);
        roster.replace(members(2, &[1, 1, 1])).unwrap();
        assert_eq!(turns(&mut roster, 2), "ab");
        roster.replace(members(2, &[1, 1, 1, 1])).unwrap();
        assert_eq!(turns(&mut roster, 1), "c");
    }
}

#[test]
fn the_fewest_open_sessions_win_in_proportion_to_the_weight() {
    let mut roster = roster(Least::default(), members(3, &[1, 3]));
    let loads: Vec<_> = roster.members().iter().map(|member| Arc::clone(&member.load)).collect();
    let held: Vec<_> =
        (0..8).filter_map(|_| roster.pick(b"", |_| false)).map(|index| loads[index].hold()).collect();
    assert_eq!((loads[0].open(), loads[1].open()), (2, 6));
    drop(held);
    let _busy = loads[1].hold();
    assert_eq!(roster.pick(b"", |_| false), Some(0));
    assert_eq!(roster.pick(b"", |member| member.load.open() == 0), Some(1));
}

#[test]
fn the_better_of_two_is_never_the_busiest() {
    let mut roster = roster(RandomTwo::new(), members(4, &[1, 1, 1]));
    let _busy = roster.members()[1].load.hold();
    let picked: Vec<_> = (0..200).filter_map(|_| roster.pick(b"", |_| false)).collect();
    assert!(!picked.contains(&1));
    assert!(picked.contains(&0) && picked.contains(&2));
}

/// As lua-resty-balancer was measured with 200,000 such keys: the load of a member over the mean, and the keys that
/// move when one of so many members goes, in parts of a thousand.
#[test]
fn a_ring_spreads_and_moves_keys_as_others_measured() {
    let keys: Vec<String> = (0..200_000).map(|number| format!("dev-{number}")).collect();
    for (count, least, most, ideal) in [(2, 900, 1100, 500), (5, 800, 1200, 200), (10, 750, 1250, 100)] {
        let owners = |count: usize| {
            let mut roster = roster(nginx_ring(), members(5, &vec![1; count]));
            keys.iter().map(|key| owner(&mut roster, key)).collect::<Vec<_>>()
        };
        let (fewer, present) = (owners(count - 1), owners(count));
        let mut shares: HashMap<_, usize> = HashMap::new();
        for owner in &present {
            *shares.entry(owner.clone()).or_default() += 1;
        }
        for share in shares.values() {
            let load = share * count * 1000 / keys.len();
            assert!((least..most).contains(&load), "{count} members: {load}");
        }
        let moved = present.iter().zip(&fewer).filter(|(a, b)| a != b).count() * 1000 / keys.len();
        assert!((ideal * 8 / 10..ideal * 12 / 10).contains(&moved), "{count} members: {moved}");
    }
}

#[test]
fn maglev_is_even_and_moves_little() {
    let keys: Vec<String> = (0..100_000).map(|number| format!("dev-{number}")).collect();
    let (mut ten, mut nine) = (members(6, &[1; 10]), members(6, &[1; 10]));
    let gone = nine.pop().unwrap().name;
    let mut before = roster(Maglev::default(), ten.clone());
    let mut after = roster(Maglev::default(), nine);
    let mut counts: HashMap<_, u32> = HashMap::new();
    let mut disturbed = 0;
    for key in &keys {
        let (owner, next) = (owner(&mut before, key).unwrap(), owner(&mut after, key).unwrap());
        disturbed += u32::from(owner != gone && owner != next);
        *counts.entry(owner).or_default() += 1;
    }
    assert!(counts.values().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    assert!(disturbed < 3_000, "{disturbed} of 100,000 keys moved between members that stay");

    ten.reverse();
    let mut reversed = roster(Maglev::default(), ten);
    assert!(keys.iter().take(1000).all(|key| owner(&mut before, key) == owner(&mut reversed, key)));
}

#[test]
fn weights_share_a_maglev_table() {
    let mut roster = roster(Maglev::default(), members(7, &[1, 3, 0]));
    let heavy =
        (0..10_000).filter(|key| roster.pick(key.to_string().as_bytes(), |_| false) == Some(1)).count();
    assert!((7_300..7_700).contains(&heavy), "{heavy}");
}

#[test]
fn a_ring_has_a_largest_size() {
    let mut roster = roster(nginx_ring(), members(8, &[1]));
    assert_eq!(roster.replace(members(8, &[65_535])), Err(TooManyPoints(160 * 65_535)));
    assert_eq!(roster.members()[0].weight, 1);
    assert_eq!(roster.pick(b"key", |_| false), Some(0));
}

fn any_method() -> impl Strategy<Value = u8> {
    0_u8..7
}

fn make(method: u8, members: Vec<Member>) -> Roster {
    match method {
        0 => roster(Smooth::default(), members),
        1 => roster(Stepping::default(), members),
        2 => roster(Least::default(), members),
        3 => roster(RandomTwo::new(), members),
        4 => roster(Maglev::default(), members),
        5 => roster(Ring::new(Placement::Ketama, 40), members),
        _ => roster(Ring::new(Placement::Nginx, 40), members),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_can_be_picked_is_and_nobody_else(
        method in any_method(),
        servers in prop::collection::vec((0_u32..5, any::<bool>()), 0..8),
        keys in prop::collection::vec(".{0,12}", 1..20),
    ) {
        let weights: Vec<u32> = servers.iter().map(|(weight, _)| *weight).collect();
        let mut roster = make(method, members(9, &weights));
        let skipped: Vec<_> = roster.members().iter().zip(&servers).filter(|(_, (_, skip))| *skip)
            .map(|(member, _)| Arc::clone(&member.name)).collect();
        let anybody = servers.iter().any(|(weight, skip)| *weight > 0 && !skip);
        for key in &keys {
            let picked = roster.pick(key.as_bytes(), |member| skipped.contains(&member.name));
            prop_assert_eq!(picked.is_some(), anybody);
            if let Some(index) = picked {
                prop_assert!(servers[index].0 > 0 && !servers[index].1);
            }
        }
    }

    #[test]
    fn a_cycle_of_turns_gives_each_its_weight(
        classic in any::<bool>(),
        weights in prop::collection::vec(0_u32..9, 1..6),
        cycles in 1_usize..4,
    ) {
        let mut roster = make(u8::from(classic), members(10, &weights));
        let step = if classic { weights.iter().fold(0, |a, b| gcd(a, *b)).max(1) } else { 1 };
        let mut counts = vec![0; weights.len()];
        for _ in 0..cycles * (weights.iter().sum::<u32>() / step) as usize {
            counts[roster.pick(b"", |_| false).unwrap()] += step;
        }
        let expected: Vec<u32> = weights.iter().map(|weight| weight * u32::try_from(cycles).unwrap()).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn only_the_keys_of_a_member_that_goes_move(
        weights in prop::collection::vec(1_u32..4, 2..7),
        key in ".{1,20}",
        gone in any::<prop::sample::Index>(),
    ) {
        let all = members(11, &weights);
        let gone = Arc::clone(&all[gone.index(all.len())].name);
        let rest: Vec<_> = all.iter().filter(|member| member.name != gone).cloned().collect();
        let (mut before, mut after) = (make(6, all), make(6, rest));
        let skipping = before.pick(key.as_bytes(), |member| member.name == gone).unwrap();
        let skipping = Arc::clone(&before.members()[skipping].name);
        let (owner_before, owner_after) = (owner(&mut before, &key).unwrap(), owner(&mut after, &key).unwrap());
        prop_assert_eq!(&skipping, &owner_after);
        prop_assert!(owner_before == gone || owner_before == owner_after);
    }

    #[test]
    fn changes_leave_turns_in_proportion(
        classic in any::<bool>(),
        memberships in prop::collection::vec(prop::collection::vec(1_u32..5, 1..6), 1..6),
        picks in 0_usize..20,
    ) {
        let mut roster = make(u8::from(classic), Vec::new());
        for weights in &memberships {
            roster.replace(members(12, weights)).unwrap();
            for _ in 0..picks {
                prop_assert!(roster.pick(b"", |_| false).is_some());
            }
        }
        let weights = &memberships[memberships.len() - 1];
        let total = weights.iter().sum::<u32>();
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..total * 50 {
            counts[roster.pick(b"", |_| false).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            prop_assert!(count.abs_diff(weight * 50) <= 2 * total, "{counts:?} for {weights:?}");
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
