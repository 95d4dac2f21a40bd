//! Calls of handlers on their way from the workers to Python: a bounded queue that wakes the event loop once a batch.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyList;

use qanat_core::phase::mailbox::Mailbox;
use qanat_core::phase::{Call, Hooks};
use qanat_core::sys::event::Event;

use crate::session::Session;
use crate::stream::Stream;

/// Calls that may wait at once. More than this is an overload, which new sessions are told of.
const CAPACITY: usize = 16_384;

/// The queue, shared by the workers and the loop.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    event: Event,
    /// Generations that nothing uses any more, and what tells of them: rare, so apart from the calls.
    retired: Mutex<Vec<u64>>,
    retirement: Event,
    /// The connections of content handlers, by their calls.
    streams: Mutex<HashMap<u64, Py<Stream>>>,
    /// Those of them whose readers are to go on.
    arrived: Mutex<Vec<Py<Stream>>>,
    /// Tasks to be woken when the batch of handlers that is being run is over; none outside of one.
    due: Mutex<Option<Vec<Due>>>,
}

/// A call, and the task of its worker.
type Due = (Arc<Call>, Waker);

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Arc<Call>>,
    signals: Vec<u64>,
    /// The loop knows that there is something to take.
    is_raised: bool,
}

impl Queue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            event: Event::new()?,
            retired: Mutex::default(),
            retirement: Event::new()?,
            streams: Mutex::default(),
            arrived: Mutex::default(),
            due: Mutex::new(None),
        })
    }

    /// Has the reader of a stream go on when bytes come.
    pub(crate) fn watch(&self, call: u64, stream: Py<Stream>) {
        self.streams.lock().insert(call, stream);
    }

    /// The handler of a call has ended.
    pub(crate) fn forget(&self, _: Python<'_>, call: u64) {
        let before = self.streams.lock().remove(&call);
        drop(before);
    }

    /// Keeps what readers are to be told of; what is left is for others.
    fn sort(&self, py: Python<'_>, signals: Vec<u64>) -> Vec<u64> {
        let streams = self.streams.lock();
        if streams.is_empty() {
            return signals;
        }
        let mut arrived = self.arrived.lock();
        let is_for_others = |call: &u64| {
            let Some(stream) = streams.get(call) else { return true };
            let news = stream.get().take_news();
            if news.arrived {
                arrived.push(stream.clone_ref(py));
            }
            news.changed
        };
        signals.into_iter().filter(is_for_others).collect()
    }

    /// Wakes the task of a call, now or at the end of the batch.
    pub(crate) fn wake(&self, call: &Arc<Call>, task: Waker) {
        match &mut *self.due.lock() {
            Some(due) => due.push((Arc::clone(call), task)),
            None => task.wake(),
        }
    }

    fn begin_batch(&self) {
        self.due.lock().get_or_insert_default();
    }

    fn end_batch(&self) {
        let Some(due) = self.due.lock().take() else { return };
        let mut mailboxes: Vec<Arc<Mailbox>> = Vec::new();
        for (call, task) in due {
            let Some(mailbox) = &call.mailbox else {
                task.wake();
                continue;
            };
            mailbox.post(task);
            if !mailboxes.iter().any(|known| Arc::ptr_eq(known, mailbox)) {
                mailboxes.push(Arc::clone(mailbox));
            }
        }
        for mailbox in mailboxes {
            mailbox.deliver();
        }
    }
}

impl Hooks for Queue {
    fn submit(&self, call: Arc<Call>) -> bool {
        let mut waiting = self.waiting.lock();
        let has_room = waiting.calls.len() < CAPACITY;
        if has_room {
            waiting.calls.push_back(call);
        }
        has_room
    }

    fn signal(&self, call: u64) {
        self.waiting.lock().signals.push(call);
    }

    fn flush(&self) {
        let mut waiting = self.waiting.lock();
        let is_empty = waiting.calls.is_empty() && waiting.signals.is_empty();
        if is_empty || std::mem::replace(&mut waiting.is_raised, true) {
            return;
        }
        drop(waiting);
        self.event.raise();
    }

    fn retire(&self, generation: u64) {
        self.retired.lock().push(generation);
        self.retirement.raise();
    }
}

/// The loop's end of the queue.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Bridge {
    queue: Arc<Queue>,
}

impl Bridge {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

#[pymethods]
impl Bridge {
    /// Return the descriptor that is readable while something waits.
    fn fileno(&self) -> RawFd {
        self.queue.event.as_raw_fd()
    }

    /// Take what waits: sessions for their handlers, at most `most`, and ids of calls that something has happened to.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<(Bound<'py, PyList>, Vec<u64>)> {
        let (calls, signals) = {
            let mut waiting = self.queue.waiting.lock();
            let count = most.min(waiting.calls.len());
            let calls: Vec<_> = waiting.calls.drain(..count).collect();
            if waiting.calls.is_empty() {
                self.queue.event.lower();
                waiting.is_raised = false;
            }
            (calls, std::mem::take(&mut waiting.signals))
        };
        let signals = self.queue.sort(py, signals);
        let sessions = calls.into_iter().map(|call| Py::new(py, Session::new(call, Arc::clone(&self.queue))));
        let sessions = sessions.collect::<PyResult<Vec<_>>>()?;
        Ok((PyList::new(py, sessions)?, signals))
    }

    /// Return the descriptor that is readable while there are retired generations.
    fn retired_fileno(&self) -> RawFd {
        self.queue.retirement.as_raw_fd()
    }

    /// Take the numbers of generations that neither a plan nor a session uses any more.
    fn take_retired(&self) -> Vec<u64> {
        let mut retired = self.queue.retired.lock();
        self.queue.retirement.lower();
        std::mem::take(&mut retired)
    }

    /// Go on with content handlers whose bytes have come, in one batch.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let arrived = std::mem::take(&mut *self.queue.arrived.lock());
        if arrived.is_empty() {
            return Ok(());
        }
        self.queue.begin_batch();
        let outcomes: Vec<PyResult<()>> = arrived.iter().map(|stream| stream.get().resume(py)).collect();
        self.queue.end_batch();
        outcomes.into_iter().collect()
    }

    /// Hold answers back until the batch is over.
    fn begin_batch(&self) {
        self.queue.begin_batch();
    }

    /// Let the workers have the answers of the batch.
    fn end_batch(&self) {
        self.queue.end_batch();
    }
}
