//! This node as the plan describes it: its identity, and whom it trusts.

use std::sync::Arc;
use std::time::Duration;

use qanat_plan as spec;

use super::handshake::Trust;
use super::identity::{Identity, NodeKey};
use super::rules;

/// `tunnels { … }`, linked.
#[derive(Debug)]
pub struct Node {
    /// Its description.
    pub spec: spec::TunnelNode,
    /// Its key.
    pub identity: Identity,
    /// What it calls itself.
    pub name: String,
    /// Those that are known by their keys, by name.
    pub(super) peers: Vec<(NodeKey, Arc<spec::TunnelPeer>)>,
}

impl Node {
    /// Links the settings; `present` is kept if they are the same.
    ///
    /// # Errors
    /// A key that is none.
    pub fn link(
        spec: &spec::TunnelNode,
        name: &str,
        mut peers: Vec<Arc<spec::TunnelPeer>>,
        present: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, String> {
        peers.sort_by(|one, other| one.name.cmp(&other.name));
        // Limits are no part of what connections were made for.
        let is_same = |present: &&Arc<Self>| {
            present.name == name && present.is_described_by(spec) && present.peers().eq(peers.iter())
        };
        if let Some(same) = present.filter(is_same) {
            return Ok(Arc::clone(same));
        }
        let peers = peers.into_iter().map(|peer| {
            let key = <[u8; 32]>::try_from(peer.key.as_slice());
            let key = key.map_err(|_| format!("the key of peer \"{}\" has not 32 bytes", peer.name))?;
            Ok((NodeKey(key), peer))
        });
        Ok(Arc::new(Self {
            peers: peers.collect::<Result<_, String>>()?,
            identity: Identity::new(&spec.key)?,
            name: name.to_owned(),
            spec: spec.clone(),
        }))
    }

    /// Whom to trust at the other end of a tunnel; none if it names a peer that is not known, or there is no secret.
    pub(super) fn trust(&self, tunnel: &spec::Tunnel) -> Option<Trust> {
        match &tunnel.peer {
            Some(name) => {
                let found = self.peers.iter().find(|(_, peer)| peer.name == *name);
                found.map(|(key, _)| Trust::Key(*key))
            }
            None if self.spec.secret.is_empty() => None,
            None => Some(Trust::Secret(self.spec.secret.clone())),
        }
    }

    /// Whether a tunnel would be dialled just so as by `other`.
    pub(super) fn dials_as(&self, other: &Self, tunnel: &spec::Tunnel) -> bool {
        self.is_described_by(&other.spec)
            && self.name == other.name
            && self.trust(tunnel) == other.trust(tunnel)
    }

    /// Whether a key needs no secret.
    pub(super) fn knows(&self, key: NodeKey) -> bool {
        self.peers.iter().any(|(known, _)| *known == key)
    }

    /// Whether the holder of a key may bring up a tunnel of this name. Who is not listed as a peer has shown that it
    /// knows the secret.
    pub(super) fn admits(&self, key: NodeKey, tunnel: &str) -> bool {
        let Some((_, peer)) = self.peers.iter().find(|(known, _)| *known == key) else { return true };
        peer.tunnels.is_empty() || peer.tunnels.iter().any(|pattern| rules::fits(pattern, tunnel))
    }

    /// Whether this is its description, whatever the limits are.
    fn is_described_by(&self, spec: &spec::TunnelNode) -> bool {
        self.spec == spec::TunnelNode { limits: self.spec.limits.clone(), ..spec.clone() }
    }

    fn peers(&self) -> impl Iterator<Item = &Arc<spec::TunnelPeer>> {
        self.peers.iter().map(|(_, peer)| peer)
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.spec.heartbeat_s.max(1).into())
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.spec.handshake_timeout_ms)
    }
}
