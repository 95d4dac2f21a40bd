//! Bytes on their way to the client of a content handler, and the end after them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::stream::{Stream, poll_write_some};

/// What a buffer keeps when it is empty.
const KEPT: usize = 4096;

/// Bytes on their way.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The bytes; more may be added.
    pub(super) bytes: Vec<u8>,
    /// How many of them were taken.
    sent: usize,
    /// The stream may hold bytes of its own (TLS).
    is_unflushed: bool,
    /// The client was told that no more comes.
    pub(super) is_shut: bool,
}

impl Outgoing {
    /// How many bytes the client has not taken.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Writes what can be written: how many bytes, and whether that was all.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
    ) -> (usize, Poll<io::Result<()>>) {
        let before = self.sent;
        let all = self.poll_all(cx, client);
        let count = self.sent - before;
        if self.left() == 0 {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        }
        (count, all)
    }

    /// Passes the end on. True once that is done.
    pub(super) fn shut(&mut self, cx: &mut Context<'_>, client: &mut Stream) -> bool {
        if !self.is_shut {
            // A client that is gone has nothing to be told.
            self.is_shut = Pin::new(client).poll_shutdown(cx).is_ready();
        }
        self.is_shut
    }

    /// Gives up what is left: the client is gone.
    pub(super) fn abandon(&mut self) {
        self.bytes = Vec::new();
        self.sent = 0;
        self.is_unflushed = false;
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, client: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += ready!(poll_write_some(cx, client, rest))?;
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(Pin::new(client).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
