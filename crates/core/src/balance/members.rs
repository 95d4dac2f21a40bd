//! Balancing for handlers: choices among members that the caller names, without the state of an upstream. A method is
//! a file here; it learns of the members as a whole, and chooses one of those that are not to be passed over.

mod ketama;
mod least;
mod maglev;
mod random_two;
mod ring;
mod smooth;
mod stepping;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::balance::load::Load;

pub use self::least::Least;
pub use self::maglev::Maglev;
pub use self::random_two::RandomTwo;
pub use self::ring::{Placement, Ring};
pub use self::smooth::Smooth;
pub use self::stepping::Stepping;

/// What a method knows of a member.
#[derive(Clone, Debug)]
pub struct Member {
    /// `HOST:PORT`, or `unix:/PATH`: no two members have the same.
    pub name: Arc<str>,
    /// Its share. A member of weight 0 is never chosen.
    pub weight: u32,
    /// The sessions that are open through it.
    pub load: Arc<Load>,
}

impl Member {
    /// Sessions over weight, compared without division.
    fn compare_load(&self, other: &Self) -> Ordering {
        let (here, there) = (u64::from(self.load.open()), u64::from(other.load.open()));
        (here * u64::from(other.weight)).cmp(&(there * u64::from(self.weight)))
    }
}

/// A way to choose.
pub trait Method: Send {
    /// Takes up a membership; `before` is the former one.
    ///
    /// # Errors
    /// If it would take more memory than is sensible; nothing has changed then.
    fn seat(&mut self, before: &[Member], members: &[Member]) -> Result<(), TooManyPoints>;

    /// Chooses the index of a member for which `is_free` holds; methods without a key ignore it.
    fn pick(&mut self, members: &[Member], key: &[u8], is_free: &dyn Fn(usize) -> bool) -> Option<usize>;
}

/// Weights that add up to more points than a ring may have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the weights make {0} points on the ring, more than {limit}", limit = ring::MAX_POINTS)]
pub struct TooManyPoints(pub u64);

/// Members and how one of them is chosen.
pub struct Roster {
    members: Vec<Member>,
    method: Box<dyn Method>,
}

impl Roster {
    /// A roster without members.
    pub fn new(method: Box<dyn Method>) -> Self {
        Self { members: Vec::new(), method }
    }

    /// The members, as they were given.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Puts other members in place of the present ones.
    ///
    /// # Errors
    /// See [`Method::seat`]; nothing has changed then.
    pub fn replace(&mut self, members: Vec<Member>) -> Result<(), TooManyPoints> {
        self.method.seat(&self.members, &members)?;
        self.members = members;
        Ok(())
    }

    /// The index of the member that the method chooses among those that have a weight and are not to be skipped.
    pub fn pick(&mut self, key: &[u8], skip: impl Fn(&Member) -> bool) -> Option<usize> {
        let members = &self.members;
        let is_free = |index: usize| members.get(index).is_some_and(|one| one.weight > 0 && !skip(one));
        self.method.pick(members, key, &is_free)
    }
}

/// Where each member was in the former membership.
fn former_places(before: &[Member], members: &[Member]) -> Vec<Option<usize>> {
    let known: std::collections::HashMap<&str, usize> =
        before.iter().enumerate().map(|(index, member)| (&*member.name, index)).collect();
    members.iter().map(|member| known.get(&*member.name).copied()).collect()
}
