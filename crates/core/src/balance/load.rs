//! How many sessions are open through a peer that handlers chose. One count for each address in the process: whichever
//! handler chose it, by whichever balancer, and also after handlers were loaded anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use crate::address::Address;

static LOADS: LazyLock<Mutex<HashMap<Address, Weak<Load>>>> = LazyLock::new(Mutex::default);

/// The sessions that are open through an address.
#[derive(Debug)]
pub struct Load {
    address: Address,
    open: AtomicU32,
}

impl Load {
    /// The count of an address.
    pub fn of(address: &Address) -> Arc<Self> {
        let mut loads = LOADS.lock();
        if let Some(known) = loads.get(address).and_then(Weak::upgrade) {
            return known;
        }
        let fresh = Arc::new(Self { address: address.clone(), open: AtomicU32::new(0) });
        loads.insert(address.clone(), Arc::downgrade(&fresh));
        fresh
    }

    /// How many sessions are open.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Counts one more session, until what is returned is dropped.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.open.fetch_add(1, Relaxed);
        Held(Arc::clone(self))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let mut loads = LOADS.lock();
        // Somebody may have asked for the address between the last release and now, and has a fresh count.
        if loads.get(&self.address).is_some_and(|known| known.strong_count() == 0) {
            loads.remove(&self.address);
        }
    }
}

/// A session that is counted. Dropping it ends that.
#[derive(Debug)]
pub struct Held(Arc<Load>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_session_counts_while_it_is_held() {
        let load = Load::of(&address("127.0.9.1:1"));
        let (first, second) = (load.hold(), Load::of(&address("127.0.9.1:1")).hold());
        assert_eq!(load.open(), 2);
        drop(first);
        assert_eq!(load.open(), 1);
        drop(second);
        assert_eq!(load.open(), 0);
    }

    #[test]
    fn an_address_that_nobody_knows_is_forgotten() {
        let unused = address("127.0.9.2:1");
        drop(Load::of(&unused).hold());
        assert!(!LOADS.lock().contains_key(&unused));
    }
}
