//! A ring of points: the same key leads to the same member, and a member that comes or goes moves only its own share
//! of the keys.

use super::{Member, Method, TooManyPoints, ketama};
use crate::balance::ketama::Points;

/// Points that all members together may have: 80 MB of them.
pub(super) const MAX_POINTS: u64 = 10_000_000;

/// How members and keys are placed on a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// As nginx's `hash KEY consistent` does, by crc32.
    Nginx,
    /// As libketama does, by MD5; there the points of a member depend on its share of all weights.
    Ketama,
}

/// Consistent hashing.
pub struct Ring {
    placement: Placement,
    points_per_weight: u32,
    points: Points<u32>,
}

impl Ring {
    /// A ring of so many points for each unit of weight.
    pub fn new(placement: Placement, points_per_weight: u32) -> Self {
        Self { placement, points_per_weight, points: Points::default() }
    }
}

impl Method for Ring {
    fn seat(&mut self, _before: &[Member], members: &[Member]) -> Result<(), TooManyPoints> {
        let units: u64 = match self.placement {
            Placement::Nginx => members.iter().map(|member| u64::from(member.weight)).sum(),
            Placement::Ketama => members.len() as u64,
        };
        let count = units.saturating_mul(self.points_per_weight.into());
        if count > MAX_POINTS {
            return Err(TooManyPoints(count));
        }
        self.points = match self.placement {
            Placement::Nginx => {
                let places =
                    (0..).zip(members).map(|(index, member)| (&*member.name, member.weight.into(), index));
                Points::new(places, self.points_per_weight.into())
            }
            Placement::Ketama => Points::sorted(ketama::place(members, self.points_per_weight)),
        };
        Ok(())
    }

    fn pick(&mut self, members: &[Member], key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let hash = match self.placement {
            Placement::Nginx => crc32fast::hash(key),
            Placement::Ketama => ketama::hash(key),
        };
        let around = self.points.around(hash).map(|index| *index as usize);
        // All around the ring there may be millions of points of members that cannot be chosen.
        if (0..members.len()).any(is_free) { around.into_iter().find(|index| is_free(*index)) } else { None }
    }
}
