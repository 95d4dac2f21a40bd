//! What the workers share. Read without locks by every session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use qanat_plan::Level;
use tokio::sync::Notify;

use crate::log::writer::LogWriter;
use crate::plan::{Plan, Settings};
use crate::shortage::Pause;
use crate::tls::TlsContext;
use crate::tunnel::Tunnels;

/// State of the whole gateway.
pub struct Shared {
    /// The current plan: what new sessions begin with.
    pub plan: ArcSwap<Plan>,
    /// Writer of all logs.
    pub logs: LogWriter,
    /// Tickets and caches of TLS.
    pub tls: TlsContext,
    /// No new sessions are wanted.
    pub draining: AtomicBool,
    next_session: AtomicU64,
    /// Totals since the start.
    pub counters: Counters,
    /// Tunnels to other gateways.
    pub tunnels: Arc<Tunnels>,
}

/// Totals since the start, and what is open now.
#[derive(Default)]
pub struct Counters {
    /// Sessions accepted.
    pub accepted: AtomicU64,
    /// Sessions that are open.
    pub open: AtomicU64,
    /// Sessions that ended with a status other than 200.
    pub failed: AtomicU64,
    /// Times that accepting paused for want of descriptors, memory, ports or connections.
    pub paused: AtomicU64,
}

/// One worker: what its listeners and sessions know of their thread.
pub struct Worker {
    /// Index, from 0.
    pub index: usize,
    /// The gateway.
    pub shared: Arc<Shared>,
    /// Descriptors that sessions of this worker hold, against `worker_connections`.
    pub connections: AtomicU64,
    /// Told when a session gives descriptors back.
    pub room: Notify,
    /// Whether it begins nothing new for now.
    pub pause: Pause,
}

impl Worker {
    /// A worker without sessions.
    pub fn new(index: usize, shared: Arc<Shared>) -> Self {
        Self { index, shared, connections: AtomicU64::new(0), room: Notify::new(), pause: Pause::default() }
    }

    /// Whether `worker_connections` admits a session that counts for `cost`. One session always has room, so that a
    /// limit below its cost does not stop the worker for ever.
    pub fn has_room(&self, settings: &Settings, cost: u64) -> bool {
        let limit = u64::from(settings.worker_connections);
        self.connections.load(Ordering::Relaxed) + cost <= limit.max(cost)
    }

    /// Counts, and tells the error log, that there is no room.
    pub fn complain_of_room(&self, settings: &Settings) {
        self.shared.counters.paused.fetch_add(1, Ordering::Relaxed);
        let line = format!("{} worker_connections are not enough", settings.worker_connections);
        settings.error_log.write(Level::Alert, &line);
    }

    /// Counts descriptors that a session takes.
    pub fn take(&self, descriptors: u64) {
        self.connections.fetch_add(descriptors, Ordering::Relaxed);
    }

    /// Counts descriptors that a session gives back, and lets accepting go on if it waits for them.
    pub fn give_back(&self, descriptors: u64) {
        self.connections.fetch_sub(descriptors, Ordering::Relaxed);
        self.room.notify_waiters();
    }
}

impl Shared {
    /// A gateway with an empty plan.
    pub fn new(logs: LogWriter, tls: TlsContext) -> Self {
        Self {
            plan: ArcSwap::default(),
            logs,
            tls,
            draining: AtomicBool::new(false),
            next_session: AtomicU64::new(1),
            counters: Counters::default(),
            tunnels: Arc::default(),
        }
    }

    /// The serial number of the next session, `$connection`.
    pub fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}
