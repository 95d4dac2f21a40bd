//! State read at a moment, as `MessagePack`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::gateway::shared::{Shared, Worker};
use crate::upstream::PeerSnapshot;

/// Totals since the start, and what is open.
#[derive(Debug, Serialize)]
struct Status {
    revision: u64,
    workers: usize,
    sessions: u64,
    accepted: u64,
    failed: u64,
    paused: u64,
    draining: bool,
    /// Of each worker, against `worker_connections`.
    connections: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Listener {
    id: String,
    default_server: String,
}

#[derive(Debug, Serialize)]
struct Upstream {
    name: String,
    peers: Vec<PeerSnapshot>,
}

/// Reads what is called `what`; none if nothing is.
pub fn read(shared: &Shared, workers: &[Arc<Worker>], what: &str) -> Option<Vec<u8>> {
    match what {
        "status" => encode(&status(shared, workers)),
        "listeners" => encode(&listeners(shared)),
        "servers" => encode(&servers(shared)),
        "upstreams" => encode(&upstreams(shared)),
        "tunnels" => encode(&shared.tunnels.snapshot()),
        "tunnel_limits" => encode(&shared.tunnels.limits()),
        "tunnel_handshakes" => encode(&shared.tunnels.handshakes()),
        "services" => encode(&shared.tunnels.services()),
        "offers" => encode(&shared.tunnels.offers()),
        "rules" => encode(&rules(shared)),
        _ => None,
    }
}

fn encode(value: &impl Serialize) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(value).ok()
}

fn status(shared: &Shared, workers: &[Arc<Worker>]) -> Status {
    let counters = &shared.counters;
    Status {
        revision: shared.plan.load().revision,
        workers: workers.len(),
        sessions: count(&counters.open),
        accepted: count(&counters.accepted),
        failed: count(&counters.failed),
        paused: count(&counters.paused),
        draining: shared.draining.load(Ordering::Relaxed),
        connections: workers.iter().map(|worker| count(&worker.connections)).collect(),
    }
}

fn listeners(shared: &Shared) -> Vec<Listener> {
    let plan = shared.plan.load();
    let read = plan.listeners.values().map(|listener| Listener {
        id: listener.spec.id.clone(),
        default_server: listener.spec.default_server.clone(),
    });
    read.collect()
}

/// Open sessions by server.
fn servers(shared: &Shared) -> BTreeMap<String, u64> {
    let plan = shared.plan.load();
    plan.servers.iter().map(|(id, server)| (id.to_string(), count(&server.sessions))).collect()
}

fn upstreams(shared: &Shared) -> Vec<Upstream> {
    let plan = shared.plan.load();
    let read = plan
        .upstreams
        .iter()
        .map(|(name, upstream)| Upstream { name: name.to_string(), peers: upstream.snapshot() });
    read.collect()
}

/// Sessions that each rule decided, by table and rule; those that none matched under an empty name.
fn rules(shared: &Shared) -> BTreeMap<String, BTreeMap<String, u64>> {
    let plan = shared.plan.load();
    let read = plan.rules.iter().map(|(name, table)| {
        let unmatched = [(String::new(), count(&table.unmatched))];
        let rules = table.rules.iter().map(|(name, rule)| (name.to_string(), count(&rule.decided)));
        (name.to_string(), unmatched.into_iter().chain(rules).collect())
    });
    read.collect()
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
