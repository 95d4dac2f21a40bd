//! A hash of the key, modulo the total weight: compatible with `Cache::Memcached`, which hashes the number of the
//! retry with the key and adds up the results.

use super::{MAX_MISSES, round_robin};
use crate::upstream::{Group, Peer, Tries};

/// Chooses the peer that the key belongs to, or the next one that its rehashes lead to.
pub(super) fn pick(group: &Group, key: &[u8], tries: &mut Tries, now: u64) -> Option<usize> {
    if key.is_empty() || group.total_weight() == 0 {
        return round_robin::pick(group, tries, now);
    }
    while tries.misses <= MAX_MISSES {
        let sum = tries.hash.unwrap_or(0).wrapping_add(hash(tries.rehashes, key));
        tries.hash = Some(sum);
        tries.rehashes += 1;
        let index = owner(group, i64::from(sum) % group.total_weight());
        if group.is_usable(index, tries, now) {
            return Some(index);
        }
        tries.misses += 1;
    }
    round_robin::pick(group, tries, now)
}

fn hash(rehash: u32, key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if rehash > 0 {
        crc.update(rehash.to_string().as_bytes());
    }
    crc.update(key);
    (crc.finalize() >> 16) & 0x7fff
}

/// The peer that covers `weight`, which is less than the total.
fn owner(group: &Group, mut weight: i64) -> usize {
    let covers = |peer: &Peer| {
        let found = weight < peer.weight;
        weight -= peer.weight;
        found
    };
    group.peers().iter().position(covers).unwrap_or(0)
}
