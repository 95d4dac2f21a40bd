//! From `proxy_pass` to a connected peer: one attempt after another until one succeeds or none is left.

mod chosen;
mod failure;
mod verified;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::{self as spec, Level, ProxyProtocol};
use qanat_wire::proxy_protocol::{self, Addresses, TlsFacts};
use socket2::{Domain, Type};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

pub(crate) use self::chosen::another;
use self::failure::{connect_failed, peer_error, short, timed_out};
use crate::address::Address;
use crate::error::{SessionError, Source, Status};
use crate::log::error::{session_error, session_event, session_line};
use crate::plan::{Proxy, Target};
use crate::rules;
use crate::session::Session;
use crate::session::state::Attempt;
use crate::shortage;
use crate::stream::{Reset, Socket, Stream};
use crate::tunnel;
use crate::upstream::{Picked, Tries, Upstream};

/// What a session does in a TLS handshake with a peer.
const HANDSHAKING: &str = "SSL handshaking to upstream";

/// Connects `session` to a peer of its `proxy_pass`, as `proxy_next_upstream` allows.
///
/// # Errors
/// 502 when no peer could be reached, 500 when the target's variables give no address.
pub async fn any(session: &mut Session, proxy: &Proxy) -> Result<(Stream, Picked), SessionError> {
    session.action = "connecting to upstream";
    let upstream = target(session, proxy)?;
    if let Some(chain) = &upstream.handler {
        return Box::pin(chosen::any(session, proxy, &upstream, chain)).await;
    }
    let mut retries = Retries::new(&upstream, proxy);
    let mut tries = Tries::default();
    loop {
        let Some(mut picked) = upstream.pick(session, &mut tries) else {
            return Err(no_live_upstreams(session, &upstream));
        };
        let deadline = Duration::from_millis(proxy.spec.connect_timeout_ms);
        picked.is_last = retries.left <= 1;
        session.attempts.push(Attempt::begin(Arc::clone(&picked.name)));
        let mut outcome = timeout(deadline, attempt(session, proxy, &picked)).await;
        if verified::is_due(session) {
            outcome = Box::pin(verified::judge(session, outcome)).await;
        }
        match conclude(session, &mut picked, outcome) {
            Ok(stream) => return Ok((stream, picked)),
            Err(error) if error.source != Source::Peer => return Err(error),
            Err(_noted) if !retries.another(session, proxy) => {
                return Err(SessionError::silent(Status::BadGateway, Source::Peer));
            }
            Err(_noted) => {}
        }
    }
}

/// Keeps the record of an attempt that is over. A failure of the peer is noted and logged.
///
/// Not part of an async function around the attempt: that would make every session's future larger.
fn conclude(
    session: &mut Session,
    picked: &mut Picked,
    outcome: Result<Result<Stream, SessionError>, Elapsed>,
) -> Result<Stream, SessionError> {
    let outcome = outcome.unwrap_or_else(|_elapsed| Err(timed_out()));
    match &outcome {
        Ok(stream) => {
            picked.connected();
            note_connected(session, stream);
        }
        Err(error) if error.source == Source::Peer => note_failed(session, picked, error),
        Err(_ours) => {}
    }
    outcome
}

/// Whether `proxy_next_upstream_timeout` lets another attempt begin now.
fn is_in_time(session: &Session, proxy: &Proxy) -> bool {
    let within = Duration::from_millis(proxy.spec.next_upstream_timeout_ms);
    let since_first = session.attempts.first().map_or(Duration::ZERO, |first| first.started.elapsed());
    within.is_zero() || since_first < within
}

/// The upstream that `proxy_pass` means for this session.
///
/// # Errors
/// 500 when a value with variables is neither the name of an upstream nor an address.
pub fn target(session: &mut Session, proxy: &Proxy) -> Result<Arc<Upstream>, SessionError> {
    let name = match &proxy.target {
        Target::Upstream(name) => Arc::clone(name),
        Target::Variable(template) => template.text(session).into(),
        Target::Rules(_) => rules::chosen(session)?,
    };
    if let Some(upstream) = session.plan.upstreams.get(&*name) {
        return Ok(Arc::clone(upstream));
    }
    let fail = |text: String| SessionError::new(Status::Internal, Source::Gateway, Level::Error, text);
    if Address::parse(&name).is_none() {
        let host = name.rsplit_once(':').map(|(host, _)| host);
        return Err(fail(match host {
            Some(host) => format!("no resolver defined to resolve {host}"),
            None => format!("no port in upstream \"{name}\""),
        }));
    }
    Upstream::link(&literal(&name), None).map(Arc::new).map_err(|error| fail(error.message))
}

/// An upstream of one literal address.
fn literal(address: &str) -> spec::Upstream {
    let peer = spec::Peer {
        server: address.to_owned(),
        address: address.to_owned(),
        weight: 1,
        max_conns: 0,
        max_fails: 1,
        fail_timeout_ms: 10_000,
        backup: false,
        down: false,
    };
    spec::Upstream {
        name: address.to_owned(),
        handler: None,
        balance: spec::Balance::RoundRobin {},
        peers: vec![peer],
        origin: String::new(),
    }
}

/// How many more attempts a session may make.
struct Retries {
    left: usize,
}

impl Retries {
    fn new(upstream: &Upstream, proxy: &Proxy) -> Self {
        let all = if proxy.spec.next_upstream { upstream.attempts() } else { 1 };
        let allowed = match proxy.spec.next_upstream_tries {
            0 => all,
            tries => all.min(tries as usize),
        };
        Self { left: allowed }
    }

    /// Whether one more may begin now.
    fn another(&mut self, session: &Session, proxy: &Proxy) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && is_in_time(session, proxy)
    }
}

/// One attempt. What a handler wants goes before what the configuration says.
async fn attempt(session: &mut Session, proxy: &Proxy, picked: &Picked) -> Result<Stream, SessionError> {
    let (mut socket, reset) = open(session, proxy, picked).await?;
    if reset && proxy.spec.protocol == ProxyProtocol::Off && proxy.tls.is_none() {
        return Ok(Stream::Reset(Reset(socket)));
    }
    if proxy.spec.protocol != ProxyProtocol::Off {
        let header = proxy_header(session, proxy.spec.protocol);
        let sent = socket.write_all(&header).await;
        sent.map_err(|error| peer_error("sending the PROXY header failed").because(error))?;
        if let Some(attempt) = session.attempts.last_mut() {
            attempt.bytes_sent = header.len() as u64;
        }
    }
    let wants_tls = session.choice().and_then(|choice| choice.tls);
    let Some((tls, name)) = proxy.tls.as_ref().filter(|_| wants_tls != Some(false)) else {
        return if wants_tls == Some(true) { Err(no_tls()) } else { Ok(Stream::Plain(socket)) };
    };
    session.action = HANDSHAKING;
    let chosen = session.choice().and_then(|choice| choice.name.as_deref().map(str::to_owned));
    let name = match (chosen, name) {
        (Some(name), _) => name,
        (None, Some(template)) => template.text(session),
        (None, None) => target_name(session, proxy),
    };
    // The handshake's state is large and rare: it does not belong into every session's future.
    let stream = Box::pin(tls.connect(socket, without_port(&name))).await?;
    if tls.is_judged() {
        session.facts_mut().shown = Some(tls.shown(&stream, without_port(&name)));
    }
    Ok(Stream::Peer(Box::new(stream)))
}

fn no_tls() -> SessionError {
    let text = "a handler chose TLS for a peer, and \"proxy_ssl\" is off";
    SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
}

/// The name in `proxy_pass`.
fn target_name(session: &mut Session, proxy: &Proxy) -> String {
    match &proxy.target {
        Target::Upstream(name) => name.to_string(),
        Target::Variable(template) => template.text(session),
        Target::Rules(_) => rules::chosen(session).map(|name| name.to_string()).unwrap_or_default(),
    }
}

/// `host` of `host:port` and `[v6]:port`.
fn without_port(name: &str) -> &str {
    match name.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None if name.matches(':').count() == 1 => name.split(':').next().unwrap_or(name),
        None => name,
    }
}

/// A connected socket, and whether the peer has reset it by now.
async fn open(session: &mut Session, proxy: &Proxy, picked: &Picked) -> Result<(Socket, bool), SessionError> {
    let address = match &picked.address {
        Address::Inet(address) => address,
        Address::Tunnel(tunnelled) => {
            // Rare, so it is boxed.
            let stream = Box::pin(tunnel::connect(session, tunnelled, picked.is_last)).await?;
            tunnel::note_way(session, tunnelled, &stream);
            return Ok((Socket::Tunnel(stream), false));
        }
        Address::Unix(path) => {
            let connected = UnixStream::connect(&**path).await;
            return connected
                .map(|unix| (Socket::Unix(unix), false))
                .map_err(|error| connect_failed("connect()", error));
        }
    };
    let bind = proxy.bind.as_ref().and_then(|(template, transparent)| {
        let text = template.text(session);
        local_end(session, &text).map(|local| (local, *transparent))
    });
    let socket = tcp_socket(*address)?;
    if let Some((local, transparent)) = bind {
        bind_source(&socket, local, transparent).map_err(|error| {
            let text = format!("bind({local}) failed");
            // Without a port of its own it asks for any.
            let lacks_ports = local.port() == 0 && error.kind() == io::ErrorKind::AddrInUse;
            if lacks_ports || shortage::is_shortage(&error) {
                return short(text, error);
            }
            SessionError::new(Status::Internal, Source::Gateway, Level::Crit, text).because(error)
        })?;
    }
    set_options(session, proxy, &socket)
        .map_err(|error| peer_error("setting options of the peer's socket failed").because(error))?;
    let connected = connect_tcp(socket, *address).await;
    connected.map(|(tcp, reset)| (Socket::Tcp(tcp), reset)).map_err(|error| {
        match (bind, error.raw_os_error()) {
            // The two ends that `proxy_bind` and the peer make are taken.
            (Some(_), Some(libc::EADDRNOTAVAIL)) => {
                let text = "connect() failed";
                SessionError::new(Status::BadGateway, Source::Gateway, Level::Crit, text).because(error)
            }
            (None, Some(libc::EADDRNOTAVAIL)) if shortage::lacks_ports(*address) => {
                short("connect() failed", error)
            }
            _ => connect_failed("connect()", error),
        }
    })
}

fn tcp_socket(to: SocketAddr) -> Result<socket2::Socket, SessionError> {
    let opened = socket2::Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None);
    opened.map_err(|error| connect_failed("socket()", error))
}

fn set_options(session: &Session, proxy: &Proxy, socket: &socket2::Socket) -> io::Result<()> {
    if session.server.spec.tcp_nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if proxy.spec.socket_keepalive {
        socket.set_keepalive(true)?;
    }
    Ok(())
}

/// Connects. The event loop tells whether it failed, so that success needs no `getsockopt(SO_ERROR)`. Tells also
/// whether the connection was made, and reset at once: asking for the error takes it away.
async fn connect_tcp(socket: socket2::Socket, to: SocketAddr) -> io::Result<(TcpStream, bool)> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if (ready.is_error() || ready.is_write_closed())
        && let Some(error) = stream.take_error()?
    {
        // Who was never connected is refused or times out.
        let is_reset = matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE));
        return if is_reset { Ok((stream, true)) } else { Err(error) };
    }
    Ok((stream, false))
}

/// The value of `proxy_bind`; an empty or a bad one binds nothing.
fn local_end(session: &Session, text: &str) -> Option<SocketAddr> {
    if text.is_empty() {
        return None;
    }
    let parsed = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 0)));
    if parsed.is_err() {
        session_line(session, Level::Error, &format!("invalid local address \"{text}\""));
    }
    parsed.ok()
}

fn bind_source(socket: &socket2::Socket, local: SocketAddr, transparent: bool) -> io::Result<()> {
    if transparent {
        if local.is_ipv4() {
            socket.set_ip_transparent_v4(true)
        } else {
            socket.set_ip_transparent_v6(true)
        }?;
    }
    socket.bind(&local.into())
}

/// An error that names the group where no peer could be named.
pub(crate) fn no_live_upstreams(session: &mut Session, upstream: &Upstream) -> SessionError {
    // nginx shows the group's name where no peer could be shown.
    session.attempts.push(Attempt::begin(upstream.spec.name.as_str().into()));
    SessionError::new(Status::BadGateway, Source::Gateway, Level::Error, "no live upstreams")
}

fn note_connected(session: &mut Session, stream: &Stream) {
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.connected = Some(attempt.started.elapsed());
    }
    if session.error_log().admits(Level::Info) {
        // nginx writes a unix socket without a path as it does any other.
        let local =
            local_address(stream.socket()).map_or_else(|| "unix:".to_owned(), |local| local.to_string());
        let peer = session.attempts.last().map_or("", |attempt| &attempt.peer);
        session_event(session, Level::Info, &format!("proxy {local} connected to {peer}"));
    }
}

fn note_failed(session: &mut Session, picked: &mut Picked, error: &SessionError) {
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.ended = Some(attempt.started.elapsed());
    }
    session_error(session, error);
    if picked.failed() {
        session_line(session, Level::Warn, "upstream server temporarily disabled");
    }
}

fn local_address(socket: &Socket) -> Option<Address> {
    match socket {
        Socket::Tcp(socket) => socket.local_addr().ok().map(Address::Inet),
        Socket::Unix(_) | Socket::Tunnel(_) => None,
    }
}

/// The PROXY header that tells the peer of this session.
pub fn proxy_header(session: &Session, version: ProxyProtocol) -> Vec<u8> {
    let ends = match (&session.client, session.local.as_ref().unwrap_or(&session.listener.address)) {
        (Address::Inet(source), Address::Inet(destination)) => {
            Some(Addresses { source: *source, destination: *destination })
        }
        _ => None,
    };
    let mut header = Vec::with_capacity(128);
    if version == ProxyProtocol::V1 {
        proxy_protocol::encode_v1(&mut header, ends.as_ref());
    } else {
        let facts = session.tls().map(|tls| TlsFacts {
            alpn: tls.alpn.as_deref(),
            server_name: tls.server_name.as_deref(),
            version: tls.protocol,
            cipher: tls.cipher,
        });
        proxy_protocol::encode_v2(&mut header, ends.as_ref(), facts.as_ref());
    }
    header
}
