//! Shared dictionaries: small values under keys, for all handlers of the process, in a memory that is bounded.
//!
//! A store is opened by name and stays until the process ends, so what is in it outlives a reload. All operations are
//! atomic: one lock is held for the moment of each. That also makes the order of use exact, by which entries are
//! evicted; sharding would give it up for a contention that handlers, which share a thread, do not have. Time is
//! always given, so that tests need not wait for it.

mod entries;
mod value;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use self::entries::Entries;
pub use self::value::{Number, Value};
use crate::clock::{self, Instant};

/// The size of a store unless another one is asked for.
pub const DEFAULT_SIZE: usize = 64 * 1024 * 1024;

/// A store has room for some entries at least.
pub const MIN_SIZE: usize = 4096;

/// A key is not longer than this.
pub const MAX_KEY: usize = 65_535;

static STORES: LazyLock<Mutex<HashMap<String, Arc<Store>>>> = LazyLock::new(Mutex::default);

/// A dictionary with a name.
pub struct Store {
    born: Instant,
    entries: Mutex<Entries>,
}

/// A key: text and bytes are different keys, as in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
}

/// A key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnKey {
    /// Whether it is UTF-8.
    pub is_text: bool,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// Why something cannot be done. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key is empty or too long.
    #[error("a key has 1 to {MAX_KEY} bytes, not {0}")]
    Key(usize),
    /// An entry that is larger than the whole store.
    #[error("an entry of {size} bytes does not fit into {capacity}")]
    TooLarge {
        /// What it would take.
        size: usize,
        /// What there is.
        capacity: usize,
    },
    /// Nothing is there.
    #[error("no such key")]
    NotFound,
    /// What is there cannot be counted up.
    #[error("the value is not a number")]
    NotANumber,
    /// A whole number of more than 64 bits.
    #[error("the sum has more than 64 bits")]
    Overflow,
}

/// How an entry is put into a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whatever is there.
    Set,
    /// If nothing is there.
    Add,
    /// If something is there.
    Replace,
    /// If what is there is of this version.
    Version(u64),
}

impl Store {
    /// The store of this name. It is made if there is none; one of another size is resized if a size is given.
    pub fn open(name: &str, size: Option<usize>) -> Arc<Self> {
        let mut stores = STORES.lock();
        if let Some(store) = stores.get(name) {
            let store = Arc::clone(store);
            drop(stores);
            if let Some(size) = size {
                store.resize(size, clock::now());
            }
            return store;
        }
        let store = Arc::new(Self::new(size.unwrap_or(DEFAULT_SIZE), clock::now()));
        stores.insert(name.to_owned(), Arc::clone(&store));
        store
    }

    /// A store without a name, of `size` bytes, at least [`MIN_SIZE`].
    pub fn new(size: usize, now: Instant) -> Self {
        Self { born: now, entries: Mutex::new(Entries::new(size.max(MIN_SIZE))) }
    }

    /// What an entry takes: key, value, and its own overhead.
    pub fn cost(key: Key<'_>, value: &Value) -> usize {
        entries::cost(key.bytes(), value)
    }

    /// Changes the size. What has no room any more is evicted.
    pub fn resize(&self, size: usize, now: Instant) {
        let (mut entries, now) = self.at(now);
        entries.resize(size.max(MIN_SIZE), now);
    }

    /// Looks at a value and its version, which makes it the last one to be evicted. `read` runs with the store locked.
    pub fn read<R>(&self, key: Key<'_>, now: Instant, read: impl FnOnce(&Value, u64) -> R) -> Option<R> {
        let (mut entries, now) = self.at(now);
        let found = entries.find(key, now)?;
        entries.touch(found);
        let entry = entries.entry(found);
        Some(read(&entry.value, entry.version))
    }

    /// Whether a key is there.
    pub fn contains(&self, key: Key<'_>, now: Instant) -> bool {
        let (mut entries, now) = self.at(now);
        entries.find(key, now).is_some()
    }

    /// Puts a value, which lasts for `ttl`, or until it is evicted. False if `mode` does not allow it.
    ///
    /// # Errors
    /// A bad key; a value that is too large; [`StoreError::NotFound`] if there is nothing to compare a version with.
    pub fn put(
        &self,
        key: Key<'_>,
        value: Value,
        ttl: Option<Duration>,
        mode: Mode,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let (mut entries, now) = self.at(now);
        key.check()?;
        let found = entries.find(key, now);
        let is_allowed = match (mode, found) {
            (Mode::Set, _) => true,
            (Mode::Add, found) => found.is_none(),
            (Mode::Replace, found) => found.is_some(),
            (Mode::Version(_), None) => return Err(StoreError::NotFound),
            (Mode::Version(version), Some(found)) => entries.entry(found).version == version,
        };
        if is_allowed {
            entries.put((key, found), value, deadline(now, ttl), now)?;
        }
        Ok(is_allowed)
    }

    /// Adds to a number and returns the sum. If nothing is there, `initial` is, for `ttl`; otherwise the entry keeps
    /// its time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without `initial`, [`StoreError::NotANumber`], [`StoreError::Overflow`]; as for
    /// [`Self::put`].
    pub fn incr(
        &self,
        key: Key<'_>,
        by: Number,
        initial: Option<(Number, Option<Duration>)>,
        now: Instant,
    ) -> Result<Number, StoreError> {
        let (mut entries, now) = self.at(now);
        key.check()?;
        let found = entries.find(key, now);
        let (before, expires) = match (found, initial) {
            (Some(found), _) => {
                let entry = entries.entry(found);
                (entry.value.number().ok_or(StoreError::NotANumber)?, entry.expires)
            }
            (None, Some((initial, ttl))) => (initial, deadline(now, ttl)),
            (None, None) => return Err(StoreError::NotFound),
        };
        let sum = before.plus(by).ok_or(StoreError::Overflow)?;
        entries.put((key, found), sum.into(), expires, now)?;
        Ok(sum)
    }

    /// Takes a value out.
    pub fn take(&self, key: Key<'_>, now: Instant) -> Option<Value> {
        let (mut entries, now) = self.at(now);
        let found = entries.find(key, now)?;
        let entry = entries.remove(found);
        drop(entries);
        Some(entry.value)
    }

    /// Gives an entry another time to live; none is for ever. False if there is none.
    pub fn expire(&self, key: Key<'_>, ttl: Option<Duration>, now: Instant) -> bool {
        let (mut entries, now) = self.at(now);
        let Some(found) = entries.find(key, now) else { return false };
        entries.set_expiry(found, deadline(now, ttl));
        true
    }

    /// How long an entry lasts; none inside is for ever.
    pub fn ttl(&self, key: Key<'_>, now: Instant) -> Option<Option<Duration>> {
        let (mut entries, now) = self.at(now);
        let found = entries.find(key, now)?;
        let expires = entries.entry(found).expires;
        Some((expires > 0).then(|| Duration::from_micros(expires - now)))
    }

    /// Keys, those used last first, at most `most`.
    pub fn keys(&self, most: usize, now: Instant) -> Vec<OwnKey> {
        let (entries, now) = self.at(now);
        entries.keys(most, now)
    }

    /// How many entries there are.
    pub fn len(&self, now: Instant) -> usize {
        let (entries, now) = self.at(now);
        entries.len(now)
    }

    /// Removes everything.
    pub fn clear(&self) {
        let mut entries = self.entries.lock();
        let former = entries.clear();
        drop(entries);
        // It may take a while to free.
        drop(former);
    }

    /// Removes at most `most` entries whose time is over; returns how many.
    pub fn flush_expired(&self, most: usize, now: Instant) -> usize {
        let (mut entries, now) = self.at(now);
        entries.sweep(most, now)
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.entries.lock().capacity
    }

    /// How many of them are taken.
    pub fn used(&self) -> usize {
        self.entries.lock().used
    }

    /// How many entries had to go before their time, to make room.
    pub fn evictions(&self) -> u64 {
        self.entries.lock().evictions
    }

    /// The entries, and `now` in microseconds since the store was made, plus one: 0 is never.
    fn at(&self, now: Instant) -> (MutexGuard<'_, Entries>, u64) {
        let micros = now.saturating_duration_since(self.born).as_micros();
        (self.entries.lock(), u64::try_from(micros).unwrap_or(u64::MAX - 1).saturating_add(1))
    }
}

impl Key<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }

    fn check(self) -> Result<(), StoreError> {
        match self.bytes().len() {
            1..=MAX_KEY => Ok(()),
            length => Err(StoreError::Key(length)),
        }
    }
}

/// When something of this time to live ends; 0 is never.
fn deadline(now: u64, ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| now.saturating_add(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX).max(1)))
}
