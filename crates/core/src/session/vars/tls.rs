//! `$ssl_*`: the TLS session with the client. Not found on a plain session, nor where TLS has nothing to tell.

use crate::session::Session;
use crate::tls::TlsInfo;

pub(crate) fn protocol(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.protocol, out)
}

pub(crate) fn cipher(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.cipher, out)
}

pub(crate) fn ciphers(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.ciphers(), out)
}

pub(crate) fn curve(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.curve, out)
}

pub(crate) fn curves(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.curves(), out)
}

/// rustls does not show session ids, and TLS 1.3 has none that mean anything.
pub(crate) fn session_id(_session: &Session, _out: &mut Vec<u8>) -> Option<()> {
    None
}

pub(crate) fn session_reused(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(if info(session)?.session_reused { "r" } else { "." }, out)
}

pub(crate) fn server_name(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.server_name.as_ref()?.as_bytes(), out)
}

pub(crate) fn alpn_protocol(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    push(info(session)?.alpn.as_ref()?, out)
}

fn info(session: &Session) -> Option<&TlsInfo> {
    session.tls()
}

fn push(value: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Option<()> {
    let value = value.as_ref();
    out.extend_from_slice(value);
    (!value.is_empty()).then_some(())
}
