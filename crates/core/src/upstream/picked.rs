//! A chosen peer, held for as long as its connection lives.

use std::sync::Arc;

use parking_lot::Mutex;

use super::peer::{Peer, PeerState, moment};
use crate::address::Address;
use crate::balance::Dice;
use crate::clock::{self, Instant};

/// A chosen peer. Dropping it ends the connection's count.
pub struct Picked {
    /// Where to connect.
    pub address: Address,
    /// The address as logs show it.
    pub name: Arc<str>,
    state: Arc<PeerState>,
    /// None if the peer is the only one, and so is not judged.
    turn: Option<Arc<Mutex<Dice>>>,
    since: Instant,
    weight: i64,
    max_fails: u32,
}

impl Picked {
    /// A peer whose connection is already counted.
    pub(crate) fn new(peer: &Peer, turn: Option<Arc<Mutex<Dice>>>, since: Instant) -> Self {
        Self {
            address: peer.address.clone(),
            name: Arc::clone(&peer.name),
            state: Arc::clone(&peer.state),
            turn,
            since,
            weight: peer.weight,
            max_fails: peer.max_fails,
        }
    }

    /// The connection is up: clears earlier failures.
    pub fn connected(&mut self) {
        if let Some(turn) = &self.turn {
            // Most peers have nothing to clear, and need no turn to know it.
            if self.state.fails() > 0 {
                let _turn = turn.lock();
                self.state.succeed();
            }
        }
    }

    /// The attempt failed: counts against the peer. True if the peer was just marked unavailable.
    pub fn failed(&mut self) -> bool {
        self.failed_at(clock::now())
    }

    /// As [`Self::failed`], at a given time.
    pub fn failed_at(&mut self, now: Instant) -> bool {
        let Some(turn) = &self.turn else { return false };
        let _turn = turn.lock();
        self.state.fail(moment(self.since, now), self.weight, self.max_fails)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.state.end();
    }
}
