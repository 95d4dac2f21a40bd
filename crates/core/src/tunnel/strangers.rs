//! Who connects to the tunnel listener and has proved nothing yet: how many there may be, and what becomes of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::handshake::Failure;
use crate::clock::{self, Instant};

/// Handshakes that may be under way: strangers must not use up the memory.
const MOST: usize = 1024;
/// Those of one address, or of one /64 of IPv6, which one host may have as a whole: one cannot take the places of all.
const MOST_OF_ONE: usize = 64;
/// Lines about strangers in a row, and how soon there may be one more: they must not fill the disk.
const LINES: u32 = 20;
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Handshakes that others have begun.
#[derive(Default)]
pub(super) struct Strangers {
    present: Mutex<Present>,
    counters: Counters,
    quota: Mutex<Quota>,
}

#[derive(Default)]
struct Present {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Counters {
    succeeded: AtomicU64,
    crowded: AtomicU64,
    crowded_address: AtomicU64,
    not_tls: AtomicU64,
    not_trusted: AtomicU64,
    refused: AtomicU64,
    version: AtomicU64,
    protocol: AtomicU64,
    timed_out: AtomicU64,
}

/// What has become of the handshakes that others have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HandshakesSnapshot {
    /// That are under way.
    pub under_way: u64,
    /// That a carrier, or an answer to a trial, came of.
    pub succeeded: u64,
    /// Closed at once: too many were under way.
    pub crowded: u64,
    /// Closed at once: too many of the same address were under way.
    pub crowded_address: u64,
    /// That broke in TLS, or were broken off.
    pub not_tls: u64,
    /// Whose secret or key is not known here.
    pub not_trusted: u64,
    /// That were told why: the name is taken, or not allowed to them.
    pub refused: u64,
    /// Without a version in common.
    pub version: u64,
    /// That said something out of place.
    pub protocol: u64,
    /// That took too long.
    pub timed_out: u64,
}

/// Why somebody is not heard at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Crowd {
    /// All together.
    #[error("too many handshakes")]
    All,
    /// Of this address.
    #[error("too many handshakes of this address")]
    OfOne,
}

/// A handshake under way, as long as it lives.
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    address: IpAddr,
}

impl Strangers {
    /// Lets somebody try.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Stranger, Crowd> {
        let address = host_of(address);
        let mut present = self.present.lock();
        if present.count >= MOST {
            self.counters.crowded.fetch_add(1, Relaxed);
            return Err(Crowd::All);
        }
        let of_one = present.by_address.entry(address).or_default();
        if *of_one >= MOST_OF_ONE {
            self.counters.crowded_address.fetch_add(1, Relaxed);
            return Err(Crowd::OfOne);
        }
        *of_one += 1;
        present.count += 1;
        drop(present);
        Ok(Stranger { strangers: Arc::clone(self), address })
    }

    /// Counts how a handshake ended.
    pub(super) fn count<T>(&self, outcome: &Result<T, Failure>) {
        let counters = &self.counters;
        let counter = match outcome {
            Ok(_) => &counters.succeeded,
            Err(Failure::Connect(_) | Failure::Tls(_)) => &counters.not_tls,
            Err(Failure::Auth) => &counters.not_trusted,
            Err(Failure::Refused(_)) => &counters.refused,
            Err(Failure::Version(_)) => &counters.version,
            Err(Failure::Protocol(_)) => &counters.protocol,
            Err(Failure::TimedOut) => &counters.timed_out,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A line about a stranger, if there may be one; it says how many there were not.
    pub(super) fn line(&self, text: &str) -> Option<String> {
        let left_out = self.quota.lock().take(clock::now())?;
        Some(match left_out {
            0 => format!("tunnel listener: {text}"),
            more => format!("tunnel listener: {text} ({more} more like this were not logged)"),
        })
    }

    pub(super) fn snapshot(&self) -> HandshakesSnapshot {
        let counters = &self.counters;
        HandshakesSnapshot {
            under_way: self.present.lock().count as u64,
            succeeded: counters.succeeded.load(Relaxed),
            crowded: counters.crowded.load(Relaxed),
            crowded_address: counters.crowded_address.load(Relaxed),
            not_tls: counters.not_tls.load(Relaxed),
            not_trusted: counters.not_trusted.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            version: counters.version.load(Relaxed),
            protocol: counters.protocol.load(Relaxed),
            timed_out: counters.timed_out.load(Relaxed),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut present = self.strangers.present.lock();
        present.count = present.count.saturating_sub(1);
        if let Some(of_one) = present.by_address.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                present.by_address.remove(&self.address);
            }
        }
    }
}

/// How many lines there may be, and how many there could not be.
#[derive(Default)]
struct Quota {
    /// Lines since it was last full, less those that time has given back.
    used: u32,
    refilled: Option<Instant>,
    left_out: u64,
}

impl Quota {
    /// One line; gives how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let refilled = *self.refilled.get_or_insert(now);
        let regained = now.duration_since(refilled).as_secs() / LINE_INTERVAL.as_secs();
        if regained > 0 {
            self.used = self.used.saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX));
            self.refilled = Some(now);
        }
        if self.used >= LINES {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// What one host has: an address, or a /64 of IPv6.
fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit_all(strangers: &Arc<Strangers>, address: &str, count: usize) -> Vec<Stranger> {
        let address = address.parse().unwrap();
        (0..count).map_while(|_| strangers.admit(address).ok()).collect()
    }

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let strangers = Arc::default();
        let crowd = admit_all(&strangers, "192.0.2.1", MOST);
        assert_eq!(crowd.len(), MOST_OF_ONE);
        assert_eq!(admit_all(&strangers, "192.0.2.2", 1).len(), 1);
        drop(crowd);
        assert_eq!(admit_all(&strangers, "192.0.2.1", 1).len(), 1);
        let seen = strangers.snapshot();
        assert_eq!((seen.crowded_address, seen.crowded, seen.under_way), (1, 0, 0));
        assert!(strangers.present.lock().by_address.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_count_as_one() {
        let strangers = Arc::default();
        let crowd: Vec<_> =
            (0..100).flat_map(|number| admit_all(&strangers, &format!("2001:db8::{number}"), 1)).collect();
        assert_eq!(crowd.len(), MOST_OF_ONE);
        assert_eq!(admit_all(&strangers, "2001:db8:0:1::1", 1).len(), 1);
    }

    #[test]
    fn there_is_a_limit_for_all_together() {
        let strangers = Arc::default();
        let address = |number| format!("192.0.{}.{}", number / 256, number % 256);
        let crowd: Vec<_> =
            (0..MOST + 7).flat_map(|number| admit_all(&strangers, &address(number), 1)).collect();
        assert_eq!(crowd.len(), MOST);
        assert_eq!(strangers.snapshot().crowded, 7);
    }

    #[test]
    fn lines_about_strangers_are_limited_and_tell_how_many_are_missing() {
        let (mut quota, began) = (Quota::default(), clock::now());
        let lines = (0..1000).filter(|_| quota.take(began).is_some()).count();
        assert_eq!(lines, LINES as usize);
        assert_eq!(quota.take(began + LINE_INTERVAL), Some(1000 - u64::from(LINES)));
        assert_eq!(quota.take(began + LINE_INTERVAL), None);
        assert_eq!(quota.take(began + LINE_INTERVAL * 100), Some(1));
        assert_eq!(quota.take(began + LINE_INTERVAL * 100), Some(0));
    }
}
