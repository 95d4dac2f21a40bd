//! Which sockets of a listener's sessions have become readable: a set of their own inside the worker's event loop. To
//! the event loop it is one descriptor; a session costs it neither memory nor a system call when it ends.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;

use crate::sys::epoll::{EVENTS, Epoll};

/// Sockets by token.
pub(super) struct ReadySet {
    set: AsyncFd<Epoll>,
    /// Tokens of sockets that may have more.
    left: Vec<u32>,
}

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { set: Epoll::register()?, left: Vec::new() })
    }

    /// Adds a socket. Closing it removes it.
    pub(super) fn add(&self, socket: &impl AsFd, token: u32) -> io::Result<()> {
        self.set.get_ref().add(socket, token)
    }

    /// Has `token` taken again: its socket may have more.
    pub(super) fn again(&mut self, token: u32) {
        self.left.push(token);
    }

    /// Takes tokens into `taken`, which must be empty. With none, the task of `cx` is woken when there are.
    ///
    /// A token may be that of a socket that is closed by now, or of another one that has its place.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, taken: &mut Vec<u32>) {
        mem::swap(&mut self.left, taken);
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
