//! A worker: a thread with an event loop of its own, which accepts from all listeners and runs its sessions to the end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use qanat_plan::Level;
use tokio::sync::{mpsc, watch};
use tokio::task;

use crate::accept::{self, Acceptor};
use crate::error::describe;
use crate::gateway::shared::{Shared, Worker};
use crate::gateway::sockets::Orders;
use crate::listener::Share;
use crate::phase::mailbox;
use crate::udp;

/// Orders that may wait for a worker. Changes are made one at a time, so one is the rule.
const QUEUE: usize = 16;

/// How long the listeners that a change closes may take, together, to let go of their sockets. nginx has no directive
/// for it: a guard against a worker that is stuck, well below the time that the gateway gives the worker.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Shorter than the timeouts of sessions usually are, long enough to cost nothing. No behaviour depends on it.
const TICK: Duration = Duration::from_millis(500);

/// Orders for a worker, and where it answers with its index once it has followed them.
pub struct Command {
    /// What to do.
    pub orders: Orders,
    /// Where to answer.
    pub done: SyncSender<usize>,
}

/// The gateway's end of a worker.
pub struct Thread {
    /// What the thread shares with its sessions.
    pub worker: Arc<Worker>,
    /// Its event loop.
    pub runtime: tokio::runtime::Handle,
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<()>,
}

impl Thread {
    /// Starts a worker.
    ///
    /// # Errors
    /// If the system gives it no thread or no event loop.
    pub fn start(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let worker = Arc::new(Worker::new(index, shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, received) = mpsc::channel(QUEUE);
        let name = format!("qanat-worker-{index}");
        let local = Arc::clone(&worker);
        let handle_of_loop = runtime.handle().clone();
        let handle = std::thread::Builder::new().name(name).spawn(move || {
            runtime.spawn(tick());
            runtime.spawn(mailbox::serve());
            runtime.block_on(obey(local, received));
            // Ends all sessions; each writes its record as it is dropped.
            runtime.shutdown_timeout(Duration::ZERO);
        })?;
        Ok(Self { worker, runtime: handle_of_loop, commands, handle })
    }

    /// Hands over a command; false if the worker is gone or does not take any.
    pub fn send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Ends the worker with all of its sessions once the returned handle is joined.
    pub fn end(self) -> JoinHandle<()> {
        self.handle
    }
}

/// What serves a listener on this worker.
enum Serving {
    Streams(task::JoinHandle<()>),
    Datagrams(watch::Sender<bool>, task::JoinHandle<()>),
}

/// Keeps a timer in the near future. A session's timer that is the worker's next one makes tokio wake its own thread
/// through the kernel, a system call for each session; with this it never is the next.
async fn tick() {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
    }
}

/// Follows commands until there is nobody left to give them.
async fn obey(worker: Arc<Worker>, mut commands: mpsc::Receiver<Command>) {
    let mut listeners: HashMap<Arc<str>, Serving> = HashMap::new();
    while let Some(Command { orders, done }) = commands.recv().await {
        close(orders.close.iter().filter_map(|id| listeners.remove(id)).collect()).await;
        for (id, share) in orders.open {
            match Serving::open(&worker, &id, share) {
                Ok(serving) => drop(listeners.insert(id, serving)),
                Err(error) => {
                    let log = &worker.shared.plan.load().settings.error_log;
                    log.write(Level::Alert, &format!("epoll_ctl() for {id} failed ({})", describe(&error)));
                }
            }
        }
        let _nobody_waits = done.try_send(worker.index);
    }
}

impl Serving {
    fn open(worker: &Arc<Worker>, id: &Arc<str>, share: Share) -> io::Result<Self> {
        let (worker, id) = (Arc::clone(worker), Arc::clone(id));
        let turns = worker.shared.tunnels.gates.turns();
        Ok(match share {
            Share::Tcp(socket) => {
                let acceptor = Acceptor::Tcp(tokio::net::TcpListener::from_std(socket)?);
                Self::Streams(tokio::spawn(accept::run(worker, id, acceptor, turns)))
            }
            Share::Unix(socket) => {
                let acceptor = Acceptor::Unix(tokio::net::UnixListener::from_std(socket)?);
                Self::Streams(tokio::spawn(accept::run(worker, id, acceptor, turns)))
            }
            Share::Udp(socket) => {
                let (close, closed) = watch::channel(false);
                Self::Datagrams(close, tokio::spawn(udp::serve(worker, id, socket, closed)))
            }
        })
    }

    /// Has it let go of its socket; it has once the task is over.
    fn begin_close(self) -> task::JoinHandle<()> {
        match self {
            Self::Streams(task) => {
                task.abort();
                task
            }
            Self::Datagrams(close, task) => {
                close.send_replace(true);
                task
            }
        }
    }
}

/// Closes listeners, all at the same time. Returns when their sockets are closed.
async fn close(listeners: Vec<Serving>) {
    let tasks: Vec<_> = listeners.into_iter().map(Serving::begin_close).collect();
    let all = async {
        for task in tasks {
            // Cancelled is what a stream's should be.
            drop(task.await);
        }
    };
    drop(tokio::time::timeout(CLOSE_TIMEOUT, all).await);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Barrier, watch};

    use super::{CLOSE_TIMEOUT, Serving, close};
    use crate::clock::now;

    /// None of them ends before all have been told to.
    #[tokio::test]
    async fn listeners_close_together() {
        let all_told = Arc::new(Barrier::new(8));
        let listener = |all_told: Arc<Barrier>| {
            let (close, mut closed) = watch::channel(false);
            let task = tokio::spawn(async move {
                closed.changed().await.unwrap();
                all_told.wait().await;
            });
            Serving::Datagrams(close, task)
        };
        let began = now();
        close((0..8).map(|_| listener(Arc::clone(&all_told))).collect()).await;
        assert!(now().duration_since(began) < CLOSE_TIMEOUT);
    }
}
