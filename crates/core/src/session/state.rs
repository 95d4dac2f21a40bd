//! The whole state of a session. Every stage reads and writes it; nothing else is passed along.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::Protocol;
use smallvec::SmallVec;

use crate::address::Address;
use crate::clock::{self, Instant};
use crate::log::error::ErrorLogs;
use crate::phase::call::{Balanced, Choice};
use crate::phase::handshake::Shown;
use crate::plan::{Listener, Plan, Server};
use crate::preread::frame::Frame;
use crate::session::vars::Values;
use crate::tls::TlsInfo;

/// A session. It keeps the plan that it began with.
pub struct Session {
    /// Serial number, `$connection`.
    pub id: u64,
    /// The plan when it began.
    pub plan: Arc<Plan>,
    /// Where it arrived.
    pub listener: Arc<Listener>,
    /// The virtual server that it is matched to; changes until content begins.
    pub server: Arc<Server>,
    /// The client.
    pub client: Address,
    /// The address that the client connected to, once known: see [`Self::local`].
    pub local: Option<Address>,
    /// When it began.
    pub started: Instant,
    /// What it is doing, for the error log: `connecting to upstream`.
    pub action: &'static str,
    /// Status, once ended.
    pub status: u16,
    /// The log handlers have been called.
    pub(crate) is_logged: bool,
    /// Payload bytes from the client.
    pub bytes_received: u64,
    /// Payload bytes to the client.
    pub bytes_sent: u64,
    /// Connection attempts to peers, in order.
    pub attempts: SmallVec<[Attempt; 1]>,
    /// Variables that were set or computed.
    pub values: Values,
    /// What only some sessions know.
    pub facts: Option<Box<Facts>>,
}

/// Facts that only some sessions have.
#[derive(Default)]
pub struct Facts {
    /// Original destination of a mesh session.
    pub original: Option<SocketAddr>,
    /// The tunnel that the client has come through.
    pub tunnel: Option<Arc<str>>,
    /// The TLS session with the client.
    pub tls: Option<TlsInfo>,
    /// What `ssl_preread` saw.
    pub hello: Option<PrereadHello>,
    /// The frame that the client began with.
    pub frame: Option<Frame>,
    /// What the incoming PROXY header said.
    pub proxy_header: Option<ProxyHeader>,
    /// What a handler wants of the peer of the present attempt.
    pub choice: Option<Arc<Choice>>,
    /// What the peer of the present attempt has shown, until handlers have judged it.
    pub shown: Option<Box<Shown>>,
    /// What the rules of the session's server decided.
    pub route: Option<Route>,
    /// The peer that a handler chose already.
    pub balanced: Option<Box<Balanced>>,
    /// What handlers keep from one phase to the next.
    pub context: Option<Box<dyn Any + Send + Sync>>,
}

/// The ClientHello as `$ssl_preread_*` show it.
#[derive(Debug, Default)]
pub struct PrereadHello {
    /// `$ssl_preread_protocol`.
    pub protocol: &'static str,
    /// `$ssl_preread_server_name`, as the client sent it.
    pub server_name: Vec<u8>,
    /// `$ssl_preread_alpn_protocols`, joined by commas.
    pub alpn: Vec<u8>,
}

/// The decision of a table of rules.
#[derive(Clone, Debug)]
pub struct Route {
    /// `$rule`.
    pub rule: Arc<str>,
    /// Name of the upstream; none if the session is rejected.
    pub upstream: Option<Arc<str>>,
}

/// Addresses and extensions of an incoming PROXY header.
#[derive(Debug, Default)]
pub struct ProxyHeader {
    /// `$proxy_protocol_addr`, `$proxy_protocol_port`.
    pub client: Option<SocketAddr>,
    /// `$proxy_protocol_server_addr`, `$proxy_protocol_server_port`.
    pub server: Option<SocketAddr>,
    /// The raw TLVs of version 2.
    pub tlvs: Vec<u8>,
}

/// One attempt to reach a peer.
#[derive(Debug)]
pub struct Attempt {
    /// `$upstream_addr`.
    pub peer: Arc<str>,
    /// When it began.
    pub started: Instant,
    /// `$upstream_connect_time`.
    pub connected: Option<Duration>,
    /// `$upstream_first_byte_time`.
    pub first_byte: Option<Duration>,
    /// `$upstream_session_time`.
    pub ended: Option<Duration>,
    /// `$upstream_bytes_sent`.
    pub bytes_sent: u64,
    /// `$upstream_bytes_received`.
    pub bytes_received: u64,
}

impl Attempt {
    /// An attempt that begins now.
    pub fn begin(peer: Arc<str>) -> Self {
        Self {
            peer,
            started: clock::now(),
            connected: None,
            first_byte: None,
            ended: None,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

impl Session {
    /// A session that begins now, matched to the default server of `listener`.
    pub fn begin(id: u64, plan: Arc<Plan>, listener: Arc<Listener>, client: Address) -> Self {
        let server = Arc::clone(&listener.default_server);
        Self {
            id,
            plan,
            listener,
            server,
            client,
            local: None,
            started: clock::now(),
            action: "initializing session",
            status: 0,
            is_logged: false,
            bytes_received: 0,
            bytes_sent: 0,
            attempts: SmallVec::new(),
            values: Values::default(),
            facts: None,
        }
    }

    /// The last attempt is over, if it was not before, and the peer that a handler chose has one session less.
    pub fn end_attempt(&mut self) {
        if let Some(facts) = &mut self.facts {
            facts.choice = None;
            facts.balanced = None;
        }
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(attempt.started.elapsed());
        }
    }

    /// Another session of the same plan and place that knows nothing else: what stands in for this one while it is
    /// lent to a handler.
    #[must_use]
    pub fn stand_in(&self) -> Self {
        Self {
            id: self.id,
            plan: Arc::clone(&self.plan),
            listener: Arc::clone(&self.listener),
            server: Arc::clone(&self.server),
            client: self.client.clone(),
            local: None,
            started: self.started,
            action: self.action,
            status: self.status,
            is_logged: self.is_logged,
            bytes_received: 0,
            bytes_sent: 0,
            attempts: SmallVec::new(),
            values: Values::default(),
            facts: None,
        }
    }

    /// TCP or UDP.
    pub fn protocol(&self) -> Protocol {
        self.listener.spec.protocol
    }

    /// The facts, made on first use.
    pub fn facts_mut(&mut self) -> &mut Facts {
        self.facts.get_or_insert_default()
    }

    /// The TLS session with the client, if there is one.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.facts.as_ref()?.tls.as_ref()
    }

    /// What a handler wants of the peer of the present attempt.
    pub fn choice(&self) -> Option<&Choice> {
        self.facts.as_ref()?.choice.as_deref()
    }

    /// What the rules of its server decided.
    pub fn route(&self) -> Option<&Route> {
        self.facts.as_ref()?.route.as_ref()
    }

    /// Where lines about this session go.
    pub fn error_log(&self) -> &ErrorLogs {
        self.server.error_log.as_ref().unwrap_or(&self.plan.settings.error_log)
    }

    /// The original destination of a mesh session.
    pub fn original(&self) -> Option<SocketAddr> {
        self.facts.as_ref()?.original
    }

    /// The tunnel that the session has come through, or else the one that it goes through, and the service.
    pub fn tunnelled(&self) -> Option<(&str, &str)> {
        if let Some(name) = self.facts.as_ref().and_then(|facts| facts.tunnel.as_deref()) {
            return Some((name, self.listener.spec.id.strip_prefix("tunnel:")?));
        }
        self.attempts.last()?.peer.strip_prefix("tunnel:")?.split_once('/')
    }

    /// Switches to the server that `name` selects on this listener; keeps the present one if none does.
    /// Captures of a regular expression become variables.
    pub fn switch_server(&mut self, name: &str) -> bool {
        let Some(found) = self.listener.names.find(name) else { return false };
        self.values.set_captures(found.captures);
        self.server = found.server;
        true
    }
}
