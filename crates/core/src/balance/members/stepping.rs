//! Turns by weight in rounds, the classic weighted round robin: of 5, 1 and 1, `aaaaabc`. A round goes through all
//! members that still have a share at its level; the levels go down from the largest weight in steps of the greatest
//! common divisor. Choosing costs next to nothing however many members there are.

use super::{Member, Method, TooManyPoints};

/// Classic weighted turns.
#[derive(Debug, Default)]
pub struct Stepping {
    /// The member that comes next.
    next: usize,
    /// Members of at least this weight take part in the present round.
    level: u32,
    step: u32,
}

impl Stepping {
    /// The next member of the present round.
    fn find(&self, members: &[Member], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        (self.next..members.len()).find(|index| members[*index].weight >= self.level && is_free(*index))
    }

    /// Begins a round at the next level that anybody can take part in; false if nobody can.
    fn begin_round(&mut self, members: &[Member], is_free: &dyn Fn(usize) -> bool) -> bool {
        let free = members.iter().enumerate().filter(|(index, _)| is_free(*index));
        let Some(most) = free.map(|(_, member)| member.weight).max() else { return false };
        self.next = 0;
        self.level = match self.level.saturating_sub(self.step) {
            0 => most,
            lower => lower.min(most),
        };
        true
    }
}

impl Method for Stepping {
    /// The turn goes on behind the member that had the last one, if it stays.
    fn seat(&mut self, before: &[Member], members: &[Member]) -> Result<(), TooManyPoints> {
        let last = self.next.checked_sub(1).and_then(|last| before.get(last));
        let place = last.and_then(|last| members.iter().position(|member| member.name == last.name));
        self.next = place.map_or(0, |place| place + 1);
        self.step = members.iter().map(|member| member.weight).fold(0, gcd);
        let most = members.iter().map(|member| member.weight).max().unwrap_or(0);
        // A level is a multiple of the step.
        self.level = match self.level.min(most).checked_div(self.step) {
            Some(levels) if levels > 0 && place.is_some() => levels * self.step,
            _ => most,
        };
        Ok(())
    }

    fn pick(&mut self, members: &[Member], _key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let index = match self.find(members, is_free) {
            Some(index) => index,
            None if self.begin_round(members, is_free) => self.find(members, is_free)?,
            None => return None,
        };
        self.next = index + 1;
        Some(index)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
