//! The primary peers of an upstream, or its backups.

use super::Tries;
use super::peer::Peer;

/// Peers that are chosen among.
pub(crate) struct Group {
    peers: Vec<Peer>,
    total_weight: i64,
}

impl Group {
    pub(crate) fn new(peers: Vec<Peer>) -> Self {
        Self { total_weight: peers.iter().map(|peer| peer.weight).sum(), peers }
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Sum of the weights of all peers, `down` ones included: hashes are spread over it.
    pub(crate) fn total_weight(&self) -> i64 {
        self.total_weight
    }

    /// Whether the peer at `index` may be chosen for a session that has made `tries`.
    pub(crate) fn is_usable(&self, index: usize, tries: &Tries, now: u64) -> bool {
        let peer = &self.peers[index];
        !tries.has_tried(index)
            && !tries.is_away(index)
            && !peer.down
            && !peer.is_unavailable(now)
            && !peer.is_full()
    }

    /// The peers that may be chosen, with their indices.
    pub(crate) fn usable<'a>(
        &'a self,
        tries: &'a Tries,
        now: u64,
    ) -> impl Iterator<Item = (usize, &'a Peer)> {
        self.peers.iter().enumerate().filter(move |(index, _)| self.is_usable(*index, tries, now))
    }
}
