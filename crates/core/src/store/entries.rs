//! The entries of a store: found by key, in the order of their use, and in the order in which their time ends.
//!
//! What an entry takes is counted when it is put. Room is made first from entries whose time is over, then from those
//! that were not used for longest. Nothing here looks at a clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Key, OwnKey, StoreError, Value};

/// What an entry takes beside its key and value: its slot and its places in the tables, which are half empty at worst,
/// and what the allocator adds to each part.
const OVERHEAD: usize = 192;

/// Entries whose time is over that each change clears away, so that they do not pile up.
const SWEEP: usize = 8;

/// Nobody's place.
const NONE: u32 = u32::MAX;

/// Entries within a capacity.
pub(super) struct Entries {
    pub(super) capacity: usize,
    pub(super) used: usize,
    pub(super) evictions: u64,
    last_version: u64,
    tables: Tables,
}

/// Entries and the ways to find them.
#[derive(Default)]
pub(super) struct Tables {
    texts: HashMap<Arc<[u8]>, u32>,
    bytes: HashMap<Arc<[u8]>, u32>,
    slots: Vec<Entry>,
    vacant: Vec<u32>,
    /// By the end of their time.
    expiring: BTreeSet<(u64, u32)>,
    ends: Option<Ends>,
}

/// The entries that were used last and first.
#[derive(Clone, Copy)]
struct Ends {
    newest: u32,
    oldest: u32,
}

/// One entry.
pub(super) struct Entry {
    is_text: bool,
    key: Arc<[u8]>,
    pub(super) value: Value,
    /// Differs after every change.
    pub(super) version: u64,
    /// When its time is over; 0 is never.
    pub(super) expires: u64,
    newer: u32,
    older: u32,
}

/// Where an entry is, as long as nothing is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found(u32);

/// What an entry takes.
pub(super) fn cost(key: &[u8], value: &Value) -> usize {
    OVERHEAD + key.len() + value.extra()
}

impl Entries {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, used: 0, evictions: 0, last_version: 0, tables: Tables::default() }
    }

    /// The entry of a key; one whose time is over is removed.
    pub(super) fn find(&mut self, key: Key<'_>, now: u64) -> Option<Found> {
        let place = *match key {
            Key::Text(text) => self.tables.texts.get(text.as_bytes()),
            Key::Bytes(bytes) => self.tables.bytes.get(bytes),
        }?;
        if is_over(self.tables.slots[place as usize].expires, now) {
            self.remove(Found(place));
            return None;
        }
        Some(Found(place))
    }

    pub(super) fn entry(&self, found: Found) -> &Entry {
        &self.tables.slots[found.0 as usize]
    }

    /// Makes an entry the one that was used last.
    pub(super) fn touch(&mut self, found: Found) {
        if self.tables.ends.is_some_and(|ends| ends.newest != found.0) {
            self.tables.unlink(found.0);
            self.tables.link(found.0);
        }
    }

    /// Puts a value in place of what was found, or as a new entry, and makes room for it.
    pub(super) fn put(
        &mut self,
        (key, found): (Key<'_>, Option<Found>),
        value: Value,
        expires: u64,
        now: u64,
    ) -> Result<(), StoreError> {
        let size = cost(key.bytes(), &value);
        if size > self.capacity {
            return Err(StoreError::TooLarge { size, capacity: self.capacity });
        }
        self.last_version += 1;
        self.used += size;
        match found {
            Some(found) => {
                self.set_expiry(found, expires);
                let entry = &mut self.tables.slots[found.0 as usize];
                self.used -= cost(&entry.key, &entry.value);
                entry.value = value;
                entry.version = self.last_version;
                self.touch(found);
            }
            None => self.tables.insert(key, value, self.last_version, expires),
        }
        self.sweep(SWEEP, now);
        self.make_room(now);
        Ok(())
    }

    pub(super) fn set_expiry(&mut self, found: Found, expires: u64) {
        self.tables.forget_expiry(found.0);
        self.tables.slots[found.0 as usize].expires = expires;
        self.tables.note_expiry(found.0);
    }

    pub(super) fn remove(&mut self, found: Found) -> Entry {
        let entry = self.tables.remove(found.0);
        self.used -= cost(&entry.key, &entry.value);
        entry
    }

    /// Removes at most `most` entries whose time is over.
    pub(super) fn sweep(&mut self, most: usize, now: u64) -> usize {
        (0..most).take_while(|_| self.remove_expired(now)).count()
    }

    pub(super) fn resize(&mut self, capacity: usize, now: u64) {
        self.capacity = capacity;
        self.make_room(now);
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> Tables {
        self.used = 0;
        std::mem::take(&mut self.tables)
    }

    /// Keys in the order of their use.
    pub(super) fn keys(&self, most: usize, now: u64) -> Vec<OwnKey> {
        let slots = &self.tables.slots;
        let mut next = self.tables.ends.map_or(NONE, |ends| ends.newest);
        let order = std::iter::from_fn(|| {
            let entry = slots.get(next as usize)?;
            next = entry.older;
            Some(entry)
        });
        let alive = order.filter(|entry| !is_over(entry.expires, now));
        alive
            .take(most)
            .map(|entry| OwnKey { is_text: entry.is_text, bytes: Arc::clone(&entry.key) })
            .collect()
    }

    /// How many entries there are whose time is not over.
    pub(super) fn len(&self, now: u64) -> usize {
        let all = self.tables.texts.len() + self.tables.bytes.len();
        all - self.tables.expiring.range(..=(now, NONE)).count()
    }

    fn make_room(&mut self, now: u64) {
        while self.used > self.capacity {
            if self.remove_expired(now) {
                continue;
            }
            let Some(ends) = self.tables.ends else { return };
            self.remove(Found(ends.oldest));
            self.evictions += 1;
        }
    }

    /// Removes the entry whose time ended first; false if none has ended.
    fn remove_expired(&mut self, now: u64) -> bool {
        match self.tables.expiring.first() {
            Some((expires, place)) if is_over(*expires, now) => {
                self.remove(Found(*place));
                true
            }
            _ => false,
        }
    }
}

fn is_over(expires: u64, now: u64) -> bool {
    expires > 0 && expires <= now
}

impl Tables {
    fn index(&mut self, is_text: bool) -> &mut HashMap<Arc<[u8]>, u32> {
        if is_text { &mut self.texts } else { &mut self.bytes }
    }

    fn insert(&mut self, key: Key<'_>, value: Value, version: u64, expires: u64) {
        let is_text = matches!(key, Key::Text(_));
        let key: Arc<[u8]> = key.bytes().into();
        let entry =
            Entry { is_text, key: Arc::clone(&key), value, version, expires, newer: NONE, older: NONE };
        let place = if let Some(place) = self.vacant.pop() {
            self.slots[place as usize] = entry;
            place
        } else {
            self.slots.push(entry);
            // Entries of at least OVERHEAD bytes: more of them do not fit into any memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        };
        self.index(is_text).insert(key, place);
        self.link(place);
        self.note_expiry(place);
    }

    fn remove(&mut self, place: u32) -> Entry {
        self.forget_expiry(place);
        self.unlink(place);
        let entry = std::mem::replace(&mut self.slots[place as usize], Entry::vacant());
        self.index(entry.is_text).remove(&entry.key);
        self.vacant.push(place);
        entry
    }

    fn note_expiry(&mut self, place: u32) {
        let expires = self.slots[place as usize].expires;
        if expires > 0 {
            self.expiring.insert((expires, place));
        }
    }

    fn forget_expiry(&mut self, place: u32) {
        let expires = self.slots[place as usize].expires;
        if expires > 0 {
            self.expiring.remove(&(expires, place));
        }
    }

    /// Puts an entry at the end of those that were used last.
    fn link(&mut self, place: u32) {
        let oldest = match self.ends {
            Some(ends) => {
                self.slots[ends.newest as usize].newer = place;
                self.slots[place as usize].older = ends.newest;
                ends.oldest
            }
            None => place,
        };
        self.ends = Some(Ends { newest: place, oldest });
    }

    fn unlink(&mut self, place: u32) {
        let Some(mut ends) = self.ends else { return };
        let entry = &mut self.slots[place as usize];
        let newer = std::mem::replace(&mut entry.newer, NONE);
        let older = std::mem::replace(&mut entry.older, NONE);
        match self.slots.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => ends.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => ends.oldest = newer,
        }
        self.ends = (ends.newest != NONE).then_some(ends);
    }
}

impl Entry {
    fn vacant() -> Self {
        let value = Value::Bool(false);
        Self { is_text: false, key: Arc::default(), value, version: 0, expires: 0, newer: NONE, older: NONE }
    }
}
