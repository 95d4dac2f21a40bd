//! The limits of tunnels, services and peers: what the plan says, and the buckets and counts that their streams share,
//! on whichever carrier and worker they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use qanat_plan as spec;

use super::identity::NodeKey;
use super::mux::{Both, Budget, ServiceRates, WINDOWS};
use super::snapshot::{LimitsSnapshot, QuotaSnapshot};
use super::tally::{ServiceSnapshot, ServiceTally};
use crate::clock;
use crate::plan::Plan;

/// Windows of a node that does not say otherwise.
const NODE_WINDOWS: u64 = 256 * 1024 * 1024;

/// All limits of a gateway, kept as long as somebody has them, so that changes reach streams that are open.
#[derive(Default)]
pub(super) struct Limits {
    shared: Mutex<Shared>,
    node: Node,
}

#[derive(Default)]
struct Shared {
    /// By `KIND:NAME`.
    services: HashMap<Arc<str>, Arc<ServiceLimits>>,
    peers: HashMap<NodeKey, Arc<PeerLimits>>,
}

/// What all windows share.
struct Node(Arc<Budget>);

/// The limits of one kind of a service.
#[derive(Default)]
pub(super) struct ServiceLimits {
    pub(super) tally: ServiceTally,
    pub(super) rates: Arc<ServiceRates>,
    pub(super) streams: Quota,
}

/// The limits of another gateway.
#[derive(Default)]
pub(super) struct PeerLimits {
    pub(super) rates: Arc<Both>,
    pub(super) streams: Quota,
}

/// The limits of a tunnel.
pub(super) struct TunnelLimits {
    pub(super) rates: Arc<Both>,
    pub(super) windows: Arc<Budget>,
}

/// Streams that the other side may have open here.
#[derive(Default)]
pub(super) struct Quota {
    /// 0 is any number.
    most: AtomicU64,
    open: AtomicU64,
    /// How often there were too many.
    hits: AtomicU64,
}

impl Default for Node {
    fn default() -> Self {
        Self(Arc::new(Budget::new(NODE_WINDOWS)))
    }
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self { rates: Arc::default(), windows: Arc::new(Budget::new(WINDOWS)) }
    }
}

impl Limits {
    /// Windows of all carriers.
    pub(super) fn windows(&self) -> &Arc<Budget> {
        &self.node.0
    }

    /// Those of a service, `local:NAME` or `remote:NAME`.
    pub(super) fn service(&self, id: &str, plan: &Plan) -> Arc<ServiceLimits> {
        let mut shared = self.shared.lock();
        if let Some(known) = shared.services.get(id) {
            return Arc::clone(known);
        }
        let limits = Arc::new(ServiceLimits::default());
        limits.set(id, plan);
        shared.services.insert(id.into(), Arc::clone(&limits));
        limits
    }

    /// Those of whoever has a key.
    pub(super) fn peer(&self, key: NodeKey) -> Arc<PeerLimits> {
        Arc::clone(self.shared.lock().peers.entry(key).or_default())
    }

    /// What has come of the streams of each service.
    pub(super) fn services(&self) -> Vec<ServiceSnapshot> {
        let shared = self.shared.lock();
        let services = shared.services.iter().map(|(id, limits)| ServiceSnapshot {
            id: id.to_string(),
            streams: limits.tally.streams.load(Relaxed),
            refused_by: limits.tally.refused.snapshot(),
        });
        services.collect()
    }

    /// What is in use of them.
    pub(super) fn snapshot(&self) -> LimitsSnapshot {
        let shared = self.shared.lock();
        let peers = shared.peers.iter().map(|(key, limits)| limits.streams.snapshot(format!("{key:?}")));
        let services = shared.services.iter().map(|(id, limits)| limits.streams.snapshot(id.to_string()));
        LimitsSnapshot { windows: self.node.0.used(), peers: peers.collect(), services: services.collect() }
    }

    /// Takes over what the plan says; true if rates have changed.
    pub(super) fn follow(&self, plan: &Plan) -> bool {
        let limits = plan.settings.tunnel_limits.as_deref();
        self.node.0.limit(limits.map_or(NODE_WINDOWS, |limits| limits.buffer_limit));
        let mut locked = self.shared.lock();
        let shared = &mut *locked;
        // Their counts stay as long as they are there.
        shared.services.retain(|id, limits| {
            Arc::strong_count(limits) > 1 || limits.is_in_use() || plan.services.contains_key(id)
        });
        let mut changed = false;
        for (id, limits) in &shared.services {
            changed |= limits.set(id, plan);
        }
        let peers = plan.peers.values();
        let known: HashMap<_, _> =
            peers.filter_map(|peer| Some((NodeKey(peer.key.as_slice().try_into().ok()?), peer))).collect();
        shared.peers.retain(|key, limits| Arc::strong_count(limits) > 1 || known.contains_key(key));
        for key in known.keys() {
            shared.peers.entry(*key).or_default();
        }
        for (key, limits) in &shared.peers {
            changed |= limits.set(known.get(key).map(|peer| &***peer));
        }
        changed
    }
}

impl ServiceLimits {
    /// Takes over what the plan says of the service; true if a rate has changed.
    fn set(&self, id: &str, plan: &Plan) -> bool {
        let spec = plan.services.get(id);
        let rate = |of: fn(&spec::Service) -> u64| spec.map_or(0, |spec| of(spec));
        let together = [rate(|spec| spec.upload_rate), rate(|spec| spec.download_rate)];
        let each = [rate(|spec| spec.stream_upload_rate), rate(|spec| spec.stream_download_rate)];
        // What clients send goes out where they connect, and comes in where the target is.
        let is_local = id.starts_with("local:");
        let ways =
            |[upload, download]: [u64; 2]| if is_local { [upload, download] } else { [download, upload] };
        let ([send, receive], [each_sends, each_receives]) = (ways(together), ways(each));
        self.streams.most.store(spec.map_or(0, |spec| u64::from(spec.max_streams)), Relaxed);
        let changed = self.rates.together.set(send, receive, clock::now());
        self.rates.set_each(each_sends, each_receives) || changed
    }

    /// Whether streams have the rates, though nobody has the rest.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.rates) > 1
    }
}

impl PeerLimits {
    fn set(&self, spec: Option<&spec::TunnelPeer>) -> bool {
        self.streams.most.store(spec.map_or(0, |spec| u64::from(spec.max_streams)), Relaxed);
        let (send, receive) = spec.map_or((0, 0), |spec| (spec.send_rate, spec.receive_rate));
        self.rates.set(send, receive, clock::now())
    }
}

impl TunnelLimits {
    /// Takes over what the plan says of a tunnel that this side dials; true if a rate has changed.
    pub(super) fn set(&self, spec: Option<&spec::Tunnel>) -> bool {
        let (send, receive) = spec.map_or((0, 0), |spec| (spec.send_rate, spec.receive_rate));
        self.rates.set(send, receive, clock::now())
    }
}

impl Quota {
    /// One more stream; false if there are too many.
    pub(super) fn take(&self) -> bool {
        let most = self.most.load(Relaxed);
        let open = self.open.fetch_add(1, Relaxed);
        if most == 0 || open < most {
            return true;
        }
        self.open.fetch_sub(1, Relaxed);
        self.hits.fetch_add(1, Relaxed);
        false
    }

    /// One stream less.
    pub(super) fn give_back(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    fn snapshot(&self, id: String) -> QuotaSnapshot {
        QuotaSnapshot { id, serving: self.open.load(Relaxed), limited: self.hits.load(Relaxed) }
    }
}
