//! The thread that writes log lines to files.
//!
//! Each file has a buffer that lines are appended to whole; the thread takes a buffer and writes it with one call. A
//! buffer that is full because the disk does not keep up takes no more lines: they are counted, and the number is
//! reported when the disk is back. No caller ever waits for a disk.

mod drain;
mod output;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock;
use crate::log::writer::output::Output;

/// Bytes that may wait for one file, and for all files whose path is made per line.
const MAX_PENDING: usize = 1 << 20;
/// How long `flush` and `reopen` wait for the thread.
const DEADLINE: Duration = Duration::from_secs(1);

/// Handle of the writer thread; cheap to clone. The thread ends with the last handle.
#[derive(Clone)]
pub struct LogWriter {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Arc<Queue>,
}

/// What handles, files and the thread share.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// The thread waits here for its first line.
    arrived: Condvar,
    /// The thread waits here while it lets lines gather.
    urgent: Condvar,
    /// Callers of `flush` and `reopen` wait here.
    answered: Condvar,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct State {
    /// Files with pending lines.
    dirty: Vec<Arc<LogFile>>,
    /// Lines for paths made per line.
    routed: Vec<RoutedLine>,
    routed_bytes: usize,
    routed_dropped: u64,
    reopen: bool,
    /// Number of the last question of `flush` and `reopen`, and of the last one answered.
    asked: u64,
    answered: u64,
    stopped: bool,
}

/// A line with the path that was made for it.
struct RoutedLine {
    path: String,
    line: Vec<u8>,
}

/// Open files. The plans that use them keep them open.
#[derive(Default)]
struct Registry {
    /// By path; standard error by the empty one.
    files: HashMap<String, Weak<LogFile>>,
    /// Error logs in the order of opening: trouble with other files is reported to the first.
    error_logs: Vec<Weak<LogFile>>,
}

/// An open log file, shared by all logs that name it.
pub struct LogFile {
    path: Option<String>,
    output: Mutex<Output>,
    pending: Mutex<Pending>,
    is_error_log: AtomicBool,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    dropped: u64,
    /// Stands in [`State::dirty`].
    listed: bool,
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let thread_queue = Arc::clone(&queue);
        std::thread::Builder::new().name("qanat-log".to_owned()).spawn(move || drain::run(&thread_queue))?;
        Ok(Self { handle: Arc::new(Handle { queue }) })
    }

    /// The file at `path` (`None`: standard error), opened now if it is new.
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub fn open(&self, path: Option<&str>) -> io::Result<Arc<LogFile>> {
        let queue = &self.handle.queue;
        let key = path.unwrap_or_default();
        if let Some(file) = queue.registry.lock().find(key) {
            return Ok(file);
        }
        // Opened without the lock: a session that lets go of its plan may be waiting for it.
        let file = Arc::new(LogFile {
            path: path.map(str::to_owned),
            output: Mutex::new(Output::open(path)?),
            pending: Mutex::default(),
            is_error_log: AtomicBool::new(false),
            queue: Arc::clone(queue),
        });
        let mut registry = queue.registry.lock();
        if let Some(earlier) = registry.find(key) {
            // Dropping `file` takes the lock.
            drop(registry);
            return Ok(earlier);
        }
        registry.files.insert(key.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }

    /// The file at `path`, as [`Self::open`], for an error log.
    pub(crate) fn open_error_log(&self, path: Option<&str>) -> io::Result<Arc<LogFile>> {
        let file = self.open(path)?;
        if !file.is_error_log.swap(true, Ordering::Relaxed) {
            let error_logs = &mut self.handle.queue.registry.lock().error_logs;
            error_logs.retain(|file| file.strong_count() > 0);
            error_logs.push(Arc::downgrade(&file));
        }
        Ok(file)
    }

    /// Appends a line to the file at a path made for this line.
    pub(crate) fn append_to(&self, path: String, line: Vec<u8>) {
        let queue = &self.handle.queue;
        let mut state = queue.state.lock();
        let size = path.len() + line.len();
        if state.routed_bytes + size > MAX_PENDING {
            state.routed_dropped += 1;
            return;
        }
        state.routed_bytes += size;
        state.routed.push(RoutedLine { path, line });
        queue.arrived.notify_one();
    }

    /// Opens every file anew, after writing what is queued; waits at most a second.
    pub fn reopen(&self) {
        self.ask(|state| state.reopen = true);
    }

    /// Writes out what is queued, waiting at most a second.
    pub fn flush(&self) {
        self.ask(|_| ());
    }

    fn ask(&self, question: impl FnOnce(&mut State)) {
        let queue = &self.handle.queue;
        let mut state = queue.state.lock();
        question(&mut state);
        state.asked += 1;
        let mine = state.asked;
        queue.arrived.notify_one();
        queue.urgent.notify_one();
        let deadline = (clock::now() + DEADLINE).into_std();
        let _late = queue.answered.wait_while_until(&mut state, |state| state.answered < mine, deadline);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.state.lock().stopped = true;
        self.queue.arrived.notify_one();
        self.queue.urgent.notify_one();
    }
}

impl Registry {
    fn find(&self, key: &str) -> Option<Arc<LogFile>> {
        self.files.get(key)?.upgrade()
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.routed.is_empty() && self.routed_dropped == 0 && !self.is_urgent()
    }

    fn is_urgent(&self) -> bool {
        self.stopped || self.answered < self.asked
    }
}

impl LogFile {
    /// Appends whole lines, or counts them as dropped if too much waits already.
    pub(crate) fn append(self: &Arc<Self>, line: &[u8]) {
        let mut pending = self.pending.lock();
        if pending.lines.len() + line.len() > MAX_PENDING {
            pending.dropped += 1;
        } else {
            pending.lines.extend_from_slice(line);
        }
        if !std::mem::replace(&mut pending.listed, true) {
            drop(pending);
            self.queue.state.lock().dirty.push(Arc::clone(self));
            self.queue.arrived.notify_one();
        }
    }

    /// The path as messages show it.
    fn name(&self) -> &str {
        self.path.as_deref().unwrap_or("stderr")
    }
}

impl Drop for LogFile {
    /// Forgets the path, unless it was opened again meanwhile.
    fn drop(&mut self) {
        let key = self.path.as_deref().unwrap_or_default();
        let files = &mut self.queue.registry.lock().files;
        if files.get(key).is_some_and(|file| file.strong_count() == 0) {
            files.remove(key);
        }
    }
}
