//! What all TLS settings of a gateway share: cryptography, ticket keys, session caches, and each other.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use super::{PeerTls, ServerTls, suites};

/// Tickets and caches that all TLS settings of a gateway share.
pub struct TlsContext {
    pub(super) provider: Arc<CryptoProvider>,
    /// One source of ticket keys, which change every six hours: a client may resume on any worker, and after a reload.
    pub(super) tickets: Arc<dyn ProducesTickets>,
    caches: Mutex<HashMap<u32, Arc<ServerSessionMemoryCache>>>,
    pub(super) servers: Links<ServerTls>,
    pub(super) peers: Links<PeerTls>,
}

impl TlsContext {
    /// A fresh context.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new() -> Result<Self, String> {
        let tickets = Ticketer::new().map_err(|error| format!("cannot make ticket keys: {error}"))?;
        Ok(Self {
            provider: Arc::new(suites::provider()),
            tickets,
            caches: Mutex::default(),
            servers: Links::default(),
            peers: Links::default(),
        })
    }

    /// The session cache of a size. Servers with caches of one size share it: ten thousand servers do not reserve
    /// room for ten thousand times as many sessions.
    pub(super) fn session_cache(&self, size: u32) -> Arc<dyn StoresServerSessions> {
        let mut caches = self.caches.lock();
        let cache = caches.entry(size).or_insert_with(|| ServerSessionMemoryCache::new(size as usize));
        Arc::clone(cache) as Arc<dyn StoresServerSessions>
    }
}

/// Linked settings by digest of their content, for as long as some plan uses them.
pub(super) struct Links<T> {
    entries: Mutex<Entries<T>>,
}

struct Entries<T> {
    by_digest: HashMap<Vec<u8>, Weak<T>>,
    /// Size at which dead entries are removed; twice what then remains, so that a removal costs little per entry.
    sweep_at: usize,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self { entries: Mutex::new(Entries { by_digest: HashMap::new(), sweep_at: 64 }) }
    }
}

impl<T> Links<T> {
    /// The linked form of what `key` describes, if there is one that `fits`, or else what `link` makes.
    pub(super) fn get_or_link(
        &self,
        key: &[u8],
        fits: impl Fn(&T) -> bool,
        link: impl FnOnce() -> Result<T, String>,
    ) -> Result<Arc<T>, String> {
        let digest = suites::digest(key);
        let present = self.entries.lock().by_digest.get(&digest).and_then(Weak::upgrade);
        if let Some(present) = present.filter(|present| fits(present)) {
            return Ok(present);
        }
        let linked = Arc::new(link()?);
        let mut entries = self.entries.lock();
        if entries.by_digest.len() >= entries.sweep_at {
            entries.by_digest.retain(|_, entry| entry.strong_count() > 0);
            entries.sweep_at = (entries.by_digest.len() * 2).max(64);
        }
        entries.by_digest.insert(digest, Arc::downgrade(&linked));
        Ok(linked)
    }
}
