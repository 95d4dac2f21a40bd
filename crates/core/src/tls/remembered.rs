//! Which certificates handlers have chosen, so that they need not be asked again when a session is resumed: rustls wants
//! a certificate before it knows whether it will need one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::CertifiedKey;

/// Clients can send any number of names: with more than this the oldest knowledge is worth nothing.
const CAPACITY: usize = 4096;

/// Choices by what was shown and the name that was asked for; none stands for the certificates of the configuration.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    choices: Mutex<HashMap<Key, Option<Weak<CertifiedKey>>>>,
}

/// The identity that a session is bound to, and the server name.
type Key = (Box<[u8]>, Option<Box<str>>);

impl Remembered {
    /// Remembers a choice for as long as somebody else holds the certificate.
    pub(super) fn put(&self, identity: &[u8], name: Option<&str>, choice: Option<&Arc<CertifiedKey>>) {
        let mut choices = self.choices.lock();
        if choices.len() >= CAPACITY {
            choices.retain(|_, choice| choice.as_ref().is_some_and(|key| key.strong_count() > 0));
        }
        if choices.len() >= CAPACITY {
            choices.clear();
        }
        choices.insert(key(identity, name), choice.map(Arc::downgrade));
    }

    /// The choice, unless it is forgotten.
    #[expect(clippy::option_option, reason = "forgotten and left to the configuration are different answers")]
    pub(super) fn get(&self, identity: &[u8], name: Option<&str>) -> Option<Option<Arc<CertifiedKey>>> {
        match self.choices.lock().get(&key(identity, name))? {
            Some(chosen) => chosen.upgrade().map(Some),
            None => Some(None),
        }
    }
}

fn key(identity: &[u8], name: Option<&str>) -> Key {
    (identity.into(), name.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let remembered = Remembered::default();
        for number in 0..3 * CAPACITY {
            remembered.put(b"identity", Some(&format!("{number}.test")), None);
        }
        assert!(remembered.choices.lock().len() <= CAPACITY);
        assert!(remembered.get(b"identity", Some("0.test")).is_none());
        let last = format!("{}.test", 3 * CAPACITY - 1);
        assert!(remembered.get(b"identity", Some(&last)).is_some_and(|choice| choice.is_none()));
        assert!(remembered.get(b"other", Some(&last)).is_none());
    }
}
