//! What can be told of tunnels at a moment.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::carrier::Carrier;
use super::prove::Role;
use super::registry::{Progress, Tunnel, Tunnels};

/// A tunnel at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct TunnelSnapshot {
    /// Its name.
    pub name: String,
    /// `up`, `idle`, `connecting`, `reconnecting`, `auth_failed` or `removed`.
    pub state: &'static str,
    /// Why it is not up, if that is known.
    pub error: Option<String>,
    /// Its carriers.
    pub carriers: Vec<CarrierSnapshot>,
    /// Streams that the other side has open here.
    pub serving: u64,
    /// Streams that this side has opened.
    pub opened: u64,
    /// Streams that this side has served.
    pub served: u64,
    /// Streams that this side has refused.
    pub refused: u64,
    /// Streams of this side that the other side has refused.
    pub rejected: u64,
    /// Carriers that ever came up.
    pub connected: u64,
}

/// A carrier at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct CarrierSnapshot {
    /// Which one of the tunnel.
    pub index: u8,
    /// `dialler` or `acceptor`: what this side is.
    pub role: &'static str,
    /// What the other end calls itself.
    pub node: String,
    /// Its key, `ed25519:` and hex digits.
    pub key: String,
    /// Where it is.
    pub address: String,
    /// Open streams of both sides.
    pub streams: usize,
    /// Bytes of its frames from the other end.
    pub bytes_received: u64,
    /// Bytes of its frames to the other end.
    pub bytes_sent: u64,
    /// Datagrams that were lost because too many waited.
    pub datagrams_dropped: u64,
    /// Round trip in microseconds.
    pub rtt_us: u64,
    /// How long it has been up, in milliseconds.
    pub up_ms: u64,
}

impl Tunnels {
    /// All tunnels, by name.
    pub fn snapshot(&self) -> Vec<TunnelSnapshot> {
        self.all().iter().map(|tunnel| TunnelSnapshot::of(tunnel)).collect()
    }
}

impl TunnelSnapshot {
    fn of(tunnel: &Tunnel) -> Self {
        let (carriers, progress) = tunnel.with(|state| (state.carriers.clone(), state.progress.clone()));
        let (state, error) = match progress {
            _ if !carriers.is_empty() => ("up", None),
            Progress::Idle => ("idle", None),
            Progress::Connecting => ("connecting", None),
            Progress::Reconnecting(error) => ("reconnecting", Some(error)),
            Progress::AuthFailed(error) => ("auth_failed", Some(error)),
            Progress::Removed => ("removed", Some("removed by the other end".to_owned())),
        };
        let counters = &tunnel.counters;
        Self {
            name: tunnel.name.to_string(),
            state,
            error,
            carriers: carriers.iter().map(|carrier| CarrierSnapshot::of(carrier)).collect(),
            serving: tunnel.serving.load(Relaxed),
            opened: counters.opened.load(Relaxed),
            served: counters.served.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            rejected: counters.rejected.load(Relaxed),
            connected: counters.carriers.load(Relaxed),
        }
    }
}

impl CarrierSnapshot {
    fn of(carrier: &Carrier) -> Self {
        let (streams, rtt, dropped) = carrier.with(|mux, _| (mux.count(), mux.rtt, mux.dropped));
        Self {
            index: carrier.index,
            role: if carrier.role == Role::Dialler { "dialler" } else { "acceptor" },
            node: carrier.node.to_string(),
            key: format!("{:?}", carrier.key),
            address: carrier.address.to_string(),
            streams,
            bytes_received: carrier.bytes_received.load(Relaxed),
            bytes_sent: carrier.bytes_sent.load(Relaxed),
            datagrams_dropped: dropped,
            rtt_us: u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX),
            up_ms: u64::try_from(carrier.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
