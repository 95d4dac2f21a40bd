//! Upstreams for the tests of balancing.

use qanat_core::upstream::Upstream;
use qanat_plan as spec;

/// Links an upstream of these peers.
pub(crate) fn link(balance: spec::Balance, peers: &[spec::Peer], previous: Option<&Upstream>) -> Upstream {
    let spec = spec::Upstream {
        name: "u".to_owned(),
        balance,
        handler: None,
        peers: peers.to_vec(),
        origin: "nginx.conf:1".to_owned(),
    };
    Upstream::link(&spec, previous).unwrap()
}

/// A peer whose port is `number`.
pub(crate) fn peer(number: u16, weight: u32) -> spec::Peer {
    let address = format!("127.0.0.1:{number}");
    spec::Peer {
        server: address.clone(),
        address,
        weight,
        max_conns: 0,
        max_fails: 1,
        fail_timeout_ms: 10_000,
        backup: false,
        down: false,
    }
}
