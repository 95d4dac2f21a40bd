//! An upstream at run time: its peers, how one is chosen, and what became of earlier choices.
//!
//! All workers share one state per upstream. A lock is held while a peer is chosen or judged, for some dozens of
//! instructions and never across an await; an upstream with a single peer needs none.

mod group;
mod peer;
mod picked;
mod snapshot;

use std::sync::Arc;

use parking_lot::Mutex;
use qanat_plan as spec;
use smallvec::{SmallVec, smallvec};

pub(crate) use self::group::Group;
use self::peer::Carried;
pub(crate) use self::peer::Peer;
pub use self::picked::Picked;
pub use self::snapshot::{Health, PeerSnapshot};
use crate::address::Address;
use crate::balance::{Dice, Method};
use crate::clock::{self, Instant};
use crate::phase::call::Choice;
use crate::phase::{Chain, Phase};
use crate::plan::link::LinkError;
use crate::session::Session;
use crate::session::template::Template;

/// A linked upstream. All workers share its state; a changed upstream takes over the state of the peers it keeps.
pub struct Upstream {
    /// Its description.
    pub spec: Arc<spec::Upstream>,
    /// What chooses instead, in Python.
    pub handler: Option<Chain>,
    method: Method,
    key: Option<Template>,
    /// Some peers are services at the other ends of tunnels.
    is_tunnelled: bool,
    primary: Group,
    backup: Group,
    turn: Arc<Mutex<Dice>>,
    since: Instant,
}

/// What one session has tried so far.
#[derive(Default)]
pub struct Tries {
    tried: SmallVec<[u64; 1]>,
    key: Option<Vec<u8>>,
    /// The primary group is exhausted: indices speak of the backups.
    pub(crate) on_backup: bool,
    /// Choices by hash or chance that hit a peer which cannot be used.
    pub(crate) misses: u32,
    /// Hashes of the key made so far, and their sum or their place on the ring.
    pub(crate) rehashes: u32,
    pub(crate) hash: Option<u32>,
    /// Peers to be passed over as long as there are others.
    away: Option<Box<Away>>,
}

/// Peers that say themselves that they do not have what is asked for, by group.
#[derive(Default)]
struct Away {
    primary: Vec<bool>,
    backup: Vec<bool>,
    /// Nobody else is left: now they are the ones that are tried, and only they.
    is_turned: bool,
}

impl Upstream {
    /// Links an upstream, taking over the state of the same peers in `previous`.
    ///
    /// # Errors
    /// An address that cannot be parsed, an unknown variable in a hash key.
    pub fn link(spec: &spec::Upstream, previous: Option<&Self>) -> Result<Self, LinkError> {
        let mut carried = Carried::new(previous.into_iter().flat_map(Self::peers));
        let (mut primary, mut backup) = (Vec::new(), Vec::new());
        for peer in &spec.peers {
            let group = if peer.backup { &mut backup } else { &mut primary };
            group.push(Peer::link(peer, &mut carried)?);
        }
        let key = match &spec.balance {
            spec::Balance::Hash { key, .. } => Some(Template::link(key)),
            _ => None,
        };
        let primary = Group::new(primary);
        Ok(Self {
            is_tunnelled: spec.peers.iter().any(|peer| peer.address.starts_with("tunnel:")),
            spec: Arc::new(spec.clone()),
            handler: Chain::link(Phase::Balance, spec.handler.as_slice()),
            method: Method::link(&spec.balance, &primary),
            key: key.transpose().map_err(|message| LinkError::new("balance.key", message))?,
            primary,
            backup: Group::new(backup),
            turn: previous.map_or_else(|| Arc::new(Mutex::new(Dice::new())), |old| Arc::clone(&old.turn)),
            since: previous.map_or_else(clock::now, |old| old.since),
        })
    }

    /// Chooses a peer that this session has not tried; none if nobody is left.
    pub fn pick(&self, session: &mut Session, tries: &mut Tries) -> Option<Picked> {
        if let Some(only) = self.single() {
            return self.take_single(only, tries);
        }
        let key = self.key.as_ref().map(|template| {
            tries.key.take().unwrap_or_else(|| {
                let mut key = Vec::new();
                template.render(session, &mut key);
                key
            })
        });
        if self.is_tunnelled && tries.away.is_none() {
            tries.away = self.away(session);
        }
        let now = clock::now();
        let mut picked = self.choose(key.as_deref().unwrap_or_default(), tries, now);
        if picked.is_none() && tries.turn_to_away() {
            picked = self.choose(key.as_deref().unwrap_or_default(), tries, now);
        }
        tries.key = key;
        picked
    }

    /// The peers whose tunnel is up and does not have the service.
    fn away(&self, session: &Session) -> Option<Box<Away>> {
        let tunnels = session.plan.tunnel_registry.as_ref()?;
        let is_away = |peer: &Peer| match &peer.address {
            Address::Tunnel(address) => tunnels.is_away(address),
            _ => false,
        };
        let of = |group: &Group| group.peers().iter().map(is_away).collect();
        Some(Box::new(Away { primary: of(&self.primary), backup: of(&self.backup), is_turned: false }))
    }

    /// As [`Self::pick`], for a hash key that is known and a given time.
    pub fn choose(&self, key: &[u8], tries: &mut Tries, now: Instant) -> Option<Picked> {
        if let Some(only) = self.single() {
            return self.take_single(only, tries);
        }
        let now = self.moment(now);
        let mut dice = self.turn.lock();
        if !tries.on_backup {
            if let Some(index) = self.method.pick(&self.primary, key, tries, now, &mut dice) {
                return Some(self.take(&self.primary, index, tries, now));
            }
            tries.move_to_backup();
        }
        let index = self.method.pick_backup(&self.backup, tries, now)?;
        Some(self.take(&self.backup, index, tries, now))
    }

    /// The peer that a handler chose. If it is one of this upstream, its connections and failures are counted there.
    pub(crate) fn pick_chosen(&self, choice: &Arc<Choice>) -> Picked {
        let groups = [&self.primary, &self.backup];
        let known = groups.iter().flat_map(|group| group.peers()).find(|peer| peer.address == choice.address);
        let Some(peer) = known else {
            let stranger = Picked::stranger(choice.address.clone(), Arc::clone(&choice.text), self.since);
            return stranger.with_choice(choice);
        };
        let _turn = self.turn.lock();
        peer.state.begin(self.moment(clock::now()), peer.fail_timeout_ms);
        Picked::new(peer, Some(Arc::clone(&self.turn)), self.since).with_choice(choice)
    }

    /// How many attempts a session has at most: peers that are not `down`, backups included.
    pub fn attempts(&self) -> usize {
        self.peers().filter(|peer| !peer.down).count()
    }

    /// The state of every peer at this moment, in order of configuration, backups last.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        let now = self.moment(clock::now());
        let _turn = self.turn.lock();
        let primary = self.primary.peers().iter().map(|peer| PeerSnapshot::of(peer, false, now));
        let backup = self.backup.peers().iter().map(|peer| PeerSnapshot::of(peer, true, now));
        primary.chain(backup).collect()
    }

    /// The only peer, if there is just one and no backup: it is never judged, as there is nobody else to ask.
    fn single(&self) -> Option<&Peer> {
        match self.primary.peers() {
            [only] if self.backup.peers().is_empty() => Some(only),
            _ => None,
        }
    }

    fn take_single(&self, only: &Peer, tries: &mut Tries) -> Option<Picked> {
        if only.down || tries.has_tried(0) || !only.state.begin_within(only.max_conns) {
            return None;
        }
        tries.mark(0);
        Some(Picked::new(only, None, self.since))
    }

    /// Books the choice. Called with the turn held.
    fn take(&self, group: &Group, index: usize, tries: &mut Tries, now: u64) -> Picked {
        let peer = &group.peers()[index];
        peer.state.begin(now, peer.fail_timeout_ms);
        tries.mark(index);
        Picked::new(peer, Some(Arc::clone(&self.turn)), self.since)
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.primary.peers().iter().chain(self.backup.peers())
    }

    fn moment(&self, now: Instant) -> u64 {
        peer::moment(self.since, now)
    }
}

impl Tries {
    /// Whether the peer at `index` of the present group was tried.
    pub(crate) fn has_tried(&self, index: usize) -> bool {
        self.tried.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Whether the peer at `index` of the present group is not to be chosen in this round.
    pub(crate) fn is_away(&self, index: usize) -> bool {
        self.away.as_ref().is_some_and(|away| {
            let group = if self.on_backup { &away.backup } else { &away.primary };
            group.get(index).copied().unwrap_or_default() != away.is_turned
        })
    }

    /// Begins the round of those that were passed over; false if there are none, or it has begun before.
    fn turn_to_away(&mut self) -> bool {
        let Some(away) = self.away.as_mut().filter(|away| !away.is_turned) else { return false };
        away.is_turned = true;
        self.on_backup = false;
        self.tried = smallvec![];
        self.misses = 0;
        self.away.as_ref().is_some_and(|away| away.primary.contains(&true) || away.backup.contains(&true))
    }

    fn mark(&mut self, index: usize) {
        if self.tried.len() <= index / 64 {
            self.tried.resize(index / 64 + 1, 0);
        }
        self.tried[index / 64] |= 1 << (index % 64);
    }

    fn move_to_backup(&mut self) {
        self.on_backup = true;
        self.tried = smallvec![];
    }
}
