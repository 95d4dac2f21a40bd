//! The data plane: accepts, routes, balances and relays, with no Python in it.
//!
//! Modules are declared in the order in which a session meets them; `session::run` calls them in that order. A change
//! enters through [`gateway::Gateway`], becomes a linked [`plan::Plan`], and is what new sessions see.

pub mod accept;
pub mod access;
pub mod balance;
pub mod connect;
pub mod content;
pub mod gateway;
pub mod handshake;
pub mod listener;
pub mod log;
pub mod mesh;
pub mod phase;
pub mod plan;
pub mod preface;
pub mod preread;
pub mod relay;
pub mod rules;
pub mod session;
pub mod shortage;
pub mod snapshot;
pub mod store;
pub mod stream;
pub mod tls;
pub mod tunnel;
pub mod udp;
pub mod upstream;

pub mod address;
pub mod clock;
pub mod error;
#[allow(unsafe_code, reason = "system calls that no crate wraps; every block says why it is sound")]
pub mod sys;
