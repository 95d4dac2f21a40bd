//! Turns by weight, spread evenly, as nginx's round robin has them: of 5, 1 and 1, `aabacaa`.

use super::{Member, Method, TooManyPoints, former_places};

/// Smooth weighted turns.
#[derive(Debug, Default)]
pub struct Smooth {
    current: Vec<i64>,
}

impl Smooth {
    /// Lets one of those take its turn for which `is_free` holds.
    pub(super) fn turn(&mut self, members: &[Member], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for (index, member) in members.iter().enumerate().filter(|(index, _)| is_free(*index)) {
            let weight = i64::from(member.weight);
            self.current[index] += weight;
            total += weight;
            if best.is_none_or(|best| self.current[index] > self.current[best]) {
                best = Some(index);
            }
        }
        self.current[best?] -= total;
        best
    }
}

impl Method for Smooth {
    /// Members that stay keep their place in the sequence, so that frequent changes favour nobody.
    fn seat(&mut self, before: &[Member], members: &[Member]) -> Result<(), TooManyPoints> {
        let total: i64 = members.iter().map(|member| i64::from(member.weight)).sum();
        let places = former_places(before, members);
        let kept = members.iter().zip(places).map(|(member, place)| match place {
            // Another weight begins anew: what was owed at the old one may be out of proportion.
            Some(place) if before[place].weight == member.weight => self.current[place].clamp(-total, total),
            _ => 0,
        });
        self.current = kept.collect();
        Ok(())
    }

    fn pick(&mut self, members: &[Member], _key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        self.turn(members, is_free)
    }
}
