//! Two by chance, in proportion to the weights, of which the one with fewer open sessions for its weight: nearly as
//! even as the fewest of all, and not a herd that runs to one member.

use std::cmp::Ordering;

use super::{Member, Method, TooManyPoints};
use crate::balance::Dice;

/// Power of two choices.
pub struct RandomTwo {
    dice: Dice,
}

impl RandomTwo {
    /// With a seed of its own.
    pub fn new() -> Self {
        Self { dice: Dice::new() }
    }

    /// One of those for which `is_free` holds, by chance.
    fn throw(&mut self, members: &[Member], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let free = || members.iter().enumerate().filter(|(index, _)| is_free(*index));
        let total: i64 = free().map(|(_, member)| i64::from(member.weight)).sum();
        let mut place = self.dice.below(total);
        let covers = |(_, member): &(usize, &Member)| {
            place -= i64::from(member.weight);
            place < 0
        };
        free().find(covers).map(|(index, _)| index)
    }
}

impl Default for RandomTwo {
    fn default() -> Self {
        Self::new()
    }
}

impl Method for RandomTwo {
    fn seat(&mut self, _before: &[Member], _members: &[Member]) -> Result<(), TooManyPoints> {
        Ok(())
    }

    fn pick(&mut self, members: &[Member], _key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let first = self.throw(members, is_free)?;
        let Some(second) = self.throw(members, &|index| index != first && is_free(index)) else {
            return Some(first);
        };
        let is_better = members[second].compare_load(&members[first]) == Ordering::Less;
        Some(if is_better { second } else { first })
    }
}
