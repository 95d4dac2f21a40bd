//! Opening a stream for a session: a tunnelled service as a peer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::time::timeout;

use super::carrier::Carrier;
use super::dial;
use super::mux::Request;
use super::node::Node;
use super::pending::{self, PendingFlow};
use super::prove;
use super::registry::{Tunnel, Tunnels};
use super::stream::TunnelStream;
use crate::address::Address;
use crate::error::{SessionError, Source, Status};
use crate::plan::Plan;
use crate::session::Session;
use crate::stream::{Socket, Stream};

/// How long a session waits for a tunnel that is down, where no local service says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// nginx's status of a client that leaves before it is answered.
const CLIENT_GONE: u16 = 499;

/// A flow to a service.
pub enum Flow {
    /// On a carrier.
    Open(TunnelStream),
    /// Not before a tunnel is up.
    Pending(PendingFlow),
}

/// A service at the other end of a tunnel: `tunnel:TUNNEL/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TunnelAddress {
    /// The tunnel.
    pub tunnel: Arc<str>,
    /// The service.
    pub service: Arc<str>,
}

impl TunnelAddress {
    /// Parses `TUNNEL/SERVICE`.
    pub fn parse(text: &str) -> Option<Self> {
        let (tunnel, service) = text.split_once('/')?;
        let is_name = |text: &str| !text.is_empty() && !text.contains('/');
        (is_name(tunnel) && is_name(service)).then(|| Self { tunnel: tunnel.into(), service: service.into() })
    }
}

impl fmt::Display for TunnelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tunnel:{}/{}", self.tunnel, self.service)
    }
}

/// Opens a stream to a service. The first bytes may be sent at once; `is_last` leaves it at that, otherwise it returns
/// when the other side has accepted the stream, so that another peer can be tried. Cancel safe.
///
/// # Errors
/// With status 502 if the tunnel is down, or the stream is refused.
pub async fn connect(
    session: &Session,
    address: &TunnelAddress,
    is_last: bool,
) -> Result<TunnelStream, SessionError> {
    let Some(tunnels) = &session.plan.tunnel_registry else { return Err(failed("there are no tunnels")) };
    let (patience, key) = terms(session, address);
    let tunnel = tunnels.get(&address.tunnel);
    let opened = match open(session, &tunnel, address, (key, false)) {
        Ok(stream) => Some((stream, tunnel)),
        Err(Shut::Forbidden) => return Err(forbidden(session, &tunnel, address)),
        // Another peer is better than waiting.
        Err(Shut::Down) if !is_last => None,
        Err(Shut::Down) => timeout(patience, come_up(session, tunnels, address, false)).await.ok(),
    };
    let Some((stream, tunnel)) = opened else {
        return Err(failed(&format!("tunnel {} is down", address.tunnel)));
    };
    tunnel.counters.opened.fetch_add(1, Relaxed);
    if !is_last && stream.accepted().await.is_err() {
        return Err(refusal(session, &stream).unwrap_or_else(|| failed("the tunnel is down")));
    }
    Ok(stream)
}

/// Notes that a stream goes another way than the session was sent: the tunnel that it waited for was not the one to come.
pub fn note_way(session: &mut Session, address: &TunnelAddress, stream: &TunnelStream) {
    if *stream.tunnel() != address.tunnel
        && let Some(attempt) = session.attempts.last_mut()
    {
        let taken =
            TunnelAddress { tunnel: Arc::clone(stream.tunnel()), service: Arc::clone(&address.service) };
        attempt.peer = taken.to_string().into();
    }
}

/// Why the other side has refused the stream, if that is what has ended it; it is counted.
pub fn refusal(session: &Session, stream: &TunnelStream) -> Option<SessionError> {
    let (name, code) = stream.refusal()?;
    let tunnels = session.plan.tunnel_registry.as_ref()?;
    count_rejected(session, &tunnels.get(name), &stream.service()?, code);
    Some(failed(&format!("refused by the other end of tunnel {name}: {}", code.name())))
}

/// Opens a flow to a service, for datagrams. What the other side makes of it is learnt later, from the flow. If the
/// tunnel is down, and `is_last` says that no other peer will be tried, its datagrams wait for one that comes up.
///
/// # Errors
/// If the tunnel is down, and nothing waits for it.
pub fn open_flow(session: &Session, address: &TunnelAddress, is_last: bool) -> io::Result<Flow> {
    let down = || pending::down(&address.tunnel);
    let tunnels = session.plan.tunnel_registry.as_ref().ok_or_else(down)?;
    let tunnel = tunnels.get(&address.tunnel);
    let (patience, key) = terms(session, address);
    match open(session, &tunnel, address, (key, true)) {
        Ok(flow) => {
            tunnel.counters.opened.fetch_add(1, Relaxed);
            return Ok(Flow::Open(flow));
        }
        Err(Shut::Forbidden) => return Err(io::Error::other(forbidden(session, &tunnel, address))),
        Err(Shut::Down) => {}
    }
    if !is_last || patience.is_zero() {
        return Err(down());
    }
    Ok(Flow::Pending(PendingFlow::begin(session, tunnels, address, patience)))
}

/// Tells the two ends of a session what became of its attempt to connect, where one of them is a tunnel: the other
/// gateway learns whether its stream is served, and a client that nothing could be opened for is reset.
///
/// # Errors
/// Those of the attempt.
pub fn answer<T>(
    session: &Session,
    client: &Stream,
    connected: Result<T, SessionError>,
) -> Result<T, SessionError> {
    if matches!(client.socket(), Socket::Tunnel(_)) {
        note_target(session, connected.as_ref().err());
    }
    match (client.socket(), &connected) {
        (Socket::Tunnel(stream), Ok(_)) => stream.accept(),
        (Socket::Tunnel(stream), Err(error)) => {
            stream.reset_on_close(error.cause.as_ref().map_or(Code::DialFailed, dial::code_of));
        }
        (socket, Err(_)) if session.attempts.last().is_some_and(|last| last.peer.starts_with("tunnel:")) => {
            socket.reset_on_close();
        }
        _ => {}
    }
    connected
}

/// Connects for a session that came by a stream, as long as that is wanted: nobody waits for its target afterwards.
///
/// # Errors
/// Those of the attempt; or that the stream has broken.
pub async fn while_wanted<T>(
    stream: &TunnelStream,
    mut connecting: Pin<Box<impl Future<Output = Result<T, SessionError>>>>,
) -> Result<T, SessionError> {
    let gone = |code: Code| {
        let text = format!("the other end of the tunnel gave up: {}", code.name());
        SessionError::new(Status::Ok, Source::Client, Level::Info, text).with_status(CLIENT_GONE)
    };
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Pending => stream.poll_broken(cx).map(|code| Err(gone(code))),
        connected @ Poll::Ready(_) => connected,
    })
    .await
}

/// Remembers whether the target of a session that came through a tunnel was reached: a service without one is not
/// offered.
fn note_target(session: &Session, failed: Option<&SessionError>) {
    let service = session.listener.spec.id.strip_prefix("tunnel:");
    let is_about_target = failed.is_none_or(|error| error.status == Status::BadGateway);
    if let (Some(tunnels), Some(service), true) = (&session.plan.tunnel_registry, service, is_about_target) {
        tunnels.note_target(service, failed.is_none(), &session.plan);
    }
}

/// How long a session waits for the tunnel, and the key of the service: as its local service says, if there is one.
fn terms<'a>(session: &'a Session, address: &TunnelAddress) -> (Duration, &'a [u8]) {
    let service = session.plan.services.get(&*format!("local:{}", address.service));
    let patience = service.map_or(PATIENCE, |service| Duration::from_millis(service.pending_timeout_ms));
    (patience, service.map(|service| service.key.as_slice()).unwrap_or_default())
}

/// Why nothing can be opened through a tunnel now.
enum Shut {
    /// No carrier is up.
    Down,
    /// The rules for whoever is at the other end do not let clients be sent there.
    Forbidden,
}

/// A stream, or a flow, on a carrier that is up now.
fn open(
    session: &Session,
    tunnel: &Tunnel,
    address: &TunnelAddress,
    (key, is_flow): (&[u8], bool),
) -> Result<TunnelStream, Shut> {
    let tunnels = session.plan.tunnel_registry.as_ref().ok_or(Shut::Down)?;
    let node = rules_for(session);
    let may_use =
        |carrier: &Carrier| node.as_ref().is_none_or(|node| node.may_offer(carrier.key, &address.service));
    let shut =
        || if node.is_some() && tunnel.pick(|_| true).is_some() { Shut::Forbidden } else { Shut::Down };
    let carrier = tunnel.pick(may_use).ok_or_else(shut)?;
    let limits = tunnels.limits.service(&format!("local:{}", address.service), &session.plan);
    let inet = |address: &Address| match address {
        Address::Inet(address) => Some(*address),
        _ => None,
    };
    let stream = carrier.open(|number| Request {
        is_flow,
        service: Arc::clone(&address.service),
        client: inet(&session.client),
        local: inet(session.local.as_ref().unwrap_or(&session.listener.address)),
        proof: (!key.is_empty()).then(|| prove::service(key, &carrier.exporter, number, &address.service)),
    });
    let stream = stream.ok_or(Shut::Down)?;
    stream.limit(Arc::clone(&limits.rates));
    limits.tally.streams.fetch_add(1, Relaxed);
    Ok(stream)
}

/// This node with the rules of this moment, which may be newer than the session; none if no peer has any.
fn rules_for(session: &Session) -> Option<Arc<Node>> {
    if session.plan.peers.is_empty() {
        return None;
    }
    let now = session.plan.tunnel_registry.as_ref().and_then(|tunnels| tunnels.plan());
    now.as_ref().unwrap_or(&session.plan).settings.tunnels.clone()
}

fn count_rejected(session: &Session, tunnel: &Tunnel, service: &str, code: Code) {
    tunnel.counters.rejected.fetch_add(1, Relaxed);
    tunnel.tally.rejected.count(code);
    let id = format!("local:{service}");
    if let Some(tunnels) =
        session.plan.tunnel_registry.as_ref().filter(|_| session.plan.services.contains_key(&*id))
    {
        tunnels.limits.service(&id, &session.plan).tally.refused.count(code);
    }
}

fn forbidden(session: &Session, tunnel: &Tunnel, address: &TunnelAddress) -> SessionError {
    count_rejected(session, tunnel, &address.service, Code::Forbidden);
    let code = Code::Forbidden.name();
    failed(&format!("service {} through tunnel {}: {code}", address.service, address.tunnel))
}

/// Waits for a tunnel that leads to the service: the one that the session was sent to, or whichever one its local
/// service is bound to by then.
pub(super) async fn come_up(
    session: &Session,
    tunnels: &Tunnels,
    address: &TunnelAddress,
    is_flow: bool,
) -> (TunnelStream, Arc<Tunnel>) {
    loop {
        let (stirred, plan) = tunnels.now();
        let plan = plan.as_deref().unwrap_or(&session.plan);
        let service = plan.services.get(&*format!("local:{}", address.service));
        let key = service.map(|service| service.key.as_slice()).unwrap_or_default();
        for address in iter::once(address.clone()).chain(bound(session, plan)) {
            let tunnel = tunnels.get(&address.tunnel);
            if let Ok(stream) = open(session, &tunnel, &address, (key, is_flow)) {
                return (stream, tunnel);
            }
        }
        stirred.await;
    }
}

/// Where the session's local service leads to, if that is how it came.
fn bound(session: &Session, plan: &Plan) -> impl Iterator<Item = TunnelAddress> {
    let upstream = plan.upstreams.get(&*session.server.spec.id).map(|upstream| Arc::clone(&upstream.spec));
    let is_service = session.server.spec.id.starts_with("service:");
    upstream.filter(|_| is_service).into_iter().flat_map(|upstream| {
        let addresses = upstream.peers.iter().filter_map(|peer| peer.address.strip_prefix("tunnel:"));
        addresses.filter_map(TunnelAddress::parse).collect::<Vec<_>>()
    })
}

fn failed(text: &str) -> SessionError {
    SessionError::new(Status::BadGateway, Source::Peer, Level::Error, text)
}
