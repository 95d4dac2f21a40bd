//! The linked plan: what `qanat-plan` describes, made ready to run. Immutable; a change makes a new one that shares
//! everything that did not change, so that its cost does not depend on how much there is.

pub mod link;
pub mod names;
pub mod network;

use std::sync::Arc;
use std::time::Duration;

use imbl::HashMap;
use qanat_plan as spec;
use qanat_wire::frame::Format;

use crate::address::Address;
use crate::log::access::{AccessLog, LogFormat};
use crate::log::error::ErrorLogs;
use crate::phase::{Chain, Chains, Generation, Hooks};
use crate::plan::names::NameTable;
use crate::plan::network::Rule;
use crate::rules::table::Table;
use crate::session::template::Template;
use crate::session::vars::Variable;
use crate::tls::{CertifiedKey, PeerTls, ServerTls};
use crate::tunnel::{Node, Tunnels};
use crate::upstream::Upstream;

/// Everything that sessions need to know.
#[derive(Clone, Default)]
pub struct Plan {
    /// Grows with every change.
    pub revision: u64,
    /// Gateway-wide settings.
    pub settings: Arc<Settings>,
    /// Where handlers are run; none without an interpreter.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// By variable name.
    pub variables: HashMap<Arc<str>, Arc<Variable>>,
    /// By format name.
    pub formats: HashMap<Arc<str>, Arc<LogFormat>>,
    /// By certificate id.
    pub certificates: HashMap<Arc<str>, Arc<CertifiedKey>>,
    /// By upstream name.
    pub upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// Tables of rules, by name.
    pub rules: HashMap<Arc<str>, Arc<Table>>,
    /// By listener id.
    pub listeners: HashMap<Arc<str>, Arc<Listener>>,
    /// By server id.
    pub servers: HashMap<Arc<str>, Arc<Server>>,
    /// Where tunnels are found; none in a plan that nothing runs.
    pub tunnel_registry: Option<Arc<Tunnels>>,
    /// Nodes that are known by their keys, by name.
    pub peers: HashMap<Arc<str>, Arc<spec::TunnelPeer>>,
    /// Tunnels that this node dials, by name.
    pub tunnels: HashMap<Arc<str>, Arc<spec::Tunnel>>,
    /// Services by `KIND:NAME`.
    pub services: HashMap<Arc<str>, Arc<spec::Service>>,
    /// Remote services that are bound, by `TUNNEL/SERVICE`.
    pub bindings: HashMap<Arc<str>, Arc<spec::Binding>>,
}

/// Gateway-wide settings.
#[derive(Clone, Default)]
pub struct Settings {
    /// `node_name`.
    pub node_name: String,
    /// `$hostname`.
    pub hostname: String,
    /// `$nginx_version`.
    pub version: String,
    /// Main-level error logs.
    pub error_log: ErrorLogs,
    /// `worker_connections`.
    pub worker_connections: u32,
    /// `worker_shutdown_timeout` in milliseconds; 0 waits without end.
    pub shutdown_timeout_ms: u64,
    /// Which load of the Python handlers sessions use.
    pub handlers: Arc<Generation>,
    /// `tunnels`.
    pub tunnels: Option<Arc<Node>>,
    /// How much tunnels may use.
    pub tunnel_limits: Option<Arc<spec::TunnelLimits>>,
}

/// A listening address with its virtual servers.
#[derive(Clone)]
pub struct Listener {
    /// Its description.
    pub spec: Arc<spec::Listener>,
    /// [`spec::Listener::address`], parsed.
    pub address: Address,
    /// The server for sessions that no name selects.
    pub default_server: Arc<Server>,
    /// Servers by name.
    pub names: NameTable,
    /// Some server here has handlers that decide about handshakes; or had, until the listener is gone.
    pub has_tls_handlers: bool,
    /// Listeners that share this one's socket, by their specific address.
    pub children: HashMap<Address, Arc<str>>,
}

impl Listener {
    /// Connections that a session counts for against `worker_connections`, as nginx has it: one for the client, though
    /// that of a UDP session has no descriptor of its own, and one for the peer if it is relayed.
    pub fn session_cost(&self) -> u64 {
        1 + self.served_cost()
    }

    /// The same for a client that comes through a tunnel: it has no connection here, only its peer has.
    pub fn served_cost(&self) -> u64 {
        u64::from(matches!(self.default_server.content, Content::Proxy(_)))
    }
}

/// A virtual server.
pub struct Server {
    /// Its description.
    pub spec: Arc<spec::Server>,
    /// `error_log` of its own.
    pub error_log: Option<ErrorLogs>,
    /// `allow` and `deny`.
    pub access: Vec<Rule>,
    /// `set`: name and value.
    pub set: Vec<(Arc<str>, Template)>,
    /// Those of them that have to wait for the frame: the first that shows something of it, and all after that one.
    pub set_by_frame: Vec<(Arc<str>, Template)>,
    /// What the first bytes of a client are to make, if anything.
    pub frame: Option<Arc<Format>>,
    /// Handlers in Python, if there are any.
    pub handlers: Option<Box<Chains>>,
    /// TLS termination.
    pub tls: Option<Arc<ServerTls>>,
    /// What answers.
    pub content: Content,
    /// `access_log`s.
    pub access_log: Vec<AccessLog>,
    /// Sessions that are open now: for snapshots.
    pub sessions: Arc<std::sync::atomic::AtomicU64>,
}

impl Server {
    /// Whether handlers decide about handshakes with its clients.
    pub(crate) fn decides_handshakes(&self) -> bool {
        self.handlers.as_ref().is_some_and(|handlers| handlers.decide_handshakes())
    }

    /// Whether a table of rules chooses where its sessions go.
    pub fn asks_rules(&self) -> bool {
        matches!(&self.content, Content::Proxy(proxy) if matches!(proxy.target, Target::Rules(_)))
    }
}

/// What answers the client.
pub enum Content {
    /// Nothing.
    None,
    /// `return`.
    Return(Template),
    /// `proxy_pass`.
    Proxy(Box<Proxy>),
    /// `content_by_python`.
    Handler(Box<ContentHandler>),
}

/// `content_by_python`.
pub struct ContentHandler {
    /// The handler.
    pub chain: Chain,
    /// How long nobody may say anything.
    pub idle: Duration,
}

/// `proxy_pass` with linked templates; plain values are read from `spec`.
pub struct Proxy {
    /// Its description.
    pub spec: spec::Proxy,
    /// Where to.
    pub target: Target,
    /// `proxy_bind`: address and `transparent`.
    pub bind: Option<(Template, bool)>,
    /// `proxy_upload_rate`.
    pub upload_rate: Option<Template>,
    /// `proxy_download_rate`.
    pub download_rate: Option<Template>,
    /// TLS towards the peer, and the name to verify.
    pub tls: Option<(Arc<PeerTls>, Option<Template>)>,
}

/// Target of `proxy_pass`.
pub enum Target {
    /// Name of an upstream of the same plan.
    Upstream(Arc<str>),
    /// Evaluated per session.
    Variable(Template),
    /// Name of a table of rules, which chooses an upstream.
    Rules(Arc<str>),
}
