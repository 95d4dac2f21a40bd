//! The running data plane: worker threads, and the way a change reaches them.
//!
//! A change takes two steps, so that it can be stored in between: [`Gateway::prepare`] does everything that can fail
//! and shows nothing, [`Gateway::commit`] makes it visible everywhere before it returns.

pub mod shared;
pub mod sockets;
pub mod worker;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;
use qanat_plan::{self as spec, ChangeSet, Level, Options, RuleQuery, RuleVerdict};

use crate::error::ApplyError;
use crate::gateway::shared::{Shared, Worker};
use crate::gateway::sockets::{Orders, Sockets, Step};
use crate::gateway::worker::{Command, Thread};
use crate::log::writer::LogWriter;
use crate::phase::Hooks;
use crate::plan::Plan;
use crate::plan::link::{Context, link};
use crate::rules;
use crate::snapshot;
use crate::tls::TlsContext;
use crate::tunnel::{self, Tunnels};

/// How long a worker may take to follow orders, or to end. nginx has no directive for it, since nobody waits for its
/// workers: a guard against a worker that is stuck, far above what a change takes.
const WORKER_TIMEOUT: Duration = Duration::from_secs(5);

/// A running data plane.
pub struct Gateway {
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    state: Mutex<State>,
}

/// What only changes touch, one at a time.
struct State {
    threads: Vec<Thread>,
    sockets: Sockets,
    pending: Option<Pending>,
    last_ticket: u64,
}

/// A prepared change.
struct Pending {
    ticket: u64,
    plan: Arc<Plan>,
    step: Step,
}

impl Gateway {
    /// Starts the workers, with an empty plan.
    ///
    /// # Errors
    /// If the system refuses a thread, an event loop or random numbers.
    pub fn new(options: &Options) -> io::Result<Self> {
        Self::with_hooks(options, None)
    }

    /// As [`Self::new`], with handlers that `hooks` runs.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_hooks(options: &Options, hooks: Option<Arc<dyn Hooks>>) -> io::Result<Self> {
        let tls = TlsContext::new().map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(LogWriter::start()?, tls));
        let tunnel_registry = Some(Arc::clone(&shared.tunnels));
        shared.plan.store(Arc::new(Plan { hooks, tunnel_registry, ..Plan::default() }));
        let workers = usize::try_from(options.workers.max(1)).unwrap_or(1);
        let threads = (0..workers).map(|index| Thread::start(index, Arc::clone(&shared)));
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        let workers = threads.iter().map(|thread| Arc::clone(&thread.worker)).collect();
        let sockets = Sockets::new(&shared.tunnels.gates);
        let state = State { threads, sockets, pending: None, last_ticket: 0 };
        Ok(Self { shared, workers, state: Mutex::new(state) })
    }

    /// Links `change` and binds its new sockets. Returns a ticket for [`Self::commit`] or [`Self::abort`].
    ///
    /// # Errors
    /// What is wrong with the plan, or the listener that cannot be bound. Nothing has changed then.
    pub fn prepare(&self, change: &ChangeSet) -> Result<u64, ApplyError> {
        let mut state = self.state.lock();
        if state.pending.is_some() {
            return Err(refuse_change_set("another change is being made"));
        }
        if state.threads.is_empty() {
            return Err(refuse_change_set("the gateway has stopped"));
        }
        if self.shared.draining.load(Ordering::SeqCst) {
            return Err(refuse_change_set("the gateway is draining"));
        }
        let present = self.shared.plan.load();
        if change.settings.is_none() && present.revision == 0 {
            return Err(refuse_change_set("the first change set has no settings"));
        }
        let context = Context { logs: &self.shared.logs, tls: &self.shared.tls };
        let plan = link(&present, change, &context)?;
        let step = state.sockets.prepare(&plan, change, state.threads.len())?;
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.pending = Some(Pending { ticket, plan: Arc::new(plan), step });
        Ok(ticket)
    }

    /// Makes a prepared change live. When it returns, every new session sees it, and removed listeners are closed.
    ///
    /// # Errors
    /// An unknown ticket; or a worker that does not answer, in which case the change is live all the same.
    pub fn commit(&self, ticket: u64) -> Result<(), ApplyError> {
        let mut state = self.state.lock();
        let Pending { plan, step, .. } = state.take_pending(ticket)?;
        plan.settings.handlers.put_to_use();
        let before = self.shared.plan.swap(plan);
        let workers = state.threads.len();
        let (orders, complaints) = state.sockets.commit(step, workers);
        let plan = self.shared.plan.load();
        for line in &complaints {
            plan.settings.error_log.write(Level::Warn, line);
        }
        state.order(orders)?;
        self.shared.tunnels.reconcile(&plan, &state.threads);
        self.shared.tunnels.offer_anew(&before, &plan);
        if let (Some(before), Some(node)) = (&before.settings.tunnels, &plan.settings.tunnels)
            && !Arc::ptr_eq(before, node)
        {
            self.shared.tunnels.enforce(node);
        }
        Ok(())
    }

    /// Drops a prepared change and closes the sockets that it bound.
    ///
    /// # Errors
    /// An unknown ticket.
    pub fn abort(&self, ticket: u64) -> Result<(), ApplyError> {
        self.state.lock().take_pending(ticket).map(drop)
    }

    /// Tries whether a tunnel could be brought up, and leaves nothing behind.
    ///
    /// # Errors
    /// Why it could not.
    pub fn probe_tunnel(&self, tunnel: spec::Tunnel) -> Result<(), String> {
        let node = self.shared.plan.load().settings.tunnels.clone();
        let node = node.ok_or("there is no \"tunnels\" block")?;
        let patience = Duration::from_millis(node.spec.handshake_timeout_ms) + WORKER_TIMEOUT;
        let probing = async move { tunnel::probe(&tunnel, &node).await };
        self.run(patience, probing).unwrap_or_else(|| Err("timed out".to_owned()))
    }

    /// Asks for a tunnel, and waits until it is up; false if it is not by then.
    pub fn wait_for_tunnel(&self, name: &str, patience: Duration) -> bool {
        self.shared.tunnels.want(name);
        let (tunnels, name) = (Arc::clone(&self.shared.tunnels), name.to_owned());
        self.run(patience, async move { tunnels.up(&name).await }).is_some()
    }

    /// The tunnels.
    pub fn tunnels(&self) -> &Tunnels {
        &self.shared.tunnels
    }

    /// Runs something on the first worker, and waits for it.
    fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.state.lock().threads.first()?.runtime.clone();
        let (done, result) = sync_channel(1);
        let task = runtime.spawn(async move {
            let _nobody_waits = done.send(work.await);
        });
        let result = result.recv_timeout(patience).ok();
        task.abort();
        result
    }

    /// State as `MessagePack`, by name; none for an unknown name.
    pub fn snapshot(&self, what: &str) -> Option<Vec<u8>> {
        snapshot::read(&self.shared, &self.workers, what)
    }

    /// Writes a line to the main error logs that admit `level`.
    pub fn log(&self, level: Level, message: &str) {
        self.shared.plan.load().settings.error_log.write(level, message);
    }

    /// Opens every log file anew.
    pub fn reopen_logs(&self) {
        self.shared.logs.reopen();
    }

    /// Closes all listeners; sessions go on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        let patience = Duration::from_millis(self.shared.plan.load().settings.shutdown_timeout_ms);
        self.shared.tunnels.drain(None, patience);
        let mut state = self.state.lock();
        state.pending = None;
        let workers = state.threads.len();
        let orders = state.sockets.close_all(workers);
        // A worker that does not follow is busy; its sockets refuse already.
        drop(state.order(orders));
    }

    /// Asks the rules of a table about a session that might come; none if there is no such table.
    pub fn explain_rules(&self, query: &RuleQuery) -> Option<RuleVerdict> {
        let plan = self.shared.plan.load();
        plan.rules.get(query.table.as_str()).map(|table| rules::explain(table, query))
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> u64 {
        self.shared.counters.open.load(Ordering::Relaxed)
    }

    /// Ends all sessions and workers, and writes out the logs. Every session has its record then.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.pending = None;
        let workers = state.threads.len();
        drop(state.sockets.close_all(workers));
        let (ended, all_ended) = sync_channel(workers);
        for thread in state.threads.drain(..) {
            let handle = thread.end();
            let ended = ended.clone();
            // A thread of its own, so that a worker that hangs does not hang the caller.
            let join = move || {
                drop(handle.join());
                let _nobody_waits = ended.send(());
            };
            drop(std::thread::Builder::new().name("qanat-stop".into()).spawn(join));
        }
        for _ in 0..workers {
            if all_ended.recv_timeout(WORKER_TIMEOUT).is_err() {
                self.log(Level::Alert, "a worker does not end");
                break;
            }
        }
        self.shared.logs.flush();
    }
}

impl State {
    fn take_pending(&mut self, ticket: u64) -> Result<Pending, ApplyError> {
        match self.pending.take() {
            Some(pending) if pending.ticket == ticket => Ok(pending),
            other => {
                self.pending = other;
                Err(ApplyError::Ticket(ticket))
            }
        }
    }

    /// Gives each worker its orders, and waits until all have followed them.
    fn order(&self, orders: Vec<Orders>) -> Result<(), ApplyError> {
        let (done, answers) = sync_channel(self.threads.len());
        let mut waiting: Vec<usize> = (0..self.threads.len()).collect();
        for (thread, orders) in self.threads.iter().zip(orders) {
            if !thread.send(Command { orders, done: done.clone() }) {
                return Err(ApplyError::Worker(thread.worker.index));
            }
        }
        drop(done);
        while let Some(first) = waiting.first().copied() {
            match answers.recv_timeout(WORKER_TIMEOUT) {
                Ok(index) => waiting.retain(|waiting| *waiting != index),
                Err(_) => return Err(ApplyError::Worker(first)),
            }
        }
        Ok(())
    }
}

/// Checks a change set that starts from nothing, opening no socket.
///
/// # Errors
/// What is wrong with it.
pub fn check(change: &ChangeSet) -> Result<(), ApplyError> {
    let refuse = |error: String| refuse_change_set(&error);
    let logs = LogWriter::start().map_err(|error| refuse(error.to_string()))?;
    let tls = TlsContext::new().map_err(refuse)?;
    if change.settings.is_none() {
        return Err(refuse_change_set("the first change set has no settings"));
    }
    link(&Plan::default(), change, &Context { logs: &logs, tls: &tls }).map(drop)
}

fn refuse_change_set(message: &str) -> ApplyError {
    ApplyError::Plan {
        kind: "change_set",
        id: String::new(),
        field: String::new(),
        message: message.to_owned(),
        origin: String::new(),
    }
}
