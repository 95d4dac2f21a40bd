//! Tickets under keys that the configuration gives (`ssl_session_ticket_key`), so that gateways with the same keys
//! accept each other's tickets, and a restart does not end sessions.
//!
//! A ticket is the name of its key, a salt, and what AES-256-GCM makes of the session under a key for this one ticket.
//! Name and key come by HKDF (RFC 5869) from the whole content of the file, the key with the salt. nginx uses parts of
//! the file directly, with another construction: its tickets and ours are not interchangeable.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// The longest that RFC 8446 §4.6.1 allows: the keys do not change by themselves.
pub(super) const LIFETIME_S: u32 = 7 * 24 * 60 * 60;

const NAME: usize = 16;
const SALT: usize = 32;

/// Ticket keys, the first of which is for new tickets.
#[derive(Debug)]
pub(super) struct KeyedTickets {
    keys: Vec<TicketKey>,
}

struct TicketKey {
    /// Tells which key a ticket needs, and nothing of the key.
    name: [u8; NAME],
    secret: Vec<u8>,
}

impl KeyedTickets {
    /// Tickets under the keys of these files' contents.
    pub(super) fn new(contents: &[Vec<u8>]) -> Result<Self, String> {
        let keys = contents.iter().map(|content| TicketKey::new(content)).collect::<Option<_>>();
        Ok(Self { keys: keys.ok_or("cannot derive ticket keys")? })
    }
}

impl ProducesTickets for KeyedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.first()?.seal(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, sealed) = cipher.split_first_chunk::<NAME>()?;
        self.keys.iter().find(|key| key.name == *name)?.open(sealed)
    }
}

impl TicketKey {
    fn new(content: &[u8]) -> Option<Self> {
        let mut name = [0; NAME];
        let prk = Salt::new(HKDF_SHA256, &[]).extract(content);
        prk.expand(&[b"qanat ticket key name"], Length(NAME)).ok()?.fill(&mut name).ok()?;
        Some(Self { name, secret: content.to_vec() })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        self.aead(&salt)?.seal_in_place_append_tag(nonce(), Aad::from(&self.name), &mut sealed).ok()?;
        Some([&self.name[..], &salt, &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = sealed.split_first_chunk::<SALT>()?;
        let mut bytes = sealed.to_vec();
        let length = self.aead(salt)?.open_in_place(nonce(), Aad::from(&self.name), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// The key of one ticket.
    fn aead(&self, salt: &[u8; SALT]) -> Option<LessSafeKey> {
        let prk = Salt::new(HKDF_SHA256, salt).extract(&self.secret);
        let key = prk.expand(&[b"qanat ticket"], &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Of the content there is nothing to be shown.
impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// Each key seals one ticket, so one nonce will do.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::ProducesTickets;

    use super::KeyedTickets;

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let (old, new) = (vec![1; 48], vec![2; 80]);
        let before = KeyedTickets::new(std::slice::from_ref(&old)).unwrap();
        let during = KeyedTickets::new(&[new.clone(), old]).unwrap();
        let after = KeyedTickets::new(&[new]).unwrap();
        let ticket = before.encrypt(b"session").unwrap();
        assert_eq!(during.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(after.decrypt(&ticket), None);
        let ticket = during.encrypt(b"session").unwrap();
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(before.decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_that_was_touched_is_refused() {
        let tickets = KeyedTickets::new(&[vec![1; 48]]).unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert_eq!(tickets.decrypt(&touched), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut to {at}");
        }
        assert_ne!(tickets.encrypt(b"session"), Some(ticket), "each is under a key of its own");
    }
}
