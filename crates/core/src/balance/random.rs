//! By chance in proportion to the weights; or two by chance, of which the one with fewer connections for its weight.

use std::cmp::Ordering;

use super::{Dice, MAX_MISSES, least_conn, round_robin};
use crate::upstream::{Group, Tries};

/// Where the share of each peer ends, on a line as long as the total weight.
pub(crate) struct Ranges {
    ends: Vec<i64>,
}

impl Ranges {
    /// Lays out the peers of a group.
    pub(super) fn new(group: &Group) -> Self {
        let mut end = 0;
        let ends = group.peers().iter().map(|peer| {
            end += peer.weight;
            end
        });
        Self { ends: ends.collect() }
    }

    /// Chooses by chance.
    pub(super) fn pick(&self, group: &Group, tries: &mut Tries, now: u64, dice: &mut Dice) -> Option<usize> {
        while tries.misses <= MAX_MISSES {
            let index = self.throw(dice)?;
            if group.is_usable(index, tries, now) {
                return Some(index);
            }
            tries.misses += 1;
        }
        round_robin::pick(group, tries, now)
    }

    /// Chooses two different peers by chance and of them the one with less load, the second if equal.
    pub(super) fn pick_of_two(
        &self,
        group: &Group,
        tries: &mut Tries,
        now: u64,
        dice: &mut Dice,
    ) -> Option<usize> {
        let mut first = None;
        while tries.misses <= MAX_MISSES {
            let index = self.throw(dice)?;
            if first == Some(index) || !group.is_usable(index, tries, now) {
                tries.misses += 1;
                continue;
            }
            match first {
                None => first = Some(index),
                Some(first) if least_conn::compare_load(group, index, first) == Ordering::Greater => {
                    return Some(first);
                }
                Some(_) => return Some(index),
            }
        }
        round_robin::pick(group, tries, now)
    }

    fn throw(&self, dice: &mut Dice) -> Option<usize> {
        let place = dice.below(*self.ends.last()?);
        Some(self.ends.partition_point(|end| *end <= place))
    }
}
