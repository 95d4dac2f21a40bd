//! What other nodes may do: which remote services of this one they may open, and to which of theirs clients are sent.
//!
//! A binding is the permission; the rules of a peer narrow it. Who is known by the secret alone has no rules.

use qanat_plan as spec;
use qanat_wire::tunnel_frame::Code;

use super::carrier::Carrier;
use super::identity::NodeKey;
use super::node::Node;
use super::registry::Tunnels;

/// Whether a name is meant by a pattern: the same, or its beginning before a `*`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

impl Node {
    /// Whether the holder of a key may open a remote service of this node, as far as its rules go.
    pub(super) fn may_consume(&self, key: NodeKey, service: &str) -> bool {
        self.is_within(key, service, |peer| peer.consume.as_deref())
    }

    /// Whether clients of this node may be sent to a service of the holder of a key.
    pub(super) fn may_offer(&self, key: NodeKey, service: &str) -> bool {
        self.is_within(key, service, |peer| peer.offer.as_deref())
    }

    fn is_within(
        &self,
        key: NodeKey,
        service: &str,
        patterns: impl Fn(&spec::TunnelPeer) -> Option<&[String]>,
    ) -> bool {
        let peer = self.peers.iter().find(|(known, _)| *known == key).map(|(_, peer)| &**peer);
        let patterns = peer.and_then(patterns);
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| fits(pattern, service)))
    }
}

impl Tunnels {
    /// Resets the streams that the rules no longer allow. All others go on.
    pub(crate) fn enforce(&self, node: &Node) {
        for tunnel in self.all() {
            for carrier in tunnel.with(|state| state.carriers.clone()) {
                enforce_on(&carrier, node);
            }
        }
    }
}

fn enforce_on(carrier: &Carrier, node: &Node) {
    let is_forbidden = |service: &str, is_ours: bool| {
        if is_ours { !node.may_offer(carrier.key, service) } else { !node.may_consume(carrier.key, service) }
    };
    carrier.with(|mux, wakes| mux.reset_streams(Code::Forbidden, is_forbidden, wakes));
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_the_rest_of_a_name() {
        assert!(fits("web", "web"));
        assert!(!fits("web", "web2"));
        assert!(fits("web*", "web2"));
        assert!(fits("web*", "web"));
        assert!(!fits("web*", "we"));
        assert!(fits("*", "anything"));
    }
}
