//! Resumption bound to its place and time: a session is resumed only where the same certificates are served, and only
//! for `ssl_session_timeout`. The ticket keys and caches underneath are shared by all servers.

use std::sync::Arc;

use rustls::server::{ProducesTickets, StoresServerSessions};

use crate::clock;

/// The gateway's own ticket keys change at this pace, so no ticket is sure to be accepted for longer.
pub(super) const OWN_KEYS_LIFETIME_S: u32 = 6 * 60 * 60;
const STAMP: usize = size_of::<u64>();

/// Where and for how long a session may be resumed.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Digest of the identity that the server shows.
    pub(super) identity: Arc<[u8]>,
    pub(super) timeout_s: u32,
}

impl Bounds {
    /// Prefixes a session with the identity and the time.
    fn wrap(&self, session: &[u8]) -> Vec<u8> {
        [&self.identity, &clock::wall().as_secs().to_be_bytes()[..], session].concat()
    }

    /// The identity, so long, in what [`Self::wrap`] made; none when the time is over.
    pub(super) fn identity_of(mut wrapped: Vec<u8>, length: usize, timeout_s: u32) -> Option<Vec<u8>> {
        let (_, rest) = wrapped.split_at_checked(length)?;
        is_fresh(rest, timeout_s)?;
        wrapped.truncate(length);
        Some(wrapped)
    }

    /// Undoes [`Self::wrap`]; none for another identity, or when the time is over.
    fn unwrap(&self, mut wrapped: Vec<u8>) -> Option<Vec<u8>> {
        let rest = wrapped.strip_prefix(self.identity.as_ref())?;
        is_fresh(rest, self.timeout_s)?;
        Some(wrapped.split_off(self.identity.len() + STAMP))
    }
}

/// Something if the time in the stamp at the beginning of `rest` is not over.
fn is_fresh(rest: &[u8], timeout_s: u32) -> Option<()> {
    let issued = u64::from_be_bytes(*rest.first_chunk::<STAMP>()?);
    let age = clock::wall().as_secs().checked_sub(issued)?;
    (age <= u64::from(timeout_s)).then_some(())
}

/// Session tickets of a server.
#[derive(Debug)]
pub(super) struct BoundTickets {
    pub(super) bounds: Bounds,
    pub(super) shared: Arc<dyn ProducesTickets>,
    /// For how long the key of a ticket is sure to be there.
    pub(super) longest_s: u32,
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.bounds.timeout_s.min(self.longest_s)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.shared.encrypt(&self.bounds.wrap(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.bounds.unwrap(self.shared.decrypt(cipher)?)
    }
}

/// The session cache of a server.
#[derive(Debug)]
pub(super) struct BoundSessions {
    pub(super) bounds: Bounds,
    pub(super) shared: Arc<dyn StoresServerSessions>,
}

impl StoresServerSessions for BoundSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.shared.put(key, self.bounds.wrap(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.bounds.unwrap(self.shared.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.bounds.unwrap(self.shared.take(key)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;

    #[test]
    fn a_session_comes_back_until_its_time_is_over() {
        let bounds = Bounds { identity: [1, 2, 3].into(), timeout_s: 300 };
        let mut wrapped = bounds.wrap(b"session");
        assert_eq!(bounds.unwrap(wrapped.clone()).as_deref(), Some(&b"session"[..]));
        wrapped[3..11].fill(0);
        assert_eq!(bounds.unwrap(wrapped.clone()), None, "of 1970");
        wrapped[3..11].fill(0xff);
        assert_eq!(bounds.unwrap(wrapped), None, "of the future");
        assert_eq!(bounds.unwrap(vec![1, 2, 3, 0]), None, "cut short");
    }

    #[test]
    fn a_session_stays_with_its_identity() {
        let bounds = Bounds { identity: [1, 2, 3].into(), timeout_s: 300 };
        let other = Bounds { identity: [1, 2, 4].into(), timeout_s: 300 };
        assert_eq!(other.unwrap(bounds.wrap(b"session")), None);
    }
}
