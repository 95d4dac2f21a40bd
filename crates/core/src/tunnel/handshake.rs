//! From a TCP connection to a carrier: TLS 1.3, the proof of each side, and the two HELLOs.
//!
//! Nothing that the other side says is read as a frame before it has proved who it is. A proof that fails is answered
//! by silence: the connection closes, and the log of the side that was asked says why.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qanat_wire::tunnel_frame::{Code, Frame, FrameError, Hello, Progress, Scribe, VERSIONS, decode};
use rustls::pki_types::{IpAddr, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::identity::{Identity, NodeKey};
use super::mux::WINDOW;
use super::node::Node;
use super::prove::{self, Exporter, Role};

/// How a side proves who it is: the first byte of its preface.
const BY_KEY: u8 = 0;
const BY_SECRET: u8 = 1;
/// A way and a proof.
const PREFACE: usize = 33;
/// A bit of the features: the caller only wants to know whether this would work.
const PROBE: u32 = 1;
/// How long the other side is given to take in why it is refused.
const FAREWELL: Duration = Duration::from_secs(1);
/// Another: it tells which services it has.
const OFFERS: u32 = 2;

/// What a side has been convinced by, or is to be convinced by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The holder of this key.
    Key(NodeKey),
    /// Whoever knows this secret.
    Secret(Arc<[u8]>),
}

/// What a HELLO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) tunnel: String,
    pub(super) node: String,
    pub(super) generation: u64,
    pub(super) carrier: u8,
    pub(super) window: u32,
    pub(super) heartbeat: u16,
    /// Nothing is to come of it.
    pub(super) is_probe: bool,
    /// It tells which services it has. This side does.
    pub(super) tells_offers: bool,
}

/// A TLS session whose ends have proved who they are.
pub(super) struct Proven {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) exporter: Exporter,
    /// The other side.
    pub(super) key: NodeKey,
    /// What it has shown.
    pub(super) trust: Trust,
}

/// A carrier that is ready.
pub(super) struct Ready {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) exporter: Exporter,
    /// The other side.
    pub(super) key: NodeKey,
    /// What it has shown.
    pub(super) trust: Trust,
    pub(super) theirs: Greeting,
    /// What it has said after its HELLO.
    pub(super) rest: Vec<u8>,
}

/// Why there is no carrier.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It could not be connected.
    #[error("{}", crate::error::describe(.0))]
    Connect(io::Error),
    /// TLS failed, or the connection did before HELLO.
    #[error("handshake failed: {0}")]
    Tls(io::Error),
    /// The other side is not who it should be, or does not take us for who we are.
    #[error("authentication failed")]
    Auth,
    /// It says no.
    #[error("refused by the other end: {}", .0.name())]
    Refused(Code),
    /// The other side found that there is none; or this one did, and knows which ones the other has.
    #[error(
        "no version of the protocol in common: this end speaks {} to {}{}",
        VERSIONS.start(), VERSIONS.end(), others(.0.as_ref())
    )]
    Version(Option<(u16, u16)>),
    /// It does not speak this protocol.
    #[error("the other end breaks the protocol: {0}")]
    Protocol(String),
    /// It took too long.
    #[error("timed out")]
    TimedOut,
}

fn others(versions: Option<&(u16, u16)>) -> String {
    versions.map(|(least, most)| format!(", the other one {least} to {most}")).unwrap_or_default()
}

impl Failure {
    /// Whether the other side, or this one, has said no: another attempt will not change that soon.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Auth | Self::Refused(_) | Self::Version(_))
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Makes a carrier of a connection that this side has dialled.
pub(super) async fn dial(
    socket: TcpStream,
    identity: &Identity,
    trust: &Trust,
    ours: &Greeting,
) -> Result<Ready, Failure> {
    let mut proven = prove_to(socket, identity, trust).await?;
    send(&mut proven.stream, &ours.encode()).await?;
    let (theirs, rest) = greeted(&mut proven.stream).await?;
    Ok(proven.ready(theirs, rest))
}

/// Makes a carrier of a connection that was accepted; `judge` answers the other side's HELLO.
pub(super) async fn accept(
    socket: TcpStream,
    node: &Node,
    judge: impl FnOnce(NodeKey, &Greeting) -> Result<Greeting, Code>,
) -> Result<Ready, Failure> {
    let mut proven = hear(socket, node).await?;
    let (theirs, rest) = greeted(&mut proven.stream).await?;
    match judge(proven.key, &theirs) {
        Ok(ours) => send(&mut proven.stream, &ours.encode()).await?,
        Err(code) => {
            refuse(&mut proven.stream, code).await?;
            return Err(Failure::Refused(code));
        }
    }
    Ok(proven.ready(theirs, rest))
}

/// TLS to whoever listens, and the proofs of both sides.
pub(super) async fn prove_to(
    socket: TcpStream,
    identity: &Identity,
    trust: &Trust,
) -> Result<Proven, Failure> {
    // Nobody reads the name: the key is what counts.
    let name = ServerName::IpAddress(IpAddr::V4([0, 0, 0, 0].into()));
    let tls = TlsConnector::from(Arc::clone(&identity.client)).connect(name, socket).await;
    let mut stream = TlsStream::Client(tls.map_err(Failure::Tls)?);
    let (key, exporter) = ends(&stream)?;
    let mut preface = [BY_KEY; PREFACE];
    match trust {
        Trust::Key(expected) if *expected != key => return Err(Failure::Auth),
        Trust::Key(_) => {}
        Trust::Secret(secret) => {
            let proof = prove::secret(secret, Role::Dialler, &exporter, identity.key, key);
            preface[0] = BY_SECRET;
            preface[1..].copy_from_slice(&proof.ok_or(Failure::Auth)?);
        }
    }
    send(&mut stream, &preface).await?;
    let answer = read_preface(&mut stream).await?;
    if let Trust::Secret(secret) = trust {
        let expected = prove::secret(secret, Role::Acceptor, &exporter, identity.key, key);
        if answer.0 != BY_SECRET || !prove::is_secret(&answer.1, expected) {
            return Err(Failure::Auth);
        }
    }
    Ok(Proven { stream, exporter, key, trust: trust.clone() })
}

/// TLS with whoever has connected, and the proofs of both sides.
async fn hear(socket: TcpStream, node: &Node) -> Result<Proven, Failure> {
    let identity = &node.identity;
    let tls = TlsAcceptor::from(Arc::clone(&identity.server)).accept(socket).await;
    let mut stream = TlsStream::Server(tls.map_err(Failure::Tls)?);
    let (key, exporter) = ends(&stream)?;
    let (way, proof) = read_preface(&mut stream).await?;
    let mut preface = [way; PREFACE];
    let trust = match way {
        BY_KEY if node.knows(key) => Trust::Key(key),
        BY_SECRET => {
            let is_proved = |secret: &&Arc<[u8]>| {
                let expected = prove::secret(secret, Role::Dialler, &exporter, key, identity.key);
                prove::is_secret(&proof, expected)
            };
            let secret = node.secrets().find(is_proved).ok_or(Failure::Auth)?;
            let answer = prove::secret(secret, Role::Acceptor, &exporter, key, identity.key);
            preface[1..].copy_from_slice(&answer.ok_or(Failure::Auth)?);
            Trust::Secret(Arc::clone(secret))
        }
        _ => return Err(Failure::Auth),
    };
    send(&mut stream, &preface).await?;
    Ok(Proven { stream, exporter, key, trust })
}

impl Proven {
    fn ready(self, theirs: Greeting, rest: Vec<u8>) -> Ready {
        let Self { stream, exporter, key, trust } = self;
        Ready { stream, exporter, key, trust, theirs, rest }
    }
}

impl Greeting {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Scribe(&mut bytes).hello(&Hello {
            least: *VERSIONS.start(),
            most: *VERSIONS.end(),
            features: if self.is_probe { PROBE } else { 0 } | if self.tells_offers { OFFERS } else { 0 },
            generation: self.generation,
            carrier: self.carrier,
            window: WINDOW,
            heartbeat: self.heartbeat,
            tunnel: &self.tunnel,
            node: &self.node,
        });
        bytes
    }
}

/// The other side's HELLO. One of other versions is told so.
async fn greeted(stream: &mut TlsStream<TcpStream>) -> Result<(Greeting, Vec<u8>), Failure> {
    let read = read_hello(stream).await;
    if matches!(read, Err(Failure::Version(Some(_)))) {
        refuse(stream, Code::Version).await?;
    }
    read
}

/// Says no, and why.
async fn refuse(stream: &mut TlsStream<TcpStream>, code: Code) -> Result<(), Failure> {
    let mut refusal = Vec::new();
    Scribe(&mut refusal).refuse(code);
    send(stream, &refusal).await?;
    // The other side should read it before the connection closes.
    drop(timeout(FAREWELL, stream.shutdown()).await);
    Ok(())
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::Tls)?;
    stream.flush().await.map_err(Failure::Tls)
}

fn ends(stream: &TlsStream<TcpStream>) -> Result<(NodeKey, Exporter), Failure> {
    let (_, tls) = stream.get_ref();
    let key = NodeKey::shown(tls.peer_certificates()).ok_or(Failure::Auth)?;
    let exported = match stream {
        TlsStream::Client(client) => client.get_ref().1.export_keying_material([0; 32], prove::LABEL, None),
        TlsStream::Server(server) => server.get_ref().1.export_keying_material([0; 32], prove::LABEL, None),
    };
    Ok((key, exported.map_err(|_| Failure::Auth)?))
}

/// The way and the proof. Whoever closes here was not convinced.
async fn read_preface(stream: &mut TlsStream<TcpStream>) -> Result<(u8, prove::Proof), Failure> {
    let mut preface = [0; PREFACE];
    match stream.read_exact(&mut preface).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Failure::Auth),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Failure::Auth),
        Err(error) => return Err(Failure::Tls(error)),
    }
    let mut proof = [0; 32];
    proof.copy_from_slice(&preface[1..]);
    Ok((preface[0], proof))
}

/// The other side's HELLO, and what came after it.
async fn read_hello(stream: &mut TlsStream<TcpStream>) -> Result<(Greeting, Vec<u8>), Failure> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Progress::Complete { frame, consumed, .. } = decode(&bytes)? {
            let greeting = match frame {
                Frame::Hello(hello) => read_greeting(&hello)?,
                Frame::Refuse(Code::Version) => return Err(Failure::Version(None)),
                Frame::Refuse(code) => return Err(Failure::Refused(code)),
                _ => return Err(Failure::Protocol("no HELLO".to_owned())),
            };
            return Ok((greeting, bytes.split_off(consumed)));
        }
        if stream.read_buf(&mut bytes).await.map_err(Failure::Tls)? == 0 {
            return Err(Failure::Tls(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn read_greeting(hello: &Hello<'_>) -> Result<Greeting, Failure> {
    if hello.most < *VERSIONS.start() || hello.least > *VERSIONS.end() {
        return Err(Failure::Version(Some((hello.least, hello.most))));
    }
    Ok(Greeting {
        tunnel: hello.tunnel.to_owned(),
        node: hello.node.to_owned(),
        generation: hello.generation,
        carrier: hello.carrier,
        window: hello.window,
        heartbeat: hello.heartbeat,
        is_probe: hello.features & PROBE != 0,
        tells_offers: hello.features & OFFERS != 0,
    })
}
