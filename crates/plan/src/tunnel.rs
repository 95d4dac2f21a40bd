//! Tunnels to other gateways, and the services that are reached through them.

use serde::{Deserialize, Serialize};

/// `tunnels { … }`: who this node is to the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelNode {
    /// Its Ed25519 key, as PKCS#8 DER.
    #[serde(with = "crate::tls::blob")]
    pub key: Vec<u8>,
    /// Grows with every start of this node: its new sessions replace those of before.
    pub generation: u64,
    /// `secret`: shared by both ends of a tunnel; empty without one.
    #[serde(with = "crate::tls::blob")]
    pub secret: Vec<u8>,
    /// Further ones: they prove a caller, too, but nothing is dialled with them.
    #[serde(with = "crate::tls::blobs")]
    pub former_secrets: Vec<Vec<u8>>,
    /// Seconds without a byte after which a carrier is probed; three times that ends it.
    pub heartbeat_s: u16,
    /// Carriers of a tunnel.
    pub carriers: u8,
    /// Milliseconds for a connection, its TLS and its proof, together.
    pub handshake_timeout_ms: u64,
    /// Streams that the other end of a tunnel may have open here, on all of its carriers.
    pub max_streams: u32,
    /// What may change without a connection noticing.
    pub limits: TunnelLimits,
}

/// How much of this node its tunnels may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelLimits {
    /// `buffer_limit`: bytes that the windows of all streams of tunnels may come to.
    pub buffer_limit: u64,
}

/// `peer NAME ed25519:KEY …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelPeer {
    /// What this node calls it.
    pub name: String,
    /// Its Ed25519 public key, 32 bytes.
    #[serde(with = "crate::tls::blob")]
    pub key: Vec<u8>,
    /// Names of tunnels that it may bring up here, `*` for the rest of a name; none is any.
    pub tunnels: Vec<String>,
    /// Names of its services that clients are sent to, alike; without a list whatever is bound.
    pub offer: Option<Vec<String>>,
    /// Names of remote services that it may open, alike; without a list whatever is bound.
    pub consume: Option<Vec<String>>,
    /// Bytes a second that are sent to it on all of its tunnels; 0 is no limit.
    pub send_rate: u64,
    /// Bytes a second that are received of it.
    pub receive_rate: u64,
    /// Streams that it may have open here; 0 is any number.
    pub max_streams: u32,
    /// Where it stands, for messages.
    pub origin: String,
}

/// A tunnel that this node dials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Its name, at both ends.
    pub name: String,
    /// `HOST:PORT` of the other end's tunnel listener.
    pub dial: String,
    /// Name of the peer that must answer; none is whoever knows the secret.
    pub peer: Option<String>,
    /// Bytes a second that this node sends through it; 0 is no limit.
    pub send_rate: u64,
    /// Bytes a second that this node receives through it, alike.
    pub receive_rate: u64,
    /// Where it stands, for messages.
    pub origin: String,
}

/// A service, as far as its name and its key go. Where it is reached is a listener, where it leads to is a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `KIND:NAME`, `local:web` or `remote:web`.
    pub id: String,
    /// What is derived of its key by HKDF, 32 bytes; empty without a key.
    #[serde(with = "crate::tls::blob")]
    pub key: Vec<u8>,
    /// How long a client of a local service is held while its tunnel is down, in milliseconds.
    pub pending_timeout_ms: u64,
    /// Bytes a second from its clients to its target, of all of its streams on this node; 0 is no limit.
    pub upload_rate: u64,
    /// Bytes a second to its clients, alike.
    pub download_rate: u64,
    /// As `upload_rate`, of each stream.
    pub stream_upload_rate: u64,
    /// As `download_rate`, of each stream.
    pub stream_download_rate: u64,
    /// Streams of a remote service that may be open at once; 0 is any number.
    pub max_streams: u32,
    /// Where it stands, for messages.
    pub origin: String,
}

/// A remote service that may be opened through a tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// `TUNNEL/SERVICE`.
    pub id: String,
    /// The listener, without a socket, at which its sessions arrive.
    pub listener: String,
}
