//! The fewest open sessions in proportion to the weight; equals take turns.

use std::cmp::Ordering;

use super::{Member, Method, Smooth, TooManyPoints};

/// Fewest open sessions.
#[derive(Debug, Default)]
pub struct Least {
    turns: Smooth,
}

impl Method for Least {
    fn seat(&mut self, before: &[Member], members: &[Member]) -> Result<(), TooManyPoints> {
        self.turns.seat(before, members)
    }

    fn pick(&mut self, members: &[Member], _key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let free = (0..members.len()).filter(|index| is_free(*index));
        let least = free.min_by(|a, b| members[*a].compare_load(&members[*b]))?;
        let least = &members[least];
        let is_equal = |index| is_free(index) && members[index].compare_load(least) == Ordering::Equal;
        // A session that ended meanwhile may have left nobody who is equal.
        self.turns.turn(members, &is_equal).or_else(|| self.turns.turn(members, is_free))
    }
}
