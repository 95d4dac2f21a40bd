//! What is offered through tunnels: each end tells the other which of its services are there, bound to the tunnel,
//! allowed to the other end, and healthy. Offers are hints: whoever balances passes over a tunnel without the service.
//!
//! A target that has failed as often as `max_fails` of its upstream says is not offered for `fail_timeout`, or until
//! somebody reaches it all the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::sleep;

use super::carrier::Carrier;
use super::open::TunnelAddress;
use super::registry::{Tunnel, Tunnels};
use crate::plan::Plan;

/// The health of services, and whose turn it is to tell of them.
#[derive(Default)]
pub(super) struct Offering {
    ill: Mutex<HashMap<Arc<str>, Illness>>,
    /// There is one: most streams have nothing to look up.
    has_ill: AtomicBool,
}

/// Failures of a target in a row.
#[derive(Default)]
struct Illness {
    fails: u32,
    /// It is not offered.
    is_withdrawn: bool,
}

/// What both ends of a tunnel offer.
#[derive(Clone, Debug, Serialize)]
pub struct OfferSnapshot {
    /// The tunnel.
    pub tunnel: String,
    /// What this side offers.
    pub ours: Vec<String>,
    /// What the other side offers; none if it does not tell.
    pub theirs: Option<Vec<String>>,
}

impl Tunnels {
    /// Tells the other ends what has changed from one plan to the next.
    pub(crate) fn offer_anew(&self, before: &Plan, plan: &Plan) {
        let is_same = before.bindings.ptr_eq(&plan.bindings)
            && before.services.ptr_eq(&plan.services)
            && before.settings.tunnels.as_ref().map(Arc::as_ptr)
                == plan.settings.tunnels.as_ref().map(Arc::as_ptr);
        if is_same {
            return;
        }
        let mut ill = self.offering.ill.lock();
        // Another target has its own health.
        let target =
            |plan: &Plan, name: &str| plan.upstreams.get(&*format!("target:{name}")).map(Arc::as_ptr);
        ill.retain(|name, _| target(before, name) == target(plan, name));
        let mut bound: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tunnel, service) in plan.bindings.keys().filter_map(|id| id.split_once('/')) {
            bound.entry(tunnel).or_default().push(service);
        }
        for tunnel in self.all() {
            let services = bound.get(&*tunnel.name).map(Vec::as_slice).unwrap_or_default();
            for carrier in tunnel.with(|state| state.carriers.clone()) {
                offer_all(plan, &ill, &carrier, services);
            }
        }
    }

    /// Tells a new carrier all that there is.
    pub(super) fn introduce(&self, tunnel: &Tunnel, carrier: &Carrier) {
        let ill = self.offering.ill.lock();
        let Some(plan) = self.plan() else { return };
        let bound = plan.bindings.keys().filter_map(|id| id.split_once('/'));
        let services: Vec<_> =
            bound.filter(|(name, _)| **name == *tunnel.name).map(|(_, service)| service).collect();
        offer_all(&plan, &ill, carrier, &services);
    }

    /// A stream of a remote service has reached its target, or has not.
    pub(super) fn note_target(self: &Arc<Self>, service: &str, is_reached: bool, plan: &Plan) {
        let offering = &self.offering;
        if is_reached && !offering.has_ill.load(Relaxed) {
            return;
        }
        let mut ill = offering.ill.lock();
        if is_reached {
            let was_withdrawn = ill.remove(service).is_some_and(|illness| illness.is_withdrawn);
            offering.has_ill.store(!ill.is_empty(), Relaxed);
            if was_withdrawn {
                self.offer(service, true);
            }
            return;
        }
        let Some((most, pause)) = patience_with(plan, service) else { return };
        offering.has_ill.store(true, Relaxed);
        let illness = ill.entry(service.into()).or_default();
        illness.fails = illness.fails.saturating_add(1);
        if illness.fails >= most && !illness.is_withdrawn {
            illness.is_withdrawn = true;
            self.offer(service, false);
            tokio::spawn(Arc::clone(self).offer_again(service.into(), pause));
        }
    }

    /// Offers a service that was ill again after a while. One more failure is enough to take it back.
    async fn offer_again(self: Arc<Self>, service: Arc<str>, pause: Duration) {
        sleep(pause).await;
        let mut ill = self.offering.ill.lock();
        if let Some(illness) = ill.get_mut(&service).filter(|illness| illness.is_withdrawn) {
            illness.is_withdrawn = false;
            illness.fails = illness.fails.saturating_sub(1);
            self.offer(&service, true);
        }
    }

    /// Tells all other ends of one service. Called with the health locked.
    fn offer(&self, service: &str, is_healthy: bool) {
        let Some(plan) = self.plan() else { return };
        let service: Arc<str> = service.into();
        for tunnel in self.all() {
            let is_there = is_healthy && has(&plan, &tunnel.name, &service);
            for carrier in tunnel.with(|state| state.carriers.clone()) {
                let is_offered = is_there && may_have(&plan, &carrier, &service);
                carrier.with(|mux, wakes| mux.offer(&service, is_offered, wakes));
            }
        }
    }

    /// Whether a tunnel is up whose other end says that it does not have the service.
    pub(crate) fn is_away(&self, address: &TunnelAddress) -> bool {
        let Some(tunnel) = self.find(&address.tunnel) else { return false };
        let carriers = tunnel.with(|state| state.carriers.clone());
        let lacks = |carrier: &Arc<Carrier>| carrier.with(|mux, _| !mux.is_offered(&address.service));
        !carriers.is_empty() && carriers.iter().all(lacks)
    }

    /// What is offered, for tunnels that are up.
    pub fn offers(&self) -> Vec<OfferSnapshot> {
        self.all().iter().filter_map(|tunnel| OfferSnapshot::of(tunnel)).collect()
    }
}

impl OfferSnapshot {
    fn of(tunnel: &Tunnel) -> Option<Self> {
        let carrier = tunnel.with(|state| state.carriers.first().cloned())?;
        let sorted = |names: &HashSet<Arc<str>>| {
            let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let (ours, theirs) = carrier.with(|mux, _| {
            let (ours, theirs) = mux.offered();
            (sorted(ours), theirs.map(sorted))
        });
        Some(Self { tunnel: tunnel.name.to_string(), ours, theirs })
    }
}

/// Tells a carrier of the services that are bound to its tunnel.
fn offer_all(plan: &Plan, ill: &HashMap<Arc<str>, Illness>, carrier: &Carrier, bound: &[&str]) {
    let is_healthy = |name: &str| ill.get(name).is_none_or(|illness| !illness.is_withdrawn);
    let is_offered =
        |name: &&&str| has(plan, &carrier.tunnel, name) && may_have(plan, carrier, name) && is_healthy(name);
    let services = bound.iter().filter(is_offered).map(|name| Arc::from(*name)).collect();
    carrier.with(|mux, wakes| mux.offer_all(services, wakes));
}

/// Whether a remote service is there, and bound to a tunnel.
fn has(plan: &Plan, tunnel: &str, service: &str) -> bool {
    plan.bindings.contains_key(&*format!("{tunnel}/{service}"))
        && plan.services.contains_key(&*format!("remote:{service}"))
}

/// Whether the other end of a carrier may open a service.
fn may_have(plan: &Plan, carrier: &Carrier, service: &str) -> bool {
    plan.settings.tunnels.as_ref().is_some_and(|node| node.may_consume(carrier.key, service))
}

/// After how many failures a target is not offered, and how long; none if it always is.
fn patience_with(plan: &Plan, service: &str) -> Option<(u32, Duration)> {
    let upstream = plan.upstreams.get(&*format!("target:{service}"))?;
    let most = upstream.spec.peers.iter().map(|peer| peer.max_fails).max().filter(|most| *most > 0)?;
    let pause = upstream.spec.peers.iter().map(|peer| peer.fail_timeout_ms).max()?;
    Some((most, Duration::from_millis(pause)))
}
