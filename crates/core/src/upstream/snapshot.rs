//! What can be told of the peers of an upstream at a moment.

use serde::Serialize;

use super::peer::Peer;

/// Whether a peer takes sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It does.
    Up,
    /// The configuration says `down`.
    Down,
    /// It failed too often; a probe will be let through when its `fail_timeout` is over.
    Unavailable,
}

/// A peer at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerSnapshot {
    /// `server` argument as written.
    pub server: String,
    /// Its address.
    pub address: String,
    /// Whether it takes sessions.
    pub state: Health,
    /// Stands by for the primary peers.
    pub backup: bool,
    /// Configured weight.
    pub weight: i64,
    /// Connections that are open or being opened.
    pub active: u32,
    /// Failures that count now.
    pub fails: u32,
    /// How often it was chosen.
    pub selected: u64,
}

impl PeerSnapshot {
    pub(crate) fn of(peer: &Peer, backup: bool, now: u64) -> Self {
        let state = match () {
            () if peer.down => Health::Down,
            () if peer.is_unavailable(now) => Health::Unavailable,
            () => Health::Up,
        };
        Self {
            server: peer.server.to_string(),
            address: peer.name.to_string(),
            state,
            backup,
            weight: peer.weight,
            active: peer.state.active(),
            fails: peer.state.fails(),
            selected: peer.state.selected(),
        }
    }
}
