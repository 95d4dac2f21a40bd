//! UDP: datagrams in and out of a listener, and the sessions between.
//!
//! One task drives a listener with all of its sessions on one worker: it receives a batch of datagrams, hands each to
//! the socket that its session has towards the peer, gathers what the peers answered, and sends that as a batch. A
//! datagram of a known session costs no allocation, no timer and no switch of tasks.
//!
//! Order within a turn: [`receive`] (and [`open`] for new sessions) → [`relay`] → [`handled`] → [`reply`]; [`close`] at
//! the end.

mod association;
mod close;
mod complaint;
mod connect;
mod flow;
mod handled;
mod open;
mod peer;
mod ready;
mod receive;
mod relay;
mod reply;
mod table;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use qanat_plan::Level;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

pub use close::is_lingering;
pub use flow::serve as serve_flow;

use crate::clock::{Instant, now};
use crate::error::{SessionError, describe};
use crate::gateway::shared::Worker;
use crate::phase;
use crate::session::registry::Open;
use crate::sys::datagram::{self, Batch};
use crate::udp::complaint::Complaint;
use crate::udp::handled::Handled;
use crate::udp::ready::ReadySet;
use crate::udp::reply::{OriginalSockets, Outbox};
use crate::udp::table::Table;

/// Batches that are handled before other tasks of the worker get their turn.
const ROUNDS: usize = 4;

/// A listener on one worker.
struct UdpListener {
    worker: Arc<Worker>,
    id: Arc<str>,
    /// The bound address, with the port that the system chose if none was asked for.
    address: SocketAddr,
    /// The socket; none once the listener is closed.
    receiver: Option<AsyncFd<Arc<UdpSocket>>>,
    /// How many datagrams the next batch asks for.
    want: usize,
    table: Table,
    /// Sessions that are with their handlers; none if there never was one.
    handled: Option<Box<Handled>>,
    ready: ReadySet,
    /// Taken from `ready`, kept for its memory.
    tokens: Vec<u32>,
    originals: OriginalSockets,
    /// The time at the beginning of the turn.
    now: Instant,
    alarm: Pin<Box<Sleep>>,
    /// What `alarm` is set to; none while it is not set.
    alarm_at: Option<Instant>,
    /// While it runs, nothing is received: receiving has failed.
    retry: Option<Pin<Box<Sleep>>>,
    /// That connections are not enough.
    full: Complaint,
    /// That receiving fails.
    deaf: Complaint,
}

/// Memory that all UDP listeners of a thread use in turn.
#[derive(Default)]
struct Arena {
    received: Batch,
    outbox: Outbox,
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::default();
}

/// Serves the listener `listener_id` on `worker`. Returns when `closed` turns true (or its sender is gone) and the
/// socket is let go of; sessions that are open then go on in a task of their own, see [`close`].
///
/// Cancel safe: dropping the future ends all sessions, each with its record.
pub async fn serve(
    worker: Arc<Worker>,
    listener_id: Arc<str>,
    socket: UdpSocket,
    mut closed: watch::Receiver<bool>,
) {
    let mut listener = match UdpListener::new(&worker, &listener_id, socket) {
        Ok(listener) => listener,
        Err(error) => {
            let message = format!("receiving on {listener_id} failed ({})", describe(&error));
            worker.shared.plan.load().settings.error_log.write(Level::Alert, &message);
            return;
        }
    };
    {
        // A sender that is gone closes the listener, too.
        let mut closing = pin!(closed.wait_for(|closed| *closed));
        // Unconstrained: a turn has a bound of its own, and every socket must be asked until it has no more.
        unconstrained(poll_fn(|cx| {
            if closing.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { listener.poll(cx) }
        }))
        .await;
    }
    listener.close();
    if !listener.table.is_empty() {
        tokio::spawn(unconstrained(poll_fn(move |cx| listener.poll(cx))));
    }
}

/// Ends a session, and writes its record. Its log handlers, if it has any, have a task of their own.
fn finish(mut open: Open, outcome: Result<(), SessionError>) {
    open.conclude(outcome);
    if open.session.server.handlers.as_ref().is_some_and(|chains| chains.log.is_some()) {
        tokio::spawn(log(open));
    }
}

/// Runs the log handlers of a session that has ended, then writes its record.
async fn log(mut open: Open) {
    open.session.is_logged = true;
    phase::log(&mut open.session).await;
}

impl UdpListener {
    fn new(worker: &Arc<Worker>, id: &Arc<str>, socket: UdpSocket) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let plan = worker.shared.plan.load();
        if address.ip().is_unspecified() {
            datagram::report_local(&socket, address.is_ipv6())?;
        }
        if plan.listeners.get(id).is_some_and(|listener| listener.spec.mesh) {
            datagram::report_original(&socket, address.is_ipv6())?;
        }
        let now = now();
        Ok(Self {
            worker: Arc::clone(worker),
            id: Arc::clone(id),
            address,
            receiver: Some(datagram::register(Arc::new(socket))?),
            want: 1,
            table: Table::default(),
            handled: None,
            ready: ReadySet::new()?,
            tokens: Vec::new(),
            originals: OriginalSockets::default(),
            now,
            alarm: Box::pin(sleep_until(now)),
            alarm_at: None,
            retry: None,
            full: Complaint::default(),
            deaf: Complaint::default(),
        })
    }

    /// A turn. Ready when the listener is closed and its last session has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ARENA.with_borrow_mut(|arena| {
            self.now = now();
            let mut busy = true;
            for _ in 0..ROUNDS {
                let received = self.receive(cx, arena);
                let relayed = self.relay(cx, arena);
                let heard = self.hear(cx, arena);
                arena.outbox.flush();
                busy = received || relayed || heard;
                if !busy {
                    break;
                }
            }
            if busy {
                cx.waker().wake_by_ref();
            }
        });
        if let Some(handled) = &mut self.handled {
            handled.flush();
        }
        self.expire(cx);
        if self.receiver.is_none() && self.table.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ends the sessions that were idle for too long, and sets the alarm for the next ones.
    fn expire(&mut self, cx: &mut Context<'_>) {
        loop {
            while let Some(index) = self.table.next_expired(self.now) {
                self.time_out(index);
            }
            let Some(due) = self.table.next_deadline() else { return };
            let is_set = self.alarm_at.is_some_and(|at| at <= due);
            if !is_set {
                self.alarm.as_mut().reset(due);
                self.alarm_at = Some(due);
            } else if self.alarm_at.is_some_and(|at| at > self.now) {
                // The alarm knows this task from when it was set.
                return;
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.alarm_at = None;
            self.now = now();
        }
    }
}
