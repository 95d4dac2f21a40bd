//! Upstreams for the tests of balancing.

use qanat_core::upstream::Upstream;
use qanat_plan as spec;

use crate::specs;

/// Links an upstream of these peers.
pub(crate) fn link(balance: spec::Balance, peers: &[spec::Peer], previous: Option<&Upstream>) -> Upstream {
    let spec = spec::Upstream { balance, ..specs::upstream("u", peers.to_vec()) };
    Upstream::link(&spec, previous).unwrap()
}

/// A peer whose port is `number`.
pub(crate) fn peer(number: u16, weight: u32) -> spec::Peer {
    spec::Peer { weight, ..specs::peer(&format!("127.0.0.1:{number}")) }
}
