//! A small random generator for spreading load; nothing secret depends on it.

use std::hash::{BuildHasher, RandomState};

/// State of an xorshift64* generator.
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded anew for each upstream.
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u8) | 1)
    }

    /// A number from 0 to `limit`, which is positive and not reached.
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        random.cast_signed() % limit.max(1)
    }
}
