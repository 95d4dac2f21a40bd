//! A ring of points, 160 for each unit of weight: a server that comes or goes moves only its own share of the keys.
//! Compatible with `Cache::Memcached::Fast`: a point is crc32(host, NUL, port, previous point in little endian).

use std::sync::Arc;

use super::{MAX_MISSES, round_robin};
use crate::upstream::{Group, Tries};

/// nginx's number.
const POINTS_PER_WEIGHT: i64 = 160;

/// The points of all servers, sorted; each leads to what stands for its server.
pub(super) struct Points<T> {
    points: Vec<(u32, T)>,
}

impl<T> Default for Points<T> {
    fn default() -> Self {
        Self { points: Vec::new() }
    }
}

impl<T: Clone> Points<T> {
    /// Places servers, each with its weight: so many points for each unit of it.
    pub(super) fn new<'a>(servers: impl Iterator<Item = (&'a str, i64, T)>, per_weight: i64) -> Self {
        let mut points = Vec::new();
        for (server, weight, target) in servers {
            let base = base(server);
            let mut previous = 0_u32;
            for _ in 0..weight.saturating_mul(per_weight) {
                let mut crc = base.clone();
                crc.update(&previous.to_le_bytes());
                previous = crc.finalize();
                points.push((previous, target.clone()));
            }
        }
        Self::sorted(points)
    }

    /// Points that were placed otherwise. Of several in one place the first one counts.
    pub(super) fn sorted(mut points: Vec<(u32, T)>) -> Self {
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Self { points }
    }

    /// What the points from `hash` on lead to, all around the ring.
    pub(super) fn around(&self, hash: u32) -> impl Iterator<Item = &T> {
        let (before, after) = self.points.split_at(self.find(hash));
        after.iter().chain(before).map(|(_, target)| target)
    }

    /// The first point that is not before `hash`; the one past the end stands for the first.
    fn find(&self, hash: u32) -> usize {
        self.points.partition_point(|(point, _)| *point < hash)
    }
}

/// The points of a group.
pub(crate) struct Ring {
    ring: Points<Arc<str>>,
}

impl Ring {
    /// Places the servers of a group.
    pub(super) fn new(group: &Group) -> Self {
        let servers = group.peers().iter().map(|peer| (&*peer.server, peer.weight, Arc::clone(&peer.server)));
        Self { ring: Points::new(servers, POINTS_PER_WEIGHT) }
    }

    /// Chooses the peer that the key belongs to, or one of the next points; of several peers of one server name, the
    /// one whose turn it is.
    pub(super) fn pick(&self, group: &Group, key: &[u8], tries: &mut Tries, now: u64) -> Option<usize> {
        let points = &self.ring.points;
        if key.is_empty() || points.is_empty() {
            return round_robin::pick(group, tries, now);
        }
        let mut place = match tries.hash {
            Some(place) => place as usize,
            None => self.ring.find(crc32fast::hash(key)),
        };
        while tries.misses <= MAX_MISSES {
            let server = &points[place % points.len()].1;
            if let Some(index) = round_robin::pick_of(group, tries, now, |peer| peer.server == *server) {
                tries.hash = u32::try_from(place).ok();
                return Some(index);
            }
            place += 1;
            tries.misses += 1;
        }
        round_robin::pick(group, tries, now)
    }
}

/// The part of a point's hash that all points of a server share.
fn base(server: &str) -> crc32fast::Hasher {
    let (host, port) = split(server);
    let mut crc = crc32fast::Hasher::new();
    crc.update(host.as_bytes());
    crc.update(&[0]);
    crc.update(port.as_bytes());
    crc
}

/// Host and port of a server as written; a unix socket has its path for a host.
fn split(server: &str) -> (&str, &str) {
    if server.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:")) {
        return (&server[5..], "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}
