//! The tunnels that there are, by name: their carriers, and who keeps them up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use qanat_wire::tunnel_frame::Code;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::carrier::Carrier;
use super::gate::Gates;
use super::identity::NodeKey;
use super::limits::{Limits, TunnelLimits};
use super::mux::CarrierRates;
use super::node::Node;
use super::offers::Offering;
use super::prove::Role;
use super::reconcile::Dialling;
use super::refusals::Refusals;
use super::strangers::Strangers;
use super::tally::Tally;
use crate::clock;
use crate::plan::Plan;

/// All tunnels of a gateway.
#[derive(Default)]
pub struct Tunnels {
    known: Mutex<HashMap<Arc<str>, Arc<Tunnel>>>,
    /// What is configured now: whoever waits for a tunnel may be led to another one.
    plan: Mutex<Weak<Plan>>,
    /// What the carriers that there are have been held against.
    pub(super) node: Mutex<Option<Arc<Node>>>,
    /// Those who are no carriers yet.
    pub(super) strangers: Arc<Strangers>,
    /// A carrier has come, or the plan has changed.
    stirred: Arc<Notify>,
    /// Listeners that refuse while tunnels are down.
    pub(crate) gates: Arc<Gates>,
    pub(super) limits: Arc<Limits>,
    pub(super) offering: Offering,
}

/// A tunnel, up or not.
pub(super) struct Tunnel {
    pub(super) name: Arc<str>,
    state: Mutex<State>,
    /// A carrier has come, or has gone.
    pub(super) changed: Notify,
    /// As those of all tunnels.
    stirred: Arc<Notify>,
    gates: Arc<Gates>,
    /// Somebody wants it up now.
    pub(super) wanted: Notify,
    /// Streams that the other side has open here.
    pub(super) serving: AtomicU64,
    pub(super) counters: Counters,
    /// Its own, and those of all.
    limits: (TunnelLimits, Arc<Limits>),
    pub(super) refusals: Arc<Refusals>,
    pub(super) tally: Arc<Tally>,
}

/// Totals of a tunnel since its name was first heard.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) served: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) carriers: AtomicU64,
    /// How often it came up again after it had been down.
    pub(super) reconnects: AtomicU64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) carriers: Vec<Arc<Carrier>>,
    pub(super) dialling: Option<Dialling>,
    /// What this side's attempts have come to.
    pub(super) progress: Progress,
}

/// How far a tunnel that is not up has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Progress {
    /// This side does not dial.
    #[default]
    Idle,
    /// A connection is being made, and its handshake.
    Connecting,
    /// Waiting for the next attempt, after an error.
    Reconnecting(String),
    /// The other side is not trusted, or does not trust us.
    AuthFailed(String),
    /// The other side has removed the tunnel: it is not dialled before somebody asks for it again.
    Removed,
}

impl Tunnel {
    fn new(name: Arc<str>, tunnels: &Tunnels) -> Self {
        Self {
            name,
            state: Mutex::default(),
            changed: Notify::new(),
            stirred: Arc::clone(&tunnels.stirred),
            gates: Arc::clone(&tunnels.gates),
            wanted: Notify::new(),
            serving: AtomicU64::new(0),
            counters: Counters::default(),
            limits: (TunnelLimits::default(), Arc::clone(&tunnels.limits)),
            refusals: Arc::default(),
            tally: Arc::default(),
        }
    }

    /// Works on its state. Do not wait in it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock())
    }

    /// Whether a carrier with this key and generation may join the ones that were accepted: the name belongs to the node
    /// that this one dials for it, and otherwise to whoever has it up.
    pub(super) fn judge(&self, key: NodeKey, generation: u64) -> Result<(), Code> {
        let state = self.state.lock();
        let pinned = state.dialling.as_ref().and_then(Dialling::pinned);
        if pinned
            .into_iter()
            .chain(state.carriers.iter().map(|present| present.key))
            .any(|owner| owner != key)
        {
            return Err(Code::NameTaken);
        }
        let mut accepted = state.carriers.iter().filter(|carrier| carrier.role == Role::Acceptor);
        if accepted.any(|present| present.generation > generation) { Err(Code::Superseded) } else { Ok(()) }
    }

    /// Adds a carrier. One of an older generation, or the same one dialled again, ends; and so does one of another node
    /// that came while the node that is dialled was not there.
    pub(super) fn join(&self, carrier: &Arc<Carrier>) {
        let (own, all) = &self.limits;
        let rates =
            CarrierRates { tunnel: Arc::clone(&own.rates), peer: Arc::clone(&all.peer(carrier.key).rates) };
        let budgets = (Arc::clone(&own.windows), Arc::clone(all.windows()));
        carrier.with(|mux, _| {
            mux.belong(rates, budgets);
            mux.tally = Arc::clone(&self.tally);
        });
        let is_intruder = |present: &Carrier| {
            (carrier.role, present.role) == (Role::Dialler, Role::Acceptor) && present.key != carrier.key
        };
        let (replaced, was_down): (Vec<_>, _) = self.with(|state| {
            let was_down = state.carriers.is_empty();
            let is_replaced = |present: &Arc<Carrier>| {
                let is_older = present.role == carrier.role
                    && (present.generation != carrier.generation || present.index == carrier.index);
                is_older || is_intruder(present)
            };
            let replaced = state.carriers.iter().filter(|present| is_replaced(present)).cloned().collect();
            state.carriers.retain(|present| !is_replaced(present));
            state.carriers.push(Arc::clone(carrier));
            (replaced, was_down)
        });
        let is_back = self.counters.carriers.fetch_add(1, Relaxed) > 0 && was_down;
        self.counters.reconnects.fetch_add(u64::from(is_back), Relaxed);
        self.gates.note(self);
        self.changed.notify_waiters();
        self.stirred.notify_waiters();
        for present in replaced {
            present.end(if is_intruder(&present) { Code::NameTaken } else { Code::Superseded });
        }
    }

    /// Forgets a carrier that has ended.
    pub(super) fn leave(&self, carrier: &Arc<Carrier>) {
        self.with(|state| state.carriers.retain(|present| !Arc::ptr_eq(present, carrier)));
        self.gates.note(self);
        self.changed.notify_waiters();
    }

    /// A carrier for a new stream, of those that may be used: one of this thread if there is one, or the least busy.
    pub(super) fn pick(&self, may_use: impl Fn(&Carrier) -> bool) -> Option<Arc<Carrier>> {
        let here = thread::current().id();
        let state = self.state.lock();
        let open = || state.carriers.iter().filter(|carrier| carrier.is_open() && may_use(carrier));
        let load = |carrier: &&Arc<Carrier>| carrier.with(|mux, _| (mux.backlog(), mux.count()));
        let nearest = open().filter(|carrier| carrier.thread == here).min_by_key(load);
        nearest.or_else(|| open().min_by_key(load)).cloned()
    }

    /// Ends the carriers of one role, and forgets them.
    pub(super) fn end(&self, role: Role, code: Code) {
        let carriers: Vec<_> = self.with(|state| {
            let (ended, kept) = state.carriers.drain(..).partition(|carrier| carrier.role == role);
            state.carriers = kept;
            ended
        });
        self.gates.note(self);
        for carrier in carriers {
            carrier.end(code);
        }
    }
}

impl Tunnels {
    /// The tunnel of a name, known from now on.
    pub(super) fn get(&self, name: &str) -> Arc<Tunnel> {
        let mut known = self.known.lock();
        if let Some(tunnel) = known.get(name) {
            return Arc::clone(tunnel);
        }
        // Names that came to nothing are forgotten when another one comes.
        known.retain(|_, tunnel| {
            Arc::strong_count(tunnel) > 1 || tunnel.with(|s| !s.carriers.is_empty() || s.dialling.is_some())
        });
        let name: Arc<str> = name.into();
        let tunnel = Arc::new(Tunnel::new(Arc::clone(&name), self));
        known.insert(name, Arc::clone(&tunnel));
        tunnel
    }

    /// Takes note of what is configured now.
    pub(super) fn follow(&self, plan: &Arc<Plan>) {
        *self.plan.lock() = Arc::downgrade(plan);
        self.gates.log_to(&plan.settings.error_log);
        self.stirred.notify_waiters();
    }

    /// The tunnel of a name, if it is known.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Tunnel>> {
        self.known.lock().get(name).cloned()
    }

    /// What is configured now, and what to wait for if it does not lead anywhere.
    pub(super) fn now(&self) -> (Notified<'_>, Option<Arc<Plan>>) {
        let stirred = self.stirred.notified();
        (stirred, self.plan.lock().upgrade())
    }

    /// What is configured now.
    pub(super) fn plan(&self) -> Option<Arc<Plan>> {
        self.plan.lock().upgrade()
    }

    /// All that are known.
    pub(super) fn all(&self) -> Vec<Arc<Tunnel>> {
        let mut all: Vec<_> = self.known.lock().values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Ends a tunnel that the other side has dialled. False if there is none.
    pub fn close(&self, name: &str) -> bool {
        let tunnel = self.known.lock().get(name).cloned();
        let Some(tunnel) = tunnel else { return false };
        let was_up = tunnel.with(|state| state.carriers.iter().any(|carrier| carrier.role == Role::Acceptor));
        tunnel.end(Role::Acceptor, Code::Removed);
        was_up
    }

    /// Resets the streams of a service, on one tunnel or on all: those that this side has opened for a local service,
    /// or those of a remote service that it serves.
    pub fn reset(&self, service: &str, is_local: bool, tunnel: Option<&str>) {
        for one in self.all() {
            if tunnel.is_none_or(|name| *one.name == *name) {
                for carrier in one.with(|state| state.carriers.clone()) {
                    let is_meant = |name: &str, is_ours| name == service && is_ours == is_local;
                    carrier.with(|mux, wakes| mux.reset_streams(Code::Removed, is_meant, wakes));
                }
            }
        }
    }

    /// Somebody asks for a tunnel: if it is not up it is dialled now, also if the other end had removed it.
    pub fn want(&self, name: &str) {
        let tunnel = self.get(name);
        tunnel.with(|state| {
            if state.progress == Progress::Removed {
                state.progress = Progress::Connecting;
            }
        });
        tunnel.wanted.notify_waiters();
    }

    /// Returns once a tunnel is up. Cancel safe.
    pub async fn up(&self, name: &str) {
        let tunnel = self.get(name);
        loop {
            let changed = tunnel.changed.notified();
            if tunnel.with(|state| !state.carriers.is_empty()) {
                return;
            }
            changed.await;
        }
    }

    /// No new streams are opened or taken, on one tunnel or on all; those that there are may end.
    pub fn drain(&self, tunnel: Option<&str>, patience: Duration) {
        for tunnel in self.all().into_iter().filter(|one| tunnel.is_none_or(|name| *one.name == *name)) {
            for carrier in tunnel.with(|state| state.carriers.clone()) {
                carrier.with(|mux, wakes| mux.leave(patience, wakes));
            }
            self.gates.note(&tunnel);
        }
    }

    /// Limits everything as the plan says; who waits for a limit that has changed is looked at again.
    pub(super) fn limit(&self, plan: &Plan) {
        let all = self.all();
        let mut changed = self.limits.follow(plan);
        for tunnel in &all {
            changed |= tunnel.limits.0.set(plan.tunnels.get(&tunnel.name).map(|spec| &**spec));
        }
        if changed {
            for carrier in all.iter().flat_map(|tunnel| tunnel.with(|state| state.carriers.clone())) {
                carrier.with(|mux, wakes| mux.review_limits(clock::now(), wakes));
            }
        }
    }
}
