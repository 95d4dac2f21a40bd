//! The fewest connections in proportion to the weight; of equals, whose turn it is by weighted round robin.

use std::cmp::Ordering;

use crate::upstream::{Group, Tries};

/// Chooses the peer with the least load.
pub(super) fn pick(group: &Group, tries: &Tries, now: u64) -> Option<usize> {
    let mut least = None;
    let mut several = false;
    for (index, _) in group.usable(tries, now) {
        match least.map_or(Ordering::Less, |least| compare_load(group, index, least)) {
            Ordering::Less => (least, several) = (Some(index), false),
            Ordering::Equal => several = true,
            Ordering::Greater => {}
        }
    }
    let least = least?;
    let index = if several { pick_among_equals(group, least, tries, now) } else { least };
    Some(index)
}

/// Round robin over the peers that carry as much as `first`, the first of them.
fn pick_among_equals(group: &Group, first: usize, tries: &Tries, now: u64) -> usize {
    let mut best = first;
    let mut total = 0;
    for (index, peer) in group.usable(tries, now).skip_while(|(index, _)| *index < first) {
        if compare_load(group, index, first) != Ordering::Equal {
            continue;
        }
        let (current, added) = peer.advance();
        total += added;
        if current > group.peers()[best].state.current_weight() {
            best = index;
        }
    }
    group.peers()[best].state.pay(total);
    best
}

/// Connections over weight, compared without division.
pub(super) fn compare_load(group: &Group, a: usize, b: usize) -> Ordering {
    let (a, b) = (&group.peers()[a], &group.peers()[b]);
    let load_a = i64::from(a.state.active()).saturating_mul(b.weight);
    load_a.cmp(&i64::from(b.state.active()).saturating_mul(a.weight))
}
