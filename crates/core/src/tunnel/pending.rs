//! A flow whose tunnel is down. It waits as a stream would; its datagrams wait in a queue whose oldest ones give way, and
//! go when a tunnel has come.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use qanat_wire::tunnel_frame::Code;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::mux::Queue;
use super::open::{TunnelAddress, come_up, note_way};
use super::registry::{Tunnel, Tunnels};
use super::stream::TunnelStream;
use crate::session::Session;

/// A flow that is opened once a tunnel is up. Dropping it gives the datagrams up.
pub struct PendingFlow {
    place: Arc<Place>,
    task: AbortHandle,
}

/// Where the flow is put.
struct Place {
    /// Where the session was sent.
    address: TunnelAddress,
    state: Mutex<State>,
}

enum State {
    Waiting {
        queue: Queue,
        dropped: u64,
        waker: Waker,
    },
    Open(TunnelStream),
    /// No tunnel has come in time.
    Lost,
}

impl PendingFlow {
    /// Waits no longer than `patience` for a tunnel that leads to the service of `address`.
    pub(super) fn begin(
        session: &Session,
        tunnels: &Arc<Tunnels>,
        address: &TunnelAddress,
        patience: Duration,
    ) -> Self {
        let state = State::Waiting { queue: Queue::default(), dropped: 0, waker: Waker::noop().clone() };
        let place = Arc::new(Place { address: address.clone(), state: Mutex::new(state) });
        let mut visitor = session.stand_in();
        visitor.local.clone_from(&session.local);
        let (tunnels, address, kept) = (Arc::clone(tunnels), address.clone(), Arc::clone(&place));
        let task = tokio::spawn(async move {
            let came = timeout(patience, come_up(&visitor, &tunnels, &address, true)).await;
            kept.settle(came.ok());
        });
        Self { place, task: task.abort_handle() }
    }

    /// Whether datagrams still wait.
    pub fn is_waiting(&self) -> bool {
        matches!(*self.place.state.lock(), State::Waiting { .. })
    }

    /// Notes the way that it took.
    pub fn note_way(&self, session: &mut Session) {
        if let State::Open(stream) = &*self.place.state.lock() {
            note_way(session, &self.place.address, stream);
        }
    }

    /// Sends a datagram, or keeps it.
    pub fn send_datagram(&self, datagram: &[u8]) {
        match &mut *self.place.state.lock() {
            State::Waiting { queue, dropped, .. } => *dropped += queue.push(datagram.to_vec()),
            State::Open(stream) => stream.send_datagram(datagram),
            State::Lost => {}
        }
    }

    /// As that of a stream.
    ///
    /// # Errors
    /// Why there are no more datagrams: `NotConnected` if no tunnel has come.
    pub fn poll_datagram(&self, cx: &Context<'_>) -> Poll<io::Result<Result<Vec<u8>, Code>>> {
        match &mut *self.place.state.lock() {
            State::Waiting { waker, .. } => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            State::Open(stream) => stream.poll_datagram(cx).map(Ok),
            State::Lost => Poll::Ready(Err(down(&self.place.address.tunnel))),
        }
    }
}

impl Drop for PendingFlow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Place {
    /// The wait is over: what has waited goes, or is lost.
    fn settle(&self, came: Option<(TunnelStream, Arc<Tunnel>)>) {
        let mut state = self.state.lock();
        let next = match came {
            Some((stream, tunnel)) => {
                tunnel.counters.opened.fetch_add(1, Relaxed);
                State::Open(stream)
            }
            None => State::Lost,
        };
        let State::Waiting { mut queue, dropped, waker } = mem::replace(&mut *state, next) else { return };
        if let State::Open(stream) = &*state {
            stream.count_dropped(dropped);
            while let Some(datagram) = queue.pop() {
                stream.send_datagram(&datagram);
            }
        }
        drop(state);
        waker.wake();
    }
}

/// As connecting to nobody fails.
pub(super) fn down(tunnel: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, format!("tunnel {tunnel} is down"))
}
