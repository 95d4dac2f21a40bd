//! Datagrams on their way between a UDP listener and the handlers of one session: what the client has sent and no
//! handler has taken, and what handlers have for the client. Both are bounded; what has no room is lost, as it would
//! be in a full buffer of the system.

mod stages;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use self::stages::{access, content, preread};
use crate::clock::{self, Instant};
use crate::phase::Hooks;
use crate::session::Session;

/// Largest payload of a datagram over IPv4, whatever the path allows: 65,535 less the headers of IP and UDP.
pub const LARGEST: usize = 65_507;
/// Datagrams of one client that may wait for its handler.
const MOST_WAITING: usize = 1024;
/// Their bytes; one datagram always has room.
const BYTES_WAITING: usize = 1024 * 1024;
/// Bytes that the handler of one session may have on their way to the client.
const BYTES_LEAVING: usize = 1024 * 1024;
/// Datagrams of all sessions that leave at the latest before a batch of handlers is over.
const URGENT: usize = 64;

/// The datagrams of one session.
pub struct Datagrams {
    token: u32,
    outgoing: Arc<Outgoing>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The datagram that began the session, already counted.
    first: Option<Vec<u8>>,
    waiting: VecDeque<Vec<u8>>,
    bytes_waiting: usize,
    bytes_leaving: usize,
    /// The call whose handler waits for a datagram.
    reader: Option<u64>,
    /// No more are handed out: the client was silent for too long.
    is_over: bool,
    dropped: u64,
    /// When one came or left.
    last: Instant,
}

/// What a handler gets when it asks for a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram, and how many of its bytes have not been counted before.
    Datagram(Vec<u8>, u64),
    /// None yet; the call is signalled when one comes.
    Later,
    /// None any more.
    Over,
}

/// What became of a datagram for the client.
#[derive(Debug)]
pub enum Sending {
    /// It leaves. The listener is to be woken, if a task is given: at once if it is urgent.
    Taken(Option<(Waker, bool)>),
    /// Too many bytes are on their way: it is lost.
    Full,
    /// It is larger than [`LARGEST`].
    TooLong,
}

impl Datagrams {
    pub(crate) fn new(token: u32, outgoing: Arc<Outgoing>) -> Arc<Self> {
        let inner = Inner {
            first: None,
            waiting: VecDeque::new(),
            bytes_waiting: 0,
            bytes_leaving: 0,
            reader: None,
            is_over: false,
            dropped: 0,
            last: clock::now(),
        };
        Arc::new(Self { token, outgoing, inner: Mutex::new(inner) })
    }

    /// Takes the next datagram for the handler of `call`.
    pub fn receive(&self, call: u64) -> Received {
        let mut inner = self.inner.lock();
        if let Some(first) = inner.first.take() {
            return Received::Datagram(first, 0);
        }
        if inner.is_over {
            return Received::Over;
        }
        let Some(datagram) = inner.waiting.pop_front() else {
            inner.reader = Some(call);
            return Received::Later;
        };
        inner.bytes_waiting -= datagram.len();
        let count = datagram.len() as u64;
        Received::Datagram(datagram, count)
    }

    /// Nobody waits for a datagram any more.
    pub fn give_up(&self) {
        self.inner.lock().reader = None;
    }

    /// Sends a datagram to the client.
    pub fn send(&self, bytes: &[u8]) -> Sending {
        if bytes.len() > LARGEST {
            return Sending::TooLong;
        }
        {
            let mut inner = self.inner.lock();
            if inner.bytes_leaving + bytes.len() > BYTES_LEAVING {
                return Sending::Full;
            }
            inner.bytes_leaving += bytes.len();
            inner.last = clock::now();
        }
        Sending::Taken(self.outgoing.push(Word::Datagram(self.token, bytes.to_vec())))
    }

    /// Sends a datagram that the session has for its client by itself; an empty one is none.
    pub(crate) fn say(&self, session: &mut Session, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Sending::Taken(listener) = self.send(bytes) {
            session.bytes_sent += bytes.len() as u64;
            if let Some((listener, _)) = listener {
                listener.wake();
            }
        }
    }

    /// How many datagrams of the client were lost because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.inner.lock().dropped
    }

    /// Adds what the client sent, and lets its handler know if it waits. True if it was told.
    pub(crate) fn push(&self, bytes: &[u8], now: Instant, hooks: Option<&Arc<dyn Hooks>>) -> bool {
        let mut inner = self.inner.lock();
        inner.last = now;
        let is_full =
            inner.waiting.len() >= MOST_WAITING || inner.bytes_waiting + bytes.len() > BYTES_WAITING;
        if is_full && !inner.waiting.is_empty() {
            inner.dropped += 1;
            return false;
        }
        inner.bytes_waiting += bytes.len();
        inner.waiting.push_back(bytes.to_vec());
        let reader = inner.reader.take();
        drop(inner);
        let (Some(reader), Some(hooks)) = (reader, hooks) else { return false };
        hooks.signal(reader);
        true
    }

    /// A datagram has left, or was lost after this.
    pub(crate) fn note_left(&self, bytes: usize) {
        self.inner.lock().bytes_leaving -= bytes;
    }

    /// All that nobody has taken, without the first one.
    pub(crate) fn take_waiting(&self) -> VecDeque<Vec<u8>> {
        let mut inner = self.inner.lock();
        inner.bytes_waiting = 0;
        mem::take(&mut inner.waiting)
    }

    fn put_first(&self, datagram: Option<Vec<u8>>) {
        self.inner.lock().first = datagram;
    }

    /// When the session is idle for `timeout`, if nothing passes until then.
    pub(super) fn expires(&self, timeout: Duration) -> Instant {
        self.inner.lock().last + timeout
    }

    /// Hands out no more datagrams.
    pub(super) fn finish(&self) {
        let mut inner = self.inner.lock();
        inner.is_over = true;
        inner.reader = None;
    }
}

/// What a session has to say to its listener.
pub(crate) enum Word {
    /// A datagram for the client of this session.
    Datagram(u32, Vec<u8>),
    /// Its handlers are through.
    Through(u32),
}

/// What all sessions of a listener have to say to it, in order.
#[derive(Default)]
pub(crate) struct Outgoing {
    inner: Mutex<Words>,
}

#[derive(Default)]
struct Words {
    words: Vec<Word>,
    listener: Option<Waker>,
}

impl Outgoing {
    /// Adds a word. Returns the listener's task if it should be woken, and whether at once.
    pub(crate) fn push(&self, word: Word) -> Option<(Waker, bool)> {
        let mut inner = self.inner.lock();
        inner.words.push(word);
        match inner.words.len() {
            1 => inner.listener.clone().map(|task| (task, false)),
            URGENT => inner.listener.clone().map(|task| (task, true)),
            _ => None,
        }
    }

    /// Takes all words into `taken`, which must be empty; `task` is told of the next one.
    pub(crate) fn take(&self, task: &Waker, taken: &mut Vec<Word>) {
        let mut inner = self.inner.lock();
        if !inner.listener.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.listener = Some(task.clone());
        }
        mem::swap(&mut inner.words, taken);
    }
}

/// Says that the handlers of a session are through, when it is dropped.
pub(crate) struct Through {
    token: u32,
    outgoing: Arc<Outgoing>,
}

impl Through {
    pub(crate) fn new(datagrams: &Datagrams) -> Self {
        Self { token: datagrams.token, outgoing: Arc::clone(&datagrams.outgoing) }
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        if let Some((listener, _)) = self.outgoing.push(Word::Through(self.token)) {
            listener.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagrams() -> Arc<Datagrams> {
        Datagrams::new(7, Arc::default())
    }

    #[test]
    fn they_are_handed_out_in_order_and_counted_once() {
        let datagrams = datagrams();
        datagrams.put_first(Some(b"first".to_vec()));
        assert!(!datagrams.push(b"second", clock::now(), None));
        assert_eq!(datagrams.receive(1), Received::Datagram(b"first".to_vec(), 0));
        assert_eq!(datagrams.receive(1), Received::Datagram(b"second".to_vec(), 6));
        assert_eq!(datagrams.receive(1), Received::Later);
        datagrams.finish();
        assert_eq!(datagrams.receive(1), Received::Over);
    }

    #[test]
    fn the_newest_are_lost_when_too_many_wait() {
        let datagrams = datagrams();
        for number in 0..=MOST_WAITING {
            datagrams.push(&number.to_be_bytes(), clock::now(), None);
        }
        assert_eq!(datagrams.dropped(), 1);
        let waiting = datagrams.take_waiting();
        assert_eq!((waiting.len(), &waiting[0]), (MOST_WAITING, &0_usize.to_be_bytes().to_vec()));
    }

    #[test]
    fn their_bytes_are_bounded_too() {
        let datagrams = datagrams();
        let large = vec![0; LARGEST];
        for _ in 0..17 {
            datagrams.push(&large, clock::now(), None);
        }
        assert_eq!((datagrams.dropped(), datagrams.take_waiting().len()), (1, 16));
    }

    #[test]
    fn what_leaves_is_bounded_until_it_has_left() {
        let datagrams = datagrams();
        let large = vec![0; LARGEST];
        for _ in 0..16 {
            assert!(matches!(datagrams.send(&large), Sending::Taken(_)));
        }
        assert!(matches!(datagrams.send(&large), Sending::Full));
        datagrams.note_left(LARGEST);
        assert!(matches!(datagrams.send(&large), Sending::Taken(_)));
        assert!(matches!(datagrams.send(&vec![0; LARGEST + 1]), Sending::TooLong));
    }
}
