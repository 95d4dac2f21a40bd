//! TLS with clients and with peers.
//!
//! Everything costly happens when a plan is linked: keys are parsed, settings become rustls configurations, and equal
//! settings share one. A session then only [`accept`]s, or [`PeerTls::connect`]s.

mod accept;
mod accept_any;
mod certificate;
mod context;
mod info;
mod leaf;
mod peer;
mod refusal;
mod resumption;
mod server;
mod suites;
mod tickets;
mod verifier;

pub use accept::accept;
pub use certificate::{Certificates, CertifiedKey};
pub use context::TlsContext;
pub use info::TlsInfo;
pub use peer::PeerTls;
pub use server::ServerTls;

#[cfg(test)]
mod tests;
