//! Accepting: one loop per worker and stream listener. It survives every shortage by waiting, and starts sessions.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use qanat_plan::{Level, Role};
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use crate::address::Address;
use crate::error::describe;
use crate::gateway::shared::Worker;
use crate::plan::{Listener, Plan};
use crate::session::Session;
use crate::session::registry::Open;
use crate::session::run;
use crate::shortage;
use crate::stream::Socket;
use crate::tunnel;

/// Connections taken in a row before sessions get their turn.
const BATCH: u32 = 32;

/// A listening stream socket.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

/// Accepts for the listener `id` until it is closed; `turns` of the gates were seen before it was watched. Cancel safe.
pub async fn run(worker: Arc<Worker>, id: Arc<str>, mut acceptor: Acceptor, mut turns: u64) {
    let gates = Arc::clone(&worker.shared.tunnels.gates);
    let mut batch = 0;
    loop {
        worker.pause.over().await;
        wait_for_room(&worker, &id).await;
        let accepted = poll_fn(|cx| {
            // A pause may have begun while it waited, or the socket been shut down for a while.
            if worker.pause.is_on() || gates.turns() != turns {
                Poll::Ready(None)
            } else {
                acceptor.poll_accept(cx).map(Some)
            }
        });
        match accepted.await {
            Some(Ok((socket, client))) => start(&worker, &id, socket, client),
            Some(Err(error)) if is_closed(&error) => {
                // It refuses for a while, or it is closed for good.
                let is_over = !gates.opened(&id).await && !acceptor.listens();
                if is_over {
                    return;
                }
            }
            Some(Err(error)) => recover(&worker, &error),
            None => {}
        }
        if gates.turns() != turns {
            turns = gates.turns();
            match acceptor.watched_anew() {
                Ok(renewed) => acceptor = renewed,
                Err(error) => return recover(&worker, &error),
            }
        }
        batch += 1;
        if batch == BATCH {
            batch = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl Acceptor {
    /// The same, as the event loop has never seen it. A socket that was shut down once seems ready to it for ever.
    fn watched_anew(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener.into_std()?)?),
            // Those are never shut down and used again.
            Self::Unix(listener) => Self::Unix(listener),
        })
    }

    /// Whether it listens now.
    fn listens(&self) -> bool {
        let listens = match self {
            Self::Tcp(listener) => SockRef::from(listener).is_listener(),
            Self::Unix(listener) => SockRef::from(listener).is_listener(),
        };
        listens.unwrap_or(false)
    }

    /// The next connection.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Address)>> {
        Poll::Ready(Ok(match self {
            Self::Tcp(listener) => {
                let (socket, client) = ready!(listener.poll_accept(cx))?;
                (Socket::Tcp(socket), Address::Inet(client))
            }
            Self::Unix(listener) => {
                let (socket, client) = ready!(listener.poll_accept(cx))?;
                let path = client.as_pathname().and_then(|path| path.to_str()).unwrap_or_default();
                (Socket::Unix(socket), Address::Unix(path.into()))
            }
        }))
    }
}

/// Starts a session with the plan of this moment.
fn start(worker: &Arc<Worker>, id: &Arc<str>, socket: Socket, client: Address) {
    let plan = worker.shared.plan.load_full();
    // A listener that was removed a moment ago: the connection is closed, as the rest of its queue is.
    let Some(listener) = plan.listeners.get(id).map(Arc::clone) else { return };
    if listener.spec.role == Role::Tunnels {
        welcome(worker, &plan, socket);
        return;
    }
    let descriptors = listener.session_cost();
    let (local, listener) = arrive(&plan, listener, &socket);
    let mut session = Session::begin(worker.shared.next_session(), plan, listener, client);
    session.local = local;
    tokio::spawn(run::run(Open::begin(Arc::clone(worker), session, descriptors), socket));
}

/// A gateway that brings up a tunnel.
fn welcome(worker: &Arc<Worker>, plan: &Plan, socket: Socket) {
    if let (Some(node), Socket::Tcp(tcp)) = (&plan.settings.tunnels, socket) {
        tokio::spawn(tunnel::welcome(Arc::clone(worker), Arc::clone(node), tcp));
    }
}

/// The address that the client connected to, where the listener leaves it open, and the listener of just that address.
fn arrive(plan: &Plan, listener: Arc<Listener>, socket: &Socket) -> (Option<Address>, Arc<Listener>) {
    let Socket::Tcp(tcp) = socket else { return (None, listener) };
    if !listener.address.is_wildcard() {
        return (None, listener);
    }
    let Ok(local) = tcp.local_addr().map(Address::Inet) else { return (None, listener) };
    let child = listener.children.get(&local).and_then(|child| plan.listeners.get(child));
    let listener = child.map(Arc::clone).unwrap_or(listener);
    (Some(local), listener)
}

/// Returns when `worker_connections` admits one more session.
async fn wait_for_room(worker: &Worker, id: &str) {
    let mut told = false;
    loop {
        let freed = worker.room.notified();
        {
            let plan = worker.shared.plan.load();
            let Some(listener) = plan.listeners.get(id) else { return };
            if worker.has_room(&plan.settings, listener.session_cost()) {
                return;
            }
            if !told {
                told = true;
                worker.complain_of_room(&plan.settings);
            }
        }
        freed.await;
    }
}

/// The listening socket has been shut down.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF))
}

/// Goes on after a failed `accept`: at once if only that connection is lost, after a pause otherwise.
fn recover(worker: &Worker, error: &io::Error) {
    let lost = [libc::ECONNABORTED, libc::ECONNRESET, libc::EPROTO, libc::EINTR];
    if error.raw_os_error().is_some_and(|code| lost.contains(&code)) {
        let line = format!("accept4() failed ({})", describe(error));
        worker.shared.plan.load().settings.error_log.write(Level::Error, &line);
        return;
    }
    // No descriptors, no memory, or something else that would fail again at once.
    shortage::pause(worker, "accept4() failed", error);
}
