//! A lookup table in which each member has its share of the slots, filled by turns from a permutation of its own: more
//! even than a ring and found in one step, for a little more movement when the membership changes. The method is that
//! of Maglev (Eisenbud and others, NSDI 2016, section 3.4), with turns in proportion to the weights.

use super::{Member, Method, TooManyPoints};

/// Slots; a prime, so that every permutation reaches all of them. The paper's small size.
const SLOTS: u64 = 65_537;

/// Nobody has this slot yet.
const FREE: u32 = u32::MAX;

/// Maglev hashing.
#[derive(Debug, Default)]
pub struct Maglev {
    slots: Vec<u32>,
}

impl Method for Maglev {
    fn seat(&mut self, _before: &[Member], members: &[Member]) -> Result<(), TooManyPoints> {
        self.slots = fill(members);
        Ok(())
    }

    fn pick(&mut self, members: &[Member], key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let (hash, _) = halves(key);
        let (before, after) = self.slots.split_at_checked(usize::try_from(hash % SLOTS).ok()?)?;
        // Whoever cannot be chosen leaves each of its keys to the owner of a slot further on.
        let around = after.iter().chain(before).map(|index| *index as usize);
        if (0..members.len()).any(is_free) { around.into_iter().find(|index| is_free(*index)) } else { None }
    }
}

/// What a member does while the table is filled.
struct Filler {
    index: u32,
    weight: u64,
    /// The next slot that it wants, and how far the one after is.
    wish: u64,
    skip: u64,
    /// Grows by the weight in each round; a turn costs the largest weight.
    credit: u64,
}

/// The owners of all slots. They do not depend on the order of the members.
fn fill(members: &[Member]) -> Vec<u32> {
    let mut fillers: Vec<_> = (0..).zip(members).filter(|(_, one)| one.weight > 0).collect();
    fillers.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    let mut fillers: Vec<Filler> =
        fillers.into_iter().map(|(index, member)| Filler::new(index, member)).collect();
    let Some(most) = fillers.iter().map(|filler| filler.weight).max() else { return Vec::new() };
    let mut slots = vec![FREE; usize::try_from(SLOTS).unwrap_or(0)];
    let mut left = slots.len();
    while left > 0 {
        for filler in &mut fillers {
            filler.credit += filler.weight;
            if filler.credit >= most && left > 0 {
                filler.credit -= most;
                filler.take_slot(&mut slots);
                left -= 1;
            }
        }
    }
    slots
}

impl Filler {
    fn new(index: u32, member: &Member) -> Self {
        let (offset, skip) = halves(member.name.as_bytes());
        let weight = u64::from(member.weight);
        Self { index, weight, wish: offset % SLOTS, skip: skip % (SLOTS - 1) + 1, credit: 0 }
    }

    /// Takes the first free slot of its permutation; there is one.
    fn take_slot(&mut self, slots: &mut [u32]) {
        loop {
            let slot = usize::try_from(self.wish).ok().and_then(|wish| slots.get_mut(wish));
            self.wish = (self.wish + self.skip) % SLOTS;
            match slot {
                Some(slot) if *slot != FREE => {}
                Some(slot) => {
                    *slot = self.index;
                    return;
                }
                None => return,
            }
        }
    }
}

/// Two hashes that are the same everywhere and for all time: gateways of a fleet have to agree.
fn halves(data: &[u8]) -> (u64, u64) {
    let digest = u128::from_le_bytes(md5::compute(data).0);
    #[allow(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
    let halves = (digest as u64, (digest >> 64) as u64);
    halves
}
