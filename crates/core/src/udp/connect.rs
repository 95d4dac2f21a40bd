//! From a new session to a socket that is connected to a peer and has taken the first datagram.

mod chosen;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::{Level, ProxyProtocol};
use socket2::{Domain, SockAddr, Socket, Type};

pub(super) use self::chosen::connect as connect_chosen;
use crate::address::Address;
use crate::connect::{no_live_upstreams, proxy_header};
use crate::error::{SessionError, Source, Status};
use crate::log::error::{session_error, session_event, session_line};
use crate::plan::Proxy;
use crate::session::Session;
use crate::session::state::Attempt;
use crate::shortage;
use crate::sys::datagram;
use crate::tunnel::{self, TunnelAddress};
use crate::udp::peer::Peer;
use crate::upstream::{Picked, Tries, Upstream};

/// Chooses peers until one takes `first`, under the rules of `proxy_next_upstream`.
///
/// # Errors
/// What ends the session: 502 if no peer could be reached.
pub(super) fn connect(
    session: &mut Session,
    proxy: &Proxy,
    upstream: &Upstream,
    first: Option<&[u8]>,
) -> Result<(Peer, Picked), SessionError> {
    session.action = "connecting to upstream";
    let opening = Opening::new(session, proxy, first);
    let rules = &proxy.spec;
    let tries_allowed = match rules.next_upstream_tries {
        0 => upstream.attempts(),
        limit => upstream.attempts().min(limit as usize),
    };
    let mut tries = Tries::default();
    loop {
        let Some(mut picked) = upstream.pick(session, &mut tries) else {
            return Err(no_live_upstreams(session, upstream));
        };
        picked.is_last = !rules.next_upstream || session.attempts.len() + 1 >= tries_allowed;
        match opening.attempt(session, &mut picked) {
            Ok(socket) => return Ok((socket, picked)),
            Err(error) if error.source != Source::Peer => return Err(error),
            Err(_noted) => {}
        }
        let within = Duration::from_millis(rules.next_upstream_timeout_ms);
        let is_late = !within.is_zero() && session.started.elapsed() >= within;
        if !rules.next_upstream || session.attempts.len() >= tries_allowed || is_late {
            return Err(SessionError::silent(Status::BadGateway, Source::Peer));
        }
    }
}

/// What every peer of a session is tried with.
struct Opening<'a> {
    bind: Option<(SocketAddr, bool)>,
    /// The first datagram, behind a PROXY header if one is wanted; none if there is nothing to send yet.
    first: Option<Cow<'a, [u8]>>,
}

impl<'a> Opening<'a> {
    fn new(session: &mut Session, proxy: &Proxy, first: Option<&'a [u8]>) -> Self {
        let bind = bind_address(session, proxy);
        let first = match prefix(session, proxy.spec.protocol, first.unwrap_or_default()) {
            Some(prefixed) => Some(Cow::Owned(prefixed)),
            None => first.map(Cow::Borrowed),
        };
        Self { bind, first }
    }

    /// One attempt. A failure of the peer is noted and logged.
    fn attempt(&self, session: &mut Session, picked: &mut Picked) -> Result<Peer, SessionError> {
        session.attempts.push(Attempt::begin(Arc::clone(&picked.name)));
        let first = self.first.as_deref();
        let dialled = match &picked.address {
            Address::Tunnel(address) => open_flow(session, (address, picked.is_last), first),
            address => dial(address, self.bind, first),
        };
        let cause = match dialled {
            Ok(peer) => {
                note_connected(session, &peer, first.map_or(0, <[u8]>::len));
                return Ok(peer);
            }
            Err(cause) => cause,
        };
        let fail = |source| SessionError::new(Status::BadGateway, source, Level::Error, "connect() failed");
        if shortage::is_shortage(&cause) || lacks_ports(&cause) {
            return Err(fail(Source::Shortage).because(cause));
        }
        let error = fail(Source::Peer).because(cause);
        session_error(session, &error);
        mark_failed(session, picked);
        if let Some(attempt) = session.attempts.last_mut() {
            attempt.ended = Some(attempt.started.elapsed());
        }
        Err(error)
    }
}

/// Counts a failure against the peer.
pub(super) fn mark_failed(session: &Session, picked: &mut Picked) {
    if picked.failed() {
        session_line(session, Level::Warn, "upstream server temporarily disabled");
    }
}

/// Books what the peer has got: the first datagram with its PROXY header.
fn note_connected(session: &mut Session, peer: &Peer, bytes: usize) {
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.connected = Some(attempt.started.elapsed());
        attempt.bytes_sent = bytes as u64;
    }
    if session.error_log().admits(Level::Info) {
        let local = peer.local();
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

/// A connected socket that has sent the first datagram, if there is one.
fn dial(address: &Address, bind: Option<(SocketAddr, bool)>, first: Option<&[u8]>) -> io::Result<Peer> {
    let (domain, to) = match address {
        Address::Inet(to) => (Domain::for_address(*to), SockAddr::from(*to)),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(&**path)?),
        Address::Tunnel(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), None)?;
    if let Some((from, transparent)) = bind {
        if transparent {
            datagram::set_transparent(&socket, from.is_ipv6())?;
        }
        socket.bind(&from.into())?;
    }
    socket.connect(&to)?;
    if let Some(first) = first {
        socket.send(first)?;
    }
    Ok(Peer::Socket(socket.into()))
}

/// A flow that has the first datagram, if there is one.
fn open_flow(
    session: &Session,
    (address, is_last): (&TunnelAddress, bool),
    first: Option<&[u8]>,
) -> io::Result<Peer> {
    let peer = Peer::flow(tunnel::open_flow(session, address, is_last)?);
    if let Some(first) = first {
        peer.send(first)?;
    }
    Ok(peer)
}
