//! From a new session to a socket that is connected to a peer and has taken the first datagram.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::{Level, ProxyProtocol};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::Address;
use crate::connect::{proxy_header, target};
use crate::error::{SessionError, Source, Status};
use crate::log::error::{session_error, session_event, session_line};
use crate::plan::Proxy;
use crate::session::Session;
use crate::session::state::Attempt;
use crate::shortage;
use crate::sys::datagram;
use crate::upstream::{Picked, Tries};

/// Chooses peers until one takes `first`, under the rules of `proxy_next_upstream`.
///
/// # Errors
/// What ends the session: 502 if no peer could be reached, 500 if there is nothing to choose from.
pub(super) fn connect(
    session: &mut Session,
    proxy: &Proxy,
    first: &[u8],
) -> Result<(UdpSocket, Picked), SessionError> {
    session.action = "connecting to upstream";
    let upstream = target(session, proxy)?;
    if upstream.handler.is_some() {
        let text = "\"balance_by_python\" does not serve UDP";
        return Err(SessionError::new(Status::Internal, Source::Gateway, Level::Error, text));
    }
    let bind = bind_address(session, proxy);
    let prefixed = prefix(session, proxy.spec.protocol, first);
    let first = prefixed.as_deref().unwrap_or(first);

    let rules = &proxy.spec;
    let tries_allowed = match rules.next_upstream_tries {
        0 => upstream.attempts(),
        limit => upstream.attempts().min(limit as usize),
    };
    let mut tries = Tries::default();
    loop {
        let Some(mut picked) = upstream.pick(session, &mut tries) else {
            let name: Arc<str> = upstream.spec.name.as_str().into();
            session.attempts.push(Attempt::begin(name));
            return Err(SessionError::new(
                Status::BadGateway,
                Source::Gateway,
                Level::Error,
                "no live upstreams",
            ));
        };
        session.attempts.push(Attempt::begin(Arc::clone(&picked.name)));
        let cause = match dial(&picked.address, bind, first) {
            Ok(socket) => {
                note_connected(session, &socket, first.len());
                return Ok((socket, picked));
            }
            Err(cause) => cause,
        };
        if shortage::is_shortage(&cause) || lacks_ports(&cause) {
            let error =
                SessionError::new(Status::BadGateway, Source::Shortage, Level::Error, "connect() failed");
            return Err(error.because(cause));
        }
        let error = SessionError::new(Status::BadGateway, Source::Peer, Level::Error, "connect() failed");
        session_error(session, &error.because(cause));
        mark_failed(session, &mut picked);
        if let Some(attempt) = session.attempts.last_mut() {
            attempt.ended = Some(attempt.started.elapsed());
        }
        let within = Duration::from_millis(rules.next_upstream_timeout_ms);
        let is_late = !within.is_zero() && session.started.elapsed() >= within;
        if !rules.next_upstream || session.attempts.len() >= tries_allowed || is_late {
            return Err(SessionError::silent(Status::BadGateway, Source::Peer));
        }
    }
}

/// Counts a failure against the peer.
pub(super) fn mark_failed(session: &Session, picked: &mut Picked) {
    if picked.failed() {
        session_line(session, Level::Warn, "upstream server temporarily disabled");
    }
}

/// Books what the peer has got: the first datagram with its PROXY header.
fn note_connected(session: &mut Session, socket: &UdpSocket, bytes: usize) {
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.connected = Some(attempt.started.elapsed());
        attempt.bytes_sent = bytes as u64;
    }
    if session.error_log().admits(Level::Info) {
        let local = socket.local_addr().map_or_else(|_| "unix:".to_owned(), |local| local.to_string());
        let peer = session.attempts.last().map_or("", |attempt| &attempt.peer);
        session_event(session, Level::Info, &format!("udp proxy {local} connected to {peer}"));
    }
}

/// `proxy_bind`: the source address, and whether it need not be the host's own.
fn bind_address(session: &mut Session, proxy: &Proxy) -> Option<(SocketAddr, bool)> {
    let (template, transparent) = proxy.bind.as_ref()?;
    let text = template.text(session);
    if text.is_empty() {
        return None;
    }
    let ip = || text.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, 0));
    let address = text.parse().ok().or_else(ip);
    if address.is_none() {
        session_line(session, Level::Error, &format!("invalid local address \"{text}\""));
    }
    Some((address?, *transparent))
}

/// The first datagram behind a PROXY header, if one is wanted.
fn prefix(session: &Session, version: ProxyProtocol, first: &[u8]) -> Option<Vec<u8>> {
    if version == ProxyProtocol::Off {
        return None;
    }
    let mut prefixed = proxy_header(session, version);
    prefixed.extend_from_slice(first);
    Some(prefixed)
}

/// Datagrams: connecting finds no free port (`EAGAIN`), or `bind` to any port does not.
fn lacks_ports(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EADDRINUSE))
}

/// A connected socket that has sent the first datagram.
fn dial(address: &Address, bind: Option<(SocketAddr, bool)>, first: &[u8]) -> io::Result<UdpSocket> {
    let (domain, to) = match address {
        Address::Inet(to) => (Domain::for_address(*to), SockAddr::from(*to)),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(&**path)?),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), None)?;
    if let Some((from, transparent)) = bind {
        if transparent {
            datagram::set_transparent(&socket, from.is_ipv6())?;
        }
        socket.bind(&from.into())?;
    }
    socket.connect(&to)?;
    socket.send(first)?;
    Ok(socket.into())
}
