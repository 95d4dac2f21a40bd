//! What a change of the plan does to tunnels. Carriers that are still wanted and allowed go on, and learn what has
//! changed; those that lead elsewhere serve until others are up; whoever is no longer trusted is sent away at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use qanat_plan as spec;
use qanat_wire::tunnel_frame::Code;
use tokio::task::AbortHandle;

use super::carrier::Carrier;
use super::dial;
use super::handshake::Trust;
use super::identity::NodeKey;
use super::node::Node;
use super::prove::Role;
use super::registry::{Progress, State, Tunnel, Tunnels};
use super::retire::retire;
use crate::gateway::worker::Thread;
use crate::plan::Plan;

/// How long streams may take to end once their tunnel leads elsewhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// What keeps a tunnel up.
pub(super) struct Dialling {
    spec: Arc<spec::Tunnel>,
    node: Arc<Node>,
    keepers: Vec<Keeper>,
}

impl Dialling {
    /// The key that the other end must have, if it is known.
    pub(super) fn pinned(&self) -> Option<NodeKey> {
        match self.node.trust(&self.spec)? {
            Trust::Key(key) => Some(key),
            Trust::Secret(_) => None,
        }
    }
}

/// A task that keeps one carrier up.
pub(super) struct Keeper {
    pub(super) index: u8,
    pub(super) task: AbortHandle,
    pub(super) is_retired: Arc<AtomicBool>,
}

impl Tunnels {
    /// Keeps up what the plan says, and nothing else.
    pub fn reconcile(&self, plan: &Arc<Plan>, threads: &[Thread]) {
        self.follow(plan);
        let kept: Vec<_> = plan.tunnels.iter().map(|(name, spec)| (self.get(name), spec)).collect();
        self.limit(plan);
        let node = plan.settings.tunnels.as_ref();
        for tunnel in self.all() {
            if node.is_none() || !plan.tunnels.contains_key(&tunnel.name) {
                tunnel.stop_dialling();
            }
        }
        self.review(node);
        let Some(node) = node else { return };
        for (tunnel, spec) in kept {
            tunnel.keep_up(spec, node, threads);
        }
    }

    /// Holds the carriers that others have dialled against settings that have changed.
    fn review(&self, node: Option<&Arc<Node>>) {
        let before = std::mem::replace(&mut *self.node.lock(), node.cloned());
        if before.as_ref().map(Arc::as_ptr) == node.map(Arc::as_ptr) {
            return;
        }
        for tunnel in self.all() {
            for carrier in carriers(&tunnel, Role::Acceptor) {
                let admits = |node: &Arc<Node>| node.still_admits(&carrier.trust, carrier.key, &tunnel.name);
                match node.filter(|node| admits(node)) {
                    Some(node) => carrier.set_heartbeat(node.heartbeat()),
                    None => carrier.end(Code::Forbidden),
                }
            }
        }
    }

    /// Whether a carrier that others have dialled may stay, now that its handshake is over.
    pub(super) fn still_admits(&self, carrier: &Carrier) -> bool {
        let node = self.node.lock();
        node.as_ref().is_some_and(|node| node.still_admits(&carrier.trust, carrier.key, &carrier.tunnel))
    }
}

impl Tunnel {
    /// Where to dial now, and as whom; none if nobody keeps it up.
    pub(super) fn aim(&self) -> Option<(Arc<spec::Tunnel>, Arc<Node>)> {
        self.with(|state| state.dialling.as_ref().map(|now| (Arc::clone(&now.spec), Arc::clone(&now.node))))
    }

    /// Ends the carriers of this side whose other end is no longer trusted; the others learn what has changed.
    pub(super) fn review_dialled(&self) {
        let Some((_, node)) = self.aim() else { return };
        for carrier in carriers(self, Role::Dialler) {
            if node.believes(&carrier.trust) {
                carrier.set_heartbeat(node.heartbeat());
            } else {
                carrier.end(Code::Forbidden);
            }
        }
    }

    /// Dials as the plan says now.
    fn keep_up(self: &Arc<Self>, spec: &Arc<spec::Tunnel>, node: &Arc<Node>, threads: &[Thread]) {
        let Some(first) = threads.first() else { return };
        let is_same = |now: &Dialling| now.spec == *spec && Arc::ptr_eq(&now.node, node);
        if self.with(|state| state.dialling.as_ref().is_some_and(is_same)) {
            return;
        }
        let wanted = usize::from(node.spec.carriers.max(1));
        let (old, present, surplus) = self.with(|state| {
            let old = state.dialling.take_if(|now| now.leads_elsewhere(spec, node));
            let mut keepers = state.dialling.take().map(|now| now.keepers).unwrap_or_default();
            let surplus = keepers.split_off(wanted.min(keepers.len()));
            if keepers.is_empty() {
                state.progress = Progress::Idle;
            }
            let present = keepers.len();
            state.dialling = Some(Dialling { spec: Arc::clone(spec), node: Arc::clone(node), keepers });
            (old, present, surplus)
        });
        self.review_dialled();
        // Threads take turns.
        for (number, thread) in (0..wanted).zip(threads.iter().cycle()).skip(present) {
            self.begin(thread, number == 0);
        }
        if let Some(old) = old {
            let patience = old.is_moved(spec).then_some(PATIENCE);
            first.runtime.spawn(retire(Arc::clone(self), old.keepers, patience));
        }
        if !surplus.is_empty() {
            first.runtime.spawn(retire(Arc::clone(self), surplus, None));
        }
    }

    /// Begins to keep one more carrier up.
    fn begin(self: &Arc<Self>, thread: &Thread, is_leader: bool) {
        let is_retired = Arc::new(AtomicBool::new(false));
        self.with(|state| {
            let index = state.free_index();
            let (tunnel, told) = (Arc::clone(self), Arc::clone(&is_retired));
            let order = dial::Order { tunnel, index, is_leader, is_retired: told };
            let task = thread.runtime.spawn(dial::keep(Arc::clone(&thread.worker), order)).abort_handle();
            if let Some(now) = &mut state.dialling {
                now.keepers.push(Keeper { index, task, is_retired });
            }
        });
    }

    /// Nobody keeps it up any more.
    fn stop_dialling(&self) {
        let dialling = self.with(|state| {
            state.progress = Progress::Idle;
            state.dialling.take()
        });
        if let Some(dialling) = dialling {
            dialling.keepers.iter().for_each(|keeper| keeper.task.abort());
            self.end(Role::Dialler, Code::Removed);
        }
    }
}

impl State {
    /// An index that no carrier of this side has; with all of them taken the first carrier is replaced.
    fn free_index(&self) -> u8 {
        let kept = self.dialling.iter().flat_map(|now| &now.keepers).map(|keeper| keeper.index);
        let dialled = self.carriers.iter().filter(|one| one.role == Role::Dialler).map(|one| one.index);
        let taken: HashSet<_> = kept.chain(dialled).collect();
        (0..=u8::MAX).find(|index| !taken.contains(index)).unwrap_or_default()
    }
}

impl Dialling {
    /// Whether carriers that are made now would have another end, or another proof, than those that there are.
    fn leads_elsewhere(&self, spec: &spec::Tunnel, node: &Node) -> bool {
        self.is_moved(spec)
            || self.node.trust(&self.spec) != node.trust(spec)
            || self.node.identity.key != node.identity.key
            || self.node.spec.generation != node.spec.generation
    }

    fn is_moved(&self, spec: &spec::Tunnel) -> bool {
        self.spec.dial != spec.dial || self.spec.peer != spec.peer
    }
}

/// The carriers of one role.
fn carriers(tunnel: &Tunnel, role: Role) -> Vec<Arc<Carrier>> {
    tunnel.with(|state| state.carriers.iter().filter(|carrier| carrier.role == role).cloned().collect())
}
