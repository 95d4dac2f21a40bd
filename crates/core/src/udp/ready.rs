//! Which peers of a listener's sessions have something to say. Sockets are in a set of their own inside the worker's
//! event loop: to the event loop it is one descriptor; a session costs it neither memory nor a system call when it ends.
//! Flows of tunnels, which have no descriptor, leave their tokens here from whichever thread wakes them.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;

use crate::sys::epoll::{EVENTS, Epoll};
use crate::udp::peer::Peer;

/// Peers by token.
pub(super) struct ReadySet {
    set: AsyncFd<Epoll>,
    /// Tokens of peers that may have more.
    left: Vec<u32>,
    flows: Arc<Flows>,
}

/// Flows that were woken.
#[derive(Default)]
struct Flows(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    tokens: Vec<u32>,
    /// The task of the listener, once it has asked and found nothing.
    task: Option<Waker>,
}

/// Leaves the token of a flow.
struct FlowWaker {
    flows: Arc<Flows>,
    token: u32,
}

impl Wake for FlowWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.flows.0.lock();
        woken.tokens.push(self.token);
        let task = woken.task.take();
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Flows {
    fn take(&self, cx: &Context<'_>, taken: &mut Vec<u32>) {
        let mut woken = self.0.lock();
        taken.append(&mut woken.tokens);
        if !woken.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            woken.task = Some(cx.waker().clone());
        }
    }
}

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { set: Epoll::register()?, left: Vec::new(), flows: Arc::default() })
    }

    /// Adds a socket. Closing it removes it.
    pub(super) fn add(&self, socket: &impl AsFd, token: u32) -> io::Result<()> {
        self.set.get_ref().add(socket, token)
    }

    /// Adds a peer. Dropping it removes it.
    pub(super) fn watch(&mut self, peer: &mut Peer, token: u32) -> io::Result<()> {
        match peer {
            Peer::Socket(socket) => self.add(socket, token),
            Peer::Flow(flow) => {
                flow.watch(Arc::new(FlowWaker { flows: Arc::clone(&self.flows), token }).into());
                // It wakes once it has been asked.
                self.again(token);
                Ok(())
            }
        }
    }

    /// Has `token` taken again: its peer may have more.
    pub(super) fn again(&mut self, token: u32) {
        self.left.push(token);
    }

    /// Takes tokens into `taken`, which must be empty. With none, the task of `cx` is woken when there are.
    ///
    /// A token may be that of a peer that is closed by now, or of another one that has its place.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, taken: &mut Vec<u32>) {
        mem::swap(&mut self.left, taken);
        self.flows.take(cx, taken);
        while let Poll::Ready(Ok(mut guard)) = self.set.poll_read_ready(cx) {
            let count = self.set.get_ref().take(taken).unwrap_or_default();
            if count < EVENTS {
                guard.clear_ready();
            }
            if count > 0 {
                return;
            }
        }
    }
}
