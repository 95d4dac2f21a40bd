//! Smooth weighted round robin: every usable peer gains its effective weight, the richest is chosen and pays the sum.
//! Of equals the first wins. Weights 5, 1, 1 give a a b a c a a.

use crate::upstream::{Group, Peer, Tries};

/// Chooses the peer whose turn it is.
pub(super) fn pick(group: &Group, tries: &Tries, now: u64) -> Option<usize> {
    pick_of(group, tries, now, |_| true)
}

/// Chooses the peer whose turn it is of those that are `wanted`; the others neither gain nor pay.
pub(super) fn pick_of(
    group: &Group,
    tries: &Tries,
    now: u64,
    wanted: impl Fn(&Peer) -> bool,
) -> Option<usize> {
    let mut best = None;
    let mut total = 0;
    for (index, peer) in group.usable(tries, now).filter(|(_, peer)| wanted(peer)) {
        let (current, added) = peer.advance();
        total += added;
        if best.is_none_or(|(_, weight)| current > weight) {
            best = Some((index, current));
        }
    }
    let (index, _) = best?;
    group.peers()[index].state.pay(total);
    Some(index)
}
