//! Why a connection to a peer did not come about, and whom that is to be blamed on.

use std::io;

use qanat_plan::Level;

use crate::error::{SessionError, Source, Status};
use crate::shortage;

pub(super) fn connect_failed(call: &str, error: io::Error) -> SessionError {
    let text = format!("{call} failed");
    if shortage::is_shortage(&error) { short(text, error) } else { peer_error(&text).because(error) }
}

/// Our own shortage is nobody's failure: the peer is not blamed for it.
pub(super) fn short(text: impl Into<String>, error: io::Error) -> SessionError {
    SessionError::new(Status::BadGateway, Source::Shortage, Level::Error, text).because(error)
}

pub(super) fn timed_out() -> SessionError {
    peer_error("upstream timed out").because(io::Error::from_raw_os_error(libc::ETIMEDOUT))
}

pub(super) fn peer_error(text: &str) -> SessionError {
    SessionError::new(Status::BadGateway, Source::Peer, Level::Error, text)
}
