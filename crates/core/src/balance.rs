//! Balancing methods, each a file of the same shape: `pick` returns the index of a usable peer of a group, or none.
//! The order of picks is nginx's, so that a configuration that moves here spreads its sessions as before.

mod dice;
mod hash;
mod ketama;
mod least_conn;
pub mod load;
pub mod members;
mod random;
mod round_robin;

use qanat_plan::Balance;

pub(crate) use self::dice::Dice;
use self::ketama::Ring;
use self::random::Ranges;
use crate::upstream::{Group, Tries};

/// Choices by hash or chance that may miss before round robin decides.
const MAX_MISSES: u32 = 20;

/// A linked balancing method.
pub(crate) enum Method {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest connections for the weight.
    LeastConn,
    /// By hash of a key, modulo the total weight.
    Hash,
    /// By hash of a key, on a ring.
    Ketama(Ring),
    /// By chance.
    Random(Ranges),
    /// The better of two by chance.
    RandomTwo(Ranges),
}

impl Method {
    /// Makes ready what the method needs to know of the group.
    pub(crate) fn link(balance: &Balance, group: &Group) -> Self {
        match balance {
            Balance::RoundRobin {} => Self::RoundRobin,
            Balance::LeastConn {} => Self::LeastConn,
            Balance::Hash { consistent: false, .. } => Self::Hash,
            Balance::Hash { consistent: true, .. } => Self::Ketama(Ring::new(group)),
            Balance::Random { two: false } => Self::Random(Ranges::new(group)),
            Balance::Random { two: true } => Self::RandomTwo(Ranges::new(group)),
        }
    }

    /// Chooses a primary peer.
    pub(crate) fn pick(
        &self,
        group: &Group,
        key: &[u8],
        tries: &mut Tries,
        now: u64,
        dice: &mut Dice,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin => round_robin::pick(group, tries, now),
            Self::LeastConn => least_conn::pick(group, tries, now),
            Self::Hash => hash::pick(group, key, tries, now),
            Self::Ketama(ring) => ring.pick(group, key, tries, now),
            Self::Random(ranges) => ranges.pick(group, tries, now, dice),
            Self::RandomTwo(ranges) => ranges.pick_of_two(group, tries, now, dice),
        }
    }

    /// Chooses a backup peer.
    pub(crate) fn pick_backup(&self, group: &Group, tries: &Tries, now: u64) -> Option<usize> {
        match self {
            Self::LeastConn => least_conn::pick(group, tries, now),
            _ => round_robin::pick(group, tries, now),
        }
    }
}
