//! TLS with clients and with peers.
//!
//! Everything costly happens when a plan is linked: keys are parsed, settings become rustls configurations, and equal
//! settings share one. A session then only [`accept`]s, or [`PeerTls::connect`]s.

mod accept;
mod accept_any;
mod certificate;
mod context;
mod deferred;
mod info;
mod leaf;
mod peer;
mod recipe;
mod record;
mod refusal;
mod remembered;
mod resumption;
mod server;
mod suites;
mod tickets;
mod trust;
mod verifier;

pub use accept::{Alert, Opening, accept, in_time, no_certificate, rejected};
pub use certificate::{Certificates, CertifiedKey};
pub use context::TlsContext;
pub use info::{TlsInfo, cipher_name};
pub use peer::PeerTls;
pub use server::{Decision, ServerTls, Unserved};
pub(crate) use trust::{Chain, Signed, Trust, Trusting};

#[cfg(test)]
mod tests;
