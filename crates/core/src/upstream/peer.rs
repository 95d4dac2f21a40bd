//! A peer and what is remembered of it. The state outlives a change of the upstream, and is read without the turn by
//! snapshots and by the end of a connection, hence atomics; everything else is written only with the turn held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use qanat_plan as spec;

use crate::address::Address;
use crate::clock::Instant;
use crate::plan::link::LinkError;

/// A linked peer.
pub(crate) struct Peer {
    pub(crate) server: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) address: Address,
    pub(crate) weight: i64,
    pub(crate) max_conns: u32,
    pub(crate) max_fails: u32,
    pub(crate) fail_timeout_ms: u64,
    pub(crate) down: bool,
    pub(crate) state: Arc<PeerState>,
}

/// What is remembered of a peer. Moments are milliseconds since the upstream was first linked, plus one; 0 is never.
pub(crate) struct PeerState {
    current_weight: AtomicI64,
    effective_weight: AtomicI64,
    fails: AtomicU32,
    accessed: AtomicU64,
    checked: AtomicU64,
    active: AtomicU32,
    selected: AtomicU64,
}

/// `now` as peers remember it.
pub(crate) fn moment(since: Instant, now: Instant) -> u64 {
    let elapsed = now.saturating_duration_since(since).as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

impl Peer {
    pub(crate) fn link(spec: &spec::Peer, carried: &mut Carried) -> Result<Self, LinkError> {
        let address = Address::parse(&spec.address)
            .ok_or_else(|| LinkError::new("peers", format!("invalid address \"{}\"", spec.address)))?;
        let weight = i64::from(spec.weight.max(1));
        Ok(Self {
            server: spec.server.as_str().into(),
            name: spec.address.as_str().into(),
            address,
            weight,
            max_conns: spec.max_conns,
            max_fails: spec.max_fails,
            fail_timeout_ms: spec.fail_timeout_ms,
            down: spec.down,
            state: carried.take(&spec.server, &spec.address, weight),
        })
    }

    /// Whether it failed too often of late. The session that finds it so no longer is the one probe of this period.
    pub(crate) fn is_unavailable(&self, now: u64) -> bool {
        self.max_fails > 0
            && self.state.fails.load(Relaxed) >= self.max_fails
            && !self.state.is_due(now, self.fail_timeout_ms)
    }

    /// Whether it has as many connections as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.max_conns > 0 && self.state.active() >= self.max_conns
    }

    /// Adds its effective weight to the running one, lets the effective one recover by one step, and returns both:
    /// the running weight, and what was added.
    pub(crate) fn advance(&self) -> (i64, i64) {
        let effective = self.state.effective_weight.load(Relaxed);
        let current = self.state.current_weight.load(Relaxed) + effective;
        self.state.current_weight.store(current, Relaxed);
        if effective < self.weight {
            self.state.effective_weight.store(effective + 1, Relaxed);
        }
        (current, effective)
    }
}

impl PeerState {
    fn new(weight: i64) -> Self {
        Self {
            current_weight: AtomicI64::new(0),
            effective_weight: AtomicI64::new(weight),
            fails: AtomicU32::new(0),
            accessed: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            active: AtomicU32::new(0),
            selected: AtomicU64::new(0),
        }
    }

    /// The running weight of the smooth round robin.
    pub(crate) fn current_weight(&self) -> i64 {
        self.current_weight.load(Relaxed)
    }

    /// Takes the round's total from the peer that won it.
    pub(crate) fn pay(&self, total: i64) {
        self.current_weight.store(self.current_weight() - total, Relaxed);
    }

    /// Connections that are open or being opened.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Failures that count now.
    pub(crate) fn fails(&self) -> u32 {
        self.fails.load(Relaxed)
    }

    /// How often it was chosen.
    pub(crate) fn selected(&self) -> u64 {
        self.selected.load(Relaxed)
    }

    /// Counts a connection unless `max_conns` (0 is no limit) are there. Needs no turn.
    pub(crate) fn begin_within(&self, max_conns: u32) -> bool {
        if self.active.fetch_add(1, Relaxed) >= max_conns && max_conns > 0 {
            self.end();
            return false;
        }
        self.selected.fetch_add(1, Relaxed);
        true
    }

    /// Counts a connection, and starts a new period if the last one is over.
    pub(crate) fn begin(&self, now: u64, fail_timeout_ms: u64) {
        self.active.fetch_add(1, Relaxed);
        self.selected.fetch_add(1, Relaxed);
        if self.is_due(now, fail_timeout_ms) {
            self.checked.store(now, Relaxed);
        }
    }

    /// Ends what [`Self::begin`] counted.
    pub(crate) fn end(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// A connection succeeded. Clears failures only if a period has passed since the last one: within it they add up.
    pub(crate) fn succeed(&self) {
        if self.accessed.load(Relaxed) < self.checked.load(Relaxed) {
            self.fails.store(0, Relaxed);
        }
    }

    /// A connection failed. True if that makes the peer unavailable.
    pub(crate) fn fail(&self, now: u64, weight: i64, max_fails: u32) -> bool {
        let fails = self.fails().saturating_add(1);
        self.fails.store(fails, Relaxed);
        self.accessed.store(now, Relaxed);
        self.checked.store(now, Relaxed);
        if max_fails == 0 {
            return false;
        }
        let effective = self.effective_weight.load(Relaxed) - weight / i64::from(max_fails);
        self.effective_weight.store(effective.max(0), Relaxed);
        fails >= max_fails
    }

    fn is_due(&self, now: u64, fail_timeout_ms: u64) -> bool {
        let checked = self.checked.load(Relaxed);
        checked == 0 || now.saturating_sub(checked) > fail_timeout_ms
    }
}

/// Server as written, and address: what makes a peer the same one.
type Identity = (Arc<str>, Arc<str>);

/// States of the peers of a previous upstream, to be taken over by the same peers of the next.
pub(crate) struct Carried {
    states: HashMap<Identity, VecDeque<(i64, Arc<PeerState>)>>,
}

impl Carried {
    pub(crate) fn new<'a>(peers: impl Iterator<Item = &'a Peer>) -> Self {
        let mut states: HashMap<_, VecDeque<_>> = HashMap::new();
        for peer in peers {
            let same = states.entry((Arc::clone(&peer.server), Arc::clone(&peer.name))).or_default();
            same.push_back((peer.weight, Arc::clone(&peer.state)));
        }
        Self { states }
    }

    /// The state of this server and address, each once, or a fresh one. Another weight starts anew at full weight.
    fn take(&mut self, server: &str, address: &str, weight: i64) -> Arc<PeerState> {
        let key = (server.into(), address.into());
        let Some((old_weight, state)) = self.states.get_mut(&key).and_then(VecDeque::pop_front) else {
            return Arc::new(PeerState::new(weight));
        };
        if old_weight != weight {
            state.effective_weight.store(weight, Relaxed);
        }
        state
    }
}
