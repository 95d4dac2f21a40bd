//! Streams that wait until a limit lets them go on: a line for each bucket, and the moment when its first one goes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::limit::{Bucket, Grant, Ticket, Turn};
use crate::clock::Instant;

/// A direction of a stream, seen from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    Send,
    Receive,
}

/// What a stream asks of its limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) stream: u32,
    pub(super) way: Way,
    pub(super) bytes: usize,
    /// A part of the bytes is of no use.
    pub(super) is_whole: bool,
}

/// All lines of a carrier.
#[derive(Default)]
pub(super) struct Lines {
    /// By the address of the bucket.
    by_bucket: HashMap<usize, Line>,
    due: BTreeSet<(Instant, usize)>,
    waiting: usize,
}

struct Line {
    bucket: Arc<Bucket>,
    /// For the first one. It is kept if that one leaves: so who comes and goes does not use up what others wait for.
    ticket: Ticket,
    bytes: usize,
    due: Instant,
    asks: VecDeque<Ask>,
}

impl Ask {
    /// The least that is of use now.
    pub(super) fn least(&self, bucket: &Bucket) -> usize {
        if self.is_whole { self.bytes } else { bucket.grain(self.bytes) }
    }
}

impl Lines {
    /// Whether others wait for this bucket.
    pub(super) fn has(&self, bucket: &Arc<Bucket>) -> bool {
        !self.by_bucket.is_empty()
            && self.by_bucket.get(&key(bucket)).is_some_and(|line| !line.asks.is_empty())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// When the first one goes, of all lines.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Waits at the end of a line; returns which one it is.
    pub(super) fn join(&mut self, bucket: &Arc<Bucket>, ask: Ask, now: Instant) -> usize {
        self.waiting += 1;
        let key = key(bucket);
        if let Some(line) = self.by_bucket.get_mut(&key) {
            line.asks.push_back(ask);
            return key;
        }
        let bytes = ask.least(bucket);
        let ticket = bucket.reserve(bytes, now);
        let asks = VecDeque::from([ask]);
        let line = Line { bucket: Arc::clone(bucket), ticket, bytes, due: now, asks };
        self.due.insert((now, key));
        self.by_bucket.insert(key, line);
        key
    }

    /// A stream is gone from a line.
    pub(super) fn leave(&mut self, line: usize, stream: u32) {
        if let Some(line) = self.by_bucket.get_mut(&line) {
            let before = line.asks.len();
            line.asks.retain(|ask| ask.stream != stream);
            self.waiting -= before - line.asks.len();
        }
    }

    /// All are gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Looks at all lines again: rates have changed.
    pub(super) fn review(&mut self, now: Instant) {
        self.due = self.by_bucket.keys().map(|key| (now, *key)).collect();
        self.by_bucket.values_mut().for_each(|line| line.due = now);
    }

    /// The next one that may go, with what it may.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Ask, Grant)> {
        loop {
            let (due, key) = *self.due.first()?;
            if due > now {
                return None;
            }
            self.due.pop_first();
            let Some(line) = self.by_bucket.get_mut(&key) else { continue };
            match line.bucket.turn(line.ticket, now) {
                Turn::At(due) => {
                    line.due = due;
                    self.due.insert((due, key));
                }
                Turn::Void if line.asks.is_empty() => drop(self.by_bucket.remove(&key)),
                Turn::Void => {
                    line.ask_again(now);
                    self.due.insert((now, key));
                }
                Turn::Now => {
                    let grant = Grant::new(&line.bucket, line.bytes);
                    let Some(ask) = line.asks.pop_front() else {
                        self.by_bucket.remove(&key);
                        continue;
                    };
                    self.waiting -= 1;
                    if line.asks.is_empty() {
                        self.by_bucket.remove(&key);
                    } else {
                        line.ask_again(now);
                        self.due.insert((now, key));
                    }
                    return Some((ask, grant));
                }
            }
        }
    }
}

impl Line {
    /// Takes a ticket for the first one.
    fn ask_again(&mut self, now: Instant) {
        if let Some(ask) = self.asks.front() {
            self.bytes = ask.least(&self.bucket);
            self.ticket = self.bucket.reserve(self.bytes, now);
            self.due = now;
        }
    }
}

fn key(bucket: &Arc<Bucket>) -> usize {
    Arc::as_ptr(bucket).addr()
}
