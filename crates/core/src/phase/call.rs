//! A call of handlers: what the worker and the interpreter's thread share while it is open.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::address::Address;
use crate::balance::load::{Held, Load};
use crate::error::SessionError;
use crate::phase::content::Duplex;
use crate::phase::datagrams::{Datagrams, Received, Sending};
use crate::phase::handshake::{Hello, Shown};
use crate::phase::input::{Input, Lack, Wish};
use crate::phase::mailbox::Mailbox;
use crate::phase::{Chain, Habit, Phase};
use crate::plan::Content;
use crate::session::Session;
use crate::tls::CertifiedKey;

/// Bytes to the client that a handler may leave to the worker before it has to wait.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

/// Attempts to reach a peer that a handler can have for one session where `proxy_next_upstream_tries` sets no limit: a
/// peer that refuses at once would otherwise be asked without end.
pub const MOST_TRIES: u32 = 100;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A call of the handlers of one phase for one session.
pub struct Call {
    /// Unique in this process.
    pub id: u64,
    /// Which load of them.
    pub generation: u64,
    /// How many attempts to reach a peer were made before.
    pub tries: usize,
    /// Why the last one of them failed.
    pub last_failure: Option<Failure>,
    /// Where its worker is told of the answer; none if it runs on no worker.
    pub mailbox: Option<Arc<Mailbox>>,
    exchange: Mutex<Exchange>,
}

/// Why an attempt to reach a peer failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The peer.
    pub peer: Arc<str>,
    /// What the error log says.
    pub reason: String,
    /// What kind of failure it was.
    pub kind: FailureKind,
}

/// How an attempt to reach a peer can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nobody listens there.
    Refused,
    /// It took longer than was allowed.
    TimedOut,
    /// The peer broke the connection.
    Reset,
    /// No way leads there.
    Unreachable,
    /// The TLS handshake failed, or the peer is not who it should be.
    Tls,
    /// Something else.
    Failed,
}

impl FailureKind {
    /// What `error` was, which ended an attempt; `in_tls` if that was in the TLS handshake.
    pub(crate) fn of(error: &SessionError, in_tls: bool) -> Self {
        match error.cause.as_ref().and_then(io::Error::raw_os_error) {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(libc::ECONNRESET | libc::EPIPE) => Self::Reset,
            Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENOENT) => Self::Unreachable,
            _ if in_tls => Self::Tls,
            _ => Self::Failed,
        }
    }
}

/// What changes while a call is open. Held for moments only, and never while waiting for anything.
pub struct Exchange {
    /// The session, lent; none once the call is over.
    pub session: Option<Session>,
    /// What is being run.
    chain: Chain,
    /// What may follow in the same call: the balance handler after preread.
    pub(super) then: Option<Chain>,
    has_moved: bool,
    /// What is to learn how the handlers begin; none once they have.
    learning: Option<Arc<Habit>>,
    /// The clock of the handlers begins anew.
    pub(super) is_restarted: bool,
    /// What the client has sent.
    pub input: Input,
    /// What the handler waits for.
    pub wish: Option<Wish>,
    /// Bytes for the client.
    pub output: Vec<u8>,
    /// Instead of them, if it sends datagrams.
    pub datagrams: Option<Arc<Datagrams>>,
    /// The handler waits until its bytes are written.
    pub drains: bool,
    /// More attempts that the balance handler asks for.
    pub more_tries: u32,
    /// The handshake, in the phases of TLS with the client.
    pub hello: Option<Box<Hello>>,
    /// The peer's certificates, in the phase that verifies them.
    pub shown: Option<Box<Shown>>,
    /// The client's connection, while a content handler has it.
    pub duplex: Option<Box<Duplex>>,
    /// Why the handler is to end.
    pub ending: Option<Ending>,
    verdict: Option<Verdict>,
    waker: Option<Waker>,
}

/// Why a handler is to end before it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has left.
    ClientLeft,
    /// `python_timeout` has passed.
    Deadline,
    /// Nobody has said anything to the client, or it to anybody, for `proxy_timeout`.
    Idle,
}

/// What handlers come to.
#[derive(Debug)]
pub enum Verdict {
    /// The session goes on.
    Continue,
    /// The session ends with this status, after this text.
    Reject(u16, Vec<u8>),
    /// A peer.
    Peer(Arc<Choice>),
    /// The certificate to show to the client.
    Certificate(Arc<CertifiedKey>),
    /// The peer is who it should be, whatever else speaks against it.
    Accept,
    /// The client is at fault: it ended, was silent, or sent too much.
    Client(u16, String),
    /// The handler failed: the line of the error log.
    Failed(String),
}

/// A choice that was made before it was due.
pub struct Balanced {
    pub(super) key: Arc<str>,
    pub(super) choice: Option<Arc<Choice>>,
    pub(super) more_tries: u32,
}

/// A peer that a handler chose.
#[derive(Debug)]
pub struct Choice {
    /// Where to connect.
    pub address: Address,
    /// The address as logs show it.
    pub text: Arc<str>,
    /// Whether to speak TLS; none leaves it to `proxy_ssl`.
    pub tls: Option<bool>,
    /// The name to verify and to send instead of `proxy_ssl_name`.
    pub name: Option<Arc<str>>,
    /// Instead of `proxy_connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// Instead of `proxy_timeout`.
    pub timeout: Option<Duration>,
    /// The sessions that are open through it.
    pub load: Arc<Load>,
    _held: Option<Held>,
}

impl Choice {
    /// A peer at an address: `IP:PORT`, `[V6]:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// If it is not an address.
    pub fn new(address: &str) -> io::Result<Self> {
        let parsed = Address::parse(address);
        let parsed = parsed.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self {
            load: Load::of(&parsed),
            address: parsed,
            text: address.into(),
            tls: None,
            name: None,
            connect_timeout: None,
            timeout: None,
            _held: None,
        })
    }

    /// The same for one session, which is counted from now on until what is returned is dropped: so that whoever
    /// chooses next, in the same batch, knows of this choice.
    #[must_use]
    pub fn hold(&self) -> Arc<Self> {
        Arc::new(Self {
            address: self.address.clone(),
            text: Arc::clone(&self.text),
            tls: self.tls,
            name: self.name.clone(),
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            load: Arc::clone(&self.load),
            _held: Some(self.load.hold()),
        })
    }
}

impl Call {
    /// Opens a call for `session`, which is moved in and taken out by [`Self::close`].
    pub(super) fn open(chain: &Chain, session: Session, input: Input, tries: Tried) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            generation: session.plan.settings.handlers.number,
            tries: tries.count,
            last_failure: tries.last_failure,
            mailbox: Mailbox::own(),
            exchange: Mutex::new(Exchange {
                session: Some(session),
                chain: chain.clone(),
                then: None,
                has_moved: false,
                learning: Some(Arc::clone(&chain.habit)),
                is_restarted: false,
                input,
                wish: None,
                output: Vec::new(),
                datagrams: None,
                drains: false,
                more_tries: 0,
                hello: None,
                shown: None,
                duplex: None,
                ending: None,
                verdict: None,
                waker: None,
            }),
        })
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.exchange.lock().chain.phase
    }

    /// Which handlers: [`Chain::key`].
    pub fn key(&self) -> Arc<str> {
        Arc::clone(&self.exchange.lock().chain.key)
    }

    /// Goes on to the phase that follows, if it is part of this call. False if the call has to be answered now.
    pub fn move_on(&self) -> bool {
        let mut exchange = self.exchange.lock();
        if exchange.verdict.is_some() || exchange.session.is_none() || exchange.ending.is_some() {
            return false;
        }
        let Some(next) = exchange.then.take() else { return false };
        exchange.begin(false);
        exchange.chain = next;
        exchange.has_moved = true;
        exchange.is_restarted = true;
        true
    }

    /// What changes. Do nothing long with it: a worker may be waiting.
    pub fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock()
    }

    /// Answers the call, whose task is to be woken then. Only the first answer counts: none if it is another one.
    pub fn answer(&self, verdict: Verdict) -> Option<Waker> {
        let mut exchange = self.exchange.lock();
        if exchange.verdict.is_some() || exchange.session.is_none() {
            return None;
        }
        exchange.begin(false);
        exchange.verdict = Some(verdict);
        exchange.wish = None;
        exchange.waker.take()
    }

    /// The task of the worker, to be woken if it should look at what the handler has asked for.
    pub fn task(&self) -> Option<Waker> {
        self.exchange.lock().waker.take()
    }
}

/// Attempts to reach a peer that were made before a call.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) count: usize,
    pub(crate) last_failure: Option<Failure>,
}

impl Exchange {
    /// Whether the handler's answer is here.
    pub fn is_answered(&self) -> bool {
        self.verdict.is_some()
    }

    /// Takes the next datagram of a session that has such, and counts it.
    pub fn receive(&mut self, call: u64) -> Option<Received> {
        let received = self.datagrams.as_ref()?.receive(call);
        if let (Received::Datagram(_, count), Some(session)) = (&received, &mut self.session) {
            session.bytes_received += count;
        }
        Some(received)
    }

    /// Sends a datagram to the client of a session that has such, and counts it.
    pub fn send(&mut self, bytes: &[u8]) -> Option<Sending> {
        let sending = self.datagrams.as_ref()?.send(bytes);
        if let (Sending::Taken(_), Some(session)) = (&sending, &mut self.session) {
            session.bytes_sent += bytes.len() as u64;
        }
        Some(sending)
    }

    /// Asks for more attempts to reach a peer, after `made` were made before. Returns how many of them the
    /// `proxy_next_upstream` and `proxy_next_upstream_tries` of the session leave.
    pub fn ask_for_tries(&mut self, count: u32, made: usize) -> u32 {
        let rules = self.session.as_ref().and_then(|session| match &session.server.content {
            Content::Proxy(proxy) => Some(&proxy.spec),
            _ => None,
        });
        let limit = match rules {
            Some(rules) if !rules.next_upstream => 0,
            Some(rules) if rules.next_upstream_tries > 0 => rules.next_upstream_tries,
            _ => MOST_TRIES,
        };
        let left = (limit as usize).saturating_sub(made + 1);
        let most = u32::try_from(left).unwrap_or(u32::MAX);
        let granted = count.min(most.saturating_sub(self.more_tries));
        self.more_tries = self.more_tries.saturating_add(granted);
        granted
    }

    /// The end of the bytes that a handler looks for: see [`Input::find`].
    ///
    /// # Errors
    /// Why they will not come.
    pub fn look(&mut self, wish: &Wish) -> Result<Option<usize>, Lack> {
        self.begin(true);
        self.input.find(wish)
    }

    /// Adds to what is sent to the client.
    pub fn write(&mut self, bytes: &[u8]) {
        self.begin(false);
        self.output.extend_from_slice(bytes);
    }

    /// The handlers' first act, a look at the client's bytes or something else, is their habit.
    fn begin(&mut self, looks: bool) {
        if let Some(habit) = self.learning.take() {
            habit.looks_first.store(looks, Ordering::Relaxed);
        }
    }

    /// Which balance handler was run in this call, and how many more tries it wants.
    pub(super) fn balanced(&self) -> Option<(Arc<str>, u32)> {
        self.has_moved.then(|| (Arc::clone(&self.chain.key), self.more_tries))
    }

    pub(super) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    pub(super) fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}
