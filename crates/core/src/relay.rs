//! Carrying bytes between a client and its peer.

mod direction;
pub mod linger;
pub mod tcp;
