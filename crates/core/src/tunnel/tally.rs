//! What came of streams and handshakes, counted by reason and by the time that it took.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use qanat_wire::tunnel_frame::Code;
use serde::Serialize;

/// Upper bounds of the buckets of times, in microseconds.
const BOUNDS_US: [u64; 11] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// Totals of a tunnel.
#[derive(Default)]
pub(super) struct Tally {
    /// Streams of the other side that this one has refused.
    pub(super) refused: Reasons,
    /// Streams of this side that were refused.
    pub(super) rejected: Reasons,
    /// Streams of either side that have broken.
    pub(super) reset: Reasons,
    /// From an OPEN to its answer.
    pub(super) opening: Times,
    /// From a connection to a carrier.
    pub(super) handshakes: Times,
}

/// Totals of a service, of one kind.
#[derive(Default)]
pub(super) struct ServiceTally {
    /// Streams that this side has opened, or served.
    pub(super) streams: AtomicU64,
    /// Streams that were refused, by this side for a remote service, by the other one for a local service.
    pub(super) refused: Reasons,
}

/// A count for each reason.
pub(super) struct Reasons([AtomicU64; Code::ALL.len()]);

/// A count for each of some lengths of time.
#[derive(Default)]
pub(super) struct Times {
    buckets: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
    most_us: AtomicU64,
}

/// Times at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct TimesSnapshot {
    /// How many there were.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
    /// How many took no longer than so many microseconds.
    pub buckets: Vec<(u64, u64)>,
}

/// A service at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceSnapshot {
    /// `KIND:NAME`.
    pub id: String,
    /// Streams that were opened for a local one, or served for a remote one.
    pub streams: u64,
    /// Streams that were refused, by reason.
    pub refused_by: BTreeMap<&'static str, u64>,
}

impl Default for Reasons {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Reasons {
    /// One more.
    pub(super) fn count(&self, code: Code) {
        if let Some(count) = self.0.get(code as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Those that there were, by name.
    pub(super) fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        let counts = Code::ALL.iter().zip(&self.0).map(|(code, count)| (code.name(), count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Times {
    /// Something took so long.
    pub(super) fn note(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(time, Relaxed);
        self.most_us.fetch_max(time, Relaxed);
        let index = BOUNDS_US.partition_point(|bound| *bound < time);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// What they are at this moment.
    pub(super) fn snapshot(&self) -> TimesSnapshot {
        let mut below = 0;
        let buckets = BOUNDS_US.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Relaxed);
            (*bound, below)
        });
        TimesSnapshot {
            buckets: buckets.collect(),
            count: self.count.load(Relaxed),
            sum_us: self.sum_us.load(Relaxed),
            max_us: self.most_us.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qanat_wire::tunnel_frame::Code;

    use super::{Reasons, Times};

    #[test]
    fn only_reasons_that_there_were_are_shown() {
        let reasons = Reasons::default();
        reasons.count(Code::Forbidden);
        reasons.count(Code::Forbidden);
        reasons.count(Code::Stopping);
        assert_eq!(reasons.snapshot().into_iter().collect::<Vec<_>>(), [("forbidden", 2), ("stopping", 1)]);
    }

    #[test]
    fn a_bucket_counts_all_that_took_no_longer() {
        let times = Times::default();
        for milliseconds in [1, 3, 60_000] {
            times.note(Duration::from_millis(milliseconds));
        }
        let seen = times.snapshot();
        assert_eq!((seen.count, seen.sum_us, seen.max_us), (3, 60_004_000, 60_000_000));
        assert_eq!(seen.buckets[..4], [(500, 0), (1_000, 1), (2_500, 1), (5_000, 2)]);
        assert_eq!(seen.buckets.last(), Some(&(5_000_000, 2)));
    }
}
