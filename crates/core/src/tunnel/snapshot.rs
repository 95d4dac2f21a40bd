//! What can be told of tunnels at a moment.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::carrier::Carrier;
use super::prove::Role;
use super::registry::{Progress, Tunnel, Tunnels};
use super::strangers::HandshakesSnapshot;
use super::tally::{ServiceSnapshot, TimesSnapshot};

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
    /// How often it came up again after it had been down.
    pub reconnects: u64,
    /// Streams that this side has refused, by reason.
    pub refused_by: BTreeMap<&'static str, u64>,
    /// Streams of this side that were refused, by reason.
    pub rejected_by: BTreeMap<&'static str, u64>,
    /// Streams of either side that have broken, by reason.
    pub reset_by: BTreeMap<&'static str, u64>,
    /// From an OPEN to its answer.
    pub opening: TimesSnapshot,
    /// From a connection to a carrier.
    pub handshakes: TimesSnapshot,
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
    /// Frames from the other end, of all kinds but pings.
    pub frames_received: u64,
    /// Frames to the other end.
    pub frames_sent: u64,
    /// How often a stream had bytes to send, and no credit left for them.
    pub window_stalls: u64,
    /// How often a stream was held back by a limit.
    pub throttled: u64,
    /// Streams that are held back now, in either direction.
    pub throttled_now: usize,
    /// Bytes that wait for the connection to take them.
    pub queued: usize,
    /// Round trip in microseconds.
    pub rtt_us: u64,
    /// How long it has been up, in milliseconds.
    pub up_ms: u64,
}

/// What is in use of limits that tunnels share, at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct LimitsSnapshot {
    /// Bytes that the windows of all streams come to.
    pub windows: u64,
    /// Gateways, by their keys.
    pub peers: Vec<QuotaSnapshot>,
    /// Services, by `KIND:NAME`.
    pub services: Vec<QuotaSnapshot>,
}

/// Streams that may be open, of a peer or a service.
#[derive(Clone, Debug, Serialize)]
pub struct QuotaSnapshot {
    /// Whose they are.
    pub id: String,
    /// Streams that the other end has open here.
    pub serving: u64,
    /// How often one was refused because there were too many.
    pub limited: u64,
}

impl Tunnels {
    /// What has come of the streams of each service.
    pub fn services(&self) -> Vec<ServiceSnapshot> {
        self.limits.services()
    }

    /// What is in use of limits.
    pub fn limits(&self) -> LimitsSnapshot {
        self.limits.snapshot()
    }

    /// All tunnels, by name.
    pub fn snapshot(&self) -> Vec<TunnelSnapshot> {
        self.all().iter().map(|tunnel| TunnelSnapshot::of(tunnel)).collect()
    }

    /// What has become of the handshakes that others have begun.
    pub fn handshakes(&self) -> HandshakesSnapshot {
        self.strangers.snapshot()
    }
}

impl TunnelSnapshot {
    fn of(tunnel: &Tunnel) -> Self {
        let (carriers, progress, is_dialled) =
            tunnel.with(|state| (state.carriers.clone(), state.progress.clone(), state.dialling.is_some()));
        let (state, error) = match progress {
            _ if !carriers.is_empty() => ("up", None),
            Progress::Idle if !is_dialled => ("idle", None),
            Progress::Idle | Progress::Connecting => ("connecting", None),
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
            reconnects: counters.reconnects.load(Relaxed),
            refused_by: tunnel.tally.refused.snapshot(),
            rejected_by: tunnel.tally.rejected.snapshot(),
            reset_by: tunnel.tally.reset.snapshot(),
            opening: tunnel.tally.opening.snapshot(),
            handshakes: tunnel.tally.handshakes.snapshot(),
        }
    }
}

impl CarrierSnapshot {
    fn of(carrier: &Carrier) -> Self {
        let (streams, rtt, dropped, load) =
            carrier.with(|mux, _| (mux.count(), mux.rtt, mux.dropped, mux.load()));
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
            frames_received: load.frames_received,
            frames_sent: load.frames_sent,
            window_stalls: load.window_stalls,
            throttled: load.throttled,
            throttled_now: load.throttled_now,
            queued: load.queued,
            rtt_us: u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX),
            up_ms: u64::try_from(carrier.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
