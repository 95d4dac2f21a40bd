//! One direction of a relay: reads from one stream, writes to the other, holds no more than one read.
//!
//! An idle direction owns no memory: bytes pass through a buffer of the thread, and only what the receiver would not
//! take is kept. While something is kept nothing is read, which is the back-pressure.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::{Stream, poll_write_some};

/// Size of a thread's buffer. Larger reads mean fewer system calls for bulk; `docs/adr` has the measurements.
const PASSAGE: usize = 128 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PASSAGE].into_boxed_slice());
}

/// State of one direction.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes that were read and not yet taken.
    kept: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
    /// The stream written to may hold bytes of its own (TLS).
    unflushed: bool,
    /// Nothing more will be read.
    ended: bool,
    /// The sender's end has been passed on.
    closed: bool,
}

/// What a turn of a direction came to, when it has to stop.
#[derive(Debug)]
pub(super) enum Halt {
    /// The sender has ended and everything was delivered.
    Ended,
    /// Reading failed.
    ReadFailed(io::Error),
    /// Writing failed: the receiver takes no more.
    WriteFailed(io::Error),
}

/// What moved in one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// Bytes read from the sender.
    pub(super) read: u64,
    /// Bytes that the receiver took.
    pub(super) written: u64,
}

impl Moved {
    /// Whether nothing moved.
    pub(super) fn is_zero(self) -> bool {
        self.read == 0 && self.written == 0
    }
}

impl Direction {
    /// A direction that begins with `early` bytes, already read and counted.
    pub(super) fn starting_with(early: Vec<u8>) -> Self {
        Self { kept: early, ..Self::default() }
    }

    /// Moves bytes until one side would block. Cancel safe: what was read and not written is kept.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        moved: &mut Moved,
    ) -> Poll<Halt> {
        loop {
            if let Err(error) = ready!(self.poll_deliver(cx, to, moved)) {
                return Poll::Ready(Halt::WriteFailed(error));
            }
            if self.ended {
                return Poll::Ready(Halt::Ended);
            }
            match ready!(self.poll_pass(cx, from, to, moved)) {
                Ok(()) => {}
                Err(halt) => return Poll::Ready(halt),
            }
        }
    }

    /// Passes the sender's end on. Call when [`Halt::Ended`] was seen.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<()> {
        if !self.closed {
            // A receiver that is gone already has nothing to be told.
            let _gone = ready!(Pin::new(to).poll_shutdown(cx));
            self.closed = true;
        }
        Poll::Ready(())
    }

    /// Stops reading. True if something is kept, which will still be delivered.
    pub(super) fn end(&mut self) -> bool {
        self.ended = true;
        self.unflushed || !self.kept.is_empty()
    }

    /// Gives up what is kept: the receiver is gone.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
        self.closed = true;
        self.unflushed = false;
        self.kept = Vec::new();
        self.taken = 0;
    }

    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        moved: &mut Moved,
    ) -> Poll<io::Result<()>> {
        while self.taken < self.kept.len() {
            let written = ready!(poll_write_some(cx, to, &self.kept[self.taken..]))?;
            self.taken += written;
            moved.written += written as u64;
            self.unflushed = true;
        }
        if self.taken > 0 {
            self.kept = Vec::new();
            self.taken = 0;
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// One read, and writes of what it gave.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        moved: &mut Moved,
    ) -> Poll<Result<(), Halt>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match ready!(Pin::new(from).poll_read(cx, &mut read)) {
                Ok(()) => {}
                // A TLS sender that left without saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => read.clear(),
                Err(error) => return Poll::Ready(Err(Halt::ReadFailed(error))),
            }
            let mut bytes = read.filled();
            if bytes.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            moved.read += bytes.len() as u64;
            while !bytes.is_empty() {
                match poll_write_some(cx, to, bytes) {
                    Poll::Ready(Ok(written)) => {
                        bytes = &bytes[written..];
                        moved.written += written as u64;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Halt::WriteFailed(error))),
                    Poll::Pending => {
                        self.kept = bytes.to_vec();
                        return Poll::Pending;
                    }
                }
            }
            self.unflushed = true;
            Poll::Ready(Ok(()))
        })
    }
}
