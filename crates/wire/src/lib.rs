//! Parsers and encoders of wire formats: what bytes mean, and nothing else.
//!
//! No I/O, no clock, no allocation that the input does not bound. Every parser takes what has arrived so far and says
//! whether that is enough; more bytes never change an answer that was not "incomplete".
#![forbid(unsafe_code)]

pub mod client_hello;
mod cursor;
pub mod frame;
mod protocol_version;
pub mod proxy_protocol;
pub mod tunnel_frame;

pub use protocol_version::ProtocolVersion;
