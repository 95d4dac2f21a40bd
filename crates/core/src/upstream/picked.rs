//! A chosen peer, held for as long as its connection lives.

use std::sync::Arc;

use parking_lot::Mutex;

use super::peer::{Peer, PeerState, moment};
use crate::address::Address;
use crate::balance::Dice;
use crate::clock::{self, Instant};
use crate::phase::call::Choice;

/// A chosen peer. Dropping it ends the connection's count.
pub struct Picked {
    /// Where to connect.
    pub address: Address,
    /// The address as logs show it.
    pub name: Arc<str>,
    /// What a handler chose, which counts the session.
    choice: Option<Arc<Choice>>,
    /// No other peer will be tried after it.
    pub is_last: bool,
    /// None if it is nobody's peer.
    state: Option<Arc<PeerState>>,
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
            choice: None,
            is_last: true,
            state: Some(Arc::clone(&peer.state)),
            turn,
            since,
            weight: peer.weight,
            max_fails: peer.max_fails,
        }
    }

    /// A peer that no upstream lists: nothing is counted.
    pub(crate) fn stranger(address: Address, name: Arc<str>, since: Instant) -> Self {
        Self {
            address,
            name,
            is_last: true,
            choice: None,
            state: None,
            turn: None,
            since,
            weight: 1,
            max_fails: 0,
        }
    }

    /// The same, chosen by a handler: its session is counted with the choice.
    pub(crate) fn with_choice(mut self, choice: &Arc<Choice>) -> Self {
        self.choice = Some(Arc::clone(choice));
        self
    }

    /// What a handler chose.
    pub fn choice(&self) -> Option<&Choice> {
        self.choice.as_deref()
    }

    /// The connection is up: clears earlier failures.
    pub fn connected(&mut self) {
        if let (Some(turn), Some(state)) = (&self.turn, &self.state) {
            // Most peers have nothing to clear, and need no turn to know it.
            if state.fails() > 0 {
                let _turn = turn.lock();
                state.succeed();
            }
        }
    }

    /// The attempt failed: counts against the peer. True if the peer was just marked unavailable.
    pub fn failed(&mut self) -> bool {
        self.failed_at(clock::now())
    }

    /// As [`Self::failed`], at a given time.
    pub fn failed_at(&mut self, now: Instant) -> bool {
        let (Some(turn), Some(state)) = (&self.turn, &self.state) else { return false };
        let _turn = turn.lock();
        state.fail(moment(self.since, now), self.weight, self.max_fails)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.end();
        }
    }
}
