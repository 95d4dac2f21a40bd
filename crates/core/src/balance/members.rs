//! Balancing for handlers: choices among members that the caller names, without the state of an upstream.

use crate::balance::ketama::Points;

/// A ring of members: the same key leads to the same member, and a change of membership moves few keys. Places keys
/// where nginx's `hash KEY consistent` does.
pub struct HashRing<T> {
    points: Points<usize>,
    members: Vec<T>,
}

impl<T> HashRing<T> {
    /// Places members by their names, `HOST:PORT`, each with its weight.
    pub fn new<'a>(members: impl Iterator<Item = (&'a str, u32, T)>) -> Self {
        let (mut places, mut kept) = (Vec::new(), Vec::new());
        for (index, (name, weight, member)) in members.enumerate() {
            places.push((name, i64::from(weight), index));
            kept.push(member);
        }
        Self { points: Points::new(places.into_iter()), members: kept }
    }

    /// The member that a key belongs to, or the next one that is not to be skipped.
    pub fn pick(&self, key: &[u8], skip: impl Fn(&T) -> bool) -> Option<&T> {
        self.points.around(key).filter_map(|index| self.members.get(*index)).find(|member| !skip(member))
    }
}

/// Members that take turns, smoothly by their weights, as nginx's round robin has it.
pub struct Rotation<T> {
    members: Vec<Turn<T>>,
}

struct Turn<T> {
    member: T,
    weight: i64,
    current: i64,
}

impl<T> Rotation<T> {
    /// A rotation that begins with the heaviest member, the first of equals.
    pub fn new(members: impl Iterator<Item = (u32, T)>) -> Self {
        let turn = |(weight, member)| Turn { member, weight: i64::from(weight), current: 0 };
        Self { members: members.map(turn).collect() }
    }

    /// The member whose turn it is among those that are not to be skipped.
    pub fn pick(&mut self, skip: impl Fn(&T) -> bool) -> Option<&T> {
        let mut best: Option<&mut Turn<T>> = None;
        let mut total = 0;
        for turn in self.members.iter_mut().filter(|turn| !skip(&turn.member)) {
            turn.current += turn.weight;
            total += turn.weight;
            if best.as_ref().is_none_or(|best| turn.current > best.current) {
                best = Some(turn);
            }
        }
        let best = best?;
        best.current -= total;
        Some(&best.member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_smooth() {
        let mut rotation = Rotation::new([(5, 'a'), (1, 'b'), (1, 'c')].into_iter());
        let turns: String = (0..7).filter_map(|_| rotation.pick(|_| false).copied()).collect();
        assert_eq!(turns, "aabacaa");
    }

    #[test]
    fn a_skipped_member_has_no_turn() {
        let mut rotation = Rotation::new([(1, 'a'), (1, 'b')].into_iter());
        let turns: String = (0..3).filter_map(|_| rotation.pick(|member| *member == 'a').copied()).collect();
        assert_eq!(turns, "bbb");
        assert_eq!(rotation.pick(|_| true), None);
    }

    #[test]
    fn a_member_that_goes_moves_only_its_own_keys() {
        let names = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"];
        let ring = |count| HashRing::new(names.iter().take(count).map(|name| (*name, 1, *name)));
        let (all, two) = (ring(3), ring(2));
        let mut moved = 0;
        for number in 0..3000 {
            let key = format!("dev-{number}").into_bytes();
            let (before, after) = (all.pick(&key, |_| false), two.pick(&key, |_| false));
            assert_eq!(after, all.pick(&key, |member| *member == names[2]));
            if before == Some(&names[2]) {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((700..1300).contains(&moved), "{moved}");
    }
}
