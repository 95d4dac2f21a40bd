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
    /// The one that it dials with first, then those that it believes, too.
    secrets: Vec<Arc<[u8]>>,
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
        let secrets = std::iter::once(&spec.secret).chain(&spec.former_secrets);
        Ok(Arc::new(Self {
            secrets: secrets.filter(|one| !one.is_empty()).map(|one| one.as_slice().into()).collect(),
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
            None => self.secrets.first().cloned().map(Trust::Secret),
        }
    }

    /// The secrets that prove a caller, of which the first is this node's own proof.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.secrets.iter()
    }

    /// Whether a carrier that was accepted would be accepted now.
    pub(super) fn still_admits(&self, trust: &Trust, key: NodeKey, tunnel: &str) -> bool {
        self.believes(trust) && self.admits(key, tunnel)
    }

    /// Whether what somebody has shown still convinces.
    pub(super) fn believes(&self, trust: &Trust) -> bool {
        match trust {
            Trust::Key(key) => self.knows(*key),
            Trust::Secret(secret) => self.secrets.contains(secret),
        }
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
