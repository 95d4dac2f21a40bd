//! How far windows may grow, over many carriers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Windows together, of a tunnel or of the node.
#[derive(Debug)]
pub(in super::super) struct Budget {
    used: AtomicU64,
    most: AtomicU64,
}

/// The windows of a carrier's streams, as parts of what is shared.
pub(super) struct Windows {
    own: u64,
    shared: [Arc<Budget>; 2],
}

impl Budget {
    /// A limit in bytes.
    pub(in super::super) fn new(most: u64) -> Self {
        Self { used: AtomicU64::new(0), most: AtomicU64::new(most) }
    }

    /// Changes the limit. Windows that are larger together grow no more.
    pub(in super::super) fn limit(&self, most: u64) {
        self.most.store(most, Relaxed);
    }

    /// Bytes in use.
    pub(in super::super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn try_add(&self, bytes: u64) -> bool {
        let most = self.most.load(Relaxed);
        let added = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= most);
        self.used.fetch_update(Relaxed, Relaxed, added).is_ok()
    }

    fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Relaxed);
    }

    fn sub(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

impl Windows {
    pub(super) fn new(tunnel: Arc<Budget>, node: Arc<Budget>) -> Self {
        Self { own: 0, shared: [tunnel, node] }
    }

    /// A new stream: the least that it can have, whatever there is.
    pub(super) fn add(&mut self, bytes: u32) {
        self.own += u64::from(bytes);
        self.shared.iter().for_each(|budget| budget.add(bytes.into()));
    }

    /// A window that grows; false if it may not.
    pub(super) fn grow(&mut self, bytes: u32) -> bool {
        let [tunnel, node] = &self.shared;
        if !tunnel.try_add(bytes.into()) {
            return false;
        }
        if !node.try_add(bytes.into()) {
            tunnel.sub(bytes.into());
            return false;
        }
        self.own += u64::from(bytes);
        true
    }

    /// A stream that has gone.
    pub(super) fn sub(&mut self, bytes: u32) {
        self.own -= u64::from(bytes);
        self.shared.iter().for_each(|budget| budget.sub(bytes.into()));
    }

    #[cfg(test)]
    pub(super) fn own(&self) -> u64 {
        self.own
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.shared.iter().for_each(|budget| budget.sub(self.own));
    }
}
