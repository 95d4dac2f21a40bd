//! Token buckets: so many bytes a second, and a short burst above that.
//!
//! A bucket has no clock of its own, and may be shared by carriers of several threads. Whoever finds it empty takes a
//! ticket, and goes when the bytes of all tickets before it have had their time: so nobody is overtaken for ever. A
//! change of the rate makes all tickets void; their holders ask again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use qanat_wire::tunnel_frame::MAX_PAYLOAD;

use crate::clock::{self, Instant};

const SECOND: u128 = 1_000_000_000;
/// A burst is what the rate gives in a tenth of a second, and at least one frame.
const BURSTS: u64 = 10;
/// What waits for tokens comes back for what the rate gives in a fiftieth of a second.
const GRAINS: u64 = 50;
/// Less is not worth a frame, if there is more to send.
const LEAST_GRAIN: u64 = 512;

/// A limit of bytes a second; 0 is none.
#[derive(Debug)]
pub(in super::super) struct Bucket {
    rate: AtomicU64,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Bytes that were ever promised to somebody.
    promised: u64,
    /// Bytes that may have gone by the time `at`, counted alike; at most a burst more.
    allowed: u64,
    at: Instant,
    /// How often the rate has changed.
    epoch: u64,
}

/// A promise of bytes, for later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    until: u64,
    epoch: u64,
}

/// Whether a ticket's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Instant),
    /// The rate has changed since: another ticket is needed.
    Void,
}

/// Bytes of a bucket that may go now. What is not spent goes back.
#[derive(Debug)]
pub(super) struct Grant {
    bucket: Arc<Bucket>,
    bytes: usize,
}

impl Default for Bucket {
    /// No limit.
    fn default() -> Self {
        let level = Level { promised: 0, allowed: 0, at: clock::now(), epoch: 0 };
        Self { rate: AtomicU64::new(0), level: Mutex::new(level) }
    }
}

impl Bucket {
    /// Bytes a second; 0 is no limit.
    pub(in super::super) fn rate(&self) -> u64 {
        self.rate.load(Relaxed)
    }

    /// Changes the rate; true if it was another one.
    pub(in super::super) fn set_rate(&self, rate: u64, now: Instant) -> bool {
        if self.rate() == rate {
            return false;
        }
        let mut level = self.level.lock();
        let present = self.rate();
        level.settle(present, now);
        let free = if present == 0 { burst(rate) } else { level.free().min(burst(rate)) };
        level.allowed = level.promised + free;
        level.at = now;
        level.epoch += 1;
        self.rate.store(rate, Relaxed);
        true
    }

    /// What is worth waiting for, of `wanted` bytes.
    pub(super) fn grain(&self, wanted: usize) -> usize {
        let grain = (self.rate() / GRAINS).max(LEAST_GRAIN);
        wanted.min(usize::try_from(grain).unwrap_or(usize::MAX)).min(MAX_PAYLOAD)
    }

    /// Takes up to `wanted` bytes, none if fewer than `least` may go now.
    pub(super) fn take(&self, wanted: usize, least: usize, now: Instant) -> usize {
        if self.rate() == 0 {
            return wanted;
        }
        let mut level = self.level.lock();
        level.settle(self.rate(), now);
        let free = usize::try_from(level.free()).unwrap_or(usize::MAX);
        if free < least {
            return 0;
        }
        let taken = wanted.min(free);
        level.promised += taken as u64;
        taken
    }

    /// Promises bytes.
    pub(super) fn reserve(&self, bytes: usize, now: Instant) -> Ticket {
        let mut level = self.level.lock();
        level.settle(self.rate(), now);
        level.promised += bytes as u64;
        Ticket { until: level.promised, epoch: level.epoch }
    }

    /// Whether what was promised may go.
    pub(super) fn turn(&self, ticket: Ticket, now: Instant) -> Turn {
        let mut level = self.level.lock();
        let rate = self.rate();
        level.settle(rate, now);
        if ticket.epoch != level.epoch {
            return Turn::Void;
        }
        let missing = ticket.until.saturating_sub(level.allowed);
        if missing == 0 || rate == 0 {
            return Turn::Now;
        }
        Turn::At(level.at + time_of(missing, rate))
    }

    /// Gives back bytes whose time has come, and which did not go.
    fn refund(&self, bytes: usize) {
        let rate = self.rate();
        if rate > 0 && bytes > 0 {
            let mut level = self.level.lock();
            level.allowed = (level.allowed + bytes as u64).min(level.promised + burst(rate));
        }
    }
}

impl Level {
    /// Counts the time that has passed.
    fn settle(&mut self, rate: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let gained = u64::try_from(u128::from(rate) * passed / SECOND).unwrap_or(u64::MAX);
        if gained > 0 {
            // What is left of the time is counted next time.
            self.at = (self.at + time_of(gained, rate)).min(now);
            self.allowed = self.allowed.saturating_add(gained).min(self.promised + burst(rate));
        }
    }

    /// Bytes that nobody was promised.
    fn free(&self) -> u64 {
        self.allowed.saturating_sub(self.promised)
    }
}

impl Grant {
    pub(super) fn new(bucket: &Arc<Bucket>, bytes: usize) -> Self {
        Self { bucket: Arc::clone(bucket), bytes }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many of the bytes have gone.
    pub(super) fn spend(mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.bucket.refund(self.bytes);
    }
}

/// The most that may go at once after a silence.
pub(super) fn burst(rate: u64) -> u64 {
    (rate / BURSTS).max(MAX_PAYLOAD as u64)
}

/// How long bytes take, rounded up.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanoseconds = (u128::from(bytes) * SECOND).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
