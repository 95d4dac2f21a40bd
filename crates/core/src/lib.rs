//! The data plane: accepts, routes, balances and relays, with no Python in it.
//!
//! Modules are declared in the order in which a session meets them; `session::run` calls them in that order. A change
//! enters through [`gateway::Gateway`], becomes a linked [`plan::Plan`], and is what new sessions see.

pub mod listener;

pub mod accept;

pub mod preface;

pub mod mesh;

pub mod access;

pub mod handshake;
pub mod tls;

pub mod preread;

pub mod rules;

pub mod content;

pub mod balance;
pub mod upstream;

pub mod connect;
pub mod tunnel;

pub mod relay;

pub mod log;

// What all stages have: the session, the client's stream, and the handlers that may decide.
pub mod phase;
pub mod session;
pub mod stream;
pub mod udp;

// What a change goes through, and what sessions share.
pub mod gateway;
pub mod plan;
pub mod shortage;
pub mod snapshot;
pub mod store;

pub mod address;
pub mod clock;
pub mod error;
#[allow(unsafe_code, reason = "system calls that no crate wraps; every block says why it is sound")]
pub mod sys;
