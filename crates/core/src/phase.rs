//! The phases that handlers decide: access, those of TLS, preread, balance and log.
//!
//! This crate knows no interpreter: [`Hooks`] takes calls, somebody answers them. While a call is open its session is
//! lent to the handler ([`call::Exchange`]) and the worker serves the handler's wishes ([`drive`]): it reads ahead,
//! writes, watches the clock and the client. A session without handlers pays for one `Option`.

pub mod call;
pub mod content;
pub mod datagrams;
mod drive;
pub mod generation;
pub mod handshake;
pub mod input;
pub mod mailbox;
mod stages;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use qanat_plan as spec;

pub use self::call::Call;
pub use self::generation::Generation;
pub(crate) use self::handshake::{client_hello, verify};
pub(crate) use self::stages::{access, balance, log, log_unattended, preread};

/// What runs the handlers.
pub trait Hooks: Send + Sync {
    /// Takes a call in; false if there are too many already. Called by workers, so it must not block.
    fn submit(&self, call: Arc<Call>) -> bool;

    /// What the handler of a call waits for has come, or the call is to end: see [`call::Exchange::ending`].
    fn signal(&self, call: u64);

    /// Has whoever runs the handlers look. Called after the two before, once a batch if it can be.
    fn flush(&self);

    /// The last session and the last plan that used a load of the handlers are gone. Called by any thread, once.
    fn retire(&self, generation: u64);
}

/// A phase that handlers can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Who is admitted.
    Access,
    /// What the client's TLS offers.
    ClientHello,
    /// Which certificate the client is shown.
    Certificate,
    /// What the client's first bytes say.
    Preread,
    /// Which peer.
    Balance,
    /// What the client is answered.
    Content,
    /// Whether the peer is who it should be.
    Verify,
    /// What is to be remembered.
    Log,
}

impl Phase {
    /// Its name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::ClientHello => "ssl_client_hello",
            Self::Certificate => "ssl_certificate",
            Self::Preread => "preread",
            Self::Balance => "balance",
            Self::Content => "content",
            Self::Verify => "proxy_ssl_verify",
            Self::Log => "log",
        }
    }

    /// What a session does in it, for the error log.
    fn action(self) -> &'static str {
        match self {
            Self::Access => "running access handlers",
            Self::ClientHello => "running client hello handlers",
            Self::Certificate => "running certificate handlers",
            Self::Preread => "running preread handlers",
            Self::Balance => "running the balance handler",
            Self::Content => "running the content handler",
            Self::Verify => "running verify handlers",
            Self::Log => "running log handlers",
        }
    }
}

/// Handlers of one phase, one after another.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The phase.
    pub phase: Phase,
    /// The phase and the handlers' names, one a line: what a call is looked up by.
    pub key: Arc<str>,
    /// What the handlers did last.
    pub(crate) habit: Arc<Habit>,
}

/// How calls of a chain begin, learned from the last one.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    /// With a look at the client's bytes. Such a call is worth a moment of patience: with the bytes at hand the handler
    /// need not suspend.
    pub(crate) looks_first: AtomicBool,
}

impl Chain {
    /// The handlers of these names; none if there are none.
    pub(crate) fn link(phase: Phase, names: &[String]) -> Option<Self> {
        let key = || format!("{}\n{}", phase.name(), names.join("\n")).into();
        (!names.is_empty()).then(|| Self { phase, key: key(), habit: Arc::default() })
    }
}

/// The handlers of a server.
#[derive(Debug)]
pub struct Chains {
    /// `access_by_python`.
    pub access: Option<Chain>,
    /// `ssl_client_hello_by_python`.
    pub client_hello: Option<Chain>,
    /// `ssl_certificate_by_python`.
    pub certificate: Option<Chain>,
    /// `preread_by_python`.
    pub preread: Option<Chain>,
    /// `proxy_ssl_verify_by_python`.
    pub verify: Option<Chain>,
    /// `log_by_python`.
    pub log: Option<Chain>,
}

impl Chains {
    /// Links the handlers of a server, if it has any.
    pub(crate) fn link(handlers: &spec::Handlers) -> Option<Box<Self>> {
        let chains = Self {
            access: Chain::link(Phase::Access, &handlers.access),
            client_hello: Chain::link(Phase::ClientHello, &handlers.client_hello),
            certificate: Chain::link(Phase::Certificate, &handlers.certificate),
            preread: Chain::link(Phase::Preread, &handlers.preread),
            verify: Chain::link(Phase::Verify, &handlers.verify),
            log: Chain::link(Phase::Log, &handlers.log),
        };
        let lists = [&chains.access, &chains.preread, &chains.verify, &chains.log];
        let any = chains.decide_handshakes() || lists.iter().any(|list| list.is_some());
        any.then(|| Box::new(chains))
    }

    /// Whether some of them decide about TLS with clients.
    pub(crate) fn decide_handshakes(&self) -> bool {
        self.client_hello.is_some() || self.certificate.is_some()
    }
}
