//! The associations of one listener on one worker: found by key, by token, and by the time at which they expire.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::clock::Instant;
use crate::udp::association::Association;

/// What makes two datagrams belong to one session: the client, and what it addressed (before redirection, if any).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    client: u128,
    local: u128,
    ports: u32,
    /// Interface of a link-local client.
    scope: u32,
}

impl Key {
    pub(super) fn new(client: SocketAddr, local: SocketAddr) -> Self {
        let scope = if let SocketAddr::V6(v6) = client { v6.scope_id() } else { 0 };
        let ports = u32::from(client.port()) << 16 | u32::from(local.port());
        Self { client: bits(client.ip()), local: bits(local.ip()), ports, scope }
    }
}

/// IPv4 in its mapped form; a listener sees one form or the other, never both.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// All associations.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<Box<Association>>>,
    free: Vec<u32>,
    keys: HashMap<Key, u32>,
    /// One entry for each: a time at which it may have expired, not later than the true one.
    deadlines: BTreeSet<(Instant, u32)>,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.keys.get(key).copied()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Association> {
        self.slots.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn indices(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(index, _)| index).collect()
    }

    /// Reserves the index of the next association.
    pub(super) fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Gives a reserved index back.
    pub(super) fn release(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Puts an association at its reserved index.
    pub(super) fn insert(&mut self, index: u32, mut association: Association) {
        let due = association.expires();
        association.due = due;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            self.keys.insert(association.key, index);
            self.deadlines.insert((due, index));
            *slot = Some(Box::new(association));
        }
    }

    /// Frees the key: the client's next datagram begins a new session.
    pub(super) fn unlist(&mut self, index: u32) {
        let Some(association) = self.slots.get(index as usize).and_then(Option::as_deref) else { return };
        if self.keys.get(&association.key) == Some(&index) {
            self.keys.remove(&association.key);
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Association>> {
        self.unlist(index);
        let association = self.slots.get_mut(index as usize)?.take()?;
        self.deadlines.remove(&(association.due, index));
        self.free.push(index);
        Some(association)
    }

    /// The earliest time at which one may have expired.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// The next one that has expired at `now`. Those that were active meanwhile are given their new deadline.
    pub(super) fn next_expired(&mut self, now: Instant) -> Option<u32> {
        while let Some(&(due, index)) = self.deadlines.first() {
            if due > now {
                return None;
            }
            let association = self.slots.get_mut(index as usize)?.as_deref_mut()?;
            let expires = association.expires();
            if expires <= now {
                return Some(index);
            }
            association.due = expires;
            self.deadlines.remove(&(due, index));
            self.deadlines.insert((expires, index));
        }
        None
    }
}
