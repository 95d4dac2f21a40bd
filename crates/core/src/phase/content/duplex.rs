//! Both directions of a client's connection while a content handler has them, and what the handler orders. Worker and
//! handler look at it under the lock of their call.

use std::time::Duration;

use crate::phase::content::inbox::{End, Inbox};

/// Bytes that wait to be written above which a handler has to wait, and at which it may go on: asyncio's.
pub const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = HIGH_WATER / 4;
/// Bytes that may wait if the handler does not.
pub const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

/// Both directions.
#[derive(Debug)]
pub struct Duplex {
    /// What the client sends.
    pub input: Inbox,
    output: Vec<u8>,
    /// Bytes that the worker has taken and the client has not.
    in_flight: usize,
    is_congested: bool,
    /// Nothing more is to be written.
    is_ended: bool,
    /// The connection is to be closed; the client has this long to end.
    closing: Option<Duration>,
    state: State,
    upgrade: Upgrade,
    news: News,
}

/// What is left of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All.
    Open,
    /// Nothing: both sides have ended.
    Closed,
    /// Nothing: it broke.
    Broken,
}

/// Where the change to TLS stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Nobody has asked for it.
    No,
    /// It was asked for, or is under way.
    Wanted,
    /// Done.
    Done,
    /// It failed.
    Failed(String),
}

/// What the handler's side was not told yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// What is waited for has been read.
    pub arrived: bool,
    /// Anything else.
    pub changed: bool,
}

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The handler has ended its direction, or closed the connection.
    Ended,
    /// More than [`OUTPUT_LIMIT`] bytes wait.
    Full,
}

/// What the worker is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    /// Passes the end on once everything is written.
    pub(super) ends: bool,
    /// Closes then.
    pub(super) closing: Option<Duration>,
    /// Changes to TLS once everything is written.
    pub(super) upgrades: bool,
    /// Bytes that may be read.
    pub(super) room: usize,
}

impl Duplex {
    /// An open connection, of whose bytes the first are `early`.
    pub(super) fn new(early: Vec<u8>) -> Self {
        Self {
            input: Inbox::new(early),
            output: Vec::new(),
            in_flight: 0,
            is_congested: false,
            is_ended: false,
            closing: None,
            state: State::Open,
            upgrade: Upgrade::No,
            news: News::default(),
        }
    }

    /// What is left of the connection.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the handler has begun to close it, or it is gone.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some() || self.state != State::Open
    }

    /// Whether more bytes wait than a handler should add to.
    pub fn is_congested(&mut self) -> bool {
        self.is_congested = self.is_congested || self.output.len() + self.in_flight > HIGH_WATER;
        self.is_congested
    }

    /// Whether anything waits to be written.
    pub fn is_unsent(&self) -> bool {
        self.output.len() + self.in_flight > 0
    }

    /// Adds bytes for the client; a broken connection takes them to no effect, as asyncio's does.
    ///
    /// # Errors
    /// Why they are refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.is_ended || self.closing.is_some() {
            return Err(Refusal::Ended);
        }
        if self.output.len() + self.in_flight > OUTPUT_LIMIT {
            return Err(Refusal::Full);
        }
        if self.state == State::Open {
            self.output.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Ends the handler's direction. Nothing happens if it has ended before.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// Closes: the handler's direction ends, and what the client still sends is thrown away.
    pub fn close(&mut self, linger: Duration) {
        if !self.is_closing() {
            self.closing = Some(linger);
            self.input.take(usize::MAX, |_| ());
            self.input.finish(End::Closed);
        }
    }

    /// Whether somebody who waits to read is to look again, after something that the handler did itself.
    pub fn settle(&mut self) -> bool {
        self.input.settle()
    }

    /// Asks for TLS. False if somebody has before.
    pub fn start_tls(&mut self) -> bool {
        let is_first = self.upgrade == Upgrade::No;
        if is_first {
            self.upgrade = Upgrade::Wanted;
        }
        is_first
    }

    /// Where the change to TLS stands.
    pub fn upgrade(&self) -> &Upgrade {
        &self.upgrade
    }

    /// What the handler's side was not told yet.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Has the worker read and write; what it is to write is added to `sending`.
    pub(super) fn take_orders(&mut self, sending: &mut Vec<u8>) -> Orders {
        if sending.is_empty() {
            std::mem::swap(sending, &mut self.output);
        } else {
            sending.append(&mut self.output);
        }
        self.in_flight = sending.len();
        Orders {
            ends: self.is_ended,
            closing: self.closing,
            upgrades: self.upgrade == Upgrade::Wanted,
            room: self.input.room(),
        }
    }

    /// Takes all bytes of the client, which are not for the handler.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        self.input.take(usize::MAX, <[u8]>::to_vec)
    }

    /// Of what the worker has taken, this much is left. True if the handler is to be told.
    pub(super) fn note_sent(&mut self, in_flight: usize) -> bool {
        self.in_flight = in_flight;
        let is_relieved = self.is_congested && self.output.len() + in_flight <= LOW_WATER;
        if is_relieved {
            self.is_congested = false;
        }
        is_relieved && self.tell()
    }

    /// Adds bytes of the client. True if the handler is to be told.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.input.push(bytes);
        self.input.settle() && self.note(News { arrived: true, changed: false })
    }

    /// The client's bytes have ended. True if the handler is to be told.
    pub(super) fn finish(&mut self, end: End) -> bool {
        self.input.finish(end);
        self.input.settle() && self.note(News { arrived: true, changed: false })
    }

    /// The connection is no more. True if the handler is to be told.
    pub(super) fn leave(&mut self, state: State) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.state = state;
        self.output = Vec::new();
        self.in_flight = 0;
        self.is_congested = false;
        let arrived = self.finish(if state == State::Closed { End::Closed } else { End::Broken });
        self.tell() || arrived
    }

    /// TLS was spoken of. True if the handler is to be told.
    pub(super) fn note_upgrade(&mut self, upgrade: Upgrade) -> bool {
        self.upgrade = upgrade;
        self.tell()
    }

    /// Something has changed. True if nobody was told before.
    pub(super) fn tell(&mut self) -> bool {
        self.note(News { arrived: false, changed: true })
    }

    /// True if nothing was to be told before: one signal will do for all.
    fn note(&mut self, news: News) -> bool {
        let is_first = !self.news.arrived && !self.news.changed;
        self.news.arrived |= news.arrived;
        self.news.changed |= news.changed;
        is_first
    }
}
